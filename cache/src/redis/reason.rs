//! Why Redis cannot be used, in words of our own.
//!
//! What a server says is never passed on: an old one repeats the arguments of a command it does not know, and one of them
//! may be the password.

use ::redis::{ErrorKind, RedisError, ServerErrorKind};

/// What went wrong, for an operator.
pub(super) fn of(error: &RedisError) -> String {
    let said = |code: &str, meaning: &str| format!("the server answered {code}: {meaning}");
    match error.kind() {
        ErrorKind::AuthenticationFailed => "the server refused the user or password of redis.url".to_owned(),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => said("READONLY", "it is a replica and takes no writes"),
        ErrorKind::Server(ServerErrorKind::BusyLoading) => said("LOADING", "it is reading its data from disk"),
        ErrorKind::Server(ServerErrorKind::MasterDown) => {
            said("MASTERDOWN", "it is a replica that has lost its primary")
        }
        ErrorKind::Server(ServerErrorKind::ClusterDown) => said("CLUSTERDOWN", "part of the cluster has no server"),
        ErrorKind::Server(ServerErrorKind::NoPerm) => forbidden_by(error.detail().unwrap_or_default()),
        ErrorKind::MasterNameNotFoundBySentinel => "no sentinel knows a server by redis.master_name".to_owned(),
        ErrorKind::ClusterConnectionNotFound => "no server of the cluster could be reached".to_owned(),
        ErrorKind::InvalidClientConfig => "redis.url names something that cannot be connected to".to_owned(),
        ErrorKind::Io if error.is_connection_refusal() => "the connection was refused".to_owned(),
        ErrorKind::Io if error.is_timeout() => "connecting took too long".to_owned(),
        ErrorKind::Io if error.is_connection_dropped() => "the connection was lost".to_owned(),
        ErrorKind::Io => io_reason(error),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
            "what answers there does not speak as Redis does".to_owned()
        }
        _ => match error.code() {
            Some("NOAUTH") => said("NOAUTH", "it wants a password, and redis.url has none"),
            Some("WRONGPASS") => "the server refused the user or password of redis.url".to_owned(),
            Some("OOM") => said("OOM", "its memory is full and it may evict nothing"),
            Some("MISCONF") => said("MISCONF", "it cannot save to disk and takes no writes"),
            Some("NOREPLICAS") => said("NOREPLICAS", "too few replicas follow it for it to take writes"),
            Some(code) => format!("the server answered {}", plain(code)),
            None => "the server could not be asked".to_owned(),
        },
    }
}

/// That the user with whom Weir comes lacks a right.
pub(super) fn forbidden(commands: &str) -> String {
    format!("its user may not run {commands}: docs/caching.md lists the rights that Weir needs, under \"Redis\"")
}

/// Which right that is, where a server says it in one of the ways that are known.
fn forbidden_by(said: &str) -> String {
    // The name of the user stands before that, if it is told.
    let what = said.rsplit_once("permissions to ").map_or("", |(_, what)| what);
    let command = what.strip_prefix("run the '").and_then(|rest| rest.split_once('\''));
    match command.map(|(command, _)| command.to_ascii_uppercase()) {
        Some(command)
            if command.len() <= 32 && command.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'|') =>
        {
            forbidden(&command)
        }
        _ if what.starts_with("access") && what.contains("key") => {
            "its user may not use the keys that begin with `redis.prefix`".to_owned()
        }
        _ if what.starts_with("access") => {
            "its user may not use the channels that begin with `redis.prefix`".to_owned()
        }
        _ => forbidden("a command that is needed"),
    }
}

/// Why no sentinel could be asked.
pub(super) fn of_sentinel(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::MasterNameNotFoundBySentinel => of(error),
        _ => format!("no sentinel could be asked: {}", of(error)),
    }
}

/// Whether the server itself says that it is of no use now.
pub(super) fn unusable(error: &RedisError) -> bool {
    let kind = error.kind();
    matches!(
        kind,
        ErrorKind::AuthenticationFailed
            | ErrorKind::Server(
                ServerErrorKind::ReadOnly
                    | ServerErrorKind::BusyLoading
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ClusterDown
            )
    ) || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "MISCONF" | "NOREPLICAS" | "OOM"))
}

/// TLS and name resolution tell their troubles as I/O errors; their words name no secret, but may name what was resolved.
fn io_reason(error: &RedisError) -> String {
    let words = error.to_string().to_ascii_lowercase();
    if words.contains("certificate") || words.contains("tls") || words.contains("handshake") {
        "the connection could not be secured: its certificate is not trusted here, or the server does not speak TLS"
            .to_owned()
    } else if words.contains("lookup") || words.contains("resolve") || words.contains("name or service") {
        "its name could not be resolved".to_owned()
    } else {
        "it could not be reached".to_owned()
    }
}

/// A code as servers give it: capitals. Anything else is not repeated.
fn plain(code: &str) -> &str {
    if code.len() <= 32 && code.bytes().all(|byte| byte.is_ascii_uppercase()) { code } else { "with an error" }
}
