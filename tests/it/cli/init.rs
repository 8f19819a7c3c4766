//! `weir init`.

use std::fs;

use serde_json::{Value, json};

use super::{
    Folder,
    binary::{command, finish, run, weir},
};

#[tokio::test]
async fn a_first_config_is_right_and_is_never_overwritten() {
    let folder = Folder::new();
    run(&["init", "--dir", &folder.path("")]).await.with_code(0);
    let checked = run(&["check", "--config", &folder.config()]).await.with_code(3);
    assert!(checked.stdout.contains("CRM_URL") && checked.stdout.contains("1 problem"), "{checked:#?}");
    let url = "postgres://crm:pass@127.0.0.1/crm";
    finish(command(&["check", "--config", &folder.config()]).env("CRM_URL", url)).await.with_code(0);

    fs::write(folder.config(), "server:\n  listen: 127.0.0.1:9123\n").expect("a file");
    let again = run(&["init", "--dir", &folder.path(""), "--claude-code"]).await.with_code(0);
    assert_eq!(fs::read_to_string(folder.config()).expect("the file"), "server:\n  listen: 127.0.0.1:9123\n");
    assert_eq!(again.stdout, "claude mcp add --transport http weir http://127.0.0.1:9123/mcp\n");
}

#[tokio::test]
async fn snippets_hold_the_real_paths_and_what_the_config_asks_for() {
    let folder = Folder::new();
    let desktop = run(&["init", "--dir", &folder.path(""), "--claude-desktop"]).await.with_code(0).json();
    let server = &desktop["mcpServers"]["weir"];
    let real = fs::canonicalize(folder.config()).expect("the file");
    assert_eq!(server["command"].as_str(), weir().to_str());
    assert_eq!(
        server["args"],
        Value::from(["stdio", "--config", real.to_str().expect("a plain name")].map(Value::from).to_vec())
    );
    assert!(server["env"]["CRM_URL"].is_string(), "{desktop}");

    let keyed = "server: { public_url: \"https://weir.example\" }\nidentity: { api_keys: { file: keys.yaml } }\n";
    fs::write(folder.config(), keyed).expect("a file");
    let code = run(&["init", "--dir", &folder.path(""), "--claude-code"]).await.with_code(0);
    assert_eq!(
        code.stdout,
        "claude mcp add --transport http weir https://weir.example/mcp --header \"Authorization: Bearer YOUR_KEY\"\n"
    );
    let api = run(&["init", "--dir", &folder.path(""), "--api"]).await.with_code(0).json();
    assert_eq!(api["mcp_servers"][0]["url"], "https://weir.example/mcp");
    assert_eq!(api["mcp_servers"][0]["authorization_token"], "YOUR_KEY");
    assert_eq!(api["tools"][0]["mcp_server_name"], "weir");
}

#[tokio::test]
async fn a_router_that_runs_needs_no_config() {
    let folder = Folder::new();
    let url = "https://weir.example/mcp";
    let at = |words: &[&str]| {
        let mut weir = command(words);
        weir.current_dir(folder.path(""));
        weir
    };
    let desktop = finish(&mut at(&["init", "--url", url, "--claude-desktop"])).await.with_code(0).json();
    let server = &desktop["mcpServers"]["weir"];
    assert_eq!(server["command"].as_str(), weir().to_str());
    assert_eq!(server["args"], json!(["stdio", "--url", url]));
    assert_eq!(server["env"], json!({ "WEIR_API_KEY": "YOUR_KEY" }));
    let code = finish(&mut at(&["init", "--url", url, "--claude-code"])).await.with_code(0).stdout;
    assert_eq!(
        code,
        format!("claude mcp add --transport http weir {url} --header \"Authorization: Bearer YOUR_KEY\"\n")
    );
    assert!(!fs::exists(folder.config()).expect("the folder"), "a config was written");

    for refused in ["weir.example", "ws://weir.example/mcp", "https://alice:secret@weir.example/mcp"] {
        let told = run(&["init", "--url", refused]).await.with_code(1).stderr;
        assert!(!told.contains("secret"), "{told}");
    }
    run(&["init", "--url", url, "--dir", &folder.path("")]).await.with_code(2);
}

#[tokio::test]
async fn desktop_starts_no_router_in_which_it_could_do_nothing() {
    let keyed =
        "server: { listen: 0.0.0.0:9123, behind_tls_proxy: true }\nidentity: { api_keys: { file: keys.yaml } }\n";
    let folder = Folder::with_config(keyed);
    let bridge = run(&["init", "--dir", &folder.path(""), "--claude-desktop"]).await.with_code(0).json();
    assert_eq!(bridge["mcpServers"]["weir"]["args"], json!(["stdio", "--url", "http://127.0.0.1:9123/mcp"]));
    assert_eq!(bridge["mcpServers"]["weir"]["env"], json!({ "WEIR_API_KEY": "YOUR_KEY" }));

    let with_local = "identity: { api_keys: { file: keys.yaml }, local: { roles: [a] } }\npolicy: { roles: { a: { allow: [\"*\"] } } }\n\
        downstreams: { git: { mcp: { stdio: { command: [git-mcp], pass_env: [PATH, GIT_HOME], secrets: { T: { env: GIT_TOKEN } } } } } }\n";
    fs::write(folder.config(), with_local).expect("a file");
    let own = run(&["init", "--dir", &folder.path(""), "--claude-desktop"]).await.with_code(0).json();
    assert_eq!(own["mcpServers"]["weir"]["args"][1], "--config");
    let needed = json!({ "GIT_TOKEN": "the value of GIT_TOKEN", "GIT_HOME": "the value of GIT_HOME" });
    assert_eq!(own["mcpServers"]["weir"]["env"], needed);
}

/// Where the docs say that things are.
const SHOWN_WEIR: &str = "/usr/local/bin/weir";
const SHOWN_CONFIG: &str = "/etc/weir/weir.yaml";
const SHOWN_URL: &str = "https://weir.example/mcp";

#[tokio::test]
async fn the_docs_show_what_is_printed() {
    let folder = Folder::new();
    let dir = folder.path("");
    let own = printed(&folder, &["--dir", &dir, "--claude-desktop"]).await;
    let bridge = printed(&folder, &["--url", SHOWN_URL, "--claude-desktop"]).await;
    let api = printed(&folder, &["--url", SHOWN_URL, "--api"]).await;
    let code = printed(&folder, &["--dir", &dir, "--claude-code"]).await;
    let code_with_key = printed(&folder, &["--url", SHOWN_URL, "--claude-code"]).await;
    let readme = include_str!("../../../README.md");
    let page = include_str!("../../../docs/claude.md");
    for (document, snippets) in [(readme, vec![&own]), (page, vec![&own, &bridge, &api])] {
        let shown: Vec<Value> = blocks(document, "json").filter_map(|text| serde_json::from_str(text).ok()).collect();
        for snippet in snippets {
            assert!(shown.contains(&serde_json::from_str(snippet).expect("JSON")), "not shown: {snippet}");
        }
    }
    for (document, line) in [(readme, &code), (page, &code), (page, &code_with_key)] {
        assert!(blocks(document, "sh").any(|text| text == line), "not shown: {line}");
    }
}

/// What `weir init` prints, with the places that the docs name.
async fn printed(folder: &Folder, words: &[&str]) -> String {
    let text = run(&[&["init"], words].concat()).await.with_code(0).stdout;
    let text = text.replace(weir().to_str().expect("a plain name"), SHOWN_WEIR);
    match fs::canonicalize(folder.config()) {
        Ok(real) => text.replace(real.to_str().expect("a plain name"), SHOWN_CONFIG),
        Err(_) => text,
    }
}

/// The blocks of code in this language.
fn blocks<'a>(document: &'a str, language: &str) -> impl Iterator<Item = &'a str> {
    let fence = format!("```{language}\n");
    let starts: Vec<usize> = document.match_indices(&fence).map(|(at, _)| at + fence.len()).collect();
    starts.into_iter().filter_map(|at| document[at..].split("```").next())
}
