//! Arguments are judged exactly and reach the statement unchanged, or are refused by name.

use adapters::{ErrorClass, Sent};
use anyhow::Result;
use config::Tool;

use super::{Connected, Database, contract};

#[tokio::test]
async fn arguments_reach_the_statement_without_loss() -> Result<()> {
    let database = Database::new("CREATE TYPE color AS ENUM ('red', 'blue')", "{}", &echo_tools()).await?;
    for (ty, argument, value) in [
        ("bigint", "9223372036854775807", "9223372036854775807"),
        ("bigint", "1.20e2", "120"),
        ("numeric", "12345678901234567890.12345678901234567890", "12345678901234567890.12345678901234567890"),
        ("numeric", "1e-20", "0.00000000000000000001"),
        ("float8", "0.1", "0.1"),
        ("boolean", "false", "false"),
        ("text", r#""it's \"$1\"; DROP TABLE x -- \u20ac""#, r#""it's \"$1\"; DROP TABLE x -- €""#),
        ("varchar", "12.50", r#""12.50""#),
        ("int8", "\"42\"", "42"),
        ("uuid", r#""A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11""#, r#""a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11""#),
        ("date", r#""2026-11-01""#, r#""2026-11-01""#),
        ("timestamptz", r#""2026-11-01T08:00:00Z""#, r#""2026-11-01T08:00:00Z""#),
        ("color", r#""blue""#, r#""blue""#),
        ("inet", r#""10.0.0.1""#, r#""10.0.0.1""#),
        ("bytea", r#""AP8Q""#, r#""AP8Q""#),
        ("jsonb", r#"{"a":[1,12345678901234567890]}"#, r#"{"a": [1, 12345678901234567890]}"#),
        ("json", "[1, 2]", "[1, 2]"),
        ("int[]", "[1,null,3]", "[1,null,3]"),
        ("int[][]", "[[1],[2]]", "[[1],[2]]"),
        ("text[]", r#"["a,b","{}","\"","\\","NULL",""]"#, r#"["a,b","{}","\"","\\","NULL",""]"#),
        ("bytea[]", r#"["AP8Q"]"#, r#"["AP8Q"]"#),
        ("jsonb[]", r#"[{"a":[1]},null]"#, r#"[{"a": [1]},null]"#),
        ("int", "null", "null"),
    ] {
        let answer = database.call(&tool(ty), &format!(r#"{{"value":{argument}}}"#)).await?;
        assert_eq!(answer.only(), value, "{ty}: {argument}");
    }
    Ok(())
}

#[tokio::test]
async fn an_argument_that_does_not_fit_is_refused_by_name_before_anything_is_sent() -> Result<()> {
    let database = Database::new("CREATE TYPE color AS ENUM ('red', 'blue')", "{}", &echo_tools()).await?;
    for (ty, argument, reason) in [
        ("bigint", "9223372036854775808", "must be from -9223372036854775808 to 9223372036854775807"),
        ("int", "1e10", "must be from -2147483648 to 2147483647"),
        ("int", "1.5", "must be a whole number"),
        ("int8", "\"a\"", "22P02"),
        ("numeric", "1e200000", "22003"),
        ("date", "\"2026-13-01\"", "22008"),
        ("uuid", "\"x\"", "22P02"),
        ("color", "\"green\"", "22P02"),
        ("text", r#""a\u0000b""#, "22021"),
        ("bytea", "\"!\"", "base64"),
        ("int[]", r#"[1,"2"]"#, "has an item that must be a whole number"),
        ("int[][]", "[[1],[2,3]]", "22P02"),
        ("int[][]", "[[[[[[[1]]]]]]]", "deeper"),
        ("float8", "1e400", "22003"),
    ] {
        let error = database.call(&tool(ty), &format!(r#"{{"value":{argument}}}"#)).await.expect_err(argument);
        assert_eq!((error.class, error.sent), (ErrorClass::InvalidArguments, Sent::No), "{ty}: {error:?}");
        assert!(error.message.contains("`value`") && error.message.contains(reason), "{ty}: {}", error.message);
    }
    Ok(())
}

#[tokio::test]
async fn arguments_are_held_to_what_the_config_says_of_them() -> Result<()> {
    let tools = r"
      find:
        effect: read
        sql: SELECT concat_ws('/', $1::text, $2::bigint, $3::text, $4::int)
        arguments:
          name: { type: string }
          count: { type: integer, minimum: 1, maximum: 9007199254740992, default: 7 }
          order: { type: string, enum: [up, down], required: false }
          page: { type: integer, required: false }";
    let database = Database::new("", "{}", tools).await?;
    for (arguments, found) in [
        (r#"{"name":"a"}"#, r#""a/7""#),
        (r#"{"name":"a","count":null,"order":null}"#, r#""a/7""#),
        (r#"{"page":2,"order":"up","count":1.0,"name":"a"}"#, r#""a/1/up/2""#),
    ] {
        assert_eq!(database.call("find", arguments).await?.only(), found, "{arguments}");
    }
    for (arguments, problems) in [
        ("{}", vec!["`name` is missing"]),
        (r#"{"name":null}"#, vec!["`name` is missing"]),
        (r#"{"name":1,"count":0}"#, vec!["`name` must be a string", "`count` must be at least 1"]),
        (r#"{"name":"a","count":9007199254740993}"#, vec!["`count` must be at most 9007199254740992"]),
        (r#"{"name":"a","count":"1"}"#, vec!["`count` must be a whole number"]),
        (r#"{"name":"a","order":"side"}"#, vec![r#"`order` must be one of "up", "down""#]),
        (r#"{"name":"a","nmae":"b"}"#, vec!["no argument `nmae`", "`name`, `count`, `order`, `page`"]),
        ("[]", vec!["must be a JSON object"]),
    ] {
        let error = database.call("find", arguments).await.expect_err(arguments);
        assert_eq!(error.class, ErrorClass::InvalidArguments, "{arguments}: {error:?}");
        for problem in problems {
            assert!(error.message.contains(problem), "{arguments}: {}", error.message);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_definition_says_what_goes_in_and_what_comes_out() -> Result<()> {
    let tools = "
      find:
        description: Finds things.
        effect: read
        sql: SELECT 1 AS id, 'a' AS name, 1.5 AS price, ARRAY[1] AS tags, '{}'::jsonb AS extra WHERE $1::text IS NOT NULL AND $2::int > 0
        arguments:
          name: { type: string, description: Its name }
          count: { type: integer, minimum: 1, default: 5 }
      add: { sql: INSERT INTO things VALUES (1) RETURNING id }
      clear: { effect: idempotent_write, sql: DELETE FROM things }
      broken: { effect: read, sql: SELECT nothing FROM nowhere }";
    let miscounted = Tool { sql: Some("SELECT $1::int".to_owned()), ..Tool::default() };
    let database = Database::new("CREATE TABLE things (id int)", "{}", "").await?;
    let connected = Connected::with(&database.url, "{}", tools, [("miscounted".to_owned(), miscounted)])?;
    let offer = connected.adapter.list(&contract::context(super::PATIENCE)).await?;
    let definitions: Vec<_> = offer.tools.iter().map(|tool| tool.definition.get()).collect();
    insta::assert_snapshot!(definitions.join("\n\n"), @r#"
    {"name":"find","description":"Finds things.","inputSchema":{"type":"object","properties":{"name":{"type":"string","description":"Its name"},"count":{"type":"integer","minimum":1,"default":5}},"required":["name"],"additionalProperties":false},"outputSchema":{"type":"object","properties":{"rows":{"type":"array","items":{"type":"object","properties":{"id":{"type":["integer","null"]},"name":{"type":["string","null"]},"price":{"type":["number","string","null"]},"tags":{"type":["array","null"]},"extra":{}},"required":["id","name","price","tags","extra"]}},"row_count":{"type":"integer","description":"How many rows are shown."},"truncated":{"type":"boolean","description":"Whether there are more rows than are shown."}},"required":["rows","row_count","truncated"]},"annotations":{"readOnlyHint":true,"destructiveHint":false,"idempotentHint":true,"openWorldHint":false}}

    {"name":"add","inputSchema":{"type":"object","properties":{},"additionalProperties":false},"outputSchema":{"type":"object","properties":{"rows":{"type":"array","items":{"type":"object","properties":{"id":{"type":["integer","null"]}},"required":["id"]}},"rows_affected":{"type":"integer","description":"How many rows were written."},"truncated":{"type":"boolean","description":"Whether there are more rows than are shown."}},"required":["rows","rows_affected","truncated"]},"annotations":{"readOnlyHint":false,"destructiveHint":true,"idempotentHint":false,"openWorldHint":false}}

    {"name":"clear","inputSchema":{"type":"object","properties":{},"additionalProperties":false},"outputSchema":{"type":"object","properties":{"rows_affected":{"type":"integer","description":"How many rows were written."}},"required":["rows_affected"]},"annotations":{"readOnlyHint":false,"destructiveHint":true,"idempotentHint":true,"openWorldHint":false}}
    "#);
    let left_out: Vec<_> = offer.left_out.iter().map(|tool| format!("{}: {}", tool.local_name, tool.reason)).collect();
    insta::assert_snapshot!(left_out.join("\n"), @r#"
    broken: its statement cannot be prepared: relation "nowhere" does not exist (SQLSTATE 42P01)
    miscounted: its statement takes 1 parameters, and its `arguments` name 0
    "#);
    database.observer.batch_execute("CREATE TABLE nowhere (nothing int)").await?;
    let offer = connected.adapter.list(&contract::context(super::PATIENCE)).await?;
    assert_eq!(offer.left_out.len(), 1, "what was mended is offered: {:?}", offer.left_out);
    Ok(())
}

#[tokio::test]
async fn hints_of_a_tool_agree_with_the_effect_that_a_rule_gives_it() -> Result<()> {
    // The tools are looked at without a database: `list` must not need one.
    let tools = "
      get_one: { sql: SELECT 1 }
      put_one: { sql: SELECT 1 }
    effects: [ { match: \"get_*\", effect: read } ]";
    let connected = Connected::new("postgres://weir@127.0.0.1:1/nowhere", "{}", tools)?;
    let offer = connected.adapter.list(&contract::context(super::PATIENCE)).await?;
    let hints: Vec<_> =
        offer.tools.iter().map(|tool| tool.definition.get().contains(r#""readOnlyHint":true"#)).collect();
    assert_eq!(hints, [true, false]);
    Ok(())
}

/// Tools that return their one argument, one for each type.
fn echo_tools() -> String {
    let types = [
        ("bigint", "number"),
        ("int", "number"),
        ("int8", "string"),
        ("varchar", "number"),
        ("numeric", "number"),
        ("float8", "number"),
        ("boolean", "boolean"),
        ("text", "string"),
        ("uuid", "string"),
        ("date", "string"),
        ("timestamptz", "string"),
        ("color", "string"),
        ("inet", "string"),
        ("bytea", "string"),
        ("jsonb", "object"),
        ("json", "array, items: integer"),
        ("int[]", "array, items: integer"),
        ("int[][]", "array, items: array"),
        ("text[]", "array, items: string"),
        ("bytea[]", "array, items: string"),
        ("jsonb[]", "array, items: object"),
    ];
    let echo = |(ty, kind): &(&str, &str)| {
        let tool = tool(ty);
        format!(
            "\n      {tool}:\n        effect: read\n        sql: SELECT $1::{ty} AS value\n        arguments: {{ value: {{ type: {kind}, required: false }} }}"
        )
    };
    types.iter().map(echo).collect()
}

fn tool(ty: &str) -> String {
    format!("echo_{}", ty.replace("[]", "_list"))
}
