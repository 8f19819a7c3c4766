//! Opening connections: the connection string, TLS, the pool.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use deadpool_postgres::{Connect, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use futures_util::future::{BoxFuture, FutureExt as _};
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
    task::JoinHandle,
};
use tokio_postgres::{
    AsyncMessage, CancelToken, Client, Config, Connection, Error, NoTls, Notification,
    config::{Host, SslMode, SslNegotiation},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    dial::dial,
    socket::{Bounded, Securing},
    sslmode::without_verification,
};
use crate::{address::Reach, health::Health, tls::Trust};

/// How this database shows Weir among its connections, where the connection string names nothing else.
const APPLICATION_NAME: &str = "weir";
pub(super) const DEFAULT_PORT: u16 = 5432;

/// How connections are opened, and statements on them cancelled.
#[derive(Clone)]
pub(super) struct Connector {
    config: Config,
    securing: Securing,
    /// The database's socket, if it is on this machine and has one. There is no TLS on it.
    unix_socket: Option<Arc<Path>>,
    health: Arc<Health>,
}

/// What the messages of a database other than rows are smaller than.
const OTHER_MESSAGES_BYTES_MAX: usize = 64 << 10;

/// Makes the pool. Connects to nothing. An answer of at most `answer_bytes_max` has no row that is larger by itself.
///
/// # Errors
/// What is wrong with the connection string, without any part of it.
pub(super) fn pool(
    url: &SecretString,
    connections_max: usize,
    connect_timeout: Duration,
    answer_bytes_max: usize,
    (trust, reach): (&Trust, Reach),
    health: Arc<Health>,
) -> Result<(Pool, Connector), String> {
    let mut config = read_connection_string(url, connect_timeout)?;
    let unix_socket = unix_socket(&config)?.map(Into::into);
    let tls = MakeRustlsConnect::new(tls_config(&config, trust)?);
    let message_bytes_max = answer_bytes_max.saturating_add(OTHER_MESSAGES_BYTES_MAX);
    let securing = Securing { tls, mode: config.get_ssl_mode(), message_bytes_max, reach };
    if unix_socket.is_some() {
        config.ssl_mode(SslMode::Disable);
    } else {
        config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
    }
    let connector = Connector { config: config.clone(), securing, unix_socket, health };
    // A connection is made clean when a call ends, so nothing is to be done when the next one takes it.
    let manager =
        Manager::from_connect(config, connector.clone(), ManagerConfig { recycling_method: RecyclingMethod::Fast });
    let pool = Pool::builder(manager)
        .max_size(connections_max)
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| format!("no pool can be made: {error}"))?;
    Ok((pool, connector))
}

/// The path of the one socket that the connection string names, if it names one.
fn unix_socket(config: &Config) -> Result<Option<PathBuf>, String> {
    let folder = |host: &Host| match host {
        Host::Unix(folder) => Some(folder.clone()),
        Host::Tcp(_) => None,
    };
    match (config.get_hosts(), config.get_hosts().iter().find_map(folder)) {
        (_, None) => Ok(None),
        ([_], Some(folder)) => {
            let port = config.get_ports().first().copied().unwrap_or(DEFAULT_PORT);
            Ok(Some(folder.join(format!(".s.PGSQL.{port}"))))
        }
        _ => Err("names a Unix socket among several hosts: name one socket, or hosts alone".to_owned()),
    }
}

fn read_connection_string(url: &SecretString, connect_timeout: Duration) -> Result<Config, String> {
    let mut config: Config = without_verification(url.expose_secret()).parse().map_err(|_| {
        "is not a connection string that can be used: write `postgres://user:password@host/database?sslmode=require`, \
         with special characters in user and password percent-encoded (`@` is `%40`), and with no options but those of the documentation"
            .to_owned()
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err("names no host: write `postgres://user:password@host/database`".to_owned());
    }
    let (hosts, addresses, ports) = (config.get_hosts().len(), config.get_hostaddrs().len(), config.get_ports().len());
    if hosts > 0 && addresses > 0 && hosts != addresses {
        return Err(format!("names {hosts} hosts and {addresses} `hostaddr`: name one address for each host"));
    }
    if ports > 1 && ports != hosts.max(addresses) {
        return Err(format!("names {ports} ports: name one for all hosts, or one for each"));
    }
    config.connect_timeout(connect_timeout);
    if config.get_application_name().is_none() {
        config.application_name(APPLICATION_NAME);
    }
    Ok(config)
}

fn tls_config(config: &Config, trust: &Trust) -> Result<ClientConfig, String> {
    let is_remote = |host: &Host| matches!(host, Host::Tcp(_));
    let needs_roots = config.get_ssl_mode() != SslMode::Disable && config.get_hosts().iter().any(is_remote);
    let roots = match trust.roots() {
        _ if !needs_roots => RootCertStore::empty(),
        // It may be one that is reached without TLS.
        Err(_) if trust.ca.is_none() => RootCertStore::empty(),
        roots => roots?,
    };
    trust.client_config(roots)
}

impl Connector {
    /// Asks the database to end what runs on a connection.
    pub(super) async fn cancel(&self, token: &CancelToken) -> Result<(), Error> {
        match &self.unix_socket {
            None => token.cancel_query(self.securing.clone()).await,
            Some(path) => match UnixStream::connect(path).await {
                Ok(stream) => token.cancel_query_raw(stream, NoTls).await,
                // A database that is gone runs nothing.
                Err(_) => Ok(()),
            },
        }
    }

    /// Opens a connection besides those of the pool and hands on each notification that comes on it. The task ends with the connection.
    pub(super) async fn listen(
        &self,
        heard: impl FnMut(Notification) + Send + 'static,
    ) -> Result<(Client, JoinHandle<()>), Error> {
        self.open(&self.config, heard).await
    }

    async fn open(
        &self,
        config: &Config,
        heard: impl FnMut(Notification) + Send + 'static,
    ) -> Result<(Client, JoinHandle<()>), Error> {
        let Some(path) = &self.unix_socket else {
            let (client, connection) = dial(config, &self.securing).await?;
            return Ok((client, self.spawn(connection, heard)));
        };
        let stream = loop {
            match UnixStream::connect(path).await {
                Ok(stream) => break stream,
                // The same in the library's own way gives its own error; if it goes well, so does the next round.
                Err(_) => drop(config.connect(NoTls).await?),
            }
        };
        let stream = Bounded::new(stream, self.securing.message_bytes_max);
        let (client, connection) = config.connect_raw(stream, NoTls).await?;
        Ok((client, self.spawn(connection, heard)))
    }

    /// Lets a connection work until it ends.
    fn spawn<S, T>(
        &self,
        mut connection: Connection<S, T>,
        mut heard: impl FnMut(Notification) + Send + 'static,
    ) -> JoinHandle<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let health = self.health.clone();
        tokio::spawn(async move {
            while let Some(message) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                match message {
                    Ok(AsyncMessage::Notification(notification)) => heard(notification),
                    // Notices of the database may hold the data of a caller, and nobody waits for them.
                    Ok(_) => {}
                    Err(_) => {
                        health.suspect();
                        break;
                    }
                }
            }
        })
    }
}

impl Connect for Connector {
    fn connect(&self, config: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        let config = config.clone();
        async move { self.open(&config, |_| {}).await }.boxed()
    }
}
