//! What a certificate says: for whom it is, until when, and whether callers may show it.

use jiff::Timestamp;
use serde_json::{Map, Value};
use x509_cert::{
    Certificate,
    crl::CertificateList,
    der::{Decode as _, oid::db::rfc5280::ID_KP_CLIENT_AUTH},
    ext::pkix::{ExtendedKeyUsage, SubjectAltName, name::GeneralName},
    time::Time,
};

/// What is read of a certificate.
#[derive(Debug)]
pub(super) struct Examined {
    /// The alternative names that rules speak of. Hosts are in lower case, and so is what is behind the @ of an address.
    pub(super) names: Vec<(Kind, String)>,
    pub(super) not_after: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Uri,
    Dns,
    Email,
}

const CLAIMS: [(&str, Kind); 3] = [("uri", Kind::Uri), ("dns", Kind::Dns), ("email", Kind::Email)];

impl Examined {
    /// Reads a certificate whose chain was found good.
    pub(super) fn of(der: &[u8]) -> Result<Self, &'static str> {
        let certificate = Certificate::from_der(der).map_err(|_| "it cannot be read")?.tbs_certificate;
        // The TLS library takes one that names no purpose for one that is good for all.
        let purposes = certificate.get::<ExtendedKeyUsage>().map_err(|_| "its purposes cannot be read")?;
        if !purposes.is_some_and(|(_, ExtendedKeyUsage(purposes))| purposes.contains(&ID_KP_CLIENT_AUTH)) {
            return Err("it is not for clients: the extended key usage clientAuth is missing");
        }
        let names = certificate.get::<SubjectAltName>().map_err(|_| "its alternative names cannot be read")?;
        let names = names.map_or_else(Vec::new, |(_, SubjectAltName(names))| names);
        let names = names.iter().filter_map(name).collect::<Option<Vec<_>>>();
        Ok(Self {
            names: names.ok_or("one of its names holds characters that no name has")?,
            not_after: timestamp(certificate.validity.not_after).ok_or("its end is no time")?,
        })
    }

    /// The names as claims of the caller.
    pub(super) fn claims(&self) -> Map<String, Value> {
        let of_kind = |kind| {
            let names = self.names.iter().filter(|(of, _)| *of == kind);
            names.map(|(_, name)| name.as_str()).collect::<Vec<_>>()
        };
        CLAIMS.into_iter().map(|(claim, kind)| (claim.to_owned(), Value::from(of_kind(kind)))).collect()
    }

    /// What was read of a certificate, by the claims that it became.
    pub(super) fn again(claims: &Map<String, Value>, not_after: Timestamp) -> Self {
        let of_claim = |(claim, kind): (&str, Kind)| {
            let names = claims.get(claim).and_then(Value::as_array).into_iter().flatten();
            names.filter_map(Value::as_str).map(|name| (kind, name.to_owned())).collect::<Vec<_>>()
        };
        Self { names: CLAIMS.into_iter().flat_map(of_claim).collect(), not_after }
    }
}

/// When a revocation list ends; nothing where it does not say, or cannot be read.
pub(super) fn end_of_list(der: &[u8]) -> Option<Timestamp> {
    timestamp(CertificateList::from_der(der).ok()?.tbs_cert_list.next_update?)
}

/// A name that rules may speak of; `Some(None)` for one that is none.
fn name(name: &GeneralName) -> Option<Option<(Kind, String)>> {
    let (kind, name) = match name {
        GeneralName::UniformResourceIdentifier(uri) => (Kind::Uri, uri.as_str().to_owned()),
        GeneralName::DnsName(dns) => (Kind::Dns, dns.as_str().to_ascii_lowercase()),
        GeneralName::Rfc822Name(email) => (Kind::Email, email_name(email.as_str())),
        _ => return None,
    };
    // Nobody is called `*.example`.
    if kind == Kind::Dns && name.contains('*') {
        return None;
    }
    // A name with a zero or a line break in it is read differently by whoever reads it next.
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    Some(is_name.then_some((kind, name)))
}

fn email_name(email: &str) -> String {
    match email.rsplit_once('@') {
        Some((local, host)) => format!("{local}@{}", host.to_ascii_lowercase()),
        None => email.to_owned(),
    }
}

fn timestamp(time: Time) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(time.to_unix_duration().as_secs()).ok()?).ok()
}
