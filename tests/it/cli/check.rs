//! `weir check`.

use std::{net::SocketAddr, sync::Arc};

use rustls::pki_types::PrivateKeyDer;
use standins::{
    mcp::{McpOptions, McpServer, Tools},
    postgres::{PgOptions, PrivatePg},
    redis::{PrivateRedis, RedisOptions},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{
    Folder,
    binary::{command, finish, run},
};

#[tokio::test]
async fn all_mistakes_are_told_at_once_with_their_lines() {
    let folder = Folder::with_config(
        "server:\n  lissten: 127.0.0.1:8080\n  grace: 5\npolicy:\n  roles:\n    a:\n      alow: []\n",
    );
    let told = run(&["check", "--config", &folder.config()]).await.with_code(3);
    for part in ["weir.yaml:2:", "weir.yaml:3:", "weir.yaml:7:", "`listen`", "`5s`", "`allow`", "3 problems"] {
        assert!(told.stdout.contains(part), "{part}: {told:#?}");
    }
    let json = run(&["check", "--config", &folder.config(), "--json"]).await.with_code(3).json();
    let lines: Vec<_> =
        json["problems"].as_array().expect("a list").iter().map(|problem| problem["line"].as_u64()).collect();
    assert_eq!(lines, [Some(2), Some(3), Some(7)]);
    let served = run(&["serve", "--config", &folder.config()]).await.with_code(3);
    assert!(served.stderr.contains("3 problems"), "{served:#?}");
    let missing = run(&["check", "--config", &folder.path("none.yaml")]).await.with_code(3);
    assert!(missing.stdout.contains("weir init"), "{missing:#?}");
}

#[tokio::test]
async fn connect_tells_of_each_downstream_what_it_offers_or_why_it_cannot_be_used() {
    let server = McpServer::new(McpOptions { tools: Tools::Awkward, ..McpOptions::default() });
    let enrich = server.websocket("127.0.0.1:0").await.expect("a server");
    let with = |more: &str| {
        let config = format!(
            "policy: {{ roles: {{ all: {{ allow: ['*'] }} }} }}\ndownstreams:\n  enrich: {{ mcp: {{ websocket: {{ url: \"{}\" }} }} }}\n{more}",
            enrich.url
        );
        Folder::with_config(&config)
    };
    let folder = with("");
    let told = run(&["check", "--config", &folder.config(), "--connect"]).await.with_code(0);
    for part in ["enrich: reached", "stands for `dots.in.name`", "stands for `ünïcode`"] {
        assert!(told.stdout.contains(part), "{part}: {told:#?}");
    }
    // Nothing listens on port 1.
    let folder = with("  gone: { mcp: { websocket: { url: \"ws://127.0.0.1:1/mcp\" } } }\n");
    let told = run(&["check", "--config", &folder.config(), "--connect", "--json"]).await.with_code(4).json();
    let (reached, gone) = (&told["downstreams"][0], &told["downstreams"][1]);
    assert_eq!((&reached["reached"], &gone["reached"]), (&true.into(), &false.into()), "{told:#}");
    assert!(gone["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{told:#}");
    let tools = reached["tools"].as_array().expect("a list");
    assert!(tools.iter().any(|tool| tool["name"] == "enrich__get_merchant" && tool["alias"] == false), "{told:#}");
    enrich.stop().await;
}

#[tokio::test]
async fn connect_tells_that_a_database_cannot_be_used_although_the_config_names_its_tools() {
    let server = PrivatePg::start(PgOptions { tcp: true, ..PgOptions::default() }).await.expect("a database");
    let folder = Folder::with_config(
        "policy: { roles: { all: { allow: ['*'] } } }\n\
         downstreams: { db: { postgres: { url: { env: DB_URL } }, tools: { one: { effect: read, sql: SELECT 1 AS one } } } }\n",
    );
    let config = folder.config();
    let check = async |url: &str| {
        finish(command(&["check", "--config", &config, "--connect", "--json"]).env("DB_URL", url)).await
    };
    let right = server.url();
    let told = check(right).await.with_code(0).json();
    assert_eq!(
        (&told["downstreams"][0]["reached"], &told["downstreams"][0]["tools"][0]["name"]),
        (&true.into(), &"db__one".into())
    );

    let address = server.tcp_addr().expect("it listens").to_string();
    let closed = right.replace(&address, "127.0.0.1:1");
    let password = right.split([':', '@']).nth(2).expect("postgres://user:password@…");
    let wrong = right.replace(password, "wrong");
    for (url, reason) in [(closed, "refused"), (wrong, "credentials")] {
        let told = check(&url).await.with_code(4).json();
        let db = &told["downstreams"][0];
        assert_eq!(db["reached"], false, "{told:#}");
        assert!(db["reason"].as_str().is_some_and(|told| told.contains(reason)), "{reason}: {told:#}");
    }
    server.stop().await.expect("it stops");
}

#[tokio::test]
async fn connect_tells_whether_redis_can_be_used_also_over_tls() {
    let server =
        PrivateRedis::start(RedisOptions { password: true, ..RedisOptions::default() }).await.expect("a Redis");
    let folder = Folder::with_config(
        "policy: { roles: { all: { allow: ['*'] } } }\n\
         secrets: { master: { env: MASTER } }\n\
         redis: { url: { env: REDIS_URL } }\n",
    );
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let certificate = folder.path("certificate.pem");
    std::fs::write(&certificate, made.cert.pem()).expect("it is written");
    let secured = in_front_of(server.addr(), &made).await;
    let config = folder.config();
    let check = async |url: &str, trusted: &str| {
        let mut command = command(&["check", "--config", &config, "--connect", "--json"]);
        command.env("REDIS_URL", url).env("MASTER", "Zq3vN8xLr2Wk7TjUy5BdHfGm1PsCa9Ee").env("SSL_CERT_FILE", trusted);
        finish(&mut command).await
    };
    let right = server.url();
    let over_tls = right.replace("redis://", "rediss://").replace(&server.addr().to_string(), &secured);
    let system = "/etc/ssl/certs/ca-certificates.crt";
    for (url, trusted) in [(&right, system), (&over_tls, certificate.as_str())] {
        let told = check(url, trusted).await.with_code(0).json();
        assert_eq!(told["redis"]["reached"], true, "{told:#}");
    }
    let password = right.split([':', '@']).nth(2).expect("redis://:password@…");
    let wrong = right.replace(password, "wrong");
    let closed = right.replace(&server.addr().to_string(), "127.0.0.1:1");
    for (url, reason) in [(&wrong, "password"), (&closed, "refused"), (&over_tls, "certificate")] {
        let outcome = check(url, system).await.with_code(4);
        assert!(!format!("{outcome:?}").contains(password), "{outcome:?}");
        let told = outcome.json();
        assert_eq!(told["redis"]["reached"], false, "{told:#}");
        assert!(told["redis"]["reason"].as_str().is_some_and(|told| told.contains(reason)), "{reason}: {told:#}");
    }
}

/// Ends TLS in front of a server, at this address.
async fn in_front_of(server: SocketAddr, made: &rcgen::CertifiedKey<rcgen::KeyPair>) -> String {
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let settings = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let settings = settings.expect("TLS").with_no_client_auth();
    let settings = settings.with_single_cert(vec![made.cert.der().clone()], key).expect("they fit");
    let acceptor = TlsAcceptor::from(Arc::new(settings));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("localhost:{}", listener.local_addr().expect("an address").port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let (Ok(mut caller), Ok(mut server)) =
                    (acceptor.accept(stream).await, TcpStream::connect(server).await)
                else {
                    return;
                };
                let _ = tokio::io::copy_bidirectional(&mut caller, &mut server).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn mistakes_in_a_copybook_are_told_with_its_line_and_that_of_the_config() {
    let folder = Folder::with_config(
        "downstreams:\n  old:\n    mainframe: { base_url: \"http://127.0.0.1:1\" }\n    tools:\n      inline:\n        description: d\n        effect: read\n        request: { path: /a }\n        answer:\n          fixed_width:\n            copybook: |\n              01 R.\n                05 A PIC 9(4.\n      \
         file:\n        description: d\n        effect: read\n        request: { path: /a }\n        answer: { fixed_width: { copybook_file: none.cpy } }\n",
    );
    let told = run(&["check", "--config", &folder.config()]).await.with_code(3);
    for part in [
        "weir.yaml:12:15: `downstreams.old.tools.inline.answer.fixed_width.copybook`: line 2 of the copybook: ",
        "weir.yaml:18:49: `downstreams.old.tools.file.answer.fixed_width.copybook_file`: none.cpy: ",
        "2 problems",
    ] {
        assert!(told.stdout.contains(part), "{part}: {told:#?}");
    }
}
