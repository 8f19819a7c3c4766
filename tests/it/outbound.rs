//! What downstreams are shown: tokens, and whose they are. What a stranger sees of them: nothing.

mod sessions;

use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Issuer, TestRouter, open_house, until};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};

const CLIENT_SECRET: &str = "s3cret-of-the-client";

/// A server that answers each request, on a connection of its own, with a status, a place elsewhere and a JSON body.
struct Door {
    url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    serving: JoinHandle<()>,
}

/// One request.
#[derive(Debug, Clone)]
struct Heard {
    head: String,
    body: String,
}

impl Heard {
    fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    fn authorization(&self) -> &str {
        let value = |line: &str| line.to_ascii_lowercase().starts_with("authorization: ");
        self.head.lines().find(|line| value(line)).map_or("", |line| &line["authorization: ".len()..])
    }
}

impl Door {
    /// Each answer waits for a permit of `turns`.
    async fn open(
        turns: Arc<Semaphore>,
        answer: impl Fn(&Heard) -> (u16, String, Value) + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (heard, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let kept = Arc::clone(&heard);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, answer, turns) = (Arc::clone(&kept), Arc::clone(&answer), Arc::clone(&turns));
                tokio::spawn(async move { serve(stream, &kept, &*answer, &turns).await });
            }
        });
        Ok(Self { url, heard, serving })
    }

    async fn at_once(answer: impl Fn(&Heard) -> (u16, String, Value) + Send + Sync + 'static) -> Result<Self> {
        Self::open(Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)), answer).await
    }

    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("nobody panics with it").clone()
    }

    fn tokens_asked(&self) -> usize {
        self.heard().iter().filter(|heard| heard.path() == "/token").count()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    kept: &Mutex<Vec<Heard>>,
    answer: &(dyn Fn(&Heard) -> (u16, String, Value) + Send + Sync),
    turns: &Semaphore,
) -> Option<()> {
    let (mut text, mut piece) = (String::new(), [0; 4096]);
    let heard = loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = |line: &str| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok();
            if body.len() >= head.lines().find_map(length).unwrap_or(0_usize) {
                break Heard { head: head.to_owned(), body: body.to_owned() };
            }
        }
        let count = stream.read(&mut piece).await.ok().filter(|count| *count > 0)?;
        text.push_str(&String::from_utf8_lossy(&piece[..count]));
    };
    kept.lock().expect("nobody panics with it").push(heard.clone());
    turns.acquire().await.ok()?.forget();
    let (status, location, body) = answer(&heard);
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nLocation: {location}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body.as_bytes()).await.ok()
}

fn said(body: Value) -> (u16, String, Value) {
    (200, "/".to_owned(), body)
}

fn token(token: &str, expires_in: u64) -> (u16, String, Value) {
    said(json!({ "access_token": token, "token_type": "Bearer", "expires_in": expires_in }))
}

/// A router with one system, which is reached at `url` and shown `credential`; anybody on this machine may call it.
fn config(url: &str, credential: &Value) -> Value {
    let mut config = open_house(&[]);
    config["limits"] = json!([{ "name": "many", "per": "address", "rate": "1000/s" }]);
    config["downstreams"] = json!({ "host": {
        "mainframe": { "base_url": url, "credential": credential, "concurrency": 100 },
        "line": { "max": 1000 },
        "tools": { "look": {
            "effect": "read", "description": "Looks.", "request": { "path": "/look/{who}" },
            "arguments": { "who": { "type": "string" } },
        } },
    } });
    config
}

fn client(door: &Door) -> Value {
    json!({ "token_url": format!("{}/token", door.url), "client_id": "weir", "client_secret": { "file": "client-secret" } })
}

async fn router(config: &Value) -> Result<TestRouter> {
    let folder = tempfile::tempdir()?;
    tests::private_file(folder.path().join("client-secret"), CLIENT_SECRET)?;
    if config["identity"].get("api_keys").is_some() {
        tests::write_keys(folder.path(), &[])?;
    }
    TestRouter::ready_in(folder, &config.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_calls_at_the_end_of_a_token_ask_for_one_token() -> Result<()> {
    let turns = Arc::new(Semaphore::new(1));
    let given = Mutex::new(0);
    let tokens = Door::open(Arc::clone(&turns), move |_| {
        let mut given = given.lock().expect("nobody panics with it");
        *given += 1;
        // The first one ends as soon as it is there.
        token(&format!("token-{given}"), if *given == 1 { 0 } else { 600 })
    })
    .await?;
    let host = Door::at_once(|heard| said(json!({ "shown": heard.authorization() }))).await?;
    let config = config(&host.url, &json!({ "client_credentials": { "client": client(&tokens) } }));
    let router = router(&config).await?;
    let look = || router.call(None, "host__look", json!({ "who": "x" }));
    ensure!(look().await?.result()?["structuredContent"]["shown"] == "Bearer token-1");

    let calls = join_all((0..100).map(|_| look()));
    let answered = async {
        until("the token is asked for again", async || Ok((tokens.tokens_asked() == 2).then_some(()))).await?;
        ensure!(host.heard().len() == 1, "nobody goes on without a token");
        turns.add_permits(1);
        Ok(())
    };
    let (answers, answered) = tokio::join!(calls, answered);
    answered?;
    for answer in answers {
        let result = answer?.result()?;
        ensure!(result["structuredContent"]["shown"] == "Bearer token-2", "{result}");
    }
    ensure!(tokens.tokens_asked() == 2, "{} requests for tokens", tokens.tokens_asked());
    let records = serde_json::to_string(&router.records().await?)?;
    ensure!(records.contains("client_credentials"), "{records}");
    for secret in ["token-2", CLIENT_SECRET] {
        ensure!(!records.contains(secret), "the records tell a secret");
    }
    ensure!(!router.admin("/metrics").await?.text.contains("token-2"));
    Ok(())
}

/// The subject of a token that is given for another one.
fn subject_of(form: &str) -> Option<String> {
    let token = form.split('&').find_map(|field| field.strip_prefix("subject_token="))?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    Some(serde_json::from_slice::<Value>(&claims).ok()?["sub"].as_str()?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_caller_is_shown_to_be_itself_and_one_without_a_token_is_refused() -> Result<()> {
    let issuer = Issuer::start().await?;
    let tokens = Door::at_once(|heard| match subject_of(&heard.body) {
        Some(subject) => token(&format!("exchanged-for-{subject}"), 600),
        None => (400, "/".to_owned(), json!({ "error": "invalid_request" })),
    })
    .await?;
    let host = Door::at_once(|heard| said(json!({ "shown": heard.authorization() }))).await?;
    let exchange = json!({ "client": client(&tokens), "audience": "host" });
    let mut config = config(&host.url, &json!({ "token_exchange": exchange }));
    config["server"] = json!({ "public_url": "http://weir.test" });
    config["identity"] = json!({
        "jwt": [{ "issuer": issuer.url(), "scopes": { "crm.read": ["all"] } }],
        "api_keys": { "file": "keys.yaml" },
    });
    let folder = tempfile::tempdir()?;
    tests::private_file(folder.path().join("client-secret"), CLIENT_SECRET)?;
    let [key] = &tests::keys(folder.path(), &[("robot", &["all"])])?[..] else { anyhow::bail!("one key") };
    let router = TestRouter::ready_in(folder, &config.to_string()).await?;
    let own = ["ann", "bob", "cyd"].map(|subject| (subject, issuer.token(json!({ "sub": subject }))));
    until("the keys of the issuer are known", async || {
        let answer = router.call(Some(&own[0].1), "host__look", json!({ "who": "ann" })).await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await?;

    let calls = (0..60).map(|turn| {
        let (subject, own) = &own[turn % 3];
        let router = &router;
        async move {
            Ok::<_, anyhow::Error>((*subject, router.call(Some(own), "host__look", json!({ "who": subject })).await?))
        }
    });
    for answer in join_all(calls).await {
        let (subject, answer) = answer?;
        let result = answer.result()?;
        ensure!(
            result["structuredContent"]["shown"] == format!("Bearer exchanged-for-{subject}"),
            "{subject}: {result}"
        );
    }
    ensure!(tokens.tokens_asked() == 3, "one exchange for each caller, not {}", tokens.tokens_asked());
    for heard in host.heard() {
        let subject = heard.path().rsplit('/').next().context("a path")?;
        ensure!(heard.authorization() == format!("Bearer exchanged-for-{subject}"), "{heard:?}");
        ensure!(own.iter().all(|(_, own)| !heard.head.contains(own.as_str())), "a caller's own token was passed on");
    }

    let before = host.heard().len();
    let refused = router.call(Some(key), "host__look", json!({ "who": "robot" })).await?.result()?;
    let text = refused["content"][0]["text"].as_str().unwrap_or_default();
    ensure!(refused["isError"] == true && text.contains("your own access token"), "{refused}");
    ensure!(host.heard().len() == before && tokens.tokens_asked() == 3, "something was asked for it all the same");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_redirect_is_followed_and_no_credential_goes_elsewhere() -> Result<()> {
    let elsewhere = Door::at_once(|_| token("stolen", 600)).await?;
    for (token_status, host_status) in [(200, 307), (200, 302), (307, 200), (308, 200)] {
        let away = format!("{}/token", elsewhere.url);
        let to = away.clone();
        let tokens = Door::at_once(move |_| {
            let (_, _, body) = token("token-1", 600);
            (token_status, to.clone(), body)
        })
        .await?;
        let host = Door::at_once(move |_| (host_status, away.clone(), json!({}))).await?;
        let config = config(&host.url, &json!({ "client_credentials": { "client": client(&tokens) } }));
        let router = router(&config).await?;
        let result = router.call(None, "host__look", json!({ "who": "x" })).await?.result()?;
        ensure!(result["isError"] == true, "{result}");
        ensure!(tokens.tokens_asked() >= 1, "the token was asked for");
        ensure!((host_status == 200) == host.heard().is_empty(), "the redirect was met: {:?}", host.heard());
        ensure!(!result.to_string().contains("token-1"), "{result}");
    }
    ensure!(elsewhere.heard().is_empty(), "{:?}", elsewhere.heard());
    Ok(())
}
