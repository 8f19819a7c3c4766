//! What holds for every tool that the config itself defines, whatever kind of system it asks.

use crate::Downstream;

use super::{Scope, argument, offers_something};

const TOOL_NAME_LENGTH_MAX: usize = 128;
const ARGUMENT_NAME_LENGTH_MAX: usize = 64;

/// `system` is what the downstream is called in a sentence: "a database".
pub(super) fn tools(downstream: &Downstream, system: &str, scope: &Scope<'_>) {
    if scope.key("expose").given() {
        scope.key("expose").refuse(
            "is for systems that bring tools of their own",
            format!("{system} offers exactly the tools named under `tools`: remove it"),
        );
    }
    offers_something(downstream, scope);
    for (scope, rule) in scope.key("effects").items(&downstream.effects) {
        if !rule.pattern.as_str().is_empty() && !downstream.tools.keys().any(|tool| rule.pattern.matches(tool)) {
            scope.warn(format!("matches none of its tools: `{}`", rule.pattern), "");
        }
    }
    for (name, tool) in &downstream.tools {
        let scope = scope.key("tools").key(name);
        if !is_name(name, TOOL_NAME_LENGTH_MAX) {
            scope.refuse(format!("is named `{name}`"), names("a tool", TOOL_NAME_LENGTH_MAX));
        }
        if tool.description.is_none() && !scope.key("description").given() {
            scope.warn(
                "has no `description`",
                "say what it does and when to use it: that is all the model knows about it",
            );
        }
        for (name, argument) in &tool.arguments {
            let scope = scope.key("arguments").key(name);
            if !is_name(name, ARGUMENT_NAME_LENGTH_MAX) {
                scope.refuse(format!("is named `{name}`"), names("an argument", ARGUMENT_NAME_LENGTH_MAX));
            }
            argument::argument(argument, &scope);
        }
    }
}

/// Whether the config says what a tool does, for itself or by a rule.
pub(super) fn states_effect(downstream: &Downstream, name: &str, scope: &Scope<'_>) -> bool {
    scope.key("effect").given() || downstream.effects.iter().any(|rule| rule.pattern.matches(name))
}

fn is_name(name: &str, length_max: usize) -> bool {
    (1..=length_max).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn names(what: &str, length_max: usize) -> String {
    format!("{what} is named with at most {length_max} of the characters a-z, A-Z, 0-9, `_`, `.` and `-`")
}
