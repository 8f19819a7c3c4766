//! Hearing what the database says of itself: tags of what changed, by `NOTIFY`.
//!
//! What is said while nobody listens is lost. So each time that listening begins, it is told that anything may have changed.

use std::{sync::Arc, time::Duration};

use config::tag;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio::{
    sync::{Notify, broadcast, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_postgres::{Client, Notification};

use super::{connect::Connector, failure};
use crate::{AdapterEvent, reconnect::Delays};

/// How often the connection is tried: one that is dead without a word is noticed after this time and that of the attempt.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long a look at it, or a command on it, may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How many notifications wait for one who follows them. Beyond that anything may have changed.
const WAITING_MAX: usize = 1024;

/// What a database says on its channel, to all who follow it.
#[derive(Debug)]
pub(super) struct Changes {
    tags: broadcast::Sender<Vec<String>>,
    /// How often listening has begun.
    begun: watch::Sender<u64>,
}

impl Changes {
    pub(super) fn new() -> Self {
        Self { tags: broadcast::Sender::new(WAITING_MAX), begun: watch::Sender::new(0) }
    }

    /// What changes from now on, and what may have changed before.
    pub(super) fn events(&self) -> BoxStream<'static, AdapterEvent> {
        let tags = self.tags.subscribe();
        let mut begun = self.begun.subscribe();
        if *begun.borrow() > 0 {
            begun.mark_changed();
        }
        stream::unfold((tags, begun), async |(mut tags, mut begun)| {
            let event = tokio::select! {
                biased;
                changed = begun.changed() => {
                    changed.ok()?;
                    begun.mark_unchanged();
                    AdapterEvent::ChangedUnknown
                }
                heard = tags.recv() => match heard {
                    Ok(tags) => AdapterEvent::Changed(tags),
                    Err(broadcast::error::RecvError::Lagged(_)) => AdapterEvent::ChangedUnknown,
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
            };
            Some((event, (tags, begun)))
        })
        .boxed()
    }
}

/// Where to listen.
pub(super) struct Channel {
    /// What the log calls the database.
    pub(super) downstream: Box<str>,
    pub(super) name: String,
    pub(super) connector: Connector,
    pub(super) connect_timeout: Duration,
}

/// Listens as long as it is not dropped.
pub(super) async fn follow(channel: Channel, changes: Arc<Changes>) {
    let mut delays = Delays::default();
    let mut told = None;
    loop {
        let why = match channel.begin(&changes).await {
            Ok((client, connection)) => {
                tracing::info!(downstream = %channel.downstream, channel = %channel.name, "hears what the database changes");
                changes.begun.send_modify(|begun| *begun += 1);
                told = None;
                let began = Instant::now();
                until_gone(&client, connection).await;
                if began.elapsed() > LOOK_EVERY {
                    delays.reset();
                }
                "its connection ended".to_owned()
            }
            Err(why) => why,
        };
        if told.as_ref() != Some(&why) {
            tracing::warn!(
                downstream = %channel.downstream, channel = %channel.name, reason = %why,
                "does not hear what the database changes: cached answers end by their age alone until it does"
            );
            told = Some(why);
        }
        tokio::time::sleep(delays.next()).await;
    }
}

impl Channel {
    /// Listens; does not return before a notification of our own was heard. Behind a proxy that shares one connection among many, `LISTEN` goes
    /// well and nothing is ever heard.
    async fn begin(&self, changes: &Arc<Changes>) -> Result<(Client, JoinHandle<()>), String> {
        let own = Arc::new(Notify::new());
        let heard = self.hear(changes.clone(), own.clone());
        let opened = timeout(self.connect_timeout, self.connector.listen(heard)).await;
        let (client, connection) = opened
            .map_err(|_| format!("no connection within {} ms", self.connect_timeout.as_millis()))?
            .map_err(|error| failure::why_not_connected(&error))?;
        // The config lets no quote pass in a name.
        let batch = format!("LISTEN \"{0}\"; NOTIFY \"{0}\"", self.name);
        let listening = async {
            client.batch_execute(&batch).await.map_err(|error| match error.as_db_error() {
                Some(said) => format!("it refuses to be listened to (SQLSTATE {})", said.code().code()),
                None => "its connection ended".to_owned(),
            })?;
            own.notified().await;
            Ok::<(), String>(())
        };
        match timeout(ANSWER_TIMEOUT, listening).await {
            Ok(listening) => listening.map(|()| (client, connection)),
            Err(_) => Err(
                "it takes LISTEN but tells nothing: a pooler in between must give each connection a session of its own"
                    .to_owned(),
            ),
        }
    }

    /// What becomes of a notification. One that has no tags is the sign of life by which `own` ends its wait.
    fn hear(&self, changes: Arc<Changes>, own: Arc<Notify>) -> impl FnMut(Notification) + Send + 'static {
        let (channel, downstream) = (self.name.clone(), self.downstream.clone());
        let mut complained = false;
        move |notification| {
            if notification.channel() != channel {
                return;
            }
            if notification.payload().is_empty() {
                return own.notify_one();
            }
            let (tags, others): (Vec<_>, Vec<_>) = tags_in(notification.payload()).partition(Result::is_ok);
            let tags: Vec<String> = tags.into_iter().flatten().map(str::to_owned).collect();
            if let Some(Err(error)) = others.first()
                && !std::mem::replace(&mut complained, true)
            {
                tracing::warn!(
                    downstream = %downstream, channel = %channel, %error,
                    "a notification holds a line that is no tag; it is passed over, and so are others like it"
                );
            }
            if !tags.is_empty() {
                // Nobody follows before the router has started.
                let _ = changes.tags.send(tags);
            }
        }
    }
}

fn tags_in(payload: &str) -> impl Iterator<Item = Result<&str, tag::TagError>> {
    let lines = payload.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| tag::check(line).map(|()| line))
}

/// Ends with the connection.
async fn until_gone(client: &Client, mut connection: JoinHandle<()>) {
    loop {
        tokio::select! {
            _ = &mut connection => return,
            () = tokio::time::sleep(LOOK_EVERY) => {
                if !matches!(timeout(ANSWER_TIMEOUT, client.check_connection()).await, Ok(Ok(()))) {
                    connection.abort();
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::{Changes, WAITING_MAX, tags_in};
    use crate::AdapterEvent;

    #[test]
    fn a_payload_holds_a_tag_on_each_line_and_what_is_none_is_passed_over() {
        let payload = "customer:1\n\n  ticket:OPS-1\r\nno tag\nweir:all\n:x\ncustomer:of\ttabs\ncustomer:a b";
        let tags: Vec<_> = tags_in(payload).filter_map(Result::ok).collect();
        assert_eq!(tags, ["customer:1", "ticket:OPS-1", "customer:a b"]);
    }

    #[tokio::test]
    async fn who_follows_late_or_too_slowly_hears_that_anything_may_have_changed() {
        let changes = Changes::new();
        let mut early = changes.events();
        changes.begun.send_modify(|begun| *begun += 1);
        let mut late = changes.events();
        let tag = |name: &str| vec![name.to_owned()];
        for index in 0..=WAITING_MAX {
            changes.tags.send(tag(&format!("c:{index}"))).expect("two follow");
        }
        assert_eq!(early.next().await, Some(AdapterEvent::ChangedUnknown), "it began");
        assert_eq!(early.next().await, Some(AdapterEvent::ChangedUnknown), "it was too slow");
        assert_eq!(early.next().await, Some(AdapterEvent::Changed(tag("c:1"))));
        assert_eq!(late.next().await, Some(AdapterEvent::ChangedUnknown));
        drop(changes);
        assert_eq!(late.next().await, None, "there is nothing left to follow");
    }
}
