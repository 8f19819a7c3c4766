//! The query language, as far as anybody asks for it: fields, operators, AND, OR, NOT, parentheses, ORDER BY.

mod lexer;
mod matching;

use lexer::{Lexer, Token};

pub(super) use matching::select;

const DEPTH_MAX: usize = 50;

/// A query, read but not yet compared with what there is.
#[derive(Debug)]
pub(super) struct Query {
    filter: Option<Filter>,
    /// Fields, and whether the largest comes first.
    order: Vec<(String, bool)>,
}

#[derive(Debug)]
enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Clause(Clause),
}

#[derive(Debug)]
struct Clause {
    /// In lower case.
    field: String,
    operator: Operator,
    values: Vec<Operand>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    In,
    NotIn,
    Like,
    NotLike,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operand {
    Text(String),
    Empty,
    CurrentUser,
}

impl Query {
    /// The error is what the service says of it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { lexer: Lexer::new(text), ahead: None };
        let filter = match parser.peek()? {
            None => None,
            Some(token) if token.is_word("order") => None,
            Some(_) => Some(parser.any(0)?),
        };
        let order = parser.order()?;
        match parser.next()? {
            None => Ok(Self { filter, order }),
            Some(token) => Err(format!("Error in the JQL Query: Expecting either 'OR' or 'AND' but got '{token}'.")),
        }
    }

    /// Whether it asks for everything there is, which the service refuses.
    pub(super) fn is_unbounded(&self) -> bool {
        self.filter.is_none()
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    ahead: Option<Token>,
}

impl Parser<'_> {
    fn peek(&mut self) -> Result<Option<&Token>, String> {
        if self.ahead.is_none() {
            self.ahead = self.lexer.next()?;
        }
        Ok(self.ahead.as_ref())
    }

    fn next(&mut self) -> Result<Option<Token>, String> {
        self.peek()?;
        Ok(self.ahead.take())
    }

    /// Takes the next token if it is this word or this symbol.
    fn takes(&mut self, expected: &str) -> Result<bool, String> {
        let is_next = self.peek()?.is_some_and(|token| token.is_word(expected) || token.is_symbol(expected));
        if is_next {
            self.ahead = None;
        }
        Ok(is_next)
    }

    fn expect(&mut self, expected: &str) -> Result<(), String> {
        if self.takes(expected)? { Ok(()) } else { Err(self.unexpected(&format!("'{expected}'"))) }
    }

    fn unexpected(&mut self, expected: &str) -> String {
        match self.next() {
            Ok(Some(token)) => format!("Error in the JQL Query: Expecting {expected} but got '{token}'."),
            Ok(None) => format!("Error in the JQL Query: Expecting {expected} before the end of the query."),
            Err(error) => error,
        }
    }

    fn any(&mut self, depth: usize) -> Result<Filter, String> {
        let mut filters = vec![self.all(depth)?];
        while self.takes("or")? {
            filters.push(self.all(depth)?);
        }
        Ok(Filter::Any(filters))
    }

    fn all(&mut self, depth: usize) -> Result<Filter, String> {
        let mut filters = vec![self.one(depth)?];
        while self.takes("and")? {
            filters.push(self.one(depth)?);
        }
        Ok(Filter::All(filters))
    }

    fn one(&mut self, depth: usize) -> Result<Filter, String> {
        if depth > DEPTH_MAX {
            return Err("Error in the JQL Query: it is nested too deeply.".to_owned());
        }
        if self.takes("not")? {
            return Ok(Filter::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.takes("(")? {
            let inner = self.any(depth + 1)?;
            self.expect(")")?;
            return Ok(inner);
        }
        let field = match self.next()? {
            Some(Token::Word(word)) if !lexer::is_reserved(&word) => word,
            Some(Token::Text(text)) => text,
            Some(token) => {
                return Err(format!("Error in the JQL Query: '{token}' is not a field; quote it if it is one."));
            }
            None => return Err(self.unexpected("a field")),
        };
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.list()?,
            _ => vec![self.operand()?],
        };
        Ok(Filter::Clause(Clause { field: field.to_lowercase(), operator, values }))
    }

    fn operator(&mut self) -> Result<Operator, String> {
        for (symbol, operator) in [
            ("=", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("~", Operator::Like),
            ("!~", Operator::NotLike),
            ("<=", Operator::LessOrEqual),
            ("<", Operator::Less),
            (">=", Operator::GreaterOrEqual),
            (">", Operator::Greater),
            ("in", Operator::In),
        ] {
            if self.takes(symbol)? {
                return Ok(operator);
            }
        }
        if self.takes("is")? {
            return Ok(if self.takes("not")? { Operator::NotEqual } else { Operator::Equal });
        }
        if self.takes("not")? {
            self.expect("in")?;
            return Ok(Operator::NotIn);
        }
        Err(self.unexpected("an operator"))
    }

    fn list(&mut self) -> Result<Vec<Operand>, String> {
        self.expect("(")?;
        let mut values = vec![self.operand()?];
        while self.takes(",")? {
            values.push(self.operand()?);
        }
        self.expect(")")?;
        Ok(values)
    }

    fn operand(&mut self) -> Result<Operand, String> {
        match self.next()? {
            Some(Token::Text(text)) => Ok(Operand::Text(text)),
            Some(Token::Word(word)) if ["empty", "null"].contains(&word.to_lowercase().as_str()) => Ok(Operand::Empty),
            Some(Token::Word(word)) if lexer::is_reserved(&word) => Err(format!(
                "Error in the JQL Query: '{word}' is a reserved JQL word. Surround it in quotes to use it as a value."
            )),
            Some(Token::Word(word)) if self.takes("(")? => {
                self.expect(")")?;
                match word.to_lowercase().as_str() {
                    "currentuser" => Ok(Operand::CurrentUser),
                    _ => Err(format!("Unable to find JQL function '{word}()'.")),
                }
            }
            Some(Token::Word(word)) => Ok(Operand::Text(word)),
            Some(token) => Err(format!("Error in the JQL Query: Expecting a value but got '{token}'.")),
            None => Err(self.unexpected("a value")),
        }
    }

    fn order(&mut self) -> Result<Vec<(String, bool)>, String> {
        let mut order = Vec::new();
        if !self.takes("order")? {
            return Ok(order);
        }
        self.expect("by")?;
        loop {
            let Some(Token::Word(field) | Token::Text(field)) = self.next()? else {
                return Err("Error in the JQL Query: ORDER BY needs a field.".to_owned());
            };
            let descending = self.takes("desc")?;
            if !descending {
                self.takes("asc")?;
            }
            order.push((field.to_lowercase(), descending));
            if !self.takes(",")? {
                return Ok(order);
            }
        }
    }
}
