//! The tasks that keep the view: one listens, one speaks so that there is something to hear.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::BoxStream};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::replica::Replica;
use crate::{octets::random, tags::remote::Heard};

/// Several within the time for which the view is trusted: one that is late does no harm.
const BEAT_EACH: Duration = Duration::from_millis(250);

pub(super) fn start(replica: &Arc<Replica>, stop: &CancellationToken) {
    let name = random();
    // Before the first heartbeat: from then on nothing goes unheard.
    let heard = replica.remote.hear();
    tokio::spawn(stop.clone().run_until_cancelled_owned(listen(replica.clone(), name, heard)));
    tokio::spawn(stop.clone().run_until_cancelled_owned(speak(replica.clone(), name)));
}

async fn listen(replica: Arc<Replica>, name: [u8; 16], mut heard: BoxStream<'static, Heard>) {
    while let Some(heard) = heard.next().await {
        match heard {
            Heard::Raised { tags, generation } => replica.view.heard(&tags, generation),
            Heard::Beat(said) => {
                if let Some(sent_ms) = said.strip_prefix(&name).and_then(|sent_ms| sent_ms.try_into().ok()) {
                    replica.view.beat(u64::from_be_bytes(sent_ms));
                }
            }
            Heard::Gap => replica.view.gap(),
        }
    }
    replica.view.gap();
}

async fn speak(replica: Arc<Replica>, name: [u8; 16]) {
    let mut beats = interval(BEAT_EACH);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let due = tokio::select! {
            biased;
            _ = beats.tick() => true,
            () = replica.left_behind.notified() => false,
        };
        // A view is of no use while raises wait.
        if replica.is_up() && replica.flush().await.is_ok() && due {
            let said = [&name[..], &replica.view.now_ms().to_be_bytes()].concat();
            // One that was not sent does not come back, which says enough.
            let _ = replica.remote.beat(&said).await;
        }
    }
}
