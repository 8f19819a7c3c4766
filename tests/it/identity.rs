//! Who is let in, and what they may see: what is denied looks like what is unknown.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
};
use tempfile::TempDir;
use tests::{Answer, Ask, TestRouter, open_house, write_keys};

#[tokio::test(flavor = "multi_thread")]
async fn only_a_valid_key_in_the_authorization_header_is_let_in() -> Result<()> {
    let scene = Scene::new().await?;
    let [support, admin] = &scene.keys;
    let made = router::auth::new_key();
    let stranger = secrecy::ExposeSecret::expose_secret(&made.key).to_owned();
    let (id, secret) = support.split_at(14);
    let bearer = |key: &str| format!("Bearer {key}");
    let plain = Ask::call("raw__read", json!({}));
    let with = |value: &str| plain.clone().header("authorization", value);
    let refused = [
        (plain.clone(), false),
        (plain.clone().header("x-api-key", support), false),
        (plain.clone().header("proxy-authorization", &bearer(support)), false),
        (plain.clone().header("cookie", &format!("authorization={support}; key={support}")), false),
        (plain.clone().header("mcp-session-id", support), false),
        (with(&bearer(&stranger)), true),
        (with(&bearer(&scene.expired)), true),
        (with(&bearer(&format!("{id}{}", "A".repeat(43)))), true),
        (with(&bearer(&format!("{support}A"))), true),
        (with(&bearer(&support[..support.len() - 1])), true),
        (with(&bearer(&support.to_uppercase())), true),
        (with(&bearer(&support.to_ascii_lowercase().replace("weir_", "Weir_"))), true),
        (with(&bearer(secret)), true),
        (with(&bearer(id)), true),
        (with(&bearer("")), true),
        (with(&bearer("weir_")), true),
        (with(&bearer(&"x".repeat(8_000))), true),
        (with(&bearer(&format!("{support},{admin}"))), true),
        (with(&bearer(&format!("{support} {admin}"))), true),
        (with(support), true),
        (with("Bearer"), true),
        (with(&format!("Basic {support}")), true),
        (with(&format!("Basic {support}")).header("authorization", &bearer(support)), true),
        (with(&bearer(support)).header("authorization", &bearer(support)), true),
        (with(&bearer(support)).header("authorization", &bearer(admin)), true),
        (with(&bearer(support)).header("authorization", ""), true),
    ];
    for (ask, shown) in refused {
        for ask in [ask.clone(), ask.body("{")] {
            let answer = scene.router.ask(&ask).await?;
            let challenge = answer.headers.get("www-authenticate").context("no challenge")?.to_str()?;
            ensure!(answer.status == 401, "{ask:?}: {answer:?}");
            ensure!(challenge.starts_with("Bearer realm=\"weir\""), "{challenge}");
            ensure!(challenge.contains("invalid_token") == shown, "{challenge}: {ask:?}");
            ensure!(!answer.text.contains(secret) && !answer.text.contains("support"), "{answer:?}");
        }
    }
    let query =
        scene.router.send("POST".parse()?, &format!("/mcp?key={support}&access_token={support}"), &[], "").await?;
    ensure!(query.status == 401, "{query:?}");
    for method in ["GET", "DELETE"] {
        ensure!(scene.router.send(method.parse()?, "/mcp", &[], "").await?.status == 401, "{method}");
    }
    ensure!(scene.calls() == 0 && scene.router.records().await?.is_empty());
    for accepted in [bearer(support), format!("bearer {support}"), format!("BEARER   {support}")] {
        ensure!(scene.router.ask(&with(&accepted)).await?.result()?["content"] == json!([]), "{accepted}");
    }
    ensure!(scene.calls() == 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_comes_out_holds_a_key() -> Result<()> {
    let scene = Scene::new().await?;
    let mut said = String::new();
    for key in scene.keys.iter().chain([&scene.expired]) {
        for ask in [
            Ask::call("raw__read", json!({})),
            Ask::call("raw__nobody", json!({})),
            Ask::call("raw__read", json!([])),
            Ask::legacy("initialize", &json!({ "protocolVersion": "2025-11-25" })),
            Ask::text("{"),
        ] {
            let answer = scene.router.ask(&ask.key(key)).await?;
            said.push_str(&format!("{answer:?}"));
        }
    }
    for path in ["/admin/audit?last=1000", "/admin/downstreams", "/admin/tools", "/metrics", "/readyz"] {
        said.push_str(&scene.router.admin(path).await?.text);
    }
    said.push_str(&format!("{:?}{:?}", scene.router.running(), scene.server.received()));
    said.push_str(&scene.server.heads().concat());
    for key in scene.keys.iter().chain([&scene.expired]) {
        ensure!(!said.contains(&key[14..]) && !said.contains(&key[..16]), "a key came out");
    }
    let id = &scene.keys[0][5..13];
    ensure!(said.contains(id) && said.contains("weir_refused_total"), "the test would not see a key");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_role_denies_looks_like_what_does_not_exist() -> Result<()> {
    let scene = Scene::new().await?;
    let [support, admin] = &scene.keys;
    let session = scene.router.session(Some(support), "2025-06-18").await?;
    // As long as `raw__save`, and not there.
    let unknown = "raw__zave";
    for arguments in [json!({}), json!({ "n": 5 }), json!({ "n": "not a number" })] {
        for (denied, nobody) in [
            (Ask::call("raw__save", arguments.clone()), Ask::call(unknown, arguments.clone())),
            (Ask::legacy_call("raw__save", &arguments), Ask::legacy_call(unknown, &arguments)),
            (
                Ask::legacy_call("raw__save", &arguments).session(&session),
                Ask::legacy_call(unknown, &arguments).session(&session),
            ),
            (Ask::call("raw__save", arguments.clone()).token(1), Ask::call(unknown, arguments.clone()).token(1)),
        ] {
            let (denied, nobody) = (scene.as_seen(denied, support).await?, scene.as_seen(nobody, support).await?);
            ensure!(
                denied.text.contains("Unknown tool: raw__save") && denied.error_code() == Some(-32602),
                "{denied:?}"
            );
            ensure!(denied.text.replace("raw__save", unknown) == nobody.text, "{denied:?}\n{nobody:?}");
            ensure!(denied.status == nobody.status && denied.headers == nobody.headers, "{denied:?}\n{nobody:?}");
        }
    }
    ensure!(scene.calls() == 0);
    let outcomes: Vec<_> = scene.router.records().await?;
    for record in &outcomes {
        let truth = if record["asked"] == "raw__save" { "denied" } else { "unknown_tool" };
        ensure!(record["outcome"] == truth && record["rule"].is_null(), "{record}");
        ensure!((record["local_name"] == "save") == (truth == "denied") && record["subject"] == "ann", "{record}");
    }
    ensure!(outcomes.len() == 24, "{}", outcomes.len());
    let allowed = scene.router.ask(&Ask::call("raw__save", json!({})).key(admin)).await?;
    ensure!(allowed.result()?["content"] == json!([]), "{allowed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_what_its_reader_may_use_and_nothing_else() -> Result<()> {
    let scene = Scene::new().await?;
    let [support, admin] = &scene.keys;
    for (key, expected) in
        [(support, &["raw__read", "raw__reads"][..]), (admin, &["raw__read", "raw__reads", "raw__save", "raw__secret"])]
    {
        for list in [Ask::modern("tools/list", json!({})), Ask::legacy("tools/list", &json!({}))] {
            let answer = scene.router.ask(&list.key(key)).await?;
            let tools = answer.result()?["tools"].as_array().context("tools")?.clone();
            let names: Vec<_> = tools.iter().filter_map(|tool| tool["name"].as_str()).collect();
            ensure!(names == expected, "{names:?}");
        }
        for tool in ["raw__read", "raw__reads", "raw__save", "raw__secret"] {
            let called = scene.router.ask(&Ask::call(tool, json!({})).key(key)).await?;
            ensure!(
                called.result().is_ok() == expected.contains(&tool),
                "what is listed can be called: {tool} {called:?}"
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_look_like_an_allowed_one_open_nothing() -> Result<()> {
    let scene = Scene::new().await?;
    for name in [
        "RAW__READ",
        "raw__Read",
        "Raw__read",
        "raw__read.",
        "raw__read ",
        " raw__read",
        "raw__read\n",
        "raw__read\0",
        "raw__read\u{200b}",
        "raw__re\u{301}ad",
        "raw__r\u{435}ad",
        "raw__r\u{ff45}ad",
        "raw\u{ff3f}\u{ff3f}read",
        "raw_read",
        "raw___read",
        "raw__read__",
        "raw/read",
        "raw__read/../save",
        "raw__*",
        "*",
        "raw__",
        "read",
        "",
        "raw__s\u{430}ve",
    ] {
        for key in &scene.keys {
            let legacy = scene.as_seen(Ask::legacy_call(name, &json!({})), key).await?;
            ensure!(legacy.error_code() == Some(-32602) && legacy.status == 200, "{name:?}: {legacy:?}");
            if name.is_ascii() && !name.contains(['\n', '\0']) && name.trim() == name {
                let modern = scene.as_seen(Ask::call(name, json!({})), key).await?;
                ensure!(modern.error_code() == Some(-32602) && modern.status == 200, "{name:?}: {modern:?}");
            }
        }
    }
    ensure!(scene.calls() == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_keys_are_configured_loopback_is_local_and_a_key_is_still_not_ignored() -> Result<()> {
    let server = server().await?;
    let router = TestRouter::ready(&open_house(&[("raw", &server.url)]).to_string()).await?;
    ensure!(router.ask(&Ask::call("raw__read", json!({}))).await?.status == 200);
    let answer = router.ask(&Ask::call("raw__read", json!({})).key("weir_abcdefgh_wrong")).await?;
    ensure!(answer.status == 401, "{answer:?}");
    let mut nobody = open_house(&[("raw", &server.url)]);
    nobody["identity"]["local"] = json!({});
    let router = TestRouter::ready(&nobody.to_string()).await?;
    ensure!(router.ask(&Ask::modern("tools/list", json!({}))).await?.result()?["tools"] == json!([]));
    ensure!(router.ask(&Ask::call("raw__read", json!({}))).await?.error_code() == Some(-32602));
    ensure!(router.records().await?[0]["outcome"] == "denied");
    Ok(())
}

/// A router with the keys of ann, who is support and may read, and of bob, who is admin.
struct Scene {
    router: TestRouter,
    server: RawServer,
    keys: [String; 2],
    expired: String,
}

impl Scene {
    async fn new() -> Result<Self> {
        let (server, dir) = (server().await?, TempDir::new()?);
        let (mut keys, mut records) = (Vec::new(), Vec::new());
        for (subject, role, expires) in [
            ("ann", "support", Some("2999-01-01T00:00:00Z")),
            ("bob", "admin", None),
            ("eve", "admin", Some("2020-01-01T00:00:00Z")),
        ] {
            let made = router::auth::new_key();
            let mut record = json!({ "id": made.id, "hash": made.hash, "subject": subject, "roles": [role] });
            if let Some(expires) = expires {
                record["expires"] = json!(expires);
            }
            records.push(record);
            keys.push(secrecy::ExposeSecret::expose_secret(&made.key).to_owned());
        }
        write_keys(dir.path(), &records)?;
        let mut config = open_house(&[("raw", &server.url)]);
        config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
        config["policy"] = json!({ "roles": {
            "support": { "allow": ["raw__read*", "raw__se*"], "deny": ["raw__save", "*secret"] },
            "admin": { "allow": ["*"] },
        } });
        // What is wrong is to be judged here, however often.
        config["limits"] = json!([{ "name": "many", "per": "address", "rate": "1000/s" }]);
        let router = TestRouter::ready_in(dir, &config.to_string()).await?;
        let [support, admin, expired] = <[String; 3]>::try_from(keys).ok().context("three keys")?;
        Ok(Self { router, server, keys: [support, admin], expired })
    }

    /// The answer without what differs from moment to moment.
    async fn as_seen(&self, ask: Ask, key: &str) -> Result<Answer> {
        let mut answer = self.router.ask(&ask.key(key)).await?;
        answer.headers.remove("date");
        Ok(answer)
    }

    fn calls(&self) -> usize {
        self.server.received().iter().filter(|message| message.tool().is_some()).count()
    }
}

async fn server() -> Result<RawServer> {
    RawServer::start(Era::ModernOnly, |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => {
            let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } } });
            let tool = |name: &str| json!({ "name": name, "inputSchema": schema });
            let tools: Vec<Value> = ["read", "reads", "save", "secret"].map(tool).to_vec();
            Some(vec![Action::result(message, &json!({ "tools": tools }).to_string())])
        }
        Some("tools/call") => Some(vec![Action::result(message, r#"{"content":[]}"#)]),
        _ => None,
    })
    .await
}
