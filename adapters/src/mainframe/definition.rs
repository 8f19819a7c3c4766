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
    codec::{COPYBOOK_BYTES_MAX, Codec},
    request::Template,
};
use crate::arguments;

/// A tool of the config.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) settings: Settings,
    pub(super) request: Template,
    pub(super) reader: Reader,
    pub(super) definition: Box<RawValue>,
}

/// What is wrong with the config of a tool.
#[derive(Debug)]
pub(super) struct Wrong {
    /// Where, below the tool: `answer.fixed_width.copybook`.
    pub(super) part: String,
    pub(super) message: String,
}

impl Tool {
    /// `encoding` is the downstream's; relative files are looked for in `base`.
    ///
    /// # Errors
    /// The part that is wrong: its request, or its copybook with the line.
    pub(super) fn new(name: &str, settings: &Settings, encoding: Encoding, base: &Path) -> Result<Self, Wrong> {
        let request = settings
            .request
            .as_ref()
            .ok_or_else(|| Wrong::new("request", "is missing: a tool of a mainframe is the request that it makes"))?;
        let request = Template::new(request, settings)
            .map_err(|(part, message)| Wrong::new(&format!("request.{part}"), message))?;
        let (format, encoding) = match &settings.answer {
            AnswerFormat::Json => (Format::Json, encoding),
            AnswerFormat::FixedWidth(records) => {
                let encoding = records.encoding.unwrap_or(encoding);
                (Format::Records(codec(records, encoding, base)?), encoding)
            }
        };
        let reader = Reader { format, encoding, names_one: request.names_one() };
        let definition = definition(name, settings, &reader.format);
        Ok(Self { settings: settings.clone(), request, reader, definition })
    }
}

impl Wrong {
    fn new(part: &str, message: impl Into<String>) -> Self {
        Self { part: part.to_owned(), message: message.into() }
    }
}

fn codec(records: &FixedWidth, encoding: Encoding, base: &Path) -> Result<Codec, Wrong> {
    const INLINE: &str = "answer.fixed_width.copybook";
    const IN_FILE: &str = "answer.fixed_width.copybook_file";
    let (part, file, text) = match (&records.copybook, &records.copybook_file) {
        (Some(text), None) => (INLINE, String::new(), text.clone()),
        (None, Some(file)) => {
            let named = file.display();
            let text = read(&base.join(file)).map_err(|why| Wrong::new(IN_FILE, format!("{named}: {why}")))?;
            (IN_FILE, format!("{named}, "), text)
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(Wrong::new("answer.fixed_width", "give exactly one of `copybook` and `copybook_file`"));
        }
    };
    Codec::fixed_width(&text, encoding, records.many)
        .map_err(|error| Wrong::new(part, format!("{file}line {} of the copybook: {}", error.line, error.message)))
}

/// Old copybooks have comments in whatever code page their authors had: those matter to nobody.
fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(COPYBOOK_BYTES_MAX as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| error.to_string())?;
    if bytes.len() > COPYBOOK_BYTES_MAX {
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
