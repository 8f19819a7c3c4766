//! The program of an MCP server: what is started, with which environment, in which folder.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf, absolute},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use config::{Sources, downstream, environment};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::process::Command;

use super::{super::failure::Failure, Process, child::Child, lines::Lines, mask::Mask, stderr::Stderr};
use crate::BuildError;

/// A program that speaks MCP on its standard input and output.
pub(in crate::mcp) struct Program {
    downstream: Arc<str>,
    /// What it is called in reports: nothing of its arguments.
    name: Arc<str>,
    path: PathBuf,
    arguments: Vec<String>,
    folder: PathBuf,
    variables: Vec<(String, OsString)>,
    secrets: Vec<(String, SecretString)>,
    mask: Arc<Mask>,
    /// How long starting may take, with the handshake.
    pub(in crate::mcp) start_timeout: Duration,
    /// How long it is left alone once it has failed too often.
    pub(in crate::mcp) quarantine: Duration,
    stop_timeout: Duration,
    message_bytes_max: usize,
}

impl Program {
    /// Reads the settings of a downstream; `setting` names them in errors. Starts nothing.
    pub(in crate::mcp) fn new(
        downstream: Arc<str>,
        settings: &downstream::Stdio,
        sources: &Sources,
        setting: &str,
    ) -> Result<Self, BuildError> {
        let wrong = |key: &str, message: &str| BuildError::Setting {
            setting: format!("{setting}.{key}"),
            message: message.to_owned(),
        };
        let (program, arguments) =
            settings.command.split_first().ok_or_else(|| wrong("command", "it names no program"))?;
        let nowhere = |_| wrong("folder", "the folder that Weir runs in cannot be found");
        let folder = settings.folder.as_deref().unwrap_or(Path::new("."));
        let secret = |(name, reference): (&String, &config::SecretRef)| match reference.resolve(sources) {
            Ok(secret) => Ok((name.clone(), secret)),
            Err(source) => Err(BuildError::Secret { setting: format!("{setting}.secrets.{name}"), source }),
        };
        let secrets: Vec<_> = settings.secrets.iter().map(secret).collect::<Result<_, _>>()?;
        let passed = environment::passed_on(&settings.pass_env);
        let stated = settings.env.iter().map(|(name, value)| (name.clone(), OsString::from(value)));
        Ok(Self {
            name: Path::new(program).file_name().unwrap_or_default().to_string_lossy().into(),
            // A bare name is looked for on the child's PATH; a relative path begins beside the config file.
            path: if program.contains('/') {
                absolute(sources.base.join(program)).map_err(nowhere)?
            } else {
                program.into()
            },
            arguments: arguments.to_vec(),
            folder: absolute(sources.base.join(folder)).map_err(nowhere)?,
            variables: passed.into_iter().chain(stated).collect(),
            mask: Arc::new(Mask::new(secrets.iter().map(|(_, secret)| secret))),
            secrets,
            start_timeout: settings.start_timeout.0,
            quarantine: settings.quarantine.0,
            stop_timeout: settings.stop_timeout.0,
            message_bytes_max: settings.message_bytes_max.bytes(),
            downstream,
        })
    }

    /// Starts it.
    pub(in crate::mcp) fn open(&self) -> Result<Process, Failure> {
        let mut process = self.command().spawn().map_err(|error| self.not_started(&error))?;
        let pipes = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let child = Child::new(process).map_err(|error| self.not_started(&error))?;
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(Failure::unreachable("its program has no standard input and output"));
        };
        Ok(Process {
            downstream: Arc::clone(&self.downstream),
            program: Arc::clone(&self.name),
            child,
            stdin,
            lines: Lines::new(stdout, self.message_bytes_max),
            stderr: Stderr::listen(Arc::clone(&self.downstream), stderr, Arc::clone(&self.mask)),
            stop_timeout: self.stop_timeout,
            message_bytes_max: self.message_bytes_max,
        })
    }

    /// No shell reads it, and nothing of Weir's environment is in it that the config does not name.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).current_dir(&self.folder).env_clear();
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.envs(self.secrets.iter().map(|(name, secret)| (name, secret.expose_secret())));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own: signals of Weir's terminal do not reach it, and whatever it starts can be ended with it.
        command.process_group(0);
        command
    }

    fn not_started(&self, error: &io::Error) -> Failure {
        let failure = Failure::unreachable("its program cannot be started");
        let (name, folder) = (&self.name, self.folder.display());
        if !self.folder.is_dir() {
            return failure.because(format_args!("there is no folder {folder}: set `folder` to one that exists"));
        }
        match error.kind() {
            io::ErrorKind::NotFound if self.path.is_absolute() => failure.because(format_args!(
                "there is no file {}, or not the interpreter that its first line names: mend `command`",
                self.path.display()
            )),
            io::ErrorKind::NotFound => failure.because(format_args!(
                "there is no command `{name}` on the PATH that it gets: install it, or write its whole path in `command`"
            )),
            io::ErrorKind::PermissionDenied => {
                failure.because(format_args!("`{name}` may not be executed by the user that Weir runs as"))
            }
            _ => failure.because(format_args!("`{name}`: {error}")),
        }
    }
}
