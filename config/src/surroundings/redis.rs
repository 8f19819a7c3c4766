//! What `redis.url` refers to, without a word of it in any message: there is a password within.

use crate::redis::RedisKind;

/// Why addresses cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unusable {
    pub(super) what: String,
    pub(super) help: &'static str,
}

const FORM: &str = "its form is `redis://user:password@host:6379/0`, or `rediss://…` over TLS; in a password write `%2C` for a \
                    comma, `%40` for @, `%2F` for a slash and `%23` for #";

/// Checks that `text` holds addresses, and as many as servers of `kind` have.
pub(super) fn addresses(text: &str, kind: RedisKind) -> Result<(), Unusable> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let ordinal =
        |index: usize| if parts.len() == 1 { String::new() } else { format!(": look at address {}", index + 1) };
    let mut secured = None;
    for (index, part) in parts.iter().enumerate() {
        let Some(address) = Address::of(part) else {
            let what = format!("does not hold the address of a Redis{}", ordinal(index));
            return Err(Unusable { what, help: FORM });
        };
        if address.database != 0 && kind == RedisKind::Cluster {
            let what = format!("names a database of a cluster, which has none but 0{}", ordinal(index));
            return Err(Unusable { what, help: "leave out the number at its end" });
        }
        if *secured.get_or_insert(address.secured) != address.secured {
            let what = format!("has both `redis://` and `rediss://`{}", ordinal(index));
            return Err(Unusable { what, help: "make all of them the same: one without TLS would tell the password" });
        }
    }
    if parts.len() > 1 && kind == RedisKind::Single {
        return Err(Unusable {
            what: format!("holds {} addresses, and `redis.kind` is `single`", parts.len()),
            help: "say `kind: sentinel` or `kind: cluster`, or name one server; in a password write `%2C` for a comma",
        });
    }
    Ok(())
}

struct Address {
    secured: bool,
    database: u32,
}

impl Address {
    fn of(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let secured = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => return None,
        };
        // What follows `#` or `?` would switch off the check of the certificate, or is a password badly written.
        if rest.contains(['#', '?', ' ']) {
            return None;
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let authority: http::uri::Authority = authority.parse().ok()?;
        let server = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, server)| server);
        let port = server.strip_prefix(authority.host())?;
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
        if authority.host().is_empty() || !is_port {
            return None;
        }
        let database = if path.is_empty() { 0 } else { path.parse().ok()? };
        Some(Self { secured, database })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_of_redis_a_host_and_perhaps_a_database() {
        use RedisKind::{Cluster, Sentinel, Single};
        for (text, kind) in [
            ("redis://localhost", Single),
            ("redis://:pa%2Css@10.0.0.1:6380/3", Single),
            ("rediss://user:secret@redis.example:6380", Single),
            ("redis://[::1]:6379/0", Single),
            ("redis://a:1, redis://b:2,redis://c:3", Sentinel),
            ("redis://a:1/2,redis://b:2/2", Sentinel),
            ("rediss://u:p@a:1,rediss://b:2", Cluster),
        ] {
            assert_eq!(addresses(text, kind), Ok(()), "{text}");
        }
        for (text, kind) in [
            ("", Single),
            ("localhost:6379", Single),
            ("http://localhost:6379", Single),
            ("unix:///run/redis.sock", Single),
            ("redis://", Single),
            ("redis://:secret@", Single),
            ("redis://host:port", Single),
            ("redis://host:", Single),
            ("redis://host/zero", Single),
            ("redis://host/-1", Single),
            ("rediss://host#insecure", Single),
            ("redis://:pass#word@host", Single),
            ("redis://:pa/ss@host", Single),
            ("redis://:pa,ss@host", Single),
            ("redis://a,redis://b", Single),
            ("redis://a,,redis://b", Cluster),
            ("redis://a/1", Cluster),
            ("rediss://a,redis://b", Sentinel),
        ] {
            assert!(addresses(text, kind).is_err(), "{text}");
        }
    }
}
