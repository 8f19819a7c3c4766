//! One process among those that share generations: what it asks, what it knows, and what it still has to tell.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, Notify};

use crate::{
    entry::TagGeneration,
    octets::random,
    redis::Gone,
    tags::{
        Check, Tag,
        generation::Generation,
        marks::Marks,
        queue::Queue,
        remote::{Lasting, Mark, NotRaised, Raise, Readings, Remote},
        view::View,
    },
};

/// So many raises that waited are told at once: a script holds up all others.
const FLUSHED_AT_ONCE: usize = 256;
/// So often it is tried to read generations in time.
const READINGS_MAX: usize = 3;

pub(super) struct Replica {
    pub(super) remote: Box<dyn Remote>,
    pub(super) view: View,
    /// The writes of this process, for the time when Redis cannot tell of them.
    pub(super) marks: Marks,
    pub(super) left_behind: Notify,
    queue: Queue,
    flushing: Mutex<()>,
    /// How often Redis has answered.
    answers: AtomicU64,
    /// What the generations begin with that this process gives while it is alone.
    name: [u8; 8],
}

impl Replica {
    pub(super) fn new(remote: Box<dyn Remote>, tags_max: usize) -> Self {
        Self {
            remote,
            view: View::new(tags_max),
            marks: Marks::default(),
            left_behind: Notify::new(),
            queue: Queue::new(Tag::new("weir:all", false)),
            flushing: Mutex::default(),
            answers: AtomicU64::new(0),
            name: random(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.remote.is_up()
    }

    /// The generations of `tags` for an entry to come, and whether a write that concerns any of them is under way.
    pub(super) async fn read(&self, tags: &[Tag]) -> Result<(Vec<TagGeneration>, bool), Gone> {
        let Readings { generations, pending } = self.ask(tags, Some(random())).await?;
        let known = tags.iter().zip(generations);
        let known = known.map(|(tag, generation)| Some(TagGeneration { tag: *tag, generation: generation? }));
        // All have one, since a start was given.
        Ok((known.collect::<Option<_>>().ok_or(Gone::Failed)?, pending))
    }

    /// Those of which the view does not say that they are as they were.
    pub(super) fn in_doubt(&self, known: &[TagGeneration]) -> Vec<TagGeneration> {
        let epoch = self.view.trusted_epoch().filter(|_| self.queue.is_empty());
        let same = |known: &TagGeneration| {
            // One that differs is in doubt too: another replica may have read what was not heard of here yet.
            epoch.is_some_and(|epoch| self.view.read_in(epoch, known.tag) == Some(known.generation))
        };
        known.iter().filter(|known| known.tag.strict || !same(known)).copied().collect()
    }

    /// Raises tags in the order that is given, and marks them.
    pub(super) async fn raise(&self, tags: &[Tag], mark: Mark, lasting: Lasting) -> Result<(), NotRaised> {
        if tags.is_empty() {
            return Ok(());
        }
        self.flush().await.map_err(|_gone| NotRaised::Gone)?;
        self.tell(tags, mark, lasting).await
    }

    /// As far as this process goes the tags are raised now.
    pub(super) fn raise_later(&self, tags: &[Tag]) {
        self.queue.push(tags.iter().copied(), random());
        self.left_behind.notify_one();
    }

    /// Tells Redis of the raises that wait, in their order.
    pub(super) async fn flush(&self) -> Result<(), Gone> {
        if self.queue.is_empty() {
            return Ok(());
        }
        let _turn = self.flushing.lock().await;
        loop {
            let first = self.queue.first(FLUSHED_AT_ONCE);
            if first.is_empty() {
                return Ok(());
            }
            let tags: Vec<Tag> = first.iter().map(|(tag, _)| *tag).collect();
            self.tell(&tags, Mark::None, Lasting::No).await.map_err(|_not_raised| Gone::Down)?;
            self.queue.told(&first);
        }
    }

    /// What Redis has of `tags`. Those of which it has nothing begin with `start`, if one is given.
    ///
    /// What comes too late is asked for again: without it an entry is of no use, and a fetch is of none to others, which may cost seconds.
    /// Redis is given up by then if it goes on like that.
    pub(super) async fn ask(&self, tags: &[Tag], start: Option<Generation>) -> Result<Readings, Gone> {
        for _ in 1..READINGS_MAX {
            match self.ask_once(tags, start).await {
                Err(Gone::Timeout) if self.is_up() => {}
                answer => return answer,
            }
        }
        self.ask_once(tags, start).await
    }

    async fn ask_once(&self, tags: &[Tag], start: Option<Generation>) -> Result<Readings, Gone> {
        self.flush().await?;
        let moment = self.view.moment(tags);
        let readings = self.remote.read(tags, start).await?;
        self.answers.fetch_add(1, Ordering::AcqRel);
        self.view.learn(&moment, tags, &readings.generations);
        Ok(readings)
    }

    async fn tell(&self, tags: &[Tag], mark: Mark, lasting: Lasting) -> Result<(), NotRaised> {
        let generation = self.remote.raise(Raise { tags, generation: random(), mark, lasting }).await?;
        self.answers.fetch_add(1, Ordering::AcqRel);
        self.view.raised(tags, generation);
        Ok(())
    }
}

/// While Redis is gone.
impl Replica {
    /// The generations of `tags` for an entry to come. They are of use until Redis is back, or until this process raises them.
    pub(super) fn read_alone(&self, tags: &[Tag]) -> Vec<TagGeneration> {
        let own = self.own_generation();
        let generation = |tag: &Tag| self.queue.get(*tag).unwrap_or(own);
        tags.iter().map(|tag| TagGeneration { tag: *tag, generation: generation(tag) }).collect()
    }

    /// Whether an entry about `tags` may be stored, as far as this process knows.
    pub(super) fn storable_alone(&self, tags: &[Tag]) -> bool {
        !tags.iter().any(|tag| tag.strict || self.marks.pending(*tag))
    }

    pub(super) fn check_alone(&self, tags: &[TagGeneration]) -> Check {
        if tags.iter().any(|known| self.has_moved(known)) {
            Check::Moved
        } else if tags.iter().any(|known| known.tag.strict) {
            Check::Unknowable
        } else {
            Check::Unverified
        }
    }

    /// Whether this process knows that much.
    fn has_moved(&self, known: &TagGeneration) -> bool {
        if let Some(raised) = self.queue.get(known.tag) {
            return raised != known.generation;
        }
        if known.generation.starts_with(&self.name) {
            return known.generation != self.own_generation();
        }
        self.view.last(known.tag).is_some_and(|last| last != known.generation)
    }

    /// Another one after each answer of Redis: what was stored before that is dead.
    fn own_generation(&self) -> Generation {
        let mut generation = Generation::default();
        let (name, answers) = generation.split_at_mut(self.name.len());
        name.copy_from_slice(&self.name);
        answers.copy_from_slice(&self.answers.load(Ordering::Acquire).to_be_bytes());
        generation
    }
}
