//! `weir tools` and `weir call`, with a router inside the command.

use std::process::Stdio;

use serde_json::Value;
use standins::mcp::{McpOptions, McpServer, Running, Tools};
use tokio::io::AsyncWriteExt as _;

use super::{
    Folder,
    binary::{command, run},
};

async fn enrichment(tools: Tools) -> (Running, Folder) {
    let server = McpServer::new(McpOptions { tools, ..McpOptions::default() });
    let running = server.websocket("127.0.0.1:0").await.expect("a server");
    let config = format!(
        "downstreams:\n  enrich:\n    mcp: {{ websocket: {{ url: \"{}\" }} }}\n    effects: [{{ match: 'get_*', effect: read }}]\n\
         policy: {{ roles: {{ reader: {{ allow: ['enrich__get_*'] }}, all: {{ allow: ['*'] }} }} }}\n\
         identity: {{ local: {{ roles: [reader] }} }}\n",
        running.url
    );
    (running, Folder::with_config(&config))
}

#[tokio::test]
async fn tools_shows_what_a_caller_with_these_roles_sees() {
    let (server, folder) = enrichment(Tools::Awkward).await;
    let text = run(&["tools", "--config", &folder.config()]).await.with_code(0);
    assert!(text.stdout.contains("enrich__get_merchant") && !text.stdout.contains("fraud"), "{text:#?}");

    let json = run(&["tools", "--config", &folder.config(), "--role", "all", "--json"]).await.with_code(0).json();
    let tools = json.as_array().expect("a list");
    let find = |local: &str| {
        tools.iter().find(|tool| tool["local_name"] == local).unwrap_or_else(|| panic!("no {local}: {json:#}"))
    };
    assert_eq!((&find("get_merchant")["effect"], &find("get_merchant")["alias"]), (&"read".into(), &false.into()));
    assert_eq!(find("log_transaction_enrichment")["effect"], "write");
    assert_eq!(find("dots.in.name")["alias"], true);
    let shown = run(&["tools", "--config", &folder.config(), "--role", "all"]).await.with_code(0).stdout;
    assert!(shown.contains("(stands for `dots.in.name` of enrich)"), "{shown}");

    let unknown = run(&["tools", "--config", &folder.config(), "--role", "al"]).await.with_code(1);
    assert!(unknown.stderr.contains("no role `al`") && unknown.stderr.contains("reader, all"), "{unknown:#?}");
    server.stop().await;
}

#[tokio::test]
async fn a_call_leaves_its_audit_record_also_when_it_is_refused() {
    let (server, folder) = enrichment(Tools::Enrichment).await;
    let config = folder.config();
    let text = std::fs::read_to_string(&config).expect("the config") + "audit: { dir: audit }\n";
    std::fs::write(&config, text).expect("a file");
    run(&["call", "--config", &config, "enrich__get_merchant", "merchant_id=M-0042"]).await.with_code(0);
    run(&["call", "--config", &config, "enrich__log_transaction_enrichment"]).await.with_code(1);
    let records = tests::log::calls(folder.path("audit").as_ref()).expect("the records");
    let outcomes: Vec<_> = records.iter().map(|record| record["outcome"].clone()).collect();
    assert_eq!(outcomes, ["ok", "denied"], "{records:?}");
    server.stop().await;
}

#[tokio::test]
async fn call_takes_pairs_json_or_standard_input_and_tells_by_its_exit_code() {
    let (server, folder) = enrichment(Tools::Awkward).await;
    let config = folder.config();
    let call = |words: &[&str]| {
        let words: Vec<String> =
            ["call", "--config", &config].iter().chain(words).map(|&word| word.to_owned()).collect();
        async move { run(&words.iter().map(String::as_str).collect::<Vec<_>>()).await }
    };
    let pairs = call(&["enrich__get_merchant", "merchant_id=M-0042"]).await.with_code(0);
    let object = call(&["enrich__get_merchant", r#"{"merchant_id": "M-0042"}"#]).await.with_code(0);
    assert!(pairs.stdout.contains("M-0042"), "{pairs:#?}");
    assert_eq!(pairs.stdout, object.stdout);

    let mut child = command(&["call", "--config", &config, "enrich__get_merchant", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("weir starts");
    child.stdin.take().expect("it is piped").write_all(br#"{"merchant_id":"M-0042"}"#).await.expect("it reads");
    let output = child.wait_with_output().await.expect("weir ends");
    let whole: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        whole["structuredContent"]["merchant_id"].as_str().or(whole["structuredContent"]["id"].as_str()),
        Some("M-0042"),
        "{whole:#}"
    );

    let refused = call(&["enrich__fails", "--role", "reader"]).await.with_code(1);
    let unknown = call(&["enrich__no_such_tool", "--role", "reader"]).await.with_code(1);
    assert!(refused.stderr.contains("Unknown tool"), "{refused:#?}");
    assert_eq!(refused.stderr.replace("fails", ""), unknown.stderr.replace("no_such_tool", ""));
    let failed = call(&["enrich__fails", "--role", "all", "message=out of paper"]).await.with_code(1);
    assert!(failed.stderr.contains("out of paper") && failed.stdout.is_empty(), "{failed:#?}");
    server.stop().await;
}
