//! TLS to the database: asked for, verified, and used for cancel requests as well.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
    process::Stdio,
};

use adapters::{ErrorClass, Sent};
use anyhow::{Context as _, Result, ensure};
use rcgen::{CertificateParams, KeyPair, SanType};
use standins::postgres::{PgOptions, PrivatePg};
use tempfile::TempDir;

use super::{Connected, Database, contract, observe};

const TOOLS: &str = "
      slow: { effect: read, sql: 'SELECT pg_sleep(60)' }
      secured: { effect: read, sql: SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid() }";

/// Tells the second half of the test, which runs in a process of its own, where the database is.
const URL: &str = "WEIR_TEST_TLS_URL";

/// The roots of this machine are read from where `SSL_CERT_FILE` says, which only a new process can be told.
#[tokio::test(flavor = "multi_thread")]
#[allow(
    clippy::disallowed_methods,
    reason = "not a setting of Weir: what the first half of this test says to the second"
)]
async fn a_connection_with_tls_is_verified_and_cancels_with_tls() -> Result<()> {
    match std::env::var(URL) {
        Ok(url) => with_trust(&url).await,
        Err(_) => without_trust().await,
    }
}

async fn without_trust() -> Result<()> {
    let server = PrivatePg::start(PgOptions { tcp: true, ..PgOptions::default() }).await?;
    let trusted = TempDir::new()?;
    let certificate = trusted.path().join("root.crt");
    offer_tls(&server, &certificate).await?;
    for mode in ["require", "prefer", "verify-full"] {
        let connected = Connected::new(&format!("{}?sslmode={mode}", server.url()), "{}", TOOLS)?;
        let error = connected.call("secured", "{}").await.expect_err("the certificate is from nobody");
        assert_eq!((error.class, error.sent), (ErrorClass::Unreachable, Sent::No), "{mode}: {error:?}");
        assert!(error.message.contains("no authority that this machine trusts"), "{mode}: {}", error.message);
    }
    let plain = Connected::new(&format!("{}?sslmode=disable", server.url()), "{}", TOOLS)?;
    assert_eq!(plain.call("secured", "{}").await?.only(), "false");

    let output = tokio::process::Command::new(std::env::current_exe()?)
        .args(["--exact", "postgres::tls::a_connection_with_tls_is_verified_and_cancels_with_tls"])
        .env(URL, server.url())
        .env("SSL_CERT_FILE", &certificate)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

async fn with_trust(url: &str) -> Result<()> {
    for mode in ["require", "prefer", "verify-full"] {
        let database = Database::beside(&format!("{url}?sslmode={mode}"), url, "{}", TOOLS).await?;
        assert_eq!(database.call("secured", "{}").await?.only(), "true", "{mode}");
        let ctx = contract::context(super::PATIENCE);
        let (error, running) = tokio::join!(database.connected.call_in(&ctx, "slow", "{}"), async {
            database.until_running(1).await?;
            ctx.cancel.cancel();
            database.until_running(0).await
        });
        running?;
        assert_eq!(error.expect_err("cancelled").class, ErrorClass::Cancelled, "{mode}");
    }
    let elsewhere = format!("{}?sslmode=require", url.replace("127.0.0.1", "localhost"));
    let error = Connected::new(&elsewhere, "{}", TOOLS)?.call("secured", "{}").await.expect_err("for another name");
    assert!(error.class == ErrorClass::Unreachable && error.message.contains("for another name"), "{error:?}");
    Ok(())
}

/// Gives the server a certificate for its address, and writes it where others may be told to trust it.
async fn offer_tls(server: &PrivatePg, trusted: &Path) -> Result<()> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    fs::write(trusted, certificate.pem())?;

    let observer = observe(server.url()).await?;
    let folder: String = observer.query_one("SHOW data_directory", &[]).await?.get(0);
    let folder = PathBuf::from(folder);
    let owner = fs::metadata(&folder).context("the server's folder")?;
    for (name, text) in [("server.crt", certificate.pem()), ("server.key", key.serialize_pem())] {
        let path = folder.join(name);
        tests::private_file(&path, text)?;
        chown(&path, Some(owner.uid()), Some(owner.gid()))?;
    }
    observer.execute("ALTER SYSTEM SET ssl = on", &[]).await?;
    observer.execute("SELECT pg_reload_conf()", &[]).await?;
    let database = Database::at(server.url(), "{}", TOOLS).await?;
    database.until("SELECT setting FROM pg_settings WHERE name = 'ssl'", "on").await
}
