//! TLS of the callers' listener, which may become another one while it listens.

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio_rustls::TlsAcceptor;

use super::HTTP2;
use crate::{StartError, auth::certificate::Certificates};

/// What is shown and asked for in handshakes that begin from now on.
#[derive(Debug)]
pub(crate) struct Tls(ArcSwap<ServerConfig>);

impl Tls {
    /// With this certificate of our own, asking for those of callers where there are any.
    pub(crate) fn new(own: Arc<CertifiedKey>, callers: Option<&Arc<Certificates>>) -> Self {
        Self(ArcSwap::new(settings(own, callers)))
    }

    pub(crate) fn replace(&self, own: Arc<CertifiedKey>, callers: Option<&Arc<Certificates>>) {
        self.0.store(settings(own, callers));
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.load_full())
    }
}

/// TLS 1.2 and 1.3; HTTP/2 and HTTP/1.1 by ALPN.
fn settings(own: Arc<CertifiedKey>, callers: Option<&Arc<Certificates>>) -> Arc<ServerConfig> {
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites for both versions");
    let server = match callers {
        Some(callers) => server.with_client_cert_verifier(callers.clone()),
        None => server.with_no_client_auth(),
    };
    let mut server = server.with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    server.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
    if callers.is_some() {
        // A session that is resumed shows no certificate: one that was revoked meanwhile would come in by it.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
    }
    Arc::new(server)
}

/// Certificate and key of the files, when they fit each other.
pub(crate) fn read(settings: &config::server::Tls, base: &Path) -> Result<Arc<CertifiedKey>, StartError> {
    let (certificate, key) = (base.join(&settings.certificate), base.join(&settings.key));
    let unusable = |path: &Path, what: String| {
        StartError::Tls(format!("{} cannot be used ({what}): it must be PEM", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(&certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(&certificate, error.to_string()))?;
    let private = PrivateKeyDer::from_pem_file(&key).map_err(|error| unusable(&key, error.to_string()))?;
    let certified = CertifiedKey::from_der(chain, private, &provider());
    Ok(Arc::new(certified.map_err(|error| unusable(&key, error.to_string()))?))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
