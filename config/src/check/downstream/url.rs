//! The URL of a downstream.

use crate::web::WebUrl;

use super::Scope;

/// Which URLs may stand in a place.
struct Form {
    secure: &'static str,
    plain: &'static str,
    /// What such a URL is called.
    named: &'static str,
    help: &'static str,
}

const WEB_SOCKET: Form = Form { secure: "wss", plain: "ws", named: "a WebSocket URL", help: "write `wss://host/path`" };
const HTTP: Form = Form { secure: "https", plain: "http", named: "an HTTP URL", help: "write `https://host/path`" };

pub(super) fn web_socket(text: &str, with_credential: bool, scope: &Scope<'_>) {
    url(text, &WEB_SOCKET, with_credential, scope);
}

pub(super) fn http(text: &str, with_credential: bool, scope: &Scope<'_>) {
    url(text, &HTTP, with_credential, scope);
}

/// The start of URLs that paths are appended to.
pub(super) fn base(text: &str, with_credential: bool, scope: &Scope<'_>) {
    http(text, with_credential, scope);
    if WebUrl::parse(text).is_some_and(|url| url.has_query()) {
        scope.refuse("must not have a query", "remove `?` and what follows: tools state their own");
    }
}

fn url(text: &str, form: &Form, with_credential: bool, scope: &Scope<'_>) {
    let Form { secure, plain, named, help } = form;
    let Some(url) = WebUrl::parse(text) else {
        // What cannot be taken apart may hold a password anywhere.
        if text.contains('@') {
            scope.hide();
            return scope.refuse(format!("must be {named}"), *help);
        }
        return scope.refuse(format!("must be {named}, not `{text}`"), *help);
    };
    if url.has_credentials() {
        scope.hide();
        scope.refuse("must not hold credentials", "give them as `credential: { bearer: { env: NAME } }`");
    } else if ![*secure, *plain].contains(&url.scheme()) {
        scope.refuse(format!("must be {named}, not `{text}`"), *help);
    } else if url.has_fragment() {
        scope.refuse(format!("must not have a fragment: `{text}`"), "remove `#` and what follows");
    } else if url.scheme() == *plain && !url.is_loopback() {
        if with_credential {
            scope.refuse("would send the credential unencrypted to another machine", format!("use `{secure}://`"));
        } else {
            scope.warn(
                "speaks unencrypted with another machine",
                format!("use `{secure}://` unless you trust the way there"),
            );
        }
    }
}
