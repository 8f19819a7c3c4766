//! Bytes of a record to JSON, digit for digit: no number passes through a float.

mod number;
#[cfg(test)]
mod tests;

use config::downstream::mainframe::Encoding;

use super::{
    DecodeError, ebcdic,
    layout::{Content, Item, Layout, Number, Repeat, Text},
};

/// Reads one record after the other.
pub(super) struct Decoder<'a> {
    layout: &'a Layout,
    bytes: &'a [u8],
    at: usize,
    /// The characters of the code page; `None` for UTF-8.
    page: Option<&'static [char; 256]>,
    /// How often tables occur in the present record, as its fields say.
    counters: Vec<i128>,
    out: String,
    out_bytes_max: usize,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(layout: &'a Layout, encoding: Encoding, bytes: &'a [u8], out_bytes_max: usize) -> Self {
        let counters = vec![0; layout.counters];
        Self {
            layout,
            bytes,
            at: 0,
            page: ebcdic::page(encoding),
            counters,
            out: String::with_capacity(bytes.len() * 2),
            out_bytes_max,
        }
    }

    /// The JSON text of the one record that the bytes are.
    pub(super) fn one(mut self) -> Result<String, DecodeError> {
        self.object(&self.layout.items)?;
        let left = self.bytes.len() - self.at;
        if left > 0 {
            return Err(self.error(format!("the record ends here, and more bytes follow ({left})")));
        }
        Ok(self.out)
    }

    /// The JSON text `{"records":[…]}` of the records that the bytes are.
    pub(super) fn many(mut self) -> Result<String, DecodeError> {
        self.out.push_str(r#"{"records":["#);
        let mut count = 0;
        while self.at < self.bytes.len() {
            if count > 0 {
                self.out.push(',');
            }
            self.object(&self.layout.items).map_err(|error| error.at_index(count).within("records"))?;
            count += 1;
        }
        self.out.push_str("]}");
        Ok(self.out)
    }

    fn object(&mut self, items: &[Item]) -> Result<(), DecodeError> {
        self.out.push('{');
        self.members(items, &mut true)?;
        self.out.push('}');
        Ok(())
    }

    fn members(&mut self, items: &[Item], first: &mut bool) -> Result<(), DecodeError> {
        for item in items {
            let Some(key) = &item.key else {
                self.filler(item, first)?;
                continue;
            };
            if !std::mem::take(first) {
                self.out.push(',');
            }
            // A key has letters, digits and underscores, nothing to be escaped.
            self.out.push('"');
            self.out.push_str(key);
            self.out.push_str("\":");
            self.occurrences(item).map_err(|error| error.within(key))?;
        }
        Ok(())
    }

    fn occurrences(&mut self, item: &Item) -> Result<(), DecodeError> {
        if item.repeat == Repeat::Once {
            return self.value(item);
        }
        self.out.push('[');
        for index in 0..self.times(&item.repeat)? {
            if index > 0 {
                self.out.push(',');
            }
            self.value(item).map_err(|error| error.at_index(index))?;
        }
        self.out.push(']');
        Ok(())
    }

    fn value(&mut self, item: &Item) -> Result<(), DecodeError> {
        if self.out.len() > self.out_bytes_max {
            let what = format!("as JSON it is larger than {} bytes", self.out_bytes_max);
            return Err(DecodeError { too_large: true, ..self.error(what) });
        }
        match &item.content {
            Content::Group(items) => self.object(items),
            Content::Text(text) => self.text(text),
            Content::Number(number) => {
                let value = self.number(number)?;
                if let Some(counter) = item.counter {
                    // Blank stands for zero.
                    self.counters[counter] = value.unwrap_or(0);
                }
                Ok(())
            }
        }
    }

    /// Steps over what has no name; the named fields of such a group belong to the object around it.
    fn filler(&mut self, item: &Item, first: &mut bool) -> Result<(), DecodeError> {
        for _ in 0..self.times(&item.repeat)? {
            match &item.content {
                Content::Group(items) => self.members(items, first)?,
                Content::Text(text) => drop(self.take(text.bytes)?),
                Content::Number(number) => drop(self.take(number.bytes())?),
            }
        }
        Ok(())
    }

    fn times(&self, repeat: &Repeat) -> Result<usize, DecodeError> {
        match *repeat {
            Repeat::Once => Ok(1),
            Repeat::Times(times) => Ok(times),
            Repeat::Depending { min, max, counter } => {
                let count = self.counters[counter];
                let times = usize::try_from(count).ok().filter(|times| (min..=max).contains(times));
                times.ok_or_else(|| self.error(format!("it occurs {min} to {max} times, and the record says {count}")))
            }
        }
    }

    fn text(&mut self, text: &Text) -> Result<(), DecodeError> {
        let start = self.at;
        let bytes = self.take(text.bytes)?;
        let decoded: String = match self.page {
            Some(page) => bytes.iter().map(|&byte| page[usize::from(byte)]).collect(),
            None => std::str::from_utf8(bytes)
                .map_err(|invalid| DecodeError::new(start + invalid.valid_up_to(), "these bytes are no UTF-8"))?
                .to_owned(),
        };
        // A field that nothing was put into holds spaces, or low-values.
        let mut shown = decoded.trim_end_matches([' ', '\0']);
        if text.trim_start {
            shown = shown.trim_start_matches(' ');
        }
        self.out.push_str(&crate::json::string(shown));
        Ok(())
    }

    /// Writes a number, and gives its value where it is whole.
    fn number(&mut self, number: &Number) -> Result<Option<i128>, DecodeError> {
        let start = self.at;
        let bytes = self.take(number.bytes())?;
        let value = number::read(number, bytes, self.page.is_some())
            .map_err(|wrong| DecodeError::new(start + wrong.at, wrong.what))?;
        match value {
            Some(value) => {
                let quote = if number.is_text() { "\"" } else { "" };
                self.out.push_str(quote);
                value.write(number.digits.scale, &mut self.out);
                self.out.push_str(quote);
                Ok(Some(value.whole()))
            }
            None => {
                self.out.push_str("null");
                Ok(None)
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let rest = &self.bytes[self.at..];
        let Some((taken, _)) = rest.split_at_checked(count) else {
            let left = rest.len();
            return Err(self.error(format!("the answer ends too early: bytes needed here {count}, left {left}")));
        };
        self.at += count;
        Ok(taken)
    }

    fn error(&self, what: impl Into<String>) -> DecodeError {
        DecodeError::new(self.at, what)
    }
}
