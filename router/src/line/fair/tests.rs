use std::{collections::HashMap, time::Duration};

use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_assume, proptest};

use super::{Fair, Joined, Position, Refusal, Ticket, Why};

const NOW: Duration = Duration::from_secs(100);
const HOUR: Duration = Duration::from_secs(3600);

/// Calls are named by their party and a number of their own.
type Line = Fair<char, (char, u32)>;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn joined(line: &mut Line, who: char, number: u32) -> Ticket {
    match line.join(who, HOUR, NOW, (who, number)) {
        Joined::Waits { ticket, sent_away: None } => ticket,
        other => panic!("{other:?}"),
    }
}

/// All places are taken since `NOW`, and these calls wait.
fn line(places: usize, waiting_max: usize, calls: &str) -> Line {
    let mut line = Line::new(places, waiting_max);
    (0..places).for_each(|_| assert!(line.take(NOW)));
    calls.chars().zip(0..).for_each(|(who, number)| _ = joined(&mut line, who, number));
    line
}

/// Who has turns from here on, one place after the other.
fn turns(mut line: Line) -> String {
    let mut order = String::new();
    while line.waiting() > 0 {
        line.give_back(NOW, NOW);
        order.extend(line.next(NOW).map(|(who, _)| who));
    }
    order
}

#[test]
fn parties_take_turns_however_many_calls_they_have() {
    for (came, served) in [
        ("", ""),
        ("aaa", "aaa"),
        ("aaab", "abaa"),
        ("aaaabb", "ababaa"),
        ("aabbcc", "abcabc"),
        ("aaabc", "abcaa"),
        ("abcabcaa", "abcabcaa"),
    ] {
        assert_eq!(turns(line(1, 100, came)), served, "{came}");
    }
}

#[test]
fn who_comes_between_is_next_after_one_turn_of_each_other() {
    let mut line = line(1, 100, "aaaa");
    for number in 100..120 {
        joined(&mut line, 'b', number);
        line.give_back(NOW, NOW);
        assert_eq!(line.next(NOW).map(|(who, _)| who), Some('a'));
        joined(&mut line, 'a', number);
        line.give_back(NOW, NOW);
        assert_eq!(line.next(NOW), Some(('b', number)), "b has waited for more than one turn of a");
    }
}

#[test]
fn nobody_overtakes_those_who_wait() {
    let mut line = line(2, 100, "a");
    assert!(!line.take(NOW));
    line.give_back(NOW, NOW);
    assert!(!line.take(NOW), "a place is free, and it is that of the one that waits");
    assert_eq!(line.next(NOW), Some(('a', 0)));
    assert_eq!((line.next(NOW), line.taken()), (None, 2));
    line.give_back(NOW, NOW);
    assert!(line.take(NOW));
}

#[test]
fn a_call_that_could_not_start_in_time_is_told_by_the_usual_time_of_a_turn() {
    let mut line = Line::new(2, 100);
    assert!(line.take(seconds(0)));
    line.give_back(seconds(0), seconds(8));
    assert!(line.take(seconds(8)) && line.take(seconds(8)));
    let join = |line: &mut Line, patience| match line.join('a', seconds(patience), seconds(8), ('a', 0)) {
        Joined::Waits { .. } => None,
        Joined::Refused(refusal) => Some(refusal),
    };
    // Whatever runs may end at once.
    assert_eq!((join(&mut line, 0), join(&mut line, 1)), (None, None));
    let refusal = Refusal { why: Why::Hopeless, waiting: 2, wait: seconds(8) };
    assert_eq!((join(&mut line, 7), line.waiting()), (Some(refusal), 2));
    assert_eq!((join(&mut line, 8), line.waiting()), (None, 3));
}

#[test]
fn the_usual_time_is_over_where_places_are_kept_for_longer() {
    let mut line = line(2, 100, "aaaa");
    // Nothing was given back yet.
    let wait = |line: &Line, now| line.position_of_new(&'a', seconds(now)).wait;
    assert_eq!((wait(&line, 100), wait(&line, 115)), (Duration::ZERO, seconds(30)));
    line.give_back(NOW, seconds(101));
    assert_eq!(line.next(seconds(101)), Some(('a', 0)));
    // Three wait, two run: one since second 100, one since 101; a turn takes a second.
    assert_eq!((wait(&line, 101), wait(&line, 121)), (seconds(1), Duration::from_millis(20_500)));
}

#[test]
fn a_full_line_makes_room_for_whoever_has_less_in_it() {
    let mut line = line(1, 4, "aaaa");
    let refused = line.join('a', HOUR, NOW, ('a', 4));
    assert_eq!(refused, Joined::Refused(Refusal { why: Why::Full, waiting: 4, wait: Duration::ZERO }));
    for (number, gone) in [(5, 3), (6, 2)] {
        let Joined::Waits { sent_away: Some(sent_away), .. } = line.join('b', HOUR, NOW, ('b', number)) else {
            panic!("no room")
        };
        assert_eq!((sent_away.waiter, sent_away.refusal.why), (('a', gone), Why::Full), "the newest goes first");
    }
    // Now both have as much, and a third one has less than either.
    assert!(matches!(line.join('b', HOUR, NOW, ('b', 7)), Joined::Refused(_)));
    assert!(matches!(line.join('c', HOUR, NOW, ('c', 8)), Joined::Waits { sent_away: Some(_), .. }));
    assert_eq!(line.waiting(), 4);
    assert!(matches!(self::line(1, 0, "").join('a', HOUR, NOW, ('a', 0)), Joined::Refused(_)), "a line of none");
}

#[test]
fn while_one_finds_no_way_on_the_others_wait_in_their_order() {
    let mut line = Line::new(3, 100);
    assert!(line.take(NOW));
    line.hold_up();
    assert!(!line.take(NOW), "two places are free");
    joined(&mut line, 'a', 0);
    joined(&mut line, 'a', 1);
    joined(&mut line, 'b', 2);
    assert_eq!(line.next(NOW), None);
    line.go_on();
    assert_eq!((line.next(NOW), line.next(NOW), line.next(NOW)), (Some(('a', 0)), Some(('b', 2)), None));
}

#[test]
fn who_leaves_is_forgotten() {
    let mut line = line(1, 100, "aab");
    let ticket = joined(&mut line, 'c', 3);
    assert_eq!(line.position(&'c', ticket, NOW), Some(Position { ahead: 3 - 1, ahead_own: 0, wait: Duration::ZERO }));
    line.leave(&'c', ticket);
    line.leave(&'c', ticket);
    assert_eq!((line.position(&'c', ticket, NOW), line.waiting()), (None, 3));
    assert_eq!(turns(line), "aba");
}

#[derive(Debug, Clone)]
enum Step {
    Come(char),
    GiveUp(prop::sample::Index),
    End(prop::sample::Index),
    HoldUp,
    GoOn,
    Time(u8),
}

fn step() -> impl Strategy<Value = Step> {
    use proptest::prop_oneof;
    prop_oneof![
        6 => prop::sample::select(vec!['a', 'a', 'a', 'b', 'c']).prop_map(Step::Come),
        2 => any::<prop::sample::Index>().prop_map(Step::GiveUp),
        4 => any::<prop::sample::Index>().prop_map(Step::End),
        1 => proptest::prelude::Just(Step::HoldUp),
        2 => proptest::prelude::Just(Step::GoOn),
        1 => any::<u8>().prop_map(Step::Time),
    ]
}

proptest! {
    /// However calls come, end and give up: bounds hold, no place lies idle while somebody waits, nobody waits in vain or twice, and the
    /// position that a call is told is the one in which it is served.
    #[test]
    fn places_go_to_those_who_wait_in_the_order_they_were_told(
        places in 1..4_usize, waiting_max in 0..8_usize, steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut line = Line::new(places, waiting_max);
        let (mut now, mut number, mut held_up) = (NOW, 0, 0);
        let mut running: Vec<Duration> = Vec::new();
        let mut waiting: Vec<(char, u32, Ticket)> = Vec::new();
        for step in steps {
            match step {
                Step::Come(who) => {
                    number += 1;
                    if line.take(now) {
                        running.push(now);
                    } else if let Joined::Waits { ticket, sent_away } = line.join(who, HOUR * 100, now, (who, number)) {
                        waiting.push((who, number, ticket));
                        if let Some(sent_away) = sent_away {
                            prop_assert!(sent_away.waiter.0 != who);
                            waiting.retain(|(_, number, _)| *number != sent_away.waiter.1);
                        }
                    }
                }
                Step::GiveUp(which) if !waiting.is_empty() => {
                    let (who, _, ticket) = waiting.remove(which.index(waiting.len()));
                    line.leave(&who, ticket);
                }
                Step::End(which) if !running.is_empty() => {
                    line.give_back(running.remove(which.index(running.len())), now);
                }
                Step::HoldUp if !running.is_empty() => { line.hold_up(); held_up += 1; }
                Step::GoOn if held_up > 0 => { line.go_on(); held_up -= 1; }
                Step::Time(seconds) => now += Duration::from_secs(seconds.into()),
                Step::GiveUp(_) | Step::End(_) | Step::HoldUp | Step::GoOn => {}
            }
            let told: HashMap<u32, usize> = waiting
                .iter()
                .map(|(who, number, ticket)| (*number, line.position(who, *ticket, now).expect("it waits").ahead))
                .collect();
            let mut served = 0;
            while let Some((who, number)) = line.next(now) {
                prop_assert_eq!(told.get(&number), Some(&served), "{} {}", who, number);
                served += 1;
                running.push(now);
                waiting.retain(|(_, other, _)| *other != number);
            }
            prop_assert_eq!((line.taken(), line.waiting()), (running.len(), waiting.len()));
            prop_assert!(line.taken() <= places && line.waiting() <= waiting_max);
            prop_assert!(held_up > 0 || line.waiting() == 0 || line.taken() == places, "a place lies idle");
        }
    }

    /// As long as two parties wait, neither has two turns more than the other.
    #[test]
    fn whoever_waits_gets_as_much_as_every_other_one(
        came in prop::collection::vec(prop::sample::select(vec!['a', 'a', 'a', 'b', 'c']), 2..100), places in 1..4_usize,
    ) {
        let mut line = line(places, 100, &came.into_iter().collect::<String>());
        let (mut left, mut had) = (HashMap::<char, usize>::new(), HashMap::<char, usize>::new());
        for party in &line.parties {
            left.insert(party.who, party.calls.len());
        }
        prop_assume!(left.len() > 1);
        while line.waiting() > 0 {
            line.give_back(NOW, NOW);
            let (who, _) = line.next(NOW).expect("a place is free");
            *had.entry(who).or_default() += 1;
            *left.get_mut(&who).expect("it waited") -= 1;
            let of_waiting: Vec<usize> = left.iter().filter(|(_, left)| **left > 0).map(|(who, _)| had.get(who).copied().unwrap_or(0)).collect();
            let (most, least) = (of_waiting.iter().max(), of_waiting.iter().min());
            prop_assert!(most.unwrap_or(&0) - least.unwrap_or(&0) <= 1, "{:?}", had);
        }
    }
}
