//! Headers that mirror the body must say what the body says (MCP 2026-07-28, basic/transports/streamable-http, "Server Validation").

use std::borrow::Cow;

use adapters::{
    json::{self, Object},
    mirror::Param,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderMap;

use super::answer::RpcError;

/// Compares the version header with the version in `_meta`. It has no base64 form, and neither has the method.
pub(super) fn check_version(headers: &HeaderMap, in_meta: &str) -> Result<(), RpcError> {
    match plain(headers, "mcp-protocol-version")? {
        Some(header) if header == in_meta => Ok(()),
        Some(_) => Err(RpcError::header_mismatch("MCP-Protocol-Version differs from the version in _meta")),
        None => Err(RpcError::header_mismatch("MCP-Protocol-Version is missing")),
    }
}

/// Compares `Mcp-Method`, and `Mcp-Name` where the method has a name, with the body.
pub(super) fn check_names(headers: &HeaderMap, method: &str, name: Option<&str>) -> Result<(), RpcError> {
    match plain(headers, "mcp-method")? {
        Some(header) if header == method => {}
        Some(_) => return Err(RpcError::header_mismatch("Mcp-Method differs from the method of the body")),
        None => return Err(RpcError::header_mismatch("Mcp-Method is missing")),
    }
    let Some(name) = name else { return Ok(()) };
    match value(headers, "mcp-name")? {
        Some(header) if header == name => Ok(()),
        Some(_) => Err(RpcError::header_mismatch("Mcp-Name differs from the name in params")),
        None => Err(RpcError::header_mismatch("Mcp-Name is missing")),
    }
}

/// Compares the headers that mirror arguments with the arguments themselves.
pub(super) fn check_mirrored(headers: &HeaderMap, mirrored: &[Param], arguments: Option<&str>) -> Result<(), RpcError> {
    for Param { header, path } in mirrored {
        let argument = path.iter().try_fold(arguments.unwrap_or("{}"), |value, key| Object::parse(value)?.get(key));
        let argument = argument.filter(|&raw| raw != "null");
        let agrees = match (value(headers, header.as_str())?, argument) {
            (None, None) => true,
            (Some(header), Some(raw)) => match json::unquote(raw) {
                Some(text) => header == text,
                None => header == raw || is_same_number(&header, raw),
            },
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !agrees {
            let path = path.join(".");
            return Err(RpcError::header_mismatch(&format!("{header} differs from the argument {path:?}")));
        }
    }
    Ok(())
}

/// Numbers are compared by value where a double holds both exactly: clients write 5.0 as 5.
fn is_same_number(a: &str, b: &str) -> bool {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.abs() < EXACT_MAX);
    // What parses as a double is not always JSON: `inf` and `+5` are not.
    let is_json = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit() || b"-.eE+".contains(&byte)) && !text.starts_with('+')
    };
    is_json(a) && is_json(b) && number(a).is_some_and(|a| Some(a) == number(b))
}

/// The one value of a header, its base64 form decoded.
fn value<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<Cow<'a, str>>, RpcError> {
    let Some(text) = plain(headers, name)? else { return Ok(None) };
    let Some(coded) = text.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else {
        return Ok(Some(Cow::Borrowed(text)));
    };
    let decoded = STANDARD.decode(coded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.map(|text| Some(Cow::Owned(text))).ok_or_else(|| unreadable(name))
}

/// The one value of a header as it stands. A header that comes twice says two things.
fn plain<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, RpcError> {
    let mut values = headers.get_all(name).iter();
    let (Some(first), another) = (values.next(), values.next()) else { return Ok(None) };
    if another.is_some() {
        return Err(unreadable(name));
    }
    Ok(Some(first.to_str().map_err(|_| unreadable(name))?.trim_matches([' ', '\t'])))
}

fn unreadable(name: &str) -> RpcError {
    RpcError::header_mismatch(&format!("{name} cannot be read"))
}

#[cfg(test)]
mod tests {
    use adapters::mirror;
    use http::{HeaderMap, HeaderName, HeaderValue};
    use serde_json::json;

    use super::{check_mirrored, check_names};

    #[test]
    fn headers_must_say_what_the_body_says() {
        for (headers, fits) in [
            (&[("mcp-method", "tools/call"), ("mcp-name", "crm__get")][..], true),
            (&[("mcp-method", "tools/call"), ("mcp-name", " crm__get ")], true),
            (&[("mcp-method", "tools/call"), ("mcp-name", "=?base64?Y3JtX19nZXQ=?=")], true),
            (&[("mcp-method", "tools/call"), ("mcp-name", "=?base64?Y3JtX19nZXQ?=")], false),
            (&[("mcp-method", "tools/call"), ("mcp-name", "=?base64?Y3JtX1!!nZXQ=?=")], false),
            (&[("mcp-method", "tools/call"), ("mcp-name", "=?base64?/w==?=")], false),
            (&[("mcp-method", "tools/call"), ("mcp-name", "Y3JtX19nZXQ=")], false),
            (&[("mcp-method", "tools/call"), ("mcp-name", "CRM__get")], false),
            (&[("mcp-method", "tools/call"), ("mcp-name", "crm__get"), ("mcp-name", "crm__get")], false),
            (&[("mcp-method", "tools/call")], false),
            (&[("mcp-method", "TOOLS/CALL"), ("mcp-name", "crm__get")], false),
            (&[("mcp-method", "=?base64?dG9vbHMvY2FsbA==?="), ("mcp-name", "crm__get")], false),
            (&[("mcp-name", "crm__get")], false),
            (&[], false),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            assert_eq!(check_names(&map, "tools/call", Some("crm__get")).is_ok(), fits, "{headers:?}");
        }
    }

    #[test]
    fn headers_that_mirror_arguments_must_say_what_the_arguments_say() {
        let schema = json!({ "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" },
            "n": { "type": "integer", "x-mcp-header": "N" },
        } });
        let mirrored = mirror::params_of(&schema).expect("it keeps to the rules");
        for (headers, arguments, fits) in [
            (&[("mcp-param-region", "Hello"), ("mcp-param-n", "5")][..], r#"{"region":"Hello","n":5}"#, true),
            (&[("mcp-param-region", "=?base64?SGVsbG8=?=")], r#"{"region":"Hello"}"#, true),
            (&[("mcp-param-region", "=?base64?SGVsbG8=")], r#"{"region":"=?base64?SGVsbG8="}"#, true),
            (&[], r#"{"region":null}"#, true),
            (&[], "{}", true),
            (&[], r#"{"region":"Hello"}"#, false),
            (&[("mcp-param-region", "hello")], r#"{"region":"Hello"}"#, false),
            (&[("mcp-param-region", "=?base64?SGVsbG8?=")], r#"{"region":"Hello"}"#, false),
            (&[("mcp-param-n", "5.0")], r#"{"n":5}"#, true),
            (&[("mcp-param-n", "5")], r#"{"n":5.0}"#, true),
            (&[("mcp-param-n", "6")], r#"{"n":5}"#, false),
            (&[("mcp-param-n", "9007199254740993")], r#"{"n":9007199254740992}"#, false),
            (&[("mcp-param-n", "5")], r#"{"n":"5.0"}"#, false),
            (&[("mcp-param-region", "Hello")], "{}", false),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            assert_eq!(check_mirrored(&map, &mirrored, Some(arguments)).is_ok(), fits, "{headers:?} {arguments}");
        }
    }
}
