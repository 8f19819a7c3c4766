//! Keeps the connections: makes them, watches them, makes them again when they are of no use.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use redis::ConnectionInfo;
use tokio_util::sync::CancellationToken;

use super::{
    Channel, LinkState, Message, Shared,
    connect::{self, Connected, Subscription},
    lane::{Broken, Lanes},
};

/// How often the connections are asked whether they live, and the longest wait between two attempts to connect.
const SECOND: Duration = Duration::from_secs(1);
/// The first wait after connections were lost. It doubles up to a second.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// Connects and reconnects until nobody holds the handle any more.
pub(super) async fn keep(shared: Arc<Shared>, stop: CancellationToken) {
    stop.run_until_cancelled(keep_on(&shared)).await;
    shared.lanes.store(None);
}

async fn keep_on(shared: &Shared) {
    let mut wait = FIRST_WAIT;
    loop {
        let attempt = connect::connect(&shared.settings, &shared.servers, &shared.probe).await;
        match attempt {
            Ok(connected) => {
                wait = FIRST_WAIT;
                if tend(shared, connected).await {
                    // It was too slow: it is left alone for a whole second.
                    tokio::time::sleep(SECOND).await;
                    continue;
                }
            }
            Err(reason) => shared.tell(LinkState::Down, Some(reason)),
        }
        tokio::time::sleep(jittered(wait)).await;
        wait = (wait * 2).min(SECOND);
    }
}

/// Uses connections until they are of no use, and says whether that was for slowness.
async fn tend(shared: &Shared, connected: Connected) -> bool {
    let Connected { lanes, subscription, servers, seen } = connected;
    let lanes = Arc::new(lanes);
    shared.saw(&seen);
    // What was published before now is unknown to everybody, and must be known to be so before the first command.
    shared.pass_on(Message::Gap);
    shared.lanes.store(Some(Arc::clone(&lanes)));
    shared.tell(LinkState::Up, None);
    let broken = tokio::select! {
        broken = lanes.broken() => broken,
        () = watch(shared, &lanes, &servers) => unreachable!("watching never ends"),
        () = listen(shared, &servers, subscription) => unreachable!("listening never ends"),
    };
    shared.lanes.store(None);
    shared.tell(LinkState::Down, Some(broken.reason));
    shared.pass_on(Message::Gap);
    broken.slow
}

/// Asks once a second, so that a server that went away is noticed without any traffic, and the clock keeps to its time.
async fn watch(shared: &Shared, lanes: &Lanes, used: &[ConnectionInfo]) {
    loop {
        // One that was slow is asked again at once: either it answers, or three in a row end it.
        let Ok(seen) = shared.probe.again(lanes).await else {
            tokio::time::sleep(shared.settings.command_timeout).await;
            continue;
        };
        shared.saw(&seen);
        if let Some(used) = used.first()
            && connect::is_replaced(&shared.settings, &shared.servers, used).await
        {
            let reason = "the sentinels name another server".to_owned();
            lanes.break_off(Broken { reason, slow: false });
        }
        tokio::time::sleep(SECOND).await;
    }
}

/// Passes on what is published. A subscription that is lost is made again; commands go on meanwhile.
async fn listen(shared: &Shared, servers: &[ConnectionInfo], first: Subscription) {
    let mut subscription = first;
    loop {
        hear(shared, subscription).await;
        shared.pass_on(Message::Gap);
        subscription = subscribe_again(shared, servers).await;
        shared.pass_on(Message::Gap);
    }
}

/// Ends when the connection is lost, or does not answer a ping in time.
async fn hear(shared: &Shared, Subscription { mut sink, mut stream }: Subscription) {
    let limit = shared.settings.connect_timeout;
    let alive = async {
        loop {
            tokio::time::sleep(SECOND).await;
            match tokio::time::timeout(limit, sink.ping::<redis::Value>()).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
    };
    let pass_on = async {
        while let Some(message) = stream.next().await {
            if let Some(channel) = shared.channel_named(message.get_channel_name()) {
                let payload = Bytes::copy_from_slice(message.get_payload_bytes());
                shared.pass_on(Message::Published { channel, payload });
            }
        }
    };
    tokio::select! { () = alive => {}, () = pass_on => {} }
}

async fn subscribe_again(shared: &Shared, servers: &[ConnectionInfo]) -> Subscription {
    let mut wait = FIRST_WAIT;
    loop {
        let channels = shared.settings.channels();
        if let Ok(subscription) = connect::subscribe(servers, &channels, shared.settings.connect_timeout).await {
            return subscription;
        }
        tokio::time::sleep(jittered(wait)).await;
        wait = (wait * 2).min(SECOND);
    }
}

/// Between half of `wait` and all of it, so that replicas do not come back in step.
fn jittered(wait: Duration) -> Duration {
    let mut random = [0_u8; 2];
    // Without randomness it is no jitter, and no harm.
    let _ = aws_lc_rs::rand::fill(&mut random);
    let share = f64::from(u16::from_ne_bytes(random)) / f64::from(u16::MAX);
    wait.mul_f64(0.5 + share / 2.0)
}

impl Shared {
    fn channel_named(&self, name: &str) -> Option<Channel> {
        Channel::ALL.into_iter().find(|channel| {
            name.strip_prefix(&*self.settings.prefix).and_then(|rest| rest.strip_prefix(':')) == Some(channel.name())
        })
    }
}
