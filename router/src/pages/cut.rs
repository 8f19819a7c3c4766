//! Where a long answer is parted: structured content at the items of its longest array, texts where their lines end. An item that alone
//! is longer than a page is cut within its text.

use adapters::json::{self, Object};

use super::{
    array::{Array, shortened},
    content::{Item, Packed, pack},
};

/// What is left on each page for the words about what follows.
const NOTE_CHARACTERS_MAX: usize = 450;

/// A long answer in parts.
#[derive(Debug)]
pub(super) struct Cut {
    /// At least one. What all of them hold together is the answer.
    pub(super) parts: Vec<Part>,
    /// How many items or characters the whole answer has.
    pub(super) total: usize,
    pub(super) unit: Unit,
    /// Whether the structured content could not be parted.
    pub(super) as_text: bool,
}

/// One part of a long answer.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) structured: Option<String>,
    /// The item of `content` whose text is the JSON of the structured content.
    pub(super) repeats: Option<Repeats>,
    pub(super) content: Vec<String>,
    /// How many items or characters have been shown with this part.
    pub(super) shown: usize,
}

/// An item of `content` that is made from the structured content of each part.
#[derive(Debug, Clone)]
pub(super) struct Repeats {
    /// The item as the downstream gave it, around its text.
    pub(super) item: String,
    pub(super) is_first: bool,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Items,
    Characters,
}

impl Unit {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Items => "items",
            Self::Characters => "characters",
        }
    }
}

/// Parts a result so that what a model reads of each has at most `characters_max` characters. `None` when the whole has no more. A result
/// whose tool `promises` structured content gets it on the first part in any case, cut short where it cannot be parted.
pub(super) fn cut(result: &Object<'_>, characters_max: usize, promises: bool) -> Option<Cut> {
    let raw_items = result.get("content").and_then(json::items).unwrap_or_default();
    let items: Vec<Item<'_>> = raw_items.into_iter().map(Item::read).collect();
    let structured = result.get("structuredContent").filter(|structured| structured.starts_with(['{', '[']));
    let structured_characters = structured.map_or(0, |structured| structured.chars().count());
    let text_characters = items.iter().map(|item| item.characters).sum::<usize>();
    // A client shows its model either the texts or the structured content.
    if structured_characters.max(text_characters) <= characters_max {
        return None;
    }
    let room = characters_max.saturating_sub(NOTE_CHARACTERS_MAX).max(1);
    let Some(structured) = structured else {
        return Some(of_content(&items.iter().collect::<Vec<_>>(), room));
    };
    let repeated = items.iter().position(|item| item.repeats(structured));
    let others = items.iter().enumerate().filter(|(index, _)| Some(*index) != repeated).map(|(_, item)| item);
    let others: Vec<&Item<'_>> = others.collect();
    let others_characters: usize = others.iter().map(|item| item.characters).sum();
    // Where the texts repeat the structured content, both share a page.
    let (rows_room, others_room) = match repeated {
        None => (room, room),
        Some(_) if others_characters <= room / 4 => (room - others_characters, room),
        Some(_) => (room / 2, room - room / 2),
    };
    let Some(rows) = Rows::part(structured, rows_room) else {
        return Some(as_text(&items, structured, repeated.is_some(), room, promises));
    };
    let repeats = repeated.map(|index| Repeats { item: items[index].with_text(""), is_first: index == 0 });
    Some(by_rows(rows, repeats.as_ref(), pack(&others, others_room)))
}

/// The structured content in parts, each with how many items have been shown with it.
struct Rows(Vec<(String, usize)>);

impl Rows {
    fn part(structured: &str, room: usize) -> Option<Self> {
        if structured.chars().count() <= room {
            return Some(Self(vec![(structured.to_owned(), 0)]));
        }
        let array = Array::longest_in(structured)?;
        let ranges = array.split(room)?;
        Some(Self(ranges.into_iter().map(|range| (array.with(range.clone()), range.end)).collect()))
    }
}

fn by_rows(Rows(rows): Rows, repeats: Option<&Repeats>, packed: Packed) -> Cut {
    let by_rows = rows.len() > 1;
    let total_items = rows.last().map_or(0, |(_, shown)| *shown);
    let content = Content::of(packed, by_rows);
    let (unit, total) = if by_rows { (Unit::Items, total_items) } else { (content.unit, content.total) };
    let (mut rows, mut pages) = (rows.into_iter(), content.pages.into_iter());
    let mut parts = Vec::new();
    loop {
        let (row, page) = (rows.next(), pages.next());
        if row.is_none() && page.is_none() {
            break;
        }
        let shown = match (&row, &page) {
            (Some((_, shown)), _) if by_rows => *shown,
            (None, _) if by_rows => total_items,
            (_, page) => page.as_ref().map_or(total, |(_, shown)| *shown),
        };
        let repeats = row.as_ref().and(repeats).cloned();
        let content = page.map(|(content, _)| content).unwrap_or_default();
        parts.push(Part { structured: row.map(|(structured, _)| structured), repeats, content, shown });
    }
    Cut { parts, total, unit, as_text: false }
}

fn of_content(items: &[&Item<'_>], room: usize) -> Cut {
    let content = Content::of(pack(items, room), false);
    let part = |(content, shown)| Part { structured: None, repeats: None, content, shown };
    let parts = content.pages.into_iter().map(part).collect();
    Cut { parts, total: content.total, unit: content.unit, as_text: false }
}

fn as_text(items: &[Item<'_>], structured: &str, is_repeated: bool, room: usize, promises: bool) -> Cut {
    let added = format!("{{\"type\":\"text\",\"text\":{}}}", json::string(structured));
    let added = (!is_repeated).then(|| Item::read(&added));
    let mut cut = of_content(&items.iter().chain(&added).collect::<Vec<_>>(), room);
    // Clients refuse a result without the structured content that its tool promises.
    cut.parts[0].structured = promises.then(|| short(structured, room)).flatten();
    cut.as_text = true;
    cut
}

/// The structured content, its longest texts and arrays cut short. `None` when it is made of too much else.
fn short(structured: &str, room: usize) -> Option<String> {
    let mut characters_max = room / 2;
    let mut short = shortened(structured, characters_max);
    while characters_max > 0 && short.chars().count() > room {
        characters_max /= 2;
        short = shortened(&short, characters_max);
    }
    (short.chars().count() <= room).then_some(short)
}

/// Pages of content, each with how much has been shown with it.
struct Content {
    pages: Vec<(Vec<String>, usize)>,
    unit: Unit,
    total: usize,
}

impl Content {
    fn of(packed: Packed, beside_rows: bool) -> Self {
        let unit = if packed.by_items && !beside_rows { Unit::Items } else { Unit::Characters };
        let mut total = 0;
        let counted = packed.pages.into_iter().map(|page| {
            total += if unit == Unit::Items { page.items } else { page.characters };
            (page.content, total)
        });
        let pages = counted.collect();
        Self { pages, unit, total }
    }
}
