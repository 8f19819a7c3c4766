//! The generations of all replicas, where they lie together.
//!
//! In a cluster all tags lie in one slot. So one script reads or raises any of them at one moment and in one round trip, and one heartbeat
//! tells of all of them; they are small, and most answers out of the cache ask nothing of it.

use std::time::Duration;

use futures_util::{
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt},
};

use super::{
    Tag,
    generation::{Generation, at_server},
    marks::WriteId,
};
use crate::{
    octets::hex,
    redis::{Channel, Gone, Message, NotReplicated, Redis, Script},
};

/// How long the generation of a tag is kept that nobody reads or raises: far longer than any entry lives. Entries that know one which is
/// not kept any more are dead.
const KEPT: Duration = Duration::from_secs(48 * 60 * 60);
/// Marks beyond these on one tag become one.
const MARKS_MAX: usize = 256;
/// In what is told of a raise, the server comes first, then the generation, then the tags.
const SERVER_BYTES: usize = 40;
const GENERATION_BYTES: usize = size_of::<Generation>();
const HASH_TAG: &str = "tags";

/// What one process sees of the store that all share.
pub(super) trait Remote: Send + Sync + 'static {
    /// Whether asking makes sense.
    fn is_up(&self) -> bool;

    /// What is kept of `tags`, all at one moment. Those of which nothing is kept begin with `start`.
    fn read<'a>(&'a self, tags: &'a [Tag], start: Option<Generation>) -> BoxFuture<'a, Result<Readings, Gone>>;

    /// Raises tags in the order that is given, and tells all processes. Returns their generation.
    fn raise<'a>(&'a self, raise: Raise<'a>) -> BoxFuture<'a, Result<Generation, NotRaised>>;

    /// Says something that all processes hear, after all raises before.
    fn beat<'a>(&'a self, said: &'a [u8]) -> BoxFuture<'a, Result<(), Gone>>;

    /// What is heard from now on.
    fn hear(&self) -> BoxStream<'static, Heard>;
}

#[derive(Debug)]
pub(super) struct Readings {
    /// In the order that was asked for.
    pub(super) generations: Vec<Option<Generation>>,
    /// Whether a write that concerns any of them is under way; told only to those who give a start.
    pub(super) pending: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Raise<'a> {
    pub(super) tags: &'a [Tag],
    pub(super) generation: Generation,
    pub(super) mark: Mark,
    pub(super) lasting: Lasting,
}

/// Whether it must outlive the server: then it is done when a replica of the server has it, where there are any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lasting {
    Yes,
    No,
}

/// What becomes of the marks of a write.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mark {
    None,
    Pending(WriteId, Duration),
    Ended(WriteId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotRaised {
    /// It was not, or it is not known whether it was.
    Gone,
    /// The server has it, and none of its replicas.
    Unreplicated,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Raised {
        tags: Vec<[u8; 16]>,
        generation: Generation,
    },
    Beat(Vec<u8>),
    /// Something may have been missed.
    Gap,
}

/// The store in Redis: per tag a hash with its generation and the marks of writes that are under way.
pub(super) struct InRedis {
    redis: Redis,
    replica_timeout: Duration,
    beat_key: String,
    beat_channel: String,
    tags_channel: String,
    read: Script,
    raise: Script,
    beat: Script,
}

impl InRedis {
    pub(super) fn new(redis: Redis, replica_timeout: Duration) -> Self {
        Self {
            replica_timeout,
            beat_key: redis.key(HASH_TAG, "beat"),
            beat_channel: redis.channel(Channel::Beat),
            tags_channel: redis.channel(Channel::Tags),
            read: Script::new(include_str!("read.lua")),
            raise: Script::new(include_str!("raise.lua")),
            beat: Script::new(include_str!("beat.lua")),
            redis,
        }
    }

    fn keys(&self, tags: &[Tag]) -> Vec<String> {
        tags.iter().map(|tag| self.redis.key(HASH_TAG, &hex(&tag.id))).collect()
    }

    async fn ask(&self, tags: &[Tag], start: Option<Generation>) -> Result<Readings, Gone> {
        let keys = self.keys(tags);
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let start = start.as_ref().map_or(&[][..], |start| start);
        let answer = self.redis.small(&self.read, &keys, &[start, &millis(KEPT)]).await?;
        let (now_ms, server, pending, kept): (u64, Vec<u8>, usize, Vec<Vec<u8>>) = answer;
        self.redis.clock().sample(now_ms);
        if kept.len() != tags.len() {
            return Err(Gone::Failed);
        }
        let generations = kept.iter().map(|kept| (!kept.is_empty()).then(|| at_server(&server, kept))).collect();
        Ok(Readings { generations, pending: pending > 0 })
    }

    async fn tell(&self, raise: Raise<'_>) -> Result<Generation, NotRaised> {
        let keys = self.keys(raise.tags);
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let ids: Vec<u8> = raise.tags.iter().flat_map(|tag| tag.id).collect();
        let (write, pending) = match &raise.mark {
            Mark::None => (&[][..], Duration::ZERO),
            // The mark must not outlive what it lies with, which is kept from now on.
            Mark::Pending(write, pending) => (&write[..], (*pending).clamp(Duration::from_millis(1), KEPT / 2)),
            Mark::Ended(write) => (&write[..], Duration::ZERO),
        };
        let marks_max = MARKS_MAX.to_string().into_bytes();
        let args = [
            &raise.generation[..],
            &millis(KEPT),
            write,
            &millis(pending),
            &marks_max,
            self.tags_channel.as_bytes(),
            &ids,
        ];
        let (now_ms, server, _replicas) = match raise.lasting {
            Lasting::Yes => {
                let has_replicas = |(_, _, replicas): &RaiseAnswer| *replicas > 0;
                let raised = self.redis.replicated(&self.raise, &keys, &args, self.replica_timeout, has_replicas).await;
                raised.map_err(|not_replicated| match not_replicated {
                    NotReplicated::Gone => NotRaised::Gone,
                    NotReplicated::Unconfirmed => NotRaised::Unreplicated,
                })?
            }
            Lasting::No => self.redis.small(&self.raise, &keys, &args).await.map_err(|_gone| NotRaised::Gone)?,
        };
        self.redis.clock().sample(now_ms);
        Ok(at_server(&server, &raise.generation))
    }
}

/// Time in ms, the server, its replicas.
type RaiseAnswer = (u64, Vec<u8>, u64);

impl Remote for InRedis {
    fn is_up(&self) -> bool {
        self.redis.is_up()
    }

    fn read<'a>(&'a self, tags: &'a [Tag], start: Option<Generation>) -> BoxFuture<'a, Result<Readings, Gone>> {
        Box::pin(self.ask(tags, start))
    }

    fn raise<'a>(&'a self, raise: Raise<'a>) -> BoxFuture<'a, Result<Generation, NotRaised>> {
        Box::pin(self.tell(raise))
    }

    fn beat<'a>(&'a self, said: &'a [u8]) -> BoxFuture<'a, Result<(), Gone>> {
        Box::pin(async move {
            let args = [self.beat_channel.as_bytes(), said];
            let now_ms: u64 = self.redis.small(&self.beat, &[&self.beat_key], &args).await?;
            self.redis.clock().sample(now_ms);
            Ok(())
        })
    }

    fn hear(&self) -> BoxStream<'static, Heard> {
        let messages = stream::unfold(self.redis.messages(), |mut messages| async move {
            let message = messages.next().await?;
            Some((message, messages))
        });
        messages.filter_map(async |message| heard(&message)).boxed()
    }
}

fn heard(message: &Message) -> Option<Heard> {
    match message {
        Message::Gap => Some(Heard::Gap),
        Message::Published { channel: Channel::Beat, payload } => Some(Heard::Beat(payload.to_vec())),
        Message::Published { channel: Channel::Tags, payload } => {
            let raised = payload.split_at_checked(SERVER_BYTES + GENERATION_BYTES).map(|(head, ids)| {
                let (server, kept) = head.split_at(SERVER_BYTES);
                let tags = ids.as_chunks().0.to_vec();
                Heard::Raised { tags, generation: at_server(server, kept) }
            });
            // Whoever says what no Weir says may have wanted to say that something was raised.
            Some(raised.unwrap_or(Heard::Gap))
        }
        Message::Published { .. } => None,
    }
}

fn millis(duration: Duration) -> Vec<u8> {
    duration.as_millis().to_string().into_bytes()
}
