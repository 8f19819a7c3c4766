//! `POST /admin/explain`: what would become of a call, and why. Nothing is called.

use std::{net::IpAddr, sync::Arc};

use adapters::{AuthMethod, Caller, Principal};
use bytes::Bytes;
use config::downstream::Credential;
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::{
    Router, call,
    catalog::{Tool, View},
    front::{json_answer, problem},
    pairs,
    policy::{Asker, Grant, NamedView},
    scan,
    server::Body,
};

const FORM: &str = "Send {\"tool\": \"crm__get_customer\", \"arguments\": {…}, \"as\": {\"subject\": \"…\", \"roles\": [\"…\"]}}; \
    all but the tool may be left out. Instead of the arguments, {\"pairs\": [[\"key\", \"value\"]]} holds them as they are typed in a shell.";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    tool: String,
    arguments: Option<Box<RawValue>>,
    /// Instead of them, as they are written in a shell.
    pairs: Option<Vec<(String, String)>>,
    #[serde(rename = "as")]
    caller: Option<AskedFor>,
    /// The view that the call would come through.
    view: Option<String>,
    /// The moment of the call; now where nothing is stated.
    time: Option<Timestamp>,
}

/// Of whom a question is: a caller with this identity.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedFor {
    subject: Option<Arc<str>>,
    issuer: Option<Arc<str>>,
    tenant: Option<Arc<str>>,
    #[serde(default)]
    roles: Vec<Box<str>>,
    #[serde(default)]
    claims: serde_json::Map<String, Value>,
    address: Option<IpAddr>,
}

pub(super) async fn answer(router: &Router, body: &[u8]) -> Response<Body> {
    let Ok(Question { tool: name, arguments, pairs, caller, view: named, time }) = serde_json::from_slice(body) else {
        return problem(StatusCode::BAD_REQUEST, FORM);
    };
    if arguments.is_some() && pairs.is_some() {
        return problem(StatusCode::BAD_REQUEST, FORM);
    }
    let arguments = arguments.map(as_bytes);
    if arguments.as_ref().is_some_and(|text| !text.starts_with(b"{")) {
        return problem(
            StatusCode::BAD_REQUEST,
            "`arguments` must be one JSON object, such as {\"customer_id\": \"CUST-00042\"}.",
        );
    }
    let caller = match caller {
        None => Caller::local(&router.config.identity.local.roles),
        Some(asked) => match asked.into_caller(router) {
            Ok(caller) => caller,
            Err(mistake) => return problem(StatusCode::BAD_REQUEST, &mistake),
        },
    };
    let named = match named.map(|named| router.policy.view(&named).cloned().ok_or(named)).transpose() {
        Ok(named) => named,
        Err(named) => return problem(StatusCode::BAD_REQUEST, &no_such_view(router, &named)),
    };
    let asker = Asker { caller: &caller, now: time.unwrap_or_else(Timestamp::now) };
    let view = router.catalog.view_for(&name).await;
    let Some((index, tool)) = view.resolve(&name) else {
        let held = router.definitions().named(&name, &router.config.names);
        return held.map_or_else(|| no_such_tool(&view, &name), |_| held_back(&name));
    };
    let arguments = match pairs.map(|pairs| typed(&pairs, tool)).transpose() {
        Ok(typed) => typed.or(arguments),
        Err(mistake) => return problem(StatusCode::BAD_REQUEST, &mistake),
    };
    let (policy, grant) = policy(router, &view, asker, named.as_deref(), index, arguments.as_ref());
    let masked_by = grant.and_then(|grant| router.masking.explain(&grant, &tool.name.shown));
    json_answer(&explained(router, &caller, tool, arguments.as_ref(), (policy, masked_by)).await)
}

/// What pairs are as arguments of the tool, as `weir call` would send them.
fn typed(pairs: &[(String, String)], tool: &Tool) -> Result<Bytes, String> {
    let refused = |why: &dyn std::fmt::Display| format!("The arguments cannot be read: {why}.");
    let arguments = as_bytes(pairs::typed(pairs, tool.input_schema().as_ref()).map_err(|error| refused(&error))?);
    scan::check(&arguments).map_err(|fault| refused(&fault.text()))?;
    Ok(arguments)
}

fn as_bytes(raw: Box<RawValue>) -> Bytes {
    Bytes::from(String::from(Box::<str>::from(raw)))
}

/// Whether the caller may use the tool at this place of the catalog, and by which role alone anybody may.
fn policy(
    router: &Router,
    view: &View,
    asker: Asker<'_>,
    named: Option<&NamedView>,
    index: usize,
    arguments: Option<&Bytes>,
) -> (Value, Option<Arc<Grant>>) {
    let (policy, tool) = (&router.policy, &view.tools()[index]);
    let arguments = call::with_defaults(tool.settings(), arguments);
    let arguments = std::str::from_utf8(&arguments).unwrap_or_default();
    let (mut told, grant) = if tool.downstream.is_own() {
        let grant = view.judge(index, policy, asker, named).grant;
        let decision = if grant.is_some() { "allowed" } else { "denied" };
        let rule = grant.as_ref().map(|grant| &*grant.rule);
        (json!({ "decision": decision, "rule": rule, "because": "it is one of Weir's own" }), grant)
    } else {
        let decision = policy.decide(asker, tool.asked(), named, arguments);
        (decision.told(), decision.grant)
    };
    let allowing = |role: &String| {
        let caller = Caller { roles: [role.as_str().into()].into(), ..asker.caller.clone() };
        let grant = policy.decide(Asker { caller: &caller, ..asker }, tool.asked(), named, arguments).grant?;
        Some(json!({ "role": role, "rule": &*grant.rule }))
    };
    told["allowing"] = router.config.policy.roles.keys().filter_map(allowing).collect();
    told["view"] = json!(named.map(|view| &*view.name));
    (told, grant)
}

fn no_such_view(router: &Router, named: &str) -> String {
    let views = router.config.views.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let shown: String = named.chars().take(64).collect();
    if views.is_empty() {
        format!("There is no view `{shown}`: the config has no `views`.")
    } else {
        format!("There is no view `{shown}`; the config has {views}.")
    }
}

async fn explained(
    router: &Router,
    caller: &Caller,
    tool: &Tool,
    arguments: Option<&Bytes>,
    (policy, masked_by): (Value, Option<Vec<String>>),
) -> Value {
    let keys = if tool.effect.writes() { router.operations.explained().await } else { Value::Null };
    let condition = tool.downstream.condition();
    let mistakes = tool.validate(arguments).err();
    json!({
        "tool": {
            "name": &*tool.name.shown, "downstream": tool.name.downstream, "local_name": &*tool.name.local,
            "alias": tool.name.is_alias, "effect": tool.effect.as_str(),
            "deadline_ms": u64::try_from(tool.deadline.as_millis()).unwrap_or(u64::MAX),
        },
        "caller": {
            "issuer": &*caller.principal.issuer, "subject": &*caller.principal.subject,
            "tenant": caller.principal.tenant.as_deref(), "roles": &caller.roles[..],
        },
        "policy": policy,
        "arguments": { "fit": mistakes.is_none(), "mistakes": mistakes },
        "downstream": { "kind": tool.downstream.kind(), "health": condition.word, "reason": condition.reason, "since": condition.since },
        "credential": tool.downstream.config.credential().map(Credential::kind),
        "masking": masked_by,
        "guard": tool.downstream.guard.explained(tool),
        "line": (!tool.downstream.is_own()).then(|| tool.downstream.line.explain(caller)),
        "limits": router.limits.explain(caller, tool).await,
        "keys": keys,
        "cache": call::explain_cache(router, caller, tool, arguments).await,
    })
}

impl AskedFor {
    /// A caller that shows an API key for this identity.
    fn into_caller(self, router: &Router) -> Result<Caller, String> {
        let known = &router.config.policy.roles;
        if let Some(role) = self.roles.iter().find(|role| !known.contains_key(&***role)) {
            let roles = known.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(format!("The config has no role `{role}`; it has {roles}."));
        }
        let local = Caller { claims: self.claims.into(), address: self.address, ..Caller::local(&[]) };
        let Some(subject) = self.subject else {
            return Ok(Caller { roles: self.roles.into(), ..local });
        };
        let issuer = self.issuer.unwrap_or(local.principal.issuer.clone());
        let principal = Principal { issuer, subject, tenant: self.tenant };
        Ok(Caller { principal, roles: self.roles.into(), method: AuthMethod::ApiKey, ..local })
    }
}

/// The answer for an operator who names a tool that callers do not see until somebody approves it.
fn held_back(name: &str) -> Response<Body> {
    let text = format!(
        "The tool `{name}` is held back until somebody approves its definition: look at it with `weir lock held {name}`. For callers there is no such tool."
    );
    problem(StatusCode::NOT_FOUND, &text)
}

/// The answer for an operator who names a tool that is not there, with the name that was most likely meant.
pub(super) fn no_such_tool(view: &View, name: &str) -> Response<Body> {
    let shown: String = name.chars().take(128).collect();
    let near = config::nearest(&shown, view.tools().iter().map(|tool| &*tool.name.shown));
    let advice = match near {
        Some(near) => format!("Did you mean `{near}`?"),
        None => "GET /admin/tools lists them all; GET /admin/downstreams says why one is missing.".to_owned(),
    };
    problem(StatusCode::NOT_FOUND, &format!("There is no tool `{shown}`. {advice}"))
}
