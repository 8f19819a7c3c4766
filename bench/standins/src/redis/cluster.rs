//! Masters that share the keys.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;

use super::{Kind, Password, PrivateRedis, RedisOptions, until};
use crate::listener::free_port;
use crate::program::REDIS;

const SLOTS: usize = 16_384;

/// A cluster of masters without replicas, each with its part of the slots.
#[derive(Debug)]
pub struct RedisCluster {
    pub nodes: Vec<PrivateRedis>,
}

impl RedisCluster {
    /// Starts so many masters and returns when each of them takes the cluster to be whole.
    pub async fn start(masters: usize, options: RedisOptions) -> Result<Self> {
        ensure!(masters >= 3, "a cluster has three masters or more");
        let program = REDIS.find(&options.bin_dirs)?;
        let password = Password::new(options.password);
        let node = || async {
            let bus = free_port()?.port();
            // Whole means every slot: a cluster with a dead node says so instead of answering for the rest.
            let settings = format!(
                "cluster-enabled yes\ncluster-port {bus}\ncluster-node-timeout 1000\ncluster-allow-replica-migration no\n"
            );
            PrivateRedis::start_as(Kind::Server, program.clone(), password.clone(), |_| settings.clone())
                .await
                .map(|node| (node, bus))
        };
        let (nodes, busses): (Vec<_>, Vec<_>) = try_join_all((0..masters).map(|_| node())).await?.into_iter().unzip();
        let cluster = Self { nodes };
        cluster.join(&busses).await?;
        Ok(cluster)
    }

    /// The URLs of all nodes, separated by commas.
    pub fn url(&self) -> String {
        self.nodes.iter().map(PrivateRedis::url).collect::<Vec<_>>().join(",")
    }

    /// The index of the node that has a slot, as that node sees it.
    pub async fn holder_of(&self, slot: u16) -> Result<usize> {
        for (index, node) in self.nodes.iter().enumerate() {
            let mine = node.command(&["CLUSTER", "NODES"]).await?.text()?;
            let mine = mine.lines().find(|line| line.contains("myself")).context("a node knows itself")?.to_owned();
            let has = |range: &str| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                first.parse().is_ok_and(|first: u16| first <= slot) && last.parse().is_ok_and(|last: u16| slot <= last)
            };
            if mine.split(' ').skip(8).any(has) {
                return Ok(index);
            }
        }
        anyhow::bail!("no node has slot {slot}")
    }

    /// Gives a slot to another node, with its keys, as an operator who spreads the load does.
    pub async fn move_slot(&self, slot: u16, to: usize) -> Result<()> {
        let from = self.holder_of(slot).await?;
        let (source, target, slot) = (&self.nodes[from], &self.nodes[to], slot.to_string());
        let (source_id, target_id) = (source.node_id().await?, target.node_id().await?);
        target.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source_id]).await?;
        source.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target_id]).await?;
        let (host, port) = (target.addr().ip().to_string(), target.addr().port().to_string());
        loop {
            let keys = source.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).await?.list()?;
            if keys.is_empty() {
                break;
            }
            for key in keys {
                let key = key.bytes()?;
                let mut words: Vec<&[u8]> = vec![b"MIGRATE", host.as_bytes(), port.as_bytes(), &key, b"0", b"5000"];
                if let Some(password) = &target.password.0 {
                    words.extend([b"AUTH".as_slice(), password.as_bytes()]);
                }
                source.command(&words).await?;
            }
        }
        for node in [target, source] {
            node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &target_id]).await?;
        }
        Ok(())
    }

    async fn join(&self, busses: &[u16]) -> Result<()> {
        let share = SLOTS.div_ceil(self.nodes.len());
        for (index, node) in self.nodes.iter().enumerate() {
            let (first, last) = (index * share, ((index + 1) * share).min(SLOTS) - 1);
            node.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]).await?;
        }
        let meeting = &self.nodes[0];
        for (node, bus) in self.nodes.iter().zip(busses).skip(1) {
            let (host, port, bus) = (node.addr().ip().to_string(), node.addr().port().to_string(), bus.to_string());
            meeting.command(&["CLUSTER", "MEET", &host, &port, &bus]).await?;
        }
        let nodes = self.nodes.len().to_string();
        for node in &self.nodes {
            until("the cluster is whole", async || {
                let info = node.command(&["CLUSTER", "INFO"]).await?.text()?;
                let says = |line: &str| info.lines().any(|told| told == line);
                Ok(says("cluster_state:ok") && says(&format!("cluster_known_nodes:{nodes}")))
            })
            .await?;
        }
        Ok(())
    }
}

impl PrivateRedis {
    async fn node_id(&self) -> Result<String> {
        self.command(&["CLUSTER", "MYID"]).await?.text()
    }
}
