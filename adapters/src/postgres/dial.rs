//! Connecting over TCP: only to addresses that Weir may connect to, and to the very ones that were checked.

use std::{
    future::{Ready, ready},
    net::SocketAddr,
};

use rand::seq::SliceRandom as _;
use tokio::io::Empty;
use tokio_postgres::{
    Client, Config, Connection, Error, Socket,
    config::{Host, LoadBalanceHosts},
    tls::{NoTlsStream, TlsConnect},
};

use super::{
    connect::DEFAULT_PORT,
    socket::{Bounded, Channel, Securing},
};
use crate::address::{self, ConnectError, Reach};

/// Connects to the first host of `config` that lets us in. The library would look the names up by itself, without looking at where
/// they lead: it is given addresses, each beside the name that its certificate must be for. It cancels at the same address.
pub(super) async fn dial(
    config: &Config,
    securing: &Securing,
) -> Result<(Client, Connection<Socket, Bounded<Channel>>), Error> {
    let bare = without_hosts(config);
    let mut hosts: Vec<_> = (0..config.get_hosts().len().max(config.get_hostaddrs().len())).collect();
    if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
        hosts.shuffle(&mut rand::rng());
    }
    let mut failure = None;
    for index in hosts {
        let connected = match permitted(config, index, &securing.reach).await {
            Ok((name, addresses)) => with_host(&bare, name, &addresses).connect(securing.clone()).await,
            Err(error) => Err(as_error(&bare, error).await),
        };
        match connected {
            Ok(connected) => return Ok(connected),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) => Err(error),
        // No host at all, which the library has an error for.
        None => bare.connect(securing.clone()).await,
    }
}

/// The name of a host, if it has one, and where it may be connected to.
async fn permitted<'a>(
    config: &'a Config,
    index: usize,
    reach: &Reach,
) -> Result<(Option<&'a str>, Vec<SocketAddr>), ConnectError> {
    let ports = config.get_ports();
    let port = ports.get(index).or_else(|| ports.first()).copied().unwrap_or(DEFAULT_PORT);
    let name = match config.get_hosts().get(index) {
        Some(Host::Tcp(name)) => Some(name.as_str()),
        Some(Host::Unix(_)) | None => None,
    };
    // With `hostaddr` the name is for the certificate alone.
    let written = match config.get_hostaddrs().get(index) {
        Some(address) => address.to_string(),
        None => name.unwrap_or_default().to_owned(),
    };
    Ok((name, address::permitted(&written, port, reach).await?))
}

fn with_host(bare: &Config, name: Option<&str>, addresses: &[SocketAddr]) -> Config {
    let mut config = bare.clone();
    for address in addresses {
        if let Some(name) = name {
            config.host(name);
        }
        config.hostaddr(address.ip()).port(address.port());
    }
    config
}

/// All that a connection string says but for where to. The library has no way to take a host back.
fn without_hosts(config: &Config) -> Config {
    let mut bare = Config::new();
    if let Some(user) = config.get_user() {
        bare.user(user);
    }
    if let Some(password) = config.get_password() {
        bare.password(password);
    }
    if let Some(name) = config.get_dbname() {
        bare.dbname(name);
    }
    if let Some(options) = config.get_options() {
        bare.options(options);
    }
    if let Some(name) = config.get_application_name() {
        bare.application_name(name);
    }
    if let Some(&timeout) = config.get_connect_timeout() {
        bare.connect_timeout(timeout);
    }
    if let Some(&timeout) = config.get_tcp_user_timeout() {
        bare.tcp_user_timeout(timeout);
    }
    bare.keepalives(config.get_keepalives()).keepalives_idle(config.get_keepalives_idle());
    if let Some(interval) = config.get_keepalives_interval() {
        bare.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        bare.keepalives_retries(retries);
    }
    bare.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts());
    bare
}

/// Our error as one of the library, which makes none for others: it is what securing a connection fails with.
async fn as_error(bare: &Config, error: ConnectError) -> Error {
    let connected = bare.connect_raw(tokio::io::empty(), Refusal(error)).await;
    connected.err().expect("a refusal secures nothing, and nothing goes on without: direct TLS is required")
}

struct Refusal(ConnectError);

impl TlsConnect<Empty> for Refusal {
    type Stream = NoTlsStream;
    type Error = ConnectError;
    type Future = Ready<Result<NoTlsStream, ConnectError>>;

    fn connect(self, _stream: Empty) -> Self::Future {
        ready(Err(self.0))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use tokio_postgres::{
        Config,
        config::{Host, SslMode, SslNegotiation},
    };

    use super::{as_error, permitted, with_host, without_hosts};

    #[test]
    fn everything_but_the_host_is_kept_and_the_name_stays_beside_its_address() {
        let rest = "user=u password=p dbname=d options='-c a=b' application_name=x sslmode=require sslnegotiation=direct \
            connect_timeout=7 tcp_user_timeout=8 keepalives=0 keepalives_idle=9 keepalives_interval=10 keepalives_retries=11 \
            target_session_attrs=read-write channel_binding=require load_balance_hosts=random";
        let written: Config = format!("{rest} host=db.corp.example port=6000").parse().expect("a connection string");
        let bare = without_hosts(&written);
        assert!(bare == rest.parse().expect("a connection string"), "{bare:?} is not the rest of {written:?}");
        let addresses = ["10.0.0.1:6000", "[fd12::1]:6000"].map(|address| address.parse().expect("an address"));
        let config = with_host(&bare, Some("db.corp.example"), &addresses);
        assert_eq!(config.get_hosts(), vec![Host::Tcp("db.corp.example".to_owned()); 2]);
        assert_eq!(config.get_hostaddrs(), addresses.map(|address| address.ip()));
        assert_eq!(config.get_ports(), [6000, 6000]);
    }

    #[tokio::test]
    async fn an_address_is_checked_however_it_is_written() {
        let rows = [
            ("host=10.1.2.3", Some("10.1.2.3")),
            ("host=127.0.0.1", Some("127.0.0.1")),
            ("hostaddr=127.0.0.1", Some("127.0.0.1")),
            ("host=db.corp.example hostaddr=10.1.2.3", Some("10.1.2.3")),
            ("host=169.254.169.254", None),
            ("hostaddr=169.254.169.254", None),
            ("host=localhost hostaddr=169.254.169.254", None),
            ("host=db.corp.example hostaddr=fd00:ec2::254", None),
        ];
        for (text, wanted) in rows {
            let config: Config = text.parse().expect(text);
            let found = permitted(&config, 0, &crate::address::Reach::Written { private: None }).await;
            let addresses = found.map(|(_, addresses)| addresses.iter().map(SocketAddr::ip).collect());
            let wanted = wanted.map(|address| vec![address.parse::<IpAddr>().expect("an address")]);
            assert_eq!(addresses.ok(), wanted, "{text}");
        }
    }

    #[tokio::test]
    async fn an_objection_is_told_without_the_address() {
        let mut bare = Config::new();
        bare.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
        let config: Config = "host=169.254.169.254".parse().expect("a connection string");
        let error = as_error(
            &bare,
            permitted(&config, 0, &crate::address::Reach::Written { private: None }).await.expect_err("forbidden"),
        )
        .await;
        let told = super::super::failure::why_not_connected(&error);
        assert_eq!(told, "its name leads to an address that Weir does not connect to");
    }
}
