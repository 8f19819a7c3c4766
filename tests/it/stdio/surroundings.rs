//! What a child gets from Weir: its environment, its folder, its messages; and what of it gets into the log.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use config::Effect;
use serde_json::json;
use tests::contract::context;

use super::{Bench, PATIENCE, SECRET, call, complete, modern_server, raw_request};

/// The environment of a process as the system has it.
fn environment(id: u32) -> Result<BTreeMap<String, String>> {
    let text = String::from_utf8(std::fs::read(format!("/proc/{id}/environ"))?)?;
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(text.split_terminator('\0').filter_map(pair).collect())
}

#[tokio::test]
async fn a_child_has_exactly_the_variables_that_the_config_names() -> Result<()> {
    let bench = Bench::new()?;
    let stdio = json!({
        "env": { "MODE": "test", "HOME": "/of/its/own" },
        "secrets": { "TOKEN": { "file": "token" } },
        // The second is of the environment that tests have; the third is in none.
        "pass_env": ["PATH", "CARGO_MANIFEST_DIR", "NOT_SET_ANYWHERE"],
    });
    let adapter = bench.server(&[], &stdio, &json!({}))?;
    call(&*adapter, "echo", &json!({ "token": "t" })).await?;
    let id = bench.process().await?;
    let variables = environment(id)?;
    let names: Vec<_> = variables.keys().map(String::as_str).collect();
    ensure!(names == ["CARGO_MANIFEST_DIR", "HOME", "MODE", "PATH", "TOKEN"], "{names:?}");
    ensure!(variables["MODE"] == "test" && variables["HOME"] == "/of/its/own" && variables["TOKEN"] == SECRET);
    ensure!(variables["CARGO_MANIFEST_DIR"] == env!("CARGO_MANIFEST_DIR"));
    ensure!(!std::fs::read_to_string(format!("/proc/{id}/cmdline"))?.contains(SECRET));
    Ok(())
}

#[tokio::test]
async fn little_is_passed_on_where_the_config_says_nothing() -> Result<()> {
    let bench = Bench::new()?;
    let adapter = bench.server(&[], &json!({}), &json!({}))?;
    call(&*adapter, "echo", &json!({ "token": "t" })).await?;
    let names: Vec<_> = environment(bench.process().await?)?.into_keys().collect();
    let allowed = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"];
    ensure!(names.iter().all(|name| allowed.contains(&name.as_str())) && names.iter().any(|name| name == "PATH"));
    Ok(())
}

#[tokio::test]
async fn paths_of_program_and_folder_begin_beside_the_config() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new()?;
    std::fs::create_dir(bench.path().join("inner"))?;
    let program = bench.path().join("server.sh");
    std::fs::write(&program, format!("#!/bin/sh\n{}\npwd > place\nserve", modern_server("")))?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700))?;
    let adapter = bench.adapter(&["./server.sh"], &json!({ "folder": "inner" }), &json!({}))?;
    call(&*adapter, "any", &json!({})).await?;
    let place = std::fs::read_to_string(bench.path().join("inner/place"))?;
    ensure!(place.trim_end() == bench.path().join("inner").canonicalize()?.to_str().context("a plain path")?);
    Ok(())
}

#[tokio::test]
async fn a_message_is_one_line_whatever_white_space_its_caller_sent() -> Result<()> {
    let bench = Bench::new()?;
    let adapter = bench.server(&[], &json!({}), &json!({}))?;
    let params = "{\n  \"name\": \"files__echo\",\r\n  \"arguments\": {\n    \"token\": \"two\\nlines\"\n  }\n}";
    let reply = adapter.call(&context(PATIENCE), raw_request("echo", params, Effect::Read)).await;
    let text = complete(reply)?.to_string();
    ensure!(text.contains(r"two\\nlines") || text.contains(r"two\nlines"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_flood_on_stderr_holds_nobody_up() -> Result<()> {
    let bench = Bench::new()?;
    // Many times what a pipe holds, before the answer.
    let script = modern_server(
        r#"*'"tools/call"'*) yes 'a line of no interest' | head -c 20000000 >&2; answer '{"resultType":"complete","content":[]}' ;;"#,
    );
    let adapter = bench.script(&format!("{script} serve"), &json!({}))?;
    call(&*adapter, "any", &json!({})).await?;
    Ok(())
}
