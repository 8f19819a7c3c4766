//! The way in to a downstream: a place of this process, by turns, and a permit where all replicas together may only make so many calls.

mod fair;
mod places;
mod told;

use std::time::Duration;

use adapters::{CallContext, Caller};
use cache::limits::{NoEntry, Permit, Pool, Side};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use self::{
    fair::{Position, Refusal, Why},
    places::{Found, LocalPlace, Places, Turn, Waiting},
    told::Told,
};
use crate::{Router, call::Trail, catalog::Tool, error::CallError, limits::charged, telemetry};

pub(crate) use places::Figures;

/// Who is refused comes back no sooner.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);

/// The places at one downstream, and the line before them.
#[derive(Debug)]
pub(crate) struct Line {
    places: Places,
    /// The permits that all replicas have together.
    pool: Option<Pool>,
}

/// A call's place at its downstream. It is free again when this is dropped, and whoever is next has it.
#[derive(Debug)]
pub(crate) struct Place {
    // Given back before the place, so that whoever is next finds it.
    permit: Option<Permit>,
    _local: Option<LocalPlace>,
}

impl Line {
    pub(crate) fn new(name: &str, config: &config::Downstream) -> Self {
        let pool = config.calls_max_shared().map(|max| Pool { name: name.into(), max });
        Self { places: Places::new(config.calls_max(), config.line), pool }
    }

    /// The line of the same downstream under other settings, which are not those of the line: who has a place keeps it, so that no more
    /// calls run than before while those of both settings do.
    pub(crate) fn like(&self, name: &str, config: &config::Downstream) -> Self {
        Self { places: self.places.clone(), ..Self::new(name, config) }
    }

    pub(crate) fn figures(&self) -> Figures {
        self.places.figures()
    }

    /// What a call of this caller would find now, for the operator.
    pub(crate) fn explain(&self, caller: &Caller) -> Value {
        let Figures { places, taken, waiting } = self.figures();
        let position = self.places.position_of_new(caller);
        json!({
            "places": places, "taken": taken, "waiting": waiting, "ahead": position.ahead, "ahead_of_the_same_party": position.ahead_own,
            "expected_wait_ms": millis(position.wait), "permits_of_all_replicas": self.pool.as_ref().map(|pool| pool.max),
        })
    }
}

impl Place {
    /// Ends when the permit of this place could not be kept: somebody else may have it soon, and no attempt goes on until then.
    pub(crate) async fn lost(&self) {
        match &self.permit {
            Some(permit) => permit.lost().await,
            None => std::future::pending().await,
        }
    }
}

/// Waits for a place at the tool's downstream, and is charged what protects that.
///
/// # Errors
/// At once where no place could come in time or a limit is reached, and when no place came. Nothing was sent then, and nothing charged.
pub(crate) async fn take_place(
    router: &Router,
    ctx: &CallContext,
    tool: &Tool,
    trail: &Trail,
) -> Result<Place, CallError> {
    if tool.downstream.is_own() {
        return Ok(Place { permit: None, _local: None });
    }
    let line = &tool.downstream.line;
    let mut wait = None;
    let mut local = match line.places.find(&ctx.caller, ctx.deadline) {
        Found::Place(local) => local,
        Found::Waiting(waiting) => wait.insert(Wait::begins(ctx, tool, trail)).for_turn(waiting).await?,
        Found::Refused(refusal) => return Err(refused(tool, refusal)),
    };
    let charges = router.limits.of_downstream(tool);
    let side = Side::Downstream { name: tool.downstream.name.as_str() };
    let denied = |denied| router.limits.refused(tool, denied, trail);
    let permit = match &line.pool {
        None if charges.is_empty() => None,
        None => router.limiter.admit(side, &charges).await.map(|_standings| None).map_err(denied)?,
        Some(pool) => loop {
            match router.limiter.admit_with_permit(side, &charges, pool).await {
                Ok((_standings, permit)) => break Some(permit),
                Err(NoEntry::Denied(over)) => return Err(denied(over)),
                Err(NoEntry::NoPermit) => {
                    // Other replicas have them all. Nobody here gets ahead of this call meanwhile.
                    local.stops_the_line(true);
                    let free = router.limiter.permit_may_be_free(pool);
                    wait.get_or_insert_with(|| Wait::begins(ctx, tool, trail)).for_permit(free).await?;
                }
            }
        },
    };
    local.stops_the_line(false);
    charged(&charges, trail);
    Ok(Place { permit, _local: Some(local) })
}

/// A wait of one call. What it took is told when it is over, however it ends.
struct Wait<'a> {
    ctx: &'a CallContext,
    tool: &'a Tool,
    trail: &'a Trail,
    began: Instant,
    told: Told<'a>,
}

impl<'a> Wait<'a> {
    fn begins(ctx: &'a CallContext, tool: &'a Tool, trail: &'a Trail) -> Self {
        Self { ctx, tool, trail, began: Instant::now(), told: Told::new(ctx, tool.downstream.name.as_str()) }
    }

    async fn for_turn(&mut self, mut waiting: Waiting) -> Result<LocalPlace, CallError> {
        loop {
            tokio::select! {
                biased;
                turn = waiting.turn() => return match turn {
                    Turn::Come(place) => Ok(place),
                    Turn::Over(refusal) => Err(refused(self.tool, refusal)),
                },
                () = self.ctx.cancel.cancelled() => return Err(CallError::Cancelled),
                () = sleep_until(self.ctx.deadline.at()) => {
                    // Without a position its turn has come this moment, and too late.
                    let Some(Position { ahead_own: waiting, wait, .. }) = waiting.position() else { continue };
                    return Err(too_late(self.tool, waiting, wait));
                }
                () = self.told.due() => if let Some(position) = waiting.position() {
                    self.told.tell(position);
                }
            }
        }
    }
}

impl Wait<'_> {
    async fn for_permit(&mut self, free: impl Future<Output = ()>) -> Result<(), CallError> {
        let mut free = std::pin::pin!(free);
        loop {
            tokio::select! {
                biased;
                () = &mut free => return Ok(()),
                () = self.ctx.cancel.cancelled() => return Err(CallError::Cancelled),
                () = sleep_until(self.ctx.deadline.at()) => return Err(too_late(self.tool, 0, Duration::ZERO)),
                () = self.told.due() => self.told.tell(Position { ahead: 0, ahead_own: 0, wait: Duration::ZERO }),
            }
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        self.trail.queued(took);
        telemetry::line_waited(self.tool.downstream.name.as_str(), took);
    }
}

fn refused(tool: &Tool, refusal: Refusal) -> CallError {
    let why = match refusal.why {
        Why::Full => "full",
        Why::Hopeless => "hopeless",
    };
    not_now(tool, why, refusal.waiting, refusal.wait)
}

fn too_late(tool: &Tool, waiting: usize, wait: Duration) -> CallError {
    not_now(tool, "late", waiting, wait)
}

fn not_now(tool: &Tool, why: &'static str, waiting: usize, wait: Duration) -> CallError {
    let downstream = tool.downstream.name.to_string();
    telemetry::line_refused(&downstream, why);
    let retry_after_ms = millis(wait.max(RETRY_AFTER_MIN));
    CallError::Queued { tool: tool.name.shown.clone(), downstream, waiting, retry_after_ms }
}

fn millis(period: Duration) -> u64 {
    u64::try_from(period.as_millis()).unwrap_or(u64::MAX)
}
