//! Places in JSON, as RFC 9535 writes them. Filters and places counted from the end are left out: whether a value is masked must not depend
//! on what else an answer holds.

use std::{fmt, iter::Peekable, str::Chars};

/// A JSONPath: names, places, `*`, ranges, and `..` for any depth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath {
    /// The steps from the top.
    pub steps: Vec<Step>,
}

/// One step downwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Whether any number of steps may come before it (`..`).
    pub is_deep: bool,
    /// Which members and items it leads to: those that one of these fits.
    pub to: Vec<Selector>,
}

/// Some members or items of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The member of this name.
    Name(String),
    /// All of them.
    All,
    /// Items from one place to before another, each so many after the one before.
    Items {
        /// The first place.
        start: usize,
        /// The place after the last; `None` for the end.
        end: Option<usize>,
        /// From one to the next.
        step: usize,
    },
}

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoPath(String);

impl fmt::Display for NoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonPath {
    /// Reads a path.
    ///
    /// # Errors
    /// When it is none, or has what is left out.
    pub fn parse(text: &str) -> Result<Self, NoPath> {
        let mut reader = Reader { rest: text.chars().peekable() };
        if reader.rest.next() != Some('$') {
            return Err(NoPath("it must begin with `$`, which is the whole value".to_owned()));
        }
        let mut steps = Vec::new();
        loop {
            reader.white_space();
            if reader.rest.peek().is_none() {
                break;
            }
            steps.push(reader.step()?);
        }
        if steps.is_empty() {
            return Err(NoPath("it means the whole answer; `$.*` means each of its members".to_owned()));
        }
        Ok(Self { steps })
    }
}

impl Selector {
    /// Whether it leads to the member of this name.
    #[must_use]
    pub fn has_member(&self, key: &str) -> bool {
        match self {
            Self::Name(name) => name == key,
            Self::All => true,
            Self::Items { .. } => false,
        }
    }

    /// Whether it leads to the item at this place.
    #[must_use]
    pub fn has_item(&self, index: usize) -> bool {
        match self {
            Self::Name(_) => false,
            Self::All => true,
            Self::Items { start, end, step } => {
                index >= *start && end.is_none_or(|end| index < end) && (index - start).is_multiple_of(*step)
            }
        }
    }
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Reader<'_> {
    fn step(&mut self) -> Result<Step, NoPath> {
        let has_dot = self.takes('.');
        let is_deep = has_dot && self.takes('.');
        if self.takes('[') {
            if has_dot && !is_deep {
                return Err(NoPath("`[` must not follow a single `.`".to_owned()));
            }
            return Ok(Step { is_deep, to: self.brackets()? });
        }
        if !has_dot {
            return Err(NoPath("each step begins with `.`, `..` or `[`".to_owned()));
        }
        if self.takes('*') {
            return Ok(Step { is_deep, to: vec![Selector::All] });
        }
        let mut name = String::new();
        while let Some(char) =
            self.rest.next_if(|char| char.is_ascii_alphanumeric() || *char == '_' || !char.is_ascii())
        {
            name.push(char);
        }
        if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(NoPath(
                "after `.` comes a name of letters, digits and `_`; write others as `['first-name']`".to_owned(),
            ));
        }
        Ok(Step { is_deep, to: vec![Selector::Name(name)] })
    }

    fn brackets(&mut self) -> Result<Vec<Selector>, NoPath> {
        let mut to = Vec::new();
        loop {
            self.white_space();
            to.push(self.selector()?);
            self.white_space();
            if self.takes(']') {
                return Ok(to);
            }
            if !self.takes(',') {
                return Err(NoPath("what stands in `[` must be closed by `]`".to_owned()));
            }
        }
    }

    fn selector(&mut self) -> Result<Selector, NoPath> {
        match self.rest.peek() {
            Some('\'' | '"') => self.quoted().map(Selector::Name),
            Some('*') => {
                self.rest.next();
                Ok(Selector::All)
            }
            Some('?') => Err(NoPath(
                "filters (`?`) cannot be used: whether a value is masked must not depend on others".to_owned(),
            )),
            Some('-') => Err(NoPath("places cannot be counted from the end".to_owned())),
            _ => self.items(),
        }
    }

    fn items(&mut self) -> Result<Selector, NoPath> {
        let first = self.number()?;
        self.white_space();
        if !self.takes(':') {
            let start = first.ok_or_else(|| NoPath("in `[` stands a name in quotes, a number, or `*`".to_owned()))?;
            return Ok(Selector::Items { start, end: start.checked_add(1), step: 1 });
        }
        self.white_space();
        let end = self.number()?;
        self.white_space();
        let step = if self.takes(':') {
            self.white_space();
            self.number()?.unwrap_or(1)
        } else {
            1
        };
        if step == 0 {
            return Err(NoPath("a step of 0 leads nowhere".to_owned()));
        }
        Ok(Selector::Items { start: first.unwrap_or(0), end, step })
    }

    fn number(&mut self) -> Result<Option<usize>, NoPath> {
        let mut digits = String::new();
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        if self.rest.peek() == Some(&'-') {
            return Err(NoPath("places cannot be counted from the end".to_owned()));
        }
        if digits.is_empty() {
            return Ok(None);
        }
        digits.parse().map(Some).map_err(|_| NoPath(format!("{digits} is too large for a place")))
    }

    fn quoted(&mut self) -> Result<String, NoPath> {
        let unclosed = || NoPath("a name in quotes must end with the same quote".to_owned());
        let quote = self.rest.next().ok_or_else(unclosed)?;
        let mut name = String::new();
        loop {
            match self.rest.next().ok_or_else(unclosed)? {
                char if char == quote => return Ok(name),
                '\\' => name.push(self.escaped().ok_or_else(unclosed)?),
                char => name.push(char),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        Some(match self.rest.next()? {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => {
                let digits: String = self.rest.by_ref().take(4).collect();
                char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
            }
            char @ ('\\' | '/' | '\'' | '"') => char,
            _ => return None,
        })
    }

    fn takes(&mut self, char: char) -> bool {
        self.rest.next_if_eq(&char).is_some()
    }

    fn white_space(&mut self) {
        while self.rest.next_if(char::is_ascii_whitespace).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::{JsonPath, Selector, Step};

    #[test]
    fn paths_are_read_as_the_rfc_writes_them() {
        let name = |name: &str| Selector::Name(name.to_owned());
        let step = |is_deep, to: &[Selector]| Step { is_deep, to: to.to_vec() };
        let at = |start: usize| Selector::Items { start, end: Some(start + 1), step: 1 };
        for (text, steps) in [
            ("$..email", vec![step(true, &[name("email")])]),
            (
                "$.rows[*].iban",
                vec![step(false, &[name("rows")]), step(false, &[Selector::All]), step(false, &[name("iban")])],
            ),
            ("$['first-name', \"o\\\"k\", 0]", vec![step(false, &[name("first-name"), name("o\"k"), at(0)])]),
            (
                "$ .a [1:5:2] ..*",
                vec![
                    step(false, &[name("a")]),
                    step(false, &[Selector::Items { start: 1, end: Some(5), step: 2 }]),
                    step(true, &[Selector::All]),
                ],
            ),
            ("$..[2]", vec![step(true, &[at(2)])]),
            ("$.größe", vec![step(false, &[name("größe")])]),
        ] {
            assert_eq!(JsonPath::parse(text).map(|path| path.steps), Ok(steps), "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "", "email", "$", "$.", "$email", "$.a-b", "$.[0]", "$[", "$['a]", "$[-1]", "$[?@.a]", "$[0", "$[1:2:0]",
            "$.1a", "$[a]", "$...a",
        ] {
            assert!(JsonPath::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_has_the_items_that_it_says() {
        let range = Selector::Items { start: 1, end: Some(6), step: 2 };
        assert_eq!((0..8).filter(|index| range.has_item(*index)).collect::<Vec<_>>(), [1, 3, 5]);
    }
}
