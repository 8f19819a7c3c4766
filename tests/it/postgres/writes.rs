//! A write happens once, or not at all, and it is said which.

use adapters::{ErrorClass, Sent};
use anyhow::Result;

use super::{Database, contract};

#[tokio::test]
async fn a_write_is_committed_exactly_once() -> Result<()> {
    let tools = "
      add: { sql: 'INSERT INTO things VALUES ($1) RETURNING id, id * 2 AS double', arguments: { id: { type: integer } } }
      touch: { effect: idempotent_write, sql: UPDATE things SET id = id }";
    let database = Database::new("CREATE TABLE things (id int)", "{}", tools).await?;
    let ctx = contract::context(super::PATIENCE);
    let answer = database.connected.call_in(&ctx, "add", r#"{"id":7}"#).await?;
    assert!(ctx.gate.passed(), "the gate is passed before a write leaves");
    assert_eq!(answer.text(), r#"{"rows":[{"id":7,"double":14}],"rows_affected":1,"truncated":false}"#);
    futures_util::future::try_join_all((0..40).map(|_| database.call("add", r#"{"id":1}"#))).await?;
    assert_eq!(database.look("SELECT count(*) FROM things").await?, "41");
    assert_eq!(database.call("touch", "{}").await?.text(), r#"{"rows_affected":41}"#);
    Ok(())
}

#[tokio::test]
async fn a_write_that_was_withdrawn_is_not_sent() -> Result<()> {
    let database =
        Database::new("CREATE TABLE things (id int)", "{}", "\n      add: { sql: INSERT INTO things VALUES (1) }")
            .await?;
    let ctx = contract::context(super::PATIENCE);
    assert!(ctx.gate.withdraw());
    let error = database.connected.call_in(&ctx, "add", "{}").await.expect_err("withdrawn");
    assert_eq!((error.class, error.sent), (ErrorClass::Cancelled, Sent::No), "{error:?}");
    assert_eq!(database.look("SELECT count(*) FROM things").await?, "0");
    Ok(())
}

#[tokio::test]
async fn a_refused_write_is_rolled_back_and_says_so() -> Result<()> {
    let tools = r"
      twice: { sql: 'INSERT INTO things VALUES (2), (1)' }
      later: { sql: 'INSERT INTO deferred VALUES (1)' }
      slow: { sql: 'INSERT INTO things SELECT 3 FROM pg_sleep(60)' }";
    let setup = "CREATE TABLE things (id int PRIMARY KEY); INSERT INTO things VALUES (1);
        CREATE TABLE deferred (id int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO deferred VALUES (1)";
    let database = Database::new(setup, "{ statement_timeout: 300ms }", tools).await?;
    for (tool, class, said) in [
        ("twice", ErrorClass::Rejected, "23505"),
        ("later", ErrorClass::Rejected, "23505"),
        ("slow", ErrorClass::Timeout, "within 300 ms"),
    ] {
        let error = database.call(tool, "{}").await.expect_err(tool);
        assert_eq!((error.class, error.sent), (class, Sent::Yes), "{tool}: {error:?}");
        assert!(error.message.contains(said) && error.message.contains("rolled back"), "{tool}: {}", error.message);
        assert!(!error.message.contains("INSERT"), "{tool}: {}", error.message);
    }
    assert_eq!(database.look("SELECT array_agg(id) FROM things").await?, "{1}");
    assert_eq!(database.look("SELECT count(*) FROM deferred").await?, "1");
    Ok(())
}

#[tokio::test]
async fn a_deadlock_is_a_refusal_that_invites_to_try_again() -> Result<()> {
    let tool = "
      swap:
        sql: 'SELECT pg_advisory_xact_lock($1), pg_sleep(0.3), pg_advisory_xact_lock($2)'
        arguments: { first: { type: integer }, second: { type: integer } }";
    let setup = "ALTER DATABASE :db SET deadlock_timeout = '100ms'";
    let database = Database::new(setup, "{}", tool).await?;
    let (one, two) = tokio::join!(
        database.call("swap", r#"{"first":1,"second":2}"#),
        database.call("swap", r#"{"first":2,"second":1}"#)
    );
    let errors: Vec<_> = [one, two].into_iter().filter_map(Result::err).collect();
    let [error] = &errors[..] else { panic!("one of the two goes through: {errors:?}") };
    assert_eq!((error.class, error.sent), (ErrorClass::Rejected, Sent::Yes), "{error:?}");
    assert!(error.message.contains("40P01") && error.message.contains("try again"), "{}", error.message);
    Ok(())
}

#[tokio::test]
async fn what_became_of_a_commit_without_an_answer_is_unknown() -> Result<()> {
    let tools = "\n      add: { sql: INSERT INTO things VALUES (1) }\n      sleep: { sql: 'INSERT INTO plain SELECT 1 FROM pg_sleep(60)' }";
    // The trigger holds up the COMMIT itself.
    let setup = "CREATE TABLE plain (id int); CREATE TABLE things (id int);
        CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON things DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold()";
    let database = Database::new(setup, "{ statement_timeout: 1m }", tools).await?;
    for (tool, query, sent) in [("sleep", "INSERT%", Sent::Yes), ("add", "COMMIT", Sent::Unknown)] {
        let killed = async {
            let terminated = format!(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event = 'PgSleep' AND query LIKE '{query}'"
            );
            database.until(&terminated, "1").await
        };
        let (answer, killed) = tokio::join!(database.call(tool, "{}"), killed);
        killed?;
        let error = answer.expect_err("its connection was killed");
        assert_eq!((error.class, error.sent), (ErrorClass::ConnectionLost, sent), "{tool}: {error:?}");
        assert_eq!(error.message.contains("rolled back"), sent == Sent::Yes, "{tool}: {}", error.message);
    }
    Ok(())
}

#[tokio::test]
async fn an_error_at_commit_that_does_not_know_the_outcome_is_told_as_unknown() -> Result<()> {
    let setup = "CREATE TABLE things (id int);
        CREATE FUNCTION doubt() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN RAISE EXCEPTION ''in doubt'' USING ERRCODE = ''statement_completion_unknown''; END';
        CREATE CONSTRAINT TRIGGER doubt AFTER INSERT ON things DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION doubt()";
    let database = Database::new(setup, "{}", "\n      add: { sql: INSERT INTO things VALUES (1) }").await?;
    let error = database.call("add", "{}").await.expect_err("it is in doubt");
    assert_eq!((error.class, error.sent), (ErrorClass::ConnectionLost, Sent::Unknown), "{error:?}");
    assert!(error.message.contains("not known") && !error.message.contains("rolled back"), "{}", error.message);
    Ok(())
}
