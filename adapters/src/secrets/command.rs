//! A secret that a program prints.

use std::{process::Stdio, time::Duration};

use config::environment;
use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::SecretString;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
};

/// More is no secret.
const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// All that the program gets of Weir's own environment: nothing with a secret in it.
const PASSED_ON: [&str; 5] = ["PATH", "HOME", "USER", "LANG", "TMPDIR"];

/// What `words` prints, without a newline at its end; else what is wrong, without a word of what was printed.
pub(super) async fn output(words: &[String], timeout: Duration) -> Result<SecretString, String> {
    let (program, arguments) = words.split_first().ok_or("names no program")?;
    let variables = environment::passed_on(&PASSED_ON.map(str::to_owned));
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(variables).process_group(0).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("it cannot be started ({error}): write its whole path"))?;
    // The program, and whatever it starts.
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let _ended = scopeguard(group);
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let ran = async {
        let (printed, said, status) = tokio::join!(read(stdout.as_mut()), read(stderr.as_mut()), child.wait());
        (printed, said.map_or(0, |said| said.len()), status)
    };
    let Ok((printed, said_bytes, status)) = tokio::time::timeout(timeout, ran).await else {
        return Err(format!("it did not end within {} s (`secrets.command_timeout`)", timeout.as_secs_f64()));
    };
    let status = status.map_err(|error| format!("it was lost: {error}"))?;
    if !status.success() {
        return Err(format!(
            "it ended with {status}, and said {said_bytes} bytes on stderr: run it by hand to read them"
        ));
    }
    let printed = printed.ok_or_else(|| format!("it printed more than {OUTPUT_BYTES_MAX} bytes"))?;
    let text = String::from_utf8(printed).map_err(|_| "what it printed is no UTF-8")?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() { Err("it printed nothing".to_owned()) } else { Ok(SecretString::from(text)) }
}

/// `None` when it is too much: then the rest is not read.
async fn read(from: Option<&mut (impl AsyncRead + Unpin)>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = from?.take(OUTPUT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).await;
    read.ok().filter(|_| bytes.len() <= OUTPUT_BYTES_MAX).map(|_| bytes)
}

/// Ends the processes of the group when it is dropped.
fn scopeguard(group: Option<Pid>) -> impl Drop {
    struct Group(Option<Pid>);
    impl Drop for Group {
        fn drop(&mut self) {
            if let Some(leader) = self.0 {
                let _ = kill_process_group(leader, Signal::KILL);
            }
        }
    }
    Group(group)
}
