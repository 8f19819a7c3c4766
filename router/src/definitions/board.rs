//! Where approvals are: one board for all routers of the process, which hears of those of other replicas.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use cache::Approvals;

use crate::catalog::Catalog;

/// How often replicas look for approvals of each other. What was approved counts everywhere within 5 s.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Approvals, and who is to hear of them.
#[derive(Debug)]
pub(crate) struct Board {
    approvals: Approvals,
    catalogs: Mutex<Vec<Weak<Catalog>>>,
}

impl Board {
    pub(crate) fn new(approvals: Approvals) -> Arc<Self> {
        Arc::new(Self { approvals, catalogs: Mutex::default() })
    }

    pub(super) fn approvals(&self) -> &Approvals {
        &self.approvals
    }

    /// From now on `catalog` is built anew when something is approved.
    pub(crate) fn tells(&self, catalog: &Arc<Catalog>) {
        let mut catalogs = self.catalogs.lock().unwrap_or_else(PoisonError::into_inner);
        catalogs.retain(|catalog| catalog.strong_count() > 0);
        catalogs.push(Arc::downgrade(catalog));
    }

    /// What is approved has changed.
    pub(super) fn announce(&self) {
        self.present().iter().for_each(|catalog| catalog.rebuild());
    }

    /// Takes over what other replicas approved, where any config asks for it.
    pub(crate) async fn look(&self) {
        if !self.present().iter().any(|catalog| catalog.definitions().holds()) {
            return;
        }
        // Without Redis what is known goes on: nothing is approved meanwhile.
        if let Ok(true) = self.approvals.learn().await {
            self.announce();
        }
    }

    fn present(&self) -> Vec<Arc<Catalog>> {
        let catalogs = self.catalogs.lock().unwrap_or_else(PoisonError::into_inner);
        catalogs.iter().filter_map(Weak::upgrade).collect()
    }
}

/// Looks for approvals of other replicas, again and again.
pub(crate) async fn follow(board: Arc<Board>) {
    loop {
        board.look().await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
