//! A Redis as the replicas see it: late, at times not at all, and what it says in the order in which it was said.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, sleep, sleep_until},
};

use crate::{
    redis::Gone,
    tags::{
        Tag,
        generation::{Generation, at_server},
        marks::WriteId,
        remote::{Heard, Mark, NotRaised, Raise, Readings, Remote},
    },
};

const TIMEOUT: Duration = Duration::from_millis(50);

pub(super) struct World {
    state: Mutex<State>,
    random: Mutex<Random>,
}

struct State {
    server: u64,
    kept: HashMap<[u8; 16], Kept>,
    /// What was kept earlier, and when.
    earlier: Vec<(Instant, HashMap<[u8; 16], Kept>)>,
    losses: u64,
    ways: Vec<Way>,
}

#[derive(Clone, Default)]
struct Kept {
    generation: Option<Generation>,
    marks: HashMap<WriteId, Instant>,
}

/// From one replica to Redis.
struct Way {
    link: Link,
    muted: bool,
    /// What was on its way when it was cut never arrives.
    session: u64,
    latest: Instant,
    messages: UnboundedSender<(Instant, u64, Heard)>,
    heard: Option<UnboundedReceiver<(Instant, u64, Heard)>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Up,
    Silent,
    Down,
}

/// SplitMix64.
pub(super) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    pub(super) fn up_to(&mut self, max: u64) -> u64 {
        self.next() % (max + 1)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    pub(super) fn one_in(&mut self, cases: u64) -> bool {
        self.next().is_multiple_of(cases)
    }

    pub(super) async fn pause(&mut self, max_ms: u64) {
        sleep(Duration::from_millis(self.up_to(max_ms))).await;
    }
}

impl World {
    pub(super) fn new(seed: u64, replicas: usize) -> Self {
        let way = || {
            let (messages, heard) = unbounded_channel();
            Way { link: Link::Up, muted: false, session: 0, latest: Instant::now(), messages, heard: Some(heard) }
        };
        let ways = (0..replicas).map(|_| way()).collect();
        let state = State { server: 1, kept: HashMap::new(), earlier: Vec::new(), losses: 0, ways };
        Self { state: Mutex::new(state), random: Mutex::new(Random(seed)) }
    }

    pub(super) fn random(&self) -> Random {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).fork()
    }

    pub(super) fn remote(self: &Arc<Self>, replica: usize) -> SimulatedRemote {
        SimulatedRemote { world: self.clone(), replica }
    }

    pub(super) fn reaches(&self, replica: usize) -> bool {
        self.lock().ways[replica].link == Link::Up
    }

    /// How often marks may have been lost.
    pub(super) fn losses(&self) -> u64 {
        self.lock().losses
    }

    pub(super) fn cut(&self, replica: usize, known: bool) {
        let way = &mut self.lock().ways[replica];
        way.link = if known { Link::Down } else { Link::Silent };
        way.session += 1;
        if known {
            way.tell(Heard::Gap, 0);
        }
    }

    pub(super) fn mute(&self, replica: usize) {
        let way = &mut self.lock().ways[replica];
        way.muted = true;
        way.session += 1;
    }

    pub(super) fn mend(&self, replica: usize) {
        let way = &mut self.lock().ways[replica];
        if way.link != Link::Up || way.muted {
            (way.link, way.muted) = (Link::Up, false);
            way.tell(Heard::Gap, 0);
        }
    }

    /// FLUSHALL: nobody hears of it.
    pub(super) fn empty(&self) {
        let mut state = self.lock();
        state.kept.clear();
        state.losses += 1;
    }

    pub(super) fn restart_empty(&self) {
        let mut state = self.lock();
        state.kept.clear();
        state.another_server();
    }

    /// What it has is about so old.
    pub(super) fn set_back(&self, by: Duration) {
        let mut state = self.lock();
        let now = Instant::now();
        let kept = state.earlier.iter().rev().find(|(at, _)| *at + by <= now).map(|(_, kept)| kept.clone());
        state.kept = kept.unwrap_or_default();
        state.another_server();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `script` at a moment of its own, unless what was asked or what is answered is lost.
    async fn run<T>(&self, replica: usize, script: impl FnOnce(&mut State, &mut Random) -> T) -> Result<T, Gone> {
        let mut random = self.random();
        random.pause(3).await;
        let link = self.lock().ways[replica].link;
        if link == Link::Silent {
            sleep(TIMEOUT).await;
            return Err(Gone::Timeout);
        } else if link == Link::Down {
            return Err(Gone::Down);
        }
        let done = script(&mut self.lock(), &mut random);
        let slow = random.one_in(20);
        random.pause(if slow { 40 } else { 3 }).await;
        if !self.reaches(replica) || random.one_in(50) {
            sleep(TIMEOUT).await;
            return Err(Gone::Timeout);
        }
        Ok(done)
    }
}

impl State {
    fn another_server(&mut self) {
        self.server += 1;
        self.losses += 1;
        for way in &mut self.ways {
            way.session += 1;
            way.tell(Heard::Gap, 0);
        }
    }

    fn at_server(&self, kept: &Generation) -> Generation {
        at_server(&self.server.to_be_bytes(), kept)
    }

    fn publish(&mut self, random: &mut Random, heard: impl Fn() -> Heard) {
        for way in &mut self.ways {
            if way.link == Link::Up && !way.muted {
                // At times very late.
                let late_ms = if random.one_in(30) { random.up_to(1_500) } else { random.up_to(5) };
                way.tell(heard(), late_ms);
            }
        }
    }
}

impl Way {
    fn tell(&mut self, heard: Heard, late_ms: u64) {
        self.latest = self.latest.max(Instant::now() + Duration::from_millis(late_ms));
        let _ = self.messages.send((self.latest, self.session, heard));
    }
}

pub(super) struct SimulatedRemote {
    world: Arc<World>,
    replica: usize,
}

impl Remote for SimulatedRemote {
    fn is_up(&self) -> bool {
        self.world.lock().ways[self.replica].link != Link::Down
    }

    fn read<'a>(&'a self, tags: &'a [Tag], start: Option<Generation>) -> BoxFuture<'a, Result<Readings, Gone>> {
        Box::pin(self.world.run(self.replica, move |state, _| {
            let now = Instant::now();
            let mut pending = false;
            let mut generations = Vec::new();
            for tag in tags {
                if let Some(start) = start {
                    let kept = state.kept.entry(tag.id).or_default();
                    kept.generation.get_or_insert(start);
                    pending |= kept.marks.values().any(|until| now < *until);
                }
                let kept = state.kept.get(&tag.id).and_then(|kept| kept.generation);
                generations.push(kept.map(|kept| state.at_server(&kept)));
            }
            Readings { generations, pending }
        }))
    }

    fn raise<'a>(&'a self, raise: Raise<'a>) -> BoxFuture<'a, Result<Generation, NotRaised>> {
        Box::pin(async move {
            let raised = self.world.run(self.replica, |state, random| {
                for tag in raise.tags {
                    let kept = state.kept.entry(tag.id).or_default();
                    kept.generation = Some(raise.generation);
                    match raise.mark {
                        Mark::None => {}
                        Mark::Pending(write, pending) => drop(kept.marks.insert(write, Instant::now() + pending)),
                        Mark::Ended(write) => drop(kept.marks.remove(&write)),
                    }
                }
                let copy = state.kept.clone();
                state.earlier.push((Instant::now(), copy));
                let generation = state.at_server(&raise.generation);
                let tags: Vec<_> = raise.tags.iter().map(|tag| tag.id).collect();
                state.publish(random, || Heard::Raised { tags: tags.clone(), generation });
                generation
            });
            raised.await.map_err(|_gone| NotRaised::Gone)
        })
    }

    fn beat<'a>(&'a self, said: &'a [u8]) -> BoxFuture<'a, Result<(), Gone>> {
        Box::pin(self.world.run(self.replica, |state, random| state.publish(random, || Heard::Beat(said.to_vec()))))
    }

    fn hear(&self) -> BoxStream<'static, Heard> {
        let heard = self.world.lock().ways[self.replica].heard.take().expect("each replica listens once");
        let (world, replica) = (self.world.clone(), self.replica);
        let listen = move |mut heard: UnboundedReceiver<(Instant, u64, Heard)>| {
            let world = world.clone();
            async move {
                loop {
                    let (at, session, message) = heard.recv().await?;
                    sleep_until(at).await;
                    if message == Heard::Gap || session == world.lock().ways[replica].session {
                        return Some((message, heard));
                    }
                }
            }
        };
        stream::unfold(heard, listen).boxed()
    }
}
