//! Where requests go: one scheme, host and port, and how a connection to it is made.

use std::{fmt, sync::Arc};

use http::{HeaderValue, Uri, uri::PathAndQuery};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::{
    address::{self, ConnectError, Reach},
    tls::{Tls, Trust},
};

/// One scheme, host and port.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As it stands in `Host`.
    pub(crate) authority: HeaderValue,
    tls: Option<Tls>,
    reach: Reach,
}

/// A stream to an origin, with or without TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Why no connection to an origin came about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoStream {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the TLS handshake failed: {0}")]
    Tls(std::io::Error),
}

impl NoStream {
    /// What a caller may know of it: no address.
    pub(crate) fn told(&self) -> &'static str {
        match self {
            Self::Connect(error) => error.told(),
            Self::Tls(_) => "the TLS handshake failed",
        }
    }

    /// What the operator needs besides.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Connect(error) => error.detail(),
            Self::Tls(error) => error.to_string(),
        }
    }
}

impl Origin {
    /// Reads a URL whose scheme is one of `schemes`, the plain one first. The path of the URL comes with it.
    ///
    /// # Errors
    /// What is wrong with the URL or with the certificates.
    pub(crate) fn parse(
        url: &str,
        schemes: [&str; 2],
        trust: &Trust,
        reach: Reach,
    ) -> Result<(Self, PathAndQuery), String> {
        let [plain, secured] = schemes;
        let form = || format!("this is not the URL that is meant here: write `{secured}://host/path`");
        let uri: Uri = url.parse().map_err(|_| form())?;
        let secure = match uri.scheme_str() {
            Some(scheme) if scheme == secured => true,
            Some(scheme) if scheme == plain => false,
            _ => return Err(form()),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or("leave user and password out of the URL: use `credential`")?;
        let host = authority.host().to_owned();
        let tls = if secure { Some(Tls::new(&host, trust)?.ok_or_else(form)?) } else { None };
        let origin = Self {
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.as_str().parse().map_err(|_| form())?,
            host,
            tls,
            reach,
        };
        Ok((origin, uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))))
    }

    /// Whether what is sent there is encrypted.
    pub(crate) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether `uri`, which names a host, lies here.
    pub(crate) fn is_of(&self, uri: &Uri) -> bool {
        let (plain, standard) = if self.is_secure() { ("https", 443) } else { ("http", 80) };
        uri.scheme_str() == Some(plain)
            && uri.authority().is_some_and(|authority| {
                authority.host().eq_ignore_ascii_case(&self.host)
                    && authority.port_u16().unwrap_or(standard) == self.port
                    && !authority.as_str().contains('@')
            })
    }

    /// Connects, TLS included. Has no deadline of its own.
    pub(crate) async fn connect(&self) -> Result<Box<dyn Stream>, NoStream> {
        let stream = address::connect(&self.host, self.port, &self.reach).await?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let connecting = TlsConnector::from(Arc::clone(&tls.config)).connect(tls.name.clone(), stream);
        Ok(Box::new(connecting.await.map_err(NoStream::Tls)?))
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}
