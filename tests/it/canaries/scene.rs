//! One router that has a secret of every kind, and the systems that it shows them to.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::{encoding::AsDer as _, signature::Ed25519KeyPair};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use standins::{
    Era,
    postgres::{PgOptions, PrivatePg},
    raw::{Action, Incoming, RawServer},
    redis::{PrivateRedis, RedisOptions},
    vault::Vault,
};
use tempfile::TempDir;
use tests::{
    Fleet, Issuer,
    canary::{self, Holder},
    private_file,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::door::Door;

/// The kinds of HTTP credentials: the name of the downstream, and the kinds of secrets that its server and its token endpoint may be shown.
const CREDENTIALS: [(&str, &[&str], &[&str]); 7] = [
    ("bearer", &["bearer"], &[]),
    ("basic", &["basic"], &[]),
    ("header", &["header"], &[]),
    ("client", &["client-token"], &["client-secret"]),
    ("refresh", &["refresh-token"], &["refresh-secret", "refresh-first"]),
    ("exchange", &["exchange-token"], &["exchange-secret", "JWT"]),
    ("assertion", &[], &[]),
];

pub(super) struct Scene {
    pub(super) fleet: Fleet,
    pub(super) config: Value,
    pub(super) redis: PrivateRedis,
    pub(super) raw: RawServer,
    pub(super) vault: Vault,
    pub(super) issuer: Issuer,
    /// The servers behind, and what each may be shown.
    pub(super) doors: Vec<(Door, Vec<&'static str>)>,
    /// Of somebody who may do everything, and of somebody who may do nothing.
    pub(super) keys: Vec<String>,
    certificate: CertificateDer<'static>,
    _postgres: PrivatePg,
}

impl Scene {
    pub(super) async fn new() -> Result<Self> {
        let dir = TempDir::new()?;
        let (mut doors, mut downstreams) = (Vec::new(), json!({}));
        for (name, shown, shown_for_tokens) in CREDENTIALS {
            let token = canary::secret(&format!("{name}-token"), Holder::Downstream);
            let (door, tokens) = (Door::open("").await?, Door::open(&token).await?);
            let credential = credential(name, &tokens, dir.path())?;
            downstreams[format!("to-{name}")] = json!({ "mainframe": { "base_url": door.url, "credential": credential }, "tools": { "look": {
                "effect": "read", "description": "Looks.", "request": { "path": "/{what}" },
                "arguments": { "what": { "type": "string" } },
            } } });
            doors.extend([(door, shown.to_vec()), (tokens, shown_for_tokens.to_vec())]);
        }
        let redis = PrivateRedis::start(RedisOptions { password: true, ..RedisOptions::default() }).await?;
        let postgres = PrivatePg::start(PgOptions { tcp: true, ..PgOptions::default() }).await?;
        let (raw, vault, issuer) = (raw().await?, vault().await?, Issuer::start().await?);
        private_file(dir.path().join("redis_url"), redis.url())?;
        private_file(dir.path().join("pg_url"), postgres.url())?;
        downstreams["pg"] = pg("pg_url");
        downstreams["raw"] = json!({
            "mcp": { "websocket": { "url": raw.url, "credential": { "bearer": file(dir.path(), "raw-token", Holder::Downstream)? } } },
            "effects": [{ "match": "save", "effect": "write" }, { "match": "*", "effect": "read" }],
            "tools": { "read": { "cache": { "fresh_for": "1h" } } },
        });
        let keys = tests::keys(dir.path(), &[("ann", &["all"]), ("bob", &["none"])])?;
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        std::fs::write(dir.path().join("certificate.pem"), made.cert.pem())?;
        private_file(dir.path().join("key.pem"), made.signing_key.serialize_pem())?;
        let config = config(dir.path(), &downstreams, &vault, &issuer)?;
        let fleet = Fleet::start(1, dir, config.clone()).await?;
        let certificate = made.cert.der().clone();
        let scene = Self { fleet, config, redis, raw, vault, issuer, doors, keys, certificate, _postgres: postgres };
        scene.know_made_secrets()?;
        Ok(scene)
    }

    /// Secrets that Weir made, or was given, by itself.
    pub(super) fn know_made_secrets(&self) -> Result<()> {
        let signing = self.fleet.folder().join("audit/signing-key.pem");
        canary::register_file(&signing, &std::fs::read(&signing).context("the key that signs checkpoints")?);
        for request in self.vault.requests() {
            canary::register("vault-token", Holder::Downstream, request.header("x-vault-token").unwrap_or_default());
        }
        Ok(())
    }

    /// Writes the config, which may have secrets in it, for the router to read.
    pub(super) fn write(&self, config: &str) -> Result<PathBuf> {
        let path = self.fleet.folder().join("weir.yaml");
        private_file(path.with_extension("new"), config)?;
        std::fs::rename(path.with_extension("new"), &path)?;
        canary::register_file(&path, b"{}");
        Ok(path)
    }

    /// One request over TLS, and the whole answer.
    pub(super) async fn say(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<String> {
        let address = self.fleet.address(0)?;
        let mut stream = tests::secured(address, &self.certificate, &[b"http/1.1"]).await?;
        let mut text = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{text}\r\n{body}").as_bytes()).await?;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let _ = tokio::time::timeout(tests::PATIENCE, read).await.context("the answer has no end")?;
        ensure!(!answer.is_empty(), "no answer to {method} {path}");
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// A call of the plain API with this token, which is looked through for everything but its own arguments.
    pub(super) async fn call(&self, token: &str, tool: &str, arguments: &Value) -> Result<String> {
        let authorization = format!("Bearer {token}");
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        let body = json!({ "name": tool, "arguments": arguments }).to_string();
        let answer = self.say("POST", "/v1/tools/call", &headers, &body).await?;
        let found = canary::find_of(answer.as_bytes(), |kind, _| !kind.starts_with("argument"));
        ensure!(found.is_none(), "the answer of {tool} tells {found:?}");
        Ok(answer)
    }
}

/// A file with a new secret of this kind, and the reference to it.
fn file(dir: &Path, kind: &str, holder: Holder) -> Result<Value> {
    private_file(dir.join(kind), canary::secret(kind, holder))?;
    Ok(json!({ "file": kind }))
}

fn credential(name: &str, tokens: &Door, dir: &Path) -> Result<Value> {
    let client = |secret: Value| json!({ "token_url": format!("{}/token", tokens.url), "client_id": "weir", "client_secret": secret });
    Ok(match name {
        "bearer" => json!({ "bearer": { "vault": "secret/weir/raw#token" } }),
        "basic" => {
            file(dir, "basic", Holder::Downstream)?;
            json!({ "basic": { "user": "bot", "password": { "command": ["cat", dir.join("basic")] } } })
        }
        "header" => {
            let secret = canary::secret("header", Holder::Downstream);
            private_file(dir.join(".env"), format!("WEIR_TEST_CANARY=\"{secret}\"\n"))?;
            json!({ "header": { "name": "X-Key", "value": { "env": "WEIR_TEST_CANARY" } } })
        }
        "client" => {
            json!({ "client_credentials": { "client": client(file(dir, "client-secret", Holder::Downstream)?) } })
        }
        "refresh" => json!({ "refresh_token": {
            "client": client(file(dir, "refresh-secret", Holder::Downstream)?),
            "token": file(dir, "refresh-first", Holder::Downstream)?,
        } }),
        "exchange" => {
            json!({ "token_exchange": { "client": client(file(dir, "exchange-secret", Holder::Downstream)?), "audience": "host" } })
        }
        _ => {
            let key = Ed25519KeyPair::generate()?;
            let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der()?;
            let pem =
                format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
            private_file(dir.join("assertion.pem"), pem)?;
            json!({ "assertion": { "key": { "file": "assertion.pem" }, "audience": "host" } })
        }
    })
}

fn config(dir: &Path, downstreams: &Value, vault: &Vault, issuer: &Issuer) -> Result<Value> {
    let master = file(dir, "master", Holder::Weir)?;
    let signing = file(dir, "signing", Holder::Weir)?;
    let secret_id = vault_secret_id();
    vault.role("weir-role", &secret_id);
    private_file(dir.join("secret-id"), &secret_id)?;
    Ok(json!({
        "server": { "public_url": "https://weir.example", "tls": { "certificate": "certificate.pem", "key": "key.pem" } },
        "log": { "level": "debug" },
        "secrets": { "master": master, "vault": {
            "address": format!("http://{}", vault.addr()),
            "login": { "app_role": { "role_id": "weir-role", "secret_id": { "file": "secret-id" } } },
        } },
        "redis": { "url": { "file": "redis_url" } },
        "cache": { "webhook": { "secret": file(dir, "webhook", Holder::Weir)? } },
        "identity": {
            "api_keys": { "file": "keys.yaml" },
            "jwt": [{ "issuer": issuer.url(), "scopes": { "crm.read": ["all"] } }],
            "signatures": { "keys": { "one": { "secret": signing, "subject": "billing", "roles": ["all"] } } },
        },
        "policy": { "roles": { "all": { "allow": ["*"] }, "none": { "allow": ["raw__nothing"] } } },
        "limits": [
            { "name": "many", "per": "address", "rate": "1000/s" },
            { "name": "scarce", "match": "raw__scarce", "per": "tool", "rate": "1/h" },
        ],
        "audit": { "dir": dir.join("audit"), "anchor": dir.join("anchor"), "bodies": true },
        "downstreams": downstreams,
    }))
}

fn vault_secret_id() -> String {
    canary::secret("vault-secret-id", Holder::Downstream)
}

async fn vault() -> Result<Vault> {
    let vault = Vault::start("hvs.root-of-the-scene").await?;
    vault.put("weir/raw", json!({ "token": canary::secret("bearer", Holder::Downstream) }));
    Ok(vault)
}

/// A database whose tool repeats its argument where it fails.
pub(super) fn pg(url: &str) -> Value {
    json!({ "postgres": { "url": { "file": url } }, "tools": {
        "say": { "effect": "read", "sql": "SELECT $1::text AS password", "arguments": { "password": { "type": "string" } } },
        "fail": { "effect": "read", "sql": "SELECT $1::text::int AS said", "arguments": { "password": { "type": "string" } } },
    } })
}

/// A server whose tools answer well (`read`, `save`, `scarce`) or repeat what they were asked (`fail`, `wrong`).
async fn raw() -> Result<RawServer> {
    RawServer::start(Era::ModernOnly, |message: &Incoming| {
        match (message.method.as_deref(), message.tool().as_deref()) {
            (Some("tools/list"), _) => {
                let tool = |name: &str| json!({ "name": name, "inputSchema": { "type": "object" } });
                let tools: Vec<Value> = ["read", "save", "scarce", "fail", "wrong"].map(tool).to_vec();
                Some(vec![Action::result(message, &json!({ "tools": tools }).to_string())])
            }
            (_, Some("fail")) => {
                Some(vec![Action::error(message, -32000, message.params.as_deref().unwrap_or_default())])
            }
            (_, Some("wrong")) => {
                let text = json!({ "content": [{ "type": "text", "text": message.params }], "isError": true });
                Some(vec![Action::result(message, &text.to_string())])
            }
            (_, Some(_)) => Some(vec![Action::result(message, r#"{"content":[]}"#)]),
            _ => None,
        }
    })
    .await
}
