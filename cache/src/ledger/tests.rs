use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use standins::redis::{MASTER_NAME, PrivateRedis, RedisOptions, Reply, SentinelSet};

use super::{
    Begun, Known, Ledger, NewWrite, Settings, State, Unknowable,
    model::Step,
    names::{Kind, Place},
};
use crate::{
    Sealer,
    redis::{self, Redis},
    testing::redis_at,
};

const SECRET: [u8; 32] = [7; 32];
const HOUR: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(20);

fn settings() -> Settings {
    Settings {
        kept_for: HOUR,
        refused_after_loss: Duration::from_secs(60),
        answer_bytes_max: 1000,
        replica_timeout: Duration::from_secs(1),
    }
}

async fn connected(server: &PrivateRedis) -> Result<Redis> {
    redis_at(redis::Kind::Single, server.url()).await
}

/// Another replica each time.
async fn replica(server: &PrivateRedis) -> Result<Ledger> {
    Ok(Ledger::shared(connected(server).await?, settings(), Sealer::new(&SECRET, &[], 1000), &SECRET))
}

fn write(number: u8, lease: Duration) -> NewWrite {
    NewWrite { operation: [number; 16], lease, print: [number % 2; 16], about: Bytes::from_static(b"about it") }
}

fn first(begun: Begun) -> Result<super::Ticket> {
    match begun {
        Begun::First(ticket) => Ok(ticket),
        Begun::Before(known) => bail!("there was one before: {known:?}"),
    }
}

fn before(begun: Begun) -> Result<Known> {
    match begun {
        Begun::Before(known) => Ok(known),
        Begun::First(_) => bail!("the key was free"),
    }
}

#[tokio::test]
async fn one_key_of_one_caller_is_one_write_wherever_it_comes() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    let memory = Ledger::in_memory(settings(), &SECRET);
    let (one, two) = (replica(&server).await?, replica(&server).await?);
    for (one, two) in [(memory.clone(), memory), (one, two)] {
        let (owner, other) = (one.names().owner(&[b"weir", b"ann"]), one.names().owner(&[b"weir", b"bob"]));
        let ticket = first(one.begin(owner, b"k", &write(1, HOUR)).await?)?;
        let waiting = before(two.begin(owner, b"k", &write(2, HOUR)).await?)?;
        ensure!((waiting.operation, waiting.state, waiting.print) == ([1; 16], State::Waiting, [1; 16]), "{waiting:?}");
        ensure!(waiting.about == "about it", "{waiting:?}");
        first(two.begin(other, b"k", &write(3, HOUR)).await?)?;
        ticket.sent().await?;
        ticket.sent().await?;
        let mut watch = two.watch();
        ensure!(before(two.begin(owner, b"k", &write(2, HOUR)).await?)?.state == State::Sent);
        let (ended, ()) = tokio::join!(
            tokio::time::timeout(PATIENCE, watch.ended([1; 16], HOUR)),
            ticket.done(Some(Bytes::from_static(b"the answer")))
        );
        ended.context("nobody was told that it ended")?;
        let done = before(two.begin(owner, b"k", &write(2, HOUR)).await?)?;
        ensure!((done.state, done.answer.as_deref()) == (State::Done, Some(&b"the answer"[..])), "{done:?}");
        let (known, _) = two.find(owner, [1; 16]).await?.context("by its id")?;
        ensure!(known == done && known.ended_ms.is_some(), "{known:?}");
        ensure!(two.find(other, [1; 16]).await?.is_none(), "somebody else's");
    }
    Ok(())
}

#[tokio::test]
async fn what_was_not_sent_is_free_and_what_was_is_never_made_again() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    for ledger in [Ledger::in_memory(settings(), &SECRET), replica(&server).await?] {
        let owner = ledger.names().owner(&[b"ann"]);
        let begin = async |key: &[u8], number| ledger.begin(owner, key, &write(number, HOUR)).await;
        first(begin(b"released", 1).await?)?.release().await;
        ensure!(ledger.find(owner, [1; 16]).await?.context("told")?.0.state == State::NotMade);
        let second = first(begin(b"released", 2).await?)?;
        second.sent().await?;
        second.unknown().await;
        ensure!(before(begin(b"released", 3).await?)?.state == State::Unknown);
        // A late answer is told; nothing that came before it is.
        second.done(Some(Bytes::from_static(b"late"))).await;
        second.release().await;
        second.unknown().await;
        let late = before(begin(b"released", 3).await?)?;
        ensure!(late.state == State::Done && late.answer.as_deref() == Some(b"late"), "{late:?}");
        // Too large to keep.
        let large = first(begin(b"large", 4).await?)?;
        large.sent().await?;
        large.done(Some(Bytes::from(vec![b'x'; 1001]))).await;
        let large = before(begin(b"large", 5).await?)?;
        ensure!(large.state == State::Done && large.answer.is_none(), "{large:?}");
        // The leases of those whose process is gone.
        let gone = first(ledger.begin(owner, b"gone", &write(6, Duration::ZERO)).await?)?;
        let taken = first(begin(b"gone", 7).await?)?;
        gone.sent().await.expect_err("another one has the key");
        taken.sent().await?;
        ensure!(ledger.find(owner, [6; 16]).await?.is_none(), "it has no record any more");
        let sent = first(ledger.begin(owner, b"sent", &write(8, Duration::ZERO)).await?)?;
        sent.sent().await?;
        ensure!(before(begin(b"sent", 9).await?)?.state == State::Unknown);
    }
    Ok(())
}

#[tokio::test]
async fn writes_without_a_key_are_known_by_their_id() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    for ledger in [Ledger::in_memory(settings(), &SECRET), replica(&server).await?] {
        let owner = ledger.names().owner(&[b"ann"]);
        let state = async |number: u8| -> Result<Option<State>> {
            ledger.settled().await;
            Ok(ledger.find(owner, [number; 16]).await?.map(|(known, _)| known.state))
        };
        let ticket = ledger.keyless(owner, &write(1, HOUR));
        ensure!(state(1).await?.is_none());
        ticket.sent().await?;
        ensure!(state(1).await? == Some(State::Sent));
        ticket.unknown().await;
        ensure!(state(1).await? == Some(State::Unknown));
        let (_, found) = ledger.find(owner, [1; 16]).await?.context("it is known")?;
        found.done(Some(Bytes::from_static(b"C"))).await;
        ensure!(state(1).await? == Some(State::Done));
        ledger.keyless(owner, &write(2, HOUR)).release().await;
        ensure!(state(2).await? == Some(State::NotMade));
    }
    Ok(())
}

#[tokio::test]
async fn keys_are_refused_for_a_while_once_what_was_known_of_them_is_lost() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    let (one, two) = (replica(&server).await?, replica(&server).await?);
    let owner = one.names().owner(&[b"ann"]);
    first(one.begin(owner, b"k", &write(1, HOUR)).await?)?.done(None).await;
    // The other one had no key yet, and knows all the same what there was.
    let remote = two.0.remote.as_ref().context("it is in Redis")?;
    tokio::time::timeout(PATIENCE, async {
        while remote.mark.lock().is_ok_and(|mark| mark.is_none()) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .context("it has not looked")?;
    server.command(&["FLUSHALL"]).await?;
    two.begin(owner, b"k", &write(2, HOUR)).await.expect_err("that key was used before");
    // One that comes after it is told by those who know.
    let fresh = replica(&server).await?;
    for replica in [&one, &two, &fresh] {
        let refused = replica.begin(owner, b"other", &write(4, HOUR)).await.expect_err("it may have been used before");
        let Unknowable::Lost { refused_for } = refused else { bail!("{refused:?}") };
        ensure!(refused_for > Duration::from_secs(50) && refused_for <= Duration::from_secs(60), "{refused_for:?}");
    }
    Ok(())
}

#[tokio::test]
async fn writes_without_a_key_leave_room_in_memory_for_those_with_one() -> Result<()> {
    let ledger = Ledger::in_memory(settings(), &SECRET);
    let owner = ledger.names().owner(&[b"ann"]);
    let numbered = |number: u32| {
        let mut operation = [0; 16];
        operation[..4].copy_from_slice(&number.to_be_bytes());
        NewWrite { operation, ..write(0, HOUR) }
    };
    for number in 0..200_000 {
        ledger.keyless(owner, &numbered(number)).done(Some(Bytes::from_static(b"C"))).await;
    }
    ensure!(ledger.find(owner, numbered(0).operation).await?.is_none(), "void: the oldest is not forgotten");
    ensure!(ledger.find(owner, numbered(199_999).operation).await?.is_some(), "the newest is");
    ensure!(ledger.takes_keys().await.is_ok());
    first(ledger.begin(owner, b"k", &write(1, HOUR)).await?)?;
    for number in 0_u32..50_000 {
        let _taken_or_not = ledger.begin(owner, &number.to_be_bytes(), &numbered(number)).await;
    }
    ensure!(ledger.takes_keys().await == Err(Unknowable::Full), "void");
    let refused = ledger.begin(owner, b"one more", &write(2, HOUR)).await.map(|_| ());
    ensure!(refused == Err(Unknowable::Full), "{refused:?}");
    ensure!(
        before(ledger.begin(owner, b"k", &write(1, HOUR)).await?)?.operation == [1; 16],
        "what is known stays known"
    );
    Ok(())
}

#[tokio::test]
async fn nothing_is_sent_with_a_key_that_a_server_which_takes_over_would_not_know() -> Result<()> {
    let mut set = SentinelSet::start(RedisOptions::default()).await?;
    let kind = redis::Kind::Sentinel { master_name: MASTER_NAME.to_owned(), user: None, password: None };
    let redis = redis_at(kind, set.url()).await?;
    let ledger = Ledger::shared(redis.clone(), settings(), Sealer::new(&SECRET, &[], 1000), &SECRET);
    let owner = ledger.names().owner(&[b"ann"]);
    let ticket = first(ledger.begin(owner, b"k", &write(1, HOUR)).await?)?;
    set.servers[1].pause().await?;
    ticket.sent().await.expect_err("no replica has it");
    set.servers[1].resume().await?;
    ticket.release().await;
    let sent = async {
        loop {
            let ticket = first(ledger.begin(owner, b"k", &write(2, HOUR)).await?)?;
            if ticket.sent().await.is_ok() {
                return anyhow::Ok(());
            }
            ticket.release().await;
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, sent).await.context("the replica is there again")??;
    let before_it = set.kill_master().await?;
    set.until_another_than(before_it).await?;
    let known = async {
        loop {
            match ledger.begin(owner, b"k", &write(3, HOUR)).await {
                Ok(begun) => return before(begun),
                Err(_unknowable) => tokio::task::yield_now().await,
            }
        }
    };
    let known = tokio::time::timeout(PATIENCE, known).await.context("the other server is used")??;
    ensure!((known.operation, known.state) == ([2; 16], State::Sent), "{known:?}");
    Ok(())
}

#[tokio::test]
async fn nothing_of_callers_lies_in_redis_in_the_clear() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    let ledger = replica(&server).await?;
    let owner = ledger.names().owner(&[b"weir", b"ann-subject"]);
    let ticket = first(ledger.begin(owner, b"key-of-ann", &write(1, HOUR)).await?)?;
    ticket.sent().await?;
    ticket.done(Some(Bytes::from_static(b"answer-for-ann"))).await;
    let Reply::List(keys) = server.command(&["KEYS", "*"]).await? else { bail!("no list of keys") };
    let mut all = Vec::new();
    for key in keys {
        let Reply::Bytes(key) = key else { bail!("no name") };
        let value = server.command(&[b"HGETALL".as_slice(), &key]).await?;
        let Reply::List(fields) = value else { bail!("no hash: {value:?}") };
        all.extend(key);
        for field in fields {
            if let Reply::Bytes(field) = field {
                all.extend(field);
            }
        }
    }
    let holds = |text: &str| all.windows(text.len()).any(|window| window == text.as_bytes());
    ensure!(holds("test:") && holds("print"), "void");
    for told in ["ann", "answer-for", "about it"] {
        ensure!(!holds(told), "{told}");
    }
    Ok(())
}

/// What both came to, without times: those of Redis are its own.
type Seen = Option<([u8; 16], State, Option<Bytes>, Option<bool>)>;

fn seen(known: Option<Known>) -> Seen {
    known.map(|known| (known.operation, known.state, known.answer, Some(known.ended_ms.is_some())))
}

#[tokio::test]
async fn the_scripts_and_the_model_agree_on_random_histories() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    let ledger = replica(&server).await?;
    let remote = ledger.0.remote.as_ref().context("it is in Redis")?;
    let mut reached = [0; 5];
    for seed in 0..40_u64 {
        let mut random = StdRng::seed_from_u64(seed);
        let memory = super::Memory::default();
        let owner = ledger.names().owner(&[&seed.to_be_bytes()]);
        for turn in 0..60 {
            let lease = if random.random_bool(0.3) { Duration::ZERO } else { HOUR };
            let write = write(random.random_range(0..6), lease);
            let key = Place { owner, kind: Kind::Key, name: [random.random_range(0..2); 16] };
            let place = if random.random_bool(0.7) { key } else { key.of_operation([write.operation[0] + 100; 16]) };
            let step = match random.random_range(0..6) {
                0 => Step::Renew,
                1 | 2 => Step::Sent,
                3 => Step::Release,
                4 => Step::Unknown,
                _ => Step::Done(random.random_bool(0.5).then(|| Bytes::from_static(b"answer"))),
            };
            let told = format!("seed {seed}, turn {turn}: {write:?} {step:?} at {place:?}");
            let write = if place.kind == Kind::Key { write } else { NewWrite { operation: place.name, ..write } };
            let now_ms = ledger.now_ms();
            let (there, here) = match random.random_range(0..3) {
                0 if place.kind == Kind::Key => {
                    let here = memory.begin(place, &write, now_ms, settings()).context("room")?;
                    (seen(remote.begin(place, &write).await?), seen(here))
                }
                1 => {
                    let found = remote.find(key.of_operation(write.operation)).await?;
                    let here = memory.find(key.of_operation(write.operation), now_ms);
                    ensure!(
                        found.as_ref().map(|(_, place)| *place) == here.as_ref().map(|(_, place)| *place),
                        "{told}"
                    );
                    (seen(found.map(|(known, _)| known)), seen(here.map(|(known, _)| known)))
                }
                _ => {
                    let here = memory.step(place, &write, &step, now_ms, settings());
                    ensure!(remote.step(place, &write, &step).await? == here, "{told}: {here}");
                    continue;
                }
            };
            ensure!(there == here, "{told}: in Redis {there:?}, in memory {here:?}");
            if let Some((_, state, ..)) = there {
                reached[state as usize] += 1;
            }
        }
    }
    ensure!(reached.iter().all(|times| *times > 5), "void: states were reached so often: {reached:?}");
    Ok(())
}
