//! Children that end, break the protocol, or never start.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use adapters::{Adapter, ErrorClass, Health, Sent};
use anyhow::{Context as _, Result, ensure};
use config::Effect;
use serde_json::json;
use tests::contract::context;
use tokio::time::Instant;

use super::{
    Bench, PATIENCE, SECRET, call, failure, modern_server, request, signal, until, until_down, until_gone, until_state,
};

/// How soon a call fails whose downstream is known to be down.
const AT_ONCE: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_is_killed_twenty_times_is_quarantined_and_comes_back_by_itself() -> Result<()> {
    let bench = Bench::new()?;
    let adapter = bench.server(&[], &json!({ "quarantine": "300ms" }), &json!({}))?;
    let mut ids = BTreeSet::new();
    for kill in 1..=20 {
        until(&*adapter, Health::Up).await?;
        let in_flight = slow_call(&adapter, Effect::Read);
        bench.until_running(1).await?;
        let id = bench.process().await?;
        ids.insert(id);
        signal("KILL", id).await?;
        let (killed, error) = (Instant::now(), in_flight.await?.context("a dead child answered")?);
        ensure!(killed.elapsed() < AT_ONCE, "told after {:?}", killed.elapsed());
        ensure!((error.class, error.sent) == (ErrorClass::ConnectionLost, Sent::Unknown), "{error:?}");
        let told = "The connection to files ended before it answered: its program was ended by signal 9 (SIGKILL).";
        ensure!(error.message == told, "{error}");
        if kill == 1 {
            // The first loss in a while is made good at once, and calls wait for that.
            call(&*adapter, "echo", &json!({ "token": "t" })).await?;
            continue;
        }
        if kill >= 5 {
            let reason =
                "quarantined: it failed 5 times within a minute, at last because its program was ended by signal 9";
            until_down(&*adapter, reason).await?;
        }
        let asked = Instant::now();
        let error =
            failure(&*adapter, &context(PATIENCE), request("echo", &json!({ "token": "t" }), Effect::Write)).await?;
        ensure!(asked.elapsed() < AT_ONCE, "refused after {:?}", asked.elapsed());
        ensure!((error.class, error.sent) == (ErrorClass::Unreachable, Sent::No), "{error:?}");
        ensure!(
            error.message.starts_with("files cannot be reached: ") && error.message.contains("tries again"),
            "{error}"
        );
    }
    until(&*adapter, Health::Up).await?;
    call(&*adapter, "echo", &json!({ "token": "t" })).await?;
    ensure!(ids.len() == 20, "only {} processes", ids.len());
    for id in ids {
        // Neither alive nor a zombie.
        until_gone(id).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_write_that_the_child_died_of_may_have_happened() -> Result<()> {
    let bench = Bench::new()?;
    let script = modern_server(r#"*'"tools/call"'*) echo "cannot open the ledger: $TOKEN is wrong" >&2; exit 3 ;;"#);
    let stdio = json!({ "secrets": { "TOKEN": { "file": "token" } } });
    let adapter = bench.script(&format!("{script} serve"), &stdio)?;
    let error = failure(&*adapter, &context(PATIENCE), request("any", &json!({}), Effect::Write)).await?;
    ensure!((error.class, error.sent) == (ErrorClass::ConnectionLost, Sent::Unknown), "{error:?}");
    ensure!(error.message.ends_with("its program ended with exit status 3."), "{error}");
    // Its last words are for the operator, and without the secret that it was given.
    let last = "its program ended with exit status 3: its last line on stderr was \"cannot open the ledger: [secret] is wrong\"";
    until_down(&*adapter, last).await?;
    ensure!(!error.message.contains("ledger") && !format!("{error:?}").contains(SECRET), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn a_program_that_cannot_be_started_says_what_is_missing() -> Result<()> {
    let bench = Bench::new()?;
    std::fs::write(bench.path().join("not-executable"), "")?;
    let nowhere = json!({ "folder": "no/such/folder" });
    let cases = [
        (&["no-such-program", SECRET][..], json!({}), "there is no command `no-such-program` on the PATH that it gets"),
        (&["./no-such-program"], json!({}), "there is no file "),
        (&["./not-executable"], json!({}), "`not-executable` may not be executed"),
        (&["sh", "-c", ":"], nowhere, "no/such/folder: set `folder` to one that exists"),
        (
            &["sh", "-c", "no-such-program"],
            json!({}),
            "exit status 127: sh says by this that it did not find a command",
        ),
    ];
    for (command, stdio, reason) in cases {
        let adapter = bench.adapter(command, &stdio, &json!({}))?;
        let error = failure(&*adapter, &context(PATIENCE), request("any", &json!({}), Effect::Write)).await?;
        ensure!((error.class, error.sent) == (ErrorClass::Unreachable, Sent::No), "{error:?}");
        ensure!(error.message.starts_with("files cannot be reached: its program "), "{error}");
        let state = until_down(&*adapter, reason).await?;
        ensure!(!format!("{state:?}{error:?}").contains(SECRET), "an argument is shown: {state:?}");
    }
    Ok(())
}

#[tokio::test]
async fn garbage_is_dropped_and_too_much_of_it_ends_the_child() -> Result<()> {
    let bench = Bench::new()?;
    let some = modern_server(
        r#"*'"tools/call"'*) printf 'Loading...\n\n{"half":\n[]\n'; answer '{"resultType":"complete","content":[]}' ;;"#,
    );
    let adapter = bench.script(&format!("echo Welcome; {some} serve"), &json!({}))?;
    for _ in 0..20 {
        call(&*adapter, "any", &json!({})).await?;
    }
    let adapter = bench.adapter(&["yes", "garbage"], &json!({}), &json!({}))?;
    let error = failure(&*adapter, &context(PATIENCE), request("any", &json!({}), Effect::Read)).await?;
    ensure!(error.class == ErrorClass::Protocol, "{error:?}");
    until_down(&*adapter, "the server keeps sending what is no message of the protocol").await?;
    Ok(())
}

#[tokio::test]
async fn a_line_without_end_is_cut_at_the_limit_and_the_child_ended() -> Result<()> {
    let bench = Bench::new()?;
    let endless = modern_server(r#"*'"tools/call"'*) echo $$ > endless; exec cat /dev/zero ;;"#);
    let adapter = bench.script(&format!("{endless} serve"), &json!({ "message_bytes_max": "1MiB" }))?;
    let error = failure(&*adapter, &context(PATIENCE), request("any", &json!({}), Effect::Read)).await?;
    ensure!(error.class == ErrorClass::TooLarge, "{error:?}");
    ensure!(error.message.ends_with("its program wrote a line of more than 1048576 bytes."), "{error}");
    until_down(&*adapter, "its program wrote a line of more than 1048576 bytes").await?;
    until_gone(bench.number_in("endless").await?).await
}

#[tokio::test]
async fn a_child_that_says_nothing_is_given_up_in_the_time_it_has_to_start() -> Result<()> {
    let bench = Bench::new()?;
    let adapter = bench.script("echo $$ > silent; exec sleep 600", &json!({ "start_timeout": "300ms" }))?;
    let error = failure(&*adapter, &context(PATIENCE), request("any", &json!({}), Effect::Read)).await?;
    ensure!((error.class, error.sent) == (ErrorClass::Unreachable, Sent::No), "{error:?}");
    until_down(&*adapter, "no answer to `initialize` within 150 ms").await?;
    adapter.close().await;
    until_gone(bench.number_in("silent").await?).await
}

#[tokio::test]
async fn a_child_of_the_legacy_era_that_ends_on_the_probe_is_asked_to_initialize() -> Result<()> {
    let bench = Bench::new()?;
    let legacy = modern_server(
        r#"*'"server/discover"'*) exit 1 ;;
        *'"initialize"'*) answer '{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}' ;;"#,
    );
    let adapter = bench.script(&format!("{legacy} serve"), &json!({}))?;
    call(&*adapter, "any", &json!({})).await?;
    Ok(())
}

#[tokio::test]
async fn a_child_that_ends_unasked_is_started_once_for_each_attempt() -> Result<()> {
    let bench = Bench::new()?;
    let adapter = bench.script("echo started >> starts; exit 1", &json!({ "quarantine": "1h" }))?;
    let reason = "quarantined: it failed 5 times within a minute, at last because its program ended with exit status 1";
    until_down(&*adapter, reason).await?;
    let starts = std::fs::read_to_string(bench.path().join("starts"))?.lines().count();
    ensure!(starts == 5, "{starts} starts for five failures");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_of_callers_and_calls_are_as_many_as_the_config_says() -> Result<()> {
    let bench = Bench::new()?;
    let adapter = bench.server(&[], &json!({ "processes_max": 2 }), &json!({ "sharing": "per_call" }))?;
    let calls = [slow_call(&adapter, Effect::Read), slow_call(&adapter, Effect::Read)];
    bench.until_running(2).await?;
    let short = context(Duration::from_millis(200));
    let error = failure(&*adapter, &short, request("echo", &json!({ "token": "t" }), Effect::Read)).await?;
    ensure!(matches!(error.class, ErrorClass::Busy | ErrorClass::Timeout) && error.sent == Sent::No, "{error:?}");
    // Besides those of the calls there is one that lists the tools.
    ensure!(bench.processes()?.len() == 3, "{:?}", bench.processes()?);
    for call in calls {
        call.abort();
    }
    bench.until_running(0).await?;
    call(&*adapter, "echo", &json!({ "token": "t" })).await?;
    until_state(&*adapter, |state| state.health == Health::Up).await?;
    bench.process().await.map(drop)
}

/// Starts a call that takes long, and gives its error, if it ends with one.
fn slow_call(adapter: &Arc<dyn Adapter>, effect: Effect) -> tokio::task::JoinHandle<Option<adapters::AdapterError>> {
    let (adapter, request) = (Arc::clone(adapter), request("slow", &json!({ "ms": 600_000 }), effect));
    tokio::spawn(async move { adapter.call(&context(PATIENCE), request).await.err() })
}
