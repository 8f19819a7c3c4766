//! Values of Postgres come as JSON without loss. Postgres itself says what is right.

use anyhow::Result;
use proptest::{
    prelude::{Strategy, any},
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::Database;

/// How many values each property is tried with.
const CASES: usize = 120;

#[tokio::test]
async fn each_type_has_its_json_form() -> Result<()> {
    let cases = [
        ("true", "true"),
        ("NULL::int", "null"),
        ("'-32768'::int2", "-32768"),
        ("'-2147483648'::int4", "-2147483648"),
        ("9223372036854775807", "9223372036854775807"),
        ("4294967295::oid", "4294967295"),
        ("'18446744073709551615'::xid8", "18446744073709551615"),
        ("0.10::numeric", "0.10"),
        ("-12345678901234567890.00012300::numeric", "-12345678901234567890.00012300"),
        ("1e20::numeric", "100000000000000000000"),
        ("'NaN'::numeric", r#""NaN""#),
        ("'-Infinity'::numeric", r#""-Infinity""#),
        ("0.1::float4", "0.1"),
        ("1e300::float8", "1e300"),
        ("'-0'::float8", "-0.0"),
        ("'Infinity'::float4", r#""Infinity""#),
        ("'NaN'::float8", r#""NaN""#),
        (r#"E'a"\\ \n\u20ac'::text"#, r#""a\"\\ \n€""#),
        ("'ab'::char(4)", r#""ab  ""#),
        ("'x'::\"char\"", r#""x""#),
        ("'pg_class'::name", r#""pg_class""#),
        ("'blue'::color", r#""blue""#),
        ("5::positive", "5"),
        ("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid", r#""a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11""#),
        (r"'\x00ff10'::bytea", r#""AP8Q""#),
        ("'2026-11-01'::date", r#""2026-11-01""#),
        ("'2000-02-29'::date", r#""2000-02-29""#),
        ("'infinity'::date", r#""infinity""#),
        ("'0044-03-15 BC'::date", r#""-000043-03-15""#),
        ("'0001-12-31 BC'::date", r#""0000-12-31""#),
        ("'12345-06-07'::date", r#""+012345-06-07""#),
        ("'5874897-12-31'::date", r#""+5874897-12-31""#),
        ("'09:30:00.5'::time", r#""09:30:00.5""#),
        ("'24:00'::time", r#""24:00:00""#),
        ("'09:30-05:30:15'::timetz", r#""09:30:00-05:30:15""#),
        ("'09:30+02'::timetz", r#""09:30:00+02:00""#),
        ("'1999-12-31 23:59:59.999999'::timestamp", r#""1999-12-31T23:59:59.999999""#),
        ("'2026-11-01 10:00+02'::timestamptz", r#""2026-11-01T08:00:00Z""#),
        ("'-infinity'::timestamptz", r#""-infinity""#),
        ("'294276-12-31 23:59:59'::timestamp", r#""+294276-12-31T23:59:59""#),
        ("'4713-11-24 BC'::timestamp", r#""-004712-11-24T00:00:00""#),
        ("'1 year 2 mons 3 days 04:05:06.7'::interval", r#""P1Y2M3DT4H5M6.7S""#),
        ("'-1 mon +2 days -00:00:00.25'::interval", r#""P-1M2DT-0.25S""#),
        ("'0'::interval", r#""PT0S""#),
        (
            r#"'{"b":1, "a":  [1e400, 12345678901234567890], "b":2}'::json"#,
            r#"{"b":1, "a":  [1e400, 12345678901234567890], "b":2}"#,
        ),
        ("E'[1,\\n\\t2]'::json", "[1,  2]"),
        (r#"'{"b":1.10,"a":null}'::jsonb"#, r#"{"a": null, "b": 1.10}"#),
        ("'{1,NULL,3}'::int[]", "[1,null,3]"),
        ("'{{a,\"b c\"},{NULL,\"\"}}'::text[]", r#"[["a","b c"],[null,""]]"#),
        ("'{}'::int[]", "[]"),
        ("'[5:6]={1,2}'::int[]", "[1,2]"),
        ("ARRAY[1.50, 'NaN']::numeric[]", r#"[1.50,"NaN"]"#),
        ("ARRAY['{\"a\":1}'::jsonb]", r#"[{"a": 1}]"#),
        ("ARRAY['red']::color[]", r#"["red"]"#),
        ("'10.0.0.1'::inet", r#""10.0.0.1""#),
        ("'10.0.0.1/8'::inet", r#""10.0.0.1/8""#),
        ("'10.0.0.0/8'::cidr", r#""10.0.0.0/8""#),
        ("'2001:db8::1'::inet", r#""2001:db8::1""#),
        ("'::1.2.3.4'::inet", r#""::1.2.3.4""#),
        ("'::ffff:1.2.3.4/96'::inet", r#""::ffff:1.2.3.4/96""#),
        ("'08:00:2b:01:02:03'::macaddr", r#""08:00:2b:01:02:03""#),
        ("'08:00:2b:01:02:03:04:05'::macaddr8", r#""08:00:2b:01:02:03:04:05""#),
        ("pg_advisory_unlock_all()", "null"),
    ];
    let database = Database::new(SETUP, "{}", &one_tool(&cases)).await?;
    assert_row(&database, &cases).await
}

#[tokio::test]
async fn types_without_a_form_of_their_own_come_as_the_text_that_postgres_prints() -> Result<()> {
    let cases = [
        ("1", "1"),
        ("'[1,5)'::int4range", r#""[1,5)""#),
        ("'empty'::daterange", r#""empty""#),
        ("'{[1,2),[4,5)}'::int4multirange", r#""{[1,2),[4,5)}""#),
        ("ARRAY['[1,5)'::int4range, NULL]", r#"["[1,5)",null]"#),
        ("ROW(1, 'a b', NULL)", r#""(1,\"a b\",)""#),
        ("ROW(NULL, NULL)::pair", r#""(,)""#),
        ("NULL::pair", "null"),
        ("'(1,2)'::point", r#""(1,2)""#),
        ("B'101'", r#""101""#),
        ("'1.50'::money", r#""$1.50""#),
        ("'pg_class'::regclass", r#""pg_class""#),
        ("'a & b'::tsquery", r#""'a' & 'b'""#),
        ("'2026-11-01'::date", r#""2026-11-01""#),
    ];
    let database = Database::new(SETUP, "{}", &one_tool(&cases)).await?;
    assert_row(&database, &cases).await
}

#[tokio::test]
async fn columns_keep_their_order_and_have_each_name_once() -> Result<()> {
    let tool = "\n      show: { effect: read, sql: 'SELECT 1 AS z, 2 AS a, 3 AS z, 4;' }";
    let database = Database::new("", "{}", tool).await?;
    let answer = database.call("show", "{}").await?;
    assert_eq!(answer.text(), r#"{"rows":[{"z":1,"a":2,"z_2":3,"?column?":4}],"row_count":1,"truncated":false}"#);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_keep_every_digit() -> Result<()> {
    let tool = pair_tool("numeric", "$1::text::numeric::text");
    let database = Database::new("", "{}", &tool).await?;
    for number in samples(r"-?[0-9]{1,45}(\.[0-9]{0,40})?(e-?[0-9]{1,2})?") {
        let (value, text) = both(&database, &number).await?;
        assert_eq!(value, text, "{number}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn floats_are_the_same_floats() -> Result<()> {
    let tool = pair_tool("float8", "$1::text::float8::text");
    let database = Database::new("", "{}", &tool).await?;
    for bits in samples(any::<u64>()) {
        let float = f64::from_bits(bits);
        let (value, text) = both(&database, &format!("{float:?}").replace("inf", "Infinity")).await?;
        let read = |text: &str| text.trim_matches('"').parse::<f64>().expect("a float");
        assert!(read(&value).to_bits() == read(&text).to_bits() || float.is_nan(), "{float:?}: {value} is not {text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn moments_are_those_of_the_calendar_of_postgres() -> Result<()> {
    // The parts come from Postgres one by one; years before 0001 count on through 0000.
    let tool = "
      show:
        effect: read
        sql: |
          SELECT at::timestamptz AS value, to_json(ARRAY[extract(year FROM at), extract(month FROM at), extract(day FROM at)])::text AS parts,
            to_char(at, 'HH24:MI:SS.US') AS time
          FROM (SELECT timestamp '2000-01-01' + $1::int * interval '1 day' + $2::bigint * interval '1 microsecond' AS at) moments
        arguments: { days: { type: integer }, micros: { type: integer } }";
    let database = Database::new("ALTER DATABASE :db SET timezone = 'UTC'", "{}", tool).await?;
    for (days, micros) in samples((-2_451_545..106_751_991_i32, 0..86_400_000_000_i64)) {
        let answer = database.call("show", &format!(r#"{{"days":{days},"micros":{micros}}}"#)).await?;
        let rows = answer.structured().rows;
        let text = |name: &str| serde_json::from_str::<String>(rows[0][name].get()).expect("a string");
        let parts: Vec<i64> = serde_json::from_str(&text("parts"))?;
        let year = if parts[0] < 0 { parts[0] + 1 } else { parts[0] };
        let year = if (0..10_000).contains(&year) { format!("{year:04}") } else { format!("{year:+07}") };
        let time = text("time");
        let time = time.trim_end_matches('0').trim_end_matches('.');
        let time = if time.len() < 8 { format!("{time:0<8}") } else { time.to_owned() };
        assert_eq!(
            text("value"),
            format!("{year}-{:02}-{:02}T{time}Z", parts[1], parts[2]),
            "{days} days, {micros} µs"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn intervals_are_those_that_postgres_writes_in_iso_8601() -> Result<()> {
    let tool = pair_tool("interval", "$1::text::interval::text");
    let database = Database::new("ALTER DATABASE :db SET intervalstyle = iso_8601", "{}", &tool).await?;
    for (months, days, micros) in
        samples((any::<i16>(), any::<i32>(), -1_000_000_000_000_000_i64..1_000_000_000_000_000))
    {
        let interval = format!("{months} months {days} days {micros} microseconds");
        let (value, text) = both(&database, &interval).await?;
        assert_eq!(value, format!("\"{text}\""), "{interval}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_bytes_and_nested_lists_go_there_and_back() -> Result<()> {
    let tool = "
      echo:
        effect: read
        sql: SELECT ARRAY[to_json($1::text), to_json($2::text[]), $3::jsonb::json, to_json(encode($4::bytea, 'hex'))] AS value, $2 AS list, $4 AS bytes
        arguments: { text: { type: string }, list: { type: array, items: string }, any: { type: object }, bytes: { type: string } }";
    let database = Database::new("", "{}", tool).await?;
    let text = || "[^\\x00]{0,20}";
    let cases = (
        text(),
        proptest::collection::vec(proptest::option::of(text()), 0..6),
        proptest::collection::vec(any::<u8>(), 0..40),
    );
    for (text, list, bytes) in samples(cases) {
        let object = serde_json::json!({ "a": text, "b": list, "n": null });
        let base64 = base64(&bytes);
        let arguments = serde_json::json!({ "text": text, "list": list, "any": object, "bytes": base64 });
        let answer = database.call("echo", &arguments.to_string()).await?;
        let row: serde_json::Value = serde_json::from_str(answer.text())?;
        let row = &row["rows"][0];
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(row["value"], serde_json::json!([text, list, object, hex]));
        assert_eq!((&row["list"], &row["bytes"]), (&serde_json::json!(list), &serde_json::json!(base64)));
    }
    Ok(())
}

const SETUP: &str = "CREATE TYPE color AS ENUM ('red', 'blue'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    CREATE TYPE pair AS (a int, b text); ALTER DATABASE :db SET lc_monetary = 'C'";

/// A tool `show` that selects all the expressions, as `c0`, `c1`, ….
fn one_tool(cases: &[(&str, &str)]) -> String {
    let columns: Vec<_> =
        cases.iter().enumerate().map(|(index, (sql, _))| format!("            {sql} AS c{index}")).collect();
    format!("\n      show:\n        effect: read\n        sql: |\n          SELECT\n{}", columns.join(",\n"))
}

async fn assert_row(database: &Database, cases: &[(&str, &str)]) -> Result<()> {
    let rows = database.call("show", "{}").await?.structured().rows;
    let found = rows[0].values().map(|value| value.get());
    for ((sql, wanted), found) in cases.iter().zip(found) {
        assert_eq!(found, *wanted, "{sql}");
    }
    assert_eq!(rows[0].len(), cases.len());
    Ok(())
}

/// A tool that reads its argument as `ty` and shows it beside the text that `oracle` gives it.
fn pair_tool(ty: &str, oracle: &str) -> String {
    format!(
        "\n      show:\n        effect: read\n        sql: SELECT $1::text::{ty} AS value, {oracle} AS text\n        arguments: {{ value: {{ type: string }} }}"
    )
}

/// The value as JSON text, and what Postgres prints for it.
async fn both(database: &Database, argument: &str) -> Result<(String, String)> {
    let answer = database.call("show", &serde_json::json!({ "value": argument }).to_string()).await?;
    let rows = answer.structured().rows;
    Ok((rows[0]["value"].get().to_owned(), serde_json::from_str(rows[0]["text"].get())?))
}

/// Values to try, always the same ones.
fn samples<S: Strategy>(strategy: S) -> impl Iterator<Item = S::Value> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[42; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    (0..CASES).map(move |_| strategy.new_tree(&mut runner).expect("a strategy that always finds a value").current())
}

fn base64(bytes: &[u8]) -> String {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    BASE64_STANDARD.encode(bytes)
}
