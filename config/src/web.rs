//! URLs, as far as a config needs to look into them.

use std::net::IpAddr;

use http::Uri;

/// A URL with a host.
#[derive(Debug)]
pub(crate) struct WebUrl {
    uri: Uri,
    has_fragment: bool,
}

impl WebUrl {
    /// The URL, or nothing where `text` is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        uri.scheme()?;
        let host = uri.host()?;
        // `http` also takes `[` and other odd hosts.
        let is_host = host.starts_with('[') && host.ends_with(']')
            || host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        let usable = is_host && !host.is_empty() && has_usable_port(&uri);
        usable.then_some(Self { uri, has_fragment: text.contains('#') })
    }

    pub(crate) fn scheme(&self) -> &str {
        self.uri.scheme_str().unwrap_or_default()
    }

    /// Whether it has the form `user:password@host`.
    pub(crate) fn has_credentials(&self) -> bool {
        self.uri.authority().is_some_and(|authority| authority.as_str().contains('@'))
    }

    pub(crate) fn has_fragment(&self) -> bool {
        self.has_fragment
    }

    pub(crate) fn has_query(&self) -> bool {
        self.uri.query().is_some()
    }

    /// Whether it is one of the schemes with a host, and nothing behind it.
    pub(crate) fn is_origin(&self, schemes: &[&str]) -> bool {
        let nothing_behind = matches!(self.uri.path(), "" | "/") && self.uri.query().is_none() && !self.has_fragment;
        schemes.contains(&self.scheme()) && nothing_behind && !self.has_credentials()
    }

    /// Whether the host is this machine, by its address or as `localhost`.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }
}

/// `http` takes anything for a port, and says of what is none that there is none.
fn has_usable_port(uri: &Uri) -> bool {
    let (Some(authority), Some(host)) = (uri.authority(), uri.host()) else { return false };
    let behind_host = authority.as_str().rsplit('@').next().and_then(|place| place.strip_prefix(host));
    behind_host.is_some_and(|rest| match rest.strip_prefix(':') {
        None => rest.is_empty(),
        Some(port) => port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0),
    })
}

#[cfg(test)]
mod tests {
    use super::WebUrl;

    #[test]
    fn an_origin_is_a_scheme_and_a_host_alone() {
        for (text, expected) in [
            ("https://weir.example", true),
            ("https://weir.example:8443", true),
            ("http://127.0.0.1:8080/", true),
            ("https://[::1]:8080", true),
            ("https://weir.example/mcp", false),
            ("https://weir.example?x=1", false),
            ("https://weir.example#x", false),
            ("https://user@weir.example", false),
            ("ftp://weir.example", false),
            ("weir.example", false),
            ("https://", false),
            ("https://we ir", false),
            ("https://*", false),
            ("https://weir.example:", false),
            ("https://weir.example:0", false),
            ("https://weir.example:65536", false),
            ("https://weir.example:https", false),
            ("", false),
        ] {
            let is_origin = WebUrl::parse(text).is_some_and(|url| url.is_origin(&["http", "https"]));
            assert_eq!(is_origin, expected, "{text}");
        }
    }

    #[test]
    fn loopback_is_recognised_in_every_spelling() {
        for (text, expected) in [
            ("ws://localhost:1/mcp", true),
            ("ws://LOCALHOST", true),
            ("ws://127.8.9.1", true),
            ("ws://[::1]:80/x", true),
            ("ws://[::ffff:127.0.0.1]", true),
            ("ws://localhost.example", false),
            ("ws://10.0.0.1", false),
        ] {
            assert_eq!(WebUrl::parse(text).expect(text).is_loopback(), expected, "{text}");
        }
    }
}
