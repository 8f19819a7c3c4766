//! A look at an origin, where no traffic tells whether it can be reached.

use tokio::time::timeout;

use super::{HttpClient, HttpError};

impl HttpClient {
    /// Connects, TLS included, and asks for nothing.
    ///
    /// # Errors
    /// `Unreachable`.
    pub(crate) async fn probe(&self) -> Result<(), HttpError> {
        let connecting = timeout(self.connect_timeout, self.connect());
        let late = || HttpError::unreachable(format!("no connection within {} ms", self.connect_timeout.as_millis()));
        connecting.await.unwrap_or_else(|_| Err(late())).map(drop)
    }
}
