//! How many calls run at once: never more than the config says, and fewer while the machine does not keep up.
//!
//! Calls of tools alone are shed. Whatever frees this process or tells how it is, such as cancellations, probes, lists, the operator's
//! listener and the drain, never passes here.

mod load;

use std::{
    num::NonZero,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use self::load::{Load, WHOLE};
use crate::telemetry;

/// How often it is measured how late this process is.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// With no more calls than this for each processor it is not the calls that keep the process from keeping up, and to refuse them would not help.
const ALWAYS_PER_PROCESSOR: usize = 4;

/// The calls that run now, and whether one more may.
#[derive(Debug)]
pub(crate) struct Shed {
    taken: Arc<AtomicUsize>,
    max: usize,
    /// So many may run whatever the pressure is.
    always: usize,
    pressure: Arc<Pressure>,
}

/// A call that runs; it is one less when this is dropped.
#[derive(Debug)]
pub(crate) struct Slot(Arc<AtomicUsize>);

/// Why a call may not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// As many run as may.
    Full,
    /// The machine does not keep up.
    Overloaded,
}

/// Which part of the calls is let in.
#[derive(Debug)]
struct Pressure {
    load: Mutex<Load>,
    share: AtomicU32,
    /// Calls in parts of [`WHOLE`]: one is let in whenever a whole one is passed.
    let_in: AtomicU32,
}

impl Shed {
    /// At most `max` calls at once. From now on it is measured whether this process keeps up. Must run inside a tokio runtime.
    pub(crate) fn new(max: usize) -> Self {
        let pressure =
            Arc::new(Pressure { load: Mutex::default(), share: AtomicU32::new(WHOLE), let_in: AtomicU32::new(0) });
        tokio::spawn(measure(Arc::downgrade(&pressure)));
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { taken: Arc::default(), max, always: ALWAYS_PER_PROCESSOR * processors, pressure }
    }

    /// The same calls under another bound: those that run go on.
    pub(crate) fn with_max(&self, max: usize) -> Self {
        Self { taken: self.taken.clone(), max, pressure: self.pressure.clone(), ..*self }
    }

    /// Lets a call run, or refuses it at once.
    pub(crate) fn take(&self) -> Result<Slot, Refused> {
        let more = |taken| (taken < self.max).then_some(taken + 1);
        let refused = if self.taken() >= self.always && !self.pressure.lets_in() {
            Refused::Overloaded
        } else if self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_err() {
            Refused::Full
        } else {
            return Ok(Slot(self.taken.clone()));
        };
        telemetry::shed(match refused {
            Refused::Full => "full",
            Refused::Overloaded => "overloaded",
        });
        Err(refused)
    }

    /// How many run.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// How many calls are let in, of 1.
    pub(crate) fn share(&self) -> f64 {
        f64::from(self.pressure.share.load(Ordering::Relaxed)) / f64::from(WHOLE)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Pressure {
    fn lets_in(&self) -> bool {
        let share = self.share.load(Ordering::Relaxed);
        if share >= WHOLE {
            return true;
        }
        // In even steps rather than by chance: of ten calls at a share of a half, five are let in.
        let before = self.let_in.fetch_add(share, Ordering::Relaxed);
        before % WHOLE + share >= WHOLE
    }

    fn look(&self, late: Duration, now: Duration) {
        let mut load = self.load.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.share.load(Ordering::Relaxed);
        let share = load.look(late, now);
        self.share.store(share, Ordering::Relaxed);
        if before == WHOLE && share < WHOLE {
            tracing::warn!(
                late_ms = late.as_millis(),
                "this process does not keep up: calls are refused until it does"
            );
        } else if before < WHOLE && share == WHOLE {
            tracing::info!("this process keeps up again");
        }
    }
}

/// Measures how late this process gets to what is due: whatever waits for a processor is as late. Ends when nobody asks any more.
async fn measure(pressure: Weak<Pressure>) {
    let began = Instant::now();
    loop {
        let due = Instant::now() + LOOK_EVERY;
        sleep_until(due).await;
        let Some(pressure) = pressure.upgrade() else { return };
        let now = Instant::now();
        pressure.look(now - due, now - began);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{LOOK_EVERY, Refused, Shed};

    #[tokio::test(start_paused = true)]
    async fn a_call_too_many_is_refused_until_another_one_has_ended() {
        let shed = Shed::new(2);
        let (first, _second) = (shed.take().expect("free"), shed.take().expect("free"));
        assert_eq!(shed.take().err(), Some(Refused::Full));
        let more = shed.with_max(3);
        let third = more.take().expect("the bound is another one");
        assert_eq!((more.take().err(), shed.taken()), (Some(Refused::Full), 3));
        drop((first, third));
        assert!(shed.take().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_of_the_calls_is_refused_while_the_machine_does_not_keep_up() {
        let shed = Shed::new(1000);
        let late = |from_ms: u64, to_ms: u64, late_ms| {
            for now_ms in (from_ms..to_ms).step_by(20) {
                shed.pressure.look(Duration::from_millis(late_ms), Duration::from_millis(now_ms));
            }
        };
        late(0, 10_000, 0);
        assert!((0..100).all(|_| shed.take().is_ok()));
        late(10_000, 20_000, 400);
        let few: Vec<_> = (0..shed.always).map(|_| shed.take().expect("few are always let in")).collect();
        let let_in = (0..1000).filter(|_| shed.take().is_ok()).count();
        assert_eq!(let_in as f64 / 1000.0, shed.share(), "let in evenly");
        assert!((1..=100).contains(&let_in), "{let_in}");
        late(20_000, 23_000, 1);
        assert!((0..100).all(|_| shed.take().is_ok()));
        drop(few);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_keeps_up_refuses_nothing() {
        let shed = Shed::new(10);
        tokio::time::sleep(500 * LOOK_EVERY).await;
        assert!(shed.take().is_ok() && shed.share() == 1.0);
    }
}
