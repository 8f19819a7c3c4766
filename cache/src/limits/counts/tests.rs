use std::time::Duration;

use super::*;
use crate::limits::{Rate, Subjects};

const S: u64 = 1_000_000;

fn subject(name: &str) -> Subject {
    Subjects::new(&[1; 32]).of(name, &[])
}

fn item(name: &str, burst: u64) -> Item {
    let quota = Quota::new(Rate { amount: 1, per: Duration::from_secs(1) }, burst);
    Item { subject: subject(name), quota, cost: 1, owes_us: 0 }
}

/// What Redis is to be told by one who asks and is answered at once.
fn ask(counts: &Counts, items: &[Item], now_us: u64, seen: u32) -> Result<Vec<u64>, Refusal> {
    counts.ask(items, now_us, seen).map(|asked| asked.owed_us.clone())
}

#[test]
fn all_are_charged_or_none() {
    let counts = Counts::new(10);
    let (narrow, wide) = (item("narrow", 1), item("wide", 5));
    assert_eq!(counts.charge(&[wide, narrow], S, || true), Ok(vec![2 * S, 2 * S]));
    for _ in 0..3 {
        assert_eq!(counts.charge(&[wide, narrow], S, || true), Err(Refusal::Over { index: 1, wait_us: S }));
    }
    assert_eq!(counts.charge(&[wide], S, || false), Err(Refusal::Else));
    assert_eq!(counts.look(&[wide, narrow]), [2 * S, 2 * S]);
    let dear = Item { cost: 6, ..wide };
    assert_eq!(counts.charge(&[narrow, dear], S, || true), Err(Refusal::Never { index: 1 }));
}

#[test]
fn the_longest_wait_is_told() {
    let counts = Counts::new(10);
    let (short, long) = (item("short", 1), Item { cost: 5, ..item("long", 5) });
    assert!(counts.charge(&[short, long], S, || true).is_ok());
    assert_eq!(counts.charge(&[short, long], S, || true), Err(Refusal::Over { index: 1, wait_us: 5 * S }));
}

#[test]
fn what_was_heard_refuses_no_less_than_it_must_and_nothing_cheaper_and_not_for_ever() {
    let counts = Counts::new(10);
    let (one, three) = (item("heard", 3), Item { cost: 3, ..item("heard", 3) });
    // Two of three are left.
    counts.heard(&[one], &[11 * S], 10 * S, 7);
    assert_eq!(ask(&counts, &[one], 10 * S, 1), Ok(vec![0]));
    let late = Refusal::Over { index: 0, wait_us: S + 7 };
    assert_eq!(ask(&counts, &[three], 10 * S, 1), Err(late), "as long as it may be");
    assert_eq!(ask(&counts, &[three], 11 * S, 1), Ok(vec![0]));
    let slow = Item { quota: Quota::new(Rate { amount: 1, per: Duration::from_secs(3_600) }, 1), ..one };
    counts.heard(&[slow], &[3_610 * S], 10 * S, 0);
    assert!(ask(&counts, &[slow], 14 * S, 1).is_err());
    assert!(ask(&counts, &[slow], 16 * S, 1).is_ok(), "after a while Redis is asked again");
}

#[test]
fn no_more_ask_at_once_than_can_get_through() {
    let counts = Counts::new(10);
    let (two, both) = ([item("two", 2)], [item("two", 2), item("other", 1)]);
    let one_more = Refusal::Over { index: 0, wait_us: S };
    let asking = [&two[..], &both].map(|items| counts.ask(items, S, 1).expect("as many as there are"));
    assert_eq!(ask(&counts, &two, S, 1), Err(one_more));
    assert_eq!(ask(&counts, &both[1..], S, 1), Err(one_more));
    // None is left, and the next comes in a second.
    counts.heard(&both, &[3 * S, 2 * S], S, 0);
    drop(asking);
    assert_eq!(ask(&counts, &two, S, 1), Err(one_more));
    let first = counts.ask(&two, 2 * S, 1).expect("one has grown back");
    assert_eq!(ask(&counts, &two, 2 * S, 1), Err(one_more));
    drop(first);
    assert!(ask(&counts, &two, 2 * S, 1).is_ok(), "nobody waits for an answer any more");
    // What was heard is no longer fresh: one asks whether it is still so.
    let slow = [Item { quota: Quota::new(Rate { amount: 1, per: Duration::from_secs(3_600) }, 1), ..item("slow", 1) }];
    counts.heard(&slow, &[3_600 * S], 3 * S, 0);
    let first = counts.ask(&slow, 9 * S, 1).expect("one may look");
    assert!(ask(&counts, &slow, 9 * S, 1).is_err());
    drop(first);
    assert!(counts.all().asked_us.is_empty());
}

#[test]
fn what_was_charged_alone_is_owed_until_it_has_grown_back() {
    let counts = Counts::new(10);
    let share = Item { owes_us: S, ..item("share", 10) };
    for _ in 0..4 {
        counts.charge(&[share], S, || true).expect("there is enough");
    }
    assert_eq!(ask(&counts, &[share], S, 2), Ok(vec![2 * S]), "half of it has grown back by what others do not use");
    assert_eq!(ask(&counts, &[share], S, 2), Ok(vec![0]), "told once");
    counts.still_owed(&[share], &[2 * S]);
    assert_eq!(ask(&counts, &[share], 4 * S, 1), Ok(vec![S]));
}

#[test]
fn counts_are_bounded_and_the_nearest_to_whole_goes_first() {
    let counts = Counts::new(3);
    for (at, name) in ["c", "a", "d", "b"].iter().enumerate() {
        let item = Item { cost: [3, 1, 4, 2][at], ..item(name, 5) };
        counts.charge(&[item], S, || true).expect("fresh");
    }
    let kept: Vec<bool> = ["a", "b", "c", "d"].map(|name| counts.look(&[item(name, 5)])[0] > 0).to_vec();
    assert_eq!(kept, [false, true, true, true]);
    counts.charge(&[item("e", 5)], 9 * S, || true).expect("fresh");
    let all = counts.all();
    assert_eq!((all.counts.len(), all.in_order.len()), (1, 1), "those that are whole again are dropped");
}
