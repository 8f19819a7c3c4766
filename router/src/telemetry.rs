//! Every metric name, in one place. Label values come from the config and the catalog, never from a caller's text.
#![allow(clippy::disallowed_macros, reason = "this is the one file that names metrics")]

use std::{sync::OnceLock, time::Duration};

use adapters::Health;
use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Buckets in seconds: those of the OpenTelemetry MCP conventions, and finer ones below 10 ms where answers of the router itself lie.
const DURATION_BUCKETS: [f64; 18] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

const CALLS: &str = "weir_calls_total";
const CALL_DURATION: &str = "mcp_server_operation_duration_seconds";
const DOWNSTREAM_UP: &str = "weir_downstream_up";
const TOKENS_REQUESTED: &str = "weir_tokens_requested_total";
const DENIED: &str = "weir_denied_total";
const MASKED: &str = "weir_masked_total";
const REFUSED_BEFORE_AUTH: &str = "weir_refused_total";
const ISSUER_KEYS_FETCHED: &str = "weir_issuer_keys_fetches_total";
const AUDIT_LOST: &str = "weir_audit_lost_total";
const AUDIT_ERRORS: &str = "weir_audit_errors_total";
const AUDIT_REFUSED: &str = "weir_audit_refused_total";
const AUDIT_LAG_RECORDS: &str = "weir_audit_lag_records";
const AUDIT_LAG_SECONDS: &str = "weir_audit_lag_seconds";
const AUDIT_NOT_FORWARDED: &str = "weir_audit_not_forwarded_total";
const DEFINITIONS_HELD: &str = "weir_definitions_held";
const DEFINITIONS_CHANGED: &str = "weir_definitions_changed_total";
const CACHE_REQUESTS: &str = "weir_cache_requests_total";
const CACHE_SAVED: &str = "weir_cache_saved_milliseconds_total";
const CACHE_ENTRIES: &str = "weir_cache_entries";
const CACHE_BYTES: &str = "weir_cache_bytes";
const CACHE_EVICTIONS: &str = "weir_cache_evictions_total";
const CACHE_FETCHES: &str = "weir_cache_fetches_running";
const CACHE_WAITERS: &str = "weir_cache_waiters";
const CACHE_REFRESHES: &str = "weir_cache_refreshes_total";
const CACHE_LONE_FETCHES: &str = "weir_cache_lone_fetches_total";
const CACHE_LEASE_WAITS: &str = "weir_cache_lease_waits_total";
const CACHE_TAKE_OVERS: &str = "weir_cache_take_overs_total";
const CACHE_REFUSED_COMMITS: &str = "weir_cache_refused_commits_total";
const CACHE_DAMAGED: &str = "weir_cache_damaged_total";
const REDIS_UP: &str = "weir_redis_up";
const ATTEMPTS_FAILED: &str = "weir_attempts_failed_total";
const RETRIES: &str = "weir_retries_total";
const RETRIES_REFUSED: &str = "weir_retries_refused_total";
const BREAKER_STATE: &str = "weir_breaker_state";
const BREAKER_OPENED: &str = "weir_breaker_opened_total";
const CALLS_RUNNING: &str = "weir_calls_running";
const CALLS_SHARE: &str = "weir_calls_admitted_share";
const SHED: &str = "weir_shed_total";
const PLACES: &str = "weir_places";
const PLACES_TAKEN: &str = "weir_places_taken";
const LINE_WAITING: &str = "weir_line_waiting";
const LINE_WAIT: &str = "weir_line_wait_seconds";
const LINE_REFUSED: &str = "weir_line_refused_total";
const LIMITED: &str = "weir_limited_total";
const TAGS_RAISED: &str = "weir_cache_tags_raised_total";

const IDEMPOTENCY_KEYS: &str = "weir_idempotency_keys_total";
const WRITES_LOOKED_FOR: &str = "weir_writes_looked_for_total";

const SECRETS_FETCHED: &str = "weir_secrets_fetched_total";
const CONFIG_RELOADS: &str = "weir_config_reloads_total";
const CONFIG_LAST_RELOAD: &str = "weir_config_last_reload_success";
const CONFIG_LAST_RELOAD_AT: &str = "weir_config_last_reload_timestamp_seconds";

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Installs the recorder once for the process and gives the handle that renders it.
pub(crate) fn recorder() -> &'static PrometheusHandle {
    RECORDER.get_or_init(|| {
        let durations = [CALL_DURATION, LINE_WAIT].map(|name| Matcher::Full(name.to_owned()));
        let builder = durations.into_iter().try_fold(PrometheusBuilder::new(), |builder, metric| {
            builder.set_buckets_for_metric(metric, &DURATION_BUCKETS)
        });
        let recorder = builder.expect("the list of buckets is not empty").build_recorder();
        let handle = recorder.handle();
        // Another recorder in the same process keeps its place; this handle then renders nothing.
        let _ = metrics::set_global_recorder(recorder);
        metrics::describe_counter!(CALLS, "Calls of tools by outcome");
        metrics::describe_histogram!(CALL_DURATION, metrics::Unit::Seconds, "Duration of calls as callers see it");
        metrics::describe_gauge!(
            DOWNSTREAM_UP,
            "1 when the downstream can be reached, 0 when not, 0.5 before it is known"
        );
        metrics::describe_counter!(
            DENIED,
            "Calls that the policy denied, by what denied them: role, view, condition, arguments"
        );
        metrics::describe_counter!(MASKED, "Values that were masked in answers, by the rule of the config");
        metrics::describe_counter!(REFUSED_BEFORE_AUTH, "Requests refused before their caller was known, by reason");
        describe_room();
        describe_cache();
        describe_config();
        describe_guard();
        metrics::describe_counter!(LIMITED, "What limits refused, by limit and reason");
        metrics::describe_counter!(AUDIT_LOST, "Audit records that could not be handed to the writer");
        metrics::describe_counter!(AUDIT_NOT_FORWARDED, "Audit records that did not get to a further place, by place");
        metrics::describe_gauge!(DEFINITIONS_HELD, "Tools held back until somebody approves their definition");
        metrics::describe_counter!(
            DEFINITIONS_CHANGED,
            "Definitions of tools that became other ones, or are held back"
        );
        metrics::describe_counter!(TAGS_RAISED, "Tags raised for what was said from outside of calls, by who said it");
        metrics::describe_counter!(IDEMPOTENCY_KEYS, "Idempotency keys of writes, by what they came to");
        metrics::describe_counter!(WRITES_LOOKED_FOR, "Looks for writes without an answer, by what came of them");
        handle
    })
}

fn describe_guard() {
    metrics::describe_counter!(
        ATTEMPTS_FAILED,
        "Attempts at a downstream that gave no result, by class of the failure"
    );
    metrics::describe_counter!(RETRIES, "Further attempts at a downstream, by why they could do no harm");
    metrics::describe_counter!(
        RETRIES_REFUSED,
        "Failed attempts that were the last ones, by why there was no further one"
    );
    metrics::describe_gauge!(
        BREAKER_STATE,
        "1 when the downstream is left alone, 0.5 while one call at a time tries it, else 0"
    );
    metrics::describe_counter!(BREAKER_OPENED, "How often the downstream was left alone, by cause");
}

fn describe_room() {
    metrics::describe_gauge!(CALLS_RUNNING, "Calls of tools that run or wait now");
    metrics::describe_gauge!(
        CALLS_SHARE,
        "The part of the calls that is let in: less than 1 while this process does not keep up"
    );
    metrics::describe_counter!(SHED, "Calls refused at once for want of room in this process, by what was short");
    metrics::describe_gauge!(PLACES, "Calls that may run at the downstream at once, in this process");
    metrics::describe_gauge!(PLACES_TAKEN, "Calls that have a place at the downstream");
    metrics::describe_gauge!(LINE_WAITING, "Calls that wait for a place at the downstream");
    metrics::describe_histogram!(
        LINE_WAIT,
        metrics::Unit::Seconds,
        "How long calls waited for the downstream, of those that had to wait, with or without success"
    );
    metrics::describe_counter!(LINE_REFUSED, "Calls that got no place at the downstream, by reason");
}

fn describe_config() {
    metrics::describe_counter!(CONFIG_RELOADS, "How often the config was read again, by what came of it");
    metrics::describe_counter!(
        SECRETS_FETCHED,
        "How often secrets of Vault and of commands were read again, by what came of it"
    );
    metrics::describe_gauge!(
        CONFIG_LAST_RELOAD,
        "1 when the config that was read last is in force, 0 when it was refused"
    );
    metrics::describe_gauge!(CONFIG_LAST_RELOAD_AT, metrics::Unit::Seconds, "When the config was read last");
    gauge!(CONFIG_LAST_RELOAD).set(1.0);
}

fn describe_cache() {
    metrics::describe_counter!(CACHE_REQUESTS, "What the cache was to calls of tools, by tool and result");
    metrics::describe_counter!(
        CACHE_SAVED,
        metrics::Unit::Milliseconds,
        "What fetching would have taken for calls that the cache answered at once, by what it took last"
    );
    metrics::describe_gauge!(CACHE_ENTRIES, "Answers that this process holds");
    metrics::describe_gauge!(CACHE_BYTES, metrics::Unit::Bytes, "What they take of its memory");
    metrics::describe_counter!(CACHE_EVICTIONS, "Answers that made room for others");
    metrics::describe_gauge!(CACHE_FETCHES, "Fetches for the cache that run now");
    metrics::describe_gauge!(CACHE_WAITERS, "Calls that wait for them");
    metrics::describe_counter!(
        CACHE_REFRESHES,
        "Fetches begun in the background while callers were given what was there"
    );
    metrics::describe_counter!(CACHE_LONE_FETCHES, "Fetches for one caller, since what others fetched was not for it");
    metrics::describe_counter!(CACHE_LEASE_WAITS, "Fetches that waited for that of another replica");
    metrics::describe_counter!(CACHE_TAKE_OVERS, "Fetches taken over from a replica that ended without a result");
    metrics::describe_counter!(CACHE_REFUSED_COMMITS, "Answers not stored because the right to was lost meanwhile");
    metrics::describe_gauge!(REDIS_UP, "1 when Redis can be used, 0 when not; not there where the config has none");
    metrics::describe_counter!(CACHE_DAMAGED, "Values in Redis that were no answers, by what was wrong");
}

/// A call ended. `tool` is the shown name of a tool in the catalog, or `_other`.
pub(crate) fn call_ended(surface: &'static str, downstream: &str, tool: &str, outcome: &'static str, took: Duration) {
    let (downstream, named) = (downstream.to_owned(), tool.to_owned());
    counter!(CALLS, "surface" => surface, "downstream" => downstream, "tool" => named, "outcome" => outcome)
        .increment(1);
    histogram!(CALL_DURATION, "mcp_method_name" => "tools/call", "gen_ai_tool_name" => tool.to_owned())
        .record(took.as_secs_f64());
}

/// The state of a downstream changed.
pub(crate) fn downstream_state(downstream: &str, health: Health) {
    let value = match health {
        Health::Up => 1.0,
        Health::Starting => 0.5,
        Health::Down => 0.0,
    };
    gauge!(DOWNSTREAM_UP, "downstream" => downstream.to_owned()).set(value);
}

/// An access token for a downstream was asked for: by which kind of credential, and what came of it.
pub(crate) fn token_requested(downstream: &str, kind: &'static str, outcome: &'static str) {
    counter!(TOKENS_REQUESTED, "downstream" => downstream.to_owned(), "kind" => kind, "outcome" => outcome)
        .increment(1);
}

/// An attempt at a downstream gave no result.
pub(crate) fn attempt_failed(downstream: &str, class: &'static str) {
    counter!(ATTEMPTS_FAILED, "downstream" => downstream.to_owned(), "class" => class).increment(1);
}

/// A call goes to a downstream once more.
pub(crate) fn retried(downstream: &str, because: &'static str) {
    counter!(RETRIES, "downstream" => downstream.to_owned(), "because" => because).increment(1);
}

/// An attempt failed, and there is no further one.
pub(crate) fn retry_refused(downstream: &str, reason: &'static str) {
    counter!(RETRIES_REFUSED, "downstream" => downstream.to_owned(), "reason" => reason).increment(1);
}

/// The breaker of a downstream: 0 closed, 1 open.
pub(crate) fn breaker_state(downstream: &str, value: f64) {
    gauge!(BREAKER_STATE, "downstream" => downstream.to_owned()).set(value);
}

/// The breaker of a downstream opened.
pub(crate) fn breaker_opened(downstream: &str, cause: &'static str) {
    counter!(BREAKER_OPENED, "downstream" => downstream.to_owned(), "cause" => cause).increment(1);
}

/// A call was refused for want of room in this process.
pub(crate) fn shed(short: &'static str) {
    counter!(SHED, "short" => short).increment(1);
}

/// The calls in this process, asked for when somebody looks.
pub(crate) fn calls_running(running: usize, share: f64) {
    gauge!(CALLS_RUNNING).set(running as f64);
    gauge!(CALLS_SHARE).set(share);
}

/// The places at a downstream, asked for when somebody looks.
pub(crate) fn line_figures(downstream: &str, figures: crate::line::Figures) {
    for (name, now) in [(PLACES, figures.places), (PLACES_TAKEN, figures.taken), (LINE_WAITING, figures.waiting)] {
        gauge!(name, "downstream" => downstream.to_owned()).set(now as f64);
    }
}

/// A call has waited for a place at a downstream.
pub(crate) fn line_waited(downstream: &str, took: Duration) {
    histogram!(LINE_WAIT, "downstream" => downstream.to_owned()).record(took.as_secs_f64());
}

/// A call got no place at a downstream.
pub(crate) fn line_refused(downstream: &str, why: &'static str) {
    counter!(LINE_REFUSED, "downstream" => downstream.to_owned(), "reason" => why).increment(1);
}

/// The policy denied a call.
pub(crate) fn call_denied(reason: &'static str) {
    counter!(DENIED, "reason" => reason).increment(1);
}

/// A rule of a masking profile masked so many values.
pub(crate) fn masked(rule: &str, values: u64) {
    counter!(MASKED, "rule" => rule.to_owned()).increment(values);
}

/// A request was refused before its caller was known.
pub(crate) fn refused_before_auth(reason: &'static str) {
    counter!(REFUSED_BEFORE_AUTH, "reason" => reason).increment(1);
}

/// The keys of an authorization server were fetched, or could not be.
pub(crate) fn issuer_keys_fetched(ok: bool) {
    counter!(ISSUER_KEYS_FETCHED, "result" => if ok { "ok" } else { "failed" }).increment(1);
}

/// What the cache was to a call of a tool of the catalog.
pub(crate) fn cache_asked(tool: &str, result: &'static str) {
    counter!(CACHE_REQUESTS, "tool" => tool.to_owned(), "result" => result).increment(1);
}

/// A call was answered at once, and its answer had taken so long to fetch.
pub(crate) fn cache_saved(tool: &str, fetching: Duration) {
    let saved_ms = u64::try_from(fetching.as_millis()).unwrap_or(u64::MAX);
    counter!(CACHE_SAVED, "tool" => tool.to_owned()).increment(saved_ms);
}

/// Whether Redis can be used, asked for when somebody looks.
pub(crate) fn redis_up(is_up: bool) {
    gauge!(REDIS_UP).set(if is_up { 1.0 } else { 0.0 });
}

/// What the cache of this process has counted, asked for when somebody looks.
pub(crate) fn cache_figures(figures: &cache::Figures) {
    for (name, now) in [
        (CACHE_ENTRIES, figures.local.entries as f64),
        (CACHE_BYTES, figures.local.bytes as f64),
        (CACHE_FETCHES, figures.fetches_running as f64),
        (CACHE_WAITERS, figures.waiters as f64),
    ] {
        gauge!(name).set(now);
    }
    for (name, so_far) in [
        (CACHE_EVICTIONS, figures.local.evictions),
        (CACHE_REFRESHES, figures.refreshes),
        (CACHE_LONE_FETCHES, figures.lone_fetches),
        (CACHE_LEASE_WAITS, figures.lease_waits),
        (CACHE_TAKE_OVERS, figures.take_overs),
        (CACHE_REFUSED_COMMITS, figures.refused_commits),
    ] {
        counter!(name).absolute(so_far);
    }
    for (damage, so_far) in figures.damaged {
        counter!(CACHE_DAMAGED, "kind" => damage.as_str()).absolute(so_far);
    }
}

/// A limit of the config, or of Weir's own, refused something: because it was `over`, or could not be counted.
pub(crate) fn limited(limit: &str, reason: &'static str) {
    counter!(LIMITED, "limit" => limit.to_owned(), "reason" => reason).increment(1);
}

/// An audit record found no room to wait for the disk.
pub(crate) fn audit_lost() {
    counter!(AUDIT_LOST).increment(1);
}

/// An attempt to write audit records failed: at the `disk`, or checkpoints at the `anchor`.
pub(crate) fn audit_error(place: &'static str) {
    counter!(AUDIT_ERRORS, "place" => place).increment(1);
}

/// A call was refused because no record of it could be written: a `write`, whose record has to be on the disk first, or `any` call.
pub(crate) fn audit_refused(calls: &'static str) {
    counter!(AUDIT_REFUSED, "calls" => calls).increment(1);
}

/// The audit records that are not on the disk yet, and for how long the oldest is not, asked for when somebody looks.
pub(crate) fn audit_lag(lag: crate::audit::Lag) {
    gauge!(AUDIT_LAG_RECORDS).set(lag.records as f64);
    gauge!(AUDIT_LAG_SECONDS).set(lag.time.as_secs_f64());
}

/// Audit records did not get to a further place: `stdout` or `syslog`.
pub(crate) fn audit_not_forwarded(place: &'static str, records: usize) {
    counter!(AUDIT_NOT_FORWARDED, "place" => place).increment(records as u64);
}

/// The tools of a downstream that are held back, asked for when somebody looks.
pub(crate) fn definitions_held(downstream: &str, held: usize) {
    gauge!(DEFINITIONS_HELD, "downstream" => downstream.to_owned()).set(held as f64);
}

/// The definition of a tool is another one than it was, or than the approved one.
pub(crate) fn definition_changed(downstream: &str) {
    counter!(DEFINITIONS_CHANGED, "downstream" => downstream.to_owned()).increment(1);
}

/// Tags were raised because somebody outside said what changed: `by` a database, a list, a webhook or an operator.
pub(crate) fn tags_raised(by: &'static str, count: usize) {
    counter!(TAGS_RAISED, "by" => by).increment(count as u64);
}

/// A write had an idempotency key, and what that came to: `first`, `repeated`, `waited`, `reused`, `gone`.
pub(crate) fn idempotency_key(came_to: &'static str) {
    counter!(IDEMPOTENCY_KEYS, "came_to" => came_to).increment(1);
}

/// It was looked whether a write without an answer was carried out: `found`, `not_seen`, `failed`.
pub(crate) fn write_looked_for(downstream: &str, came_to: &'static str) {
    counter!(WRITES_LOOKED_FOR, "downstream" => downstream.to_owned(), "came_to" => came_to).increment(1);
}

/// The config was read again, and is in force or was refused.
pub(crate) fn config_read_again(in_force: bool) {
    counter!(CONFIG_RELOADS, "result" => if in_force { "applied" } else { "refused" }).increment(1);
    gauge!(CONFIG_LAST_RELOAD).set(if in_force { 1.0 } else { 0.0 });
    gauge!(CONFIG_LAST_RELOAD_AT).set(jiff::Timestamp::now().as_second() as f64);
}

/// Secrets of Vault and of commands were read again, or could not all be.
pub(crate) fn secrets_fetched(all: bool) {
    counter!(SECRETS_FETCHED, "result" => if all { "all" } else { "lacking" }).increment(1);
}

/// All metrics as text, without what they say of the present of downstreams that are none any more.
pub(crate) fn render(is_downstream: impl Fn(&str) -> bool) -> String {
    let text = recorder().render();
    let mut is_gauge = false;
    let mut is_of_now = |line: &str| {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            is_gauge = kind.trim_end().ends_with(" gauge");
        }
        let named = line.split_once("downstream=\"").and_then(|(_, rest)| rest.split('"').next());
        !is_gauge || line.starts_with('#') || named.is_none_or(&is_downstream)
    };
    text.split_inclusive('\n').filter(|line| is_of_now(line)).collect()
}
