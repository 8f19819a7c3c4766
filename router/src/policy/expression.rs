//! The expression of one condition: read and bounded when the config is, worked out when somebody asks.
//!
//! An expression that cannot be worked out does not hold: a member that is missing, types that do not fit, a number that would have to be
//! rounded first. How long it may take is settled before it ever runs, by `cost`: it has nothing to loop over but what a bounded
//! conversion gave it.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use cel::{
    Context, Env, ExecutionError, Value,
    parser::{Expression as Tree, Parser},
};
use config::Network;

use super::{
    cost,
    facts::{Facts, NETWORK_FUNCTION, Unheld},
    tree::{self, Mentions},
};

/// The longest expression, in bytes.
const LENGTH_MAX: usize = 2000;
/// How many operators and brackets it has at most, those in its texts included: the parser takes stack for each that encloses another one.
const OPERATORS_MAX: usize = 100;
/// What the parser takes for so many at the worst, and three times as much.
const PARSER_STACK_BYTES: usize = 32 * 1024 * 1024;
/// How deep an expression may nest: working it out takes stack for each level, of a thread that serves calls.
const DEPTH_MAX: usize = 24;

/// An expression that was read and found to be bounded.
#[derive(Debug)]
pub(super) struct Expression {
    text: Box<str>,
    tree: Tree,
    mentions: Mentions,
}

impl Expression {
    /// Reads an expression. What is wrong with it is told in a clause that goes on "the condition …".
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text.len() > LENGTH_MAX {
            return Err(format!("is longer than {LENGTH_MAX} bytes"));
        }
        let is_operator = |byte: &u8| b"([{?:!<>=+-*/%".contains(byte);
        if text.bytes().filter(is_operator).count() > OPERATORS_MAX {
            return Err(format!("has more than {OPERATORS_MAX} operators and brackets: write several conditions"));
        }
        // On a thread of its own, since a stack that overflows ends the process, and another config is read while calls run.
        let reader = || Self::parse(text);
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(PARSER_STACK_BYTES).spawn_scoped(scope, reader);
            let read = thread.map(std::thread::ScopedJoinHandle::join);
            read.unwrap_or_else(|error| Ok(Err(format!("cannot be read now: {error}"))))
                .unwrap_or_else(|_panic| Err("cannot be read".to_owned()))
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let tree = Parser::default().enable_optional_syntax(false).parse(text).map_err(|errors| {
            let first = errors.errors.first().map(|error| error.msg.clone()).unwrap_or_default();
            format!("cannot be read: {}", first.lines().next().unwrap_or_default())
        })?;
        let mentions = tree::mentions(&tree, DEPTH_MAX)?;
        cost::bounded(&tree)?;
        Ok(Self { text: text.into(), tree, mentions })
    }

    /// As it stands in the config.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it can be worked out only for one call.
    pub(super) fn needs_arguments(&self) -> bool {
        self.mentions.arguments.is_some()
    }

    /// Whether it may come out otherwise for the same caller a moment later, or from another place.
    pub(super) fn may_change(&self) -> bool {
        let address = |members: &BTreeSet<Box<str>>| members.contains("address");
        self.mentions.time.is_some() || self.mentions.caller.as_ref().is_some_and(address)
    }

    /// Whether it holds.
    pub(super) fn holds(&self, facts: &Facts<'_>) -> Result<(), Unheld> {
        static ENVIRONMENT: LazyLock<Arc<Env>> =
            LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));
        let mut context = Context::with_env(ENVIRONMENT.clone());
        for (name, value) in facts.values(&self.mentions)? {
            context.add_variable_from_value(name, value);
        }
        if self.mentions.networks {
            context.add_function(NETWORK_FUNCTION, in_network).expect("the standard functions have no such name");
        }
        // What went wrong names values of the caller, so no more of it is told than that something did.
        match Value::resolve(&self.tree, &context) {
            Ok(Value::Bool(true)) => Ok(()),
            Ok(Value::Bool(false)) => Err(Unheld::False),
            Ok(_) => Err(Unheld::NotBoolean),
            Err(_) => Err(Unheld::Failed),
        }
    }
}

/// Whether an address lies in a network. That the network is one was checked when the expression was read.
#[allow(clippy::needless_pass_by_value, reason = "a function of the language takes what it is given")]
fn in_network(address: Arc<String>, network: Arc<String>) -> Result<bool, ExecutionError> {
    let wrong = || ExecutionError::function_error(NETWORK_FUNCTION, "no address, or no network");
    let network: Network = network.parse().map_err(|_| wrong())?;
    Ok(network.contains(address.parse().map_err(|_| wrong())?))
}

#[cfg(test)]
mod tests;
