//! `POST /admin/explain`: what would become of a call, and why. Nothing is called.

use std::sync::Arc;

use adapters::{AuthMethod, Caller, Principal};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::{
    Router, call,
    catalog::{Tool, View},
    front::{json_answer, problem},
    pairs, scan,
    server::Body,
};

const FORM: &str = "Send {\"tool\": \"crm__get_customer\", \"arguments\": {…}, \"as\": {\"subject\": \"…\", \"roles\": [\"…\"]}}; \
    all but the tool may be left out. Instead of the arguments, {\"pairs\": [[\"key\", \"value\"]]} holds them as they are typed in a shell.";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    tool: String,
    arguments: Option<Box<RawValue>>,
    /// Instead of them, as they are written in a shell.
    pairs: Option<Vec<(String, String)>>,
    #[serde(rename = "as")]
    caller: Option<AskedFor>,
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
}

pub(super) async fn answer(router: &Router, body: &[u8]) -> Response<Body> {
    let Ok(Asked { tool: name, arguments, pairs, caller }) = serde_json::from_slice(body) else {
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
    let view = router.catalog.view_for(&name).await;
    let Some((index, tool)) = view.resolve(&name) else { return no_such_tool(&view, &name) };
    let arguments = match pairs.map(|pairs| typed(&pairs, tool)).transpose() {
        Ok(typed) => typed.or(arguments),
        Err(mistake) => return problem(StatusCode::BAD_REQUEST, &mistake),
    };
    let policy = policy(router, &view, &caller, index);
    json_answer(&explained(router, &caller, tool, arguments.as_ref(), policy).await)
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
fn policy(router: &Router, view: &View, caller: &Caller, index: usize) -> Value {
    let rule = |caller: &Caller| view.rights(&router.policy, caller).grant(index).map(|grant| grant.rule.clone());
    let allowing = |role: &String| {
        let rule = rule(&Caller::local(std::slice::from_ref(role)))?;
        Some(json!({ "role": role, "rule": &*rule }))
    };
    let rule = rule(caller);
    json!({
        "decision": if rule.is_some() { "allowed" } else { "denied" }, "rule": rule.as_deref(),
        "allowing": router.config.policy.roles.keys().filter_map(allowing).collect::<Vec<_>>(),
    })
}

async fn explained(router: &Router, caller: &Caller, tool: &Tool, arguments: Option<&Bytes>, policy: Value) -> Value {
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
        let local = Caller::local(&[]);
        let Some(subject) = self.subject else {
            return Ok(Caller { roles: self.roles.into(), ..local });
        };
        let issuer = self.issuer.unwrap_or(local.principal.issuer.clone());
        let principal = Principal { issuer, subject, tenant: self.tenant };
        Ok(Caller { principal, roles: self.roles.into(), method: AuthMethod::ApiKey, ..local })
    }
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
