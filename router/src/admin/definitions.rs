//! `/admin/definitions`: which tools are held back and why, with what changed; and the approval of one, by its digest.

use cache::Reach;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::{
    Router,
    definitions::{Digest, Refusal},
    front::{json_answer, problem},
    server::Body,
};

const FORM: &str = "Send {\"name\": \"pay__get_merchant\", \"digest\": \"sha256:…\"}: the name that callers would see, and the digest that \
    GET /admin/definitions shows with what changed.";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    name: String,
    digest: String,
}

/// All of it, or by `?name=` what is said of one held tool.
pub(super) fn told(router: &Router, query: Option<&str>) -> Response<Body> {
    let only = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("name="));
    json_answer(&router.definitions().told(&router.config.names, only))
}

/// What deserves a look, as lines of text.
pub(super) fn lines(router: &Router) -> String {
    let mut lines = String::new();
    for downstream in router.downstreams() {
        let held = router.definitions().held_count(&downstream.name);
        if held > 0 {
            let tools = if held == 1 { "1 tool".to_owned() } else { format!("{held} tools") };
            lines.push_str(&format!(
                "{tools} of {} held back until somebody approves the definition\n",
                downstream.name
            ));
        }
    }
    lines
}

pub(super) async fn approve(router: &Router, body: &[u8]) -> Response<Body> {
    let asked = serde_json::from_slice(body).ok();
    let Some((name, digest)) = asked.and_then(|Asked { name, digest }| Some((name, digest.parse::<Digest>().ok()?)))
    else {
        return problem(StatusCode::BAD_REQUEST, FORM);
    };
    let Some((downstream, tool)) = router.definitions().named(&name, &router.config.names) else {
        return not_held(&name);
    };
    match router.definitions().approve(downstream.as_str(), &tool, digest).await {
        Ok(reach) => {
            let reached = match reach {
                Reach::Everywhere => "everywhere",
                Reach::Here => "here",
            };
            json_answer(&json!({ "approved": name, "digest": digest.to_string(), "reached": reached }))
        }
        Err(Refusal::NotHeld) => not_held(&name),
        Err(Refusal::Another(now)) => {
            let text =
                format!("Its definition is another one by now ({now}): look at that one first. Nothing was approved.");
            problem(StatusCode::CONFLICT, &text)
        }
        Err(Refusal::NotKept(why)) => problem(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("Nothing was approved: {why}. Try again when that has changed."),
        ),
    }
}

fn not_held(name: &str) -> Response<Body> {
    let short: String = name.chars().take(128).collect();
    let text = format!("No tool `{short}` is held back. GET /admin/definitions lists those that are.");
    problem(StatusCode::NOT_FOUND, &text)
}
