//! What a copybook means: the fields of a record, in the order of its bytes, under the names they have in JSON.

mod names;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use self::names::Names;
use super::{
    RECORD_BYTES_MAX,
    copybook::{CopybookError, Entry, Occurs, Reference, Sign, Usage},
    picture::{Digits, Picture},
};

/// A record.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) items: Vec<Item>,
    /// How many fields count the occurrences of tables.
    pub(super) counters: usize,
}

/// A field or a group.
#[derive(Debug)]
pub(super) struct Item {
    /// The key in JSON. A filler has none: its bytes are skipped, and the fields of a filler group belong to the group around it.
    pub(super) key: Option<String>,
    pub(super) repeat: Repeat,
    pub(super) content: Content,
    /// What its condition names say, for whoever reads the schema.
    pub(super) description: Option<String>,
    /// Where its value is kept, because it counts the occurrences of a table.
    pub(super) counter: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Once,
    Times(usize),
    /// As often as the counter says.
    Depending {
        min: usize,
        max: usize,
        counter: usize,
    },
}

#[derive(Debug)]
pub(super) enum Content {
    Group(Vec<Item>),
    Text(Text),
    Number(Number),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    pub(super) bytes: usize,
    /// Whether spaces before it are none of its own: it is justified, or made for people to read.
    pub(super) trim_start: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Number {
    pub(super) digits: Digits,
    pub(super) form: Form,
    pub(super) blank_when_zero: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A character a digit.
    Zoned(Sign),
    Binary,
    Packed,
}

/// Every number of so many digits survives a reader that knows doubles alone, such as one in JavaScript (RFC 7493, section 2.2).
const DOUBLE_DIGITS: usize = 15;

impl Number {
    /// Whether it stands as a text in the JSON, so that no reader rounds it.
    pub(super) fn is_text(&self) -> bool {
        let zeros = usize::try_from(-self.digits.scale).unwrap_or(0);
        self.digits.count + zeros > DOUBLE_DIGITS
    }

    /// How many bytes it has.
    pub(super) fn bytes(&self) -> usize {
        match (self.form, self.digits.count) {
            (Form::Zoned(sign), digits) => digits + usize::from(self.digits.signed && sign.separate),
            (Form::Packed, digits) => digits / 2 + 1,
            (Form::Binary, 1..=4) => 2,
            (Form::Binary, 5..=9) => 4,
            (Form::Binary, _) => 8,
        }
    }
}

impl Layout {
    /// Puts entries together.
    pub(super) fn build(entries: &[Entry]) -> Result<Self, CopybookError> {
        let references = entries.iter().filter_map(|entry| entry.occurs.as_ref()?.depending_on.as_ref());
        let mut builder = Builder {
            entries,
            counting: references.map(|reference| reference.name.as_str()).collect(),
            counters: HashMap::new(),
            counters_count: 0,
            groups: Vec::new(),
        };
        let around = Around { usage: None, sign: None, tables: 0, redefines: false };
        let Members { mut items, .. } = builder.members(0, around, &mut Names::default())?;
        // The record itself needs no name: its fields are the object.
        if let [Item { repeat: Repeat::Once, content: Content::Group(_), .. }] = items.as_slice()
            && entries.first().is_some_and(|entry| entry.level == 1)
            && let Some(Item { content: Content::Group(fields), .. }) = items.pop()
        {
            items = fields;
        }
        if items.is_empty() {
            return Err(CopybookError::new(1, "there is no field in it"));
        }
        Ok(Self { items, counters: builder.counters_count })
    }
}

struct Builder<'a> {
    /// What is left.
    entries: &'a [Entry],
    /// The names of fields that tables depend on.
    counting: HashSet<&'a str>,
    /// The fields of such names so far, each with the groups it stands in, the innermost last.
    counters: HashMap<&'a str, Vec<Counter<'a>>>,
    counters_count: usize,
    /// The groups around the present entry.
    groups: Vec<&'a str>,
}

struct Counter<'a> {
    groups: Vec<&'a str>,
    index: usize,
}

/// What the groups around an entry say.
#[derive(Clone, Copy)]
struct Around {
    usage: Option<Usage>,
    sign: Option<Sign>,
    /// How many of them are tables.
    tables: usize,
    /// Whether one of them shares the bytes of something else, and is left out.
    redefines: bool,
}

/// The items of one group.
struct Members {
    items: Vec<Item>,
    extent: Extent,
}

/// How many bytes something has.
#[derive(Clone, Copy)]
struct Extent {
    bytes_max: usize,
    varies: bool,
}

/// Bytes that further entries may redefine.
struct Redefinable<'a> {
    names: HashSet<&'a str>,
    extent: Extent,
}

/// As many as COBOL has. It also bounds how deep a value is nested in JSON, which readers limit.
const TABLES_MAX: usize = 7;

impl<'a> Builder<'a> {
    fn members(&mut self, parent: u8, around: Around, names: &mut Names) -> Result<Members, CopybookError> {
        let mut items = Vec::new();
        let mut extent = Extent { bytes_max: 0, varies: false };
        let mut level = None;
        let mut redefinable: Option<Redefinable<'a>> = None;
        while let Some((entry, rest)) = self.entries.split_first().filter(|(entry, _)| entry.level > parent) {
            check_level(entry, level.replace(entry.level))?;
            self.entries = rest;
            let Some(redefined) = &entry.redefines else {
                let (item, its) = self.item(entry, around, names)?;
                extent = extent.and(its, entry)?;
                items.push(item);
                redefinable = Some(Redefinable { names: entry.name.as_deref().into_iter().collect(), extent: its });
                continue;
            };
            // The first alternative counts: which of them a record has is nothing that a copybook says.
            let Some(first) = redefinable.as_mut().filter(|first| first.names.contains(redefined.as_str())) else {
                return Err(error(
                    entry,
                    format!("REDEFINES {redefined} must follow {redefined} at once, at the same level"),
                ));
            };
            let (_, its) = self.item(entry, Around { redefines: true, ..around }, &mut Names::default())?;
            if first.extent.varies || its.varies {
                return Err(error(entry, "REDEFINES and OCCURS DEPENDING ON do not go together"));
            }
            first.names.extend(entry.name.as_deref());
            if let Some(bytes) = its.bytes_max.checked_sub(first.extent.bytes_max).filter(|&bytes| bytes > 0) {
                // The larger one is what the record has room for.
                let filling = Extent { bytes_max: bytes, varies: false };
                extent = extent.and(filling, entry)?;
                first.extent = its;
                items.push(Item::filler(bytes));
            }
        }
        Ok(Members { items, extent })
    }

    /// One field or group with all that is in it, and how many bytes that has.
    fn item(&mut self, entry: &'a Entry, around: Around, names: &mut Names) -> Result<(Item, Extent), CopybookError> {
        let repeat = self.repeat(entry, around)?;
        let around = Around {
            usage: entry.usage.or(around.usage),
            sign: entry.sign.or(around.sign),
            tables: around.tables + usize::from(entry.occurs.is_some()),
            ..around
        };
        if around.tables > TABLES_MAX {
            return Err(error(entry, format!("tables are nested {TABLES_MAX} deep at most")));
        }
        let is_group = self.entries.first().is_some_and(|next| next.level > entry.level);
        let mut key = entry.name.as_deref().map(|name| names.key(name));
        let (content, once, counter) = if is_group {
            let members = self.group(entry, around, key.is_none() && repeat == Repeat::Once, names)?;
            if key.is_none() && repeat != Repeat::Once && names_something(&members.items) {
                // A list needs a key.
                key = Some(names.key("FILLER"));
            }
            (Content::Group(members.items), members.extent, None)
        } else {
            let content = elementary(entry, around)?;
            let once = Extent { bytes_max: content.bytes(), varies: false };
            let counter = self.counter(entry, around, &content);
            (content, once, counter)
        };
        let extent = once.times(&repeat, entry)?;
        Ok((Item { key, repeat, content, description: description(entry), counter }, extent))
    }

    /// What stands in a group; `hoisted` when its fields belong to the group around it.
    fn group(
        &mut self,
        entry: &'a Entry,
        around: Around,
        hoisted: bool,
        names: &mut Names,
    ) -> Result<Members, CopybookError> {
        if entry.picture.is_some() {
            return Err(error(entry, "what has a PIC has no fields of its own: correct the levels behind it"));
        }
        if entry.justified || entry.blank_when_zero {
            return Err(error(entry, "JUSTIFIED and BLANK WHEN ZERO are for single fields, not for groups"));
        }
        self.groups.extend(entry.name.as_deref());
        let mut own = Names::default();
        let members = self.members(entry.level, around, if hoisted { names } else { &mut own })?;
        self.groups.truncate(self.groups.len() - usize::from(entry.name.is_some()));
        Ok(members)
    }

    fn repeat(&self, entry: &Entry, around: Around) -> Result<Repeat, CopybookError> {
        Ok(match &entry.occurs {
            None => Repeat::Once,
            Some(_) if entry.level == 1 => {
                return Err(error(
                    entry,
                    "a record (level 01) does not OCCUR; for an answer of many records, say many: true",
                ));
            }
            Some(Occurs { max, depending_on: None, .. }) => Repeat::Times(*max),
            Some(Occurs { min, max, depending_on: Some(reference) }) if !around.redefines => {
                Repeat::Depending { min: *min, max: *max, counter: self.find_counter(entry, reference)? }
            }
            Some(_) => return Err(error(entry, "REDEFINES and OCCURS DEPENDING ON do not go together")),
        })
    }

    /// Gives a field that a table depends on a place for its value. One within a table would have many values, and one that shares the
    /// bytes of another is not read.
    fn counter(&mut self, entry: &'a Entry, around: Around, content: &Content) -> Option<usize> {
        let name = entry.name.as_deref().filter(|name| self.counting.contains(name))?;
        match content {
            Content::Number(number) if number.digits.scale == 0 && number.digits.count <= BINARY_DIGITS_MAX => {}
            Content::Number(_) | Content::Text(_) | Content::Group(_) => return None,
        }
        if around.tables > 0 || around.redefines {
            return None;
        }
        let index = self.counters_count;
        self.counters_count += 1;
        self.counters.entry(name).or_default().push(Counter { groups: self.groups.clone(), index });
        Some(index)
    }

    fn find_counter(&self, entry: &Entry, reference: &Reference) -> Result<usize, CopybookError> {
        let name = &reference.name;
        let named = self.counters.get(name.as_str()).map(Vec::as_slice).unwrap_or_default();
        let mut fitting = named.iter().filter(|counter| counter.stands_in(&reference.groups));
        match (fitting.next(), fitting.next()) {
            (Some(counter), None) => Ok(counter.index),
            (Some(_), Some(_)) => Err(error(
                entry,
                format!("DEPENDING ON {name}: several fields have this name; say which with OF and its group"),
            )),
            (None, _) => Err(error(
                entry,
                format!(
                    "DEPENDING ON {name}: before this table there must be a field {name}, a whole number, in no table and not redefining"
                ),
            )),
        }
    }
}

impl Counter<'_> {
    /// Whether `wanted`, the innermost first, are among its groups in that order.
    fn stands_in(&self, wanted: &[String]) -> bool {
        let mut groups = self.groups.iter().rev();
        wanted.iter().all(|wanted| groups.any(|group| group == wanted))
    }
}

/// What a binary number holds.
const BINARY_DIGITS_MAX: usize = 18;

fn elementary(entry: &Entry, around: Around) -> Result<Content, CopybookError> {
    let Some(picture) = entry.picture else {
        return Err(error(
            entry,
            "it has neither a PIC nor fields of its own; a field of a group has a higher level than the group",
        ));
    };
    let usage = around.usage.unwrap_or(Usage::Display);
    let digits = match picture {
        Picture::Number(digits) => digits,
        Picture::Text { .. } | Picture::Edited { .. } if usage != Usage::Display => {
            return Err(error(entry, "only numbers (9, S, V, P) can be COMP"));
        }
        Picture::Text { bytes } if !entry.blank_when_zero => {
            return Ok(Content::Text(Text { bytes, trim_start: entry.justified }));
        }
        Picture::Text { .. } => return Err(error(entry, "BLANK WHEN ZERO is for numbers")),
        Picture::Edited { bytes } => return Ok(Content::Text(Text { bytes, trim_start: true })),
    };
    if entry.justified {
        return Err(error(entry, "JUSTIFIED is for text, not for numbers"));
    }
    if entry.sign.is_some() && (usage != Usage::Display || !digits.signed) {
        return Err(error(entry, "SIGN is for numbers with S in their picture and of usage DISPLAY"));
    }
    if entry.blank_when_zero && usage != Usage::Display {
        return Err(error(entry, "BLANK WHEN ZERO is for numbers of usage DISPLAY"));
    }
    let form = match usage {
        Usage::Display => Form::Zoned(around.sign.unwrap_or(Sign { leading: false, separate: false })),
        Usage::Packed => Form::Packed,
        Usage::Binary if digits.count <= BINARY_DIGITS_MAX => Form::Binary,
        Usage::Binary => return Err(error(entry, format!("a binary number has at most {BINARY_DIGITS_MAX} digits"))),
    };
    Ok(Content::Number(Number { digits, form, blank_when_zero: entry.blank_when_zero }))
}

fn check_level(entry: &Entry, before: Option<u8>) -> Result<(), CopybookError> {
    match before {
        Some(1) if entry.level == 1 => Err(error(
            entry,
            "a second record (level 01) begins here: one copybook is one record, so leave out the others",
        )),
        Some(level) if level != entry.level => Err(error(
            entry,
            format!("level {:02} stands in one group with level {level:02}: give them the same", entry.level),
        )),
        _ => Ok(()),
    }
}

fn names_something(items: &[Item]) -> bool {
    items.iter().any(|item| match &item.content {
        _ if item.key.is_some() => true,
        Content::Group(items) => names_something(items),
        Content::Text(_) | Content::Number(_) => false,
    })
}

/// What the condition names of a field say: `A: active; C, D: closed`.
fn description(entry: &Entry) -> Option<String> {
    let say = |condition: &super::copybook::Condition| {
        format!("{}: {}", condition.values.join(", "), names::in_json(&condition.name))
    };
    let said = entry.conditions.iter().map(say).collect::<Vec<_>>();
    (!said.is_empty()).then(|| said.join("; "))
}

fn error(entry: &Entry, message: impl std::fmt::Display) -> CopybookError {
    let name = entry.name.as_deref().unwrap_or("FILLER");
    CopybookError::new(entry.line, format!("{name}: {message}"))
}

impl Item {
    fn filler(bytes: usize) -> Self {
        let content = Content::Text(Text { bytes, trim_start: false });
        Self { key: None, repeat: Repeat::Once, content, description: None, counter: None }
    }
}

impl Content {
    /// How many bytes a single field has.
    fn bytes(&self) -> usize {
        match self {
            Self::Group(_) => 0,
            Self::Text(text) => text.bytes,
            Self::Number(number) => number.bytes(),
        }
    }
}

impl Extent {
    fn and(self, other: Self, entry: &Entry) -> Result<Self, CopybookError> {
        Self { bytes_max: self.bytes_max.saturating_add(other.bytes_max), varies: self.varies || other.varies }
            .check(entry)
    }

    fn times(self, repeat: &Repeat, entry: &Entry) -> Result<Self, CopybookError> {
        let (times, varies) = match *repeat {
            Repeat::Once => (1, false),
            Repeat::Times(times) => (times, false),
            Repeat::Depending { min, max, .. } => (max, min != max),
        };
        Self { bytes_max: self.bytes_max.saturating_mul(times), varies: self.varies || varies }.check(entry)
    }

    fn check(self, entry: &Entry) -> Result<Self, CopybookError> {
        if self.bytes_max > RECORD_BYTES_MAX {
            return Err(error(entry, format!("the record is larger than {RECORD_BYTES_MAX} bytes")));
        }
        Ok(self)
    }
}
