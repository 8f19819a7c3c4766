//! What is wrong with a config: each problem with its place, all of them at once.

mod snippet;

use std::fmt;

use serde::{Serialize, Serializer};

use crate::{
    document::{Document, Place, SettingPath},
    typed::PROBLEMS_MAX,
};

/// One thing that is wrong, or that deserves a look.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// The file, as the user named it.
    pub file: String,
    /// The line, counted from 1. Absent when the file itself is the problem.
    pub line: Option<usize>,
    /// The column, counted from 1 and in characters.
    pub column: Option<usize>,
    /// The setting it is about: `server.listen`.
    pub setting: Option<String>,
    /// What is wrong, with the right form.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    #[serde(skip)]
    snippet: Option<String>,
}

impl Problem {
    pub(crate) fn of_file(file: &str, message: String, help: Option<String>) -> Self {
        Self { file: file.to_owned(), line: None, column: None, setting: None, message, help, snippet: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(snippet) = &self.snippet {
            write!(f, "\n{snippet}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a config, in the order of the file. Never empty.
#[derive(Debug, Clone)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems, or `None` where there are none.
    #[must_use]
    pub fn new(problems: Vec<Problem>) -> Option<Self> {
        (!problems.is_empty()).then_some(Self(problems))
    }

    /// A problem with a file as a whole.
    pub(crate) fn with_file(file: &str, message: String, help: Option<String>) -> Self {
        Self(vec![Problem::of_file(file, message, help)])
    }

    /// How many there are.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "problems are never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// One after the other.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self {
            write!(f, "{problem}\n\n")?;
        }
        match self.len() {
            1 => f.write_str("1 problem"),
            count if count >= PROBLEMS_MAX => write!(f, "{count} problems, and perhaps more"),
            count => write!(f, "{count} problems"),
        }
    }
}

impl Serialize for Problems {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// What was found in one document so far. It becomes [`Problem`]s at the end, when all that must stay hidden is known.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    found: Vec<Finding>,
    hidden: Vec<Place>,
}

/// One thing that was found.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) place: Option<Place>,
    pub(crate) setting: SettingPath,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// Does not stop a start.
    pub(crate) warning: bool,
}

impl Findings {
    /// Of a document of which these places were found to hold secrets, or may.
    pub(crate) fn hiding(hidden: Vec<Place>) -> Self {
        Self { hidden, found: Vec::new() }
    }

    pub(crate) fn hidden(&self) -> &[Place] {
        &self.hidden
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        self.found.push(finding);
    }

    /// Keeps what stands at `place` out of every snippet: it is a secret, or may be one.
    pub(crate) fn hide(&mut self, place: Place) {
        self.hidden.push(place);
    }

    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// The problems and the warnings, in the order of the file.
    pub(crate) fn finish(mut self, document: &Document) -> (Vec<Problem>, Vec<Problem>) {
        self.found.sort_by_key(|finding| finding.place.map(|place| place.start));
        let hidden = self.hidden;
        let (warnings, problems): (Vec<_>, Vec<_>) = self.found.into_iter().partition(|finding| finding.warning);
        let finished =
            |found: Vec<Finding>| found.into_iter().map(|finding| finding.finish(document, &hidden)).collect();
        (finished(problems), finished(warnings))
    }
}

impl Finding {
    fn finish(self, document: &Document, hidden: &[Place]) -> Problem {
        Problem {
            file: document.named.clone(),
            line: self.place.map(|place| place.line),
            column: self.place.map(|place| place.column),
            setting: (!self.setting.is_root()).then(|| self.setting.to_string()),
            message: snippet::printable(&self.message),
            help: self.help.map(|help| snippet::printable(&help)),
            snippet: self.place.map(|place| snippet::show(&document.text, place, hidden)),
        }
    }
}
