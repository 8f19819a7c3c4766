use std::{collections::HashSet, time::Duration};

use jiff::{SignedDuration, Timestamp};
use rcgen::{KeyPair, PKCS_ED25519};
use serde_json::json;

use super::{Assertor, Signer, Whose};
use crate::{Caller, Principal};

fn assertor() -> Assertor {
    let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    Assertor {
        signer: Signer::new(&pair.serialize_pem().into(), None).expect("a key"),
        issuer: "weir".to_owned(),
        audience: "https://crm.example".to_owned(),
        header: None,
        lifetime: Duration::from_secs(60),
    }
}

fn caller(issuer: &str, subject: &str) -> Caller {
    let principal = Principal { issuer: issuer.into(), subject: subject.into(), tenant: Some("acme".into()) };
    Caller { principal, token: Some(std::sync::Arc::new("own-token".into())), ..Caller::local(&["agent".to_owned()]) }
}

#[test]
fn the_claims_name_the_caller_and_weir_and_end_soon() {
    let now = Timestamp::from_second(1_700_000_000).expect("a time");
    let mut claims = assertor().claims(Whose::Caller(&caller("https://a", "alice")), now).expect("claims");
    assert!(claims.remove("jti").is_some());
    let expected = json!({
        "iss": "weir", "aud": "https://crm.example", "iat": 1_700_000_000, "exp": 1_700_000_060, "sub": "alice",
        "sub_id": { "format": "iss_sub", "iss": "https://a", "sub": "alice" }, "tenant": "acme", "roles": ["agent"],
        "act": { "sub": "weir" },
    });
    assert_eq!(json!(claims), expected);
}

#[test]
fn each_has_an_id_of_its_own_and_none_has_the_callers_token() {
    let (assertor, caller) = (assertor(), caller("https://a", "alice"));
    let mut ids = HashSet::new();
    for _ in 0..100 {
        let claims = assertor.claims(Whose::Caller(&caller), Timestamp::now()).expect("claims");
        assert!(ids.insert(claims["jti"].to_string()));
        assert!(!json!(claims).to_string().contains("own-token"));
    }
}

#[test]
fn it_ends_no_later_than_what_the_caller_showed() {
    let now = Timestamp::from_second(1_700_000_000).expect("a time");
    let ending =
        |seconds| Caller { expires: Some(now + SignedDuration::from_secs(seconds)), ..caller("https://a", "b") };
    let soon = assertor().claims(Whose::Caller(&ending(5)), now).expect("claims");
    assert_eq!(soon["exp"], json!(1_700_000_005));
    assert!(assertor().claims(Whose::Caller(&ending(0)), now).expect_err("it ended").refused);
}

#[test]
fn weir_itself_has_no_roles() {
    let claims = assertor().claims(Whose::Weir, Timestamp::now()).expect("claims");
    assert_eq!((&claims["sub"], claims.get("roles"), claims.get("sub_id")), (&json!("weir"), None, None));
}
