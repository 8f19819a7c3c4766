//! An HTTP server that keeps every byte it is shown, and that repeats all of it where it goes wrong.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// `/ok` is answered well; `/500`, `/401` and `/302` are answered so, with the whole request in head and body; `/reset` is hung up on; `/token` gives
/// the token.
pub(super) struct Door {
    pub(super) url: String,
    heard: Arc<Mutex<String>>,
    serving: JoinHandle<()>,
}

impl Door {
    pub(super) async fn open(token: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (url, heard) = (format!("http://{}", listener.local_addr()?), Arc::<Mutex<String>>::default());
        let (kept, token) = (heard.clone(), token.to_owned());
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, token) = (kept.clone(), token.clone());
                tokio::spawn(async move { serve(stream, &kept, &token).await });
            }
        });
        Ok(Self { url, heard, serving })
    }

    /// All that it was shown.
    pub(super) fn heard(&self) -> String {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(mut stream: TcpStream, kept: &Mutex<String>, token: &str) -> Option<()> {
    let (mut text, mut piece) = (String::new(), [0; 4096]);
    while !is_whole(&text) {
        let count = stream.read(&mut piece).await.ok().filter(|count| *count > 0)?;
        text.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    kept.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
    let repeated = text.replace(['\r', '\n'], " ");
    let (status, body) = match text.split(' ').nth(1)? {
        "/ok" => (200, json!({ "fine": true })),
        "/token" => (200, json!({ "access_token": token, "token_type": "Bearer", "expires_in": 600 })),
        "/reset" => return None,
        path => (
            path.strip_prefix('/')?.parse().unwrap_or(404),
            json!({ "error": repeated, "error_description": repeated }),
        ),
    };
    let (body, said) = (body.to_string(), if status == 200 { "" } else { &repeated });
    let head = format!(
        "HTTP/1.1 {status} {said}\r\nContent-Type: application/json\r\nWWW-Authenticate: Bearer error=\"{said}\"\r\n"
    );
    let rest = format!("Location: /elsewhere\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all((head + &rest).as_bytes()).await.ok()
}

fn is_whole(text: &str) -> bool {
    let length = |line: &str| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok();
    text.split_once("\r\n\r\n")
        .is_some_and(|(head, body)| body.len() >= head.lines().find_map(length).unwrap_or(0_usize))
}
