//! Requests that leave no record of their own, told by their count: for each address and reason, once a second.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

/// How many addresses with their reasons are told apart between two records; what is beyond is counted by reason alone.
const KINDS_MAX: usize = 1024;

/// What was counted since it was told last.
#[derive(Debug, Default)]
pub(super) struct Counted(Mutex<HashMap<(From, &'static str), u64>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum From {
    Address(Option<IpAddr>),
    Others,
}

#[derive(Serialize)]
struct Line {
    kind: &'static str,
    time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    reason: &'static str,
    count: u64,
}

impl Counted {
    /// Counts one request. `reason` is a word of Weir's own.
    pub(super) fn count(&self, address: Option<IpAddr>, reason: &'static str) {
        let mut counted = self.lock();
        let known = (From::Address(address), reason);
        let from = if counted.len() < KINDS_MAX || counted.contains_key(&known) { known.0 } else { From::Others };
        *counted.entry((from, reason)).or_default() += 1;
    }

    /// The records of what was counted; from here on it is counted anew.
    pub(super) fn take(&self) -> impl Iterator<Item = Arc<RawValue>> {
        let counted = std::mem::take(&mut *self.lock());
        let time = Timestamp::now();
        counted.into_iter().map(move |((from, reason), count)| {
            let address = match from {
                From::Address(address) => address.map(|address| address.to_string()),
                From::Others => Some("others".to_owned()),
            };
            super::raw(&Line { kind: "counted", time, address, reason, count })
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(From, &'static str), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::{Counted, KINDS_MAX};

    #[test]
    fn every_request_is_in_one_count_however_many_addresses_there_are() {
        let counted = Counted::default();
        for number in 0..3 * KINDS_MAX as u32 {
            counted.count(Some(IpAddr::V4(Ipv4Addr::from(number))), "no_credentials");
            counted.count(Some(IpAddr::V4(Ipv4Addr::from(number))), "not_found");
        }
        let records: Vec<_> = counted.take().collect();
        assert_eq!(records.len(), KINDS_MAX + 2);
        let count = |record: &serde_json::value::RawValue| {
            let record: serde_json::Value = serde_json::from_str(record.get()).expect("a record is JSON");
            record["count"].as_u64().expect("a number")
        };
        assert_eq!(records.iter().map(|record| count(record)).sum::<u64>(), 6 * KINDS_MAX as u64);
        assert_eq!(counted.take().count(), 0);
    }
}
