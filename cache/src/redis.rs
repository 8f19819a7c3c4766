//! The only place that speaks to Redis: one server, a server that sentinels know, or a cluster.
//!
//! Connections are made and made again by a task of their own. Nobody who asks something of Redis waits for that: what
//! cannot be asked now is [`Gone`] at once, and what gets no answer in time is gone then.

mod address;
mod connect;
mod keeper;
mod lane;
mod probe;
mod reason;
mod script;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use ::redis::{ConnectionInfo, FromRedisValue};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use secrecy::SecretString;
use tokio::{
    sync::{Mutex, broadcast, watch},
    time::Instant,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clock::Clock;
use lane::{Lane, Lanes};
use probe::{Probe, Seen};
pub(crate) use script::Script;

/// How many messages a reader may be behind before it has missed some.
const MESSAGES_MAX: usize = 4_096;
/// After no replica was there in time, so long none is waited for.
const SLOW_REPLICAS_REST: Duration = Duration::from_secs(1);

/// Where Redis is, and how long it is waited for.
#[derive(Debug, Clone)]
pub struct Settings {
    pub kind: Kind,
    /// `redis://` or `rediss://`; for sentinels and clusters several, separated by commas.
    pub url: SecretString,
    /// What every key and channel begins with.
    pub prefix: String,
    pub connect_timeout: Duration,
    pub command_timeout: Duration,
    /// For commands that carry a value.
    pub value_timeout: Duration,
}

/// What answers at the address.
#[derive(Debug, Clone)]
pub enum Kind {
    Single,
    /// Sentinels, which say where the server is. User and password are those of the server.
    Sentinel {
        master_name: String,
        user: Option<String>,
        password: Option<SecretString>,
    },
    Cluster,
}

/// Why settings cannot be used. Never repeats an address: there may be a password within.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error(
        "address {number} is not of the form redis://user:password@host:6379/0, or rediss://… over TLS: \
         write what is special in a password as %2C for a comma, %40 for @, %2F for a slash"
    )]
    Address { number: usize },
    #[error("it names several servers: say `kind: cluster` or `kind: sentinel`, or name one")]
    Several,
    #[error("a cluster has database 0 alone: leave the number off the address")]
    ClusterDatabase,
    #[error("some addresses are redis:// and some rediss://: make all of them the same")]
    PartlySecured,
}

/// A handle on Redis, shared by all that is asked of it. The last one dropped ends the connections.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
    _stop: Arc<DropGuard>,
}

struct Shared {
    settings: Settings,
    servers: Vec<ConnectionInfo>,
    probe: Probe,
    lanes: ArcSwapOption<Lanes>,
    link: watch::Sender<Link>,
    messages: broadcast::Sender<Message>,
    clock: Clock,
    /// What lies there must not be evicted.
    keeps: bool,
    evicts: AtomicBool,
    /// Who waits for replicas. One after the other, since they hold up each other on the connection; and it says until when nobody tries,
    /// because they were too slow for the last one.
    replicas_slow_until: Mutex<Option<Instant>>,
}

/// Whether Redis can be used, why not, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub state: LinkState,
    /// For operators; names no address and no secret.
    pub reason: Option<String>,
    pub since: SystemTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Not reached yet since the start.
    Connecting,
    Up,
    Down,
}

/// Why Redis gave no answer. The cause is in the log, once per change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// It was not asked, or the connection was lost while it was.
    #[error("Redis is not there")]
    Down,
    /// It may have done what it was asked to.
    #[error("Redis did not answer in time")]
    Timeout,
    #[error("Redis refused a command")]
    Failed,
}

/// Why it is not certain that what a script wrote outlives the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotReplicated {
    /// It did not run, or it is not known whether it did.
    Gone,
    /// The server has it, and none of its replicas.
    Unconfirmed,
}

/// What is told to all replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Channel {
    /// A tag was raised.
    Tags,
    /// A fetch that others wait for has ended.
    Landed,
    /// Says regularly that messages still come through.
    Beat,
    /// A write has ended whose repeats may wait for it.
    Operations,
    /// A permit was given back that somebody may wait for.
    Permits,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    Published {
        channel: Channel,
        payload: Bytes,
    },
    /// The subscription was lost, or is there again, or the reader was too slow: what was published meanwhile is unknown.
    Gap,
}

/// What was heard since this was made.
#[derive(Debug)]
pub(crate) struct Messages {
    receiver: broadcast::Receiver<Message>,
}

impl Redis {
    /// Connects to nothing yet: a task of its own connects, and goes on trying, until the last handle is gone.
    /// Must be called within a tokio runtime.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        Self::with(settings, false)
    }

    /// The same for what must not be forgotten early, such as counts: warns where this Redis may evict it.
    pub fn keeping(settings: Settings) -> Result<Self, SettingsError> {
        Self::with(settings, true)
    }

    fn with(settings: Settings, keeps: bool) -> Result<Self, SettingsError> {
        let servers = address::servers(&settings.url, &settings.kind)?;
        let shared = Arc::new(Shared {
            servers,
            probe: Probe::new(&settings),
            settings,
            lanes: ArcSwapOption::empty(),
            link: watch::Sender::new(Link { state: LinkState::Connecting, reason: None, since: SystemTime::now() }),
            messages: broadcast::Sender::new(MESSAGES_MAX),
            clock: Clock::local(),
            keeps,
            evicts: AtomicBool::new(false),
            replicas_slow_until: Mutex::new(None),
        });
        let stop = CancellationToken::new();
        tokio::spawn(keeper::keep(Arc::clone(&shared), stop.clone()));
        Ok(Self { shared, _stop: Arc::new(stop.drop_guard()) })
    }

    /// Whether Redis can be used now, and why not.
    #[must_use]
    pub fn link(&self) -> Link {
        self.shared.link.borrow().clone()
    }

    /// Tells each change of the link.
    #[must_use]
    pub fn link_changes(&self) -> watch::Receiver<Link> {
        self.shared.link.subscribe()
    }

    /// Whether both are handles on the same connections.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Whether it may evict what must not be forgotten early.
    #[must_use]
    pub fn evicts(&self) -> bool {
        self.shared.evicts.load(Ordering::Relaxed)
    }

    /// Whether Redis can be used now. Made for the path of a call.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.shared.lanes.load().as_ref().is_some_and(|lanes| lanes.usable())
    }

    /// The time by Redis, or until it was heard of by this machine.
    #[must_use]
    pub(crate) fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// A key. All keys with the same `hash_tag` lie in one slot of a cluster, so one script may use them together.
    pub(crate) fn key(&self, hash_tag: &str, suffix: &str) -> String {
        key(&self.shared.settings.prefix, hash_tag, suffix)
    }

    /// The name of a channel, for a script that publishes.
    pub(crate) fn channel(&self, channel: Channel) -> String {
        self.shared.settings.channel(channel)
    }

    /// Runs a script that carries little, within `command_timeout`.
    pub(crate) async fn small<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<T, Gone> {
        self.run(|lanes| &lanes.small, script, keys, args).await
    }

    /// Runs a script that carries a value, within `value_timeout`. Small ones do not wait behind it.
    pub(crate) async fn bulk<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<T, Gone> {
        self.run(|lanes| &lanes.bulk, script, keys, args).await
    }

    /// Runs a script that writes and must outlive the server: it has done so when a replica of the server has what it wrote, where
    /// `has_replicas` reads from the answer that there are any.
    pub(crate) async fn replicated<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
        wait: Duration,
        has_replicas: impl FnOnce(&T) -> bool,
    ) -> Result<T, NotReplicated> {
        let mut slow_until = self.shared.replicas_slow_until.lock().await;
        if slow_until.is_some_and(|until| Instant::now() < until) {
            return Err(NotReplicated::Gone);
        }
        let ran = self.lasting(script, keys, args, wait, has_replicas).await;
        let (answer, reached) = ran.map_err(|_gone| NotReplicated::Gone)?;
        *slow_until = (!reached).then(|| Instant::now() + SLOW_REPLICAS_REST);
        if reached {
            return Ok(answer);
        }
        // At most once in that rest.
        tracing::warn!(
            target: "cache",
            "no replica of Redis has confirmed a change in time: writes with strict tags or idempotency keys are refused for a moment"
        );
        Err(NotReplicated::Unconfirmed)
    }

    /// Runs a script that writes, then waits up to `wait` until a replica of the server has what it wrote, where
    /// `has_replicas` reads from the answer that there are any. Also says whether that came about.
    async fn lasting<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
        wait: Duration,
        has_replicas: impl FnOnce(&T) -> bool,
    ) -> Result<(T, bool), Gone> {
        let lanes = self.lanes()?;
        lanes.run_lasting(script, keys, args, wait, has_replicas).await
    }

    /// What is published from now on.
    pub(crate) fn messages(&self) -> Messages {
        Messages { receiver: self.shared.messages.subscribe() }
    }

    async fn run<T: FromRedisValue>(
        &self,
        lane: impl Fn(&Lanes) -> &Lane,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<T, Gone> {
        let lanes = self.lanes()?;
        lanes.run(lane(&lanes), script, keys, args).await
    }

    fn lanes(&self) -> Result<Arc<Lanes>, Gone> {
        self.shared.lanes.load_full().filter(|lanes| lanes.usable()).ok_or(Gone::Down)
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("link", &*self.shared.link.borrow()).finish_non_exhaustive()
    }
}

impl Shared {
    /// Makes a state known, and logs it once.
    fn tell(&self, state: LinkState, reason: Option<String>) {
        self.link.send_if_modified(|link| {
            if link.state == state {
                let other = link.reason != reason;
                link.reason = reason;
                return other;
            }
            match (&reason, link.state) {
                (Some(reason), _) => {
                    tracing::warn!(target: "cache", reason, "Redis cannot be used: each process goes on alone");
                }
                (None, LinkState::Connecting) => tracing::info!(target: "cache", "Redis is there"),
                (None, _) => tracing::info!(target: "cache", "Redis is there again"),
            }
            *link = Link { state, reason, since: SystemTime::now() };
            true
        });
    }

    /// What the server says of itself, once a second.
    fn saw(&self, seen: &Seen) {
        self.clock.sample(seen.now_ms);
        let evicts = self.keeps && seen.evicts;
        if self.evicts.swap(evicts, Ordering::Relaxed) != evicts {
            if evicts {
                tracing::warn!(
                    target: "cache",
                    "Redis has a maxmemory and may evict counts of limits, permits and what is kept of writes: \
                     set its maxmemory-policy to noeviction, or give them a Redis of their own by redis.state_url"
                );
            } else {
                tracing::info!(target: "cache", "Redis evicts nothing any more that must be kept");
            }
        }
    }

    /// To whoever listens. Nobody may.
    fn pass_on(&self, message: Message) {
        let _ = self.messages.send(message);
    }
}

impl Settings {
    fn channel(&self, channel: Channel) -> String {
        format!("{}:{}", self.prefix, channel.name())
    }

    fn channels(&self) -> Vec<String> {
        Channel::ALL.into_iter().map(|channel| self.channel(channel)).collect()
    }
}

impl Channel {
    const ALL: [Self; 5] = [Self::Tags, Self::Landed, Self::Beat, Self::Operations, Self::Permits];

    fn name(self) -> &'static str {
        match self {
            Self::Tags => "tags",
            Self::Landed => "landed",
            Self::Beat => "beat",
            Self::Operations => "operations",
            Self::Permits => "permits",
        }
    }
}

impl Messages {
    /// The next one, or `None` when every handle on Redis is gone.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        match self.receiver.recv().await {
            Ok(message) => Some(message),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Message::Gap),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

fn key(prefix: &str, hash_tag: &str, suffix: &str) -> String {
    format!("{prefix}:{{{hash_tag}}}{suffix}")
}

#[cfg(test)]
mod tests;
