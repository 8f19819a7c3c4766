//! A server of exact bytes: what arrives is kept as it came, and answers are whatever a test wants, be they HTTP or not.

use std::{
    future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use tests::harness::PATIENCE;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// One request, as it stood on the wire.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// The request line and the headers.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Heard {
    /// The target in the request line.
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// The names and values of its headers, names in lower case.
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        let lines = self.head.lines().skip(1).filter(|line| !line.is_empty());
        lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers().into_iter().find(|(given, _)| given == name).map(|(_, value)| value)
    }
}

/// What a request gets.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    /// These bytes, and the end of the connection.
    Bytes(Vec<u8>),
    /// These bytes, and then nothing until the other side hangs up.
    ThenNothing(Vec<u8>),
    /// These bytes, and then a space each second.
    ThenTrickle(Vec<u8>),
    /// These bytes, and then spaces without end.
    ThenEndless(Vec<u8>),
}

/// A whole answer.
pub(crate) fn answer(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Said {
    let body = body.as_ref();
    let mut bytes = head(status, headers, body.len());
    bytes.extend_from_slice(body);
    Said::Bytes(bytes)
}

/// The head of an answer with a body of so many bytes.
pub(crate) fn head(status: &str, headers: &str, length: usize) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n").into_bytes()
}

/// JSON with status 200.
pub(crate) fn ok(json: &str) -> Said {
    answer("200 OK", "content-type: application/json\r\n", json)
}

pub(crate) struct Listener {
    pub(crate) url: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    heard: Mutex<Vec<Heard>>,
    /// How many requests wait for the rest of their answer.
    held: watch::Sender<usize>,
    bytes_sent: AtomicUsize,
}

impl Listener {
    pub(crate) async fn start(say: impl Fn(&Heard) -> Said + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared =
            Arc::new(Shared { heard: Mutex::default(), held: watch::Sender::new(0), bytes_sent: AtomicUsize::new(0) });
        let (say, state) = (Arc::new(say), Arc::clone(&shared));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (say, state) = (Arc::clone(&say), Arc::clone(&state));
                // Who hangs up early ends only its own connection.
                tokio::spawn(async move { _ = state.serve(stream, &*say).await });
            }
        });
        Ok(Self { url, shared, accepting })
    }

    /// All that was heard so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The one request that was heard.
    pub(crate) fn only(&self) -> Result<Heard> {
        let mut heard = self.heard();
        anyhow::ensure!(heard.len() == 1, "{} requests", heard.len());
        Ok(heard.remove(0))
    }

    pub(crate) fn bytes_sent(&self) -> usize {
        self.shared.bytes_sent.load(Ordering::Relaxed)
    }

    /// Ends when exactly so many requests wait for the rest of their answer.
    pub(crate) async fn until_held(&self, count: usize) -> Result<()> {
        let mut held = self.shared.held.subscribe();
        let waiting = held.wait_for(|held| *held == count);
        tokio::time::timeout(PATIENCE, waiting).await.with_context(|| format!("never {count} held"))??;
        Ok(())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    async fn serve(&self, mut stream: TcpStream, say: &(dyn Fn(&Heard) -> Said + Send + Sync)) -> Result<()> {
        let Some(heard) = read(&mut stream).await? else { return Ok(()) };
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(heard.clone());
        let said = say(&heard);
        let (Said::Bytes(bytes) | Said::ThenNothing(bytes) | Said::ThenTrickle(bytes) | Said::ThenEndless(bytes)) =
            &said;
        self.write(&mut stream, bytes).await?;
        if matches!(said, Said::Bytes(_)) {
            return Ok(());
        }
        self.held.send_modify(|held| *held += 1);
        let (mut reading, mut writing) = stream.split();
        let rest = async {
            match said {
                Said::Bytes(_) | Said::ThenNothing(_) => future::pending().await,
                Said::ThenTrickle(_) => loop {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    writing.write_all(b" ").await?;
                },
                Said::ThenEndless(_) => {
                    let spaces = [b' '; 4096];
                    loop {
                        writing.write_all(&spaces).await?;
                        self.bytes_sent.fetch_add(spaces.len(), Ordering::Relaxed);
                    }
                }
            }
        };
        let mut buffer = [0; 64];
        tokio::select! {
            ended = rest => { let _: std::io::Result<()> = ended; }
            // The caller hung up.
            _ = reading.read(&mut buffer) => {}
        }
        self.held.send_modify(|held| *held -= 1);
        Ok(())
    }

    async fn write(&self, stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
        stream.write_all(bytes).await?;
        self.bytes_sent.fetch_add(bytes.len(), Ordering::Relaxed);
        Ok(())
    }
}

/// One request; `None` where somebody only looked whether the port is open.
async fn read(stream: &mut TcpStream) -> Result<Option<Heard>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec())?;
    let mut heard = Heard { head, body: String::new() };
    let length: usize = heard.header("content-length").map_or(Ok(0), |value| value.parse())?;
    while bytes.len() < end + length {
        anyhow::ensure!(stream.read_buf(&mut bytes).await? > 0, "half a body");
    }
    heard.body = String::from_utf8(bytes[end..].to_vec())?;
    Ok(Some(heard))
}
