//! The environment that a child process gets.

use std::collections::HashSet;

use super::super::Scope;
use crate::downstream::Stdio;

/// What makes a program load or run something besides itself, by the beginning of the name.
const LOADERS: [&str; 2] = ["LD_", "DYLD_"];
/// The same, by the whole name: of the C library, of shells and of interpreters.
const STARTERS: [&str; 12] = [
    "BASH_ENV",
    "ENV",
    "GCONV_PATH",
    "IFS",
    "JAVA_TOOL_OPTIONS",
    "NODE_OPTIONS",
    "NODE_PATH",
    "PERL5LIB",
    "PERL5OPT",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "RUBYOPT",
];
/// How the names of Weir's own variables begin.
const OUR_OWN: &str = "WEIR_";

pub(super) fn check(process: &Stdio, scope: &Scope<'_>) {
    let (env, secrets, pass_env) = (scope.key("env"), scope.key("secrets"), scope.key("pass_env"));
    for (name, value) in &process.env {
        is_name(name, &env.key(name));
        if value.contains('\0') {
            env.key(name).refuse("has a NUL character, which no variable can hold", "remove it");
        }
    }
    for name in process.secrets.keys() {
        let scope = secrets.key(name);
        is_name(name, &scope);
        if process.env.contains_key(name) {
            scope.refuse("is set in `env` too", "keep one of the two");
        }
        if runs_something(name) {
            scope.refuse("makes a program load something else", "where that is wanted, write its value in `env`");
        }
    }
    if !pass_env.given() {
        // What is passed on by default gives way to what is set.
        return;
    }
    let mut before = HashSet::new();
    for (scope, name) in pass_env.items(&process.pass_env) {
        is_name(name, &scope);
        if !before.insert(name) {
            scope.refuse(format!("`{name}` stands here twice"), "remove one of them");
        } else if process.env.contains_key(name) || process.secrets.contains_key(name) {
            scope.refuse(format!("`{name}` is set in `env` or `secrets` too"), "keep one of them");
        } else if runs_something(name) {
            let message = format!("`{name}` makes a program load something else, and Weir's own environment says what");
            scope.refuse(message, "where that is wanted, write its value in `env`");
        } else if name.starts_with(OUR_OWN) {
            let help = "give the program a secret of its own, in `secrets`";
            scope.refuse(format!("`{name}` belongs to Weir, and may be a secret of its own"), help);
        }
    }
}

fn is_name(name: &str, scope: &Scope<'_>) {
    let legal = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !legal || name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        scope
            .refuse("is not the name of an environment variable", "letters, digits and `_`, no digit first: `API_URL`");
    }
}

fn runs_something(name: &str) -> bool {
    LOADERS.iter().any(|loader| name.starts_with(loader)) || STARTERS.contains(&name)
}
