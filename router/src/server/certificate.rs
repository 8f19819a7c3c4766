//! The certificate of the callers' listener, which may be replaced while it listens.

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

use super::HTTP2;
use crate::StartError;

/// What is shown in handshakes that begin from now on.
#[derive(Debug)]
pub(crate) struct Certificate(ArcSwap<CertifiedKey>);

impl Certificate {
    /// That of the files, with which the listener begins.
    pub(crate) fn new(settings: &config::server::Tls, base: &Path) -> Result<Arc<Self>, StartError> {
        Ok(Arc::new(Self(ArcSwap::new(read(settings, base)?))))
    }

    /// Shows another one from now on.
    pub(crate) fn replace(&self, with: Arc<CertifiedKey>) {
        self.0.store(with);
    }

    /// TLS with this certificate; HTTP/2 and HTTP/1.1 by ALPN.
    pub(crate) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, StartError> {
        let server = rustls::ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let server = server.map_err(|error| StartError::Tls(error.to_string()))?;
        let mut server = server.with_no_client_auth().with_cert_resolver(self.clone());
        server.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(server)))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
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
