//! A YAML text as a tree in which every key and value knows where it stands, so that every problem can point at its place.

mod path;
mod read;

pub(crate) use path::{Segment, SettingPath};
pub(crate) use read::NotReadable;

/// One YAML text, read but not yet understood.
pub(crate) struct Document {
    /// What the user calls the file; stands before every problem.
    pub(crate) named: String,
    pub(crate) text: String,
    pub(crate) root: Node,
}

impl std::fmt::Debug for Document {
    // The text may hold what somebody wrote into it by mistake.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Document").field("named", &self.named).finish_non_exhaustive()
    }
}

/// Where something stands: line and column count from 1 and in characters, the rest is bytes of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
    /// A problem with it is known: it is passed over from then on, as if it were not there.
    pub(crate) left_out: bool,
}

#[derive(Debug)]
pub(crate) enum Value {
    Nothing,
    Boolean(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) node: Node,
}

/// A key that its map already has.
#[derive(Debug)]
pub(crate) struct Duplicate {
    pub(crate) setting: SettingPath,
    pub(crate) place: Place,
    pub(crate) first_line: usize,
}

impl Document {
    /// A text that could not be read, to show where.
    pub(crate) fn unread(text: &str, named: &str) -> Self {
        let place = Place { line: 1, column: 1, start: 0, end: 0 };
        let root = Node { place, value: Value::Nothing, left_out: false };
        Self { named: named.to_owned(), text: text.to_owned(), root }
    }

    /// The node at `path`, also one that was left out.
    pub(crate) fn node(&self, path: &SettingPath) -> Option<&Node> {
        path.segments().iter().try_fold(&self.root, |node, segment| node.child(segment))
    }

    pub(crate) fn node_mut(&mut self, path: &SettingPath) -> Option<&mut Node> {
        path.segments().iter().try_fold(&mut self.root, |node, segment| node.child_mut(segment))
    }

    /// Where to point for a problem with the setting at `path`: at a plain value itself, at the key of anything larger,
    /// and at the nearest section around it when the text does not have it.
    pub(crate) fn place(&self, path: &SettingPath) -> Option<Place> {
        let mut path = path.clone();
        loop {
            if let Some(node) = self.node(&path) {
                return match node.value {
                    Value::Boolean(_) | Value::Number(_) | Value::Text(_) => Some(node.place),
                    Value::Nothing | Value::List(_) | Value::Map(_) => self.key_place(&path).or(Some(node.place)),
                };
            }
            path.pop()?;
        }
    }

    /// Where the key of the setting at `path` stands; an item of a list has none.
    pub(crate) fn key_place(&self, path: &SettingPath) -> Option<Place> {
        let (last, around) = path.segments().split_last()?;
        let Segment::Key(key) = last else { return None };
        let map = around.iter().try_fold(&self.root, |node, segment| node.child(segment))?;
        map.entries().iter().find(|entry| entry.key == *key).map(|entry| entry.key_place)
    }

    /// Takes out every key that repeats an earlier one of its map. The first stays.
    pub(crate) fn take_duplicates(&mut self) -> Vec<Duplicate> {
        let mut found = Vec::new();
        self.root.take_duplicates(&SettingPath::default(), &mut found);
        found
    }
}

impl Node {
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    fn child(&self, segment: &Segment) -> Option<&Self> {
        match (&self.value, segment) {
            (Value::Map(entries), Segment::Key(key)) => {
                entries.iter().find(|entry| entry.key == *key).map(|entry| &entry.node)
            }
            (Value::List(items), Segment::Index(index)) => items.get(*index),
            _ => None,
        }
    }

    fn child_mut(&mut self, segment: &Segment) -> Option<&mut Self> {
        match (&mut self.value, segment) {
            (Value::Map(entries), Segment::Key(key)) => {
                entries.iter_mut().find(|entry| entry.key == *key).map(|entry| &mut entry.node)
            }
            (Value::List(items), Segment::Index(index)) => items.get_mut(*index),
            _ => None,
        }
    }

    fn take_duplicates(&mut self, path: &SettingPath, found: &mut Vec<Duplicate>) {
        match &mut self.value {
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    item.take_duplicates(&path.index(index), found);
                }
            }
            Value::Map(entries) => {
                let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
                let mut lines = std::collections::HashMap::new();
                for mut entry in std::mem::take(entries) {
                    let setting = path.key(&entry.key);
                    if let Some(&first_line) = lines.get(&entry.key) {
                        found.push(Duplicate { setting, place: entry.key_place, first_line });
                        continue;
                    }
                    lines.insert(entry.key.clone(), entry.key_place.line);
                    entry.node.take_duplicates(&setting, found);
                    kept.push(entry);
                }
                *entries = kept;
            }
            _ => {}
        }
    }
}
