//! A call whose answer may come out of the cache, and the fetch that it makes for all who ask the same.

use std::{sync::Arc, time::Duration};

use adapters::{
    AdapterError, CallContext, Deadline, ErrorClass, Reply, Request, Sent,
    json::{self, Change, Object},
};
use bytes::Bytes;
use cache::{Ask, Cached, Failure, Fetched, Found, Seat, Served, State, Tag};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Answer, Answered, Note, Trail, fetch, outcome::Outcome, overloaded, plan::Plan, shared::SharedAnswer};
use crate::{
    Router,
    catalog::{Caching, Tool},
    error::CallError,
    invalidate::{StrictFamilies, template::tags_of_result},
    masking::Sight,
    mcp::answer::{is_tool_error, member},
    telemetry,
};

/// What a caller asks for that starts a fetch.
pub(super) struct Wanted<'a> {
    pub(super) request: Request,
    pub(super) sight: &'a Sight,
    pub(super) trail: Trail,
}

/// What the cache holds, else what one fetch comes to for all who wait for it. This caller waits until `wait_by`; the fetch has the tool's
/// deadline.
pub(super) async fn answer(
    router: &Arc<Router>,
    ctx: &CallContext,
    tool: &Arc<Tool>,
    plan: Plan,
    Wanted { request, sight, trail }: Wanted<'_>,
    wait_by: Instant,
) -> (Answer, Option<Outcome>) {
    let caching = tool.caching.clone().expect("only a tool with a contract has a plan");
    let ask = Ask {
        key: plan.key,
        contract: caching.contract,
        stale_after_waiting: caching.stale_after_waiting,
        tags: plan.tags,
        templates: plan.templates,
        fetch_period: tool.deadline,
        wait_by,
    };
    let fetch = Arc::new(Fetch {
        router: router.clone(),
        tool: tool.clone(),
        caching,
        strict: router.strict.clone(),
        arguments: plan.arguments,
        request,
        sight: sight.clone(),
        starter: ctx.clone(),
        trail,
    });
    let alone = fetch.clone();
    let began = Instant::now();
    let serving = router.cache.serve(ask, move || {
        let fetch = fetch.clone();
        async move { fetch.run().await }
    });
    let served = tokio::select! {
        served = serving => served,
        // Whoever fetches for others goes on.
        () = ctx.cancel.cancelled() => return (Err(CallError::Cancelled), None),
    };
    if matches!(served, Served::Nothing(Failure::FlightsFull)) {
        let reply = super::fetch(router, ctx, tool, alone.request.clone(), &alone.trail).await;
        let reply = sight.outcome(reply).await;
        return (reply.map(Answered::from), Some(Outcome::Miss));
    }
    settled(served, ctx, tool, began.elapsed())
}

/// The request without what belongs to one caller's hop: its result is for others too.
fn for_all(request: &Request) -> Request {
    let arguments = request.arguments.as_ref().map(|bytes| String::from_utf8_lossy(bytes));
    let members = arguments.map_or_else(String::new, |arguments| format!(",\"arguments\":{arguments}"));
    let params = format!("{{\"name\":{}{members}}}", json::string(&request.local_name));
    Request { params: params.into(), ..request.clone() }
}

/// What the cache did for the call, in the form that callers get.
fn settled(
    served: Served<SharedAnswer>,
    ctx: &CallContext,
    tool: &Tool,
    waited: Duration,
) -> (Answer, Option<Outcome>) {
    let by_seat = |seat| if seat == Seat::Passenger { Outcome::Coalesced } else { Outcome::Miss };
    match served {
        Served::Cached(cached) => {
            let outcome = match cached.state {
                State::Fresh => Outcome::Hit(cached.tier),
                stale => Outcome::Stale(stale),
            };
            if matches!(cached.state, State::Fresh | State::StaleWhileRefreshing) {
                telemetry::cache_saved(&tool.name.shown, saved(cached.fetch_ms, waited));
            }
            let note = note(&cached, tool);
            (
                Ok(Answered {
                    reply: reply(cached.value, cached.found),
                    note: Some(note),
                    operation: None,
                    provenance: None,
                }),
                Some(outcome),
            )
        }
        Served::Fetched { value, found, seat, .. } => (Ok(reply(value, found).into()), Some(by_seat(seat))),
        Served::Passed { outcome, seat } => (outcome.0.map(Answered::from), Some(by_seat(seat))),
        Served::Nothing(failure) => (Err(nothing(failure, ctx, tool)), Some(Outcome::Miss)),
    }
}

/// What fetching would have taken longer. A call may have waited for what another replica fetched, and then it was spared little.
fn saved(fetch_ms: u64, waited: Duration) -> Duration {
    Duration::from_millis(fetch_ms).saturating_sub(waited)
}

fn reply(value: Bytes, found: Found) -> Reply {
    match found {
        Found::Found => Reply::Complete(value),
        Found::NotFound => Reply::NotFound(value),
    }
}

/// What is said of an answer out of the cache.
fn note(cached: &Cached<SharedAnswer>, tool: &Tool) -> Note {
    let downstream = tool.downstream.name.as_str();
    let reason = match cached.state {
        State::Fresh if cached.verified => None,
        State::Fresh => Some("Redis cannot be reached, so changes elsewhere are not seen".to_owned()),
        State::StaleWhileRefreshing => Some("it is being fetched again".to_owned()),
        State::StaleAfterWaiting => Some(format!("{downstream} is slow")),
        State::StaleOnError => Some(trouble(cached.cause.as_ref(), downstream)),
    };
    let is_stale = cached.state != State::Fresh;
    Note { state: cached.state.as_str(), is_stale, age_ms: cached.age_ms, fetched_at_ms: cached.fetched_at_ms, reason }
}

/// Why there is no newer answer, in words that say nothing of the downstream but how it is.
fn trouble(cause: Option<&SharedAnswer>, downstream: &str) -> String {
    let class = match cause {
        Some(SharedAnswer(Err(CallError::Downstream { error, .. }))) => error.class,
        Some(SharedAnswer(Err(CallError::LeftAlone { why, .. }))) => return why.trim_end_matches('.').to_owned(),
        Some(SharedAnswer(Err(
            CallError::Overloaded { .. }
            | CallError::Queued { .. }
            | CallError::Limited { .. }
            | CallError::Uncounted { .. },
        ))) => ErrorClass::Busy,
        _ => ErrorClass::Timeout,
    };
    match class {
        ErrorClass::Busy => format!("{downstream} is busy"),
        ErrorClass::Protocol | ErrorClass::TooLarge => format!("what {downstream} answers now cannot be used"),
        ErrorClass::Unreachable
        | ErrorClass::ConnectionLost
        | ErrorClass::Timeout
        | ErrorClass::Cancelled
        | ErrorClass::Rejected
        | ErrorClass::InvalidArguments
        | ErrorClass::Unauthorized => format!("{downstream} is not answering"),
    }
}

/// Why the cache came to nothing.
fn nothing(failure: Failure, ctx: &CallContext, tool: &Tool) -> CallError {
    let downstream = tool.downstream.name.to_string();
    let message = match failure {
        Failure::WaitersFull => return overloaded("the cache of Weir".to_owned()),
        Failure::FlightsFull | Failure::Lost => return CallError::Internal,
        Failure::WaitDeadline => {
            format!(
                "{downstream} gave no answer in time. It is still being asked: the same call a little later may find its answer."
            )
        }
        Failure::FetchDeadline => format!("{downstream} gave no answer in time. Try again later or ask for less."),
    };
    tracing::debug!(request_id = %ctx.request_id, tool = %tool.name.shown, "no answer in time");
    let error = Box::new(AdapterError::new(ErrorClass::Timeout, Sent::Unknown, message));
    CallError::Downstream { tool: tool.name.shown.clone(), downstream, error }
}

/// A fetch for all who ask the same.
struct Fetch {
    router: Arc<Router>,
    tool: Arc<Tool>,
    caching: Arc<Caching>,
    strict: Arc<StrictFamilies>,
    /// As tags are made of them.
    arguments: Bytes,
    request: Request,
    /// What all who ask by this key may see.
    sight: Sight,
    /// The call that began it: others may wait longer than that one.
    starter: CallContext,
    trail: Trail,
}

impl Fetch {
    async fn run(&self) -> Fetched<SharedAnswer> {
        let ctx = CallContext {
            deadline: Deadline::after(self.tool.deadline),
            cancel: CancellationToken::new(),
            gate: Arc::default(),
            // The trace is his who began it; his own words go no further, since the answer is for others too.
            trace: self.starter.trace.without_state(),
            ..self.starter.clone()
        };
        let came = fetch(&self.router, &ctx, &self.tool, for_all(&self.request), &self.trail).await;
        // What the answer is about is said by what the downstream says, not by what is left of it.
        let tags = match &came {
            Ok(Reply::Complete(bytes) | Reply::NotFound(bytes)) => self.tags(bytes),
            Ok(Reply::InputRequired(_) | Reply::Task(_)) | Err(_) => None,
        };
        match self.sight.outcome(came).await {
            Ok(Reply::Complete(bytes)) if is_tool_error(&bytes) || is_cut(&bytes) => {
                Fetched::Shared(SharedAnswer(Ok(Reply::Complete(bytes))))
            }
            Ok(Reply::Complete(bytes)) => answered(bytes, Found::Found, tags),
            Ok(Reply::NotFound(bytes)) if self.caching.contract.not_found_for_ms > 0 => {
                answered(bytes, Found::NotFound, tags)
            }
            Ok(Reply::NotFound(bytes)) => Fetched::Shared(SharedAnswer(Ok(Reply::NotFound(bytes)))),
            Ok(reply @ (Reply::InputRequired(_) | Reply::Task(_))) => Fetched::Own(SharedAnswer(Ok(reply))),
            Err(error) if is_trouble(&error) => Fetched::Failed(SharedAnswer(Err(error))),
            Err(error) => Fetched::Shared(SharedAnswer(Err(error))),
        }
    }

    /// What the answer is about, if all of it is known.
    fn tags(&self, result: &Bytes) -> Option<Vec<Tag>> {
        tags_of_result(&self.caching.templates, &self.strict, Some(&self.arguments), result)
    }
}

/// An answer that is stored if all its tags are known.
fn answered(bytes: Bytes, found: Found, tags: Option<Vec<Tag>>) -> Fetched<SharedAnswer> {
    let value = of_no_era(bytes);
    match tags {
        Some(tags) => Fetched::Answer { value, found, tags },
        None => Fetched::Shared(SharedAnswer(Ok(reply(value, found)))),
    }
}

/// Whether the downstream is in trouble, rather than that it said no: then an older answer is better than none.
fn is_trouble(error: &CallError) -> bool {
    match error {
        CallError::Overloaded { .. }
        | CallError::LeftAlone { .. }
        | CallError::Queued { .. }
        | CallError::Limited { .. }
        | CallError::Uncounted { .. } => true,
        CallError::Downstream { error, .. } => match error.class {
            ErrorClass::Unreachable
            | ErrorClass::ConnectionLost
            | ErrorClass::Timeout
            | ErrorClass::Busy
            | ErrorClass::Protocol
            | ErrorClass::TooLarge => true,
            ErrorClass::Cancelled | ErrorClass::Rejected | ErrorClass::InvalidArguments | ErrorClass::Unauthorized => {
                false
            }
        },
        CallError::UnknownTool { .. }
        | CallError::InvalidArguments { .. }
        | CallError::NotAllowed { .. }
        | CallError::InsufficientScope { .. }
        | CallError::Unannounced { .. }
        | CallError::Unaudited { .. }
        | CallError::OutcomeUnknown { .. }
        | CallError::KeyReused { .. }
        | CallError::KeysGone { .. }
        | CallError::Unmaskable { .. }
        | CallError::NamesGone { .. }
        | CallError::Withheld { .. }
        | CallError::Cancelled
        | CallError::Internal => false,
    }
}

/// Whether an adapter left a part of the answer out: it says so in the structured result.
fn is_cut(result: &Bytes) -> bool {
    let may_be = memchr::memmem::find(result, b"\"truncated\"").is_some();
    let structured = may_be.then(|| member(result, "structuredContent")).flatten().and_then(Object::parse);
    structured.is_some_and(|structured| structured.get("truncated") == Some("true"))
}

/// Callers of all eras have one entry: the kind of the result is put in again for those whose era has it.
fn of_no_era(result: Bytes) -> Bytes {
    if member(&result, "resultType").is_none() {
        return result;
    }
    let text = std::str::from_utf8(&result).unwrap_or_default();
    let Some(object) = Object::parse(text) else { return result };
    object.rewrite(&[], |key, _| if key == "resultType" { Change::Remove } else { Change::Keep }).into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use adapters::{AdapterError, ErrorClass, Sent};
    use bytes::Bytes;

    use super::{SharedAnswer, is_cut, is_trouble, of_no_era, saved, trouble};
    use crate::error::CallError;

    #[test]
    fn a_call_that_waited_for_another_replicas_fetch_was_not_spared_what_it_waited() {
        for (fetch_ms, waited_ms, saved_ms) in [(8000, 1, 7999), (8000, 6500, 1500), (8000, 8001, 0)] {
            assert_eq!(saved(fetch_ms, Duration::from_millis(waited_ms)), Duration::from_millis(saved_ms));
        }
    }

    #[test]
    fn an_answer_of_which_a_part_was_left_out_says_so_in_its_structured_result() {
        for (result, cut) in [
            (r#"{"content":[],"structuredContent":{"rows":[],"truncated":true}}"#, true),
            (r#"{"content":[],"structuredContent":{"rows":[],"truncated": true }}"#, true),
            (r#"{"content":[],"structuredContent":{"rows":[],"truncated":false}}"#, false),
            (r#"{"content":[],"structuredContent":{"rows":[{"truncated":true}]}}"#, false),
            (r#"{"content":[{"type":"text","text":"\"truncated\":true"}]}"#, false),
            (r#"{"truncated":true,"content":[]}"#, false),
        ] {
            assert_eq!(is_cut(&Bytes::from_static(result.as_bytes())), cut, "{result}");
        }
    }

    #[test]
    fn an_answer_is_kept_for_callers_of_all_eras() {
        for (given, kept) in [
            (r#"{"resultType":"complete", "content":[]}"#, r#"{ "content":[]}"#),
            (r#"{"content":["resultType"]}"#, r#"{"content":["resultType"]}"#),
        ] {
            assert_eq!(of_no_era(Bytes::from_static(given.as_bytes())), kept);
        }
    }

    #[test]
    fn an_older_answer_stands_in_for_trouble_and_not_for_a_no() {
        let error = |class| {
            let error = Box::new(AdapterError::new(class, Sent::Unknown, "It went wrong."));
            CallError::Downstream { tool: "crm__get".into(), downstream: "crm".to_owned(), error }
        };
        let overloaded = CallError::Overloaded { limit: "the downstream crm".to_owned(), retry_after_ms: 1000 };
        for (error, said) in [
            (error(ErrorClass::Unreachable), Some("crm is not answering")),
            (error(ErrorClass::ConnectionLost), Some("crm is not answering")),
            (error(ErrorClass::Timeout), Some("crm is not answering")),
            (error(ErrorClass::Busy), Some("crm is busy")),
            (overloaded, Some("crm is busy")),
            (error(ErrorClass::Protocol), Some("what crm answers now cannot be used")),
            (error(ErrorClass::TooLarge), Some("what crm answers now cannot be used")),
            (error(ErrorClass::Rejected), None),
            (error(ErrorClass::InvalidArguments), None),
            (error(ErrorClass::Unauthorized), None),
            (error(ErrorClass::Cancelled), None),
            (CallError::Internal, None),
        ] {
            let told = is_trouble(&error).then(|| trouble(Some(&SharedAnswer(Err(error.clone()))), "crm"));
            assert_eq!(told.as_deref(), said, "{error:?}");
        }
    }
}
