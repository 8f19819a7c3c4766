//! What clients learn of the authorization servers: the metadata of this resource (RFC 9728), and the challenges that lead to it.

use std::borrow::Cow;

use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::jwt::Tokens;
use crate::{
    front::{json_answer, problem},
    server::Body,
};

/// Before the path of a resource (RFC 9728, section 3.1).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
/// How long clients may keep it.
const FRESH: HeaderValue = HeaderValue::from_static("public, max-age=300");
/// The longest name of a view that is answered for.
const VIEW_BYTES_MAX: usize = 64;

/// Which resource's metadata is at a path: `/mcp`, or a view of it. The bare form is `/mcp`, for clients that know no other.
///
/// Whether there is such a view does not count: whoever has no credential is not told.
pub(crate) fn resource_at(path: &str) -> Option<&str> {
    match path.strip_prefix(WELL_KNOWN)? {
        "" | "/mcp" => Some("/mcp"),
        resource => {
            let view = resource.strip_prefix("/mcp/")?;
            let is_name = view.len() <= VIEW_BYTES_MAX
                && view.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
            (is_name && !view.is_empty()).then_some(resource)
        }
    }
}

/// The metadata of the resource at `path`.
pub(crate) fn respond(tokens: &Tokens, path: &str) -> Response<Body> {
    if !tokens.are_accepted() {
        return problem(StatusCode::NOT_FOUND, "No authorization server is configured here: API keys are used.");
    }
    let mut response = json_answer(&document(tokens, path));
    response.headers_mut().insert(header::CACHE_CONTROL, FRESH);
    response
}

fn document(tokens: &Tokens, path: &str) -> Value {
    let mut document = json!({
        "resource": resource(tokens, path),
        "authorization_servers": tokens.issuer_names().collect::<Vec<_>>(),
        "bearer_methods_supported": ["header"],
        "resource_name": "Weir",
    });
    let scopes = tokens.first_scopes();
    if !scopes.is_empty() {
        document["scopes_supported"] = json!(scopes);
    }
    document
}

/// The canonical URI of what is at `path`.
fn resource<'t>(tokens: &'t Tokens, path: &str) -> Cow<'t, str> {
    match path.strip_prefix("/mcp") {
        Some(view) if !view.is_empty() => format!("{}{view}", tokens.resource()).into(),
        _ => tokens.resource().into(),
    }
}

/// What a challenge of the scheme `Bearer` says of the way to a token, for a request to `path`.
pub(super) fn way(tokens: &Tokens, path: &str, scopes: &[&str]) -> String {
    let origin = tokens.resource().strip_suffix("/mcp").unwrap_or_default();
    // Nothing of a path that is no resource gets into a header.
    let named = [WELL_KNOWN, path].concat();
    let path = resource_at(&named).filter(|_| path.starts_with("/mcp")).unwrap_or("/mcp");
    let mut way = format!(", resource_metadata=\"{origin}{WELL_KNOWN}{path}\"");
    if !scopes.is_empty() {
        way.push_str(&format!(", scope=\"{}\"", scopes.join(" ")));
    }
    way
}

#[cfg(test)]
mod tests {
    use super::resource_at;

    #[test]
    fn metadata_has_a_place_for_each_resource_and_no_other() {
        let root = "/.well-known/oauth-protected-resource";
        for (path, resource) in [
            ("", Some("/mcp")),
            ("/mcp", Some("/mcp")),
            ("/mcp/support", Some("/mcp/support")),
            ("/mcp/", None),
            ("/mcp/a/b", None),
            ("/mcp/a\"b", None),
            ("/mcp/..", None),
            ("/mcpx", None),
            ("/v1/tools", None),
            ("x", None),
        ] {
            assert_eq!(resource_at(&format!("{root}{path}")), resource, "{path}");
        }
        assert_eq!(resource_at("/mcp"), None);
    }
}
