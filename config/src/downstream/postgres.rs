//! A Postgres database.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ClientCertificate;
use crate::{ByteSize, Period, SecretRef};

/// A Postgres database. Its tools are SQL statements.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// Where the connection string is: `postgres://user:password@host/database?sslmode=require`.
    pub url: SecretRef,
    /// Certificates of the authorities that vouch for it, PEM. Not stated: those that the system trusts.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The certificate that Weir shows it (TLS client authentication).
    #[serde(default)]
    pub client_certificate: Option<ClientCertificate>,
    /// The most connections that are open at once.
    #[serde(default = "Postgres::pool_max")]
    pub pool_max: usize,
    /// How long connecting may take.
    #[serde(default = "Postgres::connect_timeout")]
    pub connect_timeout: Period,
    /// How long one statement may take, within the deadline of the call.
    #[serde(default = "Postgres::statement_timeout")]
    pub statement_timeout: Period,
    /// The most rows in one answer; what is beyond is cut and marked `truncated`.
    #[serde(default = "Postgres::rows_max")]
    pub rows_max: usize,
    /// The largest answer; what is beyond is cut at a row's end and marked `truncated`.
    #[serde(default = "Postgres::bytes_max")]
    pub bytes_max: ByteSize,
    /// The channel on which the database says what changed: `NOTIFY weir, 'customer:CUST-00042'`. The payload is a tag, or one on each line.
    /// It takes one connection besides those of `pool_max`.
    #[serde(default)]
    pub notify_channel: Option<String>,
}

impl Postgres {
    fn pool_max() -> usize {
        16
    }

    fn connect_timeout() -> Period {
        Period::s(1)
    }

    fn statement_timeout() -> Period {
        Period::s(5)
    }

    fn rows_max() -> usize {
        1000
    }

    fn bytes_max() -> ByteSize {
        ByteSize::mib(1)
    }
}
