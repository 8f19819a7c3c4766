//! JSON-RPC batches: they exist in the revision 2025-03-26 alone, and there only in a session that says so.

use adapters::json;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::join_all;
use http::{Response, StatusCode};
use serde_json::value::RawValue;

use super::{
    Post, Version,
    answer::{RpcError, envelope},
    empty_response,
    exchange::{self, Exchange},
    json_response, legacy,
    message::{Kind, Message},
    session::Session,
};
use crate::{front::text_header, operations::IdempotencyKey, server::Body};

/// One key for several calls would make them one.
const ONE_KEY: &str =
    "a batch has no header `Idempotency-Key`: give each call its own in `_meta[\"weir/idempotency_key\"]`";
/// How many messages one batch may hold.
const ITEMS_MAX: usize = 64;
const OTHER_REVISION: &str = "batches are not part of this revision: send one message a request";

/// Answers a body that is an array.
pub(super) async fn handle(post: &Post<'_>, body: &Bytes, text: &str) -> Response<Body> {
    let refuse = |what: &str| RpcError::invalid_request(what).respond(None, StatusCode::BAD_REQUEST);
    // A batch is never modern, whatever session it names beside a modern version.
    if text_header(&post.parts.headers, "mcp-protocol-version").and_then(Version::parse).is_some_and(Version::is_modern)
    {
        return refuse(OTHER_REVISION);
    }
    let session = match legacy::speaker(post, None) {
        Ok((Some(session), Version::V2025_03_26)) => session,
        Ok(_) => return refuse(OTHER_REVISION),
        Err(refused) => return *refused,
    };
    if post.parts.headers.contains_key(IdempotencyKey::HEADER) {
        return refuse(ONE_KEY);
    }
    let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
    if items.is_empty() || items.len() > ITEMS_MAX {
        return refuse(&format!("a batch holds 1 to {ITEMS_MAX} messages"));
    }
    let answers = join_all(items.iter().map(|item| answer(post, &session, body, item.get()))).await;
    let answers: Vec<Vec<Bytes>> = answers.into_iter().filter(|pieces| !pieces.is_empty()).collect();
    if answers.is_empty() {
        return empty_response(StatusCode::ACCEPTED);
    }
    let mut array = BytesMut::from(&b"["[..]);
    for (index, pieces) in answers.iter().enumerate() {
        if index > 0 {
            array.put_u8(b',');
        }
        pieces.iter().for_each(|piece| array.put_slice(piece));
    }
    array.put_u8(b']');
    json_response(StatusCode::OK, [array.freeze()])
}

/// Answers one message of a batch; no pieces for what has no answer.
async fn answer(post: &Post<'_>, session: &Session, body: &Bytes, item: &str) -> Vec<Bytes> {
    let message = match Message::parse(body, item) {
        Ok(message) => message,
        Err(broken) => {
            let id = broken.id.unwrap_or_else(|| Bytes::from(json::string("")));
            return envelope(&id, &broken.error.wire());
        }
    };
    let version = Version::V2025_03_26;
    match &message.kind {
        Kind::Request { id, method } if method == "initialize" => {
            envelope(id, &RpcError::invalid_request("`initialize` must not be part of a batch").wire())
        }
        Kind::Request { id, method } if method == "tools/call" => {
            let exchange = Exchange { id: id.clone(), version, session: Some(session.clone()) };
            exchange::call_in_batch(post, &message, exchange).await
        }
        Kind::Request { id, method } => envelope(id, &legacy::simple(post, &message, method, version).await),
        Kind::Notification { method } => {
            if method == "notifications/cancelled" {
                legacy::cancel(post.router, Some(session), &message);
            }
            Vec::new()
        }
        Kind::Response => Vec::new(),
    }
}
