//! `retries`, `breaker` and `closed` of a downstream.

use crate::{
    Downstream, Period,
    downstream::{Breaker, Closed, Retries},
};

use super::Scope;

/// More attempts than this are no retry any more but a loop.
const ATTEMPTS_MAX: u32 = 5;
const WAIT_MAX: Period = Period::s(60);
const OPEN_MAX: Period = Period::s(3600);
const WITHIN_MAX: Period = Period::s(600);
const WINDOWS_MAX: usize = 64;
/// More than this is not read by anybody.
const REASON_CHARACTERS_MAX: usize = 200;

pub(super) fn resilience(downstream: &Downstream, scope: &Scope<'_>) {
    retries(&downstream.retries, &scope.key("retries"));
    breaker(&downstream.breaker, &scope.key("breaker"));
    let closed = scope.key("closed");
    if downstream.closed.len() > WINDOWS_MAX {
        closed.refuse(format!("has {} windows, more than {WINDOWS_MAX}", downstream.closed.len()), "");
    }
    for (scope, window) in closed.items(&downstream.closed) {
        window_of(window, &scope);
    }
}

fn retries(retries: &Retries, scope: &Scope<'_>) {
    let attempts = scope.key("attempts_max");
    if !(1..=ATTEMPTS_MAX).contains(&retries.attempts_max) {
        attempts.refuse(
            format!("must be from 1 to {ATTEMPTS_MAX}, not {}", retries.attempts_max),
            "the first attempt counts: 1 repeats nothing, 2 repeats once",
        );
    }
    scope.key("wait_first").time_within(retries.wait_first, Period::ms(1), WAIT_MAX);
    scope.key("wait_max").time_within(retries.wait_max, Period::ms(1), WAIT_MAX);
    if retries.wait_max < retries.wait_first {
        scope.key("wait_max").refuse(
            format!("is `{}`, shorter than `wait_first`, which is `{}`", retries.wait_max, retries.wait_first),
            "waits grow from `wait_first` up to `wait_max`",
        );
    }
    if retries.budget_percent > 100 {
        scope.key("budget_percent").refuse(
            format!("must be from 0 to 100, not {}", retries.budget_percent),
            "10 lets one of ten calls be repeated",
        );
    }
}

fn breaker(breaker: &Breaker, scope: &Scope<'_>) {
    scope.key("failures_in_a_row").at_least_one(breaker.failures_in_a_row as usize);
    scope.key("attempts_min").at_least_one(breaker.attempts_min as usize);
    if !(1..=100).contains(&breaker.failures_percent) {
        scope.key("failures_percent").refuse(
            format!("must be from 1 to 100, not {}", breaker.failures_percent),
            "50 opens the breaker when half of the attempts fail",
        );
    }
    scope.key("within").time_within(breaker.within, Period::s(1), WITHIN_MAX);
    scope.key("open_first").time_within(breaker.open_first, Period::ms(10), OPEN_MAX);
    scope.key("open_max").time_within(breaker.open_max, Period::ms(10), OPEN_MAX);
    if breaker.open_max < breaker.open_first {
        scope.key("open_max").refuse(
            format!("is `{}`, shorter than `open_first`, which is `{}`", breaker.open_max, breaker.open_first),
            "the time doubles from `open_first` up to `open_max`",
        );
    }
}

fn window_of(window: &Closed, scope: &Scope<'_>) {
    const FORM: &str = "write hours and minutes of the day, from `00:00` to `23:59`: `22:30`";
    for (key, text, time) in [("from", &window.from, window.from()), ("to", &window.to, window.to())] {
        if time.is_none() {
            scope.key(key).refuse(format!("is no time of the day: `{text}`"), FORM);
        }
    }
    if window.zone().is_none() {
        scope.key("time_zone").refuse(
            format!("is no time zone: `{}`", window.time_zone),
            "write it as the IANA database names it: `Europe/Berlin`, `America/New_York`, `UTC`",
        );
    }
    let reason = scope.key("reason");
    if window.reason.trim().is_empty() {
        reason.refuse("is empty", "callers are told it: `nightly batch`");
    } else if window.reason.chars().count() > REASON_CHARACTERS_MAX {
        reason.refuse(
            format!("is longer than {REASON_CHARACTERS_MAX} characters"),
            "callers are told it with each refusal",
        );
    }
}
