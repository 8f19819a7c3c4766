//! Failed logins: how many wrong credentials may come from one address.
//!
//! A right credential never comes here, so that nobody is kept out by what others at the same address try.

use std::{net::IpAddr, sync::Arc, time::Duration};

use cache::limits::{Charge, Denied, Limit, Side};

use super::{Limits, millis};
use crate::telemetry;

/// Too many wrong credentials came from one address.
#[derive(Debug)]
pub(crate) struct TooManyWrong {
    pub(super) limit: Arc<Limit>,
    pub(super) wait: Duration,
}

impl TooManyWrong {
    /// The name of the limit.
    pub(crate) fn limit(&self) -> &str {
        &self.limit.name
    }

    /// When another wrong one would be judged.
    pub(crate) fn retry_after_ms(&self) -> u64 {
        millis(self.wait)
    }
}

impl Limits {
    /// Counts a wrong credential, and says when it is one too many. What comes from nowhere is not counted.
    ///
    /// # Errors
    /// When its sender is to be told to wait instead of that it is wrong.
    pub(crate) async fn failed_login(&self, address: Option<IpAddr>) -> Result<(), TooManyWrong> {
        let Some(address) = address else { return Ok(()) };
        let network = network(address);
        let subject = |limit: &Limit| self.subjects.of_network(limit, &network);
        let charge = |limit: &Arc<Limit>| Charge { limit: limit.clone(), subject: subject(limit), cost: 1 };
        let charges: Vec<Charge> = self.addresses.iter().map(charge).collect();
        let Err(denied) = self.limiter.admit(Side::Addresses, &charges).await else { return Ok(()) };
        let (limit, wait) = match denied {
            Denied::Over { limit, wait, .. } | Denied::Closed { limit, wait } => (limit, wait),
            // Costs of 1 are within every burst.
            Denied::Never { limit } => (limit, Duration::from_secs(1)),
        };
        telemetry::limited(&limit.name, "over");
        Err(TooManyWrong { limit, wait })
    }
}

/// Who stands behind an address: of IPv6 everybody has a network of 64 bits at least, and may take any address in it.
fn network(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::network;

    #[test]
    fn addresses_that_one_sender_may_choose_from_are_one() {
        let same = |one: &str, other: &str| {
            network(one.parse().expect("an address")) == network(other.parse().expect("an address"))
        };
        assert!(same("10.0.0.1", "::ffff:10.0.0.1"));
        assert!(!same("10.0.0.1", "10.0.0.2"));
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
    }
}
