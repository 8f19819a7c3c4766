//! One attempt to connect: to the server, by way of sentinels, or to a cluster.

use std::time::Duration;

use futures_util::{StreamExt, future, stream::FuturesUnordered};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, RedisConnectionInfo, RedisError,
    RedisResult,
    aio::{MultiplexedConnection, PubSubSink, PubSubStream},
    cluster::ClusterClientBuilder,
};
use secrecy::ExposeSecret;

use super::{
    Kind, Settings,
    address::{self, with_credentials},
    lane::{Connection, Lanes},
    probe::{Probe, Seen, Unusable},
    reason,
};

/// How often a command to a cluster is tried: a moved slot needs a second attempt, a replaced server a third.
const CLUSTER_RETRIES: u32 = 2;
const CLUSTER_RETRY_WAIT_MS: u64 = 20;

/// What one attempt came to: connections that were seen to work.
pub(super) struct Connected {
    pub(super) lanes: Lanes,
    pub(super) subscription: Subscription,
    /// Who can be subscribed at.
    pub(super) servers: Vec<ConnectionInfo>,
    pub(super) seen: Seen,
}

/// A connection that is told what others publish.
pub(super) struct Subscription {
    pub(super) sink: PubSubSink,
    pub(super) stream: PubSubStream,
}

/// Connects within its time, or says why not.
pub(super) async fn connect(
    settings: &Settings,
    servers: &[ConnectionInfo],
    probe: &Probe,
) -> Result<Connected, String> {
    let limit = settings.connect_timeout;
    let servers = match &settings.kind {
        Kind::Single | Kind::Cluster => servers.to_vec(),
        Kind::Sentinel { master_name, user, password } => {
            let password = password.as_ref().map(ExposeSecret::expose_secret);
            let found =
                Box::pin(primary(servers, master_name, limit)).await.map_err(|error| reason::of_sentinel(&error))?;
            let own = with_credentials(
                RedisConnectionInfo::default().set_db(found.redis_settings().db()),
                user.as_deref(),
                password,
            );
            vec![found.set_redis_settings(own)]
        }
    };
    match tokio::time::timeout(limit, Box::pin(connected(settings, servers, probe))).await {
        Ok(connected) => connected.map_err(|Unusable(reason)| reason),
        Err(_) => Err(format!("nothing answered within {} ms", limit.as_millis())),
    }
}

async fn connected(settings: &Settings, servers: Vec<ConnectionInfo>, probe: &Probe) -> Result<Connected, Unusable> {
    let limit = settings.connect_timeout;
    let connections = match (&settings.kind, servers.first()) {
        (Kind::Cluster, _) => {
            // One server that does not answer must not cost all the time there is: the others are enough to begin with.
            let open = |answer_within| to_cluster(&servers, limit / 2, answer_within);
            let (small, bulk, lasting) =
                future::try_join3(open(settings.command_timeout), open(settings.value_timeout), open(limit)).await?;
            [small, bulk, lasting]
        }
        (_, Some(server)) => {
            let open = || to_server(server);
            let (small, bulk, lasting) = future::try_join3(open(), open(), open()).await?;
            [small, bulk, lasting].map(Connection::Server)
        }
        (_, None) => return Err(RedisError::from((ErrorKind::InvalidClientConfig, "no address")).into()),
    };
    let [small, _, lasting] = &connections;
    let channels = settings.channels();
    let (probed, subscribed) = future::join(probe.first(small, lasting), subscribe(&servers, &channels, limit)).await;
    let (seen, subscription) = (probed?, subscribed?);
    let lanes = Lanes::new(connections, settings.command_timeout, settings.value_timeout);
    Ok(Connected { lanes, subscription, servers, seen })
}

/// Whether the sentinels name another server than the one that is used. They tell the old one only after a while that it
/// is a replica, and what it is told until then is lost.
pub(super) async fn is_replaced(settings: &Settings, sentinels: &[ConnectionInfo], used: &ConnectionInfo) -> bool {
    let Kind::Sentinel { master_name, .. } = &settings.kind else { return false };
    let named = Box::pin(primary(sentinels, master_name, settings.connect_timeout)).await;
    named.is_ok_and(|named| named.addr() != used.addr())
}

/// Subscribes at the server that lets us first. What is published at one server of a cluster is told by all.
pub(super) async fn subscribe(
    servers: &[ConnectionInfo],
    channels: &[String],
    limit: Duration,
) -> RedisResult<Subscription> {
    let attempts = servers.iter().map(|server| {
        Box::pin(async {
            let (mut sink, stream) = Client::open(server.clone())?.get_async_pubsub().await?.split();
            sink.subscribe(channels).await?;
            RedisResult::Ok(Subscription { sink, stream })
        })
    });
    match tokio::time::timeout(limit, future::select_ok(attempts)).await {
        Ok(first) => first.map(|(subscription, _)| subscription),
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}

/// Times are kept by those who ask, so that one limit counts for a script however often it is sent.
async fn to_server(server: &ConnectionInfo) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    Client::open(server.clone())?.get_multiplexed_async_connection_with_config(&config).await
}

async fn to_cluster(servers: &[ConnectionInfo], connect: Duration, answer: Duration) -> RedisResult<Connection> {
    let client = ClusterClientBuilder::new(servers.to_vec())
        .connection_timeout(connect)
        .response_timeout(answer)
        .retries(CLUSTER_RETRIES)
        .min_retry_wait(CLUSTER_RETRY_WAIT_MS)
        .max_retry_wait(CLUSTER_RETRY_WAIT_MS)
        .tcp_settings(address::tcp())
        .build()?;
    client.get_async_connection().await.map(Connection::Cluster)
}

/// Where the primary is by most of the sentinels, or by most of those that answer: one that was cut off from the others
/// may name the one of before.
async fn primary(sentinels: &[ConnectionInfo], master_name: &str, limit: Duration) -> RedisResult<ConnectionInfo> {
    let ask = async |sentinel| match tokio::time::timeout(limit, ask_sentinel(sentinel, master_name)).await {
        Ok(answer) => answer,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    };
    let mut asked: FuturesUnordered<_> = sentinels.iter().map(ask).collect();
    let mut named: Vec<(ConnectionInfo, usize)> = Vec::new();
    let mut last = RedisError::from((ErrorKind::EmptySentinelList, "no address"));
    while let Some(answer) = asked.next().await {
        let primary = match answer {
            Ok(primary) => primary,
            Err(error) => {
                last = error;
                continue;
            }
        };
        let votes = match named.iter_mut().find(|(known, _)| known.addr() == primary.addr()) {
            Some((_, votes)) => {
                *votes += 1;
                *votes
            }
            None => {
                named.push((primary.clone(), 1));
                1
            }
        };
        if votes * 2 > sentinels.len() {
            return Ok(primary);
        }
    }
    named.into_iter().max_by_key(|(_, votes)| *votes).map(|(primary, _)| primary).ok_or(last)
}

async fn ask_sentinel(sentinel: &ConnectionInfo, master_name: &str) -> RedisResult<ConnectionInfo> {
    // A database is the server's; a sentinel has none.
    let without_database = sentinel.redis_settings().clone().set_db(0);
    let mut connection = to_server(&sentinel.clone().set_redis_settings(without_database)).await?;
    let mut command = redis::cmd("SENTINEL");
    command.arg("get-master-addr-by-name").arg(master_name);
    let answer: Option<(String, u16)> = command.query_async(&mut connection).await?;
    let (host, port) = answer.ok_or((ErrorKind::MasterNameNotFoundBySentinel, "unknown"))?;
    let address = match sentinel.addr() {
        ConnectionAddr::TcpTls { .. } => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        _ => ConnectionAddr::Tcp(host, port),
    };
    Ok(sentinel.clone().set_addr(address))
}
