//! One answer on its way to a caller: every byte of it is looked at here, once to learn what must not be seen and once to take it out.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
};

use adapters::json;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    detect::{self, By, Found},
    masks::{Masks, Wanted, rule_of},
    names::Value,
    place,
    recur::{self, Recurring},
    strategy::REDACTED,
    walk::{self, Fault, Visit},
};

/// How deep JSON in strings, and text in encoded text, is read as what it is. Deeper it is text like any other.
const NESTED_MAX: usize = 4;
/// Names and kinds that the protocol itself has are shorter.
const WORD_BYTES_MAX: usize = 100;
/// The members that results and their content have by the protocol: never data, so never taken for it.
const OWN_MEMBERS: [&str; 20] = [
    "content",
    "structuredContent",
    "isError",
    "_meta",
    "resultType",
    "type",
    "text",
    "data",
    "mimeType",
    "resource",
    "uri",
    "name",
    "title",
    "description",
    "annotations",
    "icons",
    "blob",
    "size",
    "inputRequests",
    "requestState",
];

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// A result of the protocol.
    Reply,
    /// Its `content`,
    Content,
    /// an item of that,
    Item,
    /// and a resource in an item.
    Resource,
    /// What the downstream says, in whatever form.
    Data,
    /// A word of the protocol.
    Word,
    /// Base64 of something.
    Blob,
    /// What the downstream wants back as it is.
    Opaque,
}

/// Where a walk is.
#[derive(Debug)]
pub(super) struct Place {
    frame: Frame,
    at: place::Place,
}

/// What the first pass learns.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Values by path, each with its rule, in the order in which they stand there.
    pub(super) values: Vec<(Value, u32)>,
    seen: HashSet<Value>,
    bytes: usize,
    /// Values that need a pseudonym.
    pub(super) wanted: Vec<Wanted>,
    wanted_seen: HashSet<Wanted>,
    /// Whether there are more of them than are looked for.
    pub(super) too_many: bool,
}

/// One pass over an answer.
pub(super) struct Pass<'m> {
    masks: &'m Masks,
    known: &'m Recurring,
    names: &'m HashMap<Wanted, String>,
    /// In the first pass only.
    gathered: Option<Gathered>,
    nested: usize,
    /// How many values each rule masked.
    pub(super) counts: BTreeMap<u32, u64>,
    /// Whether there was something that cannot be looked into.
    pub(super) unseen: bool,
}

impl<'m> Pass<'m> {
    /// The first pass.
    pub(super) fn gathering(masks: &'m Masks, known: &'m Recurring, names: &'m HashMap<Wanted, String>) -> Self {
        Self { gathered: Some(Gathered::default()), ..Self::masking(masks, known, names) }
    }

    /// The second one, with all known that the first one learnt.
    pub(super) fn masking(masks: &'m Masks, known: &'m Recurring, names: &'m HashMap<Wanted, String>) -> Self {
        Self { masks, known, names, gathered: None, nested: 0, counts: BTreeMap::new(), unseen: false }
    }

    /// A JSON text as `frame` says what it is.
    pub(super) fn json<'t>(&mut self, text: &'t str, frame: Frame) -> Result<Cow<'t, str>, Fault> {
        let at = if frame == Frame::Data { self.masks.paths.top() } else { place::Place::default() };
        let place = Place { frame, at };
        if self.nested == 0 { walk::rewrite(text, &place, self) } else { walk::rewrite_nested(text, &place, self) }
    }

    /// What the first pass learnt.
    pub(super) fn into_gathered(self) -> Gathered {
        self.gathered.unwrap_or_default()
    }

    /// Another text for one, if anything in it must not be seen.
    pub(super) fn text(&mut self, text: &str) -> Option<String> {
        if self.nested < NESTED_MAX && text.trim_start().starts_with(['{', '[', '"']) {
            self.nested += 1;
            let masked = self.json(text, Frame::Data).map(|masked| match masked {
                Cow::Borrowed(_) => None,
                Cow::Owned(masked) => Some(masked),
            });
            self.nested -= 1;
            if let Ok(masked) = masked {
                return masked;
            }
        }
        let mut found = self.masks.find(text, self.known);
        if self.nested < NESTED_MAX && self.gathered.is_none() {
            self.nested += 1;
            let mut pass = Self { nested: self.nested, ..Self::masking(self.masks, self.known, self.names) };
            let encoded = detect::encoded_findings(text, |inner| pass.text(inner).is_some());
            self.nested -= 1;
            if !encoded.is_empty() {
                let rule = pass.counts.keys().next().copied().unwrap_or_default();
                let by = By::Several(recur::number(rule, 0));
                found.extend(encoded.into_iter().map(|range| Found { range, by }));
                found = detect::merged(found);
            }
        }
        self.settled(text, &found)
    }

    /// What becomes of a text with these findings.
    fn settled(&mut self, text: &str, found: &[Found]) -> Option<String> {
        if found.is_empty() {
            return None;
        }
        if self.gathered.is_some() {
            found.iter().for_each(|found| self.wants_name(found, &text[found.range.clone()]));
            return None;
        }
        Some(detect::replaced(text, found, |found, value| self.replacement(found.by, value).into()).into_owned())
    }

    fn wants_name(&mut self, found: &Found, text: &str) {
        if let By::One(number) = found.by
            && self.known.known(number).is_none()
            && let Some(class) = self.masks.class(rule_of(number))
        {
            let wanted = (class.clone(), Value::Text(text.into()));
            self.gathered.as_mut().expect("this is the first pass").want(wanted);
        }
    }

    fn replacement(&mut self, by: By, text: &str) -> String {
        let rule = rule_of(by.first());
        *self.counts.entry(rule).or_default() += 1;
        match by {
            By::Several(_) => REDACTED.to_owned(),
            By::One(number) => match self.known.known(number) {
                Some(known) => known.shown.clone(),
                None => self.shown(rule, &Value::Text(text.into())),
            },
        }
    }

    /// What stands for a value by a rule.
    pub(super) fn shown(&self, rule: u32, value: &Value) -> String {
        match self.masks.class(rule) {
            // Nothing at all rather than a name that cannot be taken back.
            Some(class) => self.names.get(&(class.clone(), value.clone())).cloned().unwrap_or(REDACTED.to_owned()),
            None => self.masks.shown(rule, value.text()),
        }
    }

    /// A whole value at a place that a path leads to.
    fn whole(&mut self, rule: u32, value: &Value) -> Option<String> {
        if value.text().is_empty() {
            return None;
        }
        let rule = self.masks.first_rule(rule, value.text());
        if let Some(gathered) = &mut self.gathered {
            if let Some(class) = self.masks.class(rule) {
                gathered.want((class.clone(), value.clone()));
            }
            gathered.remember(value, rule);
            return None;
        }
        *self.counts.entry(rule).or_default() += 1;
        Some(json::string(&self.shown(rule, value)))
    }

    /// Base64: text is looked into like any other, and nobody knows what else there is.
    fn blob(&mut self, encoded: &str) -> Option<String> {
        let Ok(bytes) = STANDARD.decode(encoded) else {
            // Some clients read it all the same: other letters, without its end, in lines.
            self.unseen = true;
            return self.text(encoded).map(|masked| json::string(&masked));
        };
        let Ok(text) = String::from_utf8(bytes) else {
            self.unseen = true;
            return None;
        };
        self.text(&text).map(|masked| json::string(&STANDARD.encode(masked)))
    }
}

impl Gathered {
    fn remember(&mut self, value: &Value, rule: u32) {
        let is_looked_for = (recur::CHARS_MIN..=recur::CHARS_MAX).contains(&value.text().chars().count());
        if !is_looked_for || !self.seen.insert(value.clone()) {
            return;
        }
        self.bytes += value.text().len();
        if self.values.len() >= recur::VALUES_MAX || self.bytes > recur::BYTES_MAX {
            self.too_many = true;
            return;
        }
        self.values.push((value.clone(), rule));
    }

    fn want(&mut self, wanted: Wanted) {
        if self.wanted.len() < recur::VALUES_MAX && self.wanted_seen.insert(wanted.clone()) {
            self.wanted.push(wanted);
        }
    }
}

impl Visit for Pass<'_> {
    type Place = Place;

    fn member(&mut self, parent: &Place, key: &str) -> Place {
        let paths = &self.masks.paths;
        let data = || Place { frame: Frame::Data, at: paths.top() };
        let only = |frame| Place { frame, at: place::Place::default() };
        match (parent.frame, key) {
            (Frame::Data, _) => Place { frame: Frame::Data, at: paths.member(&parent.at, key) },
            (Frame::Reply, "content") => only(Frame::Content),
            (Frame::Reply, "isError" | "resultType") | (Frame::Item, "type" | "mimeType") => only(Frame::Word),
            (Frame::Reply, "requestState") => only(Frame::Opaque),
            (Frame::Reply, _) | (Frame::Item | Frame::Resource, "_meta" | "annotations") => data(),
            (Frame::Item, "resource") => only(Frame::Resource),
            (Frame::Item, "data") | (Frame::Resource, "blob") => only(Frame::Blob),
            (Frame::Resource, "mimeType") => only(Frame::Word),
            (Frame::Item | Frame::Resource | Frame::Content | Frame::Word | Frame::Blob | Frame::Opaque, _) => {
                only(Frame::Data)
            }
        }
    }

    fn item(&mut self, parent: &Place, index: usize) -> Place {
        match parent.frame {
            Frame::Content => Place { frame: Frame::Item, at: place::Place::default() },
            _ => Place { frame: Frame::Data, at: self.masks.paths.item(&parent.at, index) },
        }
    }

    fn key(&mut self, parent: &Place, key: &str) -> Option<String> {
        if parent.frame != Frame::Data && OWN_MEMBERS.contains(&key) {
            return None;
        }
        let found = self.masks.find(key, self.known);
        self.settled(key, &found)
    }

    fn string(&mut self, place: &Place, text: &str) -> Option<String> {
        match place.frame {
            Frame::Word if is_word(text) => return None,
            Frame::Blob => return self.blob(text),
            Frame::Opaque => {
                self.unseen = true;
                return None;
            }
            _ => {}
        }
        match place.at.rule {
            Some(rule) => self.whole(rule, &Value::Text(text.into())),
            None => self.text(text).map(|masked| json::string(&masked)),
        }
    }

    fn scalar(&mut self, place: &Place, raw: &str) -> Option<String> {
        let is_number = !matches!(raw, "true" | "false");
        match place.at.rule {
            Some(rule) if is_number => self.whole(rule, &Value::Number(raw.into())),
            // Which of two words it is must not be seen by any strategy.
            Some(rule) => self.gathered.is_none().then(|| {
                *self.counts.entry(rule).or_default() += 1;
                json::string(REDACTED)
            }),
            None if is_number => {
                let plain = detect::plain_number(raw);
                let found = self.masks.find(&plain, self.known);
                match &found[..] {
                    [] => None,
                    [one] if one.range == (0..plain.len()) => {
                        self.settled(&plain, &found).map(|masked| json::string(&masked))
                    }
                    [first, ..] => self
                        .gathered
                        .is_none()
                        .then(|| json::string(&self.replacement(By::Several(first.by.first()), raw))),
                }
            }
            None => None,
        }
    }
}

/// Kinds of content and of media, and nothing that could be data.
fn is_word(text: &str) -> bool {
    let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || b"/+-._; =".contains(&byte);
    text.len() <= WORD_BYTES_MAX && text.bytes().all(is_sign)
}

#[cfg(test)]
mod tests;
