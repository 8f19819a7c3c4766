//! The text that is signed (RFC 9421, section 2.5).

use std::{borrow::Cow, fmt::Write as _};

use http::{HeaderMap, HeaderName, Uri, request::Parts};

use super::parameters::Parameters;

/// Scheme and host of the address that callers know Weir by.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) scheme: String,
    /// In lower case, and without the port that the scheme has anyway.
    pub(super) authority: String,
}

impl Origin {
    pub(super) fn parse(public_url: &str) -> Option<Self> {
        let url: Uri = public_url.parse().ok()?;
        let (scheme, authority) =
            (url.scheme_str()?.to_ascii_lowercase(), url.authority()?.as_str().to_ascii_lowercase());
        let default = if scheme == "http" { ":80" } else { ":443" };
        let authority = authority.strip_suffix(default).unwrap_or(&authority).to_owned();
        Some(Self { scheme, authority })
    }
}

/// What must have been signed for the signature to be this request's. The host is Weir's own, whatever the request says.
pub(super) fn of(request: &Parts, origin: &Origin, parameters: &Parameters) -> Result<String, &'static str> {
    let mut base = String::with_capacity(512);
    for name in &parameters.components {
        let value = match name.strip_prefix('@') {
            Some(derived) => derived_value(derived, request, origin)?,
            None => header_value(name, &request.headers)?,
        };
        writeln!(base, "\"{name}\": {value}").expect("a string takes what is written to it");
    }
    write!(base, "\"@signature-params\": {}", parameters.written).expect("a string takes what is written to it");
    Ok(base)
}

fn derived_value<'a>(name: &str, request: &'a Parts, origin: &'a Origin) -> Result<Cow<'a, str>, &'static str> {
    let target = || request.uri.path_and_query().map_or("/", |target| target.as_str());
    Ok(match name {
        "method" => request.method.as_str().into(),
        "target-uri" => format!("{}://{}{}", origin.scheme, origin.authority, target()).into(),
        "authority" => origin.authority.as_str().into(),
        "scheme" => origin.scheme.as_str().into(),
        "request-target" => target().into(),
        "path" => request.uri.path().into(),
        "query" => format!("?{}", request.uri.query().unwrap_or_default()).into(),
        _ => return Err("The signature covers a derived component that is not taken here."),
    })
}

fn header_value<'a>(name: &str, headers: &'a HeaderMap) -> Result<Cow<'a, str>, &'static str> {
    const MISSING: &str = "The signature covers a header that the request does not have, or not as visible ASCII.";
    // Names are covered in lower case (section 2.1); what is signed cannot cover itself.
    let is_name =
        name.bytes().all(|byte| !byte.is_ascii_uppercase()) && !matches!(name, "signature" | "signature-input");
    let name = HeaderName::try_from(name).ok().filter(|_| is_name);
    let name = name.ok_or("The signature covers something that is no header in lower case.")?;
    let mut values = headers.get_all(name).iter().map(|value| value.to_str().map(str::trim).map_err(|_| MISSING));
    let first = values.next().ok_or(MISSING)??;
    let mut all = Cow::Borrowed(first);
    for value in values {
        let all = all.to_mut();
        all.push_str(", ");
        all.push_str(value?);
    }
    Ok(all)
}
