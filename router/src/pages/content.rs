//! The items of a result's `content`, packed into pages in their order.

use std::{borrow::Cow, cell::LazyCell};

use adapters::json::{self, Object};
use serde_json::{Value, value::RawValue};

use super::{
    ANSWER_BYTES_MAX, PARTS_MAX,
    array::Array,
    text::{count, take},
};

/// What a piece of content takes besides its bytes.
const PIECE_BYTES: usize = 64;

/// One item of `content`.
#[derive(Debug)]
pub(super) struct Item<'a> {
    raw: &'a str,
    kind: Kind<'a>,
    /// How many characters of it a model reads.
    pub(super) characters: usize,
}

#[derive(Debug)]
enum Kind<'a> {
    /// A text, as it stands between its quotes.
    Text(&'a str),
    /// The text of an embedded resource, likewise.
    Resource(&'a str),
    /// An image, a link: nothing that can be cut.
    Whole,
}

/// The content of one page.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) content: Vec<String>,
    pub(super) characters: usize,
    /// How many items of a JSON array are in it.
    pub(super) items: usize,
}

/// Pages of content. At least one, and none empty where there is more than one.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) pages: Vec<Page>,
    /// How many items the JSON array has that was all that was cut.
    pub(super) items_of_array: Option<usize>,
    /// Whether there is more than is kept of one answer: the pages end before the content does.
    pub(super) goes_on: bool,
}

impl<'a> Item<'a> {
    pub(super) fn read(raw: &'a str) -> Self {
        let kind = Self::kind(raw).unwrap_or(Kind::Whole);
        let characters = match kind {
            Kind::Text(text) | Kind::Resource(text) => count(text),
            Kind::Whole if is_binary(raw) => 0,
            Kind::Whole => raw.chars().count(),
        };
        Self { raw, kind, characters }
    }

    fn kind(raw: &'a str) -> Option<Kind<'a>> {
        let item = Object::parse(raw)?;
        match json::unquote(item.get("type")?)?.as_ref() {
            "text" => inner(item.get("text")?).map(Kind::Text),
            "resource" => inner(Object::parse(item.get("resource")?)?.get("text")?).map(Kind::Resource),
            _ => None,
        }
    }

    /// The place of the item whose text is the same JSON as `structured`: servers repeat it for clients that read only text.
    pub(super) fn repeating(items: &[Self], structured: &str) -> Option<usize> {
        let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
        // Read once, however many items there are that could be the same.
        let whole = LazyCell::new(|| parsed(structured));
        let repeats = |text: &str| text == structured || whole.is_some() && parsed(text) == *whole;
        items.iter().position(|item| item.json().is_some_and(|text| repeats(&text)))
    }

    /// The item with another text, as it stands between the quotes.
    pub(super) fn with_text(&self, other: &str) -> String {
        match self.kind {
            Kind::Text(text) | Kind::Resource(text) => {
                let start = self.start_of(text);
                [&self.raw[..start], other, &self.raw[start + text.len()..]].concat()
            }
            Kind::Whole => self.raw.to_owned(),
        }
    }

    /// Where a piece of the item stands in it.
    fn start_of(&self, piece: &str) -> usize {
        piece.as_ptr() as usize - self.raw.as_ptr() as usize
    }

    /// The text, if it is a JSON object or array.
    fn json(&self) -> Option<Cow<'a, str>> {
        let Kind::Text(text) = self.kind else { return None };
        if !text.trim_start_matches("\\n").trim_ascii_start().starts_with(['{', '[']) {
            return None;
        }
        // The quotes stand right before and after it.
        let start = self.start_of(text);
        let text = json::unquote(&self.raw[start - 1..=start + text.len()])?;
        serde_json::from_str::<&RawValue>(&text).is_ok().then_some(text)
    }
}

/// Packs `items` into pages of at most `room` characters each: at the ends of items where that does, else of the items of a JSON array,
/// else of lines, else of characters.
pub(super) fn pack(items: &[&Item<'_>], room: usize) -> Packed {
    let mut packer = Packer { pages: vec![Page::default()], room, later_bytes: 0, is_full: false };
    let (mut arrays, mut texts) = (Vec::new(), 0);
    for item in items {
        if packer.is_full || item.characters <= room || matches!(item.kind, Kind::Whole) {
            packer.place(item.raw, item.characters, 0);
            texts += usize::from(item.characters > 0);
        } else if let Some(items) = packer.array(item) {
            arrays.push(items);
        } else {
            packer.lines(item);
            texts += 1;
        }
    }
    let items_of_array = arrays.first().copied().filter(|_| arrays.len() == 1 && texts == 0);
    Packed { pages: packer.pages, items_of_array, goes_on: packer.is_full }
}

struct Packer {
    pages: Vec<Page>,
    room: usize,
    /// The bytes on all pages but the first. What stands around a text is on each page that has a piece of the text, so they can be far
    /// more than the answer has.
    later_bytes: usize,
    /// Whether no more is kept.
    is_full: bool,
}

impl Packer {
    fn last(&mut self) -> &mut Page {
        self.pages.last_mut().expect("there is always a page")
    }

    fn left(&mut self) -> usize {
        self.room.saturating_sub(self.last().characters)
    }

    /// Puts a whole item on this page, or on the next one where it has no room.
    fn place(&mut self, item: impl Into<String>, characters: usize, items: usize) {
        let needs_page = characters > self.left() && !self.last().content.is_empty();
        self.is_full |= self.later_bytes > ANSWER_BYTES_MAX || needs_page && self.pages.len() == PARTS_MAX;
        if self.is_full {
            return;
        }
        if needs_page {
            self.pages.push(Page::default());
        }
        let (item, is_first) = (item.into(), self.pages.len() == 1);
        self.later_bytes += if is_first { 0 } else { item.len() + PIECE_BYTES };
        let page = self.last();
        page.content.push(item);
        page.characters += characters;
        page.items += items;
    }

    /// Parts a text that is JSON by the items of its longest array, and says how many it has; `None` where it has none, or one item is too
    /// long.
    fn array(&mut self, item: &Item<'_>) -> Option<usize> {
        let text = item.json()?;
        let array = Array::longest_in(&text)?;
        for range in array.split(self.room)? {
            let (items, text) = (range.len(), array.with(range));
            let quoted = json::string(&text);
            self.place(item.with_text(&quoted[1..quoted.len() - 1]), text.chars().count(), items);
            if self.is_full {
                break;
            }
        }
        Some(array.items.len())
    }

    fn lines(&mut self, item: &Item<'_>) {
        let (Kind::Text(mut rest) | Kind::Resource(mut rest)) = item.kind else { return };
        while !rest.is_empty() && !self.is_full {
            let left = self.left();
            let mut taken = take(rest, left);
            if !taken.is_whole && left < self.room {
                // A page of its own has room for the whole line, or for more of it.
                taken = take(rest, self.room);
            }
            self.place(item.with_text(taken.text), taken.characters, 0);
            rest = &rest[taken.text.len()..];
        }
    }
}

/// What stands between the quotes of a JSON string.
fn inner(raw: &str) -> Option<&str> {
    raw.strip_prefix('"')?.strip_suffix('"')
}

/// An image, a sound, a file: its characters are not read as such.
fn is_binary(raw: &str) -> bool {
    Object::parse(raw).is_some_and(|item| {
        let has_blob = |resource: &str| Object::parse(resource).is_some_and(|resource| resource.get("blob").is_some());
        item.get("data").is_some() || item.get("resource").is_some_and(has_blob)
    })
}
