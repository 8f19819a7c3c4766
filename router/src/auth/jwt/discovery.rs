//! Where the keys of an issuer are: its metadata (RFC 8414; OpenID Connect Discovery).

use serde::Deserialize;

/// Where an issuer's metadata may be, in the order in which it is looked for.
pub(super) fn places(issuer: &str) -> Vec<String> {
    let (origin, path) = parts(issuer);
    let oauth = "/.well-known/oauth-authorization-server";
    let openid = "/.well-known/openid-configuration";
    if path.is_empty() {
        return vec![format!("{origin}{oauth}"), format!("{origin}{openid}")];
    }
    vec![format!("{origin}{oauth}{path}"), format!("{origin}{openid}{path}"), format!("{origin}{path}{openid}")]
}

/// Where metadata says that the keys are.
///
/// # Errors
/// When it is no metadata, or that of another issuer (RFC 8414, section 3.3): whoever can put a document at one issuer's address must
/// not speak for another.
pub(super) fn keys_of(issuer: &str, metadata: &[u8]) -> Result<String, &'static str> {
    #[derive(Deserialize)]
    struct Metadata {
        issuer: String,
        jwks_uri: Option<String>,
    }
    let metadata: Metadata = serde_json::from_slice(metadata).map_err(|_| "its metadata is none")?;
    if metadata.issuer != issuer {
        return Err("its metadata names another issuer: write `issuer` exactly as it stands there");
    }
    metadata.jwks_uri.ok_or("its metadata names no `jwks_uri`: write `jwks_url`")
}

/// Scheme and host, and the path without the slash at its end.
fn parts(issuer: &str) -> (&str, &str) {
    let host = issuer.find("://").map_or(0, |at| at + 3);
    let path = issuer[host..].find('/').map_or(issuer.len(), |at| host + at);
    (&issuer[..path], issuer[path..].trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::{keys_of, places};

    #[test]
    fn metadata_is_looked_for_where_the_standards_put_it() {
        assert_eq!(
            places("https://as.example"),
            [
                "https://as.example/.well-known/oauth-authorization-server",
                "https://as.example/.well-known/openid-configuration",
            ]
        );
        assert_eq!(places("https://as.example/"), places("https://as.example"));
        assert_eq!(
            places("http://127.0.0.1:9000/realms/acme"),
            [
                "http://127.0.0.1:9000/.well-known/oauth-authorization-server/realms/acme",
                "http://127.0.0.1:9000/.well-known/openid-configuration/realms/acme",
                "http://127.0.0.1:9000/realms/acme/.well-known/openid-configuration",
            ]
        );
    }

    #[test]
    fn metadata_speaks_for_its_own_issuer_alone() {
        let of = |issuer: &str| {
            keys_of("https://as.example", format!(r#"{{"issuer":"{issuer}","jwks_uri":"u"}}"#).as_bytes())
        };
        assert_eq!(of("https://as.example").as_deref(), Ok("u"));
        for other in ["https://as.example/", "https://AS.example", "http://as.example", "https://as.example:443", ""] {
            assert!(of(other).is_err(), "{other}");
        }
        assert!(keys_of("i", br#"{"issuer":"i"}"#).is_err());
        assert!(keys_of("i", b"<html>").is_err());
    }
}
