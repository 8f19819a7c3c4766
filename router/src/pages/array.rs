//! The longest array in a JSON text: where an answer of many rows, tickets or items is parted.

use std::ops::Range;

use adapters::json::{self, Object};

use super::{PARTS_MAX, text::take};

/// How deep is looked for the array, and for what is to be shortened.
const DEPTH_MAX: usize = 8;

/// An array, and the text around it.
#[derive(Debug)]
pub(super) struct Array<'a> {
    before: &'a str,
    pub(super) items: Vec<&'a str>,
    after: &'a str,
}

impl<'a> Array<'a> {
    /// The longest array in `text`, which must be valid JSON; arrays inside of arrays are items.
    pub(super) fn longest_in(text: &'a str) -> Option<Self> {
        let array = longest(text, 0)?;
        let start = array.as_ptr() as usize - text.as_ptr() as usize;
        let (before, after) = (&text[..start], &text[start + array.len()..]);
        Some(Self { before, items: json::items(array)?, after })
    }

    /// The text with these items alone in its array.
    pub(super) fn with(&self, items: Range<usize>) -> String {
        format!("{}[{}]{}", self.before, self.items[items].join(","), self.after)
    }

    /// Ranges of items, so that the text with each of them has at most `room` characters, up to one more than are kept. `None` when that
    /// cannot be.
    pub(super) fn split(&self, room: usize) -> Option<Vec<Range<usize>>> {
        let frame = self.before.chars().count() + 2 + self.after.chars().count();
        let (mut ranges, mut start, mut used) = (Vec::new(), 0, frame);
        for (index, item) in self.items.iter().enumerate() {
            let characters = item.chars().count();
            if frame + characters > room {
                return None;
            }
            let comma = usize::from(index > start);
            if used + comma + characters > room {
                ranges.push(start..index);
                if ranges.len() > PARTS_MAX {
                    return Some(ranges);
                }
                (start, used) = (index, frame + characters);
            } else {
                used += comma + characters;
            }
        }
        (used <= room).then(|| {
            ranges.push(start..self.items.len());
            ranges
        })
    }
}

fn longest(text: &str, depth: usize) -> Option<&str> {
    let text = text.trim_ascii();
    if text.starts_with('[') {
        return Some(text);
    }
    if depth == DEPTH_MAX || !text.starts_with('{') {
        return None;
    }
    let members = Object::parse(text)?;
    members.iter().filter_map(|(_, value)| longest(value, depth + 1)).max_by_key(|array| array.len())
}

/// The same JSON, its texts and arrays cut so that none has more than `characters_max` characters.
pub(super) fn shortened(text: &str, characters_max: usize) -> String {
    shortened_at(text, characters_max, 0)
}

fn shortened_at(text: &str, characters_max: usize, depth: usize) -> String {
    let shorter = |item| shortened_at(item, characters_max, depth + 1);
    match text.as_bytes().first() {
        _ if text.len() <= characters_max => text.to_owned(),
        Some(b'"') => format!("\"{}\"", take(&text[1..text.len() - 1], characters_max).text),
        Some(b'[') if depth < DEPTH_MAX => {
            let mut used = 0;
            let items = json::items(text).unwrap_or_default().into_iter().map(shorter);
            let kept = items.take_while(|item| {
                used += item.chars().count() + 1;
                used <= characters_max
            });
            format!("[{}]", kept.collect::<Vec<_>>().join(","))
        }
        Some(b'{') if depth < DEPTH_MAX => Object::parse(text).map_or_else(
            || text.to_owned(),
            |object| object.rewrite(&[], |_, value| json::Change::Replace(shorter(value))),
        ),
        Some(b'[') => "[]".to_owned(),
        Some(b'{') => "{}".to_owned(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Array, shortened};

    #[test]
    fn the_longest_array_is_parted_and_all_around_it_stays() {
        let text = r#"{ "tags":["a","b"], "page":{"rows":[{"n":1.0}, {"n":[2,3,4]},{"n":3}], "more":true } }"#;
        let array = Array::longest_in(text).expect("an array");
        assert_eq!(array.items, [r#"{"n":1.0}"#, r#"{"n":[2,3,4]}"#, r#"{"n":3}"#]);
        let second = r#"{ "tags":["a","b"], "page":{"rows":[{"n":[2,3,4]}], "more":true } }"#;
        assert_eq!(array.with(1..2), second);
        assert_eq!(array.split(second.len()), Some(vec![0..1, 1..2, 2..3]));
        assert_eq!(array.split(second.len() - 1), None, "one row alone is longer");
        assert_eq!(array.split(1000).map(|ranges| ranges.len()), Some(1));
        assert!(Array::longest_in(r#"{"a":1}"#).is_none());
        assert_eq!(Array::longest_in("[1,2]").map(|array| array.split(3)), Some(Some(vec![0..1, 1..2])));
    }

    #[test]
    fn what_is_too_long_is_shortened_and_keeps_its_form() {
        let text = r#"{"id":9007199254740993,"text":"line\nanother line","labels":["a","bb","ccc","dddd"],"nested":{"t":"0123456789"}}"#;
        let expected = r#"{"id":9007199254740993,"text":"line\n","labels":["a"],"nested":{"t":"01234567"}}"#;
        assert_eq!(shortened(text, 8), expected);
        assert_eq!(shortened(text, 1000), text);
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(shortened(&deep, 100), "[[[[[[[[[]]]]]]]]]");
    }
}
