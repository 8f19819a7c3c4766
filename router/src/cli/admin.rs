//! The admin listener of a running router, from the command line.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use config::environment;
use http::{
    Request, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
};
use http_body_util::{BodyExt as _, Full, Limited};
use router::bridge::{self, BridgeError};
use serde_json::Value;
use tokio::time::timeout;

use super::connection::dial;

const DEFAULT_ADMIN: &str = "http://127.0.0.1:8081";
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 16 << 20;

#[derive(Debug, Args)]
pub(super) struct Admin {
    /// The admin listener of a running router, instead of WEIR_ADMIN or http://127.0.0.1:8081. The token is taken from WEIR_ADMIN_TOKEN.
    #[arg(long = "admin", value_name = "URL")]
    url: Option<String>,
}

impl Admin {
    /// Posts one JSON object and gives the answer.
    pub(super) async fn post(&self, path: &str, body: String) -> anyhow::Result<Value> {
        self.ask(Request::post(path).header(CONTENT_TYPE, "application/json"), body).await
    }

    /// Asks for one JSON object.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Request::get(path), String::new()).await
    }

    async fn ask(&self, request: http::request::Builder, body: String) -> anyhow::Result<Value> {
        let url = self.url.clone().or_else(environment::admin_url).unwrap_or_else(|| DEFAULT_ADMIN.to_owned());
        let uri: Uri = url.trim_end_matches('/').parse().map_err(|_| url_form())?;
        let authorization = authorization(&uri)?;
        let exchange = async {
            let mut sender = dial(&uri).await.with_context(|| {
                format!(
                    "nobody answers at {uri}: give the address of `server.admin` with --admin, or start `weir serve`"
                )
            })?;
            let request = request
                .header(HOST, uri.authority().ok_or_else(url_form)?.as_str())
                .header(AUTHORIZATION, authorization)
                .body(Full::new(Bytes::from(body)))?;
            let answer = sender.send_request(request).await.context("the connection broke before an answer came")?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow!("the answer broke off: {error}"))?;
            Ok::<_, anyhow::Error>((status, body.to_bytes()))
        };
        let answered = timeout(ANSWER_TIMEOUT, exchange).await;
        let (status, body) =
            answered.unwrap_or_else(|_| Err(anyhow!("no answer within {} s", ANSWER_TIMEOUT.as_secs())))?;
        read_answer(status, &body)
    }
}

fn authorization(uri: &Uri) -> anyhow::Result<HeaderValue> {
    let token = environment::admin_token()
        .context("there is no token: set WEIR_ADMIN_TOKEN to the one that the router was started with")?;
    match bridge::authorization(uri, Some(&token)) {
        Ok(header) => header.context("a token has a header"),
        Err(BridgeError::KeyInTheOpen { host }) => {
            bail!(
                "the token must not travel to {host} over plain http: use https, or run this on the router's own machine"
            )
        }
        Err(BridgeError::Key) => bail!("WEIR_ADMIN_TOKEN holds characters that no header can carry"),
        Err(_) => Err(url_form()),
    }
}

fn url_form() -> anyhow::Error {
    anyhow!(
        "the URL of the admin listener must be an absolute address such as {DEFAULT_ADMIN}, without user name and path"
    )
}

fn read_answer(status: StatusCode, body: &[u8]) -> anyhow::Result<Value> {
    let answer: Option<Value> = serde_json::from_slice(body).ok();
    let detail = || answer.as_ref().and_then(|answer| answer["detail"].as_str());
    match (status, &answer) {
        (StatusCode::UNAUTHORIZED, _) => {
            bail!("the router does not accept the token: set WEIR_ADMIN_TOKEN to the one that it was started with")
        }
        (status, Some(answer)) if status.is_success() => Ok(answer.clone()),
        _ => match detail() {
            Some(detail) => bail!("{detail}"),
            None => {
                bail!("what answers there ({status}) is not the admin listener of a router: look at `server.admin`")
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::read_answer;

    #[test]
    fn an_answer_is_read_or_its_refusal_told() {
        let answered = |status, body: &str| match read_answer(status, body.as_bytes()) {
            Ok(answer) => answer.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(answered(StatusCode::OK, "{\"raised\":1}"), "{\"raised\":1}");
        assert_eq!(answered(StatusCode::NOT_FOUND, "{\"detail\":\"There is no tool `x`.\"}"), "There is no tool `x`.");
        assert!(answered(StatusCode::UNAUTHORIZED, "{}").contains("WEIR_ADMIN_TOKEN"));
        assert!(answered(StatusCode::OK, "<html>").contains("not the admin listener"));
    }
}
