use std::path::Path;

use config::{
    SecretRef,
    downstream::{Credential, WebSocket},
};

use super::Endpoint;
use crate::BuildError;

fn settings(url: &str, credential: Option<Credential>) -> WebSocket {
    let mut settings: WebSocket = serde_json::from_value(serde_json::json!({ "url": url })).expect("the defaults");
    settings.credential = credential;
    settings
}

fn endpoint(url: &str) -> Result<Endpoint, BuildError> {
    Endpoint::new(&settings(url, None), Path::new("."), "downstreams.x.mcp.websocket")
}

#[test]
fn a_url_gives_host_port_and_path() {
    for (url, host, port, path) in [
        ("ws://localhost", "localhost", 80, "/"),
        ("ws://tools.example:9000/mcp?team=a", "tools.example", 9000, "/mcp?team=a"),
        ("ws://[::1]:9000/mcp", "[::1]", 9000, "/mcp"),
    ] {
        let endpoint = endpoint(url).expect(url);
        assert_eq!((endpoint.host.as_str(), endpoint.port, endpoint.path.to_string().as_str()), (host, port, path));
    }
}

#[test]
fn a_url_that_is_no_websocket_is_refused_by_its_setting() {
    for url in ["", "https://x/", "x", "ws://", "ws://user:secret@host/"] {
        let error = endpoint(url).err().expect(url).to_string();
        assert!(error.starts_with("downstreams.x.mcp.websocket.url: ") && !error.contains("secret"), "{url}: {error}");
    }
}

#[test]
fn a_token_is_read_from_its_reference_and_shown_by_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("weir-token-{}", uuid::Uuid::new_v4()));
    std::fs::write(&path, "s3cret-token\n").expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    let credential = Some(Credential::Bearer(SecretRef::File(path.clone())));
    let endpoint = Endpoint::new(&settings("ws://h", credential), Path::new("."), "s").expect("usable");
    std::fs::remove_file(&path).expect("the file");
    let request = endpoint.request("a2V5");
    assert_eq!(request.headers()["authorization"], "Bearer s3cret-token");
    assert!(!format!("{request:?}").contains("s3cret"), "the request shows its credential");
}

#[test]
fn a_token_that_is_not_there_is_reported_with_its_setting() {
    let credential = Some(Credential::Bearer(SecretRef::File("no/such/file".into())));
    let error = Endpoint::new(&settings("ws://h", credential), Path::new("."), "downstreams.x.mcp.websocket").err();
    let error = error.expect("no such file").to_string();
    assert!(error.starts_with("downstreams.x.mcp.websocket.credential.bearer: "), "{error}");
}
