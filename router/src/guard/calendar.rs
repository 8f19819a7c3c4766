//! The times in which a downstream is not called, such as the batch run of a mainframe. Knows no clock.
//!
//! A window begins and ends by the clock on the wall of its time zone, so on the days of a change of the clock it is an hour longer or shorter.
//! A time that the clock leaps over is the moment after the leap; of one that comes twice the first counts.

use std::sync::{Arc, Mutex, PoisonError};

use config::downstream::{Closed, Day};
use jiff::{
    Timestamp, ToSpan as _, Zoned,
    civil::{Date, Time, Weekday},
    tz::TimeZone,
};

/// A window lasts a day at most, and each of the weekdays comes within this many.
const DAYS_AHEAD: i32 = 8;
/// So many windows may follow each other without a gap before the end of the last is no longer looked for.
const CHAIN_MAX: usize = 32;

/// The windows of one downstream.
#[derive(Debug)]
pub(super) struct Calendar {
    windows: Vec<Window>,
    /// What was worked out last holds until its end.
    known: Mutex<Option<(Timestamp, Phase)>>,
}

#[derive(Debug)]
struct Window {
    days: Vec<Weekday>,
    from: Time,
    to: Time,
    zone: TimeZone,
    zone_name: Arc<str>,
    reason: Arc<str>,
}

/// How a downstream is at one time, until another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Phase {
    /// The window it is in.
    pub(crate) closed: Option<Shut>,
    /// When that changes; `None` where nothing changes within a week.
    pub(crate) until: Option<Timestamp>,
    /// The window that begins then.
    pub(crate) next: Option<Shut>,
}

/// A window that a downstream is in, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shut {
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) reason: Arc<str>,
    zone_name: Arc<str>,
    zone: TimeZone,
}

impl Calendar {
    /// `None` for a downstream that is never closed. What is wrong with a window was said when the config was read.
    pub(super) fn new(windows: &[Closed]) -> Option<Self> {
        let windows: Vec<Window> = windows.iter().filter_map(Window::new).collect();
        (!windows.is_empty()).then(|| Self { windows, known: Mutex::new(None) })
    }

    /// How it is at `now`.
    pub(super) fn at(&self, now: Timestamp) -> Phase {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, phase)) = &*known
            && *since <= now
            && phase.until.is_some_and(|until| now < until)
        {
            return phase.clone();
        }
        let phase = self.work_out(now);
        *known = Some((now, phase.clone()));
        phase
    }

    fn work_out(&self, now: Timestamp) -> Phase {
        let all = || self.windows.iter().flat_map(|window| window.around(now));
        let open_at = |moment| {
            all().filter(move |shut: &Shut| shut.since <= moment && moment < shut.until).max_by_key(|shut| shut.until)
        };
        let Some(mut shut) = open_at(now) else {
            let next = all().filter(|shut| shut.since > now).min_by_key(|shut| shut.since);
            return Phase { closed: None, until: next.as_ref().map(|next| next.since), next };
        };
        for _ in 0..CHAIN_MAX {
            let Some(following) = open_at(shut.until) else { break };
            shut.until = following.until;
        }
        Phase { until: Some(shut.until), closed: Some(shut), next: None }
    }
}

impl Window {
    fn new(closed: &Closed) -> Option<Self> {
        Some(Self {
            days: closed.days.iter().map(weekday).collect(),
            from: closed.from()?,
            to: closed.to()?,
            zone: closed.zone()?,
            zone_name: closed.time_zone.as_str().into(),
            reason: closed.reason.as_str().into(),
        })
    }

    /// Its times from the day before `now` on.
    fn around(&self, now: Timestamp) -> impl Iterator<Item = Shut> {
        let today = now.to_zoned(self.zone.clone()).date();
        let days = (-1..=DAYS_AHEAD).filter_map(move |days| today.checked_add(days.days()).ok());
        days.filter(|date| self.days.is_empty() || self.days.contains(&date.weekday())).filter_map(|date| self.on(date))
    }

    fn on(&self, date: Date) -> Option<Shut> {
        let end = if self.to > self.from { date } else { date.tomorrow().ok()? };
        let moment = |date: Date, time| -> Option<Timestamp> {
            Some(date.to_datetime(time).to_zoned(self.zone.clone()).ok()?.timestamp())
        };
        let (since, until) = (moment(date, self.from)?, moment(end, self.to)?);
        let (reason, zone_name, zone) = (self.reason.clone(), self.zone_name.clone(), self.zone.clone());
        // A short window may lie where the clock leaps: then there is none on that day.
        (since < until).then_some(Shut { since, until, reason, zone_name, zone })
    }
}

impl Shut {
    /// `06:00 (Europe/Berlin)`, with the day where that is another one than at `now`.
    pub(crate) fn end(&self, now: Timestamp) -> String {
        let (until, now): (Zoned, Zoned) = (self.until.to_zoned(self.zone.clone()), now.to_zoned(self.zone.clone()));
        let form = if until.date() == now.date() { "%H:%M" } else { "%A %H:%M" };
        format!("{} ({})", until.strftime(form), self.zone_name)
    }
}

fn weekday(day: &Day) -> Weekday {
    match day {
        Day::Mon => Weekday::Monday,
        Day::Tue => Weekday::Tuesday,
        Day::Wed => Weekday::Wednesday,
        Day::Thu => Weekday::Thursday,
        Day::Fri => Weekday::Friday,
        Day::Sat => Weekday::Saturday,
        Day::Sun => Weekday::Sunday,
    }
}

#[cfg(test)]
mod tests {
    use config::downstream::{Closed, Day};
    use jiff::Timestamp;

    use super::Calendar;

    fn window(days: &[Day], from: &str, to: &str, zone: &str) -> Closed {
        Closed {
            days: days.to_vec(),
            from: from.to_owned(),
            to: to.to_owned(),
            time_zone: zone.to_owned(),
            reason: "nightly batch".to_owned(),
        }
    }

    fn at(moment: &str) -> Timestamp {
        moment.parse().expect("a moment")
    }

    /// `closed until …`, `open until …`.
    fn said(windows: &[Closed], moment: &str) -> String {
        let phase = Calendar::new(windows).expect("windows").at(at(moment));
        let word = if phase.closed.is_some() { "closed" } else { "open" };
        phase.until.map_or_else(|| word.to_owned(), |until| format!("{word} until {until}"))
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        // 2026-11-20 is a Friday.
        let nights = [window(&[Day::Fri], "22:00", "06:00", "UTC")];
        for (moment, expected) in [
            ("2026-11-20T21:59:59Z", "open until 2026-11-20T22:00:00Z"),
            ("2026-11-20T22:00:00Z", "closed until 2026-11-21T06:00:00Z"),
            ("2026-11-21T05:59:59Z", "closed until 2026-11-21T06:00:00Z"),
            ("2026-11-21T06:00:00Z", "open until 2026-11-27T22:00:00Z"),
            ("2026-11-21T22:30:00Z", "open until 2026-11-27T22:00:00Z"),
        ] {
            assert_eq!(said(&nights, moment), expected, "{moment}");
        }
    }

    #[test]
    fn the_clock_on_the_wall_counts_also_when_it_is_changed() {
        let nights = [window(&[], "01:30", "04:00", "Europe/Berlin")];
        for (moment, expected) in [
            // Winter, an hour ahead of UTC.
            ("2026-01-10T00:30:00Z", "closed until 2026-01-10T03:00:00Z"),
            // Summer, two hours.
            ("2026-07-09T23:30:00Z", "closed until 2026-07-10T02:00:00Z"),
            // 29 March: from 02:00 the clock leaps to 03:00, and the night is an hour shorter.
            ("2026-03-29T00:30:00Z", "closed until 2026-03-29T02:00:00Z"),
            // 25 October: from 03:00 it goes back to 02:00, and the night is an hour longer.
            ("2026-10-24T23:30:00Z", "closed until 2026-10-25T03:00:00Z"),
        ] {
            assert_eq!(said(&nights, moment), expected, "{moment}");
        }
        // There is no half past two on that day.
        let leapt = [window(&[], "02:30", "03:15", "Europe/Berlin")];
        assert_eq!(said(&leapt, "2026-03-29T00:59:00Z"), "open until 2026-03-30T00:30:00Z");
    }

    #[test]
    fn windows_that_follow_each_other_are_one() {
        let windows = [
            window(&[], "22:00", "00:00", "UTC"),
            window(&[], "00:00", "02:00", "UTC"),
            window(&[], "01:00", "03:00", "UTC"),
        ];
        assert_eq!(said(&windows, "2026-11-20T23:00:00Z"), "closed until 2026-11-21T03:00:00Z");
        let always = [window(&[], "08:00", "08:00", "UTC")];
        assert!(said(&always, "2026-11-20T23:00:00Z").starts_with("closed until "));
    }

    #[test]
    fn callers_hear_when_it_ends_by_its_own_clock() {
        let calendar = Calendar::new(&[window(&[Day::Fri], "22:00", "06:00", "America/New_York")]).expect("a window");
        let end = |moment: &str| calendar.at(at(moment)).closed.expect("closed").end(at(moment));
        assert_eq!(end("2026-11-21T03:30:00Z"), "Saturday 06:00 (America/New_York)");
        assert_eq!(end("2026-11-21T08:00:00Z"), "06:00 (America/New_York)");
    }

    #[test]
    fn what_was_worked_out_holds_no_longer_than_it_may() {
        let calendar = Calendar::new(&[window(&[], "10:00", "11:00", "UTC")]).expect("a window");
        for (moment, closed) in [("09:00", false), ("10:00", true), ("10:59", true), ("11:00", false), ("10:30", true)]
        {
            let moment = at(&format!("2026-11-20T{moment}:00Z"));
            assert_eq!(calendar.at(moment).closed.is_some(), closed, "{moment}");
        }
        assert!(Calendar::new(&[]).is_none());
    }
}
