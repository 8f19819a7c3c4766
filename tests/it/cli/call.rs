//! What `weir call` sends.

use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
};

use super::{
    Folder,
    binary::{Finished, command, finish, run},
};

const TOOL: &str = r#"{ "name": "note", "inputSchema": { "type": "object" } }"#;

/// A server with one tool, and a config that lets everybody use it.
async fn server_with(tool: &'static str) -> (RawServer, Folder) {
    let server = RawServer::start(Era::ModernOnly, move |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => Some(vec![Action::result(message, &format!("{{\"tools\":[{tool}]}}"))]),
        Some("tools/call") => Some(vec![Action::result(
            message,
            r#"{"content":[{"type":"text","text":"noted"}],"resultType":"complete"}"#,
        )]),
        _ => None,
    });
    let server = server.await.expect("a server");
    let config = format!(
        "downstreams: {{ raw: {{ mcp: {{ websocket: {{ url: \"{}\" }} }} }} }}\n\
         policy: {{ roles: {{ all: {{ allow: ['*'] }} }} }}\nidentity: {{ local: {{ roles: [all] }} }}\n",
        server.url
    );
    (server, Folder::with_config(&config))
}

async fn call(folder: &Folder, arguments: &[&str]) -> Finished {
    let config = folder.config();
    run(&[&["call", "--config", &config, "raw__note"], arguments].concat()).await
}

/// The parameters of every call that arrived.
fn calls(server: &RawServer) -> Vec<String> {
    let is_call = |message: &Incoming| message.method.as_deref() == Some("tools/call");
    server.received().into_iter().filter(is_call).filter_map(|message| message.params).collect()
}

#[tokio::test]
async fn numbers_arrive_with_every_digit_that_was_written() {
    let (server, folder) = server_with(TOOL).await;
    let object = r#"{"a":1234567890.12345678901,"b" : 123456789012345678901234,"c":1.50}"#;
    call(&folder, &[object]).await.with_code(0);
    call(&folder, &["a=0.12345678901234567890", "b=1.0E+2"]).await.with_code(0);
    let calls = calls(&server);
    for (call, sent) in calls.iter().zip([object, r#"{"a":0.12345678901234567890,"b":1.0E+2}"#]) {
        assert!(call.contains(sent), "{call}");
    }
    assert_eq!(calls.len(), 2, "{calls:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_member_that_comes_twice_is_refused_not_merged() {
    let (server, folder) = server_with(TOOL).await;
    for arguments in [&[r#"{"a":1,"a":2}"#][..], &["a=1", "a=2"]] {
        let refused = call(&folder, arguments).await.with_code(1);
        assert!(refused.stderr.contains("twice"), "{refused:#?}");
    }
    assert_eq!(calls(&server), Vec::<String>::new());
    server.stop().await;
}

#[tokio::test]
async fn arguments_that_a_tool_wants_as_headers_too_are_sent_as_both() {
    let tool = r#"{ "name": "note", "inputSchema": { "type": "object", "properties": { "region": { "type": "string", "x-mcp-header": "Region" } } } }"#;
    let (server, folder) = server_with(tool).await;
    call(&folder, &["region=Zürich West"]).await.with_code(0);
    call(&folder, &[r#"{"region":"us-west1"}"#]).await.with_code(0);
    call(&folder, &[]).await.with_code(0);
    assert_eq!(calls(&server).len(), 3);
    server.stop().await;
}

#[tokio::test]
async fn a_key_goes_over_plain_http_to_this_machine_alone() {
    // Nothing listens on port 1.
    for (url, key, told) in [
        ("http://weir.example/mcp", "weir_key", "https"),
        ("http://LOCALHOST:1/mcp", "weir_key", "nobody answers"),
        ("http://127.0.0.1:1/mcp", "two words", "WEIR_API_KEY"),
        ("ftp://127.0.0.1/mcp", "weir_key", "http:"),
    ] {
        let mut call = command(&["call", "--url", url, "any"]);
        let refused = finish(call.env("WEIR_API_KEY", key)).await.with_code(1);
        assert!(refused.stderr.contains(told) && !refused.stderr.contains(key), "{url}: {refused:#?}");
    }
}
