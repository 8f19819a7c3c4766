//! `POST /hooks/cache`.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Method, StatusCode};
use serde_json::json;
use tests::{Answer, TestRouter};

use super::{Scene, WEBHOOK_SECRET};

/// A message as its sender signs it, and what is wrong with it.
struct Message<'a> {
    body: &'a str,
    secret: &'a str,
    age_seconds: i64,
    content_type: &'a str,
}

impl<'a> Message<'a> {
    fn of(body: &'a str) -> Self {
        Self { body, secret: WEBHOOK_SECRET, age_seconds: 0, content_type: "application/json" }
    }

    async fn send(&self, router: &TestRouter) -> Result<Answer> {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
        let at = (now - self.age_seconds).to_string();
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        let signature = hmac::sign(&key, format!("msg_1.{at}.{}", self.body).as_bytes());
        let signature = format!("v1,{}", STANDARD.encode(signature.as_ref()));
        let headers = [
            ("content-type", self.content_type),
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", &at),
            ("webhook-signature", &signature),
        ];
        router.send(Method::POST, "/hooks/cache", &headers, self.body.to_owned()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_message_ends_the_answers_about_its_tags_in_every_replica() -> Result<()> {
    let mut scene = Scene::start("").await?;
    for at in [0, 1] {
        scene.rename_unnoticed().await?;
        let answer =
            Message::of(r#"{"type":"customer.changed","tags":["customer:A"]}"#).send(&scene.routers[at]).await?;
        ensure!(answer.status == StatusCode::OK, "{}", answer.text);
        ensure!(answer.json()? == json!({ "raised": 2, "reached": "everywhere" }), "{}", answer.text);
        scene.noticed(&["crm__get", "crm__list"]).await?;
    }
    let metrics = scene.routers[0].admin("/metrics").await?.text;
    ensure!(metrics.contains(r#"weir_cache_tags_raised_total{by="webhook"}"#), "{metrics}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_not_right_is_refused_with_what_to_do_and_ends_nothing() -> Result<()> {
    let mut scene = Scene::start("").await?;
    scene.rename_unnoticed().await?;
    let (good, router) = (r#"{"tags":["customer:A"]}"#, &scene.routers[0]);
    let large = format!(r#"{{"tags":["customer:A"],"data":"{}"}}"#, "x".repeat(64 << 10));
    let many = json!({ "tags": vec!["c:1"; 1001] }).to_string();
    for (message, status, words) in [
        (Message { secret: "another secret", ..Message::of(good) }, StatusCode::FORBIDDEN, "No signature is right"),
        (Message { age_seconds: 301, ..Message::of(good) }, StatusCode::FORBIDDEN, "five minutes"),
        (Message { age_seconds: -305, ..Message::of(good) }, StatusCode::FORBIDDEN, "five minutes"),
        (Message { content_type: "text/plain", ..Message::of(good) }, StatusCode::UNSUPPORTED_MEDIA_TYPE, "JSON"),
        (Message::of(&large), StatusCode::PAYLOAD_TOO_LARGE, "64KiB"),
        (Message::of(&many), StatusCode::BAD_REQUEST, "1000"),
        (Message::of(r#"{"tag":"customer:A"}"#), StatusCode::BAD_REQUEST, "list of texts"),
        (Message::of(r#"{"tags":["customer:A","customer"]}"#), StatusCode::BAD_REQUEST, "family:rest"),
        (Message::of(r#"{"tags":["weir:all"]}"#), StatusCode::BAD_REQUEST, "Weir's own"),
    ] {
        let answer = message.send(router).await?;
        ensure!(answer.status == status && answer.text.contains(words), "{status} {words}: {}", answer.text);
        ensure!(answer.headers["content-type"] == "application/problem+json", "{}", answer.text);
    }
    let unsigned = router.send(Method::POST, "/hooks/cache", &[("content-type", "application/json")], good).await?;
    ensure!(unsigned.status == StatusCode::BAD_REQUEST && unsigned.text.contains("webhook-signature"));
    let got = router.send(Method::GET, "/hooks/cache", &[], "").await?;
    ensure!(got.status == StatusCode::METHOD_NOT_ALLOWED && got.headers["allow"] == "POST");
    let metrics = router.admin("/metrics").await?.text;
    for reason in ["webhook_signature", "webhook_time", "webhook_headers"] {
        ensure!(metrics.contains(&format!("weir_refused_total{{reason=\"{reason}\"}}")), "{metrics}");
    }
    // Whatever came, nobody has noticed a thing.
    let before = (scene.renamed - 1).to_string();
    ensure!(super::read(router, "crm__get").await? == (before, true));

    let without = TestRouter::ready(&tests::open_house(&[]).to_string()).await?;
    ensure!(Message::of(good).send(&without).await?.status == StatusCode::NOT_FOUND);
    Ok(())
}
