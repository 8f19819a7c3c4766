use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::{Answer, Failure, GARBAGE_MAX, InFlight, Outbox, Peer};
use crate::{AdapterError, CallContext, Caller, Deadline, ErrorClass, Notice, Sent};

struct Wire {
    peer: Arc<Peer>,
    outbox: Outbox,
    list_changes: watch::Receiver<u64>,
}

fn wire(exclusive: bool) -> Wire {
    let (list_changes, seen) = watch::channel(0);
    let (peer, outbox) = Peer::new("enrich".into(), exclusive, list_changes);
    Wire { peer, outbox, list_changes: seen }
}

async fn start(peer: &Arc<Peer>) -> InFlight {
    peer.start(None, None, |id| Ok(format!("{{\"id\":{id}}}"))).await.expect("room")
}

fn receive(peer: &Peer, text: impl Into<String>) {
    peer.receive(&Bytes::from(text.into())).expect("no reason to end the connection");
}

fn result_of(answer: Answer) -> Bytes {
    match answer {
        Answer::Result(bytes) => bytes,
        other => panic!("no result: {other:?}"),
    }
}

#[tokio::test]
async fn answers_find_their_calls_in_any_order_and_are_slices_of_their_frame() {
    let mut wire = wire(false);
    let (mut first, mut second) = (start(&wire.peer).await, start(&wire.peer).await);
    assert_eq!((wire.outbox.next().await, wire.outbox.next().await), ("{\"id\":1}".into(), "{\"id\":2}".into()));
    let frame = Bytes::from_static(b"{\"id\":2,\"result\":{ \"z\":1e2, \"a\" :[ ]}}");
    wire.peer.receive(&frame).expect("fine");
    receive(&wire.peer, r#"{"id":1,"result":{}}"#);
    let result = result_of(second.answer().await);
    assert_eq!(result, "{ \"z\":1e2, \"a\" :[ ]}");
    assert!(frame.as_ptr_range().contains(&result.as_ptr()), "it was copied");
    assert_eq!(result_of(first.answer().await), "{}");
}

#[tokio::test]
async fn an_error_with_a_code_outside_every_integer_hangs_nobody() {
    let mut wire = wire(false);
    let mut call = start(&wire.peer).await;
    wire.outbox.next().await;
    receive(&wire.peer, r#"{"id":1,"error":{"code":123456789012345678901234567890,"message":"no"}}"#);
    assert!(matches!(call.answer().await, Answer::Error(error) if error.starts_with(b"{\"code\":1234567890123")));
}

#[tokio::test]
async fn an_answer_to_what_was_not_sent_yet_is_none() {
    let mut wire = wire(false);
    let mut call = start(&wire.peer).await;
    receive(&wire.peer, r#"{"id":1,"result":{"guessed":true}}"#);
    wire.outbox.next().await;
    receive(&wire.peer, r#"{"id":1,"result":{"guessed":false}}"#);
    assert_eq!(result_of(call.answer().await), r#"{"guessed":false}"#);
}

#[tokio::test]
async fn a_call_given_up_before_it_left_never_leaves_and_is_certainly_not_sent() {
    let mut wire = wire(false);
    let (first, _second) = (start(&wire.peer).await, start(&wire.peer).await);
    assert_eq!(first.abandon("too late"), Sent::No);
    assert_eq!(wire.outbox.next().await, "{\"id\":2}");
    assert_eq!(wire.outbox.try_next(), None, "nothing to withdraw");
}

#[tokio::test]
async fn a_call_given_up_after_it_left_is_withdrawn_and_its_late_answer_dropped() {
    let mut wire = wire(false);
    let (first, mut second) = (start(&wire.peer).await, start(&wire.peer).await);
    wire.outbox.next().await;
    wire.outbox.next().await;
    assert_eq!(first.abandon("said \"no\""), Sent::Unknown);
    let notice = wire.outbox.next().await;
    assert!(notice.contains(r#""method":"notifications/cancelled","params":{"requestId":1,"reason":"said \"no\""}"#));
    receive(&wire.peer, r#"{"id":1,"result":{"of":"first"}}"#);
    receive(&wire.peer, r#"{"id":2,"result":{"of":"second"}}"#);
    assert_eq!(result_of(second.answer().await), r#"{"of":"second"}"#);
    drop(start(&wire.peer).await);
    assert_eq!(wire.outbox.try_next(), None, "a dropped future that had not left is withdrawn in silence");
}

#[tokio::test]
async fn the_end_of_the_connection_fails_every_call_at_once_and_says_what_was_sent() {
    let mut wire = wire(false);
    let (mut sent, mut queued) = (start(&wire.peer).await, start(&wire.peer).await);
    wire.outbox.next().await;
    wire.peer.end(Failure::lost("the server closed the connection"));
    assert!(matches!(sent.answer().await, Answer::Lost { sent: Sent::Unknown, alone: false, .. }));
    assert!(matches!(queued.answer().await, Answer::Lost { sent: Sent::No, .. }));
    assert_eq!(wire.outbox.try_next(), None, "what was queued does not leave after all");
    let after = wire.peer.start(None, None, |_| Ok(String::new())).await.err().expect("no connection");
    assert_eq!((after.class, after.sent), (ErrorClass::ConnectionLost, Sent::No));
    assert_eq!(wire.peer.ended().await.told, "the server closed the connection");
}

#[tokio::test]
async fn a_write_that_was_withdrawn_at_its_gate_is_not_sent() {
    let mut wire = wire(false);
    let ctx = CallContext::new(Arc::new(Caller::local(&[])), Deadline::after(Duration::from_secs(5)));
    assert!(ctx.gate.withdraw());
    let refused = wire.peer.start(Some(&ctx), None, |_| Ok(String::new())).await.err().expect("withdrawn");
    assert_eq!((refused.class, refused.sent), (ErrorClass::Cancelled, Sent::No));
    assert_eq!(wire.outbox.try_next(), None);
}

#[tokio::test]
async fn progress_reaches_its_own_call_in_order_and_only_rises() {
    let mut wire = wire(false);
    let (sender, mut notices) = mpsc::channel(16);
    let wants =
        wire.peer.start(None, Some(crate::Notices::new(sender, None)), |id| Ok(id.to_string())).await.expect("room");
    let _wants_none = start(&wire.peer).await;
    wire.outbox.next().await;
    for (token, progress) in
        [("1", "1"), ("2", "5"), ("1", "1"), ("1", "0.5"), ("\"1\"", "7"), ("9", "8"), ("1", "2.5")]
    {
        let params = format!(r#"{{ "progress" : {progress}, "progressToken":{token},"vendor":[1]}}"#);
        receive(&wire.peer, format!(r#"{{"method":"notifications/progress","params":{params}}}"#));
    }
    drop(wants);
    receive(&wire.peer, r#"{"method":"notifications/progress","params":{"progressToken":1,"progress":9}}"#);
    let mut got = Vec::new();
    while let Ok(Notice::Progress(params)) = notices.try_recv() {
        got.push(String::from_utf8(params.to_vec()).expect("text"));
    }
    let params = |progress| format!(r#"{{ "progress" : {progress}, "progressToken":1,"vendor":[1]}}"#);
    assert_eq!(got, [params("1"), params("2.5")]);
}

#[tokio::test]
async fn log_messages_go_up_only_where_one_call_has_the_connection() {
    for exclusive in [false, true] {
        let wire = wire(exclusive);
        let (sender, mut notices) = mpsc::channel(16);
        let _call = wire
            .peer
            .start(None, Some(crate::Notices::new(sender, None)), |id| Ok(id.to_string()))
            .await
            .expect("room");
        receive(&wire.peer, r#"{"method":"notifications/message","params":{"level":"info","data":1}}"#);
        let got = notices.try_recv().is_ok_and(|notice| matches!(notice, Notice::Message(_)));
        assert_eq!(got, exclusive);
    }
}

#[tokio::test]
async fn questions_of_a_legacy_server_are_refused_and_its_pings_answered() {
    let mut wire = wire(false);
    receive(&wire.peer, r#"{"id":"a","method":"ping"}"#);
    receive(&wire.peer, r#"{"id":0,"method":"sampling/createMessage","params":{}}"#);
    assert_eq!(wire.outbox.next().await, r#"{"jsonrpc":"2.0","id":"a","result":{}}"#);
    assert!(wire.outbox.next().await.starts_with(r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32601,"#));
    wire.peer.speak_modern();
    receive(&wire.peer, r#"{"id":1,"method":"ping"}"#);
    assert_eq!(wire.outbox.try_next(), None, "a modern client writes no answers");
}

#[tokio::test]
async fn list_changes_count_by_subscription_in_the_modern_era_and_always_in_the_legacy_one() {
    let mut wire = wire(false);
    let changed = |id: &str| {
        let meta = format!(r#"{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}}}"#);
        format!(r#"{{"method":"notifications/tools/list_changed","params":{meta}}}"#)
    };
    receive(&wire.peer, r#"{"method":"notifications/tools/list_changed"}"#);
    assert_eq!(*wire.list_changes.borrow_and_update(), 1);
    wire.peer.speak_modern();
    let mut listening = start(&wire.peer).await;
    wire.peer.listen_under(listening.id);
    wire.outbox.next().await;
    for other in [r#"{"method":"notifications/tools/list_changed"}"#.to_owned(), changed("2"), changed("\"1\"")] {
        receive(&wire.peer, other);
    }
    assert_eq!(*wire.list_changes.borrow_and_update(), 1);
    receive(&wire.peer, changed("1"));
    assert_eq!(*wire.list_changes.borrow_and_update(), 2);
    receive(&wire.peer, r#"{"method":"notifications/cancelled","params":{"requestId":1}}"#);
    assert!(matches!(listening.answer().await, Answer::Result(_)), "the server ended the subscription");
}

#[tokio::test]
async fn batches_are_taken_apart_in_the_legacy_era_only() {
    let mut wire = wire(false);
    let (mut first, mut second) = (start(&wire.peer).await, start(&wire.peer).await);
    wire.outbox.next().await;
    wire.outbox.next().await;
    receive(&wire.peer, r#" [{"id":2,"result":{"b":1}}, {"id":1,"result":{"a":1}}]"#);
    assert_eq!(result_of(first.answer().await), r#"{"a":1}"#);
    assert_eq!(result_of(second.answer().await), r#"{"b":1}"#);
    wire.peer.speak_modern();
    let mut third = start(&wire.peer).await;
    wire.outbox.next().await;
    receive(&wire.peer, r#"[{"id":3,"result":{}}]"#);
    assert!(futures_util::poll!(pin!(third.answer())).is_pending());
}

#[tokio::test]
async fn garbage_is_put_up_with_for_a_while() {
    let wire = wire(false);
    for _ in 1..GARBAGE_MAX {
        receive(&wire.peer, "\u{0}not json");
    }
    let failure = wire.peer.receive(&Bytes::from_static(b"\xff\xfe")).expect_err("enough");
    assert_eq!(failure.class, ErrorClass::Protocol);
}

#[tokio::test]
async fn a_server_that_complains_of_notifications_keeps_its_connection() {
    let wire = wire(false);
    for _ in 0..2 * GARBAGE_MAX {
        receive(&wire.peer, r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"Method not found"}}"#);
    }
    for _ in 0..2 * GARBAGE_MAX {
        receive(&wire.peer, "not json");
        receive(&wire.peer, r#"{"jsonrpc":"2.0","id":999,"result":{}}"#);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_holds_callers_up_and_lets_them_give_up() {
    let mut wire = wire(false);
    let mut held = Vec::new();
    let refused: Result<InFlight, tokio::time::error::Elapsed> = loop {
        let next = tokio::time::timeout(Duration::from_secs(1), start(&wire.peer)).await;
        match next {
            Ok(call) => held.push(call),
            Err(elapsed) => break Err(elapsed),
        }
    };
    assert!(refused.is_err() && held.len() == 128, "{} calls were let in", held.len());
    wire.outbox.next().await;
    held.push(start(&wire.peer).await);
}

#[tokio::test(start_paused = true)]
async fn our_own_questions_have_a_deadline_and_are_withdrawn_with_it() {
    let mut wire = wire(false);
    let (peer, limit) = (Arc::clone(&wire.peer), Deadline::after(Duration::from_secs(3)));
    let asking = tokio::spawn(async move { peer.ask(limit, |id| id.to_string()).await });
    wire.outbox.next().await;
    let error: AdapterError = asking.await.expect("no panic").expect_err("no answer");
    assert_eq!((error.class, error.sent), (ErrorClass::Timeout, Sent::Unknown));
    assert!(wire.outbox.next().await.contains("notifications/cancelled"));
}

#[tokio::test]
async fn thousands_of_answers_out_of_order_all_find_their_calls() {
    let mut wire = wire(false);
    let mut calls = HashMap::new();
    for _ in 0..1_000 {
        let call = start(&wire.peer).await;
        wire.outbox.next().await;
        calls.insert(call.id, call);
    }
    let mut ids: Vec<u64> = calls.keys().copied().collect();
    ids.sort_unstable_by_key(|id| id.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    for id in ids {
        receive(&wire.peer, format!(r#"{{"id":{id},"result":{{"of":{id}}}}}"#));
    }
    for (id, mut call) in calls {
        assert_eq!(result_of(call.answer().await), format!(r#"{{"of":{id}}}"#));
    }
}
