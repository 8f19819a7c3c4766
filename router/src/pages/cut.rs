//! Where a long answer is parted: structured content at the items of its longest array, texts where their lines end. An item that alone
//! is longer than a page is cut within its text.

use adapters::json::{self, Object};

use super::{
    ANSWER_BYTES_MAX, PARTS_MAX,
    array::{Array, shortened},
    content::{Item, Packed, pack},
};

/// What is left on each page for the words about what follows.
const NOTE_CHARACTERS_MAX: usize = 450;

/// A long answer in parts.
#[derive(Debug)]
pub(super) struct Cut {
    /// At least one. What all of them hold together is the answer, or as much of it as is kept.
    pub(super) parts: Vec<Part>,
    /// Whether the answer has more than the parts hold.
    pub(super) goes_on: bool,
    /// The item of `content` whose text is the JSON of the structured content.
    pub(super) repeats: Option<Repeats>,
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
    pub(super) content: Vec<String>,
    /// How many items or characters have been shown with this part.
    pub(super) shown: usize,
}

/// An item of `content` that is made from the structured content of each part.
#[derive(Debug)]
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
    let repeated = Item::repeating(&items, structured);
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
    Some(by_rows(rows, repeats, pack(&others, others_room), others_characters))
}

/// The structured content in parts.
struct Rows {
    /// Each with how many items have been shown with it.
    parts: Vec<(String, usize)>,
    items: usize,
    /// Whether there is more than is kept of one answer.
    goes_on: bool,
}

impl Rows {
    fn part(structured: &str, room: usize) -> Option<Self> {
        if structured.chars().count() <= room {
            return Some(Self { parts: vec![(structured.to_owned(), 0)], items: 0, goes_on: false });
        }
        let array = Array::longest_in(structured)?;
        let (mut parts, mut later_bytes) = (Vec::new(), 0);
        for range in array.split(room)? {
            // What stands around the array is in each part, so they can have far more bytes than the answer has.
            if parts.len() == PARTS_MAX || later_bytes > ANSWER_BYTES_MAX {
                return Some(Self { parts, items: array.items.len(), goes_on: true });
            }
            let text = array.with(range.clone());
            later_bytes += if parts.is_empty() { 0 } else { text.len() };
            parts.push((text, range.end));
        }
        Some(Self { parts, items: array.items.len(), goes_on: false })
    }
}

fn by_rows(rows: Rows, repeats: Option<Repeats>, packed: Packed, others_characters: usize) -> Cut {
    let by_rows = rows.parts.len() > 1;
    let content = Content::of(packed, by_rows, others_characters);
    let (unit, total) = if by_rows { (Unit::Items, rows.items) } else { (content.unit, content.total) };
    // Where one of the two goes on, its parts are as many as can be had of both.
    let ends = [(rows.goes_on, rows.parts.len()), (content.goes_on, content.pages.len())];
    let ends = ends.into_iter().filter_map(|(goes_on, parts)| goes_on.then_some(parts)).min();
    let (mut rows, mut pages) = (rows.parts.into_iter(), content.pages.into_iter());
    let mut parts = Vec::new();
    while ends.is_none_or(|ends| parts.len() < ends) {
        let (row, page) = (rows.next(), pages.next());
        if row.is_none() && page.is_none() {
            break;
        }
        let shown = match (&row, &page) {
            (Some((_, shown)), _) if by_rows => *shown,
            (None, _) if by_rows => total,
            (_, page) => page.as_ref().map_or(total, |(_, shown)| *shown),
        };
        let content = page.map(|(content, _)| content).unwrap_or_default();
        parts.push(Part { structured: row.map(|(structured, _)| structured), content, shown });
    }
    Cut { parts, goes_on: ends.is_some(), repeats, total, unit, as_text: false }
}

fn of_content(items: &[&Item<'_>], room: usize) -> Cut {
    let characters = items.iter().map(|item| item.characters).sum();
    let Content { pages, unit, total, goes_on } = Content::of(pack(items, room), false, characters);
    let part = |(content, shown)| Part { structured: None, content, shown };
    Cut { parts: pages.into_iter().map(part).collect(), goes_on, repeats: None, total, unit, as_text: false }
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
    if shortened(structured, 0).chars().count() > room {
        return None;
    }
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
    goes_on: bool,
}

impl Content {
    /// Of content with so many `characters` in all.
    fn of(packed: Packed, beside_rows: bool, characters: usize) -> Self {
        let items = packed.items_of_array.filter(|_| !beside_rows);
        let (unit, total) = items.map_or((Unit::Characters, characters), |items| (Unit::Items, items));
        let mut shown = 0;
        let counted = packed.pages.into_iter().map(|page| {
            shown += if unit == Unit::Items { page.items } else { page.characters };
            (page.content, shown)
        });
        Self { pages: counted.collect(), unit, total, goes_on: packed.goes_on }
    }
}
