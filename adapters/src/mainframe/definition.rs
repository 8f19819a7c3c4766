//! A tool as callers read it, and all that its calls need: made once at the start.

use std::{fs, io::Read as _, path::Path};

use config::{
    Tool as Settings,
    downstream::mainframe::{AnswerFormat, Encoding, FixedWidth},
};
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

use super::{
    answer::{Format, Reader},
    codec::Codec,
    request::Template,
};
use crate::{BuildError, arguments};

/// A tool of the config.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) settings: Settings,
    pub(super) request: Template,
    pub(super) reader: Reader,
    pub(super) definition: Box<RawValue>,
}

/// No copybook was ever longer; the codec says the same of its text.
const COPYBOOK_BYTES_MAX: u64 = 1 << 20;

impl Tool {
    /// `setting` names the tool's section; `encoding` is the downstream's; relative files are looked for in `base`.
    ///
    /// # Errors
    /// The part that is wrong: its request, or its copybook with the line.
    pub(super) fn new(
        name: &str,
        settings: &Settings,
        encoding: Encoding,
        base: &Path,
        setting: &str,
    ) -> Result<Self, BuildError> {
        let wrong = |part: &str, message: String| BuildError::Setting { setting: format!("{setting}.{part}"), message };
        let request = settings.request.as_ref().ok_or_else(|| {
            wrong("request", "is missing: a tool of a mainframe is the request that it makes".to_owned())
        })?;
        let request =
            Template::new(request, settings).map_err(|(part, message)| wrong(&format!("request.{part}"), message))?;
        let (format, encoding) = match &settings.answer {
            AnswerFormat::Json => (Format::Json, encoding),
            AnswerFormat::FixedWidth(records) => {
                let encoding = records.encoding.unwrap_or(encoding);
                let codec = codec(records, encoding, base)
                    .map_err(|(part, message)| wrong(&format!("answer.fixed_width{part}"), message))?;
                (Format::Records(codec), encoding)
            }
        };
        let reader = Reader { format, encoding, names_one: request.names_one() };
        let definition = definition(name, settings, &reader.format);
        Ok(Self { settings: settings.clone(), request, reader, definition })
    }
}

fn codec(records: &FixedWidth, encoding: Encoding, base: &Path) -> Result<Codec, (&'static str, String)> {
    let (part, text) = match (&records.copybook, &records.copybook_file) {
        (Some(text), None) => (".copybook", text.clone()),
        (None, Some(file)) => (
            ".copybook_file",
            read(&base.join(file)).map_err(|why| (".copybook_file", format!("{}: {why}", file.display())))?,
        ),
        (Some(_), Some(_)) | (None, None) => {
            return Err(("", "give exactly one of `copybook` and `copybook_file`".to_owned()));
        }
    };
    Codec::fixed_width(&text, encoding, records.many).map_err(|error| {
        let file = records.copybook_file.as_ref().map_or_else(String::new, |file| format!("{}, ", file.display()));
        (part, format!("{file}line {} of the copybook: {}", error.line, error.message))
    })
}

/// Old copybooks have comments in whatever code page their authors had: those matter to nobody.
fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(COPYBOOK_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > COPYBOOK_BYTES_MAX {
        return Err(format!("is larger than {} KiB", COPYBOOK_BYTES_MAX / 1024));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn definition(name: &str, settings: &Settings, format: &Format) -> Box<RawValue> {
    let mut definition = Map::new();
    definition.insert("name".to_owned(), name.into());
    if let Some(description) = &settings.description {
        definition.insert("description".to_owned(), description.as_str().into());
    }
    definition.insert("inputSchema".to_owned(), arguments::schema(&settings.arguments));
    if let Format::Records(codec) = format {
        definition.insert("outputSchema".to_owned(), codec.output_schema());
    }
    definition.insert("annotations".to_owned(), arguments::annotations(settings.effect.unwrap_or_default()));
    to_raw_value(&Value::Object(definition)).expect("a JSON value has a JSON text")
}
