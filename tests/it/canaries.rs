//! Secrets of every kind that a router has or is shown, and whatever becomes of its calls: none of them is found where it does not belong.

mod door;
mod scene;

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::{Value, json};
use tests::{
    TestRouter,
    canary::{self, Holder},
    open_house, private_file, until,
};

use crate::cli::binary::{command, finish};
use scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_comes_out_whatever_becomes_of_the_calls() -> Result<()> {
    let mut scene = Scene::new().await?;
    good_calls(&scene).await?;
    wrong_credentials(&scene).await?;
    bad_calls(&scene).await?;
    what_operators_see(&scene).await?;
    bad_configs(&scene).await?;
    what_operators_see(&scene).await?;
    what_commands_print(&scene).await?;
    looked_through(&scene)?;

    // The same once more, with a sealed log.
    let keygen = ["audit", "keygen", "--identity", "identity.txt"];
    let recipient = finish(command(&keygen).current_dir(scene.fleet.folder())).await.with_code(0).stdout;
    let identity = scene.fleet.folder().join("identity.txt");
    canary::register_file(&identity, &std::fs::read(&identity)?);
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(scene.fleet.folder().join("weir.yaml"))?)?;
    config["audit"]["recipient"] = json!(recipient.trim());
    scene.write(&config.to_string())?;
    scene.fleet.start_again(0).await?;
    scene.know_made_secrets()?;
    good_calls(&scene).await?;
    bad_calls(&scene).await?;
    what_operators_see(&scene).await?;
    looked_through(&scene)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_harness_sees_is_looked_through_and_what_it_knows_is_found() -> Result<()> {
    let before = canary::looked();
    let dir = tempfile::tempdir()?;
    let keys = tests::keys(dir.path(), &[("ann", &["all"])])?;
    let mut config = open_house(&[]);
    config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
    let router = TestRouter::start_in(dir, &config.to_string()).await?;
    ensure!(router.call(Some(&keys[0]), "weir__nothing", json!({})).await?.error_code().is_some());
    router.stop().await;
    let after = canary::looked();
    ensure!(
        after.secrets > before.secrets && after.pieces > before.pieces && after.bytes > before.bytes,
        "{before:?} {after:?}"
    );
    for planted in
        [keys[0].clone(), STANDARD.encode(format!("ann:{}", keys[0])), format!("{{\"token\":\"{}\"}}", keys[0])]
    {
        let found = canary::find(format!("a line with {planted} in it").as_bytes()).context("it is not found")?;
        ensure!(&*found.kind == "API key", "{found:?}");
    }
    ensure!(canary::find(tests::ADMIN_TOKEN.as_bytes()).is_some());
    Ok(())
}

/// Arguments that nobody but the tool should read: by their names, and by what they look like.
fn arguments() -> Value {
    let secret = |kind: &str| canary::secret(&format!("argument-{kind}"), Holder::Downstream);
    json!({
        "password": secret("password"),
        "nested": [{ "access_token": secret("nested") }],
        "note": format!("it is at postgres://app:{}@db.example/x", secret("url")),
        "sql": format!("ALTER USER app PASSWORD '{}'", secret("sql")),
        "blob": STANDARD.encode(format!("password={}", secret("base64"))),
    })
}

/// A token of the issuer, known as what it is.
fn token(scene: &Scene, kind: &str, claims: &Value) -> String {
    let mut claims = claims.clone();
    claims["aud"] = json!("https://weir.example/mcp");
    let token = scene.issuer.token(claims);
    canary::register(kind, Holder::Weir, token.rsplit('.').next().unwrap_or_default());
    token
}

async fn good_calls(scene: &Scene) -> Result<()> {
    let jwt = token(scene, "JWT", &json!({}));
    until("the keys of the issuer are known", async || {
        let answer = scene.call(&jwt, "raw__read", &json!({})).await?;
        Ok(answer.starts_with("HTTP/1.1 200").then_some(()))
    })
    .await?;
    for tool in ["raw__read", "raw__save", "raw__scarce"] {
        let answer = scene.call(&scene.keys[0], tool, &arguments()).await?;
        ensure!(answer.starts_with("HTTP/1.1 200") || tool == "raw__scarce", "{tool}: {answer}");
    }
    for name in ["bearer", "basic", "header", "client", "refresh", "exchange", "assertion"] {
        let answer = scene.call(&jwt, &format!("to-{name}__look"), &json!({ "what": "ok" })).await?;
        ensure!(answer.starts_with("HTTP/1.1 200") && answer.contains("fine"), "{name}: {answer}");
    }
    let password = arguments()["password"].clone();
    let said = scene.call(&scene.keys[0], "pg__say", &json!({ "password": password })).await?;
    ensure!(said.contains("\"password\""), "{said}");
    let body = r#"{"tags":["customer:1"]}"#;
    scene.say("POST", "/hooks/cache", &[("Content-Type", "application/json"), ("webhook-id", "1")], body).await?;
    Ok(())
}

/// What is shown is wrong, and hardly: each answer is a refusal that repeats nothing.
async fn wrong_credentials(scene: &Scene) -> Result<()> {
    let wrong = |kind: &str| canary::secret(kind, Holder::Weir);
    let key = format!("{}{}", &scene.keys[0][..14], wrong("wrong-key"));
    let expired = token(scene, "expired-JWT", &json!({ "exp": 1 }));
    for credential in [key, expired, wrong("no-credential")] {
        let answer = scene.call(&credential, "raw__read", &arguments()).await?;
        ensure!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
    for (name, value) in [
        ("Authorization", format!("Basic {}", STANDARD.encode(format!("ann:{}", wrong("basic-of-a-caller"))))),
        ("X-Api-Key", wrong("another-header")),
        ("Cookie", format!("session={}", wrong("cookie"))),
        ("Signature", format!("sig=:{}:", STANDARD.encode(wrong("signature")))),
        ("Mcp-Session-Id", wrong("session")),
    ] {
        let path = format!("/mcp?api_key={}&access_token={}", wrong("query-key"), wrong("query-token"));
        let answer = scene.say("POST", &path, &[(name, &value), ("Content-Type", "application/json")], "{").await?;
        ensure!(answer.starts_with("HTTP/1.1 4"), "{name}: {answer}");
        let found = canary::find(answer.as_bytes());
        ensure!(found.is_none(), "{name}: {found:?}");
    }
    let path = format!("/{}/{}", wrong("path"), wrong("path"));
    let answer = scene.say("GET", &path, &[], "").await?;
    ensure!(canary::find(answer.as_bytes()).is_none(), "{answer}");
    Ok(())
}

/// Denied, unknown, limited, refused by the system or lost.
async fn bad_calls(scene: &Scene) -> Result<()> {
    let jwt = token(scene, "JWT", &json!({}));
    for (token, tool) in
        [(1, "raw__read"), (0, "raw__unknown"), (0, "raw__scarce"), (0, "raw__fail"), (0, "raw__wrong")]
    {
        scene.call(&scene.keys[token], tool, &arguments()).await?;
    }
    // A key where the name belongs.
    let unknown = canary::secret("argument-name-of-a-tool", Holder::Downstream);
    scene.call(&scene.keys[0], &format!("weir_abcdefgh_{unknown}"), &json!({})).await?;
    let failed = scene.call(&scene.keys[0], "pg__fail", &json!({ "password": arguments()["password"] })).await?;
    ensure!(failed.starts_with("HTTP/1.1 422"), "{failed}");
    for what in ["500", "302", "reset", "401"] {
        for name in ["bearer", "basic", "header", "client", "refresh", "exchange", "assertion"] {
            let answer = scene.call(&jwt, &format!("to-{name}__look"), &json!({ "what": what })).await?;
            ensure!(!answer.contains("\"fine\""), "{name} {what}: {answer}");
        }
    }
    Ok(())
}

/// Configs that cannot come into force, or hardly: a secret stands in them where its reference belongs, or it is a wrong one.
async fn bad_configs(scene: &Scene) -> Result<()> {
    let inline = |kind: &str| canary::secret(&format!("inline-{kind}"), Holder::Weir);
    let reloads =
        async |result: &str| scene.fleet.metric(0, "weir_config_reloads_total", &format!("result=\"{result}\"")).await;
    let mut bad = Vec::new();
    for place in
        ["/secrets/master", "/downstreams/raw/mcp/websocket/credential/bearer", "/redis/url", "/cache/webhook/secret"]
    {
        let mut config = scene.config.clone();
        *config.pointer_mut(place).with_context(|| place.to_owned())? = json!(inline("reference"));
        bad.push(config.to_string());
    }
    let mut config = scene.config.clone();
    config["downstreams"]["to-basic"]["mainframe"]["base_url"] =
        json!(format!("http://bot:{}@127.0.0.1:1", inline("url")));
    bad.push(config.to_string());
    bad.push(format!("secrets: {{ master: \"{}\"\n  broken: [", inline("broken")));
    for config in bad {
        let before = reloads("refused").await?;
        let path = scene.write(&config)?;
        scene.fleet.signal(0, "HUP").await?;
        until("the config is refused", async || Ok((reloads("refused").await? > before).then_some(()))).await?;
        let path = path.to_str().context("a plain path")?;
        let checked = finish(&mut command(&["check", "--config", path])).await;
        ensure!(checked.code == Some(3), "{checked:?}");
        let found = canary::find(format!("{}{}", checked.stdout, checked.stderr).as_bytes());
        ensure!(found.is_none(), "weir check tells {found:?}");
    }

    let folder = scene.fleet.folder();
    let url = std::fs::read_to_string(folder.join("pg_url"))?;
    let (scheme, rest) = url.split_once("://").context("a URL")?;
    let (login, place) = rest.split_once('@').context("a login")?;
    let user = login.split(':').next().unwrap_or_default();
    private_file(folder.join("wrong_pg_url"), format!("{scheme}://{user}:{}@{place}", inline("pg-password")))?;
    let mut config: Value = serde_json::from_str(&scene.config.to_string())?;
    config["downstreams"]["locked-out"] = scene::pg("wrong_pg_url");
    config["server"]["listen"] = json!("127.0.0.1:0");
    config["server"]["admin"] = json!("127.0.0.1:0");
    config["server"]["grace"] = json!("0s");
    config["server"]["drain"] = json!("1s");
    config["log"]["format"] = json!("json");
    let before = reloads("applied").await?;
    scene.write(&config.to_string())?;
    scene.fleet.signal(0, "HUP").await?;
    until("the config is applied", async || Ok((reloads("applied").await? > before).then_some(()))).await?;
    let answer = scene.call(&scene.keys[0], "locked-out__say", &json!({ "password": "x" })).await?;
    ensure!(!answer.contains("rows"), "{answer}");
    // As it was, so that a restart finds all systems up.
    config["downstreams"].as_object_mut().context("downstreams")?.remove("locked-out");
    scene.write(&config.to_string()).map(|_| ())
}

/// Every page of the operator's listener.
async fn what_operators_see(scene: &Scene) -> Result<()> {
    let paths = ["downstreams", "tools", "cache", "config", "keys", "definitions", "audit?last=1000"]
        .map(|path| format!("/admin/{path}"));
    for path in ["/metrics", "/readyz", "/livez"].map(str::to_owned).iter().chain(&paths) {
        let page = scene.fleet.admin(0, Method::GET, path, "").await?;
        let found = canary::find(page.text.as_bytes());
        ensure!(found.is_none(), "{path} tells {found:?}");
        ensure!(page.text.len() > 2, "{path} is empty: {page:?}");
    }
    Ok(())
}

/// What people read in a terminal.
async fn what_commands_print(scene: &Scene) -> Result<()> {
    let (config, keys) = (scene.fleet.folder().join("weir.yaml"), scene.fleet.folder().join("keys.yaml"));
    let (config, keys) = (config.to_str().context("a plain path")?, keys.to_str().context("a plain path")?);
    let (admin, secret) = (scene.fleet.admin_url(0), arguments().to_string());
    for words in [
        &["check", "--config", config][..],
        &["keys", "list", "--file", keys],
        &["keys", "list", "--admin", admin],
        &["explain", "--admin", admin, "--role", "all", "pg__say", &secret],
        &["explain", "--admin", admin, "--role", "none", "raw__read", &secret],
        &["audit", "verify"],
        &["audit", "search"],
    ] {
        let printed =
            finish(command(words).env("WEIR_ADMIN_TOKEN", tests::ADMIN_TOKEN).current_dir(scene.fleet.folder())).await;
        let text = format!("{}{}", printed.stdout, printed.stderr);
        ensure!(!text.is_empty(), "{words:?} says nothing");
        let found = canary::find(text.as_bytes());
        ensure!(found.is_none(), "{} tells {found:?}", words[0]);
    }
    Ok(())
}

/// Log, files, Redis, and what the systems were shown.
fn looked_through(scene: &Scene) -> Result<()> {
    let log = scene.fleet.log(0);
    ensure!(log.contains("\"DEBUG\"") && log.contains("raw__save"), "void: {log}");
    ensure!(canary::find(log.as_bytes()).is_none(), "the log tells {:?}", canary::find(log.as_bytes()));
    canary::look_at_folder(scene.fleet.folder());
    canary::settle();
    let written = scene.redis.written();
    ensure!(written.len() > 100, "void: nothing was written to Redis");
    ensure!(canary::find(&written).is_none(), "Redis has {:?}", canary::find(&written));
    for (door, shown) in &scene.doors {
        let heard = door.heard();
        // A token endpoint of a credential that needs none was never asked.
        ensure!(shown.is_empty() || canary::find(heard.as_bytes()).is_some(), "void: {shown:?} was not shown");
        let found = canary::find_of(heard.as_bytes(), |kind, _| !shown.contains(&kind));
        ensure!(found.is_none(), "the system that may see {shown:?} saw {found:?}");
    }
    let received: String = scene.raw.received().into_iter().map(|message| message.text).collect();
    ensure!(received.contains("canary-argument-password"), "void: no argument came");
    let found = canary::find_of(received.as_bytes(), |kind, _| !kind.starts_with("argument"));
    ensure!(found.is_none(), "the server was sent {found:?}");
    Ok(())
}
