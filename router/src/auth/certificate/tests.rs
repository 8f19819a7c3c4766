use config::identity::mtls::CertificateRule;
use jiff::Timestamp;
use proptest::prelude::*;
use rustls::server::WebPkiClientVerifier;

use super::{
    Certificates,
    names::{Examined, Kind},
};

fn certificates(rules: &str) -> Certificates {
    let rules: Vec<CertificateRule> = serde_saphyr::from_str(rules).expect("rules");
    Certificates { authorities: WebPkiClientVerifier::no_client_auth(), rules }
}

fn examined(names: &[(Kind, &str)]) -> Examined {
    let names = names.iter().map(|(kind, name)| (*kind, (*name).to_owned())).collect();
    Examined { names, not_after: Timestamp::UNIX_EPOCH }
}

/// Issuer and subject of whom these names mean, or nothing.
fn meant(rules: &str, names: &[(Kind, &str)]) -> Option<String> {
    let caller = certificates(rules).caller(&examined(names), "print".into()).ok()?;
    Some(format!("{} {}", caller.principal.issuer, caller.principal.subject))
}

#[test]
fn names_mean_one_caller_or_none() {
    const RULES: &str = "
- { uri: 'spiffe://a/admin', subject: ada }
- { uri: 'spiffe://a/*' }
- { dns: '*.A.example', subject: hosts }
- { email: '*@a.example' }
";
    let (admin, one, two) = ((Kind::Uri, "spiffe://a/admin"), (Kind::Uri, "spiffe://a/1"), (Kind::Uri, "spiffe://a/2"));
    let (host, other_host, nobody) = ((Kind::Dns, "x.a.example"), (Kind::Dns, "y.a.example"), (Kind::Dns, "a.example"));
    for (names, expected) in [
        (vec![], None),
        (vec![nobody], None),
        (vec![admin], Some("weir ada")),
        (vec![one], Some("certificate spiffe://a/1")),
        (vec![nobody, one, nobody], Some("certificate spiffe://a/1")),
        (vec![one, two], None),
        (vec![one, one], None),
        (vec![admin, one], None),
        (vec![host, other_host], Some("weir hosts")),
        (vec![host, one], None),
        (vec![(Kind::Email, "spiffe://a/1")], None),
        (vec![(Kind::Dns, "spiffe://a/1")], None),
        (vec![(Kind::Email, "x@a.example")], Some("certificate x@a.example")),
        (vec![(Kind::Uri, "spiffe://A/1")], None),
    ] {
        assert_eq!(meant(RULES, &names).as_deref(), expected, "{names:?}");
    }
}

#[test]
fn a_caller_who_was_let_in_is_looked_at_again_by_the_names_that_were_read() {
    let names = [(Kind::Uri, "spiffe://a/1"), (Kind::Dns, "x.a.example"), (Kind::Email, "x@a.example")];
    let before = certificates("[{ uri: 'spiffe://a/*', roles: [one] }]");
    let caller = before.caller(&examined(&names), "print".into()).expect("it is somebody");
    let after = certificates("[{ uri: 'spiffe://a/*', roles: [two] }]").still(&caller).expect("it is still somebody");
    assert_eq!((&*after.roles[0], after.principal == caller.principal), ("two", true));
    assert_eq!(after.claims, caller.claims);
    assert!(certificates("[{ uri: 'spiffe://b/*' }]").still(&caller).is_none());
    // A name that nobody looked at before means another caller now: then it is not clear who.
    assert!(certificates("[{ uri: 'spiffe://a/*' }, { dns: '*', subject: s }]").still(&caller).is_none());
}

proptest! {
    /// Whatever bytes a stranger calls a certificate.
    #[test]
    fn nothing_but_a_certificate_is_read_as_one(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Examined::of(&bytes).is_err());
        prop_assert!(super::names::end_of_list(&bytes).is_none());
    }
}
