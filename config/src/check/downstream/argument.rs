//! One argument of a tool: its parts must agree with its type.

use serde_json::{Number, Value};

use crate::downstream::{Argument, ArgumentType};

use super::Scope;

pub(super) fn argument(argument: &Argument, scope: &Scope<'_>) {
    bounds(argument, scope);
    match (argument.kind, argument.items.is_some()) {
        (ArgumentType::Array, false) if !scope.key("items").given() => {
            scope.refuse("is an array without `items`", "state the type of its items: `items: string`");
        }
        (ArgumentType::Array, _) | (_, false) => {}
        (kind, true) => {
            scope.key("items").refuse(format!("is for arrays, and this is of type `{}`", kind.as_str()), "remove it");
        }
    }
    if let Some(values) = &argument.one_of {
        let scope = scope.key("enum");
        if values.is_empty() && scope.indices().is_empty() {
            scope.refuse("is empty, so that no value is allowed", "list the allowed values, or remove it");
        }
        for (scope, value) in scope.items(values) {
            of_type(value, argument, &scope);
        }
    }
    if let Some(default) = &argument.default {
        let scope = scope.key("default");
        of_type(default, argument, &scope);
        if argument.one_of.as_ref().is_some_and(|values| !values.is_empty() && !values.contains(default)) {
            scope.refuse(format!("is `{default}`, which is not one of `enum`"), "");
        }
        if let Value::Number(number) = default {
            within(number, argument, &scope);
        }
    }
}

fn bounds(argument: &Argument, scope: &Scope<'_>) {
    let is_number = matches!(argument.kind, ArgumentType::Integer | ArgumentType::Number);
    for (name, bound) in [("minimum", &argument.minimum), ("maximum", &argument.maximum)] {
        let Some(bound) = bound else { continue };
        if !is_number {
            scope
                .key(name)
                .refuse(format!("is for numbers, and this is of type `{}`", argument.kind.as_str()), "remove it");
        } else if argument.kind == ArgumentType::Integer && bound.is_f64() {
            scope.key(name).refuse(format!("must be a whole number, as the type is `integer`, not `{bound}`"), "");
        }
    }
    if let (Some(minimum), Some(maximum)) = (&argument.minimum, &argument.maximum)
        && is_less(maximum, minimum)
    {
        scope.key("minimum").refuse(format!("is `{minimum}`, more than `maximum`, which is `{maximum}`"), "");
    }
}

fn of_type(value: &Value, argument: &Argument, scope: &Scope<'_>) {
    if !fits(value, argument.kind, argument.items) {
        let kind = argument.kind.as_str();
        let kind = match argument.items {
            Some(items) if argument.kind == ArgumentType::Array => format!("{kind}` of `{}", items.as_str()),
            _ => kind.to_owned(),
        };
        scope.refuse(format!("is `{value}`, but the type is `{kind}`"), "");
    }
}

fn fits(value: &Value, kind: ArgumentType, items: Option<ArgumentType>) -> bool {
    match kind {
        ArgumentType::String => value.is_string(),
        ArgumentType::Integer => value.is_i64() || value.is_u64(),
        ArgumentType::Number => value.is_number(),
        ArgumentType::Boolean => value.is_boolean(),
        ArgumentType::Object => value.is_object(),
        ArgumentType::Array => value
            .as_array()
            .is_some_and(|list| list.iter().all(|item| items.is_none_or(|items| fits(item, items, None)))),
    }
}

fn within(number: &Number, argument: &Argument, scope: &Scope<'_>) {
    if let Some(minimum) = argument.minimum.as_ref().filter(|minimum| is_less(number, minimum)) {
        scope.refuse(format!("is `{number}`, less than `minimum`, which is `{minimum}`"), "");
    }
    if let Some(maximum) = argument.maximum.as_ref().filter(|maximum| is_less(maximum, number)) {
        scope.refuse(format!("is `{number}`, more than `maximum`, which is `{maximum}`"), "");
    }
}

/// Whole numbers are compared exactly, beyond what a float can hold.
fn is_less(a: &Number, b: &Number) -> bool {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => a < b,
        _ => a.as_f64() < b.as_f64(),
    }
}
