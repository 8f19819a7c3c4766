//! Ctrl-C and SIGTERM: the first asks to end, the second ends.

use std::{io::Write as _, process, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What is to be done before a process ends at once may take so long.
const LAST: Duration = Duration::from_secs(2);

/// The signals that ask a process to end.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From here on the signals no longer end the process by themselves.
    ///
    /// # Errors
    /// When the system does not let us listen.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the first signal; the next one then ends the process at once, whatever it is doing.
    pub(crate) async fn first(self) {
        self.first_then(std::future::ready(())).await;
    }

    /// The same, and the process that is ended at once does this before, as far as it takes no longer than [`LAST`].
    pub(crate) async fn first_then(mut self, last: impl Future<Output = ()> + Send + 'static) {
        self.next().await;
        tokio::spawn(async move {
            let number = self.next().await;
            let _ = tokio::time::timeout(LAST, last).await;
            // The log may be what hangs, so this goes past it.
            let _ = writeln!(std::io::stderr(), "weir: ended at once by a second signal; running calls were cut off");
            process::exit(128 + number.as_raw_value());
        });
    }

    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        }
    }
}
