//! Client certificates: who is meant by which, which are refused, and what becomes of connections whose certificate is taken back.

mod authority;

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use http::StatusCode;
use http_body_util::{BodyExt as _, Full};
use rcgen::{ExtendedKeyUsagePurpose, SanType};
use rustls::{HandshakeKind, pki_types::CertificateDer, pki_types::ServerName};
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, RawServer},
};
use tempfile::TempDir;
use tests::{PATIENCE, TestRouter, open_house, until};
use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, net::TcpStream, sync::Notify};
use tokio_rustls::TlsConnector;

use authority::{Authority, Caller, Holder, Says, client, client_config};

const AGENT: &str = "spiffe://corp.example/agents/a";

struct Scene {
    router: TestRouter,
    server: RawServer,
    /// The router's own certificate.
    own: CertificateDer<'static>,
    authority: Authority,
    config: Value,
}

impl Scene {
    /// A router that takes the certificates of one authority, and a downstream with one tool.
    async fn new(mtls: Value, more: impl FnOnce(&Path, &mut Value) -> Result<()>) -> Result<Self> {
        let server = RawServer::start(Era::ModernOnly, |message| match message.method.as_deref() {
            Some("tools/list") => {
                Some(vec![Action::result(message, r#"{"tools":[{"name":"work","inputSchema":{"type":"object"}}]}"#)])
            }
            Some("tools/call") => Some(vec![Action::result(message, r#"{"content":[]}"#)]),
            _ => None,
        })
        .await?;
        let (dir, authority) = (TempDir::new()?, Authority::new("callers")?);
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        std::fs::write(dir.path().join("certificate.pem"), made.cert.pem())?;
        tests::private_file(dir.path().join("key.pem"), made.signing_key.serialize_pem())?;
        std::fs::write(dir.path().join("ca.pem"), &authority.pem)?;
        std::fs::write(dir.path().join("crl.pem"), authority.revoked(&[], 2090)?)?;
        let mut config = open_house(&[("raw", &server.url)]);
        config["server"]["tls"] = json!({ "certificate": "certificate.pem", "key": "key.pem" });
        config["identity"]["mtls"] = json!({
            "ca": "ca.pem",
            "crl": ["crl.pem"],
            "callers": [{ "uri": "spiffe://corp.example/agents/*", "roles": ["all"] }],
        });
        for (name, value) in mtls.as_object().context("settings")? {
            config["identity"]["mtls"][name] = value.clone();
        }
        more(dir.path(), &mut config)?;
        let router = TestRouter::ready_in(dir, &config.to_string()).await?;
        Ok(Self { router, server, own: made.cert.der().clone(), authority, config })
    }

    async fn connect(&self, holder: Option<&Holder>, http2: bool) -> Result<Caller> {
        Caller::connect(self.router.running().callers, &client_config(&self.own, holder)?, http2).await
    }

    async fn call(&self, caller: &mut Caller, key: Option<&str>) -> Result<tests::Answer> {
        caller.call(self.router.running().callers, key, "raw__work", json!({})).await
    }

    fn calls(&self) -> usize {
        self.server.received().iter().filter(|message| message.method.as_deref() == Some("tools/call")).count()
    }

    async fn last_record(&self) -> Result<Value> {
        until("the call has left its record", async || Ok(self.router.records().await?.into_iter().next())).await
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(std::fs::write(self.router.dir.path().join(name), text)?)
    }

    /// Has files that change read by themselves, as `weir serve` does.
    fn follow(&self) -> Result<()> {
        self.write("weir.yaml", &self.config.to_string())?;
        self.router.running().follow_config(self.router.dir.path().join("weir.yaml"), Arc::new(Notify::new()));
        Ok(())
    }
}

fn agent(serial: u64) -> Result<Says> {
    client(serial, AGENT)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_says_who_calls() -> Result<()> {
    let callers = json!({ "callers": [
        { "uri": "spiffe://corp.example/agents/admin", "subject": "ada", "tenant": "corp", "roles": ["all"] },
        { "uri": "spiffe://corp.example/agents/*", "roles": ["all"] },
        { "dns": "*.Agents.corp.example", "roles": ["all"] },
        { "email": "*@corp.example", "subject": "staff", "roles": ["all"] },
    ]});
    let scene = Scene::new(callers, |_, _| Ok(())).await?;
    let dns = |name: &str| -> Result<SanType> { Ok(SanType::DnsName(name.try_into()?)) };
    let email = |name: &str| -> Result<SanType> { Ok(SanType::Rfc822Name(name.try_into()?)) };
    let says = |names: Vec<SanType>| -> Result<Says> { Ok(Says { names, ..agent(1)? }) };
    for (says, subject) in [
        (agent(1)?, AGENT),
        (client(2, "spiffe://corp.example/agents/admin")?, "ada"),
        (says(vec![dns("One.agents.corp.EXAMPLE")?])?, "one.agents.corp.example"),
        (says(vec![email("eve@CORP.example")?])?, "staff"),
        // Two names of one caller, and names that mean nobody.
        (says(vec![email("eve@corp.example")?, email("e.smith@corp.example")?, dns("elsewhere.example")?])?, "staff"),
        (says(vec![dns("*.agents.corp.example")?, SanType::URI(AGENT.try_into()?)])?, AGENT),
    ] {
        let holder = scene.authority.issue(says)?;
        for http2 in [false, true] {
            let mut caller = scene.connect(Some(&holder), http2).await.context(subject)?;
            ensure!(scene.call(&mut caller, None).await?.result()?["content"] == json!([]));
            let record = scene.last_record().await?;
            ensure!(record["subject"] == subject, "{record}");
        }
    }
    ensure!(scene.calls() == 12);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_good_ends_the_handshake() -> Result<()> {
    let scene = Scene::new(json!({}), |_, _| Ok(())).await?;
    scene.write("crl.pem", &scene.authority.revoked(&[7], 2090)?)?;
    scene.router.change(&scene.config.to_string()).await?;
    let other = Authority::new("callers")?;
    let (uri, dns) = (SanType::URI(AGENT.try_into()?), SanType::DnsName("a.example".try_into()?));
    let another = SanType::URI("spiffe://corp.example/agents/b".try_into()?);
    let purposes = |purposes| -> Result<Says> { Ok(Says { purposes, ..agent(1)? }) };
    let names = |names| -> Result<Says> { Ok(Says { names, ..agent(1)? }) };
    let one = |says| scene.authority.issue(says);
    let good = one(agent(1)?)?;
    scene.connect(Some(&good), false).await.context("the test would prove nothing")?;
    for (what, holder) in [
        ("expired", one(Says { until_year: 2020, ..agent(1)? })?),
        ("of another authority of this name", other.issue(agent(1)?)?),
        ("for servers", one(purposes(vec![ExtendedKeyUsagePurpose::ServerAuth])?)?),
        ("for whatever there is", one(purposes(vec![ExtendedKeyUsagePurpose::Any])?)?),
        ("for nothing in particular", one(purposes(Vec::new())?)?),
        ("revoked", one(agent(7)?)?),
        ("without a name", one(names(Vec::new())?)?),
        ("with a name that nobody has", one(client(1, "spiffe://corp.example/agent/a")?)?),
        ("with a name in another case", one(client(1, "SPIFFE://corp.example/agents/a")?)?),
        ("with the name as another kind", one(names(vec![dns])?)?),
        ("with the names of two callers", one(names(vec![uri, another])?)?),
    ] {
        for http2 in [false, true] {
            let connected = scene.connect(Some(&holder), http2).await;
            ensure!(connected.is_err(), "a certificate {what} is let in");
        }
    }
    ensure!(scene.calls() == 0);
    let metrics = scene.router.admin("/metrics").await?.text;
    ensure!(metrics.contains("reason=\"bad_certificate\""), "{metrics}");
    scene.connect(Some(&good), false).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_another_credential_is_needed() -> Result<()> {
    let mut keys = Vec::new();
    let scene = Scene::new(json!({}), |dir, config| {
        keys = tests::keys(dir, &[("ann", &["all"])])?;
        config["identity"]["api_keys"] = json!({ "file": "keys.yaml" });
        Ok(())
    })
    .await?;
    let mut nobody = scene.connect(None, true).await?;
    ensure!(scene.call(&mut nobody, None).await?.status == StatusCode::UNAUTHORIZED);
    ensure!(scene.call(&mut nobody, Some(&keys[0])).await?.status == StatusCode::OK);
    // What others write about certificates is nothing.
    let holder = scene.authority.issue(agent(1)?)?;
    let said = format!("Hash=00;URI={AGENT}");
    let der = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &holder.chain[0]);
    for (name, value) in [
        ("x-forwarded-client-cert", said.as_str()),
        ("x-ssl-client-verify", "SUCCESS"),
        ("x-ssl-client-cert", der.as_str()),
        ("client-cert", &format!(":{der}:")),
    ] {
        let answer = nobody.get(scene.router.running().callers, "/v1/tools", &[(name, value)]).await?;
        ensure!(answer.status == StatusCode::UNAUTHORIZED, "{name}: {answer:?}");
    }
    // Two subjects at once, and a wrong credential beside a right one.
    let mut agent = scene.connect(Some(&holder), true).await?;
    ensure!(scene.call(&mut agent, Some(&keys[0])).await?.status == StatusCode::UNAUTHORIZED);
    ensure!(scene.call(&mut agent, Some("weir_nobody_nothing")).await?.status == StatusCode::UNAUTHORIZED);
    let mut config = scene.config.clone();
    config["identity"]["combine"] = json!("first");
    scene.router.change(&config.to_string()).await?;
    let answer = scene.call(&mut agent, Some(&keys[0])).await?;
    ensure!(answer.status == StatusCode::OK, "{answer:?}");
    ensure!(scene.last_record().await?["subject"] == "ann");
    config["identity"]["mtls"]["required"] = json!(true);
    scene.router.change(&config.to_string()).await?;
    ensure!(scene.connect(None, true).await.is_err());
    scene.connect(Some(&holder), true).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_revoked_ends_its_connections_and_streams() -> Result<()> {
    let scene = Scene::new(json!({}), |_, _| Ok(())).await?;
    scene.follow()?;
    let address = scene.router.running().callers;
    let (revoked, other) =
        (scene.authority.issue(agent(7)?)?, scene.authority.issue(client(8, "spiffe://corp.example/agents/b")?)?);
    let mut connections = [scene.connect(Some(&revoked), false).await?, scene.connect(Some(&revoked), true).await?];
    let mut stays = scene.connect(Some(&other), true).await?;
    for connection in &mut connections {
        ensure!(scene.call(connection, None).await?.status == StatusCode::OK);
    }
    ensure!(scene.call(&mut stays, None).await?.status == StatusCode::OK);
    let mut streams = [listen(&mut connections[1], &scene).await?, listen(&mut stays, &scene).await?];
    scene.write("crl.pem", &scene.authority.revoked(&[7], 2090)?)?;
    until("the stream has ended", async || {
        Ok(tokio::time::timeout(PATIENCE, streams[0].frame()).await?.is_none_or(|frame| frame.is_err()).then_some(()))
    })
    .await?;
    for connection in &mut connections {
        until("the connection has ended", async || {
            Ok(connection
                .get(address, "/v1/tools", &[])
                .await
                .map_or(true, |answer| answer.status == 401)
                .then_some(()))
        })
        .await?;
    }
    ensure!(scene.connect(Some(&revoked), true).await.is_err());
    // Nobody else notices.
    ensure!(scene.call(&mut stays, None).await?.status == StatusCode::OK);
    ensure!(scene.calls() == 4, "{}", scene.calls());
    drop(streams);
    scene.connect(Some(&other), true).await?;
    Ok(())
}

/// The stream of a session, begun on this connection.
async fn listen(caller: &mut Caller, scene: &Scene) -> Result<hyper::body::Incoming> {
    let address = scene.router.running().callers;
    let params =
        json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params }).to_string();
    let request = caller.request("POST", address, "/mcp").header("content-type", "application/json");
    let request = request.header("accept", "application/json, text/event-stream").body(Full::new(body.into()))?;
    let answer = tests::harness::read(caller.send(request).await?).await?;
    let id = answer.headers.get("mcp-session-id").with_context(|| format!("no session: {answer:?}"))?;
    let request =
        caller.request("GET", address, "/mcp").header("accept", "text/event-stream").header("mcp-session-id", id);
    let response = caller.send(request.body(Full::default())?).await?;
    ensure!(response.status() == StatusCode::OK, "{response:?}");
    let mut body = response.into_body();
    body.frame().await.context("no beginning")??;
    Ok(body)
}

#[tokio::test(flavor = "multi_thread")]
async fn other_authorities_count_without_a_restart() -> Result<()> {
    let scene = Scene::new(json!({ "crl": [] }), |_, _| Ok(())).await?;
    scene.follow()?;
    let next = Authority::new("next")?;
    let (old, new) = (scene.authority.issue(agent(1)?)?, next.issue(agent(1)?)?);
    let mut connection = scene.connect(Some(&old), true).await?;
    ensure!(scene.connect(Some(&new), true).await.is_err());
    // Half a file changes nothing.
    scene.write("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA")?;
    ensure!(
        scene
            .router
            .change(&scene.config.to_string())
            .await
            .is_err_and(|refused| refused.to_string().contains("identity.mtls.ca"))
    );
    scene.connect(Some(&old), true).await?;
    scene.write("ca.pem", &next.pem)?;
    until("the new authority counts", async || Ok(scene.connect(Some(&new), true).await.ok().map(drop))).await?;
    ensure!(scene.connect(Some(&old), true).await.is_err());
    until("the connection of before has ended", async || {
        Ok(scene.call(&mut connection, None).await.map_or(true, |answer| answer.status == 401).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_list_that_has_expired_or_is_of_nobody_lets_nobody_in() -> Result<()> {
    let scene = Scene::new(json!({}), |_, _| Ok(())).await?;
    let holder = scene.authority.issue(agent(1)?)?;
    let mut connection = scene.connect(Some(&holder), true).await?;
    for list in [scene.authority.revoked(&[], 2021)?, Authority::new("callers")?.revoked(&[], 2090)?] {
        scene.write("crl.pem", &list)?;
        scene.router.change(&scene.config.to_string()).await?;
        ensure!(scene.connect(Some(&holder), true).await.is_err());
        ensure!(scene.call(&mut connection, None).await.map_or(true, |answer| answer.status == 401));
    }
    scene.write("crl.pem", &scene.authority.revoked(&[], 2090)?)?;
    scene.router.change(&scene.config.to_string()).await?;
    scene.connect(Some(&holder), true).await?;
    for (list, what) in [("", "no revocation list"), (scene.authority.pem.as_str(), "no revocation list")] {
        scene.write("crl.pem", list)?;
        let refused = scene.router.change(&scene.config.to_string()).await;
        ensure!(refused.is_err_and(|refused| refused.to_string().contains(what)));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_rule_makes_another_caller_of_a_connection_that_is_open() -> Result<()> {
    let scene = Scene::new(json!({}), |_, _| Ok(())).await?;
    let holder = scene.authority.issue(agent(1)?)?;
    let mut connection = scene.connect(Some(&holder), true).await?;
    ensure!(scene.call(&mut connection, None).await?.status == StatusCode::OK);
    let mut config = scene.config.clone();
    config["identity"]["mtls"]["callers"][0]["roles"] = json!([]);
    scene.router.change(&config.to_string()).await?;
    ensure!(scene.call(&mut connection, None).await?.error_code() == Some(-32602), "it has no role any more");
    config["identity"]["mtls"]["callers"][0]["uri"] = json!("spiffe://elsewhere.example/*");
    scene.router.change(&config.to_string()).await?;
    ensure!(
        scene.call(&mut connection, None).await.map_or(true, |answer| answer.status == 401),
        "it is nobody any more"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_session_is_resumed_where_certificates_count() -> Result<()> {
    let scene = Scene::new(json!({}), |_, _| Ok(())).await?;
    let holder = scene.authority.issue(agent(1)?)?;
    let plain = tests::secure_router(open_house(&[])).await?;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let own = handshakes(&scene.router, &scene.own, Some(&holder), version).await?;
        ensure!(own == [HandshakeKind::Full, HandshakeKind::Full], "{version:?}: {own:?}");
        let resumed = handshakes(&plain.0, &plain.1, None, version).await?;
        ensure!(resumed == [HandshakeKind::Full, HandshakeKind::Resumed], "the test would not see it: {resumed:?}");
    }
    Ok(())
}

/// How the first and the second handshake of a client went that resumes what it can.
async fn handshakes(
    router: &TestRouter,
    trusted: &CertificateDer<'static>,
    holder: Option<&Holder>,
    version: &'static rustls::SupportedProtocolVersion,
) -> Result<Vec<HandshakeKind>> {
    let config = Arc::new(authority::client_config_of(trusted, holder, &[version])?);
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let stream = TcpStream::connect(router.running().callers).await?;
        let mut stream = TlsConnector::from(config.clone()).connect(ServerName::try_from("localhost")?, stream).await?;
        let host = router.running().callers.port();
        let request = format!("GET /nothing HTTP/1.1\r\nhost: localhost:{host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let _ended = stream.read_to_end(&mut answer).await;
        ensure!(answer.starts_with(b"HTTP/1.1 404"), "{answer:?}");
        kinds.push(stream.get_ref().1.handshake_kind().context("no handshake")?);
    }
    Ok(kinds)
}
