//! TLS to downstreams: whom Weir trusts, and how it says so.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};

use crate::BuildError;

/// What connections to one host need.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    /// The name that the certificate must be for.
    pub(crate) name: ServerName<'static>,
    pub(crate) config: Arc<ClientConfig>,
}

impl Tls {
    /// For `host` as it stands in a URL, trusting what this machine trusts; `None` when it is no name of a host. `setting` names
    /// the URL in errors.
    ///
    /// # Errors
    /// When this machine trusts nobody.
    pub(crate) fn new(host: &str, setting: &str) -> Result<Option<Self>, BuildError> {
        let Some(name) = server_name(host) else { return Ok(None) };
        Ok(Some(Self { name, config: trust_of_system(setting)? }))
    }
}

/// The name in a certificate for a host as it stands in a URL.
pub(crate) fn server_name(host: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(host.trim_start_matches('[').trim_end_matches(']').to_owned()).ok()
}

/// The certificate authorities that this machine trusts.
fn trust_of_system(setting: &str) -> Result<Arc<ClientConfig>, BuildError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        let message = "this machine trusts no certificate authority, so no server can be checked: \
                       install the package `ca-certificates` or set SSL_CERT_FILE";
        return Err(BuildError::Setting { setting: setting.to_owned(), message: message.to_owned() });
    }
    Ok(client_config(roots))
}

/// A client that trusts `roots` and speaks HTTP/1.1.
pub(crate) fn client_config(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows the versions it was built with");
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}
