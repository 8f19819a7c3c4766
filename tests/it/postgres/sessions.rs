//! A call has its connection to itself, a read cannot write, and answers stay within their caps.

use std::time::Duration;

use adapters::{AdapterError, ErrorClass};
use anyhow::Result;
use config::{Effect, Tool};

use super::{Answer, Connected, Database, contract};

#[tokio::test]
async fn a_declared_read_cannot_write_in_any_way() -> Result<()> {
    let setup = "CREATE TABLE things (id int); INSERT INTO things VALUES (1); CREATE SEQUENCE numbers;
        CREATE FUNCTION add_thing() RETURNS void LANGUAGE sql AS 'INSERT INTO things VALUES (3)'";
    let database = Database::new(setup, "{}", "").await?;
    for sql in [
        "UPDATE things SET id = 2",
        "WITH gone AS (DELETE FROM things RETURNING id) SELECT id FROM gone",
        "SELECT add_thing()",
        "SELECT nextval('numbers')",
        "EXPLAIN ANALYZE DELETE FROM things",
        "CREATE TABLE more ()",
        "DO $$ BEGIN DELETE FROM things; END $$",
        "SELECT id FROM things FOR UPDATE",
        "GRANT ALL ON things TO PUBLIC",
    ] {
        let error = unchecked(&database, sql, Effect::Read).await.expect_err(sql);
        assert_eq!(error.class, ErrorClass::Rejected, "{sql}: {error:?}");
        assert!(error.message.contains("25006") && error.message.contains("effect: write"), "{sql}: {}", error.message);
    }
    // Postgres lets these pass in a read, but nothing can follow them in their transaction, and none is committed.
    for sql in [
        "SELECT lo_create(0)",
        "SELECT pg_notify('news', '')",
        "SET TRANSACTION READ WRITE",
        "COMMIT",
        "COPY things TO STDOUT",
        "COPY things FROM STDIN",
        "SET ROLE pg_monitor",
    ] {
        let _ = unchecked(&database, sql, Effect::Read).await;
    }
    assert_eq!(database.look("SELECT count(*) FROM pg_largeobject_metadata").await?, "0");
    assert_eq!(database.look("SELECT array_agg(id) FROM things").await?, "{1}");
    assert_eq!(database.look("SELECT is_called FROM numbers").await?, "false");
    database.until_running(0).await
}

#[tokio::test]
async fn several_statements_in_one_are_refused_and_none_runs() -> Result<()> {
    let database = Database::new("CREATE TABLE things (id int); INSERT INTO things VALUES (1)", "{}", "").await?;
    for (sql, effect) in [
        ("DELETE FROM things; SELECT 1", Effect::Write),
        ("SELECT 1; COMMIT; DELETE FROM things", Effect::Read),
        ("SELECT 1) TO STDOUT; DELETE FROM things --", Effect::Write),
    ] {
        let error = unchecked(&database, sql, effect).await.expect_err(sql);
        assert!(error.class == ErrorClass::Rejected && error.message.contains("42601"), "{sql}: {error:?}");
    }
    assert_eq!(database.look("SELECT count(*) FROM things").await?, "1");
    Ok(())
}

/// Calls a tool of this statement that no check of the config has seen.
async fn unchecked(database: &Database, sql: &str, effect: Effect) -> Result<Answer, AdapterError> {
    let tool = Tool { sql: Some(sql.to_owned()), effect: Some(effect), ..Tool::default() };
    let connected = Connected::with(&database.url, "{}", "", [("it".to_owned(), tool)]).expect("an adapter");
    connected.call("it", "{}").await
}

#[tokio::test]
async fn a_statement_is_cut_by_the_database_at_its_timeout() -> Result<()> {
    let tool = "\n      slow: { effect: read, sql: 'SELECT pg_sleep(60)' }\n      pid: { effect: read, sql: SELECT pg_backend_pid() }";
    let database = Database::new("", "{ statement_timeout: 200ms, pool_max: 1 }", tool).await?;
    let pid = database.call("pid", "{}").await?.only();
    let error = database.call("slow", "{}").await.expect_err("a minute is longer than the timeout");
    assert_eq!(error.class, ErrorClass::Timeout, "{error:?}");
    assert!(error.message.contains("within 200 ms") && error.message.contains("narrower"), "{}", error.message);
    // Postgres itself ended it, so the connection serves on.
    assert_eq!(database.call("pid", "{}").await?.only(), pid);
    Ok(())
}

#[tokio::test]
async fn a_call_that_finds_no_free_connection_is_told_so_at_its_deadline() -> Result<()> {
    let tool =
        "\n      slow: { effect: read, sql: 'SELECT pg_sleep(60)' }\n      quick: { effect: read, sql: SELECT 1 }";
    let database = Database::new("", "{ pool_max: 1 }", tool).await?;
    let (ctx, short) = (contract::context(super::PATIENCE), contract::context(Duration::from_millis(300)));
    let busy = async {
        database.until_running(1).await?;
        let error = database.connected.call_in(&short, "quick", "{}").await.expect_err("the one connection is taken");
        ctx.cancel.cancel();
        Ok::<_, anyhow::Error>(error)
    };
    let (slow, error) = tokio::join!(database.connected.call_in(&ctx, "slow", "{}"), busy);
    assert_eq!(slow.expect_err("cancelled").class, ErrorClass::Cancelled);
    let error = error?;
    assert_eq!(error.class, ErrorClass::Busy, "{error:?}");
    database.call("quick", "{}").await?;
    Ok(())
}

#[tokio::test]
async fn answers_stay_within_their_caps_and_say_so() -> Result<()> {
    let tools = r"
      count: { effect: read, sql: 'SELECT generate_series(1, $1::int) AS n', arguments: { n: { type: integer } } }
      wide: { effect: read, sql: 'SELECT n, repeat(''é'', $1::int) AS text FROM generate_series(1, 50) n', arguments: { n: { type: integer } } }
      growing: { effect: read, sql: 'SELECT repeat(''x'', (1000 ^ n)::int) FROM generate_series(0, 2) n' }
      copy_large: { effect: write, sql: 'INSERT INTO things VALUES (1) RETURNING repeat(''x'', 1000000)' }
      copy: { effect: write, sql: 'INSERT INTO things SELECT generate_series(1, 25) RETURNING id' }";
    let database = Database::new("CREATE TABLE things (id int)", "{ rows_max: 10, bytes_max: 4KiB }", tools).await?;
    for (asked, rows, truncated) in
        [(0, 0, false), (9, 9, false), (10, 10, false), (11, 10, true), (100_000_000, 10, true)]
    {
        let answer = database.call("count", &format!(r#"{{"n":{asked}}}"#)).await?.structured();
        assert_eq!(
            (answer.row_count, answer.rows.len(), answer.truncated),
            (Some(rows), rows, Some(truncated)),
            "{asked}"
        );
    }
    let answer = database.call("wide", r#"{"n":200}"#).await?;
    let structured = answer.structured();
    assert!(structured.truncated == Some(true) && structured.rows.len() >= 3, "{}", answer.text());
    assert!(2 * answer.text().len() <= 4 << 10, "{} bytes", answer.text().len());
    // No row fits; the larger ones not even into memory, if they came.
    for size in [3_000, 60_000, 200_000, 100_000_000] {
        let error = database.call("wide", &format!(r#"{{"n":{size}}}"#)).await.expect_err("no row fits");
        assert_eq!(error.class, ErrorClass::TooLarge, "{size}: {error:?}");
    }
    let answer = database.call("growing", "{}").await?.structured();
    assert_eq!((answer.rows.len(), answer.truncated), (2, Some(true)), "what came before the large row is shown");
    let error = database.call("copy_large", "{}").await.expect_err("a row does not fit");
    assert_eq!(error.class, ErrorClass::TooLarge, "{error:?}");
    assert!(error.message.contains("rolled back"), "{}", error.message);
    // A write is done whole, however little of it is shown.
    let answer = database.call("copy", "{}").await?.structured();
    assert_eq!((answer.rows.len(), answer.rows_affected, answer.truncated), (10, Some(25), Some(true)));
    assert_eq!(database.look("SELECT count(*) FROM things").await?, "25");
    database.until_running(0).await
}

#[tokio::test]
async fn nothing_of_one_call_is_left_for_the_next_on_its_connection() -> Result<()> {
    let tools = r"
      read_marks:
        effect: read
        sql: SELECT set_config('weir.mark', 'read', false), set_config('statement_timeout', '1h', false), pg_advisory_lock(1)
      write_marks:
        effect: write
        sql: SELECT set_config('weir.mark', 'write', false), set_config('role', 'pg_monitor', false), pg_advisory_lock(2), nextval('numbers')
      temporary: { effect: write, sql: CREATE TEMPORARY TABLE left_behind (id int) }
      listening: { effect: write, sql: LISTEN news }
      failing: { effect: write, sql: 'SELECT set_config(''weir.mark'', ''failed'', false), 1 / (random() * 0)::int' }
      look:
        effect: read
        sql: >-
          SELECT concat_ws(',', nullif(current_setting('weir.mark', true), ''), current_user, current_setting('statement_timeout'),
          (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), to_regclass('pg_temp.left_behind'),
          (SELECT count(*) FROM pg_listening_channels()))
      pid: { effect: read, sql: SELECT pg_backend_pid() }";
    let database = Database::new("CREATE SEQUENCE numbers", "{ pool_max: 1, statement_timeout: 4s }", tools).await?;
    let pid = database.call("pid", "{}").await?.only();
    let untouched = database.call("look", "{}").await?.only();
    assert_eq!(untouched, r#""weir,4s,0,0""#);
    for tool in ["read_marks", "write_marks", "temporary", "listening", "failing"] {
        let _ = database.call(tool, "{}").await;
        assert_eq!(database.call("look", "{}").await?.only(), untouched, "after {tool}");
    }
    assert_eq!(database.call("pid", "{}").await?.only(), pid, "it is one connection all the time");
    Ok(())
}

#[tokio::test]
async fn a_table_that_changed_is_read_in_its_new_form() -> Result<()> {
    let tool = "\n      all: { effect: read, sql: SELECT * FROM things }\n      add: { effect: write, sql: INSERT INTO things DEFAULT VALUES RETURNING * }";
    // One connection, so that it is the one that remembers the old form.
    let database = Database::new("CREATE TABLE things (id int DEFAULT 1)", "{ pool_max: 1 }", tool).await?;
    assert_eq!(database.call("add", "{}").await?.text(), r#"{"rows":[{"id":1}],"rows_affected":1,"truncated":false}"#);
    assert_eq!(database.call("all", "{}").await?.text(), r#"{"rows":[{"id":1}],"row_count":1,"truncated":false}"#);
    database.observer.batch_execute("ALTER TABLE things ALTER id TYPE text, ADD more int DEFAULT 2").await?;
    assert_eq!(
        database.call("all", "{}").await?.text(),
        r#"{"rows":[{"id":"1","more":2}],"row_count":1,"truncated":false}"#
    );
    assert_eq!(
        database.call("add", "{}").await?.text(),
        r#"{"rows":[{"id":"1","more":2}],"rows_affected":1,"truncated":false}"#
    );
    assert_eq!(database.look("SELECT count(*) FROM things").await?, "2");
    Ok(())
}

#[tokio::test]
async fn a_first_call_waits_for_the_lock_of_another_as_long_as_a_statement_may() -> Result<()> {
    let setup = "CREATE TABLE things (id int); INSERT INTO things VALUES (7)";
    let tools = "\n      read: { effect: read, sql: SELECT id FROM things }";
    let database = Database::new(setup, "{ connect_timeout: 300ms, statement_timeout: 20s }", tools).await?;
    // Another session than the one that looks: within a transaction pg_stat_activity stays as it was first seen.
    let holder = super::observe(&database.url).await?;
    holder.batch_execute("BEGIN; LOCK TABLE things IN ACCESS EXCLUSIVE MODE").await?;
    let released = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'weir' AND wait_event_type = 'Lock'
            AND clock_timestamp() - query_start > '1s'";
        database.until(waiting, "1").await?;
        holder.batch_execute("COMMIT").await?;
        anyhow::Ok(())
    };
    let (answer, released) = tokio::join!(database.call("read", "{}"), released);
    released?;
    assert_eq!(answer?.only(), "7");
    Ok(())
}
