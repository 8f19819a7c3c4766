//! Where the programs of other people's servers are on this machine.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// A program, and what brings it.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// The variable that names its folder.
    pub(crate) variable: &'static str,
    pub(crate) package: &'static str,
}

pub(crate) const REDIS: Program = Program { name: "redis-server", variable: "WEIR_REDIS_BIN", package: "redis-server" };
pub(crate) const NGINX: Program = Program { name: "nginx", variable: "WEIR_NGINX_BIN", package: "nginx-light" };

impl Program {
    /// The caller's folders first, then its variable, then `PATH` and what a system keeps beside it.
    pub(crate) fn find(&self, extra: &[PathBuf]) -> Result<PathBuf> {
        if let Some(found) = extra.iter().find_map(|dir| self.in_folder(dir)) {
            return Ok(found);
        }
        if let Some(chosen) = variable(self.variable).map(PathBuf::from) {
            return match self.in_folder(&chosen) {
                Some(found) => Ok(found),
                None => {
                    bail!("{} is {}, where no {} is. Correct or unset it", self.variable, chosen.display(), self.name)
                }
            };
        }
        let path = variable("PATH").unwrap_or_default();
        let mut folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
        match folders.find_map(|dir| self.in_folder(&dir)) {
            Some(found) => Ok(found),
            None => bail!(
                "no {name} was found in {extra}{variable} or PATH. Install it with `apt-get install {package}`, name its \
                 folder in {variable}, or start with `./run test`, which brings what is missing",
                name = self.name,
                variable = self.variable,
                package = self.package,
                extra = extra.iter().map(|dir| format!("{}, ", dir.display())).collect::<String>(),
            ),
        }
    }

    /// An absolute path, because the program runs with another working directory.
    fn in_folder(&self, folder: &Path) -> Option<PathBuf> {
        let program = folder.canonicalize().ok()?.join(self.name);
        program.is_file().then_some(program)
    }
}

#[allow(clippy::disallowed_methods, reason = "the stand-ins depend on no crate of ours, so they cannot ask `config`")]
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name)
}
