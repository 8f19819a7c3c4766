use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

use super::*;
use crate::customers::{CUSTOMERS, Customer, customers, orders};
use crate::web::ask::{ask, begin, get};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn mainframe(options: MainframeOptions) -> Mainframe {
    Mainframe::start("127.0.0.1:0", options).await.expect("a mainframe")
}

fn ebcdic(bytes: &[u8], text: &str) -> bool {
    let text = ebcdic::encode(text);
    bytes.windows(text.len()).any(|window| window == text)
}

fn customer(index: usize) -> Customer {
    customers(SEED).swap_remove(index)
}

#[tokio::test]
async fn an_account_is_one_record_by_its_copybook() {
    let mainframe = mainframe(MainframeOptions::default()).await;
    let customer = customer(41);
    let told = get(mainframe.addr, &format!("/cics/acct/{}", customer.account_number)).await;
    assert_eq!((told.status, told.header("content-type")), (StatusCode::OK, "application/octet-stream"));
    let record = &told.body;
    assert_eq!(record.len(), 192);
    assert_eq!(record[..8], customer.account_number.to_be_bytes());
    assert!(customer.account_number > 1 << 53);
    assert_eq!(record[8..16], ebcdic::encode("C-00042 "));
    assert!(record[16..48].starts_with(&ebcdic::encode(&customer.name)), "{record:?}");
    // What the manual says of COMP-3: two digits a byte, and the sign last.
    let limit = format!("{:013}C", customer.credit_limit_cents);
    let packed: String = record[91..98].iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(packed, limit);
}

#[tokio::test]
async fn the_history_is_as_long_as_asked_for_and_adds_up() {
    let mainframe = mainframe(MainframeOptions::default()).await;
    let all = orders(SEED, &customers(SEED));
    let sent =
        |customer: usize| all.iter().filter(move |order| order.customer == customer && order.status == "delivered");
    let busiest = (0..CUSTOMERS).max_by_key(|&customer| sent(customer).count()).expect("there are some");
    let buyer = customer(busiest);
    let route = format!("/cics/hist/{}", buyer.account_number);
    let told = get(mainframe.addr, &format!("{route}?max=500")).await;
    assert_eq!(told.body.len() % 72, 0);
    let records: Vec<&[u8]> = told.body.chunks(72).collect();
    assert!(records.len() >= 2, "somebody who bought: {:?}", told.body);
    let account = get(mainframe.addr, &format!("/cics/acct/{}", buyer.account_number)).await;
    assert_eq!(account.body[84..91], records[0][62..69], "the balance");

    let two = get(mainframe.addr, &format!("{route}?max=2")).await;
    assert_eq!(two.body[..], told.body[..144]);
    let none = get(mainframe.addr, &format!("{route}?from=20990101&max=2")).await;
    assert_eq!((none.status, none.body.len()), (StatusCode::OK, 0));
    assert_eq!(get(mainframe.addr, &format!("{route}?max=many")).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn orders_are_those_of_the_database() {
    let mainframe = mainframe(MainframeOptions::default()).await;
    let all = customers(SEED);
    let order = &orders(SEED, &all)[7];
    let told = get(mainframe.addr, &format!("/orders/{}/status", order.id)).await;
    assert!(told.text().contains(&format!("\"order_id\":{}", order.id)), "{}", told.text());
    assert_eq!(told.json()["rc"], "00");
    assert_eq!(told.json()["order"]["customer_id"], all[order.customer].id);
    for unknown in ["1", "..%2F..%2Fadmin", "x"] {
        let told = get(mainframe.addr, &format!("/orders/{unknown}/status")).await;
        assert_eq!((told.status, told.json()["rc"].as_str()), (StatusCode::OK, Some("04")), "{unknown}");
    }
    assert_eq!(mainframe.seen().requests[2].target, "/orders/..%2F..%2Fadmin/status");
}

#[tokio::test]
async fn a_job_is_submitted_and_ends_by_hand_or_by_time() {
    let mut mainframe = mainframe(MainframeOptions::default()).await;
    let told = ask(mainframe.addr, "POST", "/batch/jobs", &[FORM], "job=ACCTRPT&parm=MONTH%3D10+ALL").await;
    let job = json!({ "job_id": "JOB00001", "status": "SUBMITTED" });
    assert_eq!(told.expect("an answer").json(), job);
    assert_eq!(mainframe.seen().jobs[0].parm, "MONTH=10 ALL");
    let status = async |mainframe: &Mainframe| get(mainframe.addr, "/batch/jobs/JOB00001").await.json();
    for (expected, code) in [("SUBMITTED", json!(null)), ("RUNNING", json!(null)), ("ENDED", json!("0000"))] {
        let job = status(&mainframe).await;
        assert_eq!((&job["status"], &job["return_code"]), (&json!(expected), &code));
        assert_eq!(job["output"].is_string(), expected == "ENDED");
        mainframe.advance_jobs();
    }
    assert_eq!(get(mainframe.addr, "/batch/jobs/JOB00002").await.status, StatusCode::NOT_FOUND);
    for bad in ["job=lower", "job=TOOLONGNAME", "parm=x", "job=1ST"] {
        let told = ask(mainframe.addr, "POST", "/batch/jobs", &[FORM], bad).await.expect("an answer");
        assert_eq!(told.status, StatusCode::BAD_REQUEST, "{bad}");
    }

    mainframe =
        self::mainframe(MainframeOptions { job_step: Some(Duration::ZERO), ..MainframeOptions::default() }).await;
    ask(mainframe.addr, "POST", "/batch/jobs", &[FORM], "job=BADJOB").await.expect("an answer");
    assert_eq!(status(&mainframe).await["return_code"], "S0C7");
}

#[tokio::test]
async fn screens_come_with_status_200() {
    let mainframe = mainframe(MainframeOptions::default()).await;
    let account = get(mainframe.addr, "/cics/acct/42").await;
    assert_eq!((account.status, account.body.len()), (StatusCode::OK, 1920));
    assert!(ebcdic(&account.body, "DFHAC2206") && ebcdic(&account.body, "ACCOUNT NOT FOUND"));
    let history = get(mainframe.addr, "/cics/hist/42").await;
    assert_eq!((history.status, history.header("content-type")), (StatusCode::OK, "text/html"));
    assert!(history.text().contains("ACCOUNT NOT FOUND"));
    mainframe.abend_next(2);
    let number = customer(0).account_number;
    assert!(ebcdic(&get(mainframe.addr, &format!("/cics/acct/{number}")).await.body, "TRANSACTION ABEND ASRA"));
    let told = ask(mainframe.addr, "POST", "/batch/jobs", &[FORM], "job=A").await.expect("an answer");
    assert!(told.text().contains("TRANSACTION ABEND ASRA"));
    assert!(mainframe.seen().jobs.is_empty());
    assert_eq!(get(mainframe.addr, &format!("/cics/acct/{number}")).await.body.len(), 192);
    assert_eq!(get(mainframe.addr, "/elsewhere").await.status, StatusCode::NOT_FOUND);
    let told = ask(mainframe.addr, "DELETE", "/batch/jobs", &[], "").await.expect("an answer");
    assert_eq!(told.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn more_at_once_than_there_are_tasks_are_told_so() {
    let hour = Duration::from_secs(3_600);
    let mainframe =
        mainframe(MainframeOptions { delay: hour..=hour, concurrency: 2, ..MainframeOptions::default() }).await;
    let addr = mainframe.addr;
    let slow: Vec<_> = (0..2).map(|_| tokio::spawn(async move { get(addr, "/orders/1/status").await })).collect();
    mainframe.wait_until(|seen| seen.running == 2).await.expect("two under way");
    assert!(ebcdic(&get(addr, "/cics/acct/1").await.body, "SYSTEM BUSY - MAXTASK REACHED"));
    assert!(get(addr, "/orders/1/status").await.text().contains("SYSTEM BUSY - MAXTASK REACHED"));
    let seen = mainframe.seen();
    assert_eq!((seen.over_limit, seen.running_max, seen.finished), (2, 3, 2));
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    mainframe.wait_until(|seen| seen.dropped == 2 && seen.running == 0).await.expect("both hung up");
}

#[tokio::test]
async fn without_its_credential_nobody_is_served() {
    let bearer = mainframe(MainframeOptions { bearer: Some("token".into()), ..MainframeOptions::default() }).await;
    assert_eq!(get(bearer.addr, "/orders/1/status").await.status, StatusCode::UNAUTHORIZED);
    let with = |value| [("authorization", value)];
    let told = ask(bearer.addr, "GET", "/orders/1/status", &with("Bearer token"), "").await.expect("an answer");
    assert_eq!(told.status, StatusCode::OK);
    let basic = Some(("Aladdin".into(), "open sesame".into()));
    let basic = mainframe(MainframeOptions { basic, ..MainframeOptions::default() }).await;
    for (value, status) in [("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", 200), ("Basic QWxhZGRpbjpvcGVu", 401)] {
        let told = ask(basic.addr, "GET", "/orders/1/status", &with(value), "").await.expect("an answer");
        assert_eq!(told.status.as_u16(), status, "{value}");
    }
    assert!(!format!("{bearer:?}{basic:?}").contains("sesame"));
}

#[tokio::test]
async fn every_trouble_befalls_as_many_requests_as_told() {
    let mainframe = mainframe(MainframeOptions::default()).await;
    let addr = mainframe.addr;
    let submit = async || ask(addr, "POST", "/batch/jobs", &[FORM], "job=A").await;
    let once = |kind| mainframe.trouble(Trouble { next: 1, ..Trouble::of(kind) });

    once(TroubleKind::ResetBeforeAnswer);
    let error = submit().await.expect_err("no answer");
    assert!(format!("{error:#}").contains("reset"), "{error:#}");
    assert_eq!(mainframe.seen().jobs.len(), 1, "it was carried out");

    once(TroubleKind::ResetAfterHead);
    let error = submit().await.expect_err("a head and no body");
    assert!(error.to_string().contains("the body broke"), "{error:#}");

    once(TroubleKind::Status(503));
    assert_eq!(submit().await.expect("an answer").status.as_u16(), 503);
    assert_eq!(mainframe.seen().jobs.len(), 2, "it was not carried out");

    once(TroubleKind::Garbage);
    let told = submit().await.expect("an answer");
    assert_eq!((told.status.as_u16(), told.body.len(), told.header("content-type")), (200, 2_000, JSON));
    assert!(std::str::from_utf8(&told.body).is_err());

    let second = Duration::from_secs(1);
    mainframe.trouble(Trouble { delay: Some(second), next: 1, ..Trouble::default() });
    let start = std::time::Instant::now();
    assert!(submit().await.expect("an answer").status.is_success() && start.elapsed() >= second);
}

#[tokio::test]
async fn bodies_can_stop_trickle_and_never_end() {
    use http_body_util::BodyExt as _;
    let mainframe = mainframe(MainframeOptions::default()).await;
    let addr = mainframe.addr;
    let begin = async || begin(addr, "GET", "/orders/1/status", &[], "").await.expect("a head").into_body();
    let data = async |body: &mut hyper::body::Incoming| -> Bytes {
        body.frame().await.expect("more").expect("a chunk").into_data().expect("data")
    };

    mainframe.trouble(Trouble::of(TroubleKind::Endless));
    let mut body = begin().await;
    let mut bytes = 0;
    while bytes < 1 << 20 {
        let chunk = data(&mut body).await;
        assert!(chunk.iter().all(|&byte| byte == b' '));
        bytes += chunk.len();
    }
    drop(body);
    mainframe.trouble(Trouble::of(TroubleKind::Trickle));
    let mut body = begin().await;
    assert_eq!((data(&mut body).await, data(&mut body).await), (Bytes::from("{"), Bytes::from("\"")));
    drop(body);
    mainframe.trouble(Trouble::of(TroubleKind::StopAfterHead));
    let mut body = begin().await;
    let nothing = tokio::time::timeout(Duration::from_millis(200), data(&mut body)).await;
    assert!(nothing.is_err());
    drop(body);
    mainframe.wait_until(|seen| seen.dropped == 3 && seen.running == 0).await.expect("all three hung up");
}

#[tokio::test]
async fn a_server_that_refuses_comes_back_at_its_port() {
    let mainframe = mainframe(MainframeOptions::default()).await;
    mainframe.refuse(true).await.expect("the port is closed");
    let error = ask(mainframe.addr, "GET", "/orders/1/status", &[], "").await.expect_err("nobody listens");
    assert!(format!("{error:#}").contains("refused"), "{error:#}");
    mainframe.refuse(false).await.expect("the port is open");
    assert_eq!(get(mainframe.addr, "/orders/1/status").await.status, StatusCode::OK);
    let addr = mainframe.addr;
    mainframe.stop().await;
    assert!(ask(addr, "GET", "/orders/1/status", &[], "").await.is_err());
}

#[tokio::test]
async fn a_shell_can_look_and_make_trouble() {
    let mainframe = mainframe(MainframeOptions::default()).await;
    get(mainframe.addr, "/orders/1/status").await;
    let seen = get(mainframe.addr, "/__seen").await.json();
    assert_eq!((&seen["finished"], &seen["requests_newest_first"]), (&json!(1), &json!(["GET /orders/1/status"])));
    let trouble = r#"{"kind": {"status": 500}, "delay_ms": 1, "next": 1}"#;
    assert!(ask(mainframe.addr, "POST", "/__trouble", &[], trouble).await.expect("an answer").status.is_success());
    assert_eq!(get(mainframe.addr, "/orders/1/status").await.status.as_u16(), 500);
    assert_eq!(get(mainframe.addr, "/orders/1/status").await.status.as_u16(), 200);
    let unknown = ask(mainframe.addr, "POST", "/__trouble", &[], r#"{"kind": "earthquake"}"#).await.expect("an answer");
    assert!(unknown.status == StatusCode::BAD_REQUEST && unknown.text().contains("earthquake"));
}

const JSON: &str = "application/json;charset=UTF-8";
