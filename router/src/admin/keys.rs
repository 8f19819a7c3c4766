//! `GET /admin/keys` and `POST /admin/keys/revoke`: who may come in by an API key, and the end of one.

use std::time::Duration;

use cache::RevocationReached;
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Router, auth,
    front::{json_answer, problem},
    server::Body,
};

const FORM: &str = "Send {\"id\": \"…\"} with the id of a key: the eight characters after `weir_`.";
/// How long the operator waits for the other replicas.
const SPREAD: Duration = Duration::from_secs(3);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    id: String,
}

/// The keys of the key file, without the keys, and when each was used last.
pub(super) async fn list(router: &Router) -> Response<Body> {
    let uses = router.revocations.last_uses().await;
    let last_used = |id: &str| {
        let at = *uses.as_ref().ok()?.get(id)?;
        Timestamp::try_from(at).ok()
    };
    let revoked: std::collections::HashMap<_, _> = router.revocations.all().into_iter().collect();
    let one = |key: &config::KeyRecord| {
        let learnt = || Some(Timestamp::try_from(*revoked.get(key.id.as_str())?).ok()?.to_string());
        json!({
            "id": key.id, "subject": key.subject, "tenant": key.tenant, "roles": key.roles, "created": key.created,
            "expires": key.expires, "revoked": key.revoked.clone().or_else(learnt), "last_used": last_used(&key.id),
        })
    };
    let keys: Vec<Value> = router.authenticator.key_records.iter().map(one).collect();
    json_answer(&json!({ "keys": keys, "uses": if uses.is_ok() { "known" } else { "unknown" } }))
}

/// Ends a key: here at once, everywhere within seconds, and in the key file.
pub(super) async fn revoke(router: &Router, body: &[u8]) -> Response<Body> {
    let Ok(Asked { id }) = serde_json::from_slice(body) else { return problem(StatusCode::BAD_REQUEST, FORM) };
    if !router.authenticator.key_records.iter().any(|key| key.id == id) {
        let text = "The key file has no key of this id; `weir keys list --router` shows the ids.";
        return problem(StatusCode::NOT_FOUND, text);
    }
    let reached = router.revocations.revoke(&id, SPREAD).await;
    let recorded = match &router.authenticator.key_file {
        Some(path) => auth::record_revocations(path.clone(), vec![(id.clone(), Timestamp::now())]).await,
        None => Ok(()),
    };
    if let Err(error) = &recorded {
        tracing::warn!(
            %error,
            "a revocation is not in the key file: it holds as long as a process of this Weir, or its Redis, remembers it"
        );
    }
    tracing::info!(id, ?reached, recorded = recorded.is_ok(), "an operator revoked a key");
    let reached = match reached {
        RevocationReached::Everywhere => "everywhere",
        RevocationReached::Here => "here",
    };
    let details = json!({ "id": id, "by": "operator", "reached": reached, "recorded": recorded.is_ok() });
    router.audit.event("key_revoked", details);
    json_answer(&json!({ "id": id, "reached": reached, "recorded": recorded.is_ok() }))
}
