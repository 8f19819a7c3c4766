//! Opening connections: the connection string, TLS, the pool.

use std::{pin::Pin, sync::Arc, time::Duration};

use deadpool_postgres::{Connect, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinHandle;
use tokio_postgres::{
    Client, Config, Error,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::health::Health;

/// How this database shows Weir among its connections, where the connection string names nothing else.
const APPLICATION_NAME: &str = "weir";

/// How connections are opened.
#[derive(Clone)]
pub(super) struct Connector {
    tls: MakeRustlsConnect,
    health: Arc<Health>,
}

/// Makes the pool. Connects to nothing.
///
/// # Errors
/// What is wrong with the connection string, without any part of it.
pub(super) fn pool(
    url: &SecretString,
    connections_max: usize,
    connect_timeout: Duration,
    health: Arc<Health>,
) -> Result<(Pool, MakeRustlsConnect), String> {
    let config = read_connection_string(url, connect_timeout)?;
    let tls = MakeRustlsConnect::new(tls_config(&config)?);
    let connector = Connector { tls: tls.clone(), health };
    // A connection is made clean when a call ends, so nothing is to be done when the next one takes it.
    let manager = Manager::from_connect(config, connector, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    let pool = Pool::builder(manager)
        .max_size(connections_max)
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| format!("no pool can be made: {error}"))?;
    Ok((pool, tls))
}

fn read_connection_string(url: &SecretString, connect_timeout: Duration) -> Result<Config, String> {
    // Certificates are verified in every mode that uses TLS, so the modes that ask for it by name mean the same as `require`.
    let text = ["verify-full", "verify-ca"]
        .iter()
        .fold(url.expose_secret().to_owned(), |text, mode| text.replace(&format!("sslmode={mode}"), "sslmode=require"));
    let mut config: Config = text.parse().map_err(|_| {
        "is not a connection string that can be used: write `postgres://user:password@host/database?sslmode=require`, \
         with special characters in user and password percent-encoded (`@` is `%40`), and with no options but those of the documentation"
            .to_owned()
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err("names no host: write `postgres://user:password@host/database`".to_owned());
    }
    config.connect_timeout(connect_timeout);
    if config.get_application_name().is_none() {
        config.application_name(APPLICATION_NAME);
    }
    Ok(config)
}

fn tls_config(config: &Config) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let mut roots = RootCertStore::empty();
    let is_remote = |host: &Host| matches!(host, Host::Tcp(_));
    if config.get_ssl_mode() != SslMode::Disable && config.get_hosts().iter().any(is_remote) {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

impl Connect for Connector {
    fn connect(
        &self,
        config: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        let config = config.clone();
        Box::pin(async move {
            let (client, mut connection) = config.connect(self.tls.clone()).await?;
            let health = self.health.clone();
            let task = tokio::spawn(async move {
                // Notices of the database may hold the data of a caller, and nobody waits for them.
                while let Some(message) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                    if message.is_err() {
                        health.suspect();
                        break;
                    }
                }
            });
            Ok((client, task))
        })
    }
}
