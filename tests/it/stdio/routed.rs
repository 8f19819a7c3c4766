//! Children behind the router and the command line, as an operator meets them.

use anyhow::{Result, ensure};
use serde_json::json;
use tests::TestRouter;

use super::{Bench, SECRET, modern_server, signal, status_of, until_gone};
use crate::cli::{
    Folder,
    binary::{Started, command, run, standins},
};

const POLICY: &str = "identity: { local: { roles: [r] } }\npolicy: { roles: { r: { allow: ['*'] } } }\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_child_hides_no_other_tools_and_says_why_it_is_down() -> Result<()> {
    let bench = Bench::new()?;
    let (program, folder) = (standins().display(), bench.path().display());
    let yaml = format!(
        "downstreams:\n\
         \x20 enrich: {{ mcp: {{ stdio: {{ command: [{program}, mcp, --stdio, --tally, '{folder}'], quarantine: 1h }} }} }}\n\
         \x20 broken: {{ mcp: {{ stdio: {{ command: [sh, -c, 'echo no licence >&2; exit 7'] }} }} }}\n{POLICY}"
    );
    let router = TestRouter::start(&yaml).await?;
    let shown = router
        .downstreams_until(|all| all[0]["health"] == "up" && all[1]["health"] == "down" && all[0]["tools"] == 4)
        .await?;
    let reason = shown[1]["reason"].as_str().unwrap_or_default();
    ensure!(
        reason.ends_with("its program ended with exit status 7: its last line on stderr was \"no licence\""),
        "{shown}"
    );
    let merchant = json!({ "merchant_id": "M-0001" });
    let answer = router.call(None, "enrich__get_merchant", merchant.clone()).await?.result()?;
    ensure!(answer["isError"] != true, "{answer}");

    for _ in 0..5 {
        router.downstreams_until(|all| all[0]["health"] == "up").await?;
        signal("KILL", bench.process().await?).await?;
        router.downstreams_until(|all| all[0]["health"] == "down" || all[0]["reason"].is_string()).await?;
    }
    let shown = router
        .downstreams_until(|all| all[0]["reason"].as_str().is_some_and(|reason| reason.starts_with("quarantined: ")))
        .await?;
    ensure!(shown[0]["tools"] == 4, "its tools stay listed: {shown}");
    let answer = router.call(None, "enrich__get_merchant", merchant).await?.result()?;
    let text = answer["content"][0]["text"].as_str().unwrap_or_default();
    ensure!(answer["isError"] == true && text.contains("enrich cannot be reached: quarantined: "), "{answer}");
    router.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_router_is_the_end_of_its_children() -> Result<()> {
    let bench = Bench::new()?;
    let (program, folder) = (standins().display(), bench.path().display());
    let command = format!("[{program}, mcp, --stdio, --tally, '{folder}']");
    let yaml = format!("downstreams: {{ enrich: {{ mcp: {{ stdio: {{ command: {command} }} }} }} }}\n{POLICY}");
    let router = TestRouter::ready(&yaml).await?;
    let id = bench.process().await?;
    router.stop().await;
    ensure!(status_of(id).is_none(), "it is left");
    Ok(())
}

#[tokio::test]
async fn the_command_line_tries_lists_and_ends_children() -> Result<()> {
    let bench = Bench::new()?;
    let (program, tally) = (standins().display(), bench.path().display());
    let good = format!("enrich: {{ mcp: {{ stdio: {{ command: [{program}, mcp, --stdio, --tally, '{tally}'] }} }} }}");
    let bad = "files: { mcp: { stdio: { command: [no-such-program, --key, hunter2] } } }";
    let folder = Folder::with_config(&format!("downstreams: {{ {good}, {bad} }}\n{POLICY}"));
    let checked = run(&["check", "--connect", "-c", &folder.config()]).await.with_code(4);
    ensure!(checked.stdout.contains("enrich: reached, 4 tools"), "{checked:?}");
    let told = "files: cannot be used. files cannot be reached: its program cannot be started.";
    ensure!(
        checked.stdout.contains(told) && checked.stdout.contains("there is no command `no-such-program`"),
        "{checked:?}"
    );
    ensure!(!checked.stdout.contains("hunter2"), "{checked:?}");
    let listed = run(&["tools", "-c", &folder.config()]).await.with_code(0);
    ensure!(listed.stdout.contains("enrich__get_merchant"), "{listed:?}");
    ensure!(bench.processes()?.is_empty(), "a process is left");
    Ok(())
}

#[tokio::test]
async fn stderr_is_logged_within_bounds_and_without_secrets() -> Result<()> {
    let bench = Bench::new()?;
    let token = bench.path().join("token");
    let flood = "i=0; while [ $i -lt 2000 ]; do echo \"line $i with $TOKEN\"; i=$((i+1)); done >&2; echo $$ > id;";
    std::fs::write(bench.path().join("server.sh"), format!("{flood} {} serve", modern_server("")))?;
    let yaml = format!(
        "server: {{ listen: 127.0.0.1:0, admin: 127.0.0.1:0, grace: 0s, drain: 1s }}\n\
         downstreams: {{ files: {{ mcp: {{ stdio: {{ command: [sh, {}], folder: {}, secrets: {{ TOKEN: {{ file: {} }} }} }} }} }} }}\n{POLICY}",
        bench.path().join("server.sh").display(),
        bench.path().display(),
        token.display(),
    );
    let folder = Folder::with_config(&yaml);
    let mut weir = Started::new(&mut command(&["serve", "-c", &folder.config()]));
    weir.line_with("reached").await;
    let id = bench.number_in("id").await?;
    weir.signal("TERM").await;
    let ended = weir.finish().await.with_code(0);
    let lines = ended.stderr.lines().filter(|line| line.contains("with [secret]")).count();
    ensure!((1..=50).contains(&lines), "{lines} lines");
    ensure!(!ended.stderr.contains(SECRET), "the secret is in the log");
    ensure!(ended.stderr.contains("it writes more to stderr than is logged"), "{}", ended.stderr);
    until_gone(id).await
}
