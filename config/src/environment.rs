//! The environment variables that Weir knows. Nothing else in the project reads the environment, apart from the
//! variables to which a config refers with `{ env: NAME }` and those that it hands on with `pass_env`.

use std::{ffi::OsString, path::PathBuf};

use secrecy::SecretString;

/// Every variable that Weir knows by name, with what it is for.
pub const VARIABLES: [(&str, &str); 5] = [
    (
        ADMIN_TOKEN,
        "The token that opens `/admin/…` on the admin listener, for the router and for the commands that speak to it. At least 16 bytes. Without it that part is off.",
    ),
    (ADMIN, "The admin listener that those commands speak to, where `--admin` is not given: `http://127.0.0.1:8081`."),
    (API_KEY, "The API key that `weir stdio --url` shows to the router."),
    (
        LOG,
        "What is written to the log, instead of `log.level`: a level, or levels by module such as `info,router=debug`.",
    ),
    (PG_BIN, "The folder with the Postgres programs that `weir demo` starts, where they are not found by themselves."),
];

pub(crate) const ADMIN_TOKEN: &str = "WEIR_ADMIN_TOKEN";
const ADMIN: &str = "WEIR_ADMIN";
const API_KEY: &str = "WEIR_API_KEY";
const LOG: &str = "WEIR_LOG";
const PG_BIN: &str = "WEIR_PG_BIN";

/// The token that opens `/admin/…` (`WEIR_ADMIN_TOKEN`).
#[must_use]
pub fn admin_token() -> Option<SecretString> {
    variable(ADMIN_TOKEN).map(SecretString::from)
}

/// The URL of the admin listener that commands speak to (`WEIR_ADMIN`).
#[must_use]
pub fn admin_url() -> Option<String> {
    variable(ADMIN)
}

/// The API key of the stdio bridge (`WEIR_API_KEY`).
#[must_use]
pub fn api_key() -> Option<SecretString> {
    variable(API_KEY).map(SecretString::from)
}

/// What is written to the log (`WEIR_LOG`).
#[must_use]
pub fn log_filter() -> Option<String> {
    variable(LOG)
}

/// The folder with the Postgres programs (`WEIR_PG_BIN`).
#[must_use]
pub fn pg_bin() -> Option<PathBuf> {
    variable(PG_BIN).map(PathBuf::from)
}

/// Variables of Weir's own environment that a config hands on to a child process, as far as they are set.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub fn passed_on(names: &[String]) -> Vec<(String, OsString)> {
    names.iter().filter_map(|name| Some((name.clone(), std::env::var_os(name)?))).collect()
}

fn variable(name: &str) -> Option<String> {
    raw(name).filter(|value| !value.is_empty())
}

/// A variable as it is, for references to secrets.
#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub(crate) fn raw(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
