//! Access tokens: which are let in, where clients learn of their issuers, and what becomes of all of it when an issuer changes or fails.

mod bad_tokens;
mod keys;
mod scopes;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
};
use tests::{Answer, Ask, Issuer, TestRouter, open_house, until};

/// A router whose callers have tokens of one issuer, and a system behind it that counts its calls.
pub(crate) struct Scene {
    pub(crate) router: TestRouter,
    pub(crate) issuer: Issuer,
    server: RawServer,
}

impl Scene {
    /// With the settings that `over` gives the issuer beside the usual ones.
    pub(crate) async fn new(over: Value) -> Result<Self> {
        let (issuer, server) = (Issuer::start().await?, server().await?);
        let router = TestRouter::ready(&config(&issuer, &server, &over).to_string()).await?;
        let scene = Self { router, issuer, server };
        scene.keys_are_known().await?;
        Ok(scene)
    }

    pub(crate) async fn keys_are_known(&self) -> Result<()> {
        until("the keys of the issuer are known", async || {
            let answer = self.router.call(Some(&self.issuer.token(json!({}))), "raw__read", json!({ "n": 0 })).await?;
            Ok((answer.status == 200).then_some(()))
        })
        .await
    }

    /// A call of `raw__read` with this token.
    pub(crate) async fn read(&self, token: &str) -> Result<Answer> {
        self.router.call(Some(token), "raw__read", json!({})).await
    }

    /// How many calls came to the system behind.
    pub(crate) fn calls(&self) -> usize {
        self.server.received().iter().filter(|message| message.tool().is_some()).count()
    }
}

pub(crate) fn config(issuer: &Issuer, server: &RawServer, over: &Value) -> Value {
    let mut config = open_house(&[("raw", &server.url)]);
    config["server"] = json!({ "public_url": "http://weir.test" });
    let mut trusted = json!({ "issuer": issuer.url(), "scopes": { "crm.read": ["support"], "crm.write": ["writer"] } });
    for (name, value) in over.as_object().into_iter().flatten() {
        trusted[name] = value.clone();
    }
    config["identity"] = json!({ "jwt": [trusted] });
    config["policy"] = json!({ "roles": {
        "support": { "allow": ["raw__read"] },
        "writer": { "allow": ["raw__save"] },
        "admin": { "allow": ["*"] },
    } });
    // What is wrong is to be judged here, however often.
    config["limits"] = json!([{ "name": "many", "per": "address", "rate": "1000/s" }]);
    config
}

pub(crate) async fn server() -> Result<RawServer> {
    RawServer::start(Era::ModernOnly, |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => {
            let tool = |name: &str| json!({ "name": name, "inputSchema": { "type": "object" } });
            let tools: Vec<Value> = ["read", "save", "secret"].map(tool).to_vec();
            Some(vec![Action::result(message, &json!({ "tools": tools }).to_string())])
        }
        Some("tools/call") => Some(vec![Action::result(message, r#"{"content":[]}"#)]),
        _ => None,
    })
    .await
}

/// The challenge of an answer.
pub(crate) fn challenge(answer: &Answer) -> Result<&str> {
    Ok(answer.headers.get("www-authenticate").context("no challenge")?.to_str()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_token_is_told_where_to_get_one() -> Result<()> {
    let scene = Scene::new(json!({ "step_up": ["crm.write"] })).await?;
    let metadata = "http://weir.test/.well-known/oauth-protected-resource/mcp";
    for (path, method) in [("/mcp", "POST"), ("/mcp", "GET"), ("/v1/tools", "GET"), ("/v1/tools/call", "POST")] {
        let answer = scene.router.send(method.parse()?, path, &[], "{").await?;
        ensure!(answer.status == 401, "{path}: {answer:?}");
        let expected = format!("Bearer realm=\"weir\", resource_metadata=\"{metadata}\", scope=\"crm.read\"");
        ensure!(challenge(&answer)? == expected, "{answer:?}");
    }
    for (path, resource) in [("", "/mcp"), ("/mcp", "/mcp"), ("/mcp/no-such-view", "/mcp/no-such-view")] {
        let path = format!("/.well-known/oauth-protected-resource{path}");
        let answer = scene.router.send("GET".parse()?, &path, &[], "").await?;
        ensure!(
            answer.status == 200
                && answer.json()?
                    == json!({
                        "resource": format!("http://weir.test{resource}"),
                        "authorization_servers": [scene.issuer.url()],
                        "bearer_methods_supported": ["header"],
                        "resource_name": "Weir",
                        "scopes_supported": ["crm.read"],
                    }),
            "{answer:?}"
        );
        ensure!(scene.router.send("POST".parse()?, &path, &[], "").await?.status == 405);
        let stranger = scene.router.send("GET".parse()?, &path, &[("host", "evil.example")], "").await?;
        ensure!(stranger.status == 403, "{stranger:?}");
    }
    let server = server().await?;
    let keys_alone = TestRouter::ready(&open_house(&[("raw", &server.url)]).to_string()).await?;
    let nothing = keys_alone.send("GET".parse()?, "/.well-known/oauth-protected-resource", &[], "").await?;
    ensure!(nothing.status == 404, "{nothing:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_what_its_token_says_and_no_more() -> Result<()> {
    let (issuer, server) = (Issuer::start().await?, server().await?);
    let over = json!({
        "tenant_claim": "org.name", "roles_claim": "realm_access.roles", "roles": { "staff": ["admin"], "support": ["support"] },
    });
    let router = TestRouter::ready(&config(&issuer, &server, &over).to_string()).await?;
    let org = json!({ "name": "acme" });
    let tools = async |over: Value| -> Result<Vec<String>> {
        let mut claims = json!({ "org": org, "scope": null });
        claims.as_object_mut().context("claims")?.extend(over.as_object().context("claims")?.clone());
        let token = issuer.token(claims);
        let answer = until("the keys are known", async || {
            let answer = router.modern(Some(&token), "tools/list", json!({})).await?;
            Ok((answer.status != 503).then_some(answer))
        })
        .await?;
        let tools = answer.result()?["tools"].as_array().context("tools")?.clone();
        Ok(tools.iter().filter_map(|tool| Some(tool["name"].as_str()?.to_owned())).collect())
    };
    ensure!(tools(json!({})).await?.is_empty());
    ensure!(tools(json!({ "scope": "crm.read" })).await? == ["raw__read"]);
    ensure!(tools(json!({ "scp": ["crm.read", "other"] })).await? == ["raw__read"]);
    ensure!(tools(json!({ "scope": "staff admin support" })).await?.is_empty(), "a scope is no group");
    ensure!(
        tools(json!({ "realm_access": { "roles": ["crm.read", "admin"] } })).await?.is_empty(),
        "a group is no scope"
    );
    ensure!(tools(json!({ "realm_access": { "roles": ["staff"] } })).await?.len() == 3);
    ensure!(tools(json!({ "realm_access": { "roles": "support other" } })).await? == ["raw__read"]);
    ensure!(tools(json!({ "realm_access": { "roles": ["support", 1] } })).await?.is_empty());
    ensure!(tools(json!({ "roles": ["admin"], "groups": ["staff"] })).await?.is_empty());
    let homeless = router.call(Some(&issuer.token(json!({}))), "raw__read", json!({})).await?;
    ensure!(homeless.status == 401, "a token without its tenant: {homeless:?}");
    let token = issuer.token(json!({ "org": org }));
    router.call(Some(&token), "raw__read", json!({})).await?.result()?;
    let record = &router.records().await?[0];
    let id = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    let id: String = id.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(
        record["subject"] == "ann" && record["tenant"] == "acme" && record["authenticated_by"] == "jwt",
        "{record}"
    );
    ensure!(record["credential"] == format!("jwt-{id}"), "{record}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_a_view_counts_there_alone() -> Result<()> {
    let (issuer, server) = (Issuer::start().await?, server().await?);
    let mut config = config(&issuer, &server, &json!({}));
    config["views"] = json!({ "reading": { "tools": ["raw__read"] } });
    let router = TestRouter::ready(&config.to_string()).await?;
    let scene = Scene { router, issuer, server };
    scene.keys_are_known().await?;
    let token = scene.issuer.token(json!({ "aud": ["http://weir.test/mcp/reading"] }));
    ensure!(scene.read(&token).await?.status == 401);
    let at_view = |token: &str| {
        let (headers, body) = tests::modern_request(Some(token), "tools/list", json!({}));
        let headers: Vec<(String, String)> =
            headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        (headers, body)
    };
    for (token, path, status) in [
        (&token, "/mcp/reading", 200),
        (&scene.issuer.token(json!({})), "/mcp/reading", 200),
        (&scene.issuer.token(json!({ "aud": "http://weir.test/mcp/readings" })), "/mcp/reading", 401),
        (&scene.issuer.token(json!({ "aud": "http://weir.test/mcp/" })), "/mcp/reading", 401),
    ] {
        let (headers, body) = at_view(token);
        let mut headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.extend([("content-type", "application/json"), ("accept", "application/json, text/event-stream")]);
        let answer = scene.router.send("POST".parse()?, path, &headers, body).await?;
        ensure!(answer.status == status, "{answer:?}");
        if status == 401 {
            ensure!(challenge(&answer)?.contains("/.well-known/oauth-protected-resource/mcp/reading\""), "{answer:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_comes_out_holds_a_token() -> Result<()> {
    let scene = Scene::new(json!({})).await?;
    let (good, bad) = (scene.issuer.token(json!({})), scene.issuer.token(json!({ "exp": 1 })));
    let mut said = String::new();
    for token in [&good, &bad] {
        for ask in [
            Ask::call("raw__read", json!({})),
            Ask::call("raw__nobody", json!({})),
            Ask::legacy("initialize", &json!({ "protocolVersion": "2025-11-25" })),
            Ask::text("{"),
        ] {
            said.push_str(&format!("{:?}", scene.router.ask(&ask.key(token)).await?));
        }
    }
    for path in ["/admin/audit?last=1000", "/admin/downstreams", "/admin/tools", "/metrics", "/readyz"] {
        said.push_str(&scene.router.admin(path).await?.text);
    }
    said.push_str(&format!("{:?}{:?}", scene.router.running(), scene.server.received()));
    said.push_str(&scene.server.heads().concat());
    for token in [&good, &bad] {
        for piece in token.split('.') {
            ensure!(!said.contains(piece), "a piece of a token came out");
        }
    }
    ensure!(
        said.contains("\"ann\"") && said.contains("weir_issuer_keys_fetches_total"),
        "the test would not see a token"
    );
    Ok(())
}
