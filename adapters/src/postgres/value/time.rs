//! Dates and times in ISO 8601. Postgres counts from 2000-01-01, in days or microseconds.

use std::fmt::Write as _;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// From 0000-03-01, where the calculation of years is simplest, to 2000-01-01.
const DAYS_TO_EPOCH: i64 = 730_425;
/// A whole cycle of leap years.
const DAYS_PER_400_YEARS: i64 = 146_097;

const INFINITY: &str = "infinity";
const MINUS_INFINITY: &str = "-infinity";

/// `2026-11-01`; `infinity` and `-infinity` as Postgres says them.
pub(super) fn date(days: i32) -> String {
    match days {
        i32::MAX => INFINITY.to_owned(),
        i32::MIN => MINUS_INFINITY.to_owned(),
        _ => calendar_day(days.into()),
    }
}

/// `2026-11-01T09:30:00.5`, with `zone` at its end.
pub(super) fn timestamp(micros: i64, zone: &str) -> String {
    match micros {
        i64::MAX => INFINITY.to_owned(),
        i64::MIN => MINUS_INFINITY.to_owned(),
        _ => {
            let day = calendar_day(micros.div_euclid(MICROS_PER_DAY));
            format!("{day}T{}{zone}", time_of_day(micros.rem_euclid(MICROS_PER_DAY)))
        }
    }
}

/// `09:30:00.5`; the end of a day is `24:00:00`.
pub(super) fn time_of_day(micros: i64) -> String {
    let seconds = micros / MICROS_PER_SECOND;
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let fraction = fraction(micros % MICROS_PER_SECOND);
    format!("{hours:02}:{minutes:02}:{:02}{fraction}", seconds % 60)
}

/// `09:30:00+02:00`. Postgres keeps the distance from UTC in seconds to the west.
pub(super) fn time_with_zone(micros: i64, seconds_west: i32) -> String {
    let sign = if seconds_west > 0 { '-' } else { '+' };
    let offset = seconds_west.unsigned_abs();
    let mut text = format!("{}{sign}{:02}:{:02}", time_of_day(micros), offset / 3_600, offset / 60 % 60);
    if !offset.is_multiple_of(60) {
        let _ = write!(text, ":{:02}", offset % 60);
    }
    text
}

/// `P1Y2M3DT4H5M6.7S`; each part has its own sign, as in Postgres a month is not a number of days.
pub(super) fn interval(micros: i64, days: i32, months: i32) -> String {
    match (micros, days, months) {
        (i64::MAX, i32::MAX, i32::MAX) => return INFINITY.to_owned(),
        (i64::MIN, i32::MIN, i32::MIN) => return MINUS_INFINITY.to_owned(),
        (0, 0, 0) => return "PT0S".to_owned(),
        _ => {}
    }
    let mut text = "P".to_owned();
    let mut part = |amount: i64, unit: char| {
        if amount != 0 {
            let _ = write!(text, "{amount}{unit}");
        }
    };
    part((months / 12).into(), 'Y');
    part((months % 12).into(), 'M');
    part(days.into(), 'D');
    if micros != 0 {
        text.push('T');
        let (minutes, rest) = (micros / (60 * MICROS_PER_SECOND), micros % (60 * MICROS_PER_SECOND));
        let mut part = |amount: i64, unit: char| {
            if amount != 0 {
                let _ = write!(text, "{amount}{unit}");
            }
        };
        part(minutes / 60, 'H');
        part(minutes % 60, 'M');
        if rest != 0 {
            let sign = if rest < 0 { "-" } else { "" };
            let (seconds, fraction) = (rest.abs() / MICROS_PER_SECOND, fraction(rest.abs() % MICROS_PER_SECOND));
            let _ = write!(text, "{sign}{seconds}{fraction}S");
        }
    }
    text
}

/// The day that lies `days` after 2000-01-01, in the Gregorian calendar at all times, as Postgres has it. Years that four digits do not
/// hold have a sign and at least six (ISO 8601, expanded; as ECMAScript writes and reads them); the year before 0001 is 0000.
fn calendar_day(days: i64) -> String {
    let days = days + DAYS_TO_EPOCH;
    let (cycle, day_of_cycle) = (days.div_euclid(DAYS_PER_400_YEARS), days.rem_euclid(DAYS_PER_400_YEARS));
    // Leap days are taken out: one in 4 years but not in 100, and one in 400 all the same.
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    // Months from March on: their lengths repeat every five months, 153 days.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = cycle * 400 + year_of_cycle + i64::from(month <= 2);
    if (0..=9_999).contains(&year) {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{year:+07}-{month:02}-{day:02}")
    }
}

/// `.5`, without zeros at its end; nothing when there is no fraction.
fn fraction(micros: i64) -> String {
    if micros == 0 { String::new() } else { format!(".{micros:06}").trim_end_matches('0').to_owned() }
}
