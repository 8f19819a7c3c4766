use std::time::Duration;

use proptest::prelude::*;

use super::{Breaker, Cause, Change, Pass, Shown, State, Waits};

/// 1 s, 2 s, 4 s … 60 s.
#[derive(Debug, Default)]
struct Doubling(u32);

impl Waits for Doubling {
    fn next(&mut self) -> Duration {
        self.0 += 1;
        Duration::from_secs(1 << (self.0 - 1).min(6)).min(Duration::from_secs(60))
    }

    fn reset(&mut self) {
        self.0 = 0;
    }
}

fn breaker() -> Breaker<Doubling> {
    Breaker::new(config::downstream::Breaker::default(), Doubling::default())
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn one(breaker: &mut Breaker<Doubling>, now: Duration, shown: Shown) -> Change {
    let pass = breaker.admit(now).expect("let through");
    breaker.record(now, pass, shown)
}

/// After five failures at `now`.
fn opened(now: Duration) -> Breaker<Doubling> {
    let mut breaker = breaker();
    for _ in 0..4 {
        assert_eq!(one(&mut breaker, now, Shown::Failure), Change::None);
    }
    assert_eq!(one(&mut breaker, now, Shown::Failure), Change::Opened(Cause::InARow(5)));
    breaker
}

#[test]
fn five_failures_in_a_row_open_it_and_an_answer_between_them_does_not() {
    let mut breaker = breaker();
    for round in 0..4 {
        let now = ms(round * 20_000);
        for _ in 0..4 {
            one(&mut breaker, now, Shown::Failure);
        }
        one(&mut breaker, now, Shown::Nothing);
        assert_eq!(breaker.state(now), State::Closed);
        one(&mut breaker, now, Shown::Answer);
    }
    let breaker = opened(ms(0));
    assert_eq!(breaker.state(ms(999)), State::Open { until: ms(1000) });
    assert_eq!(breaker.state(ms(1000)), State::HalfOpen { probing: false });
}

#[test]
fn half_of_twenty_attempts_within_ten_seconds_open_it() {
    let mut breaker = breaker();
    let mut change = Change::None;
    for attempt in 0..20 {
        let shown = if attempt % 2 == 0 { Shown::Answer } else { Shown::Failure };
        change = one(&mut breaker, ms(attempt * 400), shown);
        assert_eq!(change != Change::None, attempt == 19, "attempt {attempt}");
    }
    assert_eq!(change, Change::Opened(Cause::Share(50)));
    // The same over a longer time does not.
    let mut breaker = self::breaker();
    for attempt in 0..200 {
        let shown = if attempt % 2 == 0 { Shown::Answer } else { Shown::Failure };
        assert_eq!(one(&mut breaker, ms(attempt * 1000), shown), Change::None);
    }
}

#[test]
fn one_probe_at_a_time_and_the_time_doubles_while_they_fail() {
    let mut breaker = opened(ms(0));
    let mut now = ms(0);
    for expected_s in [1, 2, 4, 8, 16, 32, 60, 60] {
        let wait = breaker.look(now).expect_err("open").after;
        assert_eq!(wait, Duration::from_secs(expected_s));
        now += wait;
        let probe = breaker.admit(now).expect("a probe");
        assert!(probe.is_probe);
        assert_eq!(breaker.admit(now).expect_err("only one").after, ms(0));
        assert_eq!(breaker.record(now, probe, Shown::Failure), Change::Opened(Cause::Probe));
    }
    now += Duration::from_secs(60);
    let probe = breaker.admit(now).expect("a probe");
    assert_eq!(breaker.record(now, probe, Shown::Answer), Change::Closed);
    assert_eq!(breaker.state(now), State::Closed);
    for _ in 0..5 {
        one(&mut breaker, now, Shown::Failure);
    }
    assert_eq!(breaker.state(now), State::Open { until: now + ms(1000) }, "the times begin anew");
}

#[test]
fn a_probe_that_shows_nothing_makes_room_for_the_next() {
    let mut breaker = opened(ms(0));
    let probe = breaker.admit(ms(1000)).expect("a probe");
    breaker.record(ms(1500), probe, Shown::Nothing);
    assert!(breaker.admit(ms(1500)).expect("the next").is_probe);
}

#[test]
fn attempts_from_before_it_opened_change_nothing() {
    let mut breaker = breaker();
    let late: Vec<Pass> = (0..10).map(|_| breaker.admit(ms(0)).expect("closed")).collect();
    for pass in &late[..5] {
        breaker.record(ms(0), *pass, Shown::Failure);
    }
    for pass in &late[5..] {
        assert_eq!(breaker.record(ms(10), *pass, Shown::Failure), Change::None);
    }
    assert_eq!(breaker.state(ms(10)), State::Open { until: ms(1000) });
    // Neither does a probe of an earlier opening.
    let early = breaker.admit(ms(1000)).expect("a probe");
    breaker.close();
    for _ in 0..5 {
        one(&mut breaker, ms(1000), Shown::Failure);
    }
    let probe = breaker.admit(ms(2000)).expect("a probe");
    assert_eq!(breaker.record(ms(2000), early, Shown::Nothing), Change::None);
    assert!(breaker.admit(ms(2000)).is_err(), "the place of the probe was given away");
    assert_eq!(breaker.record(ms(2000), early, Shown::Answer), Change::None);
    assert_eq!(breaker.record(ms(2000), probe, Shown::Answer), Change::Closed);
}

#[test]
fn a_rest_that_was_asked_for_is_kept_to() {
    let mut breaker = breaker();
    assert_eq!(breaker.rest(ms(0), ms(5000)), Change::Opened(Cause::Asked));
    assert_eq!(breaker.rest(ms(0), ms(3000)), Change::None);
    assert_eq!(breaker.look(ms(4000)).expect_err("resting").after, ms(1000));
    assert!(breaker.admit(ms(5000)).expect("a probe").is_probe);
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Begin,
    End(usize, Shown),
    Rest(u64),
    Reached,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let shown = prop_oneof![Just(Shown::Answer), Just(Shown::Failure), Just(Shown::Failure), Just(Shown::Nothing)];
    let step = prop_oneof![
        (0_u64..3000).prop_map(Step::Wait),
        Just(Step::Begin),
        Just(Step::Begin),
        (any::<usize>(), shown.clone()).prop_map(|(which, shown)| Step::End(which, shown)),
        (any::<usize>(), shown).prop_map(|(which, shown)| Step::End(which, shown)),
        (0_u64..60_000).prop_map(Step::Rest),
        Just(Step::Reached),
    ];
    proptest::collection::vec(step, 0..300)
}

proptest! {
    #[test]
    fn never_more_than_one_probe_and_none_while_it_is_open(steps in steps()) {
        let (mut breaker, mut now, mut running) = (breaker(), ms(0), Vec::<Pass>::new());
        for step in steps {
            match step {
                Step::Wait(wait) => now += ms(wait),
                Step::Begin => {
                    let (state, looked) = (breaker.state(now), breaker.look(now));
                    let admitted = breaker.admit(now);
                    prop_assert_eq!(looked.is_ok(), admitted.is_ok(), "looking and being let through differ");
                    match (state, admitted) {
                        (State::Closed, Ok(pass)) => {
                            prop_assert!(!pass.is_probe);
                            running.push(pass);
                        }
                        (State::HalfOpen { probing: false }, Ok(pass)) => {
                            prop_assert!(pass.is_probe);
                            let probes = running.iter().filter(|other| other.is_probe && other.era == pass.era).count();
                            prop_assert_eq!(probes, 0, "two probes of one opening");
                            running.push(pass);
                        }
                        (State::HalfOpen { probing: true }, Err(refused)) => prop_assert!(refused.after.is_zero()),
                        (State::Open { until }, Err(refused)) => prop_assert_eq!(now + refused.after, until),
                        (state, admitted) => prop_assert!(false, "{state:?} and {admitted:?}"),
                    }
                }
                Step::End(which, shown) if !running.is_empty() => {
                    let pass = running.swap_remove(which % running.len());
                    breaker.record(now, pass, shown);
                }
                Step::End(..) => {}
                Step::Rest(rest) => {
                    breaker.rest(now, now + ms(rest));
                    prop_assert!(breaker.look(now + ms(rest)).is_ok() || breaker.look(now).is_err());
                }
                Step::Reached => {
                    breaker.close();
                    prop_assert_eq!(breaker.state(now), State::Closed);
                }
            }
        }
        // Whatever happened: when all attempts have ended and time has passed, calls are let through again.
        for pass in running {
            breaker.record(now, pass, Shown::Nothing);
        }
        prop_assert!(breaker.look(now + Duration::from_secs(121)).is_ok(), "it stays open for good");
    }
}
