//! Signed requests: what is signed counts once, and what is not signed does not count.

mod fleet;
mod signer;

use std::{path::Path, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, RawServer},
};
use tempfile::TempDir;
use tests::{TestRouter, open_house, until};

use signer::{PUBLIC, SECRET, Signed, Signing, call, get};

/// A downstream with one tool, `work`.
async fn server() -> Result<RawServer> {
    RawServer::start(Era::ModernOnly, |message| match message.method.as_deref() {
        Some("tools/list") => {
            Some(vec![Action::result(message, r#"{"tools":[{"name":"work","inputSchema":{"type":"object"}}]}"#)])
        }
        Some("tools/call") => Some(vec![Action::result(message, r#"{"content":[]}"#)]),
        _ => None,
    })
    .await
}

fn calls(server: &RawServer) -> usize {
    server.received().iter().filter(|message| message.method.as_deref() == Some("tools/call")).count()
}

/// A config that takes requests signed with [`SECRET`]. What was signed in the second of the start is refused, so the leeway is short.
fn config(server: &RawServer, dir: &Path) -> Result<Value> {
    tests::private_file(dir.join("one"), SECRET)?;
    let mut config = open_house(&[("raw", &server.url)]);
    config["server"] = json!({ "public_url": PUBLIC });
    config["identity"]["signatures"] = json!({
        "keys": { "one": { "secret": { "file": "one" }, "subject": "billing", "roles": ["all"] } },
        "leeway": "0s",
    });
    config["limits"] = json!([{ "name": "many", "per": "address", "rate": "1000/s" }]);
    Ok(config)
}

/// The same call over MCP, signed now.
fn mcp(path: &str) -> Signing {
    let (mut headers, body) =
        tests::modern_request(None, "tools/call", json!({ "name": "raw__work", "arguments": {} }));
    headers.push(("Accept", "application/json, text/event-stream".to_owned()));
    Signing { path: path.to_owned(), body, headers, ..call("raw__work") }
}

struct Scene {
    router: TestRouter,
    server: RawServer,
    config: Value,
}

impl Scene {
    /// A router that takes what is signed from now on.
    async fn new() -> Result<Self> {
        let (server, dir) = (server().await?, TempDir::new()?);
        let config = config(&server, dir.path())?;
        let router = TestRouter::ready_in(dir, &config.to_string()).await?;
        let scene = Self { router, server, config };
        until("signatures count", async || {
            Ok((scene.send(&get("/v1/tools").sign()).await?.status == 200).then_some(()))
        })
        .await?;
        Ok(scene)
    }

    async fn send(&self, signed: &Signed) -> Result<signer::Answer> {
        signed.send(self.router.running().callers).await
    }

    async fn refused(&self, signed: &Signed, why: &str) -> Result<signer::Answer> {
        let before = calls(&self.server);
        let answer = self.send(signed).await?;
        ensure!(answer.status == 401, "{why}: {answer:?}");
        ensure!(
            answer.head.contains("www-authenticate: ") && answer.head.contains("accept-signature: sig=("),
            "{answer:?}"
        );
        ensure!(calls(&self.server) == before, "{why}: it was called");
        Ok(answer)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_request_counts_once_on_every_surface() -> Result<()> {
    let scene = Scene::new().await?;
    for (at, signing) in [call("raw__work"), mcp("/mcp"), get("/v1/tools")].into_iter().enumerate() {
        let signed = signing.sign();
        let answer = scene.send(&signed).await?;
        ensure!(answer.status == 200, "{answer:?}");
        let again = scene.refused(&signed, "sent again").await?;
        ensure!(again.body.contains("was sent before"), "{again:?}");
        ensure!(calls(&scene.server) == (at + 1).min(2));
    }
    let record =
        until("the call has left its record", async || Ok(scene.router.records().await?.into_iter().next())).await?;
    ensure!(record["subject"] == "billing" && record.to_string().contains("signature"), "{record}");
    let metrics = scene.router.admin("/metrics").await?.text;
    // Other tests of this process count there too.
    let replayed = metrics.lines().find_map(|line| line.split_once("reason=\"replayed_signature\"} "));
    ensure!(replayed.is_some_and(|(_, count)| count.parse::<u64>().is_ok_and(|count| count >= 3)), "{replayed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_another_than_was_signed_is_refused_and_uses_nothing_up() -> Result<()> {
    let scene = Scene::new().await?;
    let right = mcp("/mcp?a=1&b=2").sign();
    let change = |change: &dyn Fn(&mut Signed)| {
        let mut signed = right.clone();
        change(&mut signed);
        signed
    };
    let unsigned = change(&|signed| signed.headers.retain(|(name, _)| !name.starts_with("Signature")));
    for (why, signed) in [
        ("a bit of the body", change(&|signed| signed.body = signed.body.replace("raw__work", "raw__wosk"))),
        ("a longer body", change(&|signed| signed.body.push(' '))),
        ("no body", change(&|signed| signed.body.clear())),
        ("another order of the query", change(&|signed| signed.path = "/mcp?b=2&a=1".to_owned())),
        ("no query", change(&|signed| signed.path = "/mcp".to_owned())),
        ("another path", change(&|signed| signed.path = "/v1/tools/call?a=1&b=2".to_owned())),
        (
            "the name of a header in upper case",
            change(&|signed| {
                let input = signed.headers[0].1.replace("content-digest", "Content-Digest");
                signed.headers[0].1 = input;
            }),
        ),
        (
            "a digest of another body",
            right.clone().with("content-digest", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"),
        ),
        ("no digest", change(&|signed| signed.headers.retain(|(name, _)| *name != "Content-Digest"))),
        ("another nonce", change(&|signed| signed.headers[0].1 = signed.headers[0].1.replace("nonce=\"", "nonce=\"x"))),
        ("a longer life", change(&|signed| signed.headers[0].1 = signed.headers[0].1.replace(";alg", ";tag=\"\";alg"))),
        ("no signature", unsigned),
        ("half a signature", change(&|signed| drop(signed.headers.remove(1)))),
    ] {
        scene.refused(&signed, why).await?;
    }
    let now_s = jiff::Timestamp::now().as_second();
    for (why, created_s, lasts_s) in [
        ("301 s old", now_s - 301, 300),
        ("301 s ahead", now_s + 301, 300),
        ("for 301 s", now_s, 301),
        ("for no time", now_s, 0),
    ] {
        scene.refused(&Signing { created_s, lasts_s, ..call("raw__work") }.sign(), why).await?;
    }
    scene.refused(&Signing { key_id: "two", ..call("raw__work") }.sign(), "a key that nobody has").await?;
    scene.refused(&Signing { secret: format!("{SECRET}x"), ..call("raw__work") }.sign(), "another secret").await?;
    // Refused for what has nothing to do with signatures: its nonce is still its own.
    let answer = scene.send(&right.clone().with("content-type", "text/plain")).await?;
    ensure!(answer.status == 415, "{answer:?}");
    // The names of headers have no case on the wire, and the host that the request names is not signed.
    let mut shouted = right.clone();
    shouted.headers.iter_mut().for_each(|(name, _)| {
        *name = match *name {
            "Content-Digest" => "CONTENT-DIGEST",
            "Signature" => "signature",
            other => other,
        }
    });
    ensure!(scene.send(&shouted).await?.status == 200);
    ensure!(calls(&scene.server) == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_and_taken_out_while_the_router_runs() -> Result<()> {
    let scene = Scene::new().await?;
    let next = "b7Yw2Kd9Qx4Lm6Vt8Rz1Nc3Hf5Jg0Ps=";
    let with_next = Signing { key_id: "two", secret: next.to_owned(), ..call("raw__work") };
    scene.refused(&with_next.sign(), "a key that is not there yet").await?;
    tests::private_file(scene.router.dir.path().join("two"), next)?;
    let mut config = scene.config.clone();
    config["identity"]["signatures"]["keys"]["two"] =
        json!({ "secret": { "file": "two" }, "subject": "billing", "roles": ["all"] });
    scene.router.change(&config.to_string()).await?;
    let used = call("raw__work").sign();
    ensure!(scene.send(&used).await?.status == 200);
    ensure!(scene.send(&with_next.sign()).await?.status == 200, "what is refused uses no nonce up");
    config["identity"]["signatures"]["keys"].as_object_mut().context("keys")?.remove("one");
    scene.router.change(&config.to_string()).await?;
    scene.refused(&call("raw__work").sign(), "a key that was taken out").await?;
    scene.router.change(&scene.config.to_string()).await?;
    scene.refused(&used, "sent again, after the config has changed").await?;
    tests::private_file(scene.router.dir.path().join("one"), next)?;
    scene.router.change(&scene.config.to_string()).await?;
    scene.refused(&call("raw__work").sign(), "a secret that was replaced").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_and_a_key_of_others_contradict_each_other() -> Result<()> {
    let (server, dir) = (server().await?, TempDir::new()?);
    let keys = tests::keys(dir.path(), &[("ann", &["all"]), ("billing", &["all"])])?;
    let mut config = config(&server, dir.path())?;
    config["identity"]["api_keys"] = json!({ "file": "keys.yaml" });
    let router = TestRouter::ready_in(dir, &config.to_string()).await?;
    let with = |key: &str| {
        let headers = vec![("Authorization", format!("Bearer {key}"))];
        Signing { headers, ..call("raw__work") }.sign()
    };
    let address = router.running().callers;
    until("signatures count", async || Ok((with(&keys[1]).send(address).await?.status == 200).then_some(()))).await?;
    for wrong in [keys[0].as_str(), "weir_nobody_nothing"] {
        ensure!(with(wrong).send(address).await?.status == 401, "{wrong}");
    }
    config["identity"]["combine"] = json!("first");
    router.change(&config.to_string()).await?;
    let both = with(&keys[0]);
    ensure!(both.send(address).await?.status == 200);
    ensure!(router.records().await?.iter().any(|record| record["subject"] == "ann"));
    // Whoever counts: the signature must be right, and counts once.
    ensure!(both.send(address).await?.status == 401);
    ensure!(with(&keys[0]).with("signature", "sig=:AAAA:").send(address).await?.status == 401);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_signatures_are_failed_logins_of_their_address() -> Result<()> {
    let (server, dir) = (server().await?, TempDir::new()?);
    let mut config = config(&server, dir.path())?;
    config.as_object_mut().context("a config")?.remove("limits");
    let router = TestRouter::ready_in(dir, &config.to_string()).await?;
    let address = router.running().callers;
    until("signatures count", async || Ok((get("/v1/tools").sign().send(address).await?.status == 200).then_some(())))
        .await?;
    let wrong = Signing { secret: format!("{SECRET}x"), ..call("raw__work") }.sign();
    let mut statuses = Vec::new();
    for _ in 0..30 {
        statuses.push(wrong.send(address).await?.status);
    }
    ensure!(statuses.iter().filter(|status| **status == 401).count() == 20, "{statuses:?}");
    ensure!(statuses.iter().filter(|status| **status == 429).count() == 10, "{statuses:?}");
    ensure!(call("raw__work").sign().send(address).await?.status == 200, "a right one is let in at any time");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_docs_signs_as_weir_reads_it() -> Result<()> {
    let scene = Scene::new().await?;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/sign_request.py");
    let run = async |secret: &str| {
        let mut python = tokio::process::Command::new("python3");
        python.arg(&example).args([PUBLIC, "one", "raw__work", "{}"]).env("WEIR_SIGNING_SECRET", secret);
        python.env("WEIR_CONNECT_TO", format!("http://{}", scene.router.authority())).stdin(Stdio::null());
        python.output().await.context("python3 is needed: install python3")
    };
    let right = run(SECRET).await?;
    ensure!(right.status.success() && String::from_utf8_lossy(&right.stdout).contains("content"), "{right:?}");
    let wrong = run("Zq3vN8xLr2Wk7TjUy5BdHfGm1PsCa9Ef").await?;
    ensure!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("not accepted"), "{wrong:?}");
    ensure!(calls(&scene.server) == 1);
    Ok(())
}
