//! An authority that vouches for callers, and the certificates it makes.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Result;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use serde_json::Value;
use tests::{Answer, harness::read, modern_request};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// What a certificate says.
pub(super) struct Says {
    pub serial: u64,
    pub names: Vec<SanType>,
    pub purposes: Vec<ExtendedKeyUsagePurpose>,
    pub until_year: i32,
}

/// A certificate with its key.
pub(super) struct Holder {
    pub chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

/// A certificate of a client with this URI.
pub(super) fn client(serial: u64, uri: &str) -> Result<Says> {
    let names = vec![SanType::URI(uri.try_into()?)];
    Ok(Says { serial, names, purposes: vec![ExtendedKeyUsagePurpose::ClientAuth], until_year: 2090 })
}

impl Authority {
    pub(super) fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    pub(super) fn issue(&self, says: Says) -> Result<Holder> {
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from(says.serial));
        params.subject_alt_names = says.names;
        params.extended_key_usages = says.purposes;
        params.not_after = date_time_ymd(says.until_year, 1, 1);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Holder { chain: vec![certificate.der().clone()], key })
    }

    /// The list of the certificates that are revoked, as PEM.
    pub(super) fn revoked(&self, serials: &[u64], until_year: i32) -> Result<String> {
        let one = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(until_year, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(one).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }
}

/// A connection of a caller, which may have shown a certificate.
pub(super) enum Caller {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// How callers speak TLS.
pub(super) fn client_config(trusted: &CertificateDer<'static>, holder: Option<&Holder>) -> Result<ClientConfig> {
    client_config_of(trusted, holder, rustls::DEFAULT_VERSIONS)
}

/// The same in these versions. It resumes what sessions it can.
pub(super) fn client_config_of(
    trusted: &CertificateDer<'static>,
    holder: Option<&Holder>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
    let config = config.with_root_certificates(roots);
    Ok(match holder {
        Some(holder) => {
            let key = PrivateKeyDer::try_from(holder.key.serialize_der()).map_err(anyhow::Error::msg)?;
            config.with_client_auth_cert(holder.chain.clone(), key)?
        }
        None => config.with_no_client_auth(),
    })
}

impl Caller {
    /// Connects. With TLS 1.3 a certificate that is refused shows in the first answer only, so one is asked for.
    pub(super) async fn connect(address: SocketAddr, config: &ClientConfig, http2: bool) -> Result<Self> {
        let mut config = config.clone();
        config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let stream = TcpStream::connect(address).await?;
        let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost")?, stream).await?;
        let mut caller = if http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            Self::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            Self::Http1(sender)
        };
        caller.get(address, "/nothing-here", &[]).await?;
        Ok(caller)
    }

    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<http::Response<Incoming>> {
        Ok(match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        })
    }

    pub(super) async fn get(&mut self, address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        let request = self.request("GET", address, path);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        read(self.send(request.body(Full::default())?).await?).await
    }

    /// Calls a tool.
    pub(super) async fn call(
        &mut self,
        address: SocketAddr,
        key: Option<&str>,
        tool: &str,
        arguments: Value,
    ) -> Result<Answer> {
        let (headers, body) =
            modern_request(key, "tools/call", serde_json::json!({ "name": tool, "arguments": arguments }));
        let request = self.request("POST", address, "/mcp");
        let request =
            request.header("content-type", "application/json").header("accept", "application/json, text/event-stream");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        read(self.send(request.body(Full::new(body.into()))?).await?).await
    }

    pub(super) fn request(&self, method: &str, address: SocketAddr, path: &str) -> http::request::Builder {
        let host = format!("localhost:{}", address.port());
        match self {
            Self::Http1(_) => Request::builder().method(method).uri(path).header("host", host),
            Self::Http2(_) => Request::builder().method(method).uri(format!("https://{host}{path}")),
        }
    }
}
