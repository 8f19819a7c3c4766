//! A listening socket whose connections can be dropped, and that ends with its handle.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A server that runs. Stops on drop.
#[derive(Debug)]
pub struct Running {
    pub addr: SocketAddr,
    pub url: String,
    /// Cancels the connections that are open now; the next ones get another token.
    connections: Arc<Mutex<CancellationToken>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Running {
    /// Hangs up on everybody without a word. Whoever connects again is served.
    pub fn drop_connections(&self) {
        let mut connections = self.connections.lock().expect("nothing panics while it holds this lock");
        std::mem::replace(&mut *connections, self.stop.child_token()).cancel();
    }

    /// Stops and waits, for some seconds at most, until the connections are gone.
    pub async fn stop(self) {
        self.stop.cancel();
        if tokio::time::timeout(STOP_TIMEOUT, self.tasks.wait()).await.is_err() {
            tracing::warn!(url = self.url, "connections were still open after {} s", STOP_TIMEOUT.as_secs());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Runs `connection` for everybody who connects. Its token says that it has to hang up.
pub(crate) async fn listen<F, Fut>(bind: &str, scheme: &str, connection: F) -> Result<Running>
where
    F: Fn(TcpStream, CancellationToken) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(bind).await.with_context(|| format!("cannot listen on {bind}"))?;
    let addr = listener.local_addr()?;
    let stop = CancellationToken::new();
    let connections = Arc::new(Mutex::new(stop.child_token()));
    let tasks = TaskTracker::new();
    let running = Running {
        addr,
        url: format!("{scheme}://{addr}/mcp"),
        connections: connections.clone(),
        stop: stop.clone(),
        tasks: tasks.clone(),
    };
    let tracker = tasks.clone();
    tasks.spawn(stop.run_until_cancelled_owned(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // Without this a small answer waits for the other side's delayed acknowledgement.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "the caller was gone at once");
                    }
                    let token = connections.lock().expect("nothing panics while it holds this lock").child_token();
                    tracker.spawn(connection(stream, token));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }));
    tasks.close();
    Ok(running)
}
