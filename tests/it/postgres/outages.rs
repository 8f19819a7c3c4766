//! A database that goes away, hangs or comes back.

use std::time::Duration;

use adapters::{ErrorClass, Health, Sent};
use anyhow::{Context as _, Result};
use standins::{
    postgres::{PgOptions, PrivatePg},
    proxy::{Fault, FaultProxy},
};
use tokio::time::Instant;

use super::{Connected, Database, contract};

const TOOLS: &str = "
      slow: { effect: read, sql: 'SELECT pg_sleep(60)' }
      slow_write: { effect: write, sql: 'SELECT pg_sleep(60)' }
      quick: { effect: read, sql: SELECT 1 AS one }";

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_database_gives_clean_errors_and_comes_back_by_itself() -> Result<()> {
    const CALLS: usize = 10;
    let mut server = PrivatePg::start(PgOptions::default()).await?;
    let database = Database::at(server.url(), "{ pool_max: 20, statement_timeout: 1m }", TOOLS).await?;
    let adapter = database.connected.adapter.clone();
    let idle = Connected::new(server.url(), "{}", TOOLS)?;
    assert_eq!(idle.call("quick", "{}").await?.only(), "1");
    let calls = futures_util::future::join_all((0..CALLS).map(|index| {
        let tool = if index % 2 == 0 { "slow" } else { "slow_write" };
        database.call(tool, "{}")
    }));
    let kill = async {
        database.until_running(CALLS).await?;
        server.kill_hard().await?;
        Ok::<_, anyhow::Error>(Instant::now())
    };
    let (answers, killed_at) = tokio::join!(calls, kill);
    assert!(killed_at?.elapsed() < Duration::from_secs(2), "all calls end soon after their connections");
    for answer in answers {
        let error = answer.expect_err("nobody answers");
        assert_eq!(error.class, ErrorClass::ConnectionLost, "{error:?}");
        assert_ne!(error.sent, Sent::No, "{error:?}");
    }
    // Where no call runs, the end of the connections that wait is seen.
    contract::until_state(&*idle.adapter, Health::Down).await?;
    let reason = contract::until_state(&*adapter, Health::Down).await?.context("no reason")?;
    let error = database.call("quick", "{}").await.expect_err("nobody is there");
    assert_eq!((error.class, error.sent), (ErrorClass::Unreachable, Sent::No), "{reason}: {error:?}");
    let offer = adapter.list(&contract::context(super::PATIENCE)).await?;
    assert_eq!(offer.tools.len(), 3, "a dead database still lists its tools");

    server.restart().await?;
    contract::until_state(&*adapter, Health::Up).await?;
    for _ in 0..CALLS {
        assert_eq!(database.call("quick", "{}").await?.only(), "1");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_broke_while_it_waited_is_not_used_again() -> Result<()> {
    let server = PrivatePg::start(PgOptions { tcp: true, ..PgOptions::default() }).await?;
    let proxy = FaultProxy::start(server.tcp_addr().context("no port")?).await?;
    let url = server.url_at("postgres", proxy.addr());
    let through = Database::beside(&url, server.url(), "{ pool_max: 1 }", TOOLS).await?;
    assert_eq!(through.call("quick", "{}").await?.only(), "1");
    proxy.reset_connections();
    assert_eq!(through.call("quick", "{}").await?.only(), "1");

    // Half-open: what is sent is swallowed, and the network says nothing.
    through.until_running(0).await?;
    proxy.set(Fault::Blackhole).await?;
    let started = Instant::now();
    let error = through.call("quick", "{}").await.expect_err("nothing comes through");
    assert!(matches!(error.class, ErrorClass::Unreachable | ErrorClass::Timeout), "{error:?}");
    assert_eq!(error.sent, Sent::No, "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(4), "after {:?}", started.elapsed());
    contract::until_state(&*through.connected.adapter, Health::Down).await?;
    proxy.set(Fault::Pass).await?;
    contract::until_state(&*through.connected.adapter, Health::Up).await?;
    assert_eq!(through.call("quick", "{}").await?.only(), "1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_and_missing_databases_are_told_apart() -> Result<()> {
    let server = PrivatePg::start(PgOptions { tcp: true, ..PgOptions::default() }).await?;
    let password = server.url().split([':', '@']).nth(2).context("no password")?.to_owned();
    for (url, class, said) in [
        (server.url().replace(&password, "mistaken"), ErrorClass::Unauthorized, "credentials"),
        (server.url_of("nowhere"), ErrorClass::Unreachable, "does not exist"),
        (format!("{}?sslmode=require", server.url()), ErrorClass::Unreachable, "TLS"),
    ] {
        let connected = Connected::new(&url, "{}", TOOLS)?;
        let error = connected.call("quick", "{}").await.expect_err(said);
        assert_eq!((error.class, error.sent), (class, Sent::No), "{error:?}");
        assert!(error.message.contains(said), "{}", error.message);
        assert!(!error.message.contains(&password) && !error.message.contains("mistaken"), "{}", error.message);
    }
    Ok(())
}

#[test]
fn a_connection_string_that_cannot_be_read_is_not_repeated() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _entered = runtime.enter();
    for url in [
        "postgres://weir:pass@word@host/db?sslmode",
        "postgres://weir@host/db?password=hunter2&hunter2=1",
        "mysql://weir:hunter2@host/db",
        "hunter2",
    ] {
        let Err(error) = Connected::new(url, "{}", TOOLS) else { panic!("accepted") };
        let text = format!("{error:?} {error}");
        assert!(
            text.contains("downstreams.crm.postgres.url") && text.contains("postgres://user:password@host"),
            "{text}"
        );
        assert!(!text.contains("hunter2") && !text.contains("word@host/db?"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_not_looked_for_where_a_cloud_hands_out_credentials() -> Result<()> {
    let forbidden = "postgres://u:p@169.254.169.254/db";
    for url in [forbidden, "postgres://u:p@localhost/db?hostaddr=169.254.169.254", "host=fd00:ec2::254 user=u"] {
        let connected = Connected::new(url, "{}", TOOLS)?;
        let error = connected.call("quick", "{}").await.expect_err("a forbidden address");
        assert_eq!((error.class, error.sent), (ErrorClass::Unreachable, Sent::No), "{url}: {error:?}");
        assert!(error.message.contains("an address that Weir does not connect to"), "{url}: {}", error.message);
        assert!(!error.message.contains("169.254"), "{url}: {}", error.message);
    }
    // The next host of a list is tried all the same, and a name beside an address is not looked up.
    let server = PrivatePg::start(PgOptions { tcp: true, ..PgOptions::default() }).await?;
    let address = server.tcp_addr().context("no port")?;
    let (beside, port) = (address.to_string(), address.port());
    let two = server.url().replace(&beside, &format!("169.254.169.254:1,127.0.0.1:{port}"));
    let named = server.url().replace(&beside, &format!("db.invalid:{port}")) + "?hostaddr=127.0.0.1";
    for url in [two, named] {
        assert_eq!(Connected::new(&url, "{}", TOOLS)?.call("quick", "{}").await?.only(), "1", "{url}");
    }
    Ok(())
}
