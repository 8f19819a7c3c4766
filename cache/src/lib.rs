//! What a cache lookup came to, and why. Knows keys, values and time, nothing of MCP.

mod approvals;
mod cache;
mod clock;
mod entry;
mod flight;
mod freshness;
#[cfg(fuzzing)]
pub mod fuzzing;
mod key;
mod ledger;
pub mod limits;
mod local;
mod nonces;
mod octets;
mod pages;
mod pseudonyms;
pub mod redis;
mod revocations;
mod sealed;
mod store;
mod tags;
#[cfg(any(test, fuzzing))]
mod testing;

pub use approvals::{Approvals, Approved, NotApproved, Reach};
pub use cache::{Ask, Cache, Cached, Fetched, Figures, Passing, Served, Settings, State, Tier};
pub use entry::Found;
pub use flight::{Bounds, Failure, Seat};
pub use freshness::Contract;
pub use key::{Canonical, Identity, Key, KeyMaker, Mask, Partition, Parts, Personal, Uncacheable, exact_number};
pub use ledger::{
    Begun, Known, Ledger, Names as LedgerNames, NewWrite, OperationId, Owner, Settings as LedgerSettings,
    State as OperationState, Ticket, Unknowable, Watch,
};
pub use local::Holding;
pub use nonces::{Claim as NonceClaim, Nonces, Unspent};
pub use pages::{Handle, Pages, Settings as PageSettings, TooLarge};
pub use pseudonyms::{NewName, Pseudonyms};
pub use revocations::{Reached as RevocationReached, Revocations};
pub use sealed::{Damage, Sealer};
pub use tags::{Pending, Raised, Settled, Tag, Tags, Unannounced};
