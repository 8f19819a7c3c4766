//! `names` and `downstreams`.

mod argument;
mod caching;
mod credential;
mod defined;
mod line;
mod mainframe;
mod mcp;
mod postgres;
mod resilience;
mod ticketing;
mod url;

use crate::{Config, Deadlines, Downstream, Names, Period, downstream::Expose};

use super::Scope;

/// What an alias needs beside its downstream's name: `__`, and `_` with sixteen digits.
const ALIAS_LENGTH_MIN: usize = 2 + 1 + 16;
const KINDS: [&str; 4] = ["postgres", "mainframe", "ticketing", "mcp"];
/// Less would hold little beside the words about where the rest is.
const ANSWER_CHARACTERS_MIN: usize = 1000;
const CONNECT_TIMEOUT: (Period, Period) = (Period::ms(10), Period::s(60));
const NAME_LENGTHS: std::ops::RangeInclusive<usize> = 24..=128;

pub(super) fn names(names: &Names, root: &Scope<'_>) {
    let scope = root.key("names");
    if !NAME_LENGTHS.contains(&names.name_length_max) {
        let (least, most) = (NAME_LENGTHS.start(), NAME_LENGTHS.end());
        scope
            .key("name_length_max")
            .refuse(format!("must be from {least} to {most}, not {}", names.name_length_max), "");
    }
    let downstreams = root.key("downstreams").keys().len();
    if !names.prefix && downstreams != 1 {
        scope.key("prefix").refuse(
            format!("is `false`, which needs exactly one downstream; here are {downstreams}"),
            "remove it: with several downstreams the prefix tells their tools apart",
        );
    }
}

pub(super) fn downstreams(config: &Config, root: &Scope<'_>) {
    let scope = root.key("downstreams");
    if scope.keys().is_empty() {
        root.warn(
            "there are no `downstreams`: callers will find no tools",
            "add one: a database with `postgres`, another MCP server with `mcp`",
        );
    }
    for (name, downstream) in &config.downstreams {
        let shortest = name.as_str().len() + ALIAS_LENGTH_MIN;
        if config.names.prefix && config.names.name_length_max < shortest {
            scope.key(name.as_str()).refuse(
                format!("leaves no room for its tools in names of {} characters", config.names.name_length_max),
                format!("give it a shorter name, or raise `names.name_length_max` to {shortest}"),
            );
        }
        one(downstream, &config.deadlines, &scope.key(name.as_str()));
        credential::per_caller(config, downstream, &scope.key(name.as_str()));
    }
}

fn one(downstream: &Downstream, deadlines: &Deadlines, scope: &Scope<'_>) {
    // Asked of the text: a kind with a mistake in it is missing from the model.
    let kinds: Vec<&str> = KINDS.into_iter().filter(|kind| scope.key(kind).given()).collect();
    match kinds[..] {
        [] => scope.refuse("has no kind", format!("give one of {}", listed(&KINDS))),
        [_] => {}
        _ => scope.refuse(
            format!("has several kinds: {}", listed(&kinds)),
            "keep one; another system is another downstream with a name of its own",
        ),
    }
    deadline(downstream.deadline, deadlines, &scope.key("deadline"));
    line::line(downstream, scope);
    resilience::resilience(downstream, scope);
    for (scope, rule) in scope.key("effects").items(&downstream.effects) {
        if rule.pattern.as_str().is_empty() {
            scope.key("match").refuse("is empty", "write a pattern over the names of its tools: `get_*`");
        }
    }
    for (name, tool) in &downstream.tools {
        let scope = scope.key("tools").key(name);
        deadline(tool.deadline, deadlines, &scope.key("deadline"));
        answer_characters(tool.answer_characters_max, &scope.key("answer_characters_max"));
    }
    let [kind] = kinds[..] else { return };
    caching::tools(downstream, deadlines, scope);
    let inner = scope.key(kind);
    // A part with a mistake in it is missing from the model; the tools are looked at all the same.
    match kind {
        "postgres" => {
            downstream.postgres.iter().for_each(|postgres| postgres::connection(postgres, &inner));
            postgres::tools(downstream, scope);
        }
        "mainframe" => {
            downstream.mainframe.iter().for_each(|mainframe| mainframe::connection(mainframe, deadlines, &inner));
            mainframe::tools(downstream, scope);
        }
        "ticketing" => {
            downstream.ticketing.iter().for_each(|ticketing| ticketing::connection(ticketing, deadlines, &inner));
            ticketing::tools(downstream, scope);
        }
        _ => {
            downstream.mcp.iter().for_each(|mcp| mcp::connection(mcp, deadlines, &inner));
            mcp::tools(downstream, scope);
        }
    }
}

/// `` `a`, `b` ``.
fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// How long an attempt may take.
fn attempt_timeout(stated: Period, deadlines: &Deadlines, scope: &Scope<'_>) {
    scope.some_time(stated);
    if scope.given() && stated > deadlines.max {
        scope.refuse(
            format!("is `{stated}`, longer than `deadlines.max`, which is `{}`", deadlines.max),
            "no call may take that long",
        );
    }
}

fn deadline(stated: Option<Period>, deadlines: &Deadlines, scope: &Scope<'_>) {
    let Some(stated) = stated else { return };
    scope.some_time(stated);
    if stated > deadlines.max {
        scope.refuse(
            format!("is `{stated}`, longer than `deadlines.max`, which is `{}`", deadlines.max),
            "shorten it, or raise `deadlines.max`",
        );
    }
}

fn answer_characters(stated: Option<usize>, scope: &Scope<'_>) {
    if let Some(stated) = stated.filter(|stated| *stated < ANSWER_CHARACTERS_MIN) {
        scope.refuse(
            format!("is {stated}; a part of an answer has at least {ANSWER_CHARACTERS_MIN} characters"),
            "raise it: 20000 characters are about 5000 tokens; or remove it, and answers are given whole",
        );
    }
}

/// Refuses the keys of a tool that mean nothing for the kind of its downstream; `instead` says what that kind has.
fn belongs_to_others(keys: &[&str], instead: &str, scope: &Scope<'_>) {
    for key in keys {
        let scope = scope.key(key);
        if scope.given() {
            scope.refuse("is for another kind of downstream", format!("{instead}; remove it"));
        }
    }
}

/// A downstream that offers nothing is most likely unfinished.
fn offers_something(downstream: &Downstream, scope: &Scope<'_>) {
    let brings_its_own =
        (downstream.mcp.is_some() || downstream.ticketing.is_some()) && downstream.expose == Expose::All;
    if !brings_its_own && scope.key("tools").keys().is_empty() {
        scope.warn("offers no tools", "name at least one under `tools`");
    }
}
