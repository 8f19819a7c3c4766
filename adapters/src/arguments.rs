//! The caller's arguments, judged against the config, and what callers read of them in a tool's definition: for the kinds whose
//! tools the config defines.

use config::{
    Effect,
    downstream::{Argument, ArgumentType},
};
use indexmap::IndexMap;
use serde_json::{Map, Value, json, value::RawValue};

use crate::number::Decimal;

/// Makes something of each argument that a tool takes, in the order of the config, from its JSON text; `None` for one that was
/// left out and has no default. What is judged here is what `make` gets, byte for byte.
///
/// # Errors
/// Every argument that does not fit, one sentence each.
pub(crate) fn each<T>(
    wanted: &IndexMap<String, Argument>,
    given: Option<&[u8]>,
    mut make: impl FnMut(usize, &Argument, Option<&str>) -> Result<T, String>,
) -> Result<Vec<T>, Vec<String>> {
    let given: IndexMap<String, &RawValue> = match given {
        None => IndexMap::new(),
        Some(bytes) => {
            serde_json::from_slice(bytes).map_err(|_| vec!["The arguments must be a JSON object.".to_owned()])?
        }
    };
    let mut problems: Vec<_> = given
        .keys()
        .filter(|name| !wanted.contains_key(*name))
        .map(|name| format!("There is no argument `{name}`; there are: {}.", names(wanted)))
        .collect();
    let mut made = Vec::with_capacity(wanted.len());
    for (index, (name, argument)) in wanted.iter().enumerate() {
        let one = value(argument, given.get(name).map(|raw| raw.get()), |raw| make(index, argument, raw));
        match one {
            Ok(one) => made.push(one),
            Err(problem) => problems.push(format!("`{name}` {problem}.")),
        }
    }
    if problems.is_empty() { Ok(made) } else { Err(problems) }
}

fn names(wanted: &IndexMap<String, Argument>) -> String {
    match wanted.len() {
        0 => "none".to_owned(),
        _ => wanted.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

fn value<T>(
    argument: &Argument,
    given: Option<&str>,
    make: impl FnOnce(Option<&str>) -> Result<T, String>,
) -> Result<T, String> {
    match (given.filter(|raw| *raw != "null"), &argument.default) {
        (Some(raw), _) => {
            judge(argument, raw)?;
            make(Some(raw))
        }
        (None, Some(value)) if !value.is_null() => make(Some(&value.to_string())),
        (None, None) if argument.required => Err("is missing".to_owned()),
        (None, _) => make(None),
    }
}

/// Checks what the config says of an argument.
fn judge(argument: &Argument, raw: &str) -> Result<(), String> {
    judge_type(argument.kind, raw)?;
    if argument.kind == ArgumentType::Array {
        let items = items(raw)?;
        let wrong = |item: &&RawValue| argument.items.and_then(|kind| judge_type(kind, item.get()).err());
        if let Some(problem) = items.iter().filter(|item| item.get() != "null").find_map(wrong) {
            return Err(format!("has an item that {problem}"));
        }
    }
    if let Some(allowed) = &argument.one_of
        && !allowed.iter().any(|value| is_same(&value.to_string(), raw))
    {
        let allowed = allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(format!("must be one of {allowed}"));
    }
    if let Some(number) = Decimal::parse(raw) {
        let bound = |bound: &Option<serde_json::Number>| Decimal::parse(&bound.as_ref()?.to_string());
        if let (Some(bound), Some(shown)) = (bound(&argument.minimum), &argument.minimum)
            && number < bound
        {
            return Err(format!("must be at least {shown}"));
        }
        if let (Some(bound), Some(shown)) = (bound(&argument.maximum), &argument.maximum)
            && number > bound
        {
            return Err(format!("must be at most {shown}"));
        }
    }
    Ok(())
}

fn judge_type(kind: ArgumentType, raw: &str) -> Result<(), String> {
    let number = || Decimal::parse(raw);
    let (fits, wanted) = match kind {
        ArgumentType::String => (raw.starts_with('"'), "a string"),
        ArgumentType::Integer => (number().is_some_and(|number| number.is_whole()), "a whole number"),
        ArgumentType::Number => (number().is_some(), "a number"),
        ArgumentType::Boolean => (matches!(raw, "true" | "false"), "true or false"),
        ArgumentType::Array => (raw.starts_with('['), "a list"),
        ArgumentType::Object => (raw.starts_with('{'), "an object"),
    };
    if fits { Ok(()) } else { Err(format!("must be {wanted}")) }
}

/// Whether two JSON texts stand for the same value.
fn is_same(a: &str, b: &str) -> bool {
    match (Decimal::parse(a), Decimal::parse(b)) {
        (Some(a), Some(b)) => a == b,
        (None, None) => {
            let value = |text| serde_json::from_str::<Value>(text).ok();
            value(a).is_some_and(|a| Some(a) == value(b))
        }
        _ => false,
    }
}

/// The items of a JSON list.
pub(crate) fn items(raw: &str) -> Result<Vec<&RawValue>, String> {
    serde_json::from_str(raw).map_err(|_| "must be a list".to_owned())
}

/// The input schema of a tool with these arguments.
pub(crate) fn schema(arguments: &IndexMap<String, Argument>) -> Value {
    let properties: Map<_, _> = arguments.iter().map(|(name, argument)| (name.clone(), property(argument))).collect();
    let is_required = |argument: &Argument| argument.required && argument.default.is_none();
    let required: Vec<_> =
        arguments.iter().filter(|(_, argument)| is_required(argument)).map(|(name, _)| name).collect();
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema["additionalProperties"] = false.into();
    schema
}

fn property(argument: &Argument) -> Value {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), argument.kind.as_str().into());
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            schema.insert(key.to_owned(), value);
        }
    };
    put("description", argument.description.as_deref().map(Value::from));
    put("enum", argument.one_of.clone().map(Value::from));
    put("minimum", argument.minimum.clone().map(Value::from));
    put("maximum", argument.maximum.clone().map(Value::from));
    put("default", argument.default.clone());
    put("items", argument.items.map(|items: ArgumentType| json!({ "type": items.as_str() })));
    schema.into()
}

/// Hints for the caller, as the config states the effect. A system that an operator named is a closed world.
pub(crate) fn annotations(effect: Effect) -> Value {
    match effect {
        Effect::Read => {
            json!({ "readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false })
        }
        Effect::IdempotentWrite => {
            json!({ "readOnlyHint": false, "destructiveHint": true, "idempotentHint": true, "openWorldHint": false })
        }
        Effect::Write => {
            json!({ "readOnlyHint": false, "destructiveHint": true, "idempotentHint": false, "openWorldHint": false })
        }
    }
}
