//! The router owns the call, not the connection.
//!
//! A call runs inside the task of its caller's connection, which costs no hop. When that task goes away first, the call goes with it if
//! it may (a read, or a write of which nothing has left); otherwise, and always before 2026-07-28 where a closed connection is no cancellation, it moves to a task of its own and settles there.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::{Control, Ended, ToolCall, call_tool};
use crate::{Router, limits::Limits};

type BoxedCall = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// A call that runs, and what becomes of it when nobody waits any longer.
pub struct RunningCall {
    /// `None` once it has ended.
    call: Option<BoxedCall>,
    control: Control,
    /// Whether a closed connection is no cancellation (MCP before 2026-07-28).
    survives_its_connection: bool,
    router: Arc<Router>,
}

impl RunningCall {
    /// Starts a call. It does its first work when it is polled.
    pub fn start(router: &Arc<Router>, call: ToolCall, survives_its_connection: bool) -> Self {
        let control = call.control.clone();
        let call = Box::pin(call_tool(router.clone(), call));
        Self { call: Some(call), control, survives_its_connection, router: router.clone() }
    }

    /// The limits that it is under.
    pub(crate) fn limits(&self) -> &Limits {
        &self.router.limits
    }
}

impl Future for RunningCall {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let Some(call) = &mut self.call else { return Poll::Pending };
        let ended = std::task::ready!(call.as_mut().poll(cx));
        self.call = None;
        Poll::Ready(ended)
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        let Some(call) = self.call.take() else { return };
        // Withdrawing fails exactly when bytes of a write may have left: then it runs on to its deadline.
        if self.survives_its_connection || !self.control.gate.withdraw() {
            self.router.spawn(async move { drop(call.await) });
        }
    }
}

impl std::fmt::Debug for RunningCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningCall").field("ended", &self.call.is_none()).finish_non_exhaustive()
    }
}
