//! What an expression speaks of. Only what a condition has a use for may stand in one: a name that is not known is a mistake of the
//! config, and not a condition that never holds.

use std::collections::BTreeSet;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};
use config::Network;

use super::facts::{CALLER, NETWORK_FUNCTION, TIME, TOOL};

/// Functions that take time in proportion to what they are given, and not more.
const FUNCTIONS: [&str; 7] = ["size", "contains", "startsWith", "endsWith", "double", "int", NETWORK_FUNCTION];
const OPERATORS: [&str; 18] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
    operators::IN,
];

/// The members of each variable that an expression names.
#[derive(Debug, Default)]
pub(super) struct Mentions {
    pub(super) caller: Option<BTreeSet<Box<str>>>,
    /// Of `caller.claims`.
    pub(super) claims: Option<Members>,
    pub(super) tool: Option<BTreeSet<Box<str>>>,
    pub(super) time: Option<BTreeSet<Box<str>>>,
    pub(super) arguments: Option<Members>,
    /// Whether it asks for networks.
    pub(super) networks: bool,
}

/// Which of the members that others choose the names of.
#[derive(Debug)]
pub(super) enum Members {
    /// Those of these names.
    Named(BTreeSet<Box<str>>),
    /// All, since it speaks of them as a whole.
    All,
}

/// What `tree` speaks of; what it may not speak of is told in a clause that goes on "the condition …".
pub(super) fn mentions(tree: &IdedExpr, depth_max: usize) -> Result<Mentions, String> {
    let mut reader = Reader { mentions: Mentions::default(), bound: Vec::new(), deeper: depth_max };
    reader.read(tree)?;
    Ok(reader.mentions)
}

struct Reader<'t> {
    mentions: Mentions,
    /// The names that loops around have given.
    bound: Vec<&'t str>,
    /// How much deeper it may nest.
    deeper: usize,
}

impl<'t> Reader<'t> {
    fn read(&mut self, tree: &'t IdedExpr) -> Result<(), String> {
        self.deeper = self.deeper.checked_sub(1).ok_or("nests too deep: write several conditions")?;
        let read = self.read_here(tree);
        self.deeper += 1;
        read
    }

    fn read_here(&mut self, tree: &'t IdedExpr) -> Result<(), String> {
        match &tree.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.whole(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.read(element)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.read(&entry.key)?;
                    self.read(&entry.value)
                }
                EntryExpr::StructField(field) => self.read(&field.value),
            }),
            Expr::Comprehension(each) => {
                self.read(&each.iter_range)?;
                self.read(&each.accu_init)?;
                let outside = self.bound.len();
                let names = [Some(&each.iter_var), each.iter_var2.as_ref(), Some(&each.accu_var)];
                for name in names.into_iter().flatten() {
                    if is_variable(name) {
                        return Err(format!("gives the name `{name}` to something else: choose another name"));
                    }
                    self.bound.push(name);
                }
                let parts = [&each.loop_cond, &each.loop_step, &each.result];
                let read = parts.into_iter().try_for_each(|part| self.read(part));
                self.bound.truncate(outside);
                read
            }
            Expr::Struct(_) | Expr::Unspecified => Err("makes messages, which conditions have no use for".to_owned()),
        }
    }

    /// A name that stands alone.
    fn whole(&mut self, name: &str) -> Result<(), String> {
        if !self.is_free(name) {
            return Ok(());
        }
        match name {
            "arguments" => {
                self.mentions.arguments = Some(Members::All);
                Ok(())
            }
            name if is_variable(name) => {
                Err(format!("speaks of `{name}` as a whole: name a member, such as `{name}.{}`", known(name)[0]))
            }
            name => Err(format!("names `{name}`, which is none of `caller`, `arguments`, `tool` and `time`")),
        }
    }

    fn select(&mut self, select: &'t SelectExpr) -> Result<(), String> {
        self.part(&select.operand, &select.field)
    }

    /// The part `name` of something.
    fn part(&mut self, of: &'t IdedExpr, name: &str) -> Result<(), String> {
        match &of.expr {
            Expr::Ident(variable) if self.is_free(variable) => self.member(variable, name),
            Expr::Select(claims) if self.is_claims(claims) => {
                add(&mut self.mentions.claims, name);
                self.mentions.caller.get_or_insert_default();
                Ok(())
            }
            _ => self.read(of),
        }
    }

    fn is_free(&self, name: &str) -> bool {
        !self.bound.contains(&name)
    }

    fn is_claims(&self, select: &SelectExpr) -> bool {
        let of_caller = matches!(&select.operand.expr, Expr::Ident(name) if name == "caller" && self.is_free(name));
        of_caller && select.field == "claims" && !select.test
    }

    /// A member of a variable.
    fn member(&mut self, variable: &str, member: &str) -> Result<(), String> {
        let members = match variable {
            "arguments" => {
                add(&mut self.mentions.arguments, member);
                return Ok(());
            }
            "caller" => &mut self.mentions.caller,
            "tool" => &mut self.mentions.tool,
            "time" => &mut self.mentions.time,
            _ => return self.whole(variable),
        };
        let known = known(variable);
        if !known.contains(&member) {
            let help = match config::nearest(member, known.iter().copied()) {
                Some(near) => format!("did you mean `{variable}.{near}`?"),
                None => format!("it has {}", known.join(", ")),
            };
            return Err(format!("names `{variable}.{member}`, which there is not: {help}"));
        }
        members.get_or_insert_default().insert(member.into());
        if member == "claims" {
            self.mentions.claims = Some(Members::All);
        }
        Ok(())
    }

    fn call(&mut self, call: &'t CallExpr) -> Result<(), String> {
        let name = call.func_name.as_str();
        // What loops are made of.
        let is_inner = name == operators::NOT_STRICTLY_FALSE;
        if !OPERATORS.contains(&name) && !FUNCTIONS.contains(&name) && !is_inner {
            return Err(format!(
                "calls `{name}`; conditions have {}, and `has`, `all`, `exists`, `exists_one`, `filter`, `map`",
                FUNCTIONS.map(|name| format!("`{name}`")).join(", ")
            ));
        }
        if name == NETWORK_FUNCTION {
            network(call)?;
            self.mentions.networks = true;
        }
        // `arguments["customer-id"]` is a member like `arguments.customer_id`.
        if name == operators::INDEX
            && let [of, key] = &call.args[..]
            && let Expr::Literal(LiteralValue::String(key)) = &key.expr
        {
            return self.part(of, key.inner());
        }
        call.target.iter().map(|target| &**target).chain(&call.args).try_for_each(|part| self.read(part))
    }
}

/// The network that an address is looked for in stands in the expression as it is, so that it can be checked here.
fn network(call: &CallExpr) -> Result<(), String> {
    let form = "write it as `in_network(caller.address, \"10.0.0.0/8\")`";
    let (None, [_, network]) = (&call.target, &call.args[..]) else {
        return Err(format!("calls `{NETWORK_FUNCTION}` in another way: {form}"));
    };
    let Expr::Literal(LiteralValue::String(network)) = &network.expr else {
        return Err(format!("asks for a network that does not stand in it: {form}"));
    };
    network.inner().parse::<Network>().map(drop).map_err(|wrong| format!("asks for a network that is none: {wrong}"))
}

fn add(members: &mut Option<Members>, name: &str) {
    if let Members::Named(names) = members.get_or_insert_with(|| Members::Named(BTreeSet::new())) {
        names.insert(name.into());
    }
}

fn is_variable(name: &str) -> bool {
    matches!(name, "caller" | "arguments" | "tool" | "time")
}

fn known(variable: &str) -> &'static [&'static str] {
    match variable {
        "caller" => &CALLER,
        "tool" => &TOOL,
        _ => &TIME,
    }
}
