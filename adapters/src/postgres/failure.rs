//! What went wrong with a database, by class and in words. Never the statement, the connection string or an address.

use std::{error::Error as StdError, io, time::Duration};

use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::{
    Error,
    error::{DbError, Severity, SqlState},
};

use super::answer::Unreadable;
use crate::{AdapterError, ErrorClass, Rejection, Sent, address::ConnectError};

/// Whose failure it is, and whether the call was to write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) downstream: &'a str,
    pub(super) tool: &'a str,
    pub(super) writes: bool,
}

/// How far a call had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing of the call was executed.
    Before,
    /// Its statement was sent, its end was not: whatever it did is undone.
    Running,
    /// `COMMIT` was sent.
    Committing,
}

/// What a failed write has left behind, in words, where that is certain.
const ROLLED_BACK: &str = " The change was rolled back: nothing was written.";

impl Subject<'_> {
    /// No connection could be had from the pool.
    pub(super) fn no_connection(&self, error: &PoolError, limit: Duration) -> AdapterError {
        let downstream = self.downstream;
        let (class, message) = match error {
            PoolError::Timeout(TimeoutType::Wait) | PoolError::Closed => (
                ErrorClass::Busy,
                format!("{downstream} had no free connection in time. Nothing was sent; try again in a moment."),
            ),
            PoolError::Backend(error) if error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS) => (
                ErrorClass::Busy,
                format!("{downstream} takes no more connections at present. Nothing was sent; try again in a moment."),
            ),
            PoolError::Backend(error) if is_about_credentials(error) => (
                ErrorClass::Unauthorized,
                format!(
                    "{downstream} does not accept the credentials that are configured for it. This is for its operator to mend; trying again does not help."
                ),
            ),
            _ => {
                let why = why_unreachable(error, limit).unwrap_or_default();
                (
                    ErrorClass::Unreachable,
                    format!("{downstream} cannot be reached: {why}. Nothing was sent; try again in a moment."),
                )
            }
        };
        AdapterError::not_sent(class, message)
    }

    /// The arguments do not fit.
    pub(super) fn arguments(&self, problems: &[String]) -> AdapterError {
        let problems = problems.join(" ");
        AdapterError::not_sent(
            ErrorClass::InvalidArguments,
            format!("The arguments do not fit {}: {problems}", self.tool),
        )
    }

    /// The statement takes another number of parameters than the config names.
    pub(super) fn parameter_count(&self, wanted: usize, named: usize) -> AdapterError {
        AdapterError::not_sent(
            ErrorClass::Rejected,
            format!("{} cannot be called: {}", self.tool, count_mismatch(wanted, named)),
        )
    }

    /// No answer in time.
    pub(super) fn timeout(&self, stage: Stage, limit: Duration) -> AdapterError {
        let (downstream, tool, limit_ms) = (self.downstream, self.tool, limit.as_millis());
        let what = format!("{downstream} did not answer {tool} within {limit_ms} ms.");
        let (sent, advice) = match (stage, self.writes) {
            (Stage::Before, _) => (Sent::No, " Nothing was sent; try again in a moment."),
            (Stage::Running, false) => (Sent::Yes, " Try a narrower query."),
            (Stage::Running, true) => (Sent::Yes, ROLLED_BACK),
            (Stage::Committing, _) => (Sent::Unknown, OUTCOME_UNKNOWN),
        };
        AdapterError::new(ErrorClass::Timeout, sent, what + advice)
    }

    /// The statement, or what is around it, failed. `timeout` is what it was given to end in, if that has passed.
    pub(super) fn failed(&self, stage: Stage, error: Error, timeout: Option<Duration>) -> AdapterError {
        match error.as_db_error() {
            Some(said) if stage == Stage::Committing && !is_rolled_back(said.parsed_severity(), said.code()) => {
                self.lost(stage).caused_by(error)
            }
            Some(said) => self.refused(stage, said, timeout),
            None => self.lost(stage).caused_by(error),
        }
    }

    /// The connection ended.
    fn lost(&self, stage: Stage) -> AdapterError {
        let what = format!("The connection to {} ended before the answer came.", self.downstream);
        let (sent, advice) = match (stage, self.writes) {
            (Stage::Before, _) => (Sent::No, " Nothing was sent; try again in a moment."),
            (Stage::Running, false) => (Sent::Unknown, " Try again in a moment."),
            (Stage::Running, true) => (Sent::Yes, ROLLED_BACK),
            (Stage::Committing, _) => (Sent::Unknown, OUTCOME_UNKNOWN),
        };
        AdapterError::new(ErrorClass::ConnectionLost, sent, what + advice)
    }

    /// The database said no, in its own words.
    fn refused(&self, stage: Stage, said: &DbError, timeout: Option<Duration>) -> AdapterError {
        let (downstream, tool) = (self.downstream, self.tool);
        let code = said.code();
        if let (&SqlState::QUERY_CANCELED, Some(limit)) = (code, timeout) {
            return self.timeout(stage.answered(), limit);
        }
        // 57P: the server is going down or coming up. 08: it speaks of the connection. Both may be said after a commit.
        if code.code().starts_with("57P") || code.code().starts_with("08") {
            return self.lost(stage);
        }
        let words = format!("{} (SQLSTATE {})", said.message(), code.code());
        let advice = match *code {
            SqlState::READ_ONLY_SQL_TRANSACTION => {
                format!(
                    " {tool} is declared to read, and its statement writes: its operator must declare `effect: write`."
                )
            }
            SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED | SqlState::LOCK_NOT_AVAILABLE => {
                " It met another transaction; try again.".to_owned()
            }
            _ => String::new(),
        };
        let undone = if self.writes && stage != Stage::Before { ROLLED_BACK } else { "" };
        let sent = if stage == Stage::Before { Sent::No } else { Sent::Yes };
        let message = format!("{downstream} refused {tool}: {words}.{advice}{undone}");
        let mut error = AdapterError::rejected(message, Rejection::Text(words));
        error.sent = sent;
        error
    }

    /// Postgres could not read an argument as the type of its parameter. `None` when the error is about something else.
    pub(super) fn unreadable_argument<'n>(
        &self,
        error: &Error,
        mut names: impl Iterator<Item = &'n String>,
    ) -> Option<AdapterError> {
        let said = error.as_db_error()?;
        let name = parameter_number(said.where_()?).and_then(|number| names.nth(number.checked_sub(1)?))?;
        Some(self.arguments(&[format!("`{name}` is refused: {} (SQLSTATE {}).", said.message(), said.code().code())]))
    }

    /// A value came that cannot be read.
    pub(super) fn unreadable(&self, error: Unreadable) -> AdapterError {
        let undone = if self.writes { ROLLED_BACK } else { "" };
        let message = format!(
            "{} sent an answer that cannot be read: {error}. This is for its operator to mend.{undone}",
            self.downstream
        );
        AdapterError::new(ErrorClass::Protocol, Sent::Yes, message).caused_by(error)
    }

    /// Not even one row fits into an answer.
    pub(super) fn too_large(&self, bytes_max: usize) -> AdapterError {
        let undone = if self.writes { ROLLED_BACK } else { "" };
        let message = format!(
            "One row of {} is larger than a whole answer may be ({bytes_max} bytes). \
             Ask for less, or have its operator choose fewer columns.{undone}",
            self.tool
        );
        AdapterError::new(ErrorClass::TooLarge, Sent::Yes, message)
    }

    /// The caller no longer wants the answer.
    pub(super) fn cancelled(&self) -> AdapterError {
        let sent = if self.writes { Sent::No } else { Sent::Unknown };
        AdapterError::new(ErrorClass::Cancelled, sent, "The call was cancelled.")
    }
}

const OUTCOME_UNKNOWN: &str = " Whether the change was made is not known: look before you repeat it.";

impl Stage {
    /// What a plain error is an answer to, at `COMMIT` as well: the transaction is rolled back.
    fn answered(self) -> Self {
        if self == Self::Committing { Self::Running } else { self }
    }
}

/// Whether an error at `COMMIT` has certainly rolled the transaction back. One that ends the session or the whole server may come
/// after the commit was written and survive in the log; 40003 says itself that it does not know.
fn is_rolled_back(severity: Option<Severity>, code: &SqlState) -> bool {
    severity == Some(Severity::Error) && *code != SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN
}

/// Why a statement that takes `wanted` parameters does not go with `named` arguments.
pub(super) fn count_mismatch(wanted: usize, named: usize) -> String {
    format!("its statement takes {wanted} parameters, and its `arguments` name {named}")
}

/// Why no connection can be made, for the operator; `None` when the database has nothing to do with it.
pub(super) fn why_unreachable(error: &PoolError, limit: Duration) -> Option<String> {
    match error {
        PoolError::Timeout(TimeoutType::Wait) | PoolError::Closed => None,
        PoolError::Backend(error) if error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS) => None,
        PoolError::Timeout(_) => Some(format!("no connection within {} ms", limit.as_millis())),
        PoolError::Backend(error) => Some(why_not_connected(error)),
        PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => Some("no connection can be made".to_owned()),
    }
}

pub(super) fn why_not_connected(error: &Error) -> String {
    if let Some(said) = error.as_db_error() {
        let code = said.code();
        return match *code {
            _ if is_about_credentials(error) => {
                format!("it does not accept the credentials (SQLSTATE {})", code.code())
            }
            SqlState::INVALID_CATALOG_NAME => "the database that the connection string names does not exist".to_owned(),
            SqlState::CANNOT_CONNECT_NOW => "it is starting up or shutting down".to_owned(),
            _ => format!("it refuses connections (SQLSTATE {})", code.code()),
        };
    }
    // The texts of TLS and name errors may hold addresses: they are told apart here and not repeated.
    let mut source: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(cause) = source {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return why_no_tls(tls);
        }
        if let Some(ConnectError::Forbidden { .. }) = cause.downcast_ref::<ConnectError>() {
            return "its name leads to an address that Weir does not connect to".to_owned();
        }
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            if let Some(tls) = io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                return why_no_tls(tls);
            }
            return match io.kind() {
                io::ErrorKind::Unsupported => "it does not offer TLS, and `sslmode=require` asks for it".to_owned(),
                kind if io.raw_os_error().is_some() => kind.to_string(),
                kind => format!("connecting failed ({kind})"),
            };
        }
        source = cause.source();
    }
    // The words of the library alone, without their cause.
    error.to_string()
}

fn why_no_tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(problem) => {
            let problem = match problem {
                rustls::CertificateError::UnknownIssuer => "is from no authority that this machine trusts",
                rustls::CertificateError::Expired | rustls::CertificateError::ExpiredContext { .. } => "has expired",
                rustls::CertificateError::NotValidForName | rustls::CertificateError::NotValidForNameContext { .. } => {
                    "is for another name"
                }
                _ => "is not valid",
            };
            format!("its TLS certificate {problem}")
        }
        _ => "the TLS handshake failed".to_owned(),
    }
}

/// Whether the statement itself is at fault, and not the state of the server: SQLSTATE classes 42, 3F, 0A and the like.
pub(super) fn is_about_the_statement(said: &DbError) -> bool {
    !["08", "25", "40", "53", "55", "57", "58", "XX"].iter().any(|class| said.code().code().starts_with(class))
}

/// SQLSTATE class 28.
fn is_about_credentials(error: &Error) -> bool {
    error.code().is_some_and(|code| code.code().starts_with("28"))
}

/// The `n` of the `$n` in a text such as `unnamed portal parameter $2 = '...'`, in whatever language.
fn parameter_number(context: &str) -> Option<usize> {
    let (_, rest) = context.split_once('$')?;
    let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use tokio_postgres::error::{Severity, SqlState};

    use super::{is_rolled_back, parameter_number};

    #[test]
    fn an_error_at_commit_has_rolled_back_only_where_the_session_lives_on() {
        let rows = [
            (Some(Severity::Error), SqlState::UNIQUE_VIOLATION, true),
            (Some(Severity::Error), SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN, false),
            (Some(Severity::Fatal), SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT, false),
            (Some(Severity::Panic), SqlState::IO_ERROR, false),
            (None, SqlState::UNIQUE_VIOLATION, false),
        ];
        for (severity, code, rolled_back) in rows {
            assert_eq!(is_rolled_back(severity, &code), rolled_back, "{severity:?} {code:?}");
        }
    }

    #[test]
    fn the_refused_parameter_is_found_in_what_postgres_says() {
        assert_eq!(parameter_number("unnamed portal parameter $12 = '...'"), Some(12));
        assert_eq!(parameter_number("unbenanntes Portal, Parameter $1"), Some(1));
        assert_eq!(parameter_number("SQL function \"f\" during inlining"), None);
    }
}
