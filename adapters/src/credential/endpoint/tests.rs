use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use config::{Sources, downstream::Credential};
use rcgen::{KeyPair, PKCS_ED25519};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{Refresh, encoded};
use crate::{
    Caller, Deadline, Principal,
    credential::{Credentials, NoCredential, Setting, Whose},
};

/// A token endpoint that gives these answers in turn, the last one for good, and keeps what it was asked.
struct Endpoint {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Endpoint {
    async fn giving(answers: &[(u16, Value)]) -> Self {
        let answers: Vec<String> = answers
            .iter()
            .map(|(status, body)| {
                let body = body.to_string();
                let location = "Location: http://127.0.0.1:1/elsewhere\r\nRetry-After: 7\r\n";
                format!(
                    "HTTP/1.1 {status} x\r\n{location}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                )
            })
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/oauth/token", listener.local_addr().expect("its address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut turns = answers.iter().chain(std::iter::repeat(answers.last().expect("an answer")));
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = String::new();
                let mut piece = [0; 4096];
                while !is_whole(&request) {
                    let count = stream.read(&mut piece).await.expect("a request");
                    request.push_str(&String::from_utf8_lossy(&piece[..count]));
                }
                kept.lock().expect("free").push(request);
                let _ = stream.write_all(turns.next().expect("for ever").as_bytes()).await;
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("free").clone()
    }

    fn credentials(&self, kind: &str, mut settings: Value, folder: &Path) -> Credentials {
        settings["client"]["token_url"] = json!(self.url);
        settings["client"]["client_id"] = json!("weir client");
        let credential: Credential = serde_json::from_value(json!({ kind: settings })).expect("a credential");
        let sources = Sources::at(folder);
        let setting =
            Setting { section: "downstreams.x.mainframe", downstream: "x", sources: &sources, meter: |_, _, _| {} };
        Credentials::new(Some(&credential), setting).unwrap_or_else(|error| panic!("{error}"))
    }
}

fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0_usize)
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    for (name, text) in [
        ("secret", "s3cret &+ü"),
        ("refresh", &format!("first-{}", uuid::Uuid::new_v4())),
        ("key", &key.serialize_pem()),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    }
    folder
}

fn token(token: &str, expires_in: u64) -> (u16, Value) {
    (200, json!({ "access_token": token, "token_type": "bearer", "expires_in": expires_in, "id_token": "x" }))
}

async fn shown(credentials: &Credentials, whose: Whose<'_>) -> Result<String, NoCredential> {
    let given = credentials.show(whose, Deadline::after(Duration::from_secs(5))).await?.expect("something is shown");
    let mut headers = http::HeaderMap::new();
    given.shown.add_to(&mut headers);
    Ok(headers["authorization"].to_str().expect("ASCII").to_owned())
}

fn caller(subject: &str, token: Option<&str>) -> Caller {
    let principal = Principal { issuer: "https://idp".into(), subject: subject.into(), tenant: None };
    Caller { principal, token: token.map(|token| Arc::new(token.into())), ..Caller::local(&[]) }
}

#[tokio::test]
async fn weir_shows_who_it_is_by_a_secret() {
    let (folder, endpoint) = (folder(), Endpoint::giving(&[token("t1", 600)]).await);
    let settings = json!({ "client": { "client_secret": { "file": "secret" } }, "scopes": ["a", "b"],
        "resource": "https://crm.example", "audience": "crm" });
    let credentials = endpoint.credentials("client_credentials", settings, folder.path());
    for _ in 0..3 {
        assert_eq!(shown(&credentials, Whose::Weir).await.expect("a token"), "Bearer t1");
        assert_eq!(shown(&credentials, Whose::Caller(&caller("a", Some("own")))).await.expect("a token"), "Bearer t1");
    }
    let [asked] = &endpoint.asked()[..] else { panic!("asked once") };
    assert!(asked.starts_with("POST /oauth/token HTTP/1.1\r\n"), "{asked}");
    // `weir+client:s3cret+%26%2B%C3%BC`, each part encoded as in a form first.
    assert!(asked.contains("authorization: Basic d2VpcitjbGllbnQ6czNjcmV0KyUyNiUyQiVDMyVCQw==\r\n"), "{asked}");
    let form = "grant_type=client_credentials&scope=a+b&resource=https%3A%2F%2Fcrm.example&audience=crm";
    assert!(asked.ends_with(&format!("\r\n\r\n{form}")), "{asked}");
}

#[tokio::test]
async fn weir_shows_who_it_is_by_a_key() {
    let (folder, endpoint) = (folder(), Endpoint::giving(&[token("t1", 600)]).await);
    let settings = json!({ "client": { "client_key": { "file": "key" } } });
    let credentials = endpoint.credentials("client_credentials", settings, folder.path());
    assert_eq!(shown(&credentials, Whose::Weir).await.expect("a token"), "Bearer t1");
    let [asked] = &endpoint.asked()[..] else { panic!("asked once") };
    assert!(!asked.contains("authorization:"), "{asked}");
    let (_, assertion) = asked.split_once("client_assertion=").expect("an assertion");
    let claims = assertion.split('.').nth(1).expect("its claims");
    let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).expect("Base64")).expect("JSON");
    assert_eq!(
        (&claims["iss"], &claims["sub"], &claims["aud"]),
        (&json!("weir client"), &json!("weir client"), &json!(endpoint.url))
    );
    assert_eq!(claims["exp"].as_i64().expect("a time") - claims["iat"].as_i64().expect("a time"), 60);
    assert!(asked.contains("client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"));
}

#[tokio::test]
async fn a_refresh_token_gives_way_to_the_one_that_comes_in_its_place_also_after_a_change_of_the_config() {
    let rotated = json!({ "access_token": "t1", "token_type": "Bearer", "expires_in": 0, "refresh_token": "second" });
    let (folder, endpoint) = (folder(), Endpoint::giving(&[(200, rotated), token("t2", 600)]).await);
    let settings = json!({ "client": { "client_secret": { "file": "secret" } }, "token": { "file": "refresh" } });
    let credentials = endpoint.credentials("refresh_token", settings.clone(), folder.path());
    assert_eq!(shown(&credentials, Whose::Weir).await.expect("a token"), "Bearer t1");
    drop(credentials);
    let credentials = endpoint.credentials("refresh_token", settings, folder.path());
    assert_eq!(shown(&credentials, Whose::Weir).await.expect("a token"), "Bearer t2");
    let [first, second] = &endpoint.asked()[..] else { panic!("asked twice") };
    assert!(first.contains("grant_type=refresh_token&refresh_token=first-"), "{first}");
    assert!(second.ends_with("grant_type=refresh_token&refresh_token=second"), "{second}");
}

#[tokio::test]
async fn each_caller_has_its_token_exchanged_and_nobody_another_ones() {
    let answers = [token("for-alice", 600), token("for-bob", 600), token("for-alice-again", 600), token("weir", 600)];
    let (folder, endpoint) = (folder(), Endpoint::giving(&answers).await);
    let client = json!({ "token_url": endpoint.url, "client_id": "c", "client_secret": { "file": "secret" } });
    let settings = json!({ "client": { "client_secret": { "file": "secret" } }, "audience": "crm",
        "catalog": { "client_credentials": { "client": client } } });
    let credentials = endpoint.credentials("token_exchange", settings, folder.path());
    let (alice, bob) = (caller("alice", Some("own-alice")), caller("bob", Some("own-bob")));
    for _ in 0..2 {
        assert_eq!(shown(&credentials, Whose::Caller(&alice)).await.expect("a token"), "Bearer for-alice");
        assert_eq!(shown(&credentials, Whose::Caller(&bob)).await.expect("a token"), "Bearer for-bob");
    }
    let other = caller("alice", Some("own-alice-with-fewer-rights"));
    assert_eq!(shown(&credentials, Whose::Caller(&other)).await.expect("a token"), "Bearer for-alice-again");
    assert_eq!(shown(&credentials, Whose::Weir).await.expect("a token"), "Bearer weir");
    let asked = endpoint.asked();
    assert_eq!(asked.len(), 4);
    assert!(
        asked[0].ends_with(
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=own-alice\
         &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
         &requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&audience=crm"
        ),
        "{}",
        asked[0]
    );
    assert!(!asked[3].contains("own-"), "what is asked for Weir has no caller's token in it");
}

#[tokio::test]
async fn a_caller_without_a_token_or_with_one_that_ended_gets_an_error_and_nothing_is_asked() {
    let (folder, endpoint) = (folder(), Endpoint::giving(&[token("t1", 600)]).await);
    let client = json!({ "client": { "client_secret": { "file": "secret" } } });
    let mut with_catalog = client.clone();
    with_catalog["catalog"] = json!({ "bearer": { "file": "secret" } });
    with_catalog["catalog"]["bearer"] = json!({ "file": "refresh" });
    for settings in [client, with_catalog] {
        let credentials = endpoint.credentials("token_exchange", settings, folder.path());
        let without = shown(&credentials, Whose::Caller(&caller("alice", None))).await.expect_err("no token");
        assert!(without.refused && without.told.contains("your own access token"), "{without}");
        let ended = Caller { expires: Some(jiff::Timestamp::UNIX_EPOCH), ..caller("alice", Some("own-alice")) };
        let ended = shown(&credentials, Whose::Caller(&ended)).await.expect_err("it ended");
        assert!(ended.refused && ended.told.contains("expired"), "{ended}");
    }
    assert_eq!(endpoint.asked().len(), 0);
}

#[tokio::test]
async fn what_the_endpoint_says_wrong_is_told_without_its_words() {
    let secret = "s3cret-of-the-server";
    let rows = [
        (
            (400, json!({ "error": "invalid_client", "error_description": secret })),
            true,
            "HTTP 400 and `invalid_client`",
        ),
        ((400, json!({ "error": secret })), true, "HTTP 400"),
        ((401, json!(secret)), true, "HTTP 401"),
        ((307, json!({})), false, "Weir follows no redirect"),
        ((429, json!({ "error": secret })), false, "HTTP 429"),
        ((503, json!(secret)), false, "HTTP 503"),
        ((200, json!({ "access_token": secret })), false, "something other than a token"),
        ((200, json!({ "access_token": [secret], "token_type": "bearer" })), false, "something other than a token"),
        ((200, json!({ "access_token": secret, "token_type": "N_A" })), false, "a type other than `Bearer`"),
        ((200, json!({ "access_token": format!("{secret}\r\nX: y"), "token_type": "bearer" })), false, "no header"),
        ((200, json!({ "access_token": "", "token_type": "bearer" })), false, "no header"),
        ((200, json!({ "access_token": secret, "token_type": "bearer", "pad": "x".repeat(70_000) })), false, "larger"),
    ];
    let folder = folder();
    for (answer, refused, detail) in rows {
        let endpoint = Endpoint::giving(std::slice::from_ref(&answer)).await;
        let settings = json!({ "client": { "client_secret": { "file": "secret" } } });
        let credentials = endpoint.credentials("client_credentials", settings, folder.path());
        let failure = shown(&credentials, Whose::Weir).await.expect_err(detail);
        let said = format!("{failure:?} {failure}");
        assert!(failure.refused == refused && said.contains(detail), "{answer:?}: {said}");
        assert!(!said.contains("s3cret"), "{said}");
        assert!(failure.retry_after.is_some(), "{said}");
    }
}

#[test]
fn nothing_secret_is_printed() {
    let refresh = Refresh::new("s3cret".to_owned().into(), "https://x", "c");
    refresh.replace("s3cret-too".to_owned().into());
    let credentials = Credentials::default();
    assert_eq!(format!("{credentials:?}"), "Credentials(None)");
    assert_eq!(encoded("a b&=ü*"), "a+b%26%3D%C3%BC*");
}
