//! What every call carries to its adapter.

mod gate;

use std::{
    fmt,
    sync::{Arc, atomic},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{AdapterError, Caller, ErrorClass, TraceContext};

pub use gate::SendGate;

/// What every call carries to its adapter.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// Names this call in logs, audit and error answers.
    pub request_id: Uuid,
    /// Who calls.
    pub caller: Arc<Caller>,
    /// When the answer must be there: the only deadline of the call.
    pub deadline: Deadline,
    /// Fires when the caller no longer wants the answer. Never fires for a write that passed its [gate](Self::gate).
    pub cancel: CancellationToken,
    /// The trace this call belongs to.
    pub trace: TraceContext,
    /// Where progress and log messages of this call go; `None` when the caller wants none.
    pub notices: Option<Notices>,
    /// Settles whether a write has left.
    pub gate: Arc<SendGate>,
    /// What is known of a call that writes; `None` for one that reads.
    pub write: Option<Arc<dyn WriteCall>>,
}

/// What is known of a call that writes.
pub trait WriteCall: fmt::Debug + Send + Sync {
    /// To be known to all who may ask for it again, before its first byte leaves.
    fn about_to_send(&self) -> BoxFuture<'_, Result<(), AdapterError>>;

    /// What stands for the caller's idempotency key at a downstream that heeds such keys, and for the call where the caller gave none: 32
    /// hexadecimal digits that no other caller's key gives.
    fn passed_key(&self) -> &str;
}

impl CallContext {
    /// A call that wants no notices.
    #[must_use]
    pub fn new(caller: Arc<Caller>, deadline: Deadline) -> Self {
        Self {
            request_id: Uuid::now_v7(),
            caller,
            deadline,
            cancel: CancellationToken::new(),
            trace: TraceContext::new_root(),
            notices: None,
            gate: Arc::default(),
            write: None,
        }
    }

    /// To be awaited right before the first byte of a write leaves. From here on the write runs to its deadline.
    ///
    /// # Errors
    /// When the call was withdrawn first, or others cannot be told of it; then nothing may be sent.
    pub async fn about_to_send(&self) -> Result<(), AdapterError> {
        // Before the gate: as long as this is not known, the caller may still withdraw.
        if let Some(write) = &self.write {
            write.about_to_send().await?;
        }
        if self.gate.pass() {
            Ok(())
        } else {
            Err(AdapterError::not_sent(ErrorClass::Cancelled, "The call was cancelled before anything was sent."))
        }
    }

    /// Ends when the caller gives up. A write that has left is no longer the caller's to withdraw.
    pub(crate) async fn withdrawn(&self) {
        self.cancel.cancelled().await;
        if self.gate.passed() {
            std::future::pending::<()>().await;
        }
    }

    /// Hands progress or a log message up to the caller. Lost when the caller reads too slowly: notices are hints, the answer is not.
    pub fn notify(&self, notice: Notice) {
        if let Some(notices) = &self.notices {
            notices.tell(notice);
        }
    }
}

/// Something a downstream tells while it works on a call, as the bytes of the notification's `params` object.
#[derive(Debug, Clone)]
pub enum Notice {
    /// `notifications/progress`. Its `progressToken` is the adapter's own.
    Progress(Bytes),
    /// `notifications/message`.
    Message(Bytes),
}

/// Where the notices of a call go, and what of them must not be seen there.
#[derive(Debug, Clone)]
pub struct Notices {
    sender: mpsc::Sender<Notice>,
    mask: Option<Arc<dyn MaskNotice>>,
}

/// Takes out of notices what their caller must not see.
pub trait MaskNotice: fmt::Debug + Send + Sync {
    /// The notice as the caller may see it; `None` for one that he may not see at all.
    fn masked(&self, notice: Notice) -> Option<Notice>;
}

impl Notices {
    /// Notices to whoever holds the other end, each as `mask` leaves it.
    #[must_use]
    pub fn new(sender: mpsc::Sender<Notice>, mask: Option<Arc<dyn MaskNotice>>) -> Self {
        Self { sender, mask }
    }

    /// Tells one. Lost when the caller reads too slowly: notices are hints, the answer is not.
    pub fn tell(&self, notice: Notice) {
        let seen = match &self.mask {
            // What nobody could read need not be masked.
            Some(_) if self.sender.capacity() == 0 => None,
            Some(mask) => mask.masked(notice),
            None => Some(notice),
        };
        if let Some(notice) = seen {
            let _ = self.sender.try_send(notice);
        }
    }
}

/// The moment at which an answer must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The moment `period` from now.
    #[must_use]
    pub fn after(period: Duration) -> Self {
        Self(Instant::now() + period)
    }

    /// This moment or `period` from now, whichever comes first.
    #[must_use]
    pub fn within(self, period: Duration) -> Self {
        self.min(Self::after(period))
    }

    /// The moment itself, for tokio's timers.
    #[must_use]
    pub fn at(self) -> Instant {
        self.0
    }

    /// How much time is left; zero when it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod under_loom;
