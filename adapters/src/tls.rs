//! TLS to downstreams: whom Weir trusts, and how it says so.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use config::Sources;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};

/// What connections to one host need.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    /// The name that the certificate must be for.
    pub(crate) name: ServerName<'static>,
    pub(crate) config: Arc<ClientConfig>,
}

/// Whom a connection trusts.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    /// Certificates of authorities in PEM; without a file those that this machine trusts.
    pub(crate) ca: Option<PathBuf>,
    /// The certificate that Weir shows, the server's own first, and its key.
    pub(crate) shown: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Trust {
    /// The authorities of this file, which is looked for in `sources`, or those that this machine trusts. No certificate is shown.
    pub(crate) fn of(ca: Option<&Path>, sources: &Sources) -> Self {
        Self { ca: ca.map(|path| sources.base.join(path)), shown: None }
    }

    /// Whose certificates count.
    ///
    /// # Errors
    /// When it is nobody's.
    pub(crate) fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        let Some(path) = &self.ca else {
            let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return if added > 0 { Ok(roots) } else { Err(TRUSTS_NOBODY.to_owned()) };
        };
        let wrong = |why: String| format!("`ca`: the file {} {why}", path.display());
        let text = std::fs::read(path).map_err(|error| wrong(format!("cannot be read ({error})")))?;
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|error| wrong(format!("is not PEM ({error})")))?;
            roots
                .add(certificate)
                .map_err(|error| wrong(format!("has a certificate that cannot be used ({error})")))?;
        }
        if roots.is_empty() { Err(wrong("has no certificate in it".to_owned())) } else { Ok(roots) }
    }

    /// A client that trusts so.
    ///
    /// # Errors
    /// What is wrong with the certificates.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows the versions it was built with")
            .with_root_certificates(self.roots()?);
        match &self.shown {
            None => Ok(builder.with_no_client_auth()),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|error| format!("`client_certificate` cannot be used ({error})")),
        }
    }
}

const TRUSTS_NOBODY: &str = "this machine trusts no certificate authority, so no server can be checked: \
                             install the package `ca-certificates` or set SSL_CERT_FILE";

impl Tls {
    /// For `host` as it stands in a URL; `None` when it is no name of a host. Speaks HTTP/1.1.
    ///
    /// # Errors
    /// What is wrong with the certificates.
    pub(crate) fn new(host: &str, trust: &Trust) -> Result<Option<Self>, String> {
        let Some(name) = server_name(host) else { return Ok(None) };
        let mut config = trust.client_config()?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self { name, config: Arc::new(config) }))
    }
}

/// The name in a certificate for a host as it stands in a URL.
fn server_name(host: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(host.trim_start_matches('[').trim_end_matches(']').to_owned()).ok()
}
