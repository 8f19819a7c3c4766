//! Records of a mainframe, from their EBCDIC bytes through the whole router to a caller.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::mainframe::{ACCOUNT_COPYBOOK, HISTORY_COPYBOOK, Mainframe, MainframeOptions};
use tests::TestRouter;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The first order of the stand-in's data; the others are two apart. No double holds it.
const ORDER_FIRST: i64 = (1 << 53) + 1;

async fn mainframe() -> Result<Mainframe> {
    Mainframe::start("127.0.0.1:0", MainframeOptions::default()).await
}

/// A router in front of it, with these tools beside `order_status`.
async fn router(mainframe: &Mainframe, mut tools: Value) -> Result<TestRouter> {
    let number = json!({ "type": "integer" });
    let request = json!({ "path": "/orders/{order}/status" });
    tools["order_status"] = json!({ "effect": "read", "arguments": { "order": number }, "request": request });
    let config = json!({
        "identity": { "local": { "roles": ["all"] } },
        "policy": { "roles": { "all": { "allow": ["*"] } } },
        "downstreams": { "mainframe": {
            "mainframe": {
                "base_url": mainframe.url,
                "error_screens": [{ "contains": "ACCOUNT NOT FOUND", "means": "not_found" }],
            },
            "tools": tools,
        } },
    });
    TestRouter::ready(&config.to_string()).await
}

fn records(path: &str, copybook: &str, many: bool) -> Value {
    json!({
        "effect": "read",
        "arguments": { "number": { "type": "integer" } },
        "request": { "path": path },
        "answer": { "fixed_width": { "copybook": copybook, "many": many } },
    })
}

fn usual() -> Value {
    json!({
        "get_account": records("/cics/acct/{number}", ACCOUNT_COPYBOOK, false),
        "account_history": records("/cics/hist/{number}", HISTORY_COPYBOOK, true),
    })
}

/// What a tool says, as the very text that the caller gets: its numbers are judged digit for digit.
async fn call(router: &TestRouter, tool: &str, arguments: Value) -> Result<String> {
    let answer = router.call(None, &format!("mainframe__{tool}"), arguments).await?;
    let result = answer.result()?;
    ensure!(result["isError"] != true, "{result}");
    let text = result["content"][0]["text"].as_str().context("a text")?.to_owned();
    ensure!(answer.text.contains(&format!(r#""structuredContent":{text}"#)), "{}", answer.text);
    Ok(text)
}

/// The number of the account that an order is of.
async fn account_of(router: &TestRouter, order: i64) -> Result<i64> {
    let status = call(router, "order_status", json!({ "order": order })).await?;
    serde_json::from_str::<Value>(&status)?["order"]["account"].as_i64().context("an account")
}

/// The bytes of an answer, without Weir.
async fn bytes(mainframe: &Mainframe, path: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(mainframe.addr).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: mainframe\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n").context("a head")?;
    Ok(answer.split_off(head + 4))
}

/// What packed digits say, read as a person reads a dump: two decimals, the sign last.
fn packed_amount(bytes: &[u8]) -> String {
    let dump: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    let (digits, sign) = dump.split_at(dump.len() - 1);
    let (whole, cents) = digits.split_at(digits.len() - 2);
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let minus = if sign == "D" && digits.bytes().any(|digit| digit != b'0') { "-" } else { "" };
    format!("{minus}{whole}.{cents}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_read_from_its_ebcdic_bytes_digit_for_digit() -> Result<()> {
    let mainframe = mainframe().await?;
    let router = router(&mainframe, usual()).await?;
    let mut owed = 0;
    for order in (ORDER_FIRST..).step_by(2).take(40) {
        let number = account_of(&router, order).await?;
        ensure!(number > 1 << 53, "a number that a double holds proves nothing: {number}");
        let account = call(&router, "get_account", json!({ "number": number })).await?;
        let record = bytes(&mainframe, &format!("/cics/acct/{number}")).await?;
        ensure!(record.len() == 192 && record[..8] == number.to_be_bytes(), "{record:02x?}");
        let balance = packed_amount(&record[84..91]);
        owed += usize::from(balance.starts_with('-'));
        for member in [
            format!(r#"{{"acct_number":"{number}","acct_customer_id":"C-"#),
            format!(r#""acct_balance":{balance},"acct_credit_limit":{},"#, packed_amount(&record[91..98])),
        ] {
            ensure!(account.contains(&member), "{member}\n{account}");
        }
        let account: Value = serde_json::from_str(&account)?;
        ensure!(account["acct_year"].as_array().is_some_and(|years| years.len() == 3), "{account}");
        let name = account["acct_name"].as_str().context("a name")?;
        ensure!(!name.is_empty() && name.trim_end() == name && !name.contains('\u{fffd}'), "{account}");
    }
    ensure!(owed > 0, "no account with a minus was among them");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_a_list_of_records() -> Result<()> {
    let mainframe = mainframe().await?;
    let router = router(&mainframe, usual()).await?;
    let mut read = 0;
    for order in (ORDER_FIRST..).step_by(2).take(20) {
        let number = account_of(&router, order).await?;
        let history = call(&router, "account_history", json!({ "number": number })).await?;
        let dump = bytes(&mainframe, &format!("/cics/hist/{number}")).await?;
        let entries: Value = serde_json::from_str(&history)?;
        let entries = entries["records"].as_array().context("records")?;
        ensure!(entries.len() * 72 == dump.len(), "{} entries of {} bytes", entries.len(), dump.len());
        for record in dump.chunks(72) {
            let balance = format!(r#""hist_balance":{},"#, packed_amount(&record[62..69]));
            ensure!(history.contains(&balance), "{balance}\n{history}");
        }
        // In code page 037 the ö is a byte of its own.
        ensure!(entries.iter().all(|entry| entry["hist_type"] != "PU" || entry["hist_text"] == "Köp / purchase"));
        read += entries.len();
    }
    ensure!(read > 10, "only {read} entries were there to be read");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_told_the_fields_of_a_record() -> Result<()> {
    let mainframe = mainframe().await?;
    let router = router(&mainframe, usual()).await?;
    let tools = router.modern(None, "tools/list", json!({})).await?.result()?;
    let schema = |tool: &str| {
        let tools = tools["tools"].as_array().into_iter().flatten();
        tools.clone().find(|listed| listed["name"] == tool).map(|listed| listed["outputSchema"].clone())
    };
    let account = schema("mainframe__get_account").context("the account")?;
    assert_eq!(account["properties"]["acct_number"], json!({ "type": "string", "pattern": "^-?[0-9]+$" }));
    assert_eq!(account["properties"]["acct_balance"], json!({ "type": "number" }));
    let states = "A: acct_active; S: acct_suspended; C: acct_closed";
    assert_eq!(account["properties"]["acct_status"]["description"], states);
    let history = schema("mainframe__account_history").context("the history")?;
    assert_eq!(history["properties"]["records"]["items"]["properties"]["hist_amount"], json!({ "type": "number" }));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_not_what_the_copybook_says_names_field_and_byte() -> Result<()> {
    let mainframe = mainframe().await?;
    let mut tools = usual();
    tools["wrong"] = records("/cics/acct/{number}", HISTORY_COPYBOOK, false);
    tools["short"] = records("/cics/acct/{number}", "01 R. 05 HEAD PIC X(190). 05 REST PIC X(3).", false);
    tools["long"] = records("/cics/acct/{number}", "01 R. 05 HEAD PIC X(190).", false);
    let router = router(&mainframe, tools).await?;
    let number = account_of(&router, ORDER_FIRST).await?;
    for (tool, part) in [
        ("wrong", "field hist_seq, byte "),
        ("short", "field rest, byte 190: the answer ends too early"),
        ("long", "byte 190: the record ends here, and more bytes follow (2)"),
    ] {
        let answer = router.call(None, &format!("mainframe__{tool}"), json!({ "number": number })).await?;
        let result = answer.result()?;
        let text = result["content"][0]["text"].as_str().context("a text")?;
        ensure!(result["isError"] == true && text.contains(part), "{tool}: {text}");
    }
    call(&router, "get_account", json!({ "number": number })).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copybook_that_is_not_understood_is_refused_at_the_start() -> Result<()> {
    let mainframe = mainframe().await?;
    let tools = json!({ "get_account": records("/cics/acct/{number}", "01 R.\n   05 RATE COMP-1.\n", false) });
    let error = format!("{:#}", router(&mainframe, tools).await.err().context("it started")?);
    ensure!(error.contains("line 2 of the copybook") && error.contains("floating point"), "{error}");
    ensure!(error.contains("get_account"), "{error}");
    Ok(())
}
