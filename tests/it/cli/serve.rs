//! `weir serve`: start, end, and who may not start.

use std::net::TcpListener;

use serde_json::Value;

use super::{
    Folder,
    binary::{Started, command, run},
};

const CONFIG: &str =
    "server: { listen: '127.0.0.1:0', admin: '127.0.0.1:0', grace: GRACE, drain: 5s }\nlog: { format: json }\n";

fn folder(grace: &str) -> Folder {
    Folder::with_config(&CONFIG.replace("GRACE", grace))
}

#[tokio::test]
async fn it_tells_where_it_listens_and_ends_on_a_signal_with_0() {
    for signal in ["TERM", "INT"] {
        let folder = folder("0s");
        let mut weir = Started::new(&mut command(&["serve", "--config", &folder.config()]));
        let line: Value = serde_json::from_str(&weir.line_with("\"serving\"").await).expect("a JSON line");
        let endpoint = line["endpoint"].as_str().expect("where callers are served");
        let tools = run(&["tools", "--url", endpoint, "--json"]).await.with_code(0);
        assert_eq!(tools.json(), serde_json::json!([]));
        weir.signal(signal).await;
        let ended = weir.finish().await.with_code(0);
        assert!(ended.stdout.is_empty(), "{ended:#?}");
        assert!(ended.stderr.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{ended:#?}");
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_and_not_with_0() {
    let folder = folder("10m");
    let mut weir = Started::new(&mut command(&["serve", "--config", &folder.config()]));
    weir.line_with("\"serving\"").await;
    weir.signal("TERM").await;
    weir.line_with("second signal").await;
    weir.signal("TERM").await;
    weir.finish().await.with_code(143);
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let folder = Folder::with_config(&format!("server: {{ listen: '{address}', admin: '127.0.0.1:0' }}\n"));
    let refused = run(&["serve", "--config", &folder.config()]).await.with_code(1);
    assert!(refused.stderr.contains("server.listen") && refused.stderr.contains(&address), "{refused:#?}");
}
