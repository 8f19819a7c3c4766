//! A `mainframe` downstream: its tools are requests.

mod request;

use crate::{
    ByteSize, Deadlines, Downstream,
    downstream::{
        Mainframe,
        mainframe::{AnswerFormat, ErrorScreen, FixedWidth, HttpMethod, JsonRule},
    },
};

use super::{CONNECT_TIMEOUT, Scope, attempt_timeout, belongs_to_others, credential, defined, url};

pub(super) fn connection(mainframe: &Mainframe, deadlines: &Deadlines, scope: &Scope<'_>) {
    let base_url = scope.key("base_url");
    url::base(&mainframe.base_url, credential::credential(mainframe.credential.as_ref(), scope), &base_url);
    credential::certificates(&mainframe.base_url, scope);
    if mainframe.base_url.contains(['{', '}']) {
        base_url.refuse("has braces", "it has no places for arguments: those are in `request` of a tool");
    }
    scope.key("concurrency").at_least_one(mainframe.concurrency);
    scope.key("connect_timeout").time_within(mainframe.connect_timeout, CONNECT_TIMEOUT.0, CONNECT_TIMEOUT.1);
    attempt_timeout(mainframe.attempt_timeout, deadlines, &scope.key("attempt_timeout"));
    scope.key("idle_timeout").some_time(mainframe.idle_timeout);
    if mainframe.answer_bytes_max == ByteSize(0) {
        scope.key("answer_bytes_max").refuse("must be larger than nothing", "the default is `1MiB`");
    }
    if let Some(header) = &mainframe.idempotency_header
        && !request::is_free_header(header)
    {
        scope.key("idempotency_header").refuse(
            "must be the name of a header that has no other meaning",
            "where the system heeds keys it says in which: often `Idempotency-Key`",
        );
    }
    for (scope, screen) in scope.key("error_screens").items(&mainframe.error_screens) {
        error_screen(screen, &scope);
    }
}

pub(super) fn tools(downstream: &Downstream, scope: &Scope<'_>) {
    defined::tools(downstream, "a mainframe", scope);
    let credential = downstream.mainframe.as_ref().and_then(|mainframe| mainframe.credential.as_ref());
    for (name, tool) in &downstream.tools {
        let scope = scope.key("tools").key(name);
        belongs_to_others(&["sql"], "a mainframe has requests: write `request`", &scope);
        match &tool.request {
            Some(template) => {
                request::template(template, tool, credential, &scope);
                if template.method == HttpMethod::Get && !defined::states_effect(downstream, name, &scope) {
                    scope.warn(
                        "states no `effect` and so counts as a write",
                        "state `effect: read` if the request changes nothing",
                    );
                }
            }
            None if !scope.key("request").given() => {
                scope.refuse(
                    "lacks `request`",
                    "write the request that it makes: `request: { path: \"/accounts/{id}\" }`",
                );
            }
            None => {}
        }
        if let AnswerFormat::FixedWidth(format) = &tool.answer {
            fixed_width(format, &scope.key("answer").key("fixed_width"));
        }
    }
}

fn fixed_width(format: &FixedWidth, scope: &Scope<'_>) {
    match (scope.key("copybook").given(), scope.key("copybook_file").given()) {
        (true, true) => scope.refuse("has both `copybook` and `copybook_file`", "keep one"),
        (false, false) => {
            scope.refuse("has no copybook", "write it as `copybook: |`, or name its file with `copybook_file`");
        }
        _ => {}
    }
    if format.copybook.as_ref().is_some_and(|text| text.trim().is_empty()) {
        scope.key("copybook").refuse("is empty", "");
    }
}

fn error_screen(screen: &ErrorScreen, scope: &Scope<'_>) {
    if !["contains", "content_type", "json"].into_iter().any(|key| scope.key(key).given()) {
        scope.refuse(
            "fits every answer",
            "state what it is recognised by: `contains: ACCOUNT NOT FOUND`, `content_type: text/html` or `json: { at: /rc, equals: \"04\" }`",
        );
    }
    if screen.contains.as_ref().is_some_and(String::is_empty) {
        scope.key("contains").refuse("is empty, which is in every answer", "");
    }
    if let Some(kind) = &screen.content_type
        && !is_media_type(kind)
    {
        scope
            .key("content_type")
            .refuse(format!("is no media type: `{kind}`"), "such as `text/html`, without parameters");
    }
    screen.json.iter().for_each(|rule| json_rule(rule, &scope.key("json")));
}

fn json_rule(rule: &JsonRule, scope: &Scope<'_>) {
    if !rule.at.is_empty() && !rule.at.starts_with('/') {
        scope.key("at").refuse(format!("is no JSON pointer: `{}`", rule.at), format!("write `/{}`", rule.at));
    }
    // `null` is a value like any other.
    let given = scope.keys();
    match (given.contains(&"equals"), given.contains(&"other_than")) {
        (true, true) => scope.refuse("has both `equals` and `other_than`", "keep one"),
        (false, false) => scope.refuse("compares with nothing", "give `equals` or `other_than`"),
        _ => {}
    }
}

fn is_media_type(text: &str) -> bool {
    let is_token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub))
}

#[cfg(test)]
mod tests;
