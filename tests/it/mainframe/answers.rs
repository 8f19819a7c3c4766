//! What comes back: records, screens that are no records, statuses, and what cannot be read.

use std::time::Duration;

use adapters::{ErrorClass, Rejection, Reply, Sent};
use anyhow::{Context as _, Result, ensure};
use config::Effect;
use serde_json::{Value, json};
use standins::mainframe::{self, Mainframe, MainframeOptions};
use tests::TestRouter;

use super::{Connected, Listener, Said, TOKEN, answer, folder, head, ok, yaml};

/// The account of the stand-in's first customer.
const ACCOUNT: &str = "9007201101956995";
const SCREENS: &str = "error_screens: [
        { contains: ACCOUNT NOT FOUND, means: not_found, say: there is no such account },
        { contains: SYSTEM BUSY, means: busy },
        { json: { at: /rc, equals: '04' }, means: not_found, say: there is no such order },
        { contains: TRANSACTION ABEND, means: unavailable } ]";
const TOOLS: &str = "
      get_account:
        effect: read
        request: { path: '/cics/acct/{number}' }
        arguments: { number: { type: integer } }
        answer: { fixed_width: { copybook_file: ACCTREC.cpy } }
      account_history:
        effect: read
        request: { path: '/cics/hist/{number}', query: { from: '{from}', max: '{max}' } }
        arguments: { number: { type: integer }, from: { type: string, required: false }, max: { type: integer, default: 5 } }
        answer: { fixed_width: { copybook_file: HISTREC.cpy, many: true } }
      order_status:
        effect: read
        request: { path: '/orders/{id}/status' }
        arguments: { id: { type: integer } }
      submit_batch_job:
        request: { method: POST, path: /batch/jobs, body: { form: { job: '{job}', parm: '{parm}' } } }
        arguments: { job: { type: string }, parm: { type: string, required: false } }";

#[tokio::test(flavor = "multi_thread")]
async fn real_ebcdic_records_become_json_for_a_caller() -> Result<()> {
    let standin = Mainframe::start("127.0.0.1:0", MainframeOptions::default()).await?;
    let dir = folder()?;
    std::fs::write(dir.path().join("ACCTREC.cpy"), mainframe::ACCOUNT_COPYBOOK)?;
    std::fs::write(dir.path().join("HISTREC.cpy"), mainframe::HISTORY_COPYBOOK)?;
    let router = TestRouter::ready_in(dir, &yaml(&standin.url, SCREENS, TOOLS)).await?;

    let answer = router.call(None, "mainframe__get_account", json!({ "number": 9_007_201_101_956_995_u64 })).await?;
    ensure!(answer.text.contains(r#""acct_number":"9007201101956995""#), "{}", answer.text);
    let account = answer.result()?["structuredContent"].take();
    ensure!(account["acct_customer_id"] == "C-00001", "{account}");
    ensure!(account["acct_address"]["acct_country"].as_str().is_some_and(|country| country.len() == 2), "{account}");
    ensure!(
        account["acct_balance"].is_number() && account["acct_year"].as_array().is_some_and(|years| years.len() == 3),
        "{account}"
    );

    let answer = router
        .call(None, "mainframe__account_history", json!({ "number": 9_007_201_101_956_995_u64, "max": 2 }))
        .await?;
    let history = answer.result()?["structuredContent"].take();
    ensure!(history["records"].as_array().is_some_and(|records| records.len() <= 2), "{history}");
    let target = standin.seen().requests.last().context("a request")?.target.clone();
    ensure!(target == format!("/cics/hist/{ACCOUNT}?max=2"), "{target}");

    let missing = router.call(None, "mainframe__get_account", json!({ "number": 1 })).await?.result()?;
    let told =
        "mainframe found nothing for these arguments: there is no such account. Check them before you ask again.";
    ensure!(missing["isError"] == true && missing["content"][0]["text"] == told, "{missing}");
    ensure!(router.records().await?[0]["outcome"] == "not_found", "{:?}", router.records().await?[0]);
    let missing = router.call(None, "mainframe__order_status", json!({ "id": 1 })).await?.result()?;
    ensure!(missing["isError"] == true && missing.to_string().contains("no such order"), "{missing}");

    let job = router
        .call(None, "mainframe__submit_batch_job", json!({ "job": "NIGHTLY", "parm": "A=1&B=2" }))
        .await?
        .result()?;
    ensure!(job["structuredContent"]["status"] == "SUBMITTED", "{job}");
    let heard = standin.seen().requests.pop().context("a request")?;
    ensure!(heard.body == "job=NIGHTLY&parm=A%3D1%26B%3D2", "{heard:?}");
    ensure!(standin.seen().jobs.len() == 1, "{:?}", standin.seen().jobs);

    // What is read is asked for twice.
    standin.abend_next(2);
    let abend = router.call(None, "mainframe__get_account", json!({ "number": 1 })).await?.result()?;
    ensure!(abend["isError"] == true && abend.to_string().contains("TRANSACTION ABEND ASRA"), "{abend}");

    let tools = router.modern(None, "tools/list", json!({})).await?.result()?;
    let account =
        tools["tools"].as_array().and_then(|tools| tools.iter().find(|tool| tool["name"] == "mainframe__get_account"));
    let account = account.context("it is listed")?;
    ensure!(account["outputSchema"]["properties"]["acct_number"].is_object(), "{account}");
    ensure!(
        account["annotations"]["readOnlyHint"] == true && account["inputSchema"]["required"] == json!(["number"]),
        "{account}"
    );
    Ok(())
}

#[tokio::test]
async fn a_screen_with_status_200_means_what_its_rule_says() -> Result<()> {
    const EBCDIC_BUSY: &[u8] = b"\x40\xc2\xe4\xe2\xe8\x40\x00"; // BUSY
    let rules = "error_screens: [
        { contains: BUSY, means: busy },
        { content_type: text/html, contains: LOGON, means: unauthorized },
        { content_type: text/html, means: unavailable, say: the region is down },
        { json: { at: /rc, equals: '04' }, means: not_found },
        { json: { at: /rc, other_than: '00' }, say: the order was not taken },
        { json: { at: /error, other_than: null }, say: it has an error },
        { json: { at: /data, equals: null }, say: there is nothing } ]";
    let tools = "
      ask: { effect: read, request: { path: '/{x}' }, arguments: { x: { type: string } } }
      do: { effect: write, request: { method: POST, path: '/{x}' }, arguments: { x: { type: string } } }";
    let server = Listener::start(|heard| {
        let html = "content-type: Text/HTML; charset=utf-8\r\n";
        match heard.target() {
            "/ebcdic" => answer("200 OK", "retry-after: 7\r\n", EBCDIC_BUSY),
            "/ascii" => answer("200 OK", "", "all lines BUSY\n"),
            "/logon" => answer("200 OK", html, "<p>LOGON</p>"),
            "/html" => answer("200 OK", html, "<p>oh</p>"),
            "/rc04" => ok(r#"{"rc":"04"}"#),
            "/rc08" => ok(r#"{"rc":"08"}"#),
            "/error" => ok(r#"{"error":{"code":7},"data":1}"#),
            "/null" => ok(r#"{"error":null,"data":null}"#),
            _ => ok(r#"{"rc":"00","n":1,"error":null}"#),
        }
    })
    .await?;
    let connected = Connected::new(&server.url, rules, tools)?;
    ensure!(connected.read("ask", r#"{"x":"fine"}"#).await?["structuredContent"]["n"] == 1);

    for (path, class, retry_after, message) in [
        ("ebcdic", ErrorClass::Busy, Some(7), "mainframe is busy: BUSY. Try again in 7 s."),
        ("ascii", ErrorClass::Busy, None, "mainframe is busy: all lines BUSY. Try again in a moment."),
        (
            "logon",
            ErrorClass::Unauthorized,
            None,
            "mainframe does not let Weir in: LOGON. Repeating does not help; its operator must look at the credential.",
        ),
        (
            "html",
            ErrorClass::Unreachable,
            None,
            "mainframe answered, but is not available: the region is down. Try again later.",
        ),
    ] {
        for (tool, effect) in [("ask", Effect::Read), ("do", Effect::Write)] {
            let error = connected.failure(tool, &json!({ "x": path }).to_string(), effect).await?;
            // The operator wrote down what the screen means, so nothing about it is uncertain.
            ensure!((error.class, error.sent) == (class, Sent::Yes), "{path}: {error:?}");
            ensure!(error.message == message, "{path}: {error}");
            ensure!(error.retry_after == retry_after.map(Duration::from_secs), "{path}: {error:?}");
        }
    }
    for (arguments, said) in [
        (r#"{"x":"rc08"}"#, "the order was not taken"),
        (r#"{"x":"error"}"#, "it has an error"),
        (r#"{"x":"null"}"#, "there is nothing"),
    ] {
        let error = connected.failure("ask", arguments, Effect::Read).await?;
        let Some(Rejection::Text(text)) = &error.rejection else { anyhow::bail!("{error:?}") };
        ensure!(error.class == ErrorClass::Rejected && text == said, "{error:?}");
    }
    let reply = connected.ask("ask", r#"{"x":"rc04"}"#, Effect::Read).await?;
    let Reply::NotFound(bytes) = reply else { anyhow::bail!("{reply:?}") };
    ensure!(serde_json::from_slice::<Value>(&bytes)?["isError"] == true);
    // Only what was asked for can be missing; a write that finds nothing is refused.
    let error = connected.failure("do", r#"{"x":"rc04"}"#, Effect::Write).await?;
    ensure!((error.class, error.sent) == (ErrorClass::Rejected, Sent::Yes), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn each_status_says_whether_to_try_again_and_whether_a_write_may_have_happened() -> Result<()> {
    let tools = "
      ask: { effect: read, request: { path: '/{x}' }, arguments: { x: { type: string } } }
      whole: { effect: read, request: { path: '/404' } }
      do: { effect: write, request: { method: POST, path: '/{x}' }, arguments: { x: { type: string } } }";
    let server = Listener::start(|heard| {
        let status = heard.target().trim_start_matches('/');
        answer(
            &format!("{status} X"),
            "content-type: text/plain\r\nretry-after: 3\r\nlocation: http://169.254.169.254/\r\n",
            "NO",
        )
    })
    .await?;
    let connected = Connected::new(&server.url, "concurrency: 8", tools)?;
    for (status, class, of_a_write) in [
        ("302", ErrorClass::Protocol, Sent::Unknown),
        ("400", ErrorClass::Rejected, Sent::Yes),
        ("401", ErrorClass::Unauthorized, Sent::Yes),
        ("403", ErrorClass::Unauthorized, Sent::Yes),
        ("409", ErrorClass::Rejected, Sent::Yes),
        ("429", ErrorClass::Busy, Sent::Yes),
        ("500", ErrorClass::Rejected, Sent::Unknown),
        ("502", ErrorClass::Unreachable, Sent::Unknown),
        ("503", ErrorClass::Busy, Sent::Unknown),
        ("504", ErrorClass::Unreachable, Sent::Unknown),
    ] {
        let arguments = json!({ "x": status }).to_string();
        let read = connected.failure("ask", &arguments, Effect::Read).await?;
        ensure!((read.class, read.sent) == (class, Sent::Yes), "{status}: {read:?}");
        ensure!(read.message.contains(&format!("status {status}: NO")), "{status}: {read}");
        ensure!(read.retry_after == Some(Duration::from_secs(3)), "{status}: {read:?}");
        let write = connected.failure("do", &arguments, Effect::Write).await?;
        ensure!((write.class, write.sent) == (class, of_a_write), "{status}: {write:?}");
    }
    for status in ["404", "410"] {
        let arguments = json!({ "x": status }).to_string();
        let reply = connected.ask("ask", &arguments, Effect::Read).await?;
        ensure!(matches!(reply, Reply::NotFound(_)), "{reply:?}");
        let error = connected.failure("do", &arguments, Effect::Write).await?;
        ensure!((error.class, error.sent) == (ErrorClass::Rejected, Sent::Yes), "{error:?}");
    }
    // A path that names nothing in particular is a mistake of the config.
    let error = connected.failure("whole", "{}", Effect::Read).await?;
    ensure!(error.class == ErrorClass::Rejected, "{error:?}");
    // No redirect was followed, nor anything repeated.
    ensure!(server.heard().len() == 2 * 10 + 2 * 2 + 1, "{}", server.heard().len());
    Ok(())
}

#[tokio::test]
async fn what_a_system_repeats_of_its_credential_reaches_no_caller() -> Result<()> {
    let tools = "
      ask: { effect: read, request: { path: '/{x}' }, arguments: { x: { type: string } } }";
    let rules = "error_screens: [{ contains: NOT YOU, means: unauthorized }]";
    let pair = "V0VJUjp0b2tlbi1vZi10aGUtbWFpbmZyYW1lLThmMWM=";
    for (credential, secrets) in [
        ("bearer: { file: token }", [TOKEN, TOKEN]),
        ("basic: { user: WEIR, password: { file: token } }", [TOKEN, pair]),
        ("header: { name: X-Key, value: { file: token } }", [TOKEN, TOKEN]),
    ] {
        let server = Listener::start(|heard| {
            let status = heard.target().trim_start_matches('/');
            let filled = "x".repeat(490);
            answer(&format!("{status} X"), "", format!("NOT YOU {} {TOKEN} {filled} {}", heard.head, heard.head))
        })
        .await?;
        let connected = Connected::new(&server.url, &format!("credential: {{ {credential} }}, {rules}"), tools)?;
        for status in ["200", "400", "401", "403", "404", "500", "503"] {
            let arguments = json!({ "x": status }).to_string();
            let said = format!("{:?}", connected.ask("ask", &arguments, Effect::Read).await);
            ensure!(said.contains("NOT YOU"), "{status}: {said}");
            ensure!(!secrets.iter().any(|secret| said.contains(secret)), "{status}: {said}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_says_where_and_is_no_reason_to_repeat_a_write() -> Result<()> {
    let tools = "
      record:
        effect: read
        request: { path: '/{x}' }
        arguments: { x: { type: string } }
        answer: { fixed_width: { copybook: '       01 R. 05 ID PIC 9(4). 05 AMOUNT PIC S9(3)V99 COMP-3.', encoding: utf8 } }
      json: { effect: read, request: { path: '/{x}' }, arguments: { x: { type: string } } }
      do: { effect: write, request: { method: POST, path: '/{x}' }, arguments: { x: { type: string } } }";
    let server = Listener::start(|heard| match heard.target() {
        "/good" => answer("200 OK", "", b"0042\x12\x34\x5d"),
        "/digit" => answer("200 OK", "", b"0042\x12\xf4\x5d"),
        "/short" => answer("200 OK", "", b"0042\x12"),
        "/gzip" => answer("200 OK", "content-type: application/json\r\ncontent-encoding: gzip\r\n", b"\x1f\x8b"),
        "/none" => answer("204 No Content", "", ""),
        "/mark" => ok("\u{feff}{\"rc\":\"00\"}"),
        "/deep" => ok(&format!("{}0{}", "[".repeat(101), "]".repeat(101))),
        "/latin" => answer("200 OK", "content-type: application/json\r\n", b"\"\xfc\""),
        _ => answer("200 OK", "content-type: text/html\r\n", "<p>hello</p>"),
    })
    .await?;
    let connected = Connected::new(&server.url, "concurrency: 8", tools)?;
    let good = connected.read("record", r#"{"x":"good"}"#).await?;
    ensure!(good["structuredContent"] == json!({ "id": 42, "amount": -123.45 }), "{good}");
    ensure!(connected.read("json", r#"{"x":"none"}"#).await?["structuredContent"] == json!({ "result": null }));
    ensure!(connected.read("json", r#"{"x":"mark"}"#).await?["structuredContent"] == json!({ "rc": "00" }));
    for (tool, path, told) in [
        ("json", "deep", "it is nested more than 100 deep"),
        ("json", "latin", "it is not UTF-8, as JSON must be; its type is application/json"),
        ("record", "digit", "field amount, byte "),
        ("record", "short", "byte "),
        ("json", "html", "it is not JSON; its type is text/html"),
        ("json", "gzip", "it is compressed (gzip), which nobody asked for"),
    ] {
        let error = connected.failure(tool, &json!({ "x": path }).to_string(), Effect::Read).await?;
        ensure!((error.class, error.sent) == (ErrorClass::Protocol, Sent::Yes), "{path}: {error:?}");
        ensure!(error.message.contains(told), "{path}: {error}");
    }
    let error = connected.failure("do", r#"{"x":"html"}"#, Effect::Write).await?;
    ensure!((error.class, error.sent) == (ErrorClass::Protocol, Sent::Unknown), "{error:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_would_swell_are_refused_before_they_fill_the_memory() -> Result<()> {
    let fields: String =
        (0..60).map(|n| format!(" 05 A-FIELD-WITH-A-VERY-LONG-NAME-THAT-GOES-ON-AND-ON-{n:02} PIC 9.")).collect();
    let tools = format!(
        "
      many: {{ effect: read, request: {{ path: /a }}, answer: {{ fixed_width: {{ many: true, copybook: '01 R.{fields}' }} }} }}
      one:
        effect: read
        request: {{ path: /a }}
        answer: {{ fixed_width: {{ copybook: '01 R. 03 T OCCURS 1000.{fields}' }} }}
      do:
        request: {{ method: POST, path: /a }}
        answer: {{ fixed_width: {{ many: true, copybook: '01 R.{fields}' }} }}"
    );
    let server = Listener::start(|_| answer("200 OK", "", vec![0xf1; 60_000])).await?;
    let connected = Connected::new(&server.url, "answer_bytes_max: 64KiB", &tools)?;
    for (tool, effect, sent) in
        [("many", Effect::Read, Sent::Yes), ("one", Effect::Read, Sent::Yes), ("do", Effect::Write, Sent::Unknown)]
    {
        let error = connected.failure(tool, "{}", effect).await?;
        ensure!((error.class, error.sent) == (ErrorClass::TooLarge, sent), "{tool}: {error:?}");
        let told = format!(
            "The answer of mainframe to `{tool}` is too large: as JSON it is larger than 524288 bytes. Ask for less."
        );
        ensure!(error.message == told, "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn what_no_adapter_can_be_made_of_is_told_with_its_setting_and_line() -> Result<()> {
    let tools = "\n      t: { effect: read, request: { path: /t } }";
    let error = Connected::new("https://a..b", "concurrency: 8", tools).err().context("it was built")?;
    ensure!(error.to_string().starts_with("downstreams.mainframe.mainframe.base_url: "), "{error}");
    for (fixed_width, told) in [
        (
            "copybook: \"01 R.\\n  05 A PIC 9(4.\"",
            "downstreams.mainframe.tools.t.answer.fixed_width.copybook: line 2 of the copybook: ",
        ),
        ("copybook_file: no.cpy", "downstreams.mainframe.tools.t.answer.fixed_width.copybook_file: no.cpy: "),
        (
            "copybook_file: /dev/zero",
            "downstreams.mainframe.tools.t.answer.fixed_width.copybook_file: /dev/zero: is larger than 256 KiB",
        ),
    ] {
        let tools = format!(
            "\n      t: {{ effect: read, request: {{ path: /t }}, answer: {{ fixed_width: {{ {fixed_width} }} }} }}"
        );
        let error = Connected::new("http://127.0.0.1:1", "concurrency: 8", &tools).err().context("it was built")?;
        ensure!(error.to_string().starts_with(told), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_in_pieces_is_read_whole_and_one_that_breaks_off_is_lost() -> Result<()> {
    let tools = "
      ask: { effect: read, request: { path: '/{x}' }, arguments: { x: { type: string } } }
      do: { effect: write, request: { method: POST, path: '/{x}' }, arguments: { x: { type: string } } }";
    let server = Listener::start(|heard| {
        let chunked =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n4\r\n{\"a\"\r\n3\r\n:1}\r\n"
                .to_vec();
        match heard.target() {
            "/whole" => Said::Bytes([&chunked[..], b"0\r\n\r\n"].concat()),
            "/broken" => Said::Bytes(chunked),
            "/short" => Said::Bytes([head("200 OK", "", 100), b"{\"a\":1}".to_vec()].concat()),
            _ => Said::Bytes(Vec::new()),
        }
    })
    .await?;
    let connected = Connected::new(&server.url, "concurrency: 8", tools)?;
    ensure!(connected.read("ask", r#"{"x":"whole"}"#).await?["structuredContent"]["a"] == 1);
    for path in ["broken", "short", "nothing"] {
        let arguments = json!({ "x": path }).to_string();
        let error = connected.failure("ask", &arguments, Effect::Read).await?;
        ensure!(error.class == ErrorClass::ConnectionLost, "{path}: {error:?}");
        let before = server.heard().len();
        let error = connected.failure("do", &arguments, Effect::Write).await?;
        ensure!((error.class, error.sent) == (ErrorClass::ConnectionLost, Sent::Unknown), "{path}: {error:?}");
        ensure!(server.heard().len() == before + 1, "{path}: a write was sent {} times", server.heard().len() - before);
    }
    Ok(())
}
