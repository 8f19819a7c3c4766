//! A child process and everything it starts: how it ends by itself, how it is ended, and that nothing of it stays.

use std::{fmt::Write as _, io, time::Duration};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, waitid};
use tokio::{
    process::Child as Process,
    signal::unix::{Signal as Signals, SignalKind, signal},
    time::timeout,
};

/// How long a child that was asked to end by SIGTERM may take.
const TERMINATE: Duration = Duration::from_secs(1);
/// How long the system may take to end a process that was killed.
const KILL: Duration = Duration::from_secs(5);

/// A child process, the leader of a process group of its own. Dropping it kills the group; the runtime reaps it.
pub(super) struct Child {
    // Dropped in this order: killed, then left to the runtime.
    group: Group,
    process: Process,
    children: Signals,
}

/// The processes of one group; killed when this is dropped before its leader was reaped. As long as the leader is not reaped,
/// its id is nobody else's.
struct Group(Option<Pid>);

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Code(i32),
    Signal(i32),
    /// Somebody else has reaped it.
    Unknown,
}

impl Child {
    /// Takes over a process that was just started as the leader of a group.
    pub(super) fn new(process: Process) -> io::Result<Self> {
        let id = process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let group = Group(id);
        Ok(Self { group, process, children: signal(SignalKind::child())? })
    }

    /// Waits for the end of the process itself, and leaves it to be reaped. May be dropped and called again.
    pub(super) async fn ended(&mut self) -> Ending {
        loop {
            if let Some(ending) = self.group.leader_has_ended() {
                return ending;
            }
            if self.children.recv().await.is_none() {
                // The runtime is ending.
                return std::future::pending().await;
            }
        }
    }

    /// Ends what the process left behind.
    pub(super) fn kill_group(&self) {
        self.group.signal(Signal::KILL);
    }

    /// Ends it and waits until it is gone: by itself within `patience`, then by SIGTERM, then by SIGKILL. Its standard input is closed by now.
    pub(super) async fn end(mut self, downstream: &str, patience: Duration) {
        if timeout(patience, self.ended()).await.is_err() {
            tracing::info!(%downstream, "its program does not end by itself: it gets SIGTERM");
            self.group.signal(Signal::TERM);
            if timeout(TERMINATE, self.ended()).await.is_err() {
                tracing::warn!(%downstream, "its program does not heed SIGTERM: it is killed");
            }
        }
        self.kill_group();
        match timeout(KILL, self.process.wait()).await {
            Ok(_) => self.group.0 = None,
            Err(_) => tracing::error!(%downstream, "the system does not end a process that was killed"),
        }
    }
}

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.0 {
            // It fails where there is nobody left.
            let _ = kill_process_group(leader, signal);
        }
    }

    fn leader_has_ended(&self) -> Option<Ending> {
        let Some(leader) = self.0 else { return Some(Ending::Unknown) };
        match waitid(WaitId::Pid(leader), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT) {
            Ok(status) => status.map(|status| Ending::of(&status)),
            Err(_) => Some(Ending::Unknown),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

impl Ending {
    fn of(status: &WaitIdStatus) -> Self {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Unknown,
        }
    }

    /// What may be told to callers.
    pub(super) fn told(self) -> String {
        match self {
            Self::Code(code) => format!("its program ended with exit status {code}"),
            Self::Signal(signal) => {
                let mut told = format!("its program was ended by signal {signal}");
                if let Some(name) = name_of(signal) {
                    let _ = write!(told, " ({name})");
                }
                told
            }
            Self::Unknown => "its program ended".to_owned(),
        }
    }

    /// What the operator can make of it. `program` is its name.
    pub(super) fn hint(self, program: &str) -> Option<String> {
        match self {
            Self::Code(126) => Some(format!("{program} says by this that a file may not be executed")),
            Self::Code(127) => Some(format!("{program} says by this that it did not find a command or a library")),
            Self::Signal(9) => Some("somebody killed it, or memory ran out".to_owned()),
            Self::Code(_) | Self::Signal(_) | Self::Unknown => None,
        }
    }
}

fn name_of(signal: i32) -> Option<&'static str> {
    const NAMES: [(Signal, &str); 10] = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::KILL, "SIGKILL"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::TERM, "SIGTERM"),
    ];
    NAMES.iter().find(|(number, _)| number.as_raw() == signal).map(|(_, name)| *name)
}
