use config::identity::Jwt;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Audience, Judged, is_access_token, judge, scopes};
use crate::auth::jwt::wrong::Wrong;

const RESOURCE: &str = "https://weir.example/mcp";
const NOW: i64 = 1_800_000_000;

fn settings(over: &Value) -> Jwt {
    let mut settings = json!({ "issuer": "https://as.example", "scopes": { "read": ["reader"], "write": ["writer"] } });
    settings.as_object_mut().expect("an object").extend(over.as_object().expect("an object").clone());
    serde_json::from_value(settings).expect("settings")
}

fn claims(over: &Value) -> Map<String, Value> {
    let mut claims =
        json!({ "iss": "https://as.example", "aud": RESOURCE, "sub": "ann", "exp": NOW + 300, "scope": "read" });
    claims.as_object_mut().expect("an object").extend(over.as_object().expect("an object").clone());
    claims.as_object().expect("an object").clone()
}

fn judged(with: &Value, over: &Value) -> Result<Judged, Wrong> {
    judge(&settings(with), RESOURCE, &claims(over), Timestamp::from_second(NOW).expect("a time"))
}

fn roles(with: &Value, over: &Value) -> Vec<String> {
    judged(with, over).expect("a right token").roles.iter().map(ToString::to_string).collect()
}

#[test]
fn the_leeway_counts_to_the_second_on_both_sides() {
    for leeway in [0_i64, 1, 60, 300] {
        let with = json!({ "leeway": format!("{leeway}s") });
        let wrong = |over: Value| judged(&with, &over).err();
        assert_eq!(wrong(json!({ "exp": NOW - leeway })), Some(Wrong::Expired));
        assert_eq!(wrong(json!({ "exp": NOW - leeway + 1 })), None);
        assert_eq!(wrong(json!({ "exp": (NOW - leeway) as f64 + 0.9 })), Some(Wrong::Expired));
        for begin in ["nbf", "iat"] {
            assert_eq!(wrong(json!({ begin: NOW + leeway })), None);
            assert_eq!(wrong(json!({ begin: NOW + leeway + 1 })), Some(Wrong::NotYet), "{begin}");
            assert_eq!(wrong(json!({ begin: "soon" })), Some(Wrong::Claims), "{begin}");
        }
        let ends = judged(&with, &json!({ "exp": NOW + 9 })).expect("a right token").ends;
        assert_eq!(ends.as_second(), NOW + 9 + leeway);
    }
}

#[test]
fn an_audience_is_the_resource_a_view_of_it_or_what_the_config_says() {
    let audience = |with: Value, said: Value| judged(&with, &json!({ "aud": said })).map(|judged| judged.audience).ok();
    let views = |paths: &[&str]| Some(Audience::Paths(paths.iter().map(|&path| path.into()).collect()));
    let usual = || json!({});
    assert_eq!(audience(usual(), json!(RESOURCE)), Some(Audience::Everywhere));
    assert_eq!(audience(usual(), json!(["x", RESOURCE])), Some(Audience::Everywhere));
    assert_eq!(audience(usual(), json!(format!("{RESOURCE}/a"))), views(&["/mcp/a"]));
    assert_eq!(
        audience(usual(), json!([format!("{RESOURCE}/a"), "x", format!("{RESOURCE}/b")])),
        views(&["/mcp/a", "/mcp/b"])
    );
    assert_eq!(audience(usual(), json!("https://weir.example.evil/mcp/a")), None);
    assert_eq!(audience(usual(), json!("https://weir.example")), None);
    let stated = || json!({ "audience": ["api://weir"] });
    assert_eq!(audience(stated(), json!("api://weir")), Some(Audience::Everywhere));
    assert_eq!(audience(stated(), json!(RESOURCE)), None);
    assert_eq!(audience(stated(), json!(format!("{RESOURCE}/a"))), None);
}

#[test]
fn roles_come_from_what_the_config_names_and_from_nothing_else() {
    let groups = json!({ "roles_claim": "realm.roles", "roles": { "staff": ["admin", "reader"], "sub": ["admin"] } });
    let of = |over: Value| roles(&groups, &over);
    assert_eq!(of(json!({})), ["reader"]);
    assert_eq!(of(json!({ "scope": "" })), [""; 0]);
    assert_eq!(of(json!({ "scope": "READ reader admin staff" })), [""; 0]);
    assert_eq!(of(json!({ "scope": "  write   read  read" })), ["writer", "reader"]);
    assert_eq!(of(json!({ "realm": { "roles": ["staff", "other"] } })), ["admin", "reader"]);
    assert_eq!(of(json!({ "realm": { "roles": ["staff", null] } })), ["reader"]);
    assert_eq!(of(json!({ "realm": { "roles": { "staff": true } } })), ["reader"]);
    assert_eq!(of(json!({ "realm": [{ "roles": ["staff"] }] })), ["reader"]);
    assert_eq!(of(json!({ "realm.roles": "staff" })), ["admin", "reader"], "a claim of this very name");
    let url = json!({ "roles_claim": "https://acme.example/roles", "roles": { "staff": ["admin"] }, "scopes": {} });
    assert_eq!(roles(&url, &json!({ "https://acme.example/roles": ["staff"] })), ["admin"]);
    // `scope` goes before `scp`; they are not put together.
    assert_eq!(scopes(&claims(&json!({ "scp": ["write"] }))), ["read"]);
}

#[test]
fn a_token_of_another_kind_is_none() {
    for (over, right) in [
        (json!({}), true),
        (json!({ "nonce": "n", "typ": "Bearer" }), true),
        (json!({ "nonce": "n", "token_use": "access" }), true),
        (json!({ "nonce": "n" }), false),
        (json!({ "at_hash": "h" }), false),
        (json!({ "events": {} }), false),
        (json!({ "typ": "ID" }), false),
        (json!({ "typ": "Refresh" }), false),
        (json!({ "token_use": "id" }), false),
    ] {
        assert_eq!(is_access_token(&claims(&over)).is_ok(), right, "{over}");
    }
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof!["[a-z ./:]{0,20}", Just(RESOURCE.to_owned()), Just("staff".to_owned())].prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,6}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_a_token_says_it_gives_only_roles_of_the_config_and_ends(
        said in prop::collection::btree_map(
            prop_oneof!["aud", "exp", "nbf", "iat", "sub", "scope", "scp", "cnf", "org", "groups"], anything(), 0..8),
    ) {
        let with = json!({ "roles_claim": "groups", "tenant_claim": "org.name", "roles": { "staff": ["admin"] } });
        let said: Value = said.into_iter().collect();
        if let Ok(judged) = judged(&with, &said) {
            prop_assert!(judged.roles.iter().all(|role| ["admin", "reader", "writer"].contains(&&**role)));
            prop_assert!(judged.ends.as_second() > NOW);
            prop_assert!(judged.tenant.is_some() && !judged.subject.is_empty());
        }
    }
}
