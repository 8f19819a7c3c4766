//! Hearing that the fetch of a key has ended. Notices can be lost, so whoever waits also looks now and then.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

use crate::{
    key::Key,
    redis::{Channel, Message, Messages},
};

/// Who waits for what.
#[derive(Default)]
pub(super) struct Notices {
    listeners: Mutex<HashMap<Key, Arc<Notify>>>,
}

/// One who waits.
pub(crate) struct Listener {
    notices: Arc<Notices>,
    key: Key,
    notify: Arc<Notify>,
}

impl Notices {
    /// There is one fetch of a key in a process, so one listener; a second would take the place of the first, who then looks now and then.
    pub(super) fn listen(self: &Arc<Self>, key: Key) -> Listener {
        let notify = Arc::new(Notify::new());
        self.listeners().insert(key, notify.clone());
        Listener { notices: self.clone(), key, notify }
    }

    fn landed(&self, key: &[u8]) {
        let Ok(key) = <[u8; 32]>::try_from(key) else { return };
        if let Some(notify) = self.listeners().get(&Key::from_bytes(key)) {
            notify.notify_one();
        }
    }

    /// Anything may have ended.
    fn gap(&self) {
        self.listeners().values().for_each(|notify| notify.notify_one());
    }

    fn listeners(&self) -> MutexGuard<'_, HashMap<Key, Arc<Notify>>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// Ends with a notice that came since this listener was made, and was not waited for yet, or after `at_most`.
    pub(crate) async fn wait(&self, at_most: Duration) {
        let _elapsed = timeout(at_most, self.notify.notified()).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut listeners = self.notices.listeners();
        if listeners.get(&self.key).is_some_and(|notify| Arc::ptr_eq(notify, &self.notify)) {
            listeners.remove(&self.key);
        }
    }
}

/// Passes on what is heard, until nobody is left who could wait.
pub(super) async fn hear(mut messages: Messages, notices: Weak<Notices>) {
    while let Some(message) = messages.next().await {
        let Some(notices) = notices.upgrade() else { return };
        match message {
            Message::Published { channel: Channel::Landed, payload } => notices.landed(&payload),
            Message::Published { .. } => {}
            Message::Gap => notices.gap(),
        }
    }
}
