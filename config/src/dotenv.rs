//! `.env` beside the config file: variables for development, where the environment does not have them.

use std::{collections::HashMap, fmt, path::Path};

use secrecy::SecretString;

use crate::{
    Problems,
    secret::{SecretError, read_private},
};

/// What the file is called.
pub(crate) const FILE_NAME: &str = ".env";

/// Variables by name. Printing them shows how many there are.
#[derive(Clone, Default)]
pub(crate) struct Variables(HashMap<String, SecretString>);

/// Reads the file in `base`; `None` where there is none.
///
/// # Errors
/// When others can read it, or a line has another form.
pub(crate) fn read(base: &Path) -> Result<Option<Variables>, Problems> {
    let path = base.join(FILE_NAME);
    let named = path.display().to_string();
    let text = match read_private(&path) {
        Ok(text) => text,
        Err(SecretError::FileUnreadable { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(Problems::with_file(&named, format!("cannot be used: {error}"), None)),
    };
    let variables = parse(&text).map_err(|(line, what)| {
        let help = "a line is `NAME=value`, `NAME=\"value\"`, `NAME='value'`, empty, or a comment that begins with `#`";
        Problems::with_file(&named, format!("line {line} {what}"), Some(help.to_owned()))
    })?;
    Ok(Some(Variables(variables)))
}

impl Variables {
    pub(crate) fn get(&self, name: &str) -> Option<&SecretString> {
        self.0.get(name)
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} variables", self.0.len())
    }
}

/// Else the number of the first line that is wrong, and what is wrong with it, in words that tell no value.
fn parse(text: &str) -> Result<HashMap<String, SecretString>, (usize, &'static str)> {
    let mut variables = HashMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').ok_or((number, "has no `=`"))?;
        let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if name.is_empty() || !is_name(name) || name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err((number, "does not begin with the name of a variable"));
        }
        let value = value_of(value.trim()).map_err(|what| (number, what))?;
        if variables.insert(name.to_owned(), SecretString::from(value)).is_some() {
            return Err((number, "sets a variable that was set before"));
        }
    }
    Ok(variables)
}

/// Quotes end where they began; within double ones `\n`, `\"`, `\\` and `\$` stand for what they do in a shell. Nothing is put in for `$NAME`.
fn value_of(text: &str) -> Result<String, &'static str> {
    let Some(quote) = text.chars().next().filter(|first| matches!(first, '"' | '\'')) else {
        // A comment begins behind a space: a `#` within a value is a part of it.
        let end = text.find(" #").unwrap_or(text.len());
        return Ok(text[..end].trim_end().to_owned());
    };
    let (mut value, mut rest) = (String::new(), text[1..].chars());
    loop {
        match rest.next().ok_or("has a quote that does not end")? {
            end if end == quote => break,
            '\\' if quote == '"' => match rest.next().ok_or("has a quote that does not end")? {
                'n' => value.push('\n'),
                same @ ('"' | '\\' | '$') => value.push(same),
                _ => return Err("has a `\\` that stands for nothing"),
            },
            other => value.push(other),
        }
    }
    let rest = rest.as_str().trim();
    if rest.is_empty() || rest.starts_with('#') { Ok(value) } else { Err("goes on behind its closing quote") }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::parse;

    #[test]
    fn values_are_what_a_shell_would_take_them_for() {
        let text = "# secrets\n\nA=1\n export B=two words # a comment\nC=a#b\nD=\"x\\n\\\"\\$Y\\\\\" # said\nE='a\\nb $C'\nF=\nG==\n";
        let read = parse(text).expect("it is right");
        let value = |name: &str| read[name].expose_secret().to_owned();
        assert_eq!(value("A"), "1");
        assert_eq!((value("B"), value("C")), ("two words".to_owned(), "a#b".to_owned()));
        assert_eq!(value("D"), "x\n\"$Y\\");
        assert_eq!(value("E"), "a\\nb $C");
        assert_eq!((value("F"), value("G")), (String::new(), "=".to_owned()));
    }

    #[test]
    fn the_line_that_is_wrong_is_named_and_not_told() {
        for (text, line) in [
            ("A=1\nsecret", 2),
            ("=x", 1),
            ("1A=x", 1),
            ("A B=x", 1),
            ("A=1\n\nA=2", 3),
            ("A=\"x", 1),
            ("A='x'y", 1),
            ("A=\"\\q\"", 1),
            ("A=\"x\\", 1),
        ] {
            let (number, what) = parse(text).expect_err(text);
            assert_eq!(number, line, "{text}");
            assert!(!what.contains("secret"), "{what}");
        }
    }
}
