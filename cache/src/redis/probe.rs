//! Whether Redis can be used: whether it takes writes, and lets its user do all that Weir does there.

use std::sync::LazyLock;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::{
    Gone, Script, Settings, key,
    lane::{Broken, Connection, Lanes},
    reason,
};

static PROBE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("probe.lua")));

/// What is tried, and on which keys: a text, a hash and a sorted set in one slot.
pub(super) struct Probe {
    keys: [String; 3],
    channel: String,
}

/// Time in ms, whether the server says which one it is, the commands that are refused, whether it may evict.
type Answer = (u64, bool, Vec<String>, bool);

/// What a server that can be used says of itself.
pub(super) struct Seen {
    pub(super) now_ms: u64,
    /// It may forget what is not old yet, for want of room.
    pub(super) evicts: bool,
}

/// Why a server is of no use, in words for an operator.
pub(super) struct Unusable(pub(super) String);

impl Probe {
    pub(super) fn new(settings: &Settings) -> Self {
        let key = |suffix| key(&settings.prefix, "probe", suffix);
        Self { keys: [key("t"), key("h"), key("z")], channel: format!("{}:probe", settings.prefix) }
    }

    /// Tries all that is needed over new connections.
    pub(super) async fn first(&self, small: &Connection, lasting: &Connection) -> Result<Seen, Unusable> {
        let [text, hash, sorted_set] = &self.keys;
        let (keys, args) = ([text.as_str(), hash, sorted_set], [self.channel.as_bytes()]);
        let (mut small, mut small_in_full, mut lasting) = (small.clone(), small.clone(), lasting.clone());
        // In full as well, since the server may know the script from before, and will not know all that come after it.
        let in_full = PROBE.in_full(&keys, &args);
        let mut wait = redis::cmd("WAIT");
        wait.arg(0).arg(1);
        // All at once: a server that is far away has no more time than a near one.
        let (answered_in_full, answer, waited) = tokio::join!(
            small_in_full.ask(&in_full),
            small.run(&PROBE, &keys, &args),
            lasting.on_primary_of(text, wait)
        );
        answered_in_full?;
        let answer = answer?;
        match waited {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => Err(error.into()),
            // Whoever has no replicas may do without it.
            _ => judge(redis::from_redis_value(answer).map_err(RedisError::from)?),
        }
    }

    /// Asks whether all is still as it was, within the time of any small command. Connections that are of no use any more are given up.
    pub(super) async fn again(&self, lanes: &Lanes) -> Result<Seen, Gone> {
        let [text, hash, sorted_set] = &self.keys;
        let answer = lanes.run(&lanes.small, &PROBE, &[text, hash, sorted_set], &[self.channel.as_bytes()]).await;
        let judged = match answer {
            Ok(answer) => judge(answer),
            // The log has what was refused.
            Err(Gone::Failed) => Err(Unusable("it refuses what it allowed before".to_owned())),
            Err(gone) => return Err(gone),
        };
        judged.map_err(|Unusable(reason)| {
            lanes.break_off(Broken { reason, slow: false });
            Gone::Down
        })
    }
}

fn judge((now_ms, is_known, refused, evicts): Answer) -> Result<Seen, Unusable> {
    // Nothing but commands of our own is repeated.
    let refused: Vec<&str> = refused.iter().map(String::as_str).filter(|word| is_command(word)).collect();
    if !refused.is_empty() {
        return Err(Unusable(reason::forbidden(&refused.join(", "))));
    }
    if !is_known {
        return Err(Unusable(
            "its INFO has no `run_id` and `connected_slaves`, as that of Redis and Valkey has".to_owned(),
        ));
    }
    Ok(Seen { now_ms, evicts })
}

fn is_command(word: &str) -> bool {
    word.len() <= 16 && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

impl From<RedisError> for Unusable {
    fn from(error: RedisError) -> Self {
        Self(reason::of(&error))
    }
}
