//! The key file: read, and checked against the policy.

use std::{cell::RefCell, collections::HashMap};

use jiff::Timestamp;

use crate::{
    KeyRecord, Policy, Problem, Problems,
    check::{Scope, known_role},
    document::Value,
    identity::KeyFile,
    load::{Typed, typed},
};

const ID_LENGTH_MAX: usize = 64;
/// The hash in the example of the docs, which is the one of an empty text.
const SAMPLE_HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The keys in `text`, which may have the roles of `policy`, and what deserves a look.
pub(crate) fn check(text: &str, named: &str, policy: &Policy) -> Result<(Vec<KeyRecord>, Vec<Problem>), Problems> {
    let Typed { value, document, findings } = typed::<KeyFile>(text, named)?;
    let findings = RefCell::new(findings);
    let scope = Scope::root(&document, &findings);
    let keys = value.unwrap_or_default().keys;
    if keys.is_empty() && (!scope.key("keys").given() || matches!(document.root.value, Value::Nothing)) {
        scope.warn("there are no keys in it: nobody can prove who they are", "`weir keys create` makes one");
    }
    let mut ids = HashMap::new();
    let mut hashes = HashMap::new();
    for (scope, key) in scope.key("keys").items(&keys) {
        record(key, policy, &scope);
        if let Some(first) = ids.insert(key.id.as_str(), scope.clone()) {
            scope
                .key("id")
                .refuse(format!("is `{}`, like that of `{first}`", key.id), "give every key an id of its own");
        }
        if let Some(first) = hashes.insert(key.hash.to_ascii_lowercase(), scope.clone()) {
            scope.key("hash").refuse(format!("is the one of `{first}`"), "two entries for one key: remove one of them");
        }
    }
    let (problems, warnings) = findings.into_inner().finish(&document);
    match Problems::new(problems) {
        Some(problems) => Err(problems),
        None => Ok((keys, warnings)),
    }
}

fn record(key: &KeyRecord, policy: &Policy, scope: &Scope<'_>) {
    // In a key, `_` ends the id.
    let is_id = |id: &str| {
        (1..=ID_LENGTH_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if !is_id(&key.id) {
        scope
            .key("id")
            .refuse("is no id", format!("use at most {ID_LENGTH_MAX} of the characters a-z, A-Z, 0-9 and `-`"));
    }
    if key.hash_bytes().is_none() {
        // Most likely the key itself.
        scope.key("hash").hide();
        scope.key("hash").refuse(
            "is no SHA-256 of a key, which has 64 hexadecimal digits",
            "let `weir keys create` write the entry",
        );
    } else if key.hash.eq_ignore_ascii_case(SAMPLE_HASH) {
        scope
            .key("hash")
            .refuse("is the one of the example in the documentation", "let `weir keys create` make a key of your own");
    }
    for (name, text) in [("subject", Some(&key.subject)), ("tenant", key.tenant.as_ref())] {
        if text.is_some_and(|text| text.trim().is_empty()) {
            scope.key(name).refuse("is empty", "");
        }
    }
    let known: Vec<&str> = policy.roles.keys().map(String::as_str).collect();
    for (scope, role) in scope.key("roles").items(&key.roles) {
        known_role(role, &known, &scope);
    }
    for (name, moment) in [("created", &key.created), ("expires", &key.expires), ("revoked", &key.revoked)] {
        if moment.as_ref().is_some_and(|moment| moment.parse::<Timestamp>().is_err()) {
            scope.key(name).refuse("is no point in time", "write it as `2027-01-31T00:00:00Z`");
        }
    }
    if key.revoked.is_none() && key.expires_at().is_some_and(|end| end <= Timestamp::now()) {
        scope.key("expires").warn("has passed: the key no longer works", "remove the entry");
    }
}
