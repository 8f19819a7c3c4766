//! What callers, log and audit may not see.

mod audit;
mod detect;
mod walk;

pub(crate) use audit::AuditMask;
