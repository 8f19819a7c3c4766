//! A query as words, quoted texts and symbols.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

/// Words that mean something to the language, or may one day, and so are no values unless they are quoted.
const RESERVED: &[&str] = &[
    "after",
    "alter",
    "and",
    "any",
    "as",
    "asc",
    "before",
    "between",
    "by",
    "changed",
    "count",
    "create",
    "delete",
    "desc",
    "distinct",
    "drop",
    "else",
    "empty",
    "exists",
    "explain",
    "false",
    "fetch",
    "field",
    "from",
    "group",
    "having",
    "identified",
    "if",
    "in",
    "inner",
    "insert",
    "into",
    "is",
    "join",
    "left",
    "like",
    "limit",
    "minus",
    "not",
    "null",
    "of",
    "on",
    "or",
    "order",
    "outer",
    "right",
    "row",
    "select",
    "set",
    "size",
    "table",
    "then",
    "to",
    "true",
    "union",
    "update",
    "user",
    "values",
    "view",
    "was",
    "when",
    "where",
    "while",
    "with",
];
/// Characters that must be quoted although they mean nothing yet.
const RESERVED_CHARACTERS: &str = "+.;?|*/%^$#@[]{}\\`&";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    Text(String),
    Symbol(&'static str),
}

pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word.to_lowercase().as_str())
}

impl Token {
    pub(super) fn is_word(&self, expected: &str) -> bool {
        matches!(self, Self::Word(word) if word.eq_ignore_ascii_case(expected))
    }

    pub(super) fn is_symbol(&self, expected: &str) -> bool {
        matches!(self, Self::Symbol(symbol) if *symbol == expected)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(text) | Self::Text(text) => f.write_str(text),
            Self::Symbol(symbol) => f.write_str(symbol),
        }
    }
}

pub(super) struct Lexer<'a>(Peekable<Chars<'a>>);

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self(text.chars().peekable())
    }

    pub(super) fn next(&mut self) -> Result<Option<Token>, String> {
        while self.0.next_if(|character| character.is_whitespace()).is_some() {}
        let Some(&first) = self.0.peek() else {
            return Ok(None);
        };
        if matches!(first, '"' | '\'') {
            self.0.next();
            return self.quoted(first).map(|text| Some(Token::Text(text)));
        }
        if let Some(symbol) = self.symbol() {
            return Ok(Some(Token::Symbol(symbol)));
        }
        let ends = |character: &char| !character.is_whitespace() && !"()=!<>~,\"'".contains(*character);
        let mut word = String::new();
        while let Some(character) = self.0.next_if(ends) {
            if RESERVED_CHARACTERS.contains(character) || character.is_control() {
                return Err(format!(
                    "Error in the JQL Query: The character '{character}' is a reserved JQL character. You must enclose \
                     it in a string or use an escape."
                ));
            }
            word.push(character);
        }
        if word.is_empty() {
            return Err(format!("Error in the JQL Query: '{first}' is not expected here."));
        }
        Ok(Some(Token::Word(word)))
    }

    fn symbol(&mut self) -> Option<&'static str> {
        let mut after = self.0.clone();
        let (first, second) = (after.next()?, after.next());
        let symbol = match (first, second) {
            ('!', Some('=')) => "!=",
            ('!', Some('~')) => "!~",
            ('<', Some('=')) => "<=",
            ('>', Some('=')) => ">=",
            ('=', _) => "=",
            ('~', _) => "~",
            ('<', _) => "<",
            ('>', _) => ">",
            ('(', _) => "(",
            (')', _) => ")",
            (',', _) => ",",
            ('!', _) => "not",
            _ => return None,
        };
        self.0.next();
        if symbol.len() == 2 {
            self.0.next();
        }
        Some(symbol)
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let mut text = String::new();
        loop {
            match self.0.next() {
                None => return Err("Error in the JQL Query: The quoted string has not been completed.".to_owned()),
                Some('\\') => text.push(self.escaped()?),
                Some(character) if character == quote => return Ok(text),
                Some(character) => text.push(character),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, String> {
        let illegal = |escape: &str| format!("Error in the JQL Query: '\\{escape}' is an illegal JQL escape sequence.");
        match self.0.next() {
            Some(same @ ('"' | '\'' | '\\' | ' ')) => Ok(same),
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            Some('u') => {
                let digits: String = (0..4).filter_map(|_| self.0.next()).collect();
                let point = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                point.and_then(char::from_u32).ok_or_else(|| illegal(&format!("u{digits}")))
            }
            other => Err(illegal(&other.map(String::from).unwrap_or_default())),
        }
    }
}
