//! The router of the moment: each request takes it once, so that a change of the config lies between two requests and never within one.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;

use crate::{Router, reload::Refused};

/// What is served: the router of the config that is in force.
#[derive(Debug)]
pub struct Live {
    router: ArcSwap<Router>,
    attempt: ArcSwapOption<Attempt>,
}

/// What became of the last try to put another config in force.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) at: Timestamp,
    /// Why the config of before stayed.
    pub(crate) refused: Option<Arc<Refused>>,
}

impl Live {
    /// Serves `router` until it is replaced.
    #[must_use]
    pub fn new(router: Arc<Router>) -> Arc<Self> {
        Arc::new(Self { router: ArcSwap::new(router), attempt: ArcSwapOption::empty() })
    }

    /// The router of the moment.
    #[must_use]
    pub fn router(&self) -> Arc<Router> {
        self.router.load_full()
    }

    /// Requests that come from now on take `next`; those of before keep theirs to their end.
    pub(crate) fn replace(&self, next: Arc<Router>) {
        self.router.store(next);
    }

    /// What became of the last try to put another config in force, if there was one.
    pub(crate) fn last_attempt(&self) -> Option<Arc<Attempt>> {
        self.attempt.load_full()
    }

    pub(crate) fn attempted(&self, refused: Option<Arc<Refused>>) {
        self.attempt.store(Some(Arc::new(Attempt { at: Timestamp::now(), refused })));
    }
}
