//! Reading a config: all of it, or everything that is wrong with it.

use std::{
    cell::RefCell,
    fs::File,
    io::{self, Read},
    path::Path,
};

use crate::{
    Config, Problem, Problems, Sources,
    check::{self, Scope},
    document::{Document, Duplicate, NotReadable, Place, SettingPath, Value},
    dotenv,
    problem::{Finding, Findings},
    typed,
};

/// The largest config file that is read.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// A config that holds together, as far as its text alone can tell. [`Loaded::surroundings`] checks the rest.
#[derive(Debug)]
pub struct Loaded {
    /// The config.
    pub config: Config,
    /// Where its relative files and its secrets are read.
    pub sources: Sources,
    /// What deserves a look but stops nothing.
    pub warnings: Vec<Problem>,
    pub(crate) document: Document,
    /// What no message about it shows.
    pub(crate) hidden: Vec<Place>,
}

/// One step on the way to a setting.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// Below a key.
    Key(&'a str),
    /// In a list, counted from 0.
    Index(usize),
}

impl Loaded {
    /// A problem that only who uses the setting below these keys can find, with its place in the text.
    #[must_use]
    pub fn problem_at(&self, keys: &[&str], message: &str) -> Problem {
        let steps: Vec<Step<'_>> = keys.iter().map(|key| Step::Key(key)).collect();
        self.problem_in(&steps, message, None)
    }

    /// The same for a setting that may stand in a list, with what to do about it.
    #[must_use]
    pub fn problem_in(&self, steps: &[Step<'_>], message: &str, help: Option<&str>) -> Problem {
        let setting = steps.iter().fold(SettingPath::default(), |path, step| match step {
            Step::Key(key) => path.key(key),
            Step::Index(index) => path.index(*index),
        });
        let place = self.document.place(&setting);
        let message = format!("`{setting}`: {message}");
        let mut findings = Findings::hiding(self.hidden.clone());
        findings.add(Finding { place, setting, message, help: help.map(str::to_owned), warning: false });
        let (mut problems, _) = findings.finish(&self.document);
        problems.pop().expect("one was just added")
    }
}

/// Reads and checks the file at `path`, without looking at the environment or at other files.
///
/// # Errors
/// Every problem with it.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let named = path.display().to_string();
    let bytes = bytes(path).map_err(|error| {
        let help = "name the file with `--config PATH`, or write one with `weir init`".to_owned();
        Problems::with_file(&named, format!("cannot be read: {error}"), Some(help))
    })?;
    let text = text(bytes, &named)?;
    let base = path.parent().map(Path::to_owned).unwrap_or_default();
    let mut loaded = parse(&text, &named, &base)?;
    if let Some(variables) = dotenv::read(&base)? {
        let file = base.join(dotenv::FILE_NAME).display().to_string();
        let said = "gives the variables that are not set: in production the environment has them, or files";
        loaded.warnings.push(Problem::of_file(&file, said.to_owned(), None));
        loaded.sources.dotenv = variables.into();
    }
    Ok(loaded)
}

/// Reads and checks `text`. Problems call it `named`; relative paths in it start from `base`.
///
/// # Errors
/// Every problem with it.
pub fn parse(text: &str, named: &str, base: &Path) -> Result<Loaded, Problems> {
    let Typed { value, document, findings } = typed::<Config>(text, named)?;
    if matches!(document.root.value, Value::Nothing) {
        // An empty file is a file that was not found, or not filled in.
        let help = "`weir init` writes one to start from".to_owned();
        return Err(Problems::with_file(named, "there is nothing in it".to_owned(), Some(help)));
    }
    let findings = RefCell::new(findings);
    if let Some(config) = &value {
        check::config(config, &Scope::root(&document, &findings));
    }
    let findings = findings.into_inner();
    let hidden = findings.hidden().to_vec();
    let (problems, warnings) = findings.finish(&document);
    match (Problems::new(problems), value) {
        (None, Some(config)) => {
            let sources = Sources { private_networks: config.outbound.networks(), ..Sources::at(base) };
            Ok(Loaded { config, sources, warnings, document, hidden })
        }
        (Some(problems), _) => Err(problems),
        (None, None) => unreachable!("a config that cannot be read leaves a problem"),
    }
}

/// A text on its way to becoming a `T`: what could be read of it, and what is wrong with its form.
pub(crate) struct Typed<T> {
    pub(crate) value: Option<T>,
    pub(crate) document: Document,
    pub(crate) findings: Findings,
}

pub(crate) fn typed<T: serde::de::DeserializeOwned>(text: &str, named: &str) -> Result<Typed<T>, Problems> {
    let mut findings = Findings::default();
    let mut document = match Document::read(text, named) {
        Ok(document) => document,
        Err(error) => {
            findings.add(not_readable(error));
            let (problems, _) = findings.finish(&Document::unread(text, named));
            return Err(Problems::new(problems).expect("one was just found"));
        }
    };
    for duplicate in document.take_duplicates() {
        findings.add(twice(duplicate));
    }
    let value = typed::read(&mut document, &mut findings);
    Ok(Typed { value, document, findings })
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

fn text(bytes: Vec<u8>, named: &str) -> Result<String, Problems> {
    String::from_utf8(bytes).map_err(|error| {
        let line =
            1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
        let help = Some("save it in the encoding UTF-8".to_owned());
        Problems::with_file(named, format!("line {line} is not UTF-8"), help)
    })
}

fn not_readable(error: NotReadable) -> Finding {
    let NotReadable { place, message, help } = error;
    Finding { place, setting: SettingPath::default(), message, help: help.map(str::to_owned), warning: false }
}

fn twice(duplicate: Duplicate) -> Finding {
    let Duplicate { setting, place, first_line } = duplicate;
    let message = format!("`{setting}` is given twice, first in line {first_line}");
    Finding { place: Some(place), setting, message, help: Some("keep one of them".to_owned()), warning: false }
}

#[cfg(test)]
mod tests;
