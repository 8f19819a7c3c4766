use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::{AHEAD_MS_MAX, Contract, Freshness, due_early, freshness};
use crate::entry::{Entry, Found};

const CONTRACT: Contract = Contract {
    fresh_for_ms: 60_000,
    stale_while_refreshing_ms: 300_000,
    stale_on_error_ms: 3_600_000,
    not_found_for_ms: 5_000,
};
const CREATED_MS: u64 = 1_800_000_000_000;

fn entry(found: Found, contract: &Contract) -> Entry {
    Entry::new(Bytes::from_static(b"{}"), found, Arc::new([]), 8_000, contract, CREATED_MS)
}

fn at_age(found: Found, age_ms: u64) -> Freshness {
    freshness(&entry(found, &CONTRACT), &CONTRACT, CREATED_MS + age_ms)
}

#[test]
fn an_answer_ages_from_fresh_to_gone() {
    assert_eq!(at_age(Found::Found, 0), Freshness::Fresh { age_ms: 0 });
    assert_eq!(at_age(Found::Found, 59_999), Freshness::Fresh { age_ms: 59_999 });
    assert_eq!(at_age(Found::Found, 60_000), Freshness::StaleWhileRefreshing { age_ms: 60_000 });
    assert_eq!(at_age(Found::Found, 299_999), Freshness::StaleWhileRefreshing { age_ms: 299_999 });
    assert_eq!(at_age(Found::Found, 300_000), Freshness::StaleOnError { age_ms: 300_000 });
    assert_eq!(at_age(Found::Found, 3_599_999), Freshness::StaleOnError { age_ms: 3_599_999 });
    assert_eq!(at_age(Found::Found, 3_600_000), Freshness::Gone);
}

#[test]
fn nothing_found_is_never_served_stale() {
    assert_eq!(at_age(Found::NotFound, 4_999), Freshness::Fresh { age_ms: 4_999 });
    assert_eq!(at_age(Found::NotFound, 5_000), Freshness::Gone);
}

#[test]
fn an_answer_from_the_future_is_gone() {
    let ahead = |ms| freshness(&entry(Found::Found, &CONTRACT), &CONTRACT, CREATED_MS - ms);
    assert_eq!(ahead(AHEAD_MS_MAX + 1), Freshness::Gone);
    assert_eq!(ahead(AHEAD_MS_MAX), Freshness::Fresh { age_ms: 0 });
}

#[test]
fn a_stricter_contract_counts_for_what_is_stored() {
    let stored = entry(Found::Found, &CONTRACT);
    let strict = Contract { fresh_for_ms: 1_000, stale_while_refreshing_ms: 0, stale_on_error_ms: 2_000, ..CONTRACT };
    assert_eq!(freshness(&stored, &strict, CREATED_MS + 1_000), Freshness::StaleOnError { age_ms: 1_000 });
    assert_eq!(freshness(&stored, &strict, CREATED_MS + 2_000), Freshness::Gone);
}

#[test]
fn a_looser_contract_revives_nothing() {
    let brief = Contract { fresh_for_ms: 1_000, ..Contract::default() };
    let stored = entry(Found::Found, &brief);
    assert_eq!(freshness(&stored, &CONTRACT, CREATED_MS + 999), Freshness::Fresh { age_ms: 999 });
    assert_eq!(freshness(&stored, &CONTRACT, CREATED_MS + 1_000), Freshness::Gone);
}

#[test]
fn a_refresh_is_likelier_near_the_end_and_for_slow_fetches() {
    // P(due) = exp(-left / fetch): with 8 s of fetch and 8 s left it is 1/e.
    let due =
        |left_ms, random| due_early(&entry(Found::Found, &CONTRACT), &CONTRACT, CREATED_MS + 60_000 - left_ms, random);
    assert!(due(8_000, 0.367) && !due(8_000, 0.369));
    assert!(due(800, 0.90) && !due(800, 0.91));
    assert!(due(20_000, 0.08) && !due(20_001, 0.08) && !due(59_000, 0.000_001));
    let quick = Entry { fetch_ms: 10, ..entry(Found::Found, &CONTRACT) };
    assert!(!due_early(&quick, &CONTRACT, CREATED_MS + 59_000, 0.000_001));
}

#[test]
fn a_random_number_out_of_range_decides_as_its_nearest_in_range() {
    let due = |random| due_early(&entry(Found::Found, &CONTRACT), &CONTRACT, CREATED_MS + 59_999, random);
    assert!(due(0.0) && due(-1.0) && due(f64::NEG_INFINITY));
    assert!(!due(1.0) && !due(7.0) && !due(f64::NAN));
    let at_once = Entry { fetch_ms: 0, ..entry(Found::Found, &CONTRACT) };
    assert!(!due_early(&at_once, &CONTRACT, CREATED_MS, 0.0));
}

fn any_found() -> impl Strategy<Value = Found> {
    prop_oneof![Just(Found::Found), Just(Found::NotFound)]
}

prop_compose! {
    fn any_contract()(fresh_for_ms: u64, stale_while_refreshing_ms: u64, stale_on_error_ms: u64, not_found_for_ms: u64) -> Contract {
        Contract { fresh_for_ms, stale_while_refreshing_ms, stale_on_error_ms, not_found_for_ms }
    }
}

/// Numbers near each other as well as near the ends of the range, where sums overflow.
fn any_time() -> impl Strategy<Value = u64> {
    prop_oneof![0..100_u64, CREATED_MS..CREATED_MS + 100, u64::MAX - 100..=u64::MAX, any::<u64>()]
}

fn order(freshness: Freshness) -> u8 {
    match freshness {
        Freshness::Fresh { .. } => 0,
        Freshness::StaleWhileRefreshing { .. } => 1,
        Freshness::StaleOnError { .. } => 2,
        Freshness::Gone => 3,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_served_beyond_its_bound_at_any_time(
        created_ms in any_time(), fresh_until_ms in any_time(), stale_until_ms in any_time(), now_ms in any_time(),
        contract in any_contract(), found in any_found(), random: f64,
    ) {
        let stored = Entry { created_ms, fresh_until_ms, stale_until_ms, ..entry(found, &contract) };
        let _ = due_early(&stored, &contract, now_ms, random);
        if let Freshness::Fresh { age_ms } | Freshness::StaleWhileRefreshing { age_ms } | Freshness::StaleOnError { age_ms } =
            freshness(&stored, &contract, now_ms)
        {
            prop_assert!(created_ms.checked_add(age_ms) == Some(now_ms) || (age_ms == 0 && created_ms - now_ms <= AHEAD_MS_MAX));
            prop_assert!(now_ms < stale_until_ms);
            let longest = [contract.fresh_for_ms, contract.stale_while_refreshing_ms, contract.stale_on_error_ms];
            let longest = if found == Found::NotFound { contract.not_found_for_ms } else { longest.into_iter().max().unwrap_or(0) };
            prop_assert!(age_ms < longest, "{age_ms}");
        }
    }

    #[test]
    fn an_answer_only_gets_older(
        fresh in 0..50_u64, refreshing in 0..50_u64, on_error in 0..50_u64, absent in 0..50_u64, found in any_found(), ages in (0..60_u64, 0..60_u64),
    ) {
        let contract =
            Contract { fresh_for_ms: fresh, stale_while_refreshing_ms: refreshing, stale_on_error_ms: on_error, not_found_for_ms: absent };
        let stored = entry(found, &contract);
        let (younger, older) = (ages.0.min(ages.1), ages.0.max(ages.1));
        let state = |age_ms| order(freshness(&stored, &contract, CREATED_MS + age_ms));
        prop_assert!(state(younger) <= state(older));
    }
}
