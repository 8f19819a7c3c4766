//! How long an expression can take at the very worst, before it is ever worked out.
//!
//! What it looks at is bounded by the conversion of the facts: so many bytes, so many values. From there the bound of each part follows from
//! those of its own parts. A step is about a microsecond.

use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use super::facts::{BYTES_MAX, VALUES_MAX};

/// The steps that one condition may take.
const STEPS_MAX: u64 = 200_000;
/// How many bytes are looked at or copied in one step.
const BYTES_A_STEP: u64 = 256;

/// The bound of one part of an expression: what it takes, and how large its value can be.
#[derive(Debug, Clone, Copy, Default)]
struct Bound {
    steps: u64,
    size: Size,
}

/// How large a value can be.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    bytes: u64,
    values: u64,
}

impl Size {
    const SCALAR: Self = Self { bytes: 8, values: 1 };
    const FACT: Self = Self { bytes: BYTES_MAX as u64, values: VALUES_MAX as u64 };

    /// To look at all of it once.
    fn steps(self) -> u64 {
        (self.bytes / BYTES_A_STEP).saturating_add(self.values / 16)
    }

    fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), values: self.values.saturating_add(other.values) }
    }

    fn times(self, count: u64) -> Self {
        Self { bytes: self.bytes.saturating_mul(count), values: self.values.saturating_mul(count) }
    }

    fn smaller(self, other: Self) -> Self {
        if self.steps() <= other.steps() { self } else { other }
    }
}

/// Refuses an expression that could take too long.
pub(super) fn bounded(tree: &IdedExpr) -> Result<(), String> {
    let steps = of(tree, &mut Vec::new()).steps;
    if steps <= STEPS_MAX {
        return Ok(());
    }
    Err("could take too long over large arguments: loop over one list at a time, and not within another loop"
        .to_owned())
}

fn of<'t>(tree: &'t IdedExpr, bound: &mut Vec<(&'t str, Size)>) -> Bound {
    match &tree.expr {
        Expr::Literal(literal) => Bound { steps: 1, size: of_literal(literal) },
        Expr::Ident(name) => {
            let named = bound.iter().rev().find(|(bound, _)| bound == name);
            Bound { steps: 1, size: named.map_or(Size::FACT, |(_, size)| *size) }
        }
        Expr::Select(select) => {
            let operand = of(&select.operand, bound);
            Bound { steps: operand.steps.saturating_add(1), ..operand }
        }
        Expr::Call(call) => {
            let parts: Vec<Bound> =
                call.target.iter().map(|target| &**target).chain(&call.args).map(|part| of(part, bound)).collect();
            of_call(&call.func_name, &parts)
        }
        Expr::List(list) => together(list.elements.iter().map(|element| of(element, bound)).collect()),
        Expr::Map(map) => {
            let entries = map.entries.iter().flat_map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
                EntryExpr::StructField(field) => vec![&field.value],
            });
            together(entries.map(|part| of(part, bound)).collect())
        }
        Expr::Comprehension(each) => of_loop(each, bound),
        Expr::Struct(_) | Expr::Unspecified => Bound { steps: u64::MAX, size: Size::FACT },
    }
}

fn of_literal(literal: &LiteralValue) -> Size {
    let bytes = match literal {
        LiteralValue::String(text) => text.inner().len(),
        LiteralValue::Bytes(bytes) => bytes.inner().len(),
        LiteralValue::Boolean(_)
        | LiteralValue::Double(_)
        | LiteralValue::Int(_)
        | LiteralValue::UInt(_)
        | LiteralValue::Null => 8,
    };
    Size { bytes: bytes as u64, values: 1 }
}

fn of_call(name: &str, parts: &[Bound]) -> Bound {
    let steps = parts.iter().fold(1, |sum: u64, part| sum.saturating_add(part.steps));
    let whole = parts.iter().fold(Size::default(), |sum, part| sum.plus(part.size));
    let (work, size) = match name {
        operators::ADD => (whole.steps(), whole),
        operators::CONDITIONAL => (0, whole),
        operators::INDEX => (0, parts.first().map_or(Size::SCALAR, |of| of.size)),
        operators::EQUALS
        | operators::NOT_EQUALS
        | operators::LESS
        | operators::LESS_EQUALS
        | operators::GREATER
        | operators::GREATER_EQUALS => {
            let smaller = parts.iter().map(|part| part.size).reduce(Size::smaller).unwrap_or_default();
            (smaller.steps(), Size::SCALAR)
        }
        // The others look at all that they are given, at the worst.
        _ => (whole.steps(), Size::SCALAR),
    };
    Bound { steps: steps.saturating_add(work), size }
}

fn together(parts: Vec<Bound>) -> Bound {
    let zero = Bound { steps: 1, size: Size { bytes: 0, values: 1 } };
    parts
        .into_iter()
        .fold(zero, |sum, part| Bound { steps: sum.steps.saturating_add(part.steps), size: sum.size.plus(part.size) })
}

/// The items of a list have together what the list has. So what all rounds take is what one would over the whole list, and for each of the
/// others what a round takes over nothing.
fn of_loop<'t>(each: &'t ComprehensionExpr, bound: &mut Vec<(&'t str, Size)>) -> Bound {
    let (range, start) = (of(&each.iter_range, bound), of(&each.accu_init, bound));
    let outside = bound.len();
    let round = |item: Size, bound: &mut Vec<(&'t str, Size)>| {
        let names = std::iter::once(&each.iter_var).chain(&each.iter_var2);
        bound.extend(names.map(|name| (name.as_str(), item)));
        // What is collected is appended to, and not copied in each round.
        bound.push((&each.accu_var, Size::default()));
        let (condition, step) = (of(&each.loop_cond, bound), of(&each.loop_step, bound));
        bound.truncate(outside);
        Bound { steps: condition.steps.saturating_add(step.steps).saturating_add(1), size: step.size }
    };
    let (whole, nothing) = (round(range.size, bound), round(Size::default(), bound));
    let rounds = range.size.values;
    let steps = whole.steps.saturating_add(nothing.steps.saturating_mul(rounds));
    let collected = start.size.plus(whole.size).plus(nothing.size.times(rounds));
    bound.push((&each.accu_var, collected));
    let result = of(&each.result, bound);
    bound.truncate(outside);
    let parts = [range.steps, start.steps, range.size.steps(), steps, result.steps];
    Bound { steps: parts.into_iter().fold(0, u64::saturating_add), size: result.size }
}
