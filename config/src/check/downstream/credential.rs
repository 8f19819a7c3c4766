//! What a downstream is shown to let Weir in.

use crate::{
    Config, Downstream, Period,
    downstream::{
        Credential, Kind, Partition, Sharing,
        credential::{Assertion, CatalogCredential, ClientCredentials, TokenClient},
    },
    web::WebUrl,
};

use super::Scope;

/// Less would have ended before a slow system looks at it; more would be worth stealing.
const ASSERTION_LIFETIME: (Period, Period) = (Period::s(10), Period::s(600));

/// Looks at the credential in the section at `scope`, and says whether there is one.
pub(super) fn credential(credential: Option<&Credential>, scope: &Scope<'_>) -> bool {
    let scope = scope.key("credential");
    match credential {
        Some(Credential::Basic(basic)) if basic.user.contains(':') || basic.user.is_empty() => {
            scope.key("basic").key("user").refuse("is no name of a user", "it has at least one character and no `:`");
        }
        Some(Credential::Header(shown)) => header(&shown.name, &scope.key("header").key("name")),
        Some(Credential::ClientCredentials(asked)) => client_credentials(asked, &scope.key("client_credentials")),
        Some(Credential::RefreshToken(asked)) => {
            let scope = scope.key("refresh_token");
            client(&asked.client, &scope.key("client"));
            scopes(&asked.scopes, &scope);
        }
        Some(Credential::TokenExchange(asked)) => {
            let scope = scope.key("token_exchange");
            client(&asked.client, &scope.key("client"));
            scopes(&asked.scopes, &scope);
            resource(asked.resource.as_deref(), &scope);
            if let Some(CatalogCredential::ClientCredentials(catalog)) = &asked.catalog {
                client_credentials(catalog, &scope.key("catalog").key("client_credentials"));
            }
        }
        Some(Credential::Assertion(signed)) => assertion(signed, &scope.key("assertion")),
        Some(Credential::Bearer(_) | Credential::Basic(_)) | None => {}
    }
    scope.given()
}

/// Looks whether what is shown for each caller can be had, and is kept from others.
pub(super) fn per_caller(config: &Config, downstream: &Downstream, scope: &Scope<'_>) {
    let Some(credential) = downstream.credential().filter(|credential| credential.is_per_caller()) else { return };
    let kind = credential.kind();
    if let Some(mcp) = &downstream.mcp
        && mcp.sharing == Sharing::Shared
        && scope.key("mcp").key("sharing").given()
    {
        scope.key("mcp").key("sharing").refuse(
            format!("is `shared`, but its credential is another one for each caller (`{kind}`)"),
            "remove it, or write `per_caller`: one caller's connection must not carry another one's calls",
        );
    }
    // What the config says of sharing itself is looked at with the cache.
    let is_told = downstream.mcp.as_ref().is_none_or(|mcp| mcp.sharing == Sharing::Shared);
    for (name, tool) in downstream.tools.iter().filter(|_| is_told) {
        if tool.cache.as_ref().is_some_and(|cache| cache.partition == Partition::Shared) {
            scope.key("tools").key(name).key("cache").key("partition").refuse(
                format!("is `shared`, but the downstream is shown who calls (`{kind}`)"),
                "write `partition: private`: what it answers one caller is not for another",
            );
        }
    }
    let Credential::TokenExchange(exchange) = credential else { return };
    let section = match downstream.kind() {
        Some(Kind::Mcp(mcp)) if mcp.websocket.is_some() => Some(scope.key("mcp").key("websocket")),
        Some(Kind::Mcp(_)) => Some(scope.key("mcp").key("http")),
        Some(Kind::Ticketing(_)) => Some(scope.key("ticketing")),
        // The tools of these are those of the config, and a look at them needs no credential.
        Some(Kind::Mainframe(_) | Kind::Postgres(_)) | None => None,
    };
    if let Some(section) = section.filter(|_| exchange.catalog.is_none()) {
        section.key("credential").key("token_exchange").refuse(
            "lacks `catalog`, and nobody calls when Weir asks for the tools",
            "write what they are asked for with: `catalog: { client_credentials: … }` or `catalog: { bearer: … }`",
        );
    }
    if config.identity.jwt.is_empty() {
        scope.warn(
            "exchanges the caller's access token, and no caller can come with one",
            "name the authorization server of your callers under `identity.jwt`",
        );
    }
}

/// A certificate, and an authority of its own, are for connections that are encrypted.
pub(super) fn certificates(url: &str, scope: &Scope<'_>) {
    let is_plain = WebUrl::parse(url).is_some_and(|url| matches!(url.scheme(), "http" | "ws"));
    for key in ["ca", "client_certificate"] {
        let scope = scope.key(key);
        if is_plain && scope.given() {
            scope.refuse("means nothing where nothing is encrypted", "use `https://` or `wss://`, or remove it");
        }
    }
}

fn client_credentials(asked: &ClientCredentials, scope: &Scope<'_>) {
    client(&asked.client, &scope.key("client"));
    scopes(&asked.scopes, scope);
    resource(asked.resource.as_deref(), scope);
}

fn client(client: &TokenClient, scope: &Scope<'_>) {
    let url = scope.key("token_url");
    match WebUrl::parse(&client.token_url) {
        Some(parsed) if parsed.has_credentials() => {
            url.hide();
            url.refuse("must not hold credentials", "give them as `client_id` and `client_secret`");
        }
        Some(parsed) if parsed.scheme() == "https" || (parsed.scheme() == "http" && parsed.is_loopback()) => {
            if parsed.has_fragment() {
                url.refuse("must not have a fragment", "remove `#` and what follows");
            }
        }
        Some(_) => url.refuse("must begin with `https://`", "tokens are secret on their way too"),
        None => {
            url.hide();
            url.refuse("must be a URL", "write it as the authorization server names it: `https://host/token`");
        }
    }
    if client.client_id.is_empty() {
        scope.key("client_id").refuse("is empty", "write the id that Weir has at the authorization server");
    }
    match (scope.key("client_secret").given(), scope.key("client_key").given()) {
        (true, true) => scope.refuse("has both `client_secret` and `client_key`", "keep one"),
        (false, false) => scope.refuse(
            "does not say how Weir shows who it is",
            "give `client_secret: { env: NAME }`, or a private key as `client_key`",
        ),
        _ => {}
    }
}

/// RFC 6749, section 3.3.
fn scopes(scopes: &[String], scope: &Scope<'_>) {
    let is_scope = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
    };
    for (scope, text) in scope.key("scopes").items(scopes) {
        if !is_scope(text) {
            scope.refuse(format!("is `{text}`, which is no scope"), "write each as an item of its own, without spaces");
        }
    }
}

/// RFC 8707, section 2.
fn resource(resource: Option<&str>, scope: &Scope<'_>) {
    let Some(resource) = resource else { return };
    let is_absolute = resource.parse::<http::Uri>().is_ok_and(|uri| uri.scheme().is_some());
    if !is_absolute || resource.contains('#') {
        scope.key("resource").refuse(
            format!("must be a URI, not `{resource}`"),
            "an absolute one without `#`, such as `https://crm.example`; what is no URI may be an `audience`",
        );
    }
}

fn assertion(signed: &Assertion, scope: &Scope<'_>) {
    for (key, empty) in [
        ("audience", signed.audience.is_empty()),
        ("issuer", signed.issuer.as_ref().is_some_and(String::is_empty)),
        ("key_id", signed.key_id.as_ref().is_some_and(String::is_empty)),
    ] {
        if empty {
            scope.key(key).refuse("is empty", "write what the downstream expects there");
        }
    }
    if let Some(name) = &signed.header {
        header(name, &scope.key("header"));
    }
    scope.key("lifetime").time_within(signed.lifetime, ASSERTION_LIFETIME.0, ASSERTION_LIFETIME.1);
}

fn header(name: &str, scope: &Scope<'_>) {
    if !is_header_for_credentials(name) {
        scope.refuse(format!("is `{name}`, which is no header for a credential"), "such as `X-Api-Key`");
    }
}

/// Whether it is a name at all, and none of those that frame a request.
fn is_header_for_credentials(name: &str) -> bool {
    const FRAMING: [&str; 8] =
        ["host", "connection", "content-length", "content-type", "transfer-encoding", "te", "upgrade", "expect"];
    http::HeaderName::from_bytes(name.as_bytes()).is_ok_and(|name| !FRAMING.contains(&name.as_str()))
}

#[cfg(test)]
mod tests;
