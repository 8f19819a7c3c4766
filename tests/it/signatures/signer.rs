//! Signs requests as a caller does: by the text of RFC 9421 alone.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac, rand,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;

pub(super) const SECRET: &str = "Zq3vN8xLr2Wk7TjUy5BdHfGm1PsCa9Ee";
pub(super) const PUBLIC: &str = "https://weir.example";

/// One request that is to be signed.
#[derive(Clone)]
pub(super) struct Signing {
    pub method: &'static str,
    pub path: String,
    pub body: String,
    pub created_s: i64,
    pub lasts_s: i64,
    pub nonce: String,
    pub key_id: &'static str,
    pub secret: String,
    /// Further headers, of which nothing is signed.
    pub headers: Vec<(&'static str, String)>,
}

/// A signed request as it goes over the wire, as often as one wants to.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// A call of the plain API, signed now.
pub(super) fn call(tool: &str) -> Signing {
    let body = serde_json::json!({ "name": tool, "arguments": {} }).to_string();
    Signing { body, ..get("/v1/tools/call") }.with_method("POST")
}

/// A GET, signed now.
pub(super) fn get(path: &str) -> Signing {
    let mut nonce = [0; 16];
    rand::fill(&mut nonce).expect("the system has random bytes");
    Signing {
        method: "GET",
        path: path.to_owned(),
        body: String::new(),
        created_s: Timestamp::now().as_second(),
        lasts_s: 300,
        nonce: STANDARD.encode(nonce),
        key_id: "one",
        secret: SECRET.to_owned(),
        headers: Vec::new(),
    }
}

impl Signing {
    fn with_method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    pub(super) fn sign(&self) -> Signed {
        let digest = format!("sha-256=:{}:", STANDARD.encode(digest(&SHA256, self.body.as_bytes())));
        let (covered, line) = match self.method {
            "POST" => ("\"@method\" \"@target-uri\" \"content-digest\"", format!("\"content-digest\": {digest}\n")),
            _ => ("\"@method\" \"@target-uri\"", String::new()),
        };
        let Self { method, path, created_s, nonce, key_id, .. } = self;
        let expires_s = created_s + self.lasts_s;
        let input = format!(
            "({covered});created={created_s};expires={expires_s};nonce=\"{nonce}\";keyid=\"{key_id}\";alg=\"hmac-sha256\""
        );
        let base =
            format!("\"@method\": {method}\n\"@target-uri\": {PUBLIC}{path}\n{line}\"@signature-params\": {input}");
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        let signature = STANDARD.encode(hmac::sign(&key, base.as_bytes()));
        let mut headers =
            vec![("Signature-Input", format!("sig={input}")), ("Signature", format!("sig=:{signature}:"))];
        if *method == "POST" {
            headers.extend([("Content-Digest", digest), ("Content-Type", "application/json".to_owned())]);
        }
        headers.extend(self.headers.iter().cloned());
        Signed { method, path: path.clone(), headers, body: self.body.clone() }
    }
}

impl Signed {
    /// Sends it on a connection of its own.
    pub(super) async fn send(&self, address: SocketAddr) -> Result<Answer> {
        let Self { method, path, body, .. } = self;
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if *method == "POST" {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        let answer = tests::speak(address, format!("{text}\r\n{body}").as_bytes()).await?;
        let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no answer: {answer}"))?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
        Ok(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
    }

    /// With another value of this header.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers
            .iter_mut()
            .filter(|(own, _)| own.eq_ignore_ascii_case(name))
            .for_each(|(_, own)| value.clone_into(own));
        self
    }
}
