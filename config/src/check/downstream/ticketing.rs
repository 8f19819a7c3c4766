//! A `ticketing` downstream.

use crate::{ByteSize, Deadlines, Downstream, Effect, downstream::Ticketing, nearest::nearest};

use super::{CONNECT_TIMEOUT, Scope, attempt_timeout, belongs_to_others, credential, listed, offers_something, url};

pub(super) fn connection(ticketing: &Ticketing, deadlines: &Deadlines, scope: &Scope<'_>) {
    url::base(
        &ticketing.base_url,
        credential::credential(ticketing.credential.as_ref(), scope),
        &scope.key("base_url"),
    );
    credential::certificates(&ticketing.base_url, scope);
    if ticketing.base_url.split('/').skip(3).any(|segment| segment == "rest") {
        scope
            .key("base_url")
            .refuse("has the path of the API in it", "leave out `/rest` and what follows: Weir adds `/rest/api/3`");
    }
    if let Some(site) = &ticketing.site_url {
        url::base(site, false, &scope.key("site_url"));
    }
    projects(ticketing, scope);
    if ticketing.ticket_type.trim().is_empty() {
        scope.key("ticket_type").refuse("is empty", "write a type that the projects have; the default is `Task`");
    }
    scope.key("connect_timeout").time_within(ticketing.connect_timeout, CONNECT_TIMEOUT.0, CONNECT_TIMEOUT.1);
    attempt_timeout(ticketing.attempt_timeout, deadlines, &scope.key("attempt_timeout"));
    scope.key("idle_timeout").some_time(ticketing.idle_timeout);
    scope.key("connections_max").at_least_one(ticketing.connections_max);
    if ticketing.answer_bytes_max == ByteSize(0) {
        scope.key("answer_bytes_max").refuse("must be larger than nothing", "the default is `4MiB`");
    }
}

fn projects(ticketing: &Ticketing, scope: &Scope<'_>) {
    const HELP: &str = "a key is what stands before the number of a ticket: `SUP` in `SUP-123`";
    let wrong = |key: &str| {
        format!("is `{key}`, which is no key of a project: upper-case letters, digits and `_`, a letter first")
    };
    for (index, (scope, key)) in scope.key("projects").items(&ticketing.projects).into_iter().enumerate() {
        if !is_project_key(key) {
            scope.refuse(wrong(key), HELP);
        } else if ticketing.projects[..index].contains(key) {
            scope.refuse(format!("is `{key}`, which stands there already"), "remove one of them");
        }
    }
    let Some(usual) = &ticketing.default_project else { return };
    let scope = scope.key("default_project");
    if !is_project_key(usual) {
        scope.refuse(wrong(usual), HELP);
    } else if !ticketing.projects.is_empty() && !ticketing.projects.contains(usual) {
        scope.refuse(
            format!("is `{usual}`, which is not among `projects`"),
            "new tickets could not be seen: add it there",
        );
    }
}

fn is_project_key(key: &str) -> bool {
    const LENGTH_MAX: usize = 255;
    key.len() <= LENGTH_MAX
        && key.starts_with(|c: char| c.is_ascii_uppercase())
        && key.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

pub(super) fn tools(downstream: &Downstream, scope: &Scope<'_>) {
    offers_something(downstream, scope);
    for name in downstream.tools.keys() {
        let scope = scope.key("tools").key(name);
        belongs_to_others(&["sql", "request", "answer", "arguments"], "a ticketing system brings its tools", &scope);
        let known = Ticketing::TOOLS.map(|(tool, _)| tool);
        if !known.contains(&name.as_str()) {
            let help = match nearest(name, known) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("its tools are {}", listed(&known)),
            };
            scope.refuse("is no tool of a ticketing system", help);
        }
    }
    effects(downstream, scope);
}

/// A write that the config takes for less would be dropped with its caller, repeated, or kept as an answer: what these tools do is
/// known, and no provider can undo it.
fn effects(downstream: &Downstream, scope: &Scope<'_>) {
    const HELP: &str = "what the tools of a ticketing system do is known: leave it out, or state `write`";
    let stated = |name: &str| downstream.tools.get(name).and_then(|tool| tool.effect);
    let writes = || Ticketing::TOOLS.into_iter().filter(|(_, effect)| *effect == Effect::Write).map(|(name, _)| name);
    for name in writes() {
        if let Some(effect) = stated(name).filter(|effect| *effect != Effect::Write) {
            let scope = scope.key("tools").key(name).key("effect");
            scope.refuse(format!("is `{}`, but the tool is a `write`", effect.as_str()), HELP);
        }
    }
    let decides = |name: &str| downstream.effects.iter().position(|rule| rule.pattern.matches(name));
    for (index, (scope, rule)) in scope.key("effects").items(&downstream.effects).into_iter().enumerate() {
        let taken_for_less: Vec<&str> =
            writes().filter(|name| stated(name).is_none() && decides(name) == Some(index)).collect();
        if rule.effect != Effect::Write && !taken_for_less.is_empty() {
            let what =
                format!("is `{}`, but among its tools are writes: {}", rule.effect.as_str(), listed(&taken_for_less));
            scope.key("effect").refuse(what, HELP);
        }
    }
}

#[cfg(test)]
mod tests;
