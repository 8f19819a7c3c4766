//! Named subsets of what callers may see.

use std::sync::Arc;

use config::Glob;

/// A named subset: it narrows what the caller's roles allow, and never widens it.
#[derive(Debug)]
pub struct NamedView {
    /// As it stands in the path.
    pub name: Arc<str>,
    /// What it says of itself to a model that connects.
    pub instructions: Option<Box<str>>,
    /// Its place among the views of the config.
    pub(crate) at: usize,
    tools: Vec<Glob>,
}

impl NamedView {
    pub(super) fn new(name: &str, view: &config::View, at: usize) -> Self {
        let instructions = view.instructions.as_deref().map(Into::into);
        Self { name: name.into(), instructions, at, tools: view.tools.clone() }
    }

    /// Whether it shows the tool of this name to those who may use it.
    #[must_use]
    pub fn shows(&self, tool_name: &str) -> bool {
        self.tools.iter().any(|pattern| pattern.matches(tool_name))
    }
}
