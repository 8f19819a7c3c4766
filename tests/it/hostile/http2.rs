//! Floods of HTTP/2 frames that ask for nothing: the connection is closed, memory stays, and others are served meanwhile.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use rustls::pki_types::CertificateDer;
use serde_json::json;
use tempfile::TempDir;
use tests::{PATIENCE, private_file, secured};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf},
    net::TcpStream,
    sync::watch,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use super::{House, statuses};

/// The check asks for so many resets; the other floods are as long.
const FRAMES: u32 = 100_000;
const GROWTH_BYTES_MAX: u64 = 64 << 20;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const PRIORITY: u8 = 0x2;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;
const UNKNOWN: u8 = 0xbb;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// What a flood begins with, and what comes again and again, by its number.
type Flood = (&'static str, fn(&[u8]) -> Vec<u8>, fn(&[u8], u32) -> Vec<u8>);

const FLOODS: [Flood; 9] = [
    ("rapid reset", nothing, |head, number| {
        let stream = 2 * number + 1;
        let asked = frame(HEADERS, END_HEADERS | END_STREAM, stream, head);
        [asked, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    }),
    ("continued heads", |head| frame(HEADERS, 0, 1, head), |_, _| frame(CONTINUATION, 0, 1, b"")),
    ("empty data", open, |_, _| frame(DATA, 0, 1, b"")),
    ("crumbs of data", open, |_, _| frame(DATA, 0, 1, b" ")),
    ("pings", nothing, |_, number| frame(PING, 0, 0, &u64::from(number).to_be_bytes())),
    ("settings", nothing, |_, _| frame(SETTINGS, 0, 0, b"")),
    ("priorities", open, |_, _| frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9])),
    ("windows", open, |_, _| frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
    ("unknown frames", nothing, |_, _| frame(UNKNOWN, 0, 0, b"")),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_ends_its_connection_and_nothing_else() -> Result<()> {
    let dir = TempDir::new()?;
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    std::fs::write(dir.path().join("certificate.pem"), made.cert.pem())?;
    private_file(dir.path().join("key.pem"), made.signing_key.serialize_pem())?;
    let settings = json!({ "tls": { "certificate": "certificate.pem", "key": "key.pem" } });
    let house = House::start(1, dir, settings).await?;
    let scene = Scene { address: house.fleet.address(0)?, certificate: made.cert.der().clone(), house };
    scene.call().await?;
    let before = scene.house.fleet.resident_bytes(0)?;
    for (what, begin, again) in FLOODS {
        for reads in [true, false] {
            let (over, is_over) = watch::channel(false);
            let flooding = async {
                let flooded = scene.flood(begin, again, reads).await;
                over.send_replace(true);
                flooded
            };
            let others = async {
                let mut most = before;
                while !*is_over.borrow() {
                    scene.call().await?;
                    most = most.max(scene.house.fleet.resident_bytes(0)?);
                }
                anyhow::Ok(most)
            };
            let (flooded, most) = tokio::join!(flooding, others);
            flooded.with_context(|| format!("{what}, read: {reads}"))?;
            let grown = most.with_context(|| format!("others during {what}"))?.saturating_sub(before);
            ensure!(grown <= GROWTH_BYTES_MAX, "{what}: {grown} bytes more");
        }
    }
    // The library itself ends some floods; that of frames which it answers or passes over is ended by none but us.
    let counted = scene.house.fleet.metric(0, "weir_refused_total", "http2_flood").await?;
    ensure!(counted >= 10.0, "void: only {counted} floods were noticed");
    scene.call().await
}

struct Scene {
    house: House,
    address: SocketAddr,
    certificate: CertificateDer<'static>,
}

impl Scene {
    /// A call of somebody else, on a connection of its own.
    async fn call(&self) -> Result<()> {
        let mut stream = secured(self.address, &self.certificate, &[b"http/1.1"]).await?;
        let host = format!("localhost:{}", self.address.port());
        stream.write_all(&self.house.wire(&host, json!({}))).await?;
        let mut answer = Vec::new();
        // Not every end of TLS is announced.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.context("no end")?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        ensure!(statuses(&answer) == [200], "{answer}");
        Ok(())
    }

    /// Ends when the router has closed the connection.
    async fn flood(&self, begin: fn(&[u8]) -> Vec<u8>, again: fn(&[u8], u32) -> Vec<u8>, reads: bool) -> Result<()> {
        let stream = secured(self.address, &self.certificate, &[b"h2"]).await?;
        ensure!(stream.get_ref().1.alpn_protocol() == Some(b"h2"), "void: no HTTP/2");
        let (mut reader, mut writer) = tokio::io::split(stream);
        let head = head(&format!("localhost:{}", self.address.port()));
        let writing = async {
            let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, b""), &begin(&head)].concat();
            for number in 0..FRAMES {
                bytes.extend(again(&head, number));
                if bytes.len() > 16 << 10 {
                    if writer.write_all(&bytes).await.is_err() {
                        return;
                    }
                    bytes.clear();
                }
            }
            let _ = writer.write_all(&bytes).await;
            let _ = writer.flush().await;
        };
        // A reset says the same as an end.
        let until_end = async |reader: &mut ReadHalf<TlsStream<TcpStream>>| {
            let mut buffer = vec![0; 16 << 10];
            while !matches!(reader.read(&mut buffer).await, Ok(0) | Err(_)) {}
        };
        let closed = async {
            if reads {
                tokio::join!(writing, until_end(&mut reader));
            } else {
                writing.await;
                until_end(&mut reader).await;
            }
        };
        timeout(PATIENCE, closed).await.context("the connection stays open")
    }
}

fn nothing(_head: &[u8]) -> Vec<u8> {
    Vec::new()
}

/// A request whose body is to come.
fn open(head: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, 1, head)
}

/// RFC 9113, section 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it is small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `POST /mcp` in RFC 7541's static table and literals.
fn head(authority: &str) -> Vec<u8> {
    let literal = |name: u8, value: &str| {
        let length = u8::try_from(value.len()).expect("it is short");
        [&[name, length], value.as_bytes()].concat()
    };
    [vec![0x83, 0x87], literal(0x04, "/mcp"), literal(0x01, authority)].concat()
}
