//! Pseudonyms that come back: where a whole argument is one, and the config says that it may be, the value takes its place.

use std::{collections::HashMap, sync::Arc};

use adapters::{
    Caller,
    json::{Change, Object},
};
use bytes::Bytes;
use config::masking::{JsonPath, Selector, Step};
use indexmap::IndexMap;

use super::{
    Masking,
    names::{Value, is_name},
    owner,
    place::{Paths, Place},
    walk::{self, Visit},
};
use crate::{call::Trail, catalog::Tool, error::CallError};

/// When a caller may try again while Redis is gone.
const RETRY_AFTER_MS: u64 = 5000;

/// The values that a caller named in one call, each with its pseudonym.
pub(crate) type Names = Vec<(Value, String)>;

/// What a call sends, with values in the place of pseudonyms.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) params: Bytes,
    pub(crate) arguments: Option<Bytes>,
    pub(crate) names: Names,
}

impl Masking {
    /// Puts values in the place of the caller's pseudonyms, where the tool `accepts` them.
    pub(crate) async fn restore(
        &self,
        caller: &Caller,
        tool: &Tool,
        params: Bytes,
        arguments: Option<Bytes>,
        trail: &Trail,
    ) -> Result<Restored, CallError> {
        let accepts = tool.settings().map(|settings| &settings.accepts).filter(|accepts| !accepts.is_empty());
        if let Some(accepts) = accepts
            && let Some(text) = arguments.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok())
            && let Some(values) = self.named(caller, &tool.name.shown, accepts, text).await?
        {
            let new = rewritten(text, accepts, &values);
            let params = with_arguments(&params, &new);
            let mut names: Names = values.into_iter().map(|(name, value)| (value, name)).collect();
            // Always in the same order: the key of the cache has them.
            names.sort();
            trail.note(|decisions| decisions.restored = Some(names.len()));
            return Ok(Restored { params, arguments: Some(new.into()), names });
        }
        Ok(Restored { params, arguments, names: Names::new() })
    }

    /// The values behind the pseudonyms in the arguments, by pseudonym; `None` where there are none.
    async fn named(
        &self,
        caller: &Caller,
        tool: &Arc<str>,
        accepts: &IndexMap<String, String>,
        arguments: &str,
    ) -> Result<Option<HashMap<String, Value>>, CallError> {
        let paths = paths(accepts);
        let mut names = Finder { accepts, paths: &paths, values: None, found: Vec::new() };
        // What is no JSON is refused by whoever validates it.
        if walk::rewrite(arguments, &paths.top(), &mut names).is_err() || names.found.is_empty() {
            return Ok(None);
        }
        let asked: Vec<&str> = names.found.iter().map(|(_, name)| name.as_str()).collect();
        let found = self.keeper.pseudonyms.find(&owner(caller), &asked).await;
        let found =
            found.map_err(|_gone| CallError::NamesGone { tool: tool.clone(), retry_after_ms: RETRY_AFTER_MS })?;
        let (mut values, mut mistakes) = (HashMap::new(), Vec::new());
        for ((pointer, name), value) in names.found.iter().zip(found) {
            let class = name.split('_').next().unwrap_or_default();
            match value.as_deref().and_then(|value| value_of(class, value)) {
                Some(value) => {
                    values.insert(name.clone(), value);
                }
                None => {
                    mistakes.push(format!("{pointer}: this name is not one that you were shown, or it has expired"));
                }
            }
        }
        if mistakes.is_empty() {
            return Ok(Some(values));
        }
        mistakes.dedup();
        Err(CallError::InvalidArguments { tool: tool.clone(), mistakes: mistakes.join("; ") })
    }
}

/// What was kept of a value, if it was kept under this class.
fn value_of(class: &str, kept: &[u8]) -> Option<Value> {
    let (kept_class, json) = std::str::from_utf8(kept).ok()?.split_once(' ')?;
    (kept_class == class).then(|| Value::from_json(json)).flatten()
}

fn rewritten(arguments: &str, accepts: &IndexMap<String, String>, values: &HashMap<String, Value>) -> String {
    let paths = paths(accepts);
    let mut names = Finder { accepts, paths: &paths, values: Some(values), found: Vec::new() };
    let rewritten = walk::rewrite(arguments, &paths.top(), &mut names);
    rewritten.expect("it was walked before").into_owned()
}

fn with_arguments(params: &Bytes, arguments: &str) -> Bytes {
    let object = std::str::from_utf8(params).ok().and_then(Object::parse);
    object.map_or_else(
        || params.clone(),
        |object| {
            let change = |key: &str, _: &str| {
                if key == "arguments" { Change::Replace(arguments.to_owned()) } else { Change::Keep }
            };
            object.rewrite(&[], change).into()
        },
    )
}

/// JSON Pointers as paths, each with its place among `accepts`.
fn paths(accepts: &IndexMap<String, String>) -> Paths {
    let step = |token: &str| {
        let token = token.replace("~1", "/").replace("~0", "~");
        let item = token.parse().ok().map(|start: usize| Selector::Items { start, end: start.checked_add(1), step: 1 });
        Step { is_deep: false, to: std::iter::once(Selector::Name(token)).chain(item).collect() }
    };
    let path = |pointer: &String| JsonPath { steps: pointer.split('/').skip(1).map(step).collect() };
    let paths = accepts.keys().map(path).enumerate().filter(|(_, path)| !path.steps.is_empty());
    Paths::new(paths.map(|(at, path)| (at as u32, path)).collect())
}

/// Finds pseudonyms at the places that take them, or puts their values there.
struct Finder<'a> {
    accepts: &'a IndexMap<String, String>,
    paths: &'a Paths,
    values: Option<&'a HashMap<String, Value>>,
    /// Each with the pointer to its place.
    found: Vec<(String, String)>,
}

impl Visit for Finder<'_> {
    type Place = Place;

    fn member(&mut self, parent: &Place, key: &str) -> Place {
        // What is below a place that takes a name is not that place.
        self.paths.member(&Place { rule: None, ..parent.clone() }, key)
    }

    fn item(&mut self, parent: &Place, index: usize) -> Place {
        self.paths.item(&Place { rule: None, ..parent.clone() }, index)
    }

    fn key(&mut self, _parent: &Place, _key: &str) -> Option<String> {
        None
    }

    fn string(&mut self, place: &Place, text: &str) -> Option<String> {
        let (pointer, class) = self.accepts.get_index(place.rule? as usize)?;
        if !is_name(text, class) {
            return None;
        }
        match self.values {
            Some(values) => values.get(text).map(Value::json),
            None => {
                self.found.push((pointer.clone(), text.to_owned()));
                None
            }
        }
    }

    fn scalar(&mut self, _place: &Place, _raw: &str) -> Option<String> {
        None
    }
}
