//! How a legacy system's answers are read: bytes in, JSON out. A further format is a further variant of `Format`.

mod copybook;
mod decode;
pub(crate) mod ebcdic;
mod layout;
mod picture;
mod schema;
#[cfg(test)]
mod tests;

use config::downstream::mainframe::Encoding;
use serde_json::Value;

pub(crate) use self::copybook::{BYTES_MAX as COPYBOOK_BYTES_MAX, CopybookError};
use self::{decode::Decoder, layout::Layout};

/// One way to read an answer.
#[derive(Debug)]
pub(crate) struct Codec(Format);

#[derive(Debug)]
enum Format {
    /// Records of fixed width, by a COBOL copybook.
    FixedWidth {
        layout: Layout,
        /// The code page of its texts.
        encoding: Encoding,
        /// Whether an answer is a list of records.
        many: bool,
    },
}

/// Why an answer cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DecodeError {
    /// The field as a path into the JSON, `history[3].amount`; empty where it is about the record as a whole.
    pub(crate) field: String,
    /// The byte of the answer, counted from 0.
    pub(crate) offset: usize,
    /// What is wrong there.
    pub(crate) what: String,
    /// Whether nothing is wrong but the size of what it would become.
    pub(crate) too_large: bool,
}

/// The largest record.
const RECORD_BYTES_MAX: usize = 1024 * 1024;

impl Codec {
    /// Reads a copybook.
    pub(crate) fn fixed_width(copybook: &str, encoding: Encoding, many: bool) -> Result<Self, CopybookError> {
        let layout = Layout::build(&copybook::parse(copybook)?)?;
        Ok(Self(Format::FixedWidth { layout, encoding, many }))
    }

    /// The JSON text of an object. It is text because its numbers are exact, which a [`Value`] cannot hold. A list of records is
    /// `{"records":[…]}`. It ends soon behind `json_bytes_max`: a byte may become a field with a long name.
    pub(crate) fn decode(&self, bytes: &[u8], json_bytes_max: usize) -> Result<String, DecodeError> {
        let Format::FixedWidth { layout, encoding, many } = &self.0;
        let decoder = Decoder::new(layout, *encoding, bytes, json_bytes_max);
        if *many { decoder.many() } else { decoder.one() }
    }

    /// The JSON Schema of what [`Codec::decode`] gives.
    pub(crate) fn output_schema(&self) -> Value {
        match &self.0 {
            Format::FixedWidth { layout, many: false, .. } => schema::record(&layout.items),
            Format::FixedWidth { layout, many: true, .. } => schema::records(&layout.items),
        }
    }
}

impl DecodeError {
    fn new(offset: usize, what: impl Into<String>) -> Self {
        Self { field: String::new(), offset, what: what.into(), too_large: false }
    }

    fn within(mut self, key: &str) -> Self {
        let separator = if self.field.is_empty() || self.field.starts_with('[') { "" } else { "." };
        self.field = format!("{key}{separator}{}", self.field);
        self
    }

    fn at_index(mut self, index: usize) -> Self {
        let separator = if self.field.is_empty() || self.field.starts_with('[') { "" } else { "." };
        self.field = format!("[{index}]{separator}{}", self.field);
        self
    }
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.field.is_empty() {
            write!(f, "field {}, ", self.field)?;
        }
        write!(f, "byte {}: {}", self.offset, self.what)
    }
}

impl std::error::Error for DecodeError {}
