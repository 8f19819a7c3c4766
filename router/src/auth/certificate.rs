//! Client certificates: which authorities vouch for callers, and who is meant by which name.
//!
//! The handshake refuses what is refused here, and each request asks again: a certificate may be revoked, or its authority taken back, while
//! its connection is open. Certificates that a proxy writes into headers are never looked at.

mod names;

use std::{
    borrow::Cow,
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ::aws_lc_rs::digest::{SHA256, digest};
use adapters::{AuthMethod, Caller, Principal};
use config::identity::mtls::{CertificateRule, Mtls};
use http::StatusCode;
use jiff::Timestamp;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime, pem::PemObject},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::Refused;
use crate::StartError;
use names::{Examined, Kind};

/// How long the verdict over a certificate holds within one config: lists and certificates expire by themselves.
pub(crate) const VERDICT_HOLDS: Duration = Duration::from_secs(30);

/// Tells callers apart by their certificates.
#[derive(Debug)]
pub(crate) struct Certificates {
    authorities: Arc<dyn ClientCertVerifier>,
    rules: Vec<CertificateRule>,
}

/// The certificate that was shown on a connection, its chain after it.
#[derive(Debug)]
pub struct Shown {
    chain: Vec<CertificateDer<'static>>,
    verdict: Mutex<Option<Verdict>>,
}

#[derive(Debug, Clone)]
struct Verdict {
    by: Arc<Certificates>,
    until: Instant,
    who: Option<Caller>,
}

/// A certificate that does not count.
const WRONG: Refused = Refused {
    reason: "bad_certificate",
    text: "The client certificate of this connection is not accepted, or not any more. Connect with one that is.",
    challenge: Cow::Borrowed("Bearer realm=\"weir\""),
    is_wrong: true,
    status: StatusCode::UNAUTHORIZED,
};

impl Certificates {
    /// Those that the files of the config speak of, as they are now.
    pub(crate) fn read(settings: &Mtls, base: &Path) -> Result<Arc<Self>, StartError> {
        let mut roots = RootCertStore::empty();
        let ca = base.join(&settings.ca);
        for certificate in read_pem::<CertificateDer<'static>>("ca", &ca, "certificate")? {
            roots.add(certificate).map_err(|error| unusable("ca", &ca, &error.to_string()))?;
        }
        let mut lists = Vec::new();
        for path in &settings.crl {
            let path = base.join(path);
            for list in read_pem::<CertificateRevocationListDer<'static>>("crl", &path, "revocation list")? {
                warn_of_end(&path, &list);
                lists.push(list);
            }
        }
        let authorities =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(aws_lc_rs::default_provider()))
                .with_crls(lists)
                // An old list says nothing of what was revoked since.
                .enforce_revocation_expiration();
        let authorities = if settings.required { authorities } else { authorities.allow_unauthenticated() };
        let authorities = authorities.build().map_err(|error| unusable("crl", &ca, &error.to_string()))?;
        Ok(Arc::new(Self { authorities, rules: settings.callers.clone() }))
    }

    /// Who is meant by a certificate whose chain was found good.
    fn meant(&self, end_entity: &CertificateDer<'_>) -> Result<Caller, &'static str> {
        let fingerprint = digest(&SHA256, end_entity);
        let credential_id: String = fingerprint.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        self.caller(&Examined::of(end_entity)?, credential_id.into())
    }

    /// Who is meant now by the names of the certificate that this caller showed.
    pub(super) fn still(&self, caller: &Caller) -> Option<Caller> {
        let examined = Examined::again(&caller.claims, caller.expires?);
        let now = self.caller(&examined, caller.credential_id.clone()?).ok()?;
        Some(Caller { address: caller.address, ..now })
    }

    fn caller(&self, examined: &Examined, credential_id: Arc<str>) -> Result<Caller, &'static str> {
        let (rule, name) = self.only_rule(examined)?;
        // A name that nobody but the authority chose is no subject of the operator's.
        let (issuer, subject) = match &rule.subject {
            Some(subject) => ("weir", subject.as_str()),
            None => ("certificate", name),
        };
        Ok(Caller {
            principal: Principal {
                issuer: issuer.into(),
                subject: subject.into(),
                tenant: rule.tenant.as_deref().map(Into::into),
            },
            roles: rule.roles.iter().map(|role| role.as_str().into()).collect(),
            claims: Arc::new(examined.claims()),
            credential_id: Some(credential_id),
            method: AuthMethod::Certificate,
            address: None,
            expires: Some(examined.not_after),
            token: None,
        })
    }

    /// The rule that fits, and the name it fits. Names that mean different callers mean none.
    fn only_rule<'a>(&'a self, examined: &'a Examined) -> Result<(&'a CertificateRule, &'a str), &'static str> {
        let mut found: Option<(&CertificateRule, &str)> = None;
        for (kind, name) in &examined.names {
            let Some(rule) = self.rules.iter().find(|rule| fits(rule, *kind, name)) else { continue };
            let is_same = |(before, _): (&CertificateRule, &str)| std::ptr::eq(before, rule) && rule.subject.is_some();
            if found.is_some_and(|before| !is_same(before)) {
                return Err("its names mean different callers");
            }
            found = Some((rule, name));
        }
        found.ok_or("no rule of identity.mtls.callers fits a name of it")
    }

    fn judge(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Caller, Error> {
        let (end_entity, intermediates) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        self.authorities.verify_client_cert(end_entity, intermediates, now)?;
        self.meant(end_entity).map_err(|why| {
            tracing::debug!(why, "a client certificate is refused");
            Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
        })
    }
}

impl Shown {
    /// What was shown in a handshake.
    pub(crate) fn new(chain: &[CertificateDer<'_>]) -> Self {
        Self { chain: chain.iter().map(|der| der.clone().into_owned()).collect(), verdict: Mutex::default() }
    }

    /// The caller's own, without what vouches for it.
    pub(crate) fn end_entity(&self) -> Option<&CertificateDer<'static>> {
        self.chain.first()
    }

    /// Who shows it, as far as `certificates`, those of the config in force, say now.
    pub(super) fn caller(
        &self,
        certificates: Option<&Arc<Certificates>>,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Caller, Refused> {
        let who = certificates.and_then(|certificates| self.verdict(certificates));
        let who = who.filter(|caller| caller.expires.is_none_or(|expires| now < expires));
        who.map(|caller| Caller { address, ..caller }).ok_or(WRONG)
    }

    fn verdict(&self, certificates: &Arc<Certificates>) -> Option<Caller> {
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) =
            verdict.as_ref().filter(|known| Arc::ptr_eq(&known.by, certificates) && Instant::now() < known.until)
        {
            return known.who.clone();
        }
        let who = certificates.judge(&self.chain, UnixTime::now()).ok();
        *verdict = Some(Verdict { by: certificates.clone(), until: Instant::now() + VERDICT_HOLDS, who: who.clone() });
        who
    }
}

fn fits(rule: &CertificateRule, kind: Kind, name: &str) -> bool {
    match kind {
        Kind::Uri => rule.uri.as_ref().is_some_and(|uri| uri.matches(name)),
        Kind::Email => rule.email.as_ref().is_some_and(|email| email.matches(name)),
        // Names of hosts have no case; theirs is lower here.
        Kind::Dns => {
            rule.dns.as_ref().is_some_and(|dns| config::Glob::new(dns.as_str().to_ascii_lowercase()).matches(name))
        }
    }
}

fn unusable(setting: &str, path: &Path, what: &str) -> StartError {
    StartError::Mtls(format!("{setting}: {} cannot be used ({what})", path.display()))
}

fn read_pem<T: PemObject>(setting: &str, path: &Path, what: &str) -> Result<Vec<T>, StartError> {
    let read = T::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| unusable(setting, path, &format!("{error}: it must be PEM")))?;
    if read.is_empty() {
        return Err(unusable(setting, path, &format!("it holds no {what}: it must be PEM")));
    }
    Ok(read)
}

fn warn_of_end(path: &Path, list: &CertificateRevocationListDer<'_>) {
    let ends = names::end_of_list(list);
    if ends.is_none_or(|ends| ends <= Timestamp::now()) {
        tracing::warn!(
            list = %path.display(),
            "this revocation list has expired: certificates of its authority are refused until there is a new one"
        );
    }
}

impl ClientCertVerifier for Certificates {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authorities.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.authorities.client_auth_mandatory()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).cloned().collect();
        self.judge(&chain, now).map(|_caller| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;
