use std::{net::SocketAddr, sync::Arc, time::Duration};

use config::audit::{Forward, Syslog, SyslogTransport};
use serde_json::value::RawValue;
use tokio::{io::AsyncReadExt as _, net::TcpListener};

use super::{Forwarding, RECORDS_MAX};

const PATIENCE: Duration = Duration::from_secs(30);

fn record(number: usize) -> Arc<RawValue> {
    RawValue::from_string(format!(r#"{{"kind":"call","n":{number}}}"#)).expect("JSON").into()
}

#[tokio::test]
async fn what_finds_the_queue_full_is_counted_and_told_when_the_place_is_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address: SocketAddr = listener.local_addr().expect("its address");
    drop(listener);
    let place = Forward::Syslog(Syslog { address, transport: SyslogTransport::Tcp });
    let forwarding = Forwarding::start(&[place]).expect("a place");
    let given = RECORDS_MAX + 1000;
    (0..given).for_each(|number| forwarding.take(&record(number)));

    let listener = TcpListener::bind(address).await.expect("the same port");
    let arrived = async {
        let (mut connection, _) = listener.accept().await.expect("a sender");
        let mut text = String::new();
        let mut part = vec![0; 64 << 10];
        // The loss is told in front of what came after it, so the last record is behind it.
        while !text.contains("forward_lost") {
            let read = connection.read(&mut part).await.expect("it can be read");
            assert!(read > 0, "the sender is gone");
            text.push_str(std::str::from_utf8(&part[..read]).expect("ASCII"));
        }
        text
    };
    let text = tokio::time::timeout(PATIENCE, arrived).await.expect("it arrives in time");
    let (_, told) = text.split_once(r#""records":"#).expect("how many");
    let lost: usize = told.split('}').next().and_then(|number| number.parse().ok()).expect("a number");
    // None was sent before the queue was full: the task had no turn.
    assert_eq!(lost, given - RECORDS_MAX);
    forwarding.flush(PATIENCE).await;
    assert!(forwarding.queues.iter().all(|queue| queue.records.capacity() == RECORDS_MAX));
}
