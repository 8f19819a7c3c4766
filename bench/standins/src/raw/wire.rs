//! The server's side of a WebSocket (RFC 6455), as far as a script needs it: nothing happens that the script did not
//! ask for.

use std::io;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const HEAD_BYTES_MAX: usize = 16 << 10;
const MESSAGE_BYTES_MAX: usize = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Close = 0x8,
    Pong = 0xa,
}

/// What the other side sent.
#[derive(Debug)]
pub(super) enum Event {
    Text(String),
    Ping(Vec<u8>),
    Close,
}

/// Accepts the upgrade and returns the request's head as it came.
pub(super) async fn upgrade(stream: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    // Byte by byte, so that nothing of the first frame is taken away.
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < HEAD_BYTES_MAX, "the head of the upgrade is too long");
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).context("the head of the upgrade is not text")?;
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then_some(value.trim())
    });
    let accept = derive_accept_key(key.context("not an upgrade to a WebSocket")?.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\
         Sec-WebSocket-Protocol: mcp\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    Ok(head)
}

/// The next message, or control frame.
pub(super) async fn read(reader: &mut (impl AsyncRead + Unpin)) -> Result<Event> {
    let mut message = Vec::new();
    loop {
        let first = reader.read_u8().await?;
        let payload = read_payload(reader, MESSAGE_BYTES_MAX - message.len()).await?;
        match first & 0x0f {
            0x0 | 0x1 => {
                message.extend(payload);
                if first & 0x80 != 0 {
                    return Ok(Event::Text(String::from_utf8(message).context("a text message that is not text")?));
                }
            }
            0x8 => return Ok(Event::Close),
            0x9 if message.is_empty() => return Ok(Event::Ping(payload)),
            0xa => {}
            other => bail!("a frame of kind {other:#x} is not expected here"),
        }
    }
}

async fn read_payload(reader: &mut (impl AsyncRead + Unpin), bytes_max: usize) -> Result<Vec<u8>> {
    let second = reader.read_u8().await?;
    ensure!(second & 0x80 != 0, "a client has to mask its frames");
    let length = match second & 0x7f {
        126 => reader.read_u16().await?.into(),
        127 => reader.read_u64().await?,
        short => short.into(),
    };
    ensure!(length <= bytes_max as u64, "a message of more than {MESSAGE_BYTES_MAX} bytes");
    let mut mask = [0; 4];
    reader.read_exact(&mut mask).await?;
    let mut payload = vec![0; length as usize];
    reader.read_exact(&mut payload).await?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok(payload)
}

/// Appends one frame.
pub(super) fn frame(bytes: &mut Vec<u8>, opcode: Opcode, last: bool, payload: &[u8]) {
    bytes.push(if last { 0x80 } else { 0 } | opcode as u8);
    match payload.len() {
        length @ 0..126 => bytes.push(length as u8),
        length @ 126..=0xffff => {
            bytes.push(126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
}

/// Whether an error only says that the other side is gone.
pub(super) fn is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        )
    })
}
