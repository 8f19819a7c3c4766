//! A listening socket whose connections can be dropped, and that ends with its handle.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rand::RngExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const REFUSE_TIMEOUT: Duration = Duration::from_secs(10);
const REBIND_INTERVAL: Duration = Duration::from_millis(20);

/// A server that runs. Stops on drop.
#[derive(Debug)]
pub struct Running {
    pub addr: SocketAddr,
    pub url: String,
    /// Cancels the connections that are open now; the next ones get another token.
    connections: Arc<Mutex<CancellationToken>>,
    refuse: watch::Sender<bool>,
    listening: watch::Receiver<bool>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Running {
    /// Whether nobody listens any more, so that who connects is refused, until somebody does again, at the same port.
    /// Connections that are open go on. Returns when the change is effective.
    pub async fn refuse(&self, refuse: bool) -> Result<()> {
        self.refuse.send_replace(refuse);
        let mut listening = self.listening.clone();
        tokio::time::timeout(REFUSE_TIMEOUT, listening.wait_for(|listening| *listening != refuse))
            .await
            .with_context(|| format!("the port of {} is taken by somebody else", self.addr))?
            .context("the server has stopped")?;
        Ok(())
    }

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
    let (refuse, refused) = watch::channel(false);
    let (listens, listening) = watch::channel(true);
    let running = Running {
        addr,
        url: format!("{scheme}://{addr}/mcp"),
        connections: connections.clone(),
        refuse,
        listening,
        stop: stop.clone(),
        tasks: tasks.clone(),
    };
    let accepting = Accepting { addr, refuse: refused, listening: listens, connections, tasks: tasks.clone() };
    tasks.spawn(stop.run_until_cancelled_owned(accepting.run(listener, connection)));
    tasks.close();
    Ok(running)
}

struct Accepting {
    addr: SocketAddr,
    refuse: watch::Receiver<bool>,
    listening: watch::Sender<bool>,
    connections: Arc<Mutex<CancellationToken>>,
    tasks: TaskTracker,
}

impl Accepting {
    async fn run<F, Fut>(mut self, mut listener: TcpListener, connection: F)
    where
        F: Fn(TcpStream, CancellationToken) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        loop {
            let refuse = *self.refuse.borrow_and_update();
            if refuse {
                drop(listener);
                self.listening.send_replace(false);
                if self.refuse.wait_for(|refuse| !refuse).await.is_err() {
                    return;
                }
                listener = bind_again(self.addr).await;
                self.listening.send_replace(true);
            }
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        // Without this a small answer waits for the other side's delayed acknowledgement.
                        if let Err(error) = stream.set_nodelay(true) {
                            tracing::debug!(%error, "the caller was gone at once");
                        }
                        let connections = self.connections.lock().expect("nothing panics while it holds this lock");
                        self.tasks.spawn(connection(stream, connections.child_token()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                changed = self.refuse.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// A port that the kernel gives to nobody's outgoing connection: it stays free while a killed server is away, and whoever
/// knocks meanwhile cannot end up connected to itself.
pub fn free_port() -> Result<SocketAddr> {
    const ATTEMPTS_MAX: usize = 1000;
    let mut random = rand::rng();
    let port = || SocketAddr::from((Ipv4Addr::LOCALHOST, random.random_range(12_000..32_000)));
    std::iter::repeat_with(port)
        .take(ATTEMPTS_MAX)
        .find(|addr| std::net::TcpListener::bind(addr).is_ok())
        .context("no port of loopback is free")
}

/// Somebody's outgoing connection may have borrowed the port meanwhile.
pub(crate) async fn bind_again(addr: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(addr).await {
            Ok(listener) => return listener,
            Err(error) => tracing::debug!(%error, %addr, "cannot listen yet"),
        }
        tokio::time::sleep(REBIND_INTERVAL).await;
    }
}
