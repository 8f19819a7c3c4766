//! MCP messages over the standard input and output of a child process: one JSON-RPC message in each line (docs/stdio.md).

mod child;
mod lines;
mod mask;
mod program;
mod stderr;

use std::{io, sync::Arc, time::Duration};

use rustix::io::ioctl_fionread;
use tokio::{
    io::AsyncWriteExt as _,
    process::{ChildStdin, ChildStdout},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    failure::Failure,
    peer::{Outbox, Peer},
};
use crate::ErrorClass;
use child::{Child, Ending};
use lines::{LineError, Lines};
use stderr::Stderr;

pub(super) use program::Program;

/// How many messages are written at once.
const BATCH_MAX: usize = 64;
/// How much room for messages is kept from one time to the next.
const BATCH_BYTES_KEPT: usize = 64 * 1024;
/// How long after a program broke off it is waited for its end, and for what it wrote before.
const LAST_ANSWERS: Duration = Duration::from_millis(50);
/// How long what nobody waits for is still written.
const GOODBYE: Duration = Duration::from_millis(500);

/// A program that runs.
pub(super) struct Process {
    downstream: Arc<str>,
    program: Arc<str>,
    child: Child,
    stdin: ChildStdin,
    lines: Lines<ChildStdout>,
    stderr: Stderr,
    stop_timeout: Duration,
    message_bytes_max: usize,
}

impl Process {
    /// Carries messages until the program ends or `stop` fires, and returns when nothing of it is left. Reading and writing go on
    /// side by side, so that a program which does not read while it writes cannot bring both to a halt.
    pub(super) async fn run(mut self, peer: Arc<Peer>, mut outbox: Outbox, stop: CancellationToken) {
        let mut writer = Writer { stdin: self.stdin, batch: Vec::new(), written: 0, began: false };
        let failure = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            failure = read(&mut self.lines, &peer, self.message_bytes_max) => Some(failure),
            failure = writer.run(&mut outbox) => Some(failure),
            _ = self.child.ended() => Some(Failure::lost("its program ended")),
        };
        let failure = match failure {
            Some(failure) if failure.class == ErrorClass::ConnectionLost => {
                let ended = timeout(LAST_ANSWERS, self.child.ended()).await;
                if ended.is_ok() {
                    // Its pipes are closed only when nobody else holds them either.
                    self.child.kill_group();
                }
                // Answers may have come before: they are not lost with what broke.
                let _ = timeout(LAST_ANSWERS, read(&mut self.lines, &peer, self.message_bytes_max)).await;
                match ended {
                    Ok(ending) => {
                        let failure = ended_by_itself(ending, &self.program, self.stderr.last_line().await);
                        if writer.was_read() { failure } else { failure.unasked() }
                    }
                    Err(_) => failure,
                }
            }
            Some(failure) => failure,
            None => Failure::lost("Weir closed the connection"),
        };
        let listens = failure.class == ErrorClass::ConnectionLost;
        peer.end(failure);
        if listens {
            let _ = timeout(GOODBYE, writer.say_goodbye(&mut outbox)).await;
        }
        drop((writer, outbox));
        let ending = self.child.end(&self.downstream, self.stop_timeout);
        if listens {
            // It is not to be held up by what it still has to say.
            tokio::pin!(ending);
            tokio::select! {
                () = &mut ending => {}
                () = self.lines.drain() => ending.await,
            }
        } else {
            drop(self.lines);
            ending.await;
        }
        self.stderr.finish().await;
    }
}

async fn read(lines: &mut Lines<ChildStdout>, peer: &Peer, message_bytes_max: usize) -> Failure {
    loop {
        match lines.next().await {
            Ok(line) => {
                if let Err(failure) = peer.receive(&line) {
                    return failure;
                }
            }
            Err(LineError::Ended) => return Failure::lost("its program closed its standard output"),
            Err(LineError::Broken(error)) => return Failure::lost("its program cannot be read from").because(error),
            Err(LineError::TooLong) => {
                let told = format!("its program wrote a line of more than {message_bytes_max} bytes");
                return Failure::new(ErrorClass::TooLarge, told);
            }
        }
    }
}

fn ended_by_itself(ending: Ending, program: &str, last_line: Option<String>) -> Failure {
    let failure = Failure::lost(ending.told());
    match (ending.hint(program), last_line) {
        (None, None) => failure,
        (Some(hint), None) => failure.because(hint),
        (None, Some(line)) => failure.because(format_args!("its last line on stderr was {line:?}")),
        (Some(hint), Some(line)) => failure.because(format_args!("{hint}; its last line on stderr was {line:?}")),
    }
}

/// Writes messages, several at once. What has been written of them is known also when writing was given up half-way.
struct Writer {
    stdin: ChildStdin,
    batch: Vec<u8>,
    written: usize,
    /// Whether anything was ever written.
    began: bool,
}

impl Writer {
    async fn run(&mut self, outbox: &mut Outbox) -> Failure {
        loop {
            self.add(&outbox.next().await);
            for _ in 1..BATCH_MAX {
                let Some(text) = outbox.try_next() else { break };
                self.add(&text);
            }
            if let Err(error) = self.write().await {
                return Failure::lost("its program closed its standard input").because(error);
            }
        }
    }

    /// What nobody waits for: a cancellation may be among it.
    async fn say_goodbye(&mut self, outbox: &mut Outbox) -> io::Result<()> {
        while let Some(aside) = outbox.try_next_aside() {
            self.add(&aside);
        }
        self.write().await
    }

    /// A message may have no end of a line in it. In JSON there can be one only between its parts, where a space means the same.
    fn add(&mut self, text: &str) {
        let start = self.batch.len();
        self.batch.extend_from_slice(text.as_bytes());
        for byte in &mut self.batch[start..] {
            if matches!(*byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        self.batch.push(b'\n');
    }

    /// Whether the program read all that it was asked.
    fn was_read(&self) -> bool {
        self.began && ioctl_fionread(&self.stdin).map_or(true, |unread| unread == 0)
    }

    async fn write(&mut self) -> io::Result<()> {
        while self.written < self.batch.len() {
            self.written += match self.stdin.write(&self.batch[self.written..]).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => written,
            };
            self.began = true;
        }
        self.batch.clear();
        // The room for one large request is not kept.
        self.batch.shrink_to(BATCH_BYTES_KEPT);
        self.written = 0;
        Ok(())
    }
}
