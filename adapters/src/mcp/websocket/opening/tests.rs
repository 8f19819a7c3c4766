use std::{sync::Arc, time::Duration};

use config::{
    SecretRef, Sources,
    downstream::{Credential, WebSocket},
};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::Endpoint;
use crate::{
    BuildError, Deadline, ErrorClass,
    address::Reach,
    credential::{Credentials, Setting, Whose},
    http::Origin,
    registry::Shown,
    tls::Trust,
};

const SECTION: &str = "downstreams.x.mcp.websocket";

fn settings(url: &str) -> WebSocket {
    serde_json::from_value(serde_json::json!({ "url": url })).expect("the defaults")
}

fn endpoint(url: &str) -> Result<Endpoint, BuildError> {
    let shown = Shown { credentials: Credentials::default(), trust: Trust::default(), section: SECTION };
    Endpoint::new(&settings(url), shown, &Sources::at("."))
}

#[test]
fn a_url_gives_host_port_and_path() {
    for (url, host, port, path) in [
        ("ws://localhost", "localhost", 80, "/"),
        ("ws://tools.example:9000/mcp?team=a", "tools.example", 9000, "/mcp?team=a"),
        ("ws://[::1]:9000/mcp", "[::1]", 9000, "/mcp"),
    ] {
        let endpoint = endpoint(url).expect(url);
        assert_eq!(
            (endpoint.origin.host.as_str(), endpoint.origin.port, endpoint.path.to_string().as_str()),
            (host, port, path)
        );
    }
}

#[test]
fn a_url_that_is_no_websocket_is_refused_by_its_setting() {
    for url in ["", "https://x/", "x", "ws://", "ws://user:secret@host/"] {
        let error = endpoint(url).err().expect(url).to_string();
        assert!(error.starts_with("downstreams.x.mcp.websocket.url: ") && !error.contains("secret"), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_token_is_sent_and_shown_by_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("weir-token-{}", uuid::Uuid::new_v4()));
    std::fs::write(&path, "s3cret-token\n").expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    let sources = Sources::at(".");
    let setting = Setting { section: SECTION, downstream: "x", sources: &sources, meter: |_, _, _| {} };
    let credential = Credential::Bearer(SecretRef::File(path.clone()));
    let credentials = Credentials::new(Some(&credential), setting).expect("usable");
    std::fs::remove_file(&path).expect("the file");
    let given = credentials.show(Whose::Weir, Deadline::after(Duration::from_secs(1))).await.expect("it is there");
    let request = endpoint("ws://h").expect("usable").request("a2V5", given.as_ref());
    assert_eq!(request.headers()["authorization"], "Bearer s3cret-token");
    assert!(!format!("{request:?}{given:?}{credentials:?}").contains("s3cret"), "the request shows its credential");

    let error = Credentials::new(Some(&credential), setting).expect_err("the file is gone").to_string();
    assert!(error.starts_with("downstreams.x.mcp.websocket.credential.bearer: "), "{error}");
}

#[tokio::test]
async fn a_server_is_spoken_to_only_behind_a_certificate_that_is_trusted_for_its_name() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let [issued, other] = [(); 2].map(|()| rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("one"));
    let key = issued.signing_key.serialize_der();
    tokio::spawn(serve(listener, vec![issued.cert.der().clone()], key));

    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, pem: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).expect("a file");
        path
    };
    let (trusting, strange) = (file("ca.pem", issued.cert.pem()), file("other.pem", other.cert.pem()));
    for (ca, name, told) in [
        (&trusting, "localhost", None),
        (&strange, "localhost", Some("the TLS handshake failed")),
        (&trusting, "127.0.0.1", Some("the TLS handshake failed")),
    ] {
        let mut endpoint = endpoint("ws://localhost").expect("a usable URL");
        let trust = Trust { ca: Some(ca.clone()), shown: None };
        let url = format!("wss://{name}:{port}/mcp");
        let reach = Reach::Written { private: None };
        endpoint.origin = Origin::parse(&url, ["ws", "wss"], &trust, reach).expect("a usable URL").0;
        let failure = endpoint.open(Whose::Weir).await.err();
        assert_eq!(failure.as_ref().map(|failure| &*failure.told), told, "{name}: {failure:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_heard_whether_or_not_the_server_keeps_the_connection() {
    let rows = [
        ("401 Unauthorized", ErrorClass::Unauthorized, "it does not accept Weir's credential (HTTP 401 Unauthorized)"),
        ("503 Service Unavailable", ErrorClass::Unreachable, "it answered the opening handshake with HTTP 503"),
    ];
    for (status, class, told) in rows {
        for connection in ["", "Connection: close\r\n"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let url = format!("ws://localhost:{}/mcp", listener.local_addr().expect("its address").port());
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n{connection}\r\nno");
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                stream.write_all(answer.as_bytes()).await.expect("the answer fits");
                // Held open until the other side closes it.
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
            let failure = endpoint(&url).expect("a usable URL").open(Whose::Weir).await.err().expect("refused");
            assert_eq!((failure.class, &*failure.told), (class, told), "{connection:?}");
        }
    }
}

/// Accepts one WebSocket after another behind TLS.
async fn serve(listener: TcpListener, chain: Vec<rustls::pki_types::CertificateDer<'static>>, key: Vec<u8>) {
    let key = PrivateKeyDer::try_from(key).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = config.with_no_client_auth().with_single_cert(chain, key).expect("a certificate and its key");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    while let Ok((stream, _)) = listener.accept().await {
        if let Ok(stream) = acceptor.accept(stream).await {
            // Names no subprotocol, which is taken to mean ours.
            drop(tokio_tungstenite::accept_async(stream).await);
        }
    }
}
