//! The connections over which commands go, and what tells that they are of no use any more.

use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use redis::{
    Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind, Value,
    aio::{ConnectionLike as _, MultiplexedConnection},
    cluster_async::ClusterConnection,
    cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
};
use tokio::{sync::Notify, time::Instant};

use super::{Gone, Script, reason};

/// After so many commands in a row without an answer in time none is tried for a while. Commands that were under way at the same time
/// tell of the same moment and count once: a short halt, of Redis or of this process, is no reason to do without it.
const SLOW_MAX: u32 = 3;

/// A connection that many use at once. Giving up on a command leaves it in order: its answer is read and dropped.
#[derive(Clone)]
pub(super) enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// What one kind of command goes over.
pub(super) struct Lane {
    connection: Connection,
    limit: Duration,
    slow_in_a_row: AtomicU32,
    /// When the last of those was given up.
    slow_at: Mutex<Option<Instant>>,
}

/// The connections made together. They are used until one of them is found to be of no use; then all are made again.
pub(super) struct Lanes {
    pub(super) small: Lane,
    pub(super) bulk: Lane,
    /// For what waits for replicas: `WAIT` holds up whatever comes after it on the same connection.
    pub(super) lasting: Lane,
    broken: OnceLock<Broken>,
    breaks: Notify,
    /// Whether it was told already that the server refuses commands.
    refusal_told: AtomicBool,
}

/// Why connections were given up.
#[derive(Debug, Clone)]
pub(super) struct Broken {
    pub(super) reason: String,
    /// The server is there but too slow: it is left alone for a while.
    pub(super) slow: bool,
}

impl Lanes {
    pub(super) fn new(connections: [Connection; 3], small: Duration, bulk: Duration) -> Self {
        let [for_small, for_bulk, for_lasting] = connections;
        Self {
            small: Lane::new(for_small, small),
            bulk: Lane::new(for_bulk, bulk),
            lasting: Lane::new(for_lasting, small),
            broken: OnceLock::new(),
            breaks: Notify::new(),
            refusal_told: AtomicBool::new(false),
        }
    }

    /// Whether they may still be used: one atomic load.
    pub(super) fn usable(&self) -> bool {
        self.broken.get().is_none()
    }

    pub(super) fn break_off(&self, broken: Broken) {
        if self.broken.set(broken).is_ok() {
            // Only the keeper waits; a permit is kept for it if it does not wait yet.
            self.breaks.notify_one();
        }
    }

    /// Waits until they are of no use.
    pub(super) async fn broken(&self) -> Broken {
        loop {
            if let Some(broken) = self.broken.get() {
                return broken.clone();
            }
            self.breaks.notified().await;
        }
    }

    /// Runs a script within the lane's time.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        lane: &Lane,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<T, Gone> {
        let mut connection = lane.connection.clone();
        let answer = self.within(lane, lane.limit, connection.run(script, keys, args)).await?;
        read(answer)
    }

    /// Runs a script, and where its answer says that there are replicas, waits until one of them has what it wrote.
    /// Both go over one connection, since Redis waits for what that connection wrote.
    pub(super) async fn run_lasting<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
        wait: Duration,
        has_replicas: impl FnOnce(&T) -> bool,
    ) -> Result<(T, bool), Gone> {
        let lane = &self.lasting;
        let mut connection = lane.connection.clone();
        let answer: T = read(self.within(lane, lane.limit, connection.run(script, keys, args)).await?)?;
        if !has_replicas(&answer) {
            return Ok((answer, true));
        }
        let mut command = redis::cmd("WAIT");
        // Zero would wait for ever.
        command.arg(1).arg(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
        let key = keys.first().copied().unwrap_or_default();
        let reached: u64 = read(self.within(lane, wait + lane.limit, connection.on_primary_of(key, command)).await?)?;
        Ok((answer, reached >= 1))
    }

    async fn within(
        &self,
        lane: &Lane,
        limit: Duration,
        answer: impl Future<Output = RedisResult<Value>>,
    ) -> Result<Value, Gone> {
        let began = Instant::now();
        match tokio::time::timeout_at(began + limit, answer).await {
            Ok(Ok(answer)) => {
                if lane.slow_in_a_row.load(Ordering::Relaxed) != 0 {
                    lane.slow_in_a_row.store(0, Ordering::Relaxed);
                }
                Ok(answer)
            }
            Ok(Err(error)) => Err(self.failed(lane, &error, began)),
            Err(_) => Err(self.slow(lane, began)),
        }
    }

    fn failed(&self, lane: &Lane, error: &RedisError, began: Instant) -> Gone {
        if reason::unusable(error) || lane.connection.is_lost(error) {
            self.break_off(Broken { reason: reason::of(error), slow: false });
            return Gone::Down;
        }
        if lane.connection.lost_a_server(error) {
            // The others of the cluster may well answer, and this one may come back or be replaced.
            self.slow(lane, began);
            return Gone::Down;
        }
        if !self.refusal_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(target: "cache", reason = reason::of(error), "Redis refused a command; told once per connection");
        }
        Gone::Failed
    }

    fn slow(&self, lane: &Lane, began: Instant) -> Gone {
        if lane.is_another_moment(began) && lane.slow_in_a_row.fetch_add(1, Ordering::Relaxed) + 1 >= SLOW_MAX {
            let limit_ms = lane.limit.as_millis();
            let reason = format!("{SLOW_MAX} commands in a row had no answer within {limit_ms} ms");
            self.break_off(Broken { reason, slow: true });
        }
        Gone::Timeout
    }
}

impl Lane {
    fn new(connection: Connection, limit: Duration) -> Self {
        Self { connection, limit, slow_in_a_row: AtomicU32::new(0), slow_at: Mutex::default() }
    }

    /// Whether a command that began then and is given up now began after the last one was given up.
    fn is_another_moment(&self, began: Instant) -> bool {
        let mut slow_at = self.slow_at.lock().unwrap_or_else(PoisonError::into_inner);
        let another = slow_at.is_none_or(|last| last <= began);
        if another {
            *slow_at = Some(Instant::now());
        }
        another
    }
}

impl Connection {
    pub(super) async fn run(&mut self, script: &Script, keys: &[&str], args: &[&[u8]]) -> RedisResult<Value> {
        match self.ask(&script.by_name(keys, args)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.ask(&script.in_full(keys, args)).await
            }
            answer => answer,
        }
    }

    pub(super) async fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Server(connection) => connection.send_packed_command(command).await?.extract_error(),
            Self::Cluster(connection) => connection.req_packed_command(command).await?.extract_error(),
        }
    }

    /// Sends a command that names no key to the server that holds `key`.
    pub(super) async fn on_primary_of(&mut self, key: &str, command: Cmd) -> RedisResult<Value> {
        match self {
            Self::Server(_) => self.ask(&command).await,
            Self::Cluster(connection) => {
                let route = Route::with_key(key, SlotAddr::Master);
                let routing = RoutingInfo::SingleNode(SingleNodeRoutingInfo::SpecificNode(route));
                connection.route_command(command, routing).await?.extract_error()
            }
        }
    }

    /// Whether nothing will come over it any more. A cluster's mends itself, server by server.
    fn is_lost(&self, error: &RedisError) -> bool {
        matches!(self, Self::Server(_)) && (error.kind() == ErrorKind::Io || error.is_unrecoverable_error())
    }

    /// Whether one server of a cluster could not be asked.
    fn lost_a_server(&self, error: &RedisError) -> bool {
        let kind = error.kind();
        matches!(self, Self::Cluster(_))
            && (matches!(kind, ErrorKind::Io | ErrorKind::ClusterConnectionNotFound) || error.is_cluster_error())
    }
}

/// An answer of another form than the script was written for is no fault of the connection.
fn read<T: FromRedisValue>(answer: Value) -> Result<T, Gone> {
    redis::from_redis_value(answer).map_err(|_| Gone::Failed)
}
