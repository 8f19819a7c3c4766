//! TLS to downstreams: whom Weir trusts, and how it says so.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use config::{Sources, downstream::ClientCertificate};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use secrecy::ExposeSecret as _;

use crate::BuildError;

/// What connections to one host need.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    /// The name that the certificate must be for.
    pub(crate) name: ServerName<'static>,
    pub(crate) config: Arc<ClientConfig>,
}

/// Whom a connection trusts.
#[derive(Default)]
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

    /// The same with the certificate that Weir shows, as the settings in `section` have it.
    ///
    /// # Errors
    /// When the certificate or its key cannot be read.
    pub(crate) fn showing(
        (ca, certificate): (Option<&Path>, Option<&ClientCertificate>),
        sources: &Sources,
        section: &str,
    ) -> Result<Self, BuildError> {
        let trust = Self::of(ca, sources);
        let Some(ClientCertificate { certificate, key }) = certificate else { return Ok(trust) };
        let setting = |key: &str| format!("{section}.client_certificate.{key}");
        let wrong = |key: &str, message: String| BuildError::Setting { setting: setting(key), message };
        let path = sources.base.join(certificate);
        let of_file = |why: String| wrong("certificate", format!("the file {} {why}", path.display()));
        let text = std::fs::read(&path).map_err(|error| of_file(format!("cannot be read ({error})")))?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let chain = chain.map_err(|error| of_file(format!("is not PEM ({error})")))?;
        if chain.is_empty() {
            return Err(of_file("has no certificate in it".to_owned()));
        }
        let pem = key.resolve(sources).map_err(|source| BuildError::Secret { setting: setting("key"), source })?;
        // What the library says of a mistake may hold a part of the key.
        let key = PrivateKeyDer::from_pem_slice(pem.expose_secret().as_bytes())
            .map_err(|_| wrong("key", "this is no private key in PEM".to_owned()))?;
        Ok(Self { shown: Some((chain, key)), ..trust })
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

    /// A client that trusts `roots` and shows this certificate.
    ///
    /// # Errors
    /// What is wrong with the certificate.
    pub(crate) fn client_config(&self, roots: RootCertStore) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows the versions it was built with")
            .with_root_certificates(roots);
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
        let mut config = trust.client_config(trust.roots()?)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self { name, config: Arc::new(config) }))
    }
}

/// The name in a certificate for a host as it stands in a URL.
fn server_name(host: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(host.trim_start_matches('[').trim_end_matches(']').to_owned()).ok()
}
