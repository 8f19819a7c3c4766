//! A TCP proxy that makes a network go wrong on command.

mod connection;
mod fault;
mod network;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::listener::bind_again;
use network::{Course, Network, Plan};

pub use fault::{Chance, Fault, Moment};
pub use network::Stats;

const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The proxy. Stops on drop, which resets its connections.
#[derive(Debug)]
pub struct FaultProxy {
    addr: SocketAddr,
    network: Arc<Network>,
    connections: Arc<Mutex<CancellationToken>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl FaultProxy {
    pub async fn start(target: SocketAddr) -> Result<Self> {
        Self::start_at("127.0.0.1:0", target).await
    }

    /// Listens at this address.
    pub async fn start_at(listen: &str, target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        let addr = listener.local_addr()?;
        let stop = CancellationToken::new();
        let proxy = Self {
            addr,
            network: Network::new(),
            connections: Arc::new(Mutex::new(stop.child_token())),
            tasks: TaskTracker::new(),
            stop,
        };
        let accepting = Accepting {
            addr,
            target,
            plan: proxy.network.subscribe(),
            network: proxy.network.clone(),
            connections: proxy.connections.clone(),
            tasks: proxy.tasks.clone(),
        };
        proxy.network.stats.update(|stats| stats.listening = true);
        proxy.tasks.spawn(proxy.stop.clone().run_until_cancelled_owned(accepting.run(listener)));
        proxy.tasks.close();
        Ok(proxy)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes what happens to open connections and to new ones, until it is changed again. Returns when the change is
    /// effective.
    pub async fn set(&self, fault: Fault) -> Result<()> {
        self.network.set(Plan::Always(fault));
        self.network.stats.wait_until(|stats| stats.listening == (fault != Fault::Refuse)).await
    }

    /// So many exchanges meet this fault, and then everything passes.
    pub fn set_next(&self, fault: Fault, times: usize) -> Result<()> {
        ensure!(fault.strikes(), "{fault} befalls no single exchange: it lasts until it is changed");
        ensure!(times > 0, "a fault that never comes is none");
        self.network.set(Plan::Next(fault, times));
        Ok(())
    }

    /// Exchanges meet faults by the dice.
    pub fn set_chance(&self, chance: Chance) -> Result<()> {
        chance.check()?;
        self.network.set(Plan::Chance(chance));
        Ok(())
    }

    /// Ends every open connection with a reset, on both sides.
    pub fn reset_connections(&self) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *connections, self.stop.child_token()).cancel();
    }

    pub fn stats(&self) -> Stats {
        self.network.stats.get()
    }

    /// Waits until the numbers look like this; an error after ten seconds.
    pub async fn wait_until(&self, reached: impl FnMut(&Stats) -> bool) -> Result<()> {
        self.network.stats.wait_until(reached).await
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
    plan: watch::Receiver<Plan>,
    network: Arc<Network>,
    connections: Arc<Mutex<CancellationToken>>,
    tasks: TaskTracker,
}

impl Accepting {
    async fn run(mut self, mut listener: TcpListener) {
        loop {
            let refuse = self.plan.borrow_and_update().refuses();
            if refuse {
                drop(listener);
                self.network.stats.update(|stats| stats.listening = false);
                if self.plan.wait_for(|plan| !plan.refuses()).await.is_err() {
                    return;
                }
                listener = bind_again(self.addr).await;
                self.network.stats.update(|stats| stats.listening = true);
            }
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.forward(stream),
                    Err(error) => tracing::warn!(%error, "cannot accept"),
                },
                changed = self.plan.changed() => if changed.is_err() { return },
            }
        }
    }

    fn forward(&self, mut caller: TcpStream) {
        self.network.stats.update(|stats| {
            stats.accepted += 1;
            stats.open += 1;
        });
        let reset = self.connections.lock().unwrap_or_else(PoisonError::into_inner).child_token();
        let (target, course) = (self.target, Course::new(self.network.clone()));
        self.tasks.spawn(async move {
            let mut server = None;
            let ended = reset.run_until_cancelled(connection::run(&mut caller, &mut server, target, &course)).await;
            // Also where the target refused: a caller shall not take it for a server that has nothing to say.
            if !matches!(ended, Some(Ok(()))) {
                for stream in [Some(caller), server].into_iter().flatten() {
                    // Fails only where the connection has ended already.
                    let _ = stream.set_zero_linger();
                }
            }
            course.network.stats.update(|stats| stats.open -= 1);
        });
    }
}
