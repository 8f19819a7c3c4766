//! What a stand-in saw, for a test to read and to wait for.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::watch;

const WAIT_TIMEOUT: Duration = Duration::from_secs(10);
const SHOWN_BYTES_MAX: usize = 4_000;

#[derive(Debug, Default)]
pub(crate) struct Observed<T>(watch::Sender<T>);

impl<T: Clone + Debug> Observed<T> {
    pub(crate) fn get(&self) -> T {
        self.0.borrow().clone()
    }

    /// What is seen from now on, each time it changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<T> {
        self.0.subscribe()
    }

    /// What `change` returns was true at the moment of the change.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut returned = None;
        self.0.send_modify(|state| returned = Some(change(state)));
        returned.expect("the change ran")
    }

    /// Waits for a state, not for an event, so that nothing is missed.
    pub(crate) async fn wait_until(&self, mut reached: impl FnMut(&T) -> bool) -> Result<()> {
        let mut receiver = self.0.subscribe();
        let wait = receiver.wait_for(|state| reached(state));
        if tokio::time::timeout(WAIT_TIMEOUT, wait).await.is_ok() {
            return Ok(());
        }
        let mut shown = format!("{:?}", self.get());
        shown.truncate(shown.floor_char_boundary(SHOWN_BYTES_MAX));
        bail!("not seen within {} s; seen so far: {shown}", WAIT_TIMEOUT.as_secs())
    }
}
