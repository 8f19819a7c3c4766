//! How a downstream is spared, and what is done when it fails.

use jiff::{civil::Time, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Period;

/// The calls that wait for a downstream which is as busy as it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Line {
    /// How many may wait in one process; one more is refused at once.
    pub max: usize,
    /// Who takes turns: each gets as much as every other one that waits, however many calls it has there.
    pub fair_by: FairBy,
}

/// Who takes turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FairBy {
    /// Tenants; a caller without one stands for itself.
    #[default]
    Tenant,
    /// Callers.
    Caller,
}

impl Default for Line {
    fn default() -> Self {
        Self { max: 512, fair_by: FairBy::Tenant }
    }
}

/// When an attempt is repeated: only what cannot have happened, reads, and writes that are stated as idempotent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// How many attempts one call has at most, the first included. 1: none is repeated.
    pub attempts_max: u32,
    /// The longest wait before a second attempt; each wait is a random part of it, and it doubles from attempt to attempt.
    pub wait_first: Period,
    /// What no such wait exceeds.
    pub wait_max: Period,
    /// How many repeats there may be for 100 calls to the downstream.
    pub budget_percent: u32,
    /// How many repeats there may be each second besides.
    pub budget_per_second: u32,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts_max: 2,
            wait_first: Period::ms(50),
            wait_max: Period::s(2),
            budget_percent: 10,
            budget_per_second: 3,
        }
    }
}

/// When a downstream that fails is left alone. Each replica judges by what it sees itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// How many failures in a row open it.
    pub failures_in_a_row: u32,
    /// The share of failures that opens it, in percent of the attempts `within`.
    pub failures_percent: u32,
    /// How many attempts there must have been for the share to count.
    pub attempts_min: u32,
    /// The time over which the share is taken.
    pub within: Period,
    /// How long it stays open the first time; then one attempt is let through, and while that fails the time doubles.
    pub open_first: Period,
    /// The longest it stays open.
    pub open_max: Period,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures_in_a_row: 5,
            failures_percent: 50,
            attempts_min: 20,
            within: Period::s(10),
            open_first: Period::s(1),
            open_max: Period::s(60),
        }
    }
}

/// A time in which a downstream is not called, such as the batch run of a mainframe: then only the cache answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// The days on which it begins; every day where this is left out.
    #[serde(default)]
    pub days: Vec<Day>,
    /// When it begins, as `22:30`, by the clock of `time_zone`.
    pub from: String,
    /// When it ends. Not later than `from`: on the next day.
    pub to: String,
    /// As the IANA database names it: `Europe/Berlin`.
    #[serde(default = "Closed::utc")]
    pub time_zone: String,
    /// What callers are told: `nightly batch`.
    pub reason: String,
}

impl Closed {
    fn utc() -> String {
        "UTC".to_owned()
    }

    /// When it begins, by the clock on the wall; `None` where `from` is no time of the day, which `check` refuses.
    #[must_use]
    pub fn from(&self) -> Option<Time> {
        time_of_day(&self.from)
    }

    /// When it ends.
    #[must_use]
    pub fn to(&self) -> Option<Time> {
        time_of_day(&self.to)
    }

    /// Whose clock it goes by; `None` where there is no such time zone, which `check` refuses.
    #[must_use]
    pub fn zone(&self) -> Option<TimeZone> {
        TimeZone::get(&self.time_zone).ok()
    }
}

/// `22:30`.
fn time_of_day(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str| {
        (digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
    };
    Time::new(number(hour)?, number(minute)?, 0, 0).ok()
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}
