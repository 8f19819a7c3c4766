//! The clauses of an entry.

use super::{Condition, CopybookError, Entry, Occurs, Reference, Sign, Usage, Words, source::Kind};
use crate::mainframe::codec::picture::Picture;

/// Whether a word begins a clause, so that the entry has no name.
pub(super) fn begins(word: &str) -> bool {
    matches!(
        word,
        "PIC"
            | "PICTURE"
            | "USAGE"
            | "SIGN"
            | "LEADING"
            | "TRAILING"
            | "OCCURS"
            | "REDEFINES"
            | "VALUE"
            | "VALUES"
            | "JUST"
            | "JUSTIFIED"
            | "BLANK"
            | "SYNC"
            | "SYNCHRONIZED"
            | "GLOBAL"
            | "EXTERNAL"
            | "RENAMES"
    ) || usage(word).is_some()
}

/// Reads one clause into `entry`.
pub(super) fn read(words: &mut Words<'_>, entry: &mut Entry) -> Result<(), CopybookError> {
    let word = words.word("a clause")?;
    match word {
        "PIC" | "PICTURE" => {
            words.next_if("IS");
            let text = words.word("a picture")?;
            let picture = Picture::parse(text).map_err(|wrong| words.error(format!("PIC {text}: {wrong}")))?;
            put(words, &mut entry.picture, picture, "PIC")
        }
        "USAGE" => {
            words.next_if("IS");
            let word = words.word("a usage")?;
            set_usage(words, entry, word)
        }
        "SIGN" => {
            words.next_if("IS");
            let word = words.word("LEADING or TRAILING")?;
            set_sign(words, entry, word)
        }
        "LEADING" | "TRAILING" => set_sign(words, entry, word),
        "OCCURS" => {
            let occurs = occurs(words)?;
            put(words, &mut entry.occurs, occurs, "OCCURS")
        }
        "REDEFINES" => {
            let name = words.name("the name of a field")?;
            put(words, &mut entry.redefines, name, "REDEFINES")
        }
        "VALUE" | "VALUES" => {
            words.next_if("IS");
            words.next_if("ARE");
            value(words).map(drop)
        }
        "JUST" | "JUSTIFIED" => {
            words.next_if("RIGHT");
            entry.justified = true;
            Ok(())
        }
        "BLANK" => {
            words.next_if("WHEN");
            match words.word("ZERO")? {
                "ZERO" | "ZEROS" | "ZEROES" => entry.blank_when_zero = true,
                _ => return Err(words.error("BLANK goes on with WHEN ZERO")),
            }
            Ok(())
        }
        "GLOBAL" | "EXTERNAL" => Ok(()),
        "IS" if matches!(words.peek_word(), Some("GLOBAL" | "EXTERNAL")) => Ok(()),
        "SYNC" | "SYNCHRONIZED" => {
            Err(words.error("SYNC adds bytes that depend on the compiler: remove it, and write those bytes as FILLER"))
        }
        "RENAMES" => Err(words.error("RENAMES is not supported")),
        _ if usage(word).is_some() => set_usage(words, entry, word),
        _ => Err(words.error(format!("{word} is no clause that is understood here; is a period missing before it?"))),
    }
}

fn put<T>(words: &Words<'_>, slot: &mut Option<T>, value: T, what: &str) -> Result<(), CopybookError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(words.error(format!("{what} stands twice; is a period missing before it?"))),
    }
}

/// What a word says of the usage; the error says why it cannot be had.
fn usage(word: &str) -> Option<Result<Usage, &'static str>> {
    // COMPUTATIONAL is the long form of COMP.
    let word = word.strip_prefix("COMPUTATIONAL").map_or(word.to_owned(), |rest| format!("COMP{rest}"));
    Some(match word.as_str() {
        "DISPLAY" => Ok(Usage::Display),
        "COMP" | "COMP-4" | "COMP-5" | "BINARY" => Ok(Usage::Binary),
        "COMP-3" | "PACKED-DECIMAL" => Ok(Usage::Packed),
        "COMP-1" | "COMP-2" => Err("floating point is not supported"),
        "COMP-6" | "COMP-X" | "COMP-N" => Err("it is of another compiler than the mainframe's"),
        "DISPLAY-1" | "NATIONAL" | "UTF-8" => Err("national and double-byte characters are not supported"),
        "INDEX" | "POINTER" | "POINTER-32" | "FUNCTION-POINTER" | "PROCEDURE-POINTER" | "OBJECT" => {
            Err("addresses mean nothing outside of the program: write a FILLER of their size")
        }
        _ => return None,
    })
}

fn set_usage(words: &Words<'_>, entry: &mut Entry, word: &str) -> Result<(), CopybookError> {
    match usage(word) {
        Some(Ok(usage)) => put(words, &mut entry.usage, usage, "USAGE"),
        Some(Err(reason)) => Err(words.error(format!("USAGE {word}: {reason}"))),
        None => Err(words.error(format!("{word} is no usage; there are DISPLAY, COMP, COMP-3 and their synonyms"))),
    }
}

fn set_sign(words: &mut Words<'_>, entry: &mut Entry, word: &str) -> Result<(), CopybookError> {
    let leading = match word {
        "LEADING" => true,
        "TRAILING" => false,
        _ => return Err(words.error(format!("SIGN is LEADING or TRAILING, not {word}"))),
    };
    let separate = words.next_if("SEPARATE");
    words.next_if("CHARACTER");
    put(words, &mut entry.sign, Sign { leading, separate }, "SIGN")
}

fn occurs(words: &mut Words<'_>) -> Result<Occurs, CopybookError> {
    let first = words.number("the number of times")?;
    let last = if words.next_if("TO") { Some(words.number("the largest number of times")?) } else { None };
    words.next_if("TIMES");
    let depending_on = if words.next_if("DEPENDING") {
        words.next_if("ON");
        Some(reference(words)?)
    } else {
        None
    };
    let (min, max) = match (last, &depending_on) {
        (Some(last), Some(_)) => (first, last),
        // Without TO, it may be down to one.
        (None, Some(_)) => (1, first),
        (None, None) => (first, first),
        (Some(_), None) => return Err(words.error("OCCURS n TO m needs DEPENDING ON, which says how often it is")),
    };
    if max == 0 || min > max {
        return Err(words.error(format!("OCCURS {min} TO {max} leaves no number of times")));
    }
    skip_keys(words)?;
    Ok(Occurs { min, max, depending_on })
}

fn reference(words: &mut Words<'_>) -> Result<Reference, CopybookError> {
    let name = words.name("the name of a field")?;
    let mut groups = Vec::new();
    while words.next_if("OF") || words.next_if("IN") {
        groups.push(words.name("the name of a group")?);
    }
    Ok(Reference { name, groups })
}

/// Steps over how the program searches a table.
fn skip_keys(words: &mut Words<'_>) -> Result<(), CopybookError> {
    while let Some(word @ ("ASCENDING" | "DESCENDING" | "INDEXED")) = words.peek_word() {
        words.next();
        words.next_if(if word == "INDEXED" { "BY" } else { "KEY" });
        words.next_if("IS");
        words.name("a name")?;
        while words
            .peek_word()
            .is_some_and(|word| !begins(word) && !matches!(word, "ASCENDING" | "DESCENDING" | "INDEXED"))
        {
            words.name("a name")?;
        }
    }
    Ok(())
}

/// A condition name with its values, behind its level.
pub(super) fn condition(words: &mut Words<'_>) -> Result<Condition, CopybookError> {
    let name = words.name("the name of a condition")?;
    match words.word("VALUE")? {
        "VALUE" | "VALUES" => {}
        word => return Err(words.error(format!("a condition name goes on with VALUE, not with {word}"))),
    }
    words.next_if("IS");
    words.next_if("ARE");
    let mut values = vec![value_or_range(words)?];
    while !words.next_period()? {
        if words.next_if("WHEN") {
            words.next_if("SET");
            words.next_if("TO");
            words.next_if("FALSE");
            words.next_if("IS");
            value(words)?;
        } else {
            values.push(value_or_range(words)?);
        }
    }
    Ok(Condition { name, values })
}

fn value_or_range(words: &mut Words<'_>) -> Result<String, CopybookError> {
    let from = value(words)?;
    if words.next_if("THRU") || words.next_if("THROUGH") {
        return Ok(format!("{from} to {}", value(words)?));
    }
    Ok(from)
}

/// A literal or a figurative constant, in the words of a description.
fn value(words: &mut Words<'_>) -> Result<String, CopybookError> {
    let all = words.next_if("ALL");
    let value = match words.next() {
        Some(Kind::Literal(text)) if text.trim().is_empty() => "spaces".to_owned(),
        Some(Kind::Literal(text)) => text.clone(),
        Some(Kind::Word(word)) => match word.as_str() {
            "ZERO" | "ZEROS" | "ZEROES" => "0".to_owned(),
            "SPACE" | "SPACES" => "spaces".to_owned(),
            "LOW-VALUE" | "LOW-VALUES" => "low-values".to_owned(),
            "HIGH-VALUE" | "HIGH-VALUES" => "high-values".to_owned(),
            "QUOTE" | "QUOTES" => "quotes".to_owned(),
            "NULL" | "NULLS" => "nulls".to_owned(),
            number if is_number(number) => number.to_owned(),
            other => return Err(words.error(format!("{other} is no value; is a period missing before it?"))),
        },
        Some(Kind::Period) | None => return Err(words.error("a value is missing")),
    };
    Ok(if all { format!("all {value}") } else { value })
}

fn is_number(word: &str) -> bool {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let is_symbol = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b',');
    unsigned.bytes().all(is_symbol) && unsigned.bytes().any(|byte| byte.is_ascii_digit())
}
