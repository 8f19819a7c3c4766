//! One tool as callers see it.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use adapters::{
    CallerInputs, OfferedTool,
    json::{self, Change, Object},
    mirror::{self, Param},
};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use config::Effect;
use jsonschema::{PatternOptions, Validator};
use serde_json::{Value, value::RawValue};

use super::Caching;
use crate::{Downstream, limits, mcp::provenance, name::ToolName, pages::Promise, policy::Asked};

/// One tool as callers see it.
pub struct Tool {
    /// Its name in all forms.
    pub name: ToolName,
    /// The downstream that has it.
    pub downstream: Arc<Downstream>,
    /// Its definition as the downstream gave it, but for the name (and the description, where the config gives one).
    pub definition: Bytes,
    /// What calling it does, by the config.
    pub effect: Effect,
    /// How long a call may take.
    pub deadline: Duration,
    /// What of the caller changes its results.
    pub caller_inputs: CallerInputs,
    /// How its results are cached, where the config says that they are.
    pub(crate) caching: Option<Arc<Caching>>,
    /// Whose words its results are, as JSON; nothing where they are Weir's own.
    pub(crate) provenance: Option<Arc<str>>,
    /// The limits that are for it, once they are worked out.
    pub(crate) limits: ArcSwapOption<limits::OfTool>,
    validator: OnceLock<Option<Validator>>,
    mirrored: OnceLock<Vec<Param>>,
}

/// How many mistakes in the arguments are told at once.
const MISTAKES_MAX: usize = 5;
/// How much of the offending value a mistake shows, in characters.
const MISTAKE_CHARACTERS_MAX: usize = 300;

impl Tool {
    /// What conditions are told of it.
    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked { name: &self.name.shown, place: Some((self.downstream.name.as_str(), self.effect)) }
    }

    /// `None` when the definition is not an object: adapters leave such tools out.
    pub(crate) fn new(
        name: ToolName,
        downstream: Arc<Downstream>,
        offered: &OfferedTool,
        description: Option<&str>,
        deadline: Duration,
    ) -> Option<Self> {
        let definition = with_name(offered.definition.get(), &name.shown, description)?;
        let stated = downstream.config.tools.get(&*name.local).and_then(|tool| tool.cache.as_ref());
        let caching = |stated| Arc::new(Caching::new(stated, &downstream, &name.local, offered.definition.get()));
        Some(Self {
            effect: downstream.config.effect_of(&name.local),
            caching: stated.map(caching),
            provenance: (!downstream.is_own()).then(|| provenance::of(&name).into()),
            name,
            downstream,
            definition,
            deadline,
            caller_inputs: offered.caller_inputs.clone(),
            limits: ArcSwapOption::empty(),
            validator: OnceLock::new(),
            mirrored: OnceLock::new(),
        })
    }

    /// What the config says of it by its name.
    #[must_use]
    pub fn settings(&self) -> Option<&config::Tool> {
        self.downstream.config.tools.get(&*self.name.local)
    }

    /// The longest answer that is given at once, in characters.
    #[must_use]
    pub fn answer_characters_max(&self) -> Option<usize> {
        self.settings()?.answer_characters_max
    }

    /// Whether callers could not tell the two apart. All else comes from the downstream's part of the config, which does not change.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.downstream, &other.downstream)
            && self.name == other.name
            && self.definition == other.definition
            && self.caller_inputs == other.caller_inputs
            && self.deadline == other.deadline
    }

    pub(crate) fn rename(&mut self, name: ToolName) {
        let text = std::str::from_utf8(&self.definition).expect("a definition is made from text");
        self.definition = with_name(text, &name.shown, None).expect("the definition is an object");
        self.provenance = self.provenance.as_ref().map(|_| provenance::of(&name).into());
        self.name = name;
    }

    /// Whether `arguments` (a JSON object, or none for `{}`) fit the tool's input schema; else what is wrong, with the path of each mistake.
    ///
    /// # Errors
    /// A text that lets a model mend its call.
    pub fn validate(&self, arguments: Option<&Bytes>) -> Result<(), String> {
        let Some(validator) = self.validator.get_or_init(|| self.compile()) else { return Ok(()) };
        let text = arguments.map_or(b"{}".as_slice(), |bytes| bytes);
        let value: Value =
            serde_json::from_slice(text).map_err(|error| format!("arguments cannot be read: {error}"))?;
        if validator.is_valid(&value) {
            return Ok(());
        }
        let mistakes: Vec<String> =
            validator.iter_errors(&value).take(MISTAKES_MAX).map(|error| describe(&error)).collect();
        Err(mistakes.join("; "))
    }

    /// The arguments that callers over HTTP mirror into headers. Nearly no tool has any. One whose annotations break the rules has
    /// none: clients are not to call it, and those that do know nothing of headers.
    #[must_use]
    pub fn mirrored(&self) -> &[Param] {
        self.mirrored.get_or_init(|| {
            let annotated = memchr::memmem::find(&self.definition, mirror::ANNOTATION.as_bytes()).is_some();
            let schema = annotated.then(|| self.input_schema()).flatten();
            schema.and_then(|schema| mirror::params_of(&schema).ok()).unwrap_or_default()
        })
    }

    /// What its definition says of the structured content of its results.
    pub(crate) fn promise(&self) -> Promise {
        let definition = std::str::from_utf8(&self.definition).unwrap_or_default();
        Promise::of(definition, self.downstream.config.postgres.is_some())
    }

    pub(crate) fn input_schema(&self) -> Option<Value> {
        let text = std::str::from_utf8(&self.definition).ok()?;
        serde_json::from_str(Object::parse(text)?.get("inputSchema")?).ok()
    }

    /// Compiled at the first call: a catalog of thousands of tools must not cost its start. A schema that cannot be compiled leaves the
    /// judgement to the downstream.
    fn compile(&self) -> Option<Validator> {
        let schema = self.input_schema()?;
        // The linear-time engine: a pattern from a downstream meets text from a caller.
        match jsonschema::options().with_pattern_options(PatternOptions::regex()).build(&schema) {
            Ok(validator) => Some(validator),
            Err(error) => {
                tracing::warn!(tool = %self.name.shown, %error, "the input schema cannot be compiled: arguments are not checked by Weir");
                None
            }
        }
    }
}

fn describe(error: &jsonschema::ValidationError<'_>) -> String {
    let path = error.instance_path().to_string();
    let place = if path.is_empty() { "arguments".to_owned() } else { format!("arguments{path}") };
    let mut text = format!("{place}: {error}");
    if let Some((end, _)) = text.char_indices().nth(MISTAKE_CHARACTERS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

fn with_name(definition: &str, shown: &str, description: Option<&str>) -> Option<Bytes> {
    let cleaned = provenance::cleaned_text(definition);
    let object = Object::parse(cleaned.as_deref().unwrap_or(definition))?;
    let missing = description.filter(|_| object.get("description").is_none()).map(json::string);
    let added: Vec<(&str, &str)> = missing.iter().map(|text| ("description", text.as_str())).collect();
    let rewritten = object.rewrite(&added, |key, _| match (key, description) {
        ("name", _) => Change::Replace(json::string(shown)),
        ("description", Some(text)) => Change::Replace(json::string(text)),
        _ => Change::Keep,
    });
    // Definitions stand in lists that are sent as they are, so they must be JSON as a whole.
    RawValue::from_string(rewritten).ok().map(|raw| Bytes::from(raw.get().to_owned()))
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tool").field("name", &self.name).field("effect", &self.effect).finish_non_exhaustive()
    }
}
