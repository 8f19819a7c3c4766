//! `weir stdio`: what the command adds to the bridge, which has tests of its own.

use std::process::Stdio;

use serde_json::{Value, json};
use standins::mcp::{McpOptions, McpServer};
use tokio::{io::AsyncWriteExt as _, process::Command};

use super::{
    Folder,
    binary::{Finished, Started, command, run},
};

/// Gives it these lines, waits for as many answers, and closes its input.
async fn speak(command: &mut Command, messages: &[Value]) -> (Vec<Value>, Finished) {
    let mut weir = Started::new(command.stdin(Stdio::piped()));
    let mut stdin = weir.stdin();
    let mut answers = Vec::new();
    for message in messages {
        stdin.write_all(format!("{message}\n").as_bytes()).await.expect("it reads");
        if message.get("id").is_some() {
            answers.push(serde_json::from_str(&weir.line().await).expect("JSON on stdout"));
        }
    }
    drop(stdin);
    (answers, weir.finish().await)
}

#[tokio::test]
async fn with_a_config_it_is_the_router_and_writes_nothing_but_protocol_to_stdout() {
    let server = McpServer::new(McpOptions::default());
    let enrich = server.websocket("127.0.0.1:0").await.expect("a server");
    let folder = Folder::with_config(&format!(
        "downstreams: {{ enrich: {{ mcp: {{ websocket: {{ url: \"{}\" }} }} }} }}\n\
         policy: {{ roles: {{ all: {{ allow: ['*'] }} }} }}\nidentity: {{ local: {{ roles: [all] }} }}\nlog: {{ level: debug }}\n",
        enrich.url
    ));
    let initialize = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } });
    let call = json!({ "name": "enrich__get_merchant", "arguments": { "merchant_id": "M-0042" } });
    let messages = [
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": initialize }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "id": "two", "method": "tools/call", "params": call }),
    ];
    let (answers, ended) = speak(&mut command(&["stdio", "--config", &folder.config()]), &messages).await;
    let ended = ended.with_code(0);
    assert_eq!((&answers[0]["id"], &answers[0]["result"]["serverInfo"]["name"]), (&json!(1), &json!("weir")));
    assert_eq!(answers[1]["id"], "two");
    assert!(
        answers[1]["result"]["content"][0]["text"].as_str().is_some_and(|text| text.contains("M-0042")),
        "{answers:#?}"
    );
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.contains("enrich__get_merchant"), "the call is in the log: {}", ended.stderr);
    enrich.stop().await;
}

#[tokio::test]
async fn what_stops_it_is_told_on_stderr_alone() {
    let folder = Folder::with_config("serv: {}\n");
    let mistakes = run(&["stdio", "--config", &folder.config()]).await.with_code(3);
    assert!(mistakes.stdout.is_empty() && mistakes.stderr.contains("weir.yaml:1:1"), "{mistakes:#?}");
    for (words, advice) in [
        (&["stdio"][..], "--url"),
        (&["stdio", "--url", "http://x/mcp", "--config", "weir.yaml"], "cannot be used with"),
    ] {
        let refused = run(words).await.with_code(2);
        assert!(refused.stdout.is_empty() && refused.stderr.contains(advice), "{refused:#?}");
    }
    for url in ["localhost:8080", "https://weir:hunter2@weir.example/mcp"] {
        let refused = run(&["stdio", "--url", url]).await.with_code(1);
        assert!(refused.stdout.is_empty() && refused.stderr.contains("the URL of the router"), "{refused:#?}");
        assert!(!refused.stderr.contains("hunter2"), "{refused:#?}");
    }
}
