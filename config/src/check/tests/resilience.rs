//! `retries`, `breaker` and `closed` of a downstream.

use insta::assert_snapshot;

use super::mcp;

fn resilience(settings: &[&str]) -> String {
    const REST: &str = "mcp: { websocket: { url: 'wss://e/mcp' } }, ";
    let whole: Vec<String> = settings.iter().map(|setting| format!("{{ {REST}{setting} }}")).collect();
    mcp(&whole.iter().map(String::as_str).collect::<Vec<_>>()).replace(REST, "").replace("downstreams: ", "")
}

#[test]
fn retries_are_few_and_their_waits_in_order() {
    assert_snapshot!(resilience(&[
        "retries: { attempts_max: 3, wait_first: 100ms, wait_max: 1s, budget_percent: 20, budget_per_second: 0 }",
        "retries: { attempts_max: 0 }",
        "retries: { attempts_max: 6, wait_first: 3s, budget_percent: 101 }",
    ]), @"
    { e: { retries: { attempts_max: 3, wait_first: 100ms, wait_max: 1s, budget_percent: 20, budget_per_second: 0 } } }
      fine
    { e: { retries: { attempts_max: 0 } } }
      problem 1:90 `downstreams.e.retries.attempts_max` must be from 1 to 5, not 0
        help: the first attempt counts: 1 repeats nothing, 2 repeats once
    { e: { retries: { attempts_max: 6, wait_first: 3s, budget_percent: 101 } } }
      problem 1:65 `downstreams.e.retries.wait_max` is `2s`, shorter than `wait_first`, which is `3s`
        help: waits grow from `wait_first` up to `wait_max`
      problem 1:90 `downstreams.e.retries.attempts_max` must be from 1 to 5, not 6
        help: the first attempt counts: 1 repeats nothing, 2 repeats once
      problem 1:125 `downstreams.e.retries.budget_percent` must be from 0 to 100, not 101
        help: 10 lets one of ten calls be repeated
    ");
}

#[test]
fn a_breaker_opens_after_some_failures_and_for_some_time() {
    assert_snapshot!(resilience(&[
        "breaker: { failures_in_a_row: 10, failures_percent: 30, attempts_min: 50, within: 30s, open_first: 5s, open_max: 5m }",
        "breaker: { failures_in_a_row: 0, failures_percent: 0, attempts_min: 0, within: 0s }",
        "breaker: { open_first: 2m }",
    ]), @"
    { e: { breaker: { failures_in_a_row: 10, failures_percent: 30, attempts_min: 50, within: 30s, open_first: 5s, open_max: 5m } } }
      fine
    { e: { breaker: { failures_in_a_row: 0, failures_percent: 0, attempts_min: 0, within: 0s } } }
      problem 1:95 `downstreams.e.breaker.failures_in_a_row` must be at least 1
        help: with 0 nothing would ever be let through
      problem 1:116 `downstreams.e.breaker.failures_percent` must be from 1 to 100, not 0
        help: 50 opens the breaker when half of the attempts fail
      problem 1:133 `downstreams.e.breaker.attempts_min` must be at least 1
        help: with 0 nothing would ever be let through
      problem 1:144 `downstreams.e.breaker.within` must be from `1s` to `10m`, not `0ms`
    { e: { breaker: { open_first: 2m } } }
      problem 1:65 `downstreams.e.breaker.open_max` is `1m`, shorter than `open_first`, which is `2m`
        help: the time doubles from `open_first` up to `open_max`
    ");
}

#[test]
fn a_downstream_is_closed_at_times_of_a_day_in_a_zone_that_there_is() {
    assert_snapshot!(resilience(&[
        "closed: [{ days: [fri, sat], from: '22:30', to: '06:00', time_zone: Europe/Berlin, reason: nightly batch }]",
        "closed: [{ from: '24:00', to: '6:00', time_zone: Europe/Bonn, reason: ' ' }]",
    ]), @"
    { e: { closed: [{ days: [fri, sat], from: '22:30', to: '06:00', time_zone: Europe/Berlin, reason: nightly batch }] } }
      fine
    { e: { closed: [{ from: '24:00', to: '6:00', time_zone: Europe/Bonn, reason: ' ' }] } }
      problem 1:82 `downstreams.e.closed[0].from` is no time of the day: `24:00`
        help: write hours and minutes of the day, from `00:00` to `23:59`: `22:30`
      problem 1:95 `downstreams.e.closed[0].to` is no time of the day: `6:00`
        help: write hours and minutes of the day, from `00:00` to `23:59`: `22:30`
      problem 1:114 `downstreams.e.closed[0].time_zone` is no time zone: `Europe/Bonn`
        help: write it as the IANA database names it: `Europe/Berlin`, `America/New_York`, `UTC`
      problem 1:135 `downstreams.e.closed[0].reason` is empty
        help: callers are told it: `nightly batch`
    ");
}
