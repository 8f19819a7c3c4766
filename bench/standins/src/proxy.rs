//! A TCP proxy that makes a network go wrong on command.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::listener::bind_again;
use crate::observed::Observed;

const CHUNK_BYTES: usize = 64 << 10;
/// How much is under way in each direction of a connection.
const CHUNKS_MAX: usize = 64;
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What the network does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    Pass,
    /// Everything arrives so much later, in both directions.
    Latency(Duration),
    /// Connections stay open, new ones are accepted, and nothing passes, not even their end: half-open, as behind a
    /// firewall that drops packets. What was sent meanwhile arrives when the fault is over.
    Blackhole,
    /// Nobody listens. Connections that are open go on.
    Refuse,
}

/// What passed so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    pub accepted: u64,
    pub open: u64,
    pub bytes_to_target: u64,
    pub bytes_from_target: u64,
    pub listening: bool,
}

/// The proxy. Stops on drop, which resets its connections.
#[derive(Debug)]
pub struct FaultProxy {
    addr: SocketAddr,
    fault: watch::Sender<Fault>,
    stats: Arc<Observed<Stats>>,
    connections: Arc<Mutex<CancellationToken>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl FaultProxy {
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on loopback")?;
        let addr = listener.local_addr()?;
        let stop = CancellationToken::new();
        let proxy = Self {
            addr,
            fault: watch::Sender::default(),
            stats: Arc::default(),
            connections: Arc::new(Mutex::new(stop.child_token())),
            tasks: TaskTracker::new(),
            stop,
        };
        let accepting = Accepting {
            addr,
            target,
            fault: proxy.fault.subscribe(),
            stats: proxy.stats.clone(),
            connections: proxy.connections.clone(),
            tasks: proxy.tasks.clone(),
        };
        proxy.stats.update(|stats| stats.listening = true);
        proxy.tasks.spawn(proxy.stop.clone().run_until_cancelled_owned(accepting.run(listener)));
        proxy.tasks.close();
        Ok(proxy)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes what happens to open connections and to new ones. Returns when the change is effective.
    pub async fn set(&self, fault: Fault) -> Result<()> {
        self.fault.send_replace(fault);
        self.stats.wait_until(|stats| stats.listening == (fault != Fault::Refuse)).await
    }

    /// Ends every open connection with a reset, on both sides.
    pub fn reset_connections(&self) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *connections, self.stop.child_token()).cancel();
    }

    pub fn stats(&self) -> Stats {
        self.stats.get()
    }

    /// Waits until the numbers look like this; an error after ten seconds.
    pub async fn wait_until(&self, reached: impl FnMut(&Stats) -> bool) -> Result<()> {
        self.stats.wait_until(reached).await
    }

    pub async fn stop(self) {
        self.stop.cancel();
        if tokio::time::timeout(STOP_TIMEOUT, self.tasks.wait()).await.is_err() {
            tracing::warn!(addr = %self.addr, "connections were still open after {} s", STOP_TIMEOUT.as_secs());
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Accepting {
    addr: SocketAddr,
    target: SocketAddr,
    fault: watch::Receiver<Fault>,
    stats: Arc<Observed<Stats>>,
    connections: Arc<Mutex<CancellationToken>>,
    tasks: TaskTracker,
}

impl Accepting {
    async fn run(mut self, mut listener: TcpListener) {
        loop {
            let refuse = *self.fault.borrow_and_update() == Fault::Refuse;
            if refuse {
                drop(listener);
                self.stats.update(|stats| stats.listening = false);
                if self.fault.wait_for(|fault| *fault != Fault::Refuse).await.is_err() {
                    return;
                }
                listener = bind_again(self.addr).await;
                self.stats.update(|stats| stats.listening = true);
            }
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.forward(stream),
                    Err(error) => tracing::warn!(%error, "cannot accept"),
                },
                changed = self.fault.changed() => if changed.is_err() { return },
            }
        }
    }

    fn forward(&self, mut caller: TcpStream) {
        self.stats.update(|stats| {
            stats.accepted += 1;
            stats.open += 1;
        });
        let reset = self.connections.lock().unwrap_or_else(PoisonError::into_inner).child_token();
        let (target, fault, stats) = (self.target, self.fault.clone(), self.stats.clone());
        self.tasks.spawn(async move {
            let mut server = None;
            let ended = reset.run_until_cancelled(connection(&mut caller, &mut server, target, fault, &stats)).await;
            // Also where the target refused: a caller shall not take it for a server that has nothing to say.
            if !matches!(ended, Some(Ok(()))) {
                for stream in [Some(caller), server].into_iter().flatten() {
                    // Fails only where the connection has ended already.
                    let _ = stream.set_zero_linger();
                }
            }
            stats.update(|stats| stats.open -= 1);
        });
    }
}

async fn connection(
    caller: &mut TcpStream,
    server: &mut Option<TcpStream>,
    target: SocketAddr,
    mut fault: watch::Receiver<Fault>,
    stats: &Observed<Stats>,
) -> Result<()> {
    passable(&mut fault).await?;
    let server = server.insert(TcpStream::connect(target).await.context("the target does not answer")?);
    caller.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_caller, to_caller) = caller.split();
    let (from_server, to_server) = server.split();
    tokio::try_join!(
        pump(from_caller, to_server, fault.clone(), |bytes| stats.update(|stats| stats.bytes_to_target += bytes)),
        pump(from_server, to_caller, fault.clone(), |bytes| stats.update(|stats| stats.bytes_from_target += bytes)),
    )?;
    Ok(())
}

/// One direction, until its end has been passed on.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    fault: watch::Receiver<Fault>,
    count: impl Fn(u64),
) -> Result<()> {
    // What is under way, with the moment of its arrival. So latency delays, and does not throttle.
    let (sender, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let mut sending = fault.clone();
    let send = async move {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            passable(&mut sending).await?;
            let length = tokio::select! {
                read = from.read(&mut buffer) => read?,
                changed = sending.changed() => {
                    changed?;
                    continue;
                }
            };
            let delay = match *sending.borrow() {
                Fault::Latency(delay) => delay,
                Fault::Pass | Fault::Blackhole | Fault::Refuse => Duration::ZERO,
            };
            let chunk = (Instant::now() + delay, buffer[..length].to_vec());
            if sender.send(chunk).await.is_err() || length == 0 {
                return anyhow::Ok(());
            }
        }
    };
    let mut arriving = fault;
    let arrive = async move {
        while let Some((arrival, chunk)) = under_way.recv().await {
            tokio::time::sleep_until(arrival).await;
            passable(&mut arriving).await?;
            if chunk.is_empty() {
                to.shutdown().await?;
            }
            to.write_all(&chunk).await?;
            count(chunk.len() as u64);
        }
        anyhow::Ok(())
    };
    tokio::try_join!(send, arrive)?;
    Ok(())
}

async fn passable(fault: &mut watch::Receiver<Fault>) -> Result<()> {
    fault.wait_for(|fault| *fault != Fault::Blackhole).await?;
    Ok(())
}
