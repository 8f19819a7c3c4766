//! Keeps the offer of one downstream fresh, in the background, as long as a router that is served has it.

use std::{sync::Arc, time::Duration};

use adapters::{AdapterEvent, CallContext, Caller, Deadline, Health};
use config::downstream::Kind;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;

use crate::{Downstream, telemetry};

/// How long listing one downstream may take.
const LIST_DEADLINE: Duration = Duration::from_secs(10);
/// How soon a failed list is asked for again, where no event says that the downstream is back.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How often a list is asked for again, where neither the downstream nor the config says.
const REFRESH_DEFAULT: Duration = Duration::from_secs(60);
/// A downstream that says its list holds for less is asked no more often than this.
const REFRESH_MIN: Duration = Duration::from_secs(1);

/// Lists `downstream` now, whenever it says that something changed or that it is back, and when the list has grown old.
pub(crate) async fn keep_fresh(downstream: Arc<Downstream>) {
    telemetry::downstream_state(downstream.name.as_str(), downstream.state().health);
    downstream.guard.tell_state();
    let mut events = downstream.adapter.events();
    let mut next = Instant::now();
    // A downstream that says all the time that its list changed is asked no more often than this.
    let mut earliest = next;
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(AdapterEvent::State(state)) => {
                    let is_back = state.health == Health::Up && downstream.state().health != Health::Up;
                    downstream.keep_state(state);
                    if is_back {
                        downstream.offer_holds(Duration::ZERO);
                        next = earliest.max(Instant::now());
                    }
                }
                Some(AdapterEvent::ListChanged | AdapterEvent::ListUnknown) => {
                    downstream.offer_holds(Duration::ZERO);
                    next = earliest.max(Instant::now());
                }
                // What ends cached answers is followed without waiting for lists (`invalidate::follow`).
                Some(AdapterEvent::Changed(_) | AdapterEvent::ChangedUnknown) => {}
                None => return,
            },
            () = tokio::time::sleep_until(next) => {
                let listed = list(&downstream).await;
                if let Some(listed) = &listed {
                    downstream.catalogs().iter().for_each(|catalog| catalog.rebuild());
                    downstream.offer_holds(listed.holds_for);
                }
                downstream.answered_for_its_list(listed.is_some());
                // Asked for again: one that came meanwhile has the offer, and does not know yet that it is one.
                downstream.catalogs().iter().for_each(|catalog| catalog.count_missing());
                next = Instant::now() + listed.map_or(RETRY_AFTER, |listed| listed.ask_again_after);
                earliest = Instant::now() + REFRESH_MIN;
            }
        }
    }
}

/// What is to be known of a list that came.
struct Listed {
    /// By the word of the downstream, counted from now.
    holds_for: Duration,
    ask_again_after: Duration,
}

/// Asks for the list once. `None` when it fails; what was offered before stays.
async fn list(downstream: &Downstream) -> Option<Listed> {
    let asked = Instant::now();
    let ctx = CallContext::new(Arc::new(Caller::local(&[])), Deadline::after(LIST_DEADLINE));
    // A bug in one adapter must not end the refreshing of its downstream.
    let listing = std::panic::AssertUnwindSafe(downstream.adapter.list(&ctx)).catch_unwind();
    match tokio::time::timeout(LIST_DEADLINE, listing).await {
        Ok(Ok(Ok(offer))) => {
            let fresh_for = offer.fresh_for;
            downstream.keep_offer(offer);
            let configured = match downstream.config.kind() {
                Some(Kind::Mcp(mcp)) => mcp.list_refresh.0,
                Some(Kind::Postgres(_) | Kind::Mainframe(_) | Kind::Ticketing(_)) | None => REFRESH_DEFAULT,
            };
            let fresh_for = fresh_for.unwrap_or(configured);
            // A list that holds for no time at all is asked for as often as the config says: callers get theirs from memory.
            let wanted = if fresh_for.is_zero() { configured } else { fresh_for };
            Some(Listed {
                // It may have been made right after it was asked for.
                holds_for: fresh_for.saturating_sub(asked.elapsed()),
                ask_again_after: wanted.clamp(REFRESH_MIN, configured.max(REFRESH_MIN)),
            })
        }
        Ok(Ok(Err(error))) => {
            tracing::debug!(downstream = %downstream.name, %error, "no list");
            None
        }
        Ok(Err(_panic)) => {
            tracing::error!(downstream = %downstream.name, "the adapter panicked while it listed");
            None
        }
        Err(_elapsed) => {
            tracing::debug!(downstream = %downstream.name, "no list in time");
            None
        }
    }
}
