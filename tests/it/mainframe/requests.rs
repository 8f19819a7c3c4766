//! What leaves: an argument is one part of its request, whatever it says.

use adapters::{ErrorClass, Sent};
use anyhow::{Result, ensure};
use config::Effect;
use proptest::{
    prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof},
    test_runner::TestRunner,
};
use serde_json::json;

use super::{Connected, Listener, TOKEN, ok};

const ANY: &str = "
      path: { effect: read, request: { path: '/a/{x}/b' }, arguments: { x: { type: string } } }
      matrix: { effect: read, request: { path: '/a/{x};v=1/b' }, arguments: { x: { type: string } } }
      query: { effect: read, request: { path: /q, query: { x: '{x}', y: 'is {x}' } }, arguments: { x: { type: string } } }
      header: { effect: read, request: { path: /h, headers: { X-Term: 'T-{x}' } }, arguments: { x: { type: string } } }
      form: { request: { method: POST, path: /f, body: { form: { x: '{x}', last: end } } }, arguments: { x: { type: string } } }
      json: { request: { method: POST, path: /j, body: { json: { x: '{x}', y: 'is {x}' } } }, arguments: { x: { type: string } } }";

/// A server behind a path of its own, and the tools above.
async fn scene() -> Result<(Listener, Connected)> {
    let server = Listener::start(|_| ok("{}")).await?;
    let connected = Connected::new(&format!("{}/base", server.url), "credential: { bearer: { file: token } }", ANY)?;
    Ok((server, connected))
}

/// By this header a system hears how long it is waited for.
const TIME_LEFT: &str = "x-envoy-expected-rq-timeout-ms";

#[tokio::test]
async fn an_argument_is_one_segment_or_one_parameter_whatever_it_says() -> Result<()> {
    let table = [
        ("../../admin", "..%2F..%2Fadmin"),
        ("%2e%2e%2f", "%252e%252e%252f"),
        ("a?x=1", "a%3Fx%3D1"),
        ("a#", "a%23"),
        ("a\r\nX-Y: z", "a%0D%0AX-Y%3A%20z"),
        ("..;/", "..%3B%2F"),
        ("\u{ff0e}\u{ff0e}/", "%EF%BC%8E%EF%BC%8E%2F"),
        ("a&b=c", "a%26b%3Dc"),
        ("http://evil.example/", "http%3A%2F%2Fevil.example%2F"),
        ("@evil.example", "%40evil.example"),
        ("\0", "%00"),
        ("\\..\\", "%5C..%5C"),
        ("...", "..."),
        ("-._~aZ09", "-._~aZ09"),
    ];
    for (text, encoded) in table {
        let (server, connected) = scene().await?;
        let arguments = json!({ "x": text }).to_string();
        connected.read("path", &arguments).await?;
        let heard = server.only()?;
        ensure!(heard.target() == format!("/base/a/{encoded}/b"), "{text}: {}", heard.head);
        connected.read("query", &arguments).await?;
        let heard = &server.heard()[1];
        ensure!(heard.target() == format!("/base/q?x={encoded}&y=is%20{encoded}"), "{text}: {}", heard.head);
        for heard in server.heard() {
            let names: Vec<_> = heard.headers().into_iter().map(|(name, _)| name).collect();
            ensure!(names == ["accept", TIME_LEFT, "host", "authorization"], "{text}: {}", heard.head);
            ensure!(heard.header("host").is_some_and(|host| server.url.ends_with(&host)), "{text}: {}", heard.head);
            ensure!(heard.header("authorization") == Some(format!("Bearer {TOKEN}")), "{text}: {}", heard.head);
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_argument_that_would_leave_its_place_is_refused_by_name() -> Result<()> {
    let (server, connected) = scene().await?;
    for (tool, text, told) in [
        ("path", "", "`x` is a part of a path, which must not be empty, `.` or `..`. Nothing was sent."),
        ("path", ".", "`x` is a part of a path, which must not be empty, `.` or `..`. Nothing was sent."),
        ("path", "..", "`x` is a part of a path, which must not be empty, `.` or `..`. Nothing was sent."),
        // Servers that know parameters of a segment take those away before they go where it leads.
        ("matrix", "", "`x` is a part of a path, which must not be empty, `.` or `..`. Nothing was sent."),
        ("matrix", ".", "`x` is a part of a path, which must not be empty, `.` or `..`. Nothing was sent."),
        ("matrix", "..", "`x` is a part of a path, which must not be empty, `.` or `..`. Nothing was sent."),
        (
            "header",
            "a\r\nX-Y: z",
            "`x` is sent in a header, which takes only visible ASCII characters and spaces. Nothing was sent.",
        ),
        (
            "header",
            "ü",
            "`x` is sent in a header, which takes only visible ASCII characters and spaces. Nothing was sent.",
        ),
        (
            "header",
            "\t",
            "`x` is sent in a header, which takes only visible ASCII characters and spaces. Nothing was sent.",
        ),
    ] {
        let error = connected.failure(tool, &json!({ "x": text }).to_string(), Effect::Read).await?;
        ensure!((error.class, error.sent) == (ErrorClass::InvalidArguments, Sent::No), "{text}: {error:?}");
        ensure!(error.message == told, "{text}: {error}");
    }
    let long = json!({ "x": "x".repeat(100_000) }).to_string();
    let error = connected.failure("path", &long, Effect::Read).await?;
    ensure!(error.class == ErrorClass::InvalidArguments && error.message.contains("too long"), "{error:?}");
    ensure!(server.heard().is_empty(), "{:?}", server.heard());
    Ok(())
}

/// Any text, with those that servers resolve among it more often than chance would have them.
fn texts() -> impl Strategy<Value = String> {
    const ODD: &[&str] = &[
        "/", "..", ".", "%2f", "%2e", "?", "#", ";", "\\", "\r\n", "\0", "&", "=", "+", " ", ":", "@", "//", "{x}", "}",
    ];
    let piece = prop_oneof![
        3 => proptest::sample::select(ODD).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => any::<char>().prop_map(String::from),
        1 => Just(String::new()),
    ];
    proptest::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

#[test]
fn any_text_leads_to_the_same_route_with_the_same_headers() -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let (server, connected) = runtime.block_on(scene())?;
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() });
    runner.run(&texts(), |text| {
        let arguments = json!({ "x": text }).to_string();
        for (tool, effect) in [
            ("path", Effect::Read),
            ("query", Effect::Read),
            ("header", Effect::Read),
            ("form", Effect::Write),
            ("json", Effect::Write),
        ] {
            let before = server.heard().len();
            let outcome = runtime.block_on(connected.ask(tool, &arguments, effect));
            let heard = server.heard();
            let Some(heard) = heard.get(before) else {
                let error = outcome.expect_err("an answer without a request");
                prop_assert_eq!(error.class, ErrorClass::InvalidArguments, "{}", error);
                prop_assert!(error.message.contains("`x`") && matches!(tool, "path" | "header"), "{}", error);
                continue;
            };
            prop_assert!(outcome.is_ok(), "{:?}", outcome);
            let headers = heard.headers();
            let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
            let expected = match tool {
                "path" | "query" => vec!["accept", TIME_LEFT, "host", "authorization"],
                "header" => vec!["accept", "x-term", TIME_LEFT, "host", "authorization"],
                _ => vec!["accept", "content-type", TIME_LEFT, "host", "authorization", "content-length"],
            };
            prop_assert_eq!(names, expected, "{}", &heard.head);
            let (path, query) = heard.target().split_once('?').unwrap_or((heard.target(), ""));
            match tool {
                "path" => {
                    let segments: Vec<_> = path.split('/').collect();
                    prop_assert!(matches!(segments[..], ["", "base", "a", _, "b"]), "{}", path);
                    prop_assert!(!matches!(segments[3], "" | "." | ".."), "{}", path);
                    prop_assert_eq!(decoded(segments[3]), text.clone());
                }
                "query" => {
                    prop_assert_eq!(path, "/base/q");
                    let parameters: Vec<_> = query.split('&').collect();
                    prop_assert_eq!(parameters.len(), 2, "{}", query);
                    prop_assert_eq!(decoded(parameters[0]), format!("x={text}"));
                }
                "header" => {
                    prop_assert_eq!(path, "/base/h");
                    let value = heard.header("x-term").unwrap_or_default();
                    let expected = format!("T-{text}");
                    prop_assert_eq!(value.trim_end(), expected.trim_end());
                }
                "form" => {
                    let fields: Vec<_> = heard.body.split('&').collect();
                    prop_assert!(fields.len() == 2 && fields[1] == "last=end", "{}", &heard.body);
                    prop_assert_eq!(decoded(&fields[0].replace('+', " ")), format!("x={text}"));
                }
                _ => {
                    let body: serde_json::Value = serde_json::from_str(&heard.body).expect("a JSON body");
                    prop_assert_eq!(body, json!({ "x": text, "y": format!("is {text}") }));
                }
            }
        }
        Ok(())
    })?;
    Ok(())
}

/// Percent-decoded, by a decoder that shares nothing with the encoder under test.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        if byte == b'%' {
            let digits = std::str::from_utf8(&behind[..2]).expect("two digits");
            bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
            rest = &behind[2..];
        } else {
            bytes.push(byte);
            rest = behind;
        }
    }
    String::from_utf8(bytes).expect("text")
}

#[tokio::test]
async fn a_json_body_gets_arguments_with_their_type_and_their_very_digits() -> Result<()> {
    let tools = "
      put:
        request:
          method: PUT
          path: /put
          headers: { content-type: application/vnd.legacy+json, x-trace: '{trace}' }
          query: { page: '{page}', both: '{page}-{trace}' }
          body:
            json:
              n: '{n}'
              o: '{o}'
              list: ['{a}', '{trace}', fixed, 7]
              text: 'n is {n}, {{braces}}'
              inner: { page: '{page}', none: null, yes: true }
        arguments:
          n: { type: number }
          o: { type: object }
          a: { type: array, items: integer }
          trace: { type: string, required: false }
          page: { type: integer, required: false, default: 1 }";
    let server = Listener::start(|_| ok("{}")).await?;
    let connected = Connected::new(&server.url, "concurrency: 1", tools)?;
    let arguments =
        r#"{"n":123456789012345678901234567890.0010e-5,"o":{ "z":9007199254740993,"a":"\u00e9" },"a":[1, 2]}"#;
    connected.ask("put", arguments, Effect::Write).await?;
    let heard = server.only()?;
    ensure!(heard.head.starts_with("PUT /put?page=1&both=1- HTTP/1.1\r\n"), "{}", heard.head);
    ensure!(heard.header("content-type").as_deref() == Some("application/vnd.legacy+json"), "{}", heard.head);
    ensure!(heard.header("x-trace").is_none(), "{}", heard.head);
    ensure!(
        heard.body
            == r#"{"n":123456789012345678901234567890.0010e-5,"o":{ "z":9007199254740993,"a":"\u00e9" },"list":[[1, 2],"fixed",7],"text":"n is 1234567890123456789012345.67890001, {braces}","inner":{"page":1,"none":null,"yes":true}}"#,
        "{}",
        heard.body
    );
    let arguments = r#"{"n":1,"o":{},"a":[],"trace":"a b\"c","page":5e0}"#;
    connected.ask("put", arguments, Effect::Write).await?;
    let heard = &server.heard()[1];
    ensure!(heard.head.starts_with("PUT /put?page=5&both=5-a%20b%22c HTTP/1.1\r\n"), "{}", heard.head);
    ensure!(heard.header("x-trace").as_deref() == Some("a b\"c"), "{}", heard.head);
    ensure!(
        heard.body.contains(r#""list":[[],"a b\"c","fixed",7]"#) && heard.body.contains(r#""page":5e0"#),
        "{}",
        heard.body
    );
    Ok(())
}

#[tokio::test]
async fn where_there_is_only_text_no_number_has_an_exponent() -> Result<()> {
    let tools = "
      ask:
        effect: read
        request: { path: '/{n}', query: { i: '{i}' } }
        arguments: { n: { type: number }, i: { type: integer } }
      put: { request: { method: POST, path: /put, body: { json: { n: '{n}' } } }, arguments: { n: { type: number } } }";
    let server = Listener::start(|_| ok("{}")).await?;
    let connected = Connected::new(&server.url, "concurrency: 1", tools)?;
    for (n, i, target) in [
        ("1e3", "5e0", "/1000?i=5"),
        ("1e-05", "-0", "/0.00001?i=0"),
        ("-12.50E1", "1.50e1", "/-125?i=15"),
        ("-12.5E-1", "7.0", "/-1.25?i=7"),
        ("0e9", "0e-9", "/0?i=0"),
        ("10.50", "9007199254740993", "/10.50?i=9007199254740993"),
        (
            "0.12345678901234567890123456789012345678901234567890",
            "12345678901234567890123456789012345678901234567890",
            "/0.12345678901234567890123456789012345678901234567890?i=12345678901234567890123456789012345678901234567890",
        ),
    ] {
        connected.read("ask", &format!(r#"{{"n":{n},"i":{i}}}"#)).await?;
        let heard = server.heard().pop().expect("just heard");
        ensure!(heard.target() == target, "{n} {i}: {}", heard.head);
    }
    let before = server.heard().len();
    for (n, i, name) in [("1e400", "1", "n"), ("1e-400", "1", "n"), ("1", "1e50", "i"), ("1", "1e999999999999999", "i")]
    {
        let error = connected.failure("ask", &format!(r#"{{"n":{n},"i":{i}}}"#), Effect::Read).await?;
        let told =
            format!("`{name}` has too many digits to be written out where only text can stand. Nothing was sent.");
        ensure!(error.class == ErrorClass::InvalidArguments && error.message == told, "{n} {i}: {error}");
    }
    ensure!(server.heard().len() == before, "{:?}", server.heard());
    connected.ask("put", r#"{"n":1e400}"#, Effect::Write).await?;
    ensure!(server.heard().pop().is_some_and(|heard| heard.body == r#"{"n":1e400}"#));
    Ok(())
}

#[tokio::test]
async fn thousands_of_numbers_arrive_with_the_digits_they_left_with() -> Result<()> {
    const COUNT: u64 = 3000;
    let tools = "
      put: { request: { method: POST, path: '/{n}', body: { json: { n: '{n}' } } }, arguments: { n: { type: number } } }
      back: { effect: read, request: { path: /back } }";
    let server = Listener::start(|heard| {
        let numbers = (0..COUNT).map(number).collect::<Vec<_>>().join(",");
        if heard.target() == "/back" { ok(&format!(r#"{{"numbers":[{numbers}]}}"#)) } else { ok("{}") }
    })
    .await?;
    let connected = Connected::new(&server.url, "concurrency: 4", tools)?;
    for index in (0..COUNT).step_by(20) {
        connected.ask("put", &format!(r#"{{"n":{}}}"#, number(index)), Effect::Write).await?;
        let heard = server.heard().pop().expect("just heard");
        let encoded = number(index).replace('+', "%2B");
        ensure!(heard.target() == format!("/{encoded}"), "{}", heard.head);
        ensure!(heard.body == format!(r#"{{"n":{}}}"#, number(index)), "{}", heard.body);
    }
    let reply = connected.ask("back", "{}", Effect::Read).await?;
    let adapters::Reply::Complete(bytes) = reply else { anyhow::bail!("{reply:?}") };
    let text = std::str::from_utf8(&bytes)?;
    let (_, structured) = text.split_once("\"structuredContent\":").expect("structured");
    for (index, found) in structured.trim_matches(|c| "{}[]\"numbers:".contains(c)).split(',').enumerate() {
        ensure!(found == number(index as u64), "{index}: {found}");
    }
    Ok(())
}

/// Numbers that a double would change.
fn number(index: u64) -> String {
    match index % 4 {
        0 => (u64::MAX - index).to_string(),
        1 => format!("-{}.{:010}", 9_007_199_254_740_993 + index, index),
        2 => format!("{index}.50E+{index}"),
        _ => format!("0.{index:030}1"),
    }
}
