//! A router that speaks TLS, and a client that trusts it.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Result;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::TestRouter;

/// Starts a router with `config` and a certificate for `localhost`, which it gives too.
pub async fn secure_router(mut config: Value) -> Result<(TestRouter, CertificateDer<'static>)> {
    let dir = TempDir::new()?;
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    std::fs::write(dir.path().join("certificate.pem"), made.cert.pem())?;
    crate::private_file(dir.path().join("key.pem"), made.signing_key.serialize_pem())?;
    config["server"]["tls"] = json!({ "certificate": "certificate.pem", "key": "key.pem" });
    Ok((TestRouter::start_in(dir, &config.to_string()).await?, made.cert.der().clone()))
}

/// A connection to `localhost` at `address` that trusts this certificate alone and offers these protocols.
pub async fn secured(
    address: SocketAddr,
    certificate: &CertificateDer<'static>,
    alpn: &[&[u8]],
) -> Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut client = client.with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    Ok(TlsConnector::from(Arc::new(client)).connect(ServerName::try_from("localhost")?, stream).await?)
}
