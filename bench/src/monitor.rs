//! What a Redis is asked, command by command, with its own clock: what it says to `MONITOR`.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Listens until it is asked what it heard.
#[derive(Debug)]
pub(crate) struct Monitor {
    stop: CancellationToken,
    listening: JoinHandle<Result<Vec<Command>>>,
}

/// One command, as Redis ran it.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    /// By the clock of Redis.
    pub(crate) at: Duration,
    /// Whether a script ran it, and not a client.
    by_script: bool,
    words: Vec<String>,
}

/// The commands of a script that change a value.
const WRITES: [&str; 6] = ["set", "setex", "psetex", "hset", "hmset", "incrby"];

impl Monitor {
    pub(crate) async fn start(redis: SocketAddr) -> Result<Self> {
        let mut stream = BufReader::new(TcpStream::connect(redis).await?);
        stream.get_mut().write_all(b"MONITOR\r\n").await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        ensure!(line == "+OK\r\n", "Redis is not to be listened to: {line}");
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let listening = tokio::spawn(async move {
            let mut commands = Vec::new();
            let listen = async {
                loop {
                    // Scripts may be told in bytes that are no text.
                    let mut line = Vec::new();
                    ensure!(stream.read_until(b'\n', &mut line).await? > 0, "Redis hung up");
                    commands.extend(Command::parse(&String::from_utf8_lossy(&line)));
                }
            };
            stopped.run_until_cancelled(listen).await.map_or(Ok(()), |ended: Result<()>| ended)?;
            Ok(commands)
        });
        Ok(Self { stop, listening })
    }

    /// All it heard.
    pub(crate) async fn stop(self) -> Result<Vec<Command>> {
        self.stop.cancel();
        self.listening.await.context("the listener panicked")?
    }
}

impl Command {
    /// As `+1700000000.123456 [0 127.0.0.1:1234] "SET" "key" "value"`; a script's own commands have `lua` for the address.
    fn parse(line: &str) -> Option<Self> {
        let (at, rest) = line.strip_prefix('+')?.split_once(" [")?;
        let (from, words) = rest.split_once("] ")?;
        let words = words.trim_end().trim_matches('"').split("\" \"").map(str::to_owned).collect();
        Some(Self { at: Duration::try_from_secs_f64(at.parse().ok()?).ok()?, by_script: from.ends_with(" lua"), words })
    }

    /// The key that a script changes by it.
    pub(crate) fn changed(&self) -> Option<&str> {
        let changes = self.by_script && WRITES.contains(&self.words.first()?.to_ascii_lowercase().as_str());
        self.words.get(1).filter(|_| changes).map(String::as_str)
    }

    /// Whether a client asks it, about this key.
    pub(crate) fn asks_about(&self, key: &str) -> bool {
        !self.by_script && self.words.iter().any(|word| word == key)
    }
}

/// The key that scripts changed most often, with the times of all its changes, in order.
pub(crate) fn most_changed(commands: &[Command]) -> Option<(&str, Vec<Duration>)> {
    let mut changes: HashMap<&str, Vec<Duration>> = HashMap::new();
    for command in commands {
        if let Some(key) = command.changed() {
            changes.entry(key).or_default().push(command.at);
        }
    }
    let (key, mut times) = changes.into_iter().max_by_key(|(_, times)| times.len())?;
    times.sort_unstable();
    Some((key, times))
}

/// The most of these times, which are in order, that lie within any second.
pub(crate) fn most_within_a_second(times: &[Duration]) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (last, at) in times.iter().enumerate() {
        while *at - times[first] >= Duration::from_secs(1) {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::{Command, Duration, most_changed, most_within_a_second};

    #[test]
    fn what_scripts_change_is_told_from_what_clients_ask() {
        let lines = [
            "+1700000000.100000 [0 127.0.0.1:5] \"EVALSHA\" \"abc\" \"1\" \"w:{t}a\" \"x \\\" y\"\r\n",
            "+1700000000.200000 [0 lua] \"get\" \"w:{t}a\"\r\n",
            "+1700000000.300000 [0 lua] \"SET\" \"w:{t}a\" \"5\" \"PX\" \"10\"\r\n",
        ];
        let commands: Vec<Command> = lines.iter().filter_map(|line| Command::parse(line)).collect();
        assert_eq!(
            commands.iter().map(|command| command.asks_about("w:{t}a")).collect::<Vec<_>>(),
            [true, false, false]
        );
        let (key, times) = most_changed(&commands).expect("one is changed");
        assert_eq!((key, times.len()), ("w:{t}a", 1));
    }

    #[test]
    fn the_most_within_a_second_is_that_of_the_worst_second() {
        let times = [0, 500, 900, 999, 1_000, 1_499, 1_600, 5_000].map(Duration::from_millis);
        assert_eq!(most_within_a_second(&times), 5);
        assert_eq!(most_within_a_second(&[]), 0);
    }
}
