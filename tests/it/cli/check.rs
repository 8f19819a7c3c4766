//! `weir check`.

use standins::{
    mcp::{McpOptions, McpServer, Tools},
    postgres::{PgOptions, PrivatePg},
};

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
