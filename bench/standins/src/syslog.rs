//! A syslog collector, over TCP and UDP. It is strict where real ones are lenient: a message that RFC 5424 does not allow is kept as wrong.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::{TcpStream, UdpSocket};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::listener::{Running, listen};
use crate::observed::Observed;

const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// One message, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub facility: u8,
    pub severity: u8,
    pub time: String,
    pub host: String,
    pub app: String,
    pub process: String,
    pub id: String,
    /// As it stands: `[meta sequenceId="1"]`.
    pub data: String,
    pub text: String,
}

/// What a collector got.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    pub messages: Vec<Message>,
    /// What was no message, and why.
    pub wrong: Vec<String>,
}

/// A collector that listens on a port of its own. Stops on drop.
#[derive(Debug)]
pub struct Collector {
    pub addr: SocketAddr,
    collected: Arc<Observed<Collected>>,
    running: Option<Running>,
    _stop: DropGuard,
}

impl Collector {
    /// Over TCP, with the length in front of each message (RFC 6587).
    pub async fn tcp() -> Result<Self> {
        let collected = Arc::new(Observed::default());
        let into = collected.clone();
        let running = listen("127.0.0.1:0", "syslog", move |stream, token| {
            let into: Arc<Observed<Collected>> = into.clone();
            async move {
                if let Some(Err(error)) = token.run_until_cancelled(collect(stream, &into)).await {
                    into.update(|collected| collected.wrong.push(format!("{error:#}")));
                }
            }
        })
        .await?;
        let stop = CancellationToken::new().drop_guard();
        Ok(Self { addr: running.addr, collected, running: Some(running), _stop: stop })
    }

    /// Over UDP, one message for each datagram (RFC 5426).
    pub async fn udp() -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let addr = socket.local_addr()?;
        let collected: Arc<Observed<Collected>> = Arc::default();
        let (into, stop) = (collected.clone(), CancellationToken::new());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            let mut datagram = vec![0; 65_536];
            while let Ok(length) = socket.recv(&mut datagram).await {
                take(&datagram[..length], &into);
            }
        }));
        Ok(Self { addr, collected, running: None, _stop: stop.drop_guard() })
    }

    #[must_use]
    pub fn collected(&self) -> Collected {
        self.collected.get()
    }

    /// Waits until what was collected is so.
    pub async fn wait_until(&self, reached: impl FnMut(&Collected) -> bool) -> Result<()> {
        self.collected.wait_until(reached).await
    }

    /// Whether nobody listens (TCP). Those who are connected are hung up on.
    pub async fn refuse(&self, refuse: bool) -> Result<()> {
        let running = self.running.as_ref().context("a datagram is never refused")?;
        running.refuse(refuse).await?;
        if refuse {
            running.drop_connections();
        }
        Ok(())
    }
}

async fn collect(stream: TcpStream, into: &Observed<Collected>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = Vec::new();
        if (&mut stream).take(8).read_until(b' ', &mut length).await? == 0 {
            return Ok(());
        }
        let length =
            std::str::from_utf8(&length)?.strip_suffix(' ').context("no length stands in front of a message")?;
        ensure!(!length.starts_with('0'), "the length of a message is `{length}`");
        let length: usize = length.parse().with_context(|| format!("the length of a message is `{length}`"))?;
        ensure!(length <= MESSAGE_BYTES_MAX, "a message has {length} bytes");
        let mut message = vec![0; length];
        // A sender that is gone in the middle of a message sends it again.
        if stream.read_exact(&mut message).await.is_err() {
            return Ok(());
        }
        take(&message, into);
    }
}

fn take(message: &[u8], into: &Observed<Collected>) {
    let parsed = parse(message);
    into.update(|collected| match parsed {
        Ok(message) => collected.messages.push(message),
        Err(error) => collected.wrong.push(format!("{error:#}: {}", String::from_utf8_lossy(message))),
    });
}

/// RFC 5424, section 6.
fn parse(message: &[u8]) -> Result<Message> {
    let message = std::str::from_utf8(message).context("it is no UTF-8")?;
    let (priority, rest) =
        message.strip_prefix('<').and_then(|rest| rest.split_once('>')).context("it has no priority")?;
    ensure!(priority == "0" || !priority.starts_with('0'), "its priority is `{priority}`");
    let priority: u8 = priority.parse()?;
    ensure!(priority <= 191, "its priority is {priority}");
    let rest = rest.strip_prefix("1 ").context("it has another version than 1")?;
    let mut fields = rest.splitn(6, ' ');
    let mut field = |bytes_max: usize| -> Result<String> {
        let field = fields.next().context("a field is missing")?;
        ensure!(!field.is_empty() && field.len() <= bytes_max, "a field has {} bytes", field.len());
        ensure!(field.bytes().all(|byte| byte.is_ascii_graphic()), "a field is not printable");
        Ok(field.to_owned())
    };
    let (time, host, app, process, id) = (field(32)?, field(255)?, field(48)?, field(128)?, field(32)?);
    ensure!(time == "-" || is_time(&time), "its time is `{time}`");
    let rest = fields.next().context("it has no structured data")?;
    let (data, text) = match rest.strip_prefix('-') {
        Some(text) => ("-", text),
        None => match rest.find(']') {
            Some(end) if rest.starts_with('[') => rest.split_at(end + 1),
            _ => bail!("it has no structured data"),
        },
    };
    let text = text.strip_prefix(' ').unwrap_or(text);
    let is_marked = text.starts_with('\u{feff}');
    ensure!(text.is_ascii() || is_marked, "its text is UTF-8 and not marked so");
    Ok(Message {
        facility: priority / 8,
        severity: priority % 8,
        time,
        host,
        app,
        process,
        id,
        data: data.to_owned(),
        text: text.trim_start_matches('\u{feff}').to_owned(),
    })
}

/// `2026-11-23T02:15:00.123456Z`: at most six digits behind the point.
fn is_time(time: &str) -> bool {
    let Some(time) = time.strip_suffix('Z') else { return false };
    let (whole, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let shape = "0000-00-00T00:00:00";
    let fits = |(found, wanted): (char, char)| if wanted == '0' { found.is_ascii_digit() } else { found == wanted };
    whole.len() == shape.len()
        && whole.chars().zip(shape.chars()).all(fits)
        && (1..=6).contains(&fraction.len())
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_examples_of_the_standard_are_taken_and_others_are_not() {
        let good = parse(b"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - 'su root' failed")
            .expect("a message");
        assert_eq!((good.facility, good.severity, &*good.app, &*good.text), (4, 2, "su", "'su root' failed"));
        let data = parse(b"<165>1 - h evntslog - ID47 [a b=\"c\"] x").expect("a message");
        assert_eq!((&*data.data, &*data.text), ("[a b=\"c\"]", "x"));
        for wrong in [
            &b"34 1 - h a - - - x"[..],
            b"<034>1 - h a - - - x",
            b"<34>2 - h a - - - x",
            b"<34>1 2003-10-11T22:14:15.0000003Z h a - - - x",
            b"<34>1 - h a - - x",
            "<34>1 - h a - - - \u{e4}".as_bytes(),
        ] {
            assert!(parse(wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
    }
}
