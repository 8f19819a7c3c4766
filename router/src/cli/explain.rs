//! `weir explain`: what would become of a call, and why.

use std::{
    io::{self, Write as _},
    net::IpAddr,
};

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Exit, Style, admin::Admin, call::Given};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The tool, by the name that callers see.
    tool: String,
    /// Its arguments: one JSON object, `-` to read that from standard input, or KEY=VALUE for each.
    #[arg(value_name = "JSON | - | KEY=VALUE")]
    arguments: Vec<String>,
    /// Who calls. Without it and without --role: `local`, with the roles that the config gives it.
    #[arg(long = "as", value_name = "SUBJECT")]
    subject: Option<String>,
    /// The caller's organisation.
    #[arg(long, value_name = "NAME", requires = "subject")]
    tenant: Option<String>,
    /// A role of the caller. May be given several times.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// A claim of the caller: text, or JSON. May be given several times.
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    claims: Vec<String>,
    /// The address the caller comes from.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// The moment of the call, as 2027-01-31T12:00:00Z. Without it: now.
    #[arg(long, value_name = "TIME")]
    time: Option<Timestamp>,
    /// The view that the call comes through.
    #[arg(long, value_name = "NAME")]
    view: Option<String>,
    #[command(flatten)]
    admin: Admin,
    /// Print the router's answer as JSON instead of text.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    // As text, so that the arguments stay as they were typed; the router knows the schema, which says what pairs mean.
    let given = match Given::read(&arguments.arguments)? {
        Given::Object(object) => format!(r#""arguments":{object}"#),
        Given::Pairs(pairs) => format!(r#""pairs":{}"#, json!(pairs)),
    };
    let is_local = arguments.subject.is_none() && arguments.roles.is_empty();
    let caller = if is_local && arguments.claims.is_empty() && arguments.address.is_none() {
        Value::Null
    } else {
        let claims = arguments.claims.iter().map(|claim| named(claim)).collect::<anyhow::Result<Map<_, _>>>()?;
        json!({
            "subject": arguments.subject, "tenant": arguments.tenant, "roles": arguments.roles,
            "claims": claims, "address": arguments.address,
        })
    };
    let (view, time) = (json!(arguments.view), json!(arguments.time.map(|time| time.to_string())));
    let asked = format!(r#"{{"tool":{},{given},"as":{caller},"view":{view},"time":{time}}}"#, json!(arguments.tool));
    let answer = arguments.admin.post("/admin/explain", asked).await?;
    let mut stdout = io::stdout();
    if arguments.json {
        writeln!(stdout, "{answer:#}")?;
    } else {
        let style = Style::of(&stdout);
        write!(stdout, "{}", style.foreign(&told(&answer)))?;
    }
    Ok(Exit::Done)
}

/// `NAME=VALUE`; a value that is no JSON is text.
fn named(claim: &str) -> anyhow::Result<(String, Value)> {
    let (name, value) = claim.split_once('=').with_context(|| format!("--claim {claim}: write it as NAME=VALUE"))?;
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| json!(value))))
}

/// What the policy decides and why, line by line.
fn decided(policy: &Value) -> Vec<(&'static str, String)> {
    let view = policy["view"].as_str().map(|view| format!(" in the view {view}")).unwrap_or_default();
    let mut lines = Vec::new();
    match (policy["rule"].as_str(), text(&policy["denied_by"])) {
        (Some(rule), _) => lines.push(("policy", format!("allowed{view} by `{rule}`"))),
        (None, "view") => lines.push(("policy", format!("denied{view}, which does not show it"))),
        (None, "condition" | "arguments") => lines.push(("policy", format!("denied{view} by a condition"))),
        (None, _) => lines.push(("policy", format!("denied{view}; {}", allowing(&policy["allowing"])))),
    }
    let looked = policy["looked_at"].as_array().into_iter().flatten().map(|looked| {
        let role = text(&looked["role"]);
        match (looked["allow"].as_str(), looked["deny"].as_str()) {
            (_, Some(deny)) => format!("{role} denies `{deny}`"),
            (Some(allow), None) => format!("{role} allows `{allow}`"),
            (None, None) => format!("{role} has no pattern for it"),
        }
    });
    lines.extend(looked.map(|said| ("role", said)));
    let judged = policy["conditions"].as_array().into_iter().flatten();
    let said = |judged: &Value| format!("{}: {}", text(&judged["condition"]), text(&judged["verdict"]));
    lines.extend(judged.map(|judged| ("condition", said(judged))));
    lines
}

/// The answer for people.
fn told(answer: &Value) -> String {
    let (tool, caller, policy) = (&answer["tool"], &answer["caller"], &answer["policy"]);
    let mut out = format!(
        "{}  ({} of {}, {})\n",
        text(&tool["name"]),
        text(&tool["local_name"]),
        text(&tool["downstream"]),
        text(&answer["downstream"]["kind"])
    );
    let mut line = |name: &str, said: String| out.push_str(&format!("  {name:<11} {said}\n"));
    line("effect", text(&tool["effect"]).to_owned());
    line("deadline", format!("{} ms", tool["deadline_ms"]));
    let downstream = &answer["downstream"];
    let reason = downstream["reason"].as_str().map(|reason| format!(": {reason}")).unwrap_or_default();
    line("downstream", format!("{}{reason}", text(&downstream["health"])));
    if let Some(kind) = answer["credential"].as_str() {
        line("shown", format!("a credential of the kind `{kind}`"));
    }
    guard(&answer["guard"]).into_iter().for_each(|(name, said)| line(name, said));
    if answer["line"].is_object() {
        line("line", places(&answer["line"]));
    }
    let tenant = caller["tenant"].as_str().map(|tenant| format!(" of {tenant}")).unwrap_or_default();
    line("caller", format!("{}{tenant}, {}", text(&caller["subject"]), roles(&caller["roles"])));
    decided(policy).into_iter().for_each(|(name, said)| line(name, said));
    match answer["masking"].as_array().map(Vec::as_slice) {
        None => {}
        Some([]) => line("masked", "no rule of the profile is for this tool".to_owned()),
        Some(rules) => line("masked", format!("by {}", rules.iter().map(text).collect::<Vec<_>>().join(", "))),
    }
    match answer["arguments"]["mistakes"].as_str() {
        Some(mistakes) => line("arguments", format!("do not fit: {mistakes}")),
        None => line("arguments", "fit".to_owned()),
    }
    if answer["keys"].is_object() {
        line("keys", keys(&answer["keys"]));
    }
    limits(&answer["limits"]).into_iter().for_each(|said| line("limit", said));
    cache(&answer["cache"]).into_iter().for_each(|(name, said)| line(name, said));
    out
}

/// What the guard of the downstream would do, line by line.
fn guard(guard: &Value) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let (most, why) = (&guard["attempts_max"], text(&guard["attempts_because"]));
    let (timeout, left) = (&guard["attempt_timeout_ms"], &guard["repeats_left"]);
    lines.push(("attempts", format!("at most {most} of {timeout} ms: {why}; {left} repeats left")));
    let breaker = &guard["breaker"];
    let since = match (breaker["cause"].as_str(), breaker["since"].as_str()) {
        (Some(cause), Some(since)) => format!(": {cause}, since {since}"),
        _ => String::new(),
    };
    lines.push(("breaker", format!("{}{since}", text(&breaker["state"]))));
    if let Some(last) = guard["last_failure"].as_object() {
        lines.push(("failed last", format!("{} at {}", text(&last["class"]), text(&last["at"]))));
    }
    let window =
        |shut: &Value| format!("from {} to {}: {}", text(&shut["from"]), text(&shut["until"]), text(&shut["reason"]));
    let calendar = &guard["calendar"];
    if calendar["closed"].is_object() {
        lines.push(("closed", format!("now, {}", window(&calendar["closed"]))));
    } else if calendar["next"].is_object() {
        lines.push(("closed", format!("next {}", window(&calendar["next"]))));
    }
    if let Some(why) = guard["may_go"].as_str() {
        lines.push(("not sent", why.to_owned()));
    }
    lines
}

/// Whether idempotency keys are taken.
fn keys(keys: &Value) -> String {
    let place = if keys["kept_in"] == "redis" { "in Redis, for all replicas" } else { "in the memory of this process" };
    match keys["why"].as_str() {
        Some(why) => format!("refused now: {why}; again in {} ms", keys["retry_after_ms"]),
        None => format!("taken, and kept {place}"),
    }
}

/// Each limit that is for the call, and what is left of it.
fn limits(limits: &Value) -> Vec<String> {
    let said = |limit: &Value| {
        let side = if limit["side"] == "downstream" { ", not for cached answers" } else { "" };
        let left = limit["left"].as_u64().zip(limit["cost"].as_u64());
        let now = if left.is_some_and(|(left, cost)| left < cost) { "refused now; " } else { "" };
        format!(
            "{} ({}, {} at once{side}): {now}{} left, costs {}, full again in {} ms",
            text(&limit["name"]),
            text(&limit["rate"]),
            limit["burst"],
            limit["left"],
            limit["cost"],
            limit["full_again_ms"]
        )
    };
    limits.as_array().into_iter().flatten().map(said).collect()
}

/// Where the call would stand at its downstream.
fn places(line: &Value) -> String {
    let (places, taken, waiting) = (&line["places"], &line["taken"], &line["waiting"]);
    let permits = &line["permits_of_all_replicas"];
    let shared = if permits.is_null() { String::new() } else { format!(", {permits} permits for all replicas") };
    let wait = match line["ahead"].as_u64() {
        Some(ahead) if ahead > 0 || taken == places => {
            format!("; {ahead} would be before this call, about {} ms", line["expected_wait_ms"])
        }
        _ => String::new(),
    };
    format!("{taken} of {places} places taken{shared}, {waiting} wait{wait}")
}

/// What the cache would be to the call, line by line.
fn cache(cache: &Value) -> Vec<(&'static str, String)> {
    let list =
        |list: &Value| list.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    let mut lines = Vec::new();
    if cache["cached"] == true {
        let (parts, held) = (&cache["parts"], &cache["held"]);
        lines.push(("cache", format!("cached, key {}", text(&cache["key"]))));
        let partition = members(&parts["partition"]["of"]);
        lines.push(("for", format!("{}: {partition}", text(&parts["partition"]["kind"]))));
        lines.push(("ages", members(&cache["contract"])));
        lines.push(("tags", list(&cache["tags"])));
        lines.push(("held", if held.is_null() { "nothing".to_owned() } else { members(held) }));
    } else {
        lines.push(("cache", format!("not asked ({}): {}", text(&cache["bypass"]), text(&cache["reason"]))));
    }
    if cache["invalidates"].as_array().is_some_and(|tags| !tags.is_empty()) {
        lines.push(("ends", list(&cache["invalidates"])));
    }
    lines
}

/// `name value, name value`, without what is not there.
fn members(object: &Value) -> String {
    let is_there = |(_, value): &(&String, &Value)| !value.is_null();
    let said = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{name} {text}"),
        Value::Array(items) => {
            format!("{name} {}", items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "))
        }
        _ => format!("{name} {value}"),
    };
    object.as_object().into_iter().flatten().filter(is_there).map(said).collect::<Vec<_>>().join(", ")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn roles(roles: &Value) -> String {
    let roles: Vec<&str> = roles.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match roles[..] {
        [] => "without a role".to_owned(),
        [role] => format!("role {role}"),
        _ => format!("roles {}", roles.join(", ")),
    }
}

fn allowing(allowing: &Value) -> String {
    let rules: Vec<&str> = allowing.as_array().into_iter().flatten().filter_map(|one| one["rule"].as_str()).collect();
    match rules[..] {
        [] => "no role of the config allows it".to_owned(),
        _ => format!("these would allow it: {}", rules.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::told;

    #[test]
    fn people_read_which_conditions_were_judged_and_what_is_masked() {
        let answer = json!({
            "tool": { "name": "crm__get", "local_name": "get", "downstream": "crm", "effect": "read", "deadline_ms": 1000 },
            "policy": {
                "decision": "allowed", "rule": "support: crm__*", "view": "lookup",
                "looked_at": [{ "role": "support", "allow": "crm__*", "deny": null }],
                "conditions": [{ "condition": "support: time.hour >= 8", "verdict": "true" }],
            },
            "masking": ["support.rules[0]", "support.rules[2]"],
        });
        let text = told(&answer);
        for line in [
            "policy      allowed in the view lookup by `support: crm__*`",
            "role        support allows `crm__*`",
            "condition   support: time.hour >= 8: true",
            "masked      by support.rules[0], support.rules[2]",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
        assert!(!told(&json!({ "masking": null })).contains("masked"));
    }
}
