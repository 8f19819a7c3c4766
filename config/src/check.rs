//! What the types alone cannot say: whether the settings of a config fit together. Each problem names its setting and its place.
//!
//! Nothing here looks at the environment or at files: that is `surroundings.rs`. A new section adds its file and its line here.

mod audit;
mod cache;
mod definitions;
mod downstream;
mod forward;
mod identity;
mod limits;
mod masking;
mod operations;
mod outbound;
mod policy;
mod redis;
mod server;

use std::{cell::RefCell, fmt};

pub(crate) use policy::known_role;
pub(crate) use server::is_loopback;

use crate::{
    Config, Period,
    document::{Document, SettingPath, Value},
    problem::{Finding, Findings},
};

/// Checks all of `config`; `scope` is the top of its text.
pub(crate) fn config(config: &Config, scope: &Scope<'_>) {
    server::server(config, &scope.key("server"), scope);
    server::deadlines(&config.deadlines, &scope.key("deadlines"));
    downstream::names(&config.names, scope);
    downstream::downstreams(config, scope);
    identity::identity(config, scope);
    policy::policy(config, scope);
    policy::views(config, scope);
    redis::redis(config, scope);
    cache::cache(config, scope);
    limits::limits(config, scope);
    masking::masking(config, scope);
    operations::operations(config, scope);
    definitions::definitions(config, scope);
    outbound::outbound(config, scope);
    audit::audit(config, scope);
    forward::forward(config, scope);
}

/// One setting in the text: what is wrong with it is said here.
#[derive(Clone)]
pub(crate) struct Scope<'a> {
    document: &'a Document,
    findings: &'a RefCell<Findings>,
    path: SettingPath,
}

impl<'a> Scope<'a> {
    /// The top of the file.
    pub(crate) fn root(document: &'a Document, findings: &'a RefCell<Findings>) -> Self {
        Self { document, findings, path: SettingPath::default() }
    }

    pub(crate) fn key(&self, key: &str) -> Self {
        Self { path: self.path.key(key), ..self.clone() }
    }

    pub(crate) fn index(&self, index: usize) -> Self {
        Self { path: self.path.index(index), ..self.clone() }
    }

    /// Whether the text has this setting, be it right or wrong. The checks of what belongs together ask this instead of the
    /// model, in which a part that was wrong is missing: one mistake must not be reported as two.
    pub(crate) fn given(&self) -> bool {
        self.document.node(&self.path).is_some_and(|node| !matches!(node.value, Value::Nothing))
    }

    /// The keys that the text has here, right or wrong.
    pub(crate) fn keys(&self) -> Vec<&'a str> {
        let entries = self.document.node(&self.path).map_or(&[][..], |node| node.entries());
        entries.iter().map(|entry| entry.key.as_str()).collect()
    }

    /// The indices in the text of the items that were read, in order: an item that was wrong is not among them.
    pub(crate) fn indices(&self) -> Vec<usize> {
        let Some(node) = self.document.node(&self.path) else { return Vec::new() };
        let Value::List(items) = &node.value else { return Vec::new() };
        items.iter().enumerate().filter(|(_, item)| !item.left_out).map(|(index, _)| index).collect()
    }

    /// The items of a list that was read, each with its place.
    pub(crate) fn items<'b, T>(&self, list: &'b [T]) -> Vec<(Self, &'b T)> {
        self.indices().into_iter().map(|index| self.index(index)).zip(list).collect()
    }

    /// Refuses the config: "`setting` `what`".
    pub(crate) fn refuse(&self, what: impl fmt::Display, help: impl Into<String>) {
        self.add(what, help.into(), false);
    }

    /// Says "`setting` `what`" without refusing the config.
    pub(crate) fn warn(&self, what: impl fmt::Display, help: impl Into<String>) {
        self.add(what, help.into(), true);
    }

    /// Keeps the value out of everything that is printed.
    pub(crate) fn hide(&self) {
        if let Some(node) = self.document.node(&self.path) {
            self.findings.borrow_mut().hide(node.place);
        }
    }

    /// Refuses a period of nothing.
    pub(crate) fn some_time(&self, period: Period) {
        if period.0.is_zero() {
            self.refuse("must be longer than nothing", "a wait of `0s` would end before it begins");
        }
    }

    /// Refuses a period outside of `least..=most`.
    pub(crate) fn time_within(&self, period: Period, least: Period, most: Period) {
        if period < least || period > most {
            self.refuse(format!("must be from `{least}` to `{most}`, not `{period}`"), "");
        }
    }

    /// Refuses a zero.
    pub(crate) fn at_least_one(&self, number: usize) {
        if number == 0 {
            self.refuse("must be at least 1", "with 0 nothing would ever be let through");
        }
    }

    fn add(&self, what: impl fmt::Display, help: String, warning: bool) {
        let message = if self.path.is_root() { what.to_string() } else { format!("`{self}` {what}") };
        let help = (!help.is_empty()).then_some(help);
        let place = if self.path.is_root() { None } else { self.document.place(&self.path) };
        self.findings.borrow_mut().add(Finding { place, setting: self.path.clone(), message, help, warning });
    }
}

impl fmt::Display for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

#[cfg(test)]
mod tests;
