//! `weir audit verify`, `search`, `export`, `prune` and `keygen`.

use std::{fs, os::unix::fs::PermissionsExt as _};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::TestRouter;

use super::{call, config, segments, server, weir, written};

const WHOLE: &[&str] = &["verify", "--anchor", "anchor", "--identity", "identity.txt"];

#[tokio::test(flavor = "multi_thread")]
async fn a_log_verifies_while_it_is_written_and_after() -> Result<()> {
    let (server, folder) = (server().await?, tempfile::tempdir()?);
    let audit = json!({ "dir": folder.path().join("audit"), "anchor": folder.path().join("anchor"), "segment_bytes_max": "64KiB", "checkpoint_every": "1s" });
    let router = TestRouter::ready(&config(&server, audit).to_string()).await?;
    for _ in 0..5 {
        let calls = async {
            for _ in 0..20 {
                call(&router, "get_thing").await?;
            }
            anyhow::Ok(())
        };
        let (verified, called) = tokio::join!(weir(folder.path(), &["verify", "--anchor", "anchor", "--json"]), calls);
        called?;
        let verified = verified.with_code(0).json();
        ensure!(verified["verdict"] == "whole" && verified["report"]["chains"][0]["end"] == "open", "{verified}");
    }
    router.stop().await;
    let verified = weir(folder.path(), &["verify", "--anchor", "anchor", "--json"]).await.with_code(0).json();
    ensure!(verified["report"]["chains"][0]["end"] == "ended", "{verified}");
    ensure!(verified["report"]["records"].as_u64() >= Some(100), "{verified}");
    ensure!(segments(folder.path())?.len() > 1, "it was to rotate");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_damage_has_its_exit_code_and_its_first_line() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    written(folder).await?;
    let verified = weir(folder, WHOLE).await.with_code(0);
    ensure!(verified.stdout.contains("whole") && verified.stdout.contains("2 chains"), "{verified:?}");

    let first = segments(folder)?[0].clone();
    let whole = fs::read(&first)?;
    let lines: Vec<&[u8]> = whole.split_inclusive(|&byte| byte == b'\n').collect();
    let damaged = |lines: &[&[u8]]| fs::write(&first, lines.concat());

    let altered = String::from_utf8(lines[3].to_vec())?.replace(char::from(lines[3][100]), "_");
    damaged(&[&lines[..3], &[altered.as_bytes()], &lines[4..]].concat())?;
    let told = weir(folder, WHOLE).await.with_code(10);
    ensure!(told.stdout.contains("line 3") && told.stdout.contains("runbooks/broken-chain.md"), "{told:?}");
    damaged(&[&lines[..3], &lines[4..]].concat())?;
    weir(folder, WHOLE).await.with_code(11);
    damaged(&lines[..lines.len() - 2])?;
    weir(folder, &["verify"]).await.with_code(12);
    fs::write(&first, &whole)?;
    weir(folder, &["keygen", "--signing-key", "other.pem"]).await.with_code(0);
    weir(folder, &["verify", "--public-key", "other.pub"]).await.with_code(13);
    let last = segments(folder)?.pop().context("a segment")?;
    let kept = fs::read(&last)?;
    fs::remove_file(&last)?;
    weir(folder, &["verify"]).await.with_code(0);
    weir(folder, WHOLE).await.with_code(14);
    fs::write(&last, kept)?;
    weir(folder, &["keygen", "--identity", "stranger.txt"]).await.with_code(0);
    weir(folder, &["verify", "--identity", "stranger.txt"]).await.with_code(15);
    weir(folder, &["verify", "nowhere"]).await.with_code(1);
    weir(folder, WHOLE).await.with_code(0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_found_by_who_has_the_identity() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    written(folder).await?;
    let search = async |words: &[&str]| {
        let words: Vec<&str> = ["search", "--identity", "identity.txt"].iter().chain(words).copied().collect();
        let found = weir(folder, &words).await.with_code(0).stdout;
        found.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()
    };
    let calls = search(&["--kind", "call"]).await?;
    ensure!(calls.len() >= 8 && calls.iter().all(|record| record["kind"] == "call"), "{calls:?}");
    let times: Vec<&str> = calls.iter().filter_map(|record| record["time"].as_str()).collect();
    ensure!(times.is_sorted() && calls.iter().all(|record| record["seq"].is_number()), "{times:?}");
    let writes = search(&["--tool", "raw__put_*", "--outcome", "ok"]).await?;
    ensure!(writes.len() == 2, "{writes:?}");
    let of_one = search(&["--request-id", writes[0]["request_id"].as_str().context("an id")?]).await?;
    let kinds: Vec<&str> = of_one.iter().filter_map(|record| record["kind"].as_str()).collect();
    ensure!(kinds == ["intent", "call"], "{of_one:?}");
    ensure!(search(&["--outcome", "unknown_tool"]).await?.len() == 2);
    ensure!(search(&["--kind", "call", "--limit", "3"]).await? == calls[calls.len() - 3..]);
    ensure!(search(&["--until", "2020-01-01"]).await?.is_empty() && search(&["--since", "1h"]).await?.len() > 8);
    ensure!(search(&["--text", "ada@example.com"]).await?.is_empty(), "arguments are masked");

    let sealed = weir(folder, &["search"]).await.with_code(1);
    ensure!(sealed.stdout.is_empty() && sealed.stderr.contains("--identity FILE"), "{sealed:?}");
    for file in segments(folder)? {
        let text = fs::read_to_string(file)?;
        ensure!(!text.contains("put_thing") && !text.contains("unknown_tool"), "the records are sealed");
    }
    fs::set_permissions(folder.join("identity.txt"), fs::Permissions::from_mode(0o644))?;
    weir(folder, &["search", "--identity", "identity.txt"]).await.with_code(1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_records_of_a_time_can_be_taken_elsewhere() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    written(folder).await?;
    let lines = weir(folder, &["export", "--identity", "identity.txt", "--since", "1h"]).await.with_code(0).stdout;
    let csv = weir(folder, &["export", "--identity", "identity.txt", "--format", "csv"]).await.with_code(0).stdout;
    let (header, rows) = csv.split_once("\r\n").context("a header")?;
    ensure!(header.starts_with("time,kind,event,request_id,"), "{header}");
    ensure!(rows.lines().count() == lines.lines().count() && lines.lines().count() > 8, "{rows}\n{lines}");
    let report = weir(folder, &["verify", "--json"]).await.with_code(0).json();
    ensure!(report["report"]["records"].as_u64() == u64::try_from(lines.lines().count()).ok(), "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_young_is_pruned() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    written(folder).await?;
    let refused = weir(folder, &["prune", "--older-than", "89d"]).await.with_code(1);
    ensure!(refused.stderr.contains("90d"), "{refused:?}");
    fs::write(folder.join("weir.yaml"), "audit: { dir: audit, retention: 400d }\n")?;
    weir(folder, &["prune", "--older-than", "91d", "--config", "weir.yaml"]).await.with_code(1);
    let before = segments(folder)?;
    let pruned = weir(folder, &["prune", "--older-than", "91d", "--anchor", "anchor"]).await.with_code(0);
    ensure!(pruned.stdout.contains("0 segments") && segments(folder)? == before, "{pruned:?}");
    Ok(())
}

#[tokio::test]
async fn keys_are_made_once_and_for_their_owner_alone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let made = weir(folder.path(), &["keygen", "--identity", "identity.txt"]).await.with_code(0);
    ensure!(made.stdout.starts_with("age1") && !made.stderr.contains("AGE-SECRET-KEY"), "{made:?}");
    let text = fs::read_to_string(folder.path().join("identity.txt"))?;
    ensure!(
        text.contains("AGE-SECRET-KEY-1") && text.contains(made.stdout.trim()),
        "an identity file as age writes it"
    );
    let made = weir(folder.path(), &["keygen", "--signing-key", "key.pem"]).await.with_code(0);
    ensure!(made.stdout == fs::read_to_string(folder.path().join("key.pub"))?, "{made:?}");
    for name in ["identity.txt", "key.pem"] {
        ensure!(fs::metadata(folder.path().join(name))?.permissions().mode() & 0o777 == 0o600, "{name}");
    }
    weir(folder.path(), &["keygen", "--identity", "identity.txt"]).await.with_code(1);
    ensure!(fs::read_to_string(folder.path().join("identity.txt"))? == text);
    weir(folder.path(), &["keygen"]).await.with_code(2);
    Ok(())
}
