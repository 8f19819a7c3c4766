//! A master and its replica under sentinels.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;

use super::{Kind, Password, PrivateRedis, RedisOptions, Reply, until};
use crate::program::REDIS;

/// What the sentinels call the master.
pub const MASTER_NAME: &str = "weir";
const SENTINELS: usize = 3;
const QUORUM: usize = 2;

/// Two servers, one of them the master, and three sentinels who make the other one master a second after the first is
/// gone. The sentinels ask for no password.
#[derive(Debug)]
pub struct SentinelSet {
    /// The first one was the master at the start.
    pub servers: Vec<PrivateRedis>,
    pub sentinels: Vec<PrivateRedis>,
}

impl SentinelSet {
    /// Returns when the replica follows the master and every sentinel knows all the others.
    pub async fn start(options: RedisOptions) -> Result<Self> {
        let program = REDIS.find(&options.bin_dirs)?;
        let password = Password::new(options.password);
        let server = |settings: String| {
            PrivateRedis::start_as(Kind::Server, program.clone(), password.clone(), move |_| settings.clone())
        };
        let master = server(String::new()).await?;
        let (host, port) = (master.addr().ip(), master.addr().port());
        let replica = server(format!("replicaof {host} {port}\n")).await?;
        until("the replica follows", async || Ok(replica.info("master_link_status").await? == "up")).await?;
        let mut settings = format!(
            "sentinel monitor {MASTER_NAME} {host} {port} {QUORUM}\nsentinel down-after-milliseconds {MASTER_NAME} 1000\n\
             sentinel failover-timeout {MASTER_NAME} 3000\n"
        );
        if let Some(password) = &password.0 {
            settings += &format!("sentinel auth-pass {MASTER_NAME} {password}\n");
        }
        let sentinel = || PrivateRedis::start_as(Kind::Sentinel, program.clone(), Password(None), |_| settings.clone());
        let sentinels = try_join_all((0..SENTINELS).map(|_| sentinel())).await?;
        let set = Self { servers: vec![master, replica], sentinels };
        set.until_acquainted().await?;
        Ok(set)
    }

    /// The URLs of the sentinels, separated by commas.
    pub fn url(&self) -> String {
        self.sentinels.iter().map(PrivateRedis::url).collect::<Vec<_>>().join(",")
    }

    /// The password of the servers.
    pub fn password(&self) -> Option<&str> {
        self.servers[0].password.0.as_deref()
    }

    /// The index of the server that most sentinels call the master.
    pub async fn master(&self) -> Result<usize> {
        let named = try_join_all(self.sentinels.iter().map(master_by)).await?;
        let votes = |server: &PrivateRedis| named.iter().filter(|addr| **addr == server.addr()).count();
        self.servers.iter().position(|server| votes(server) >= QUORUM).context("the sentinels do not agree on a master")
    }

    /// Makes the other server master, as an operator does, and waits until it is.
    pub async fn fail_over(&self) -> Result<()> {
        let before = self.master().await?;
        self.sentinels[0].command(&["SENTINEL", "FAILOVER", MASTER_NAME]).await?;
        self.until_another_than(before).await
    }

    /// `kill -9` for the master. The sentinels make the other one master, in two or three seconds.
    pub async fn kill_master(&mut self) -> Result<usize> {
        let master = self.master().await?;
        self.servers[master].kill().await?;
        Ok(master)
    }

    /// Waits until another server than this one is master and takes writes.
    pub async fn until_another_than(&self, before: usize) -> Result<()> {
        until("another server is master", async || {
            let master = self.master().await?;
            Ok(master != before && self.servers[master].info("role").await? == "master")
        })
        .await
    }

    async fn until_acquainted(&self) -> Result<()> {
        for sentinel in &self.sentinels {
            until("the sentinels know each other", async || {
                let seen = sentinel.command(&["SENTINEL", "MASTER", MASTER_NAME]).await?.list()?;
                let seen: Vec<String> = seen.into_iter().map(Reply::text).collect::<Result<_>>()?;
                let says = |name: &str, value: usize| {
                    seen.as_chunks::<2>().0.iter().any(|[told, number]| told == name && *number == value.to_string())
                };
                Ok(says("num-slaves", 1) && says("num-other-sentinels", SENTINELS - 1))
            })
            .await?;
        }
        Ok(())
    }
}

async fn master_by(sentinel: &PrivateRedis) -> Result<SocketAddr> {
    let told = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME]).await?.list()?;
    let told: Vec<String> = told.into_iter().map(Reply::text).collect::<Result<_>>()?;
    ensure!(told.len() == 2, "{told:?} is no address");
    Ok(format!("{}:{}", told[0], told[1]).parse()?)
}
