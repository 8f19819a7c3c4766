//! `weir audit evidence`, and the commands that the docs name for each criterion.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ED25519, UnparsedPublicKey},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::{weir, written};

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_docs_makes_a_bundle() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    written(folder).await?;
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compliance.md"))?;
    let commands: Vec<&str> =
        docs.split('`').filter(|words| words.starts_with("weir audit evidence audit --criterion")).collect();
    ensure!(commands.len() >= 30, "{} commands", commands.len());
    for words in commands {
        let criterion = words.split(' ').nth(5).context("a criterion")?;
        let words: Vec<&str> =
            words.split(' ').skip(2).chain(["--identity", "identity.txt", "--anchor", "anchor"]).collect();
        weir(folder, &words).await.with_code(0);
        let bundle: Value = serde_json::from_str(&fs::read_to_string(folder.join("evidence/evidence.json"))?)?;
        ensure!(bundle["criteria"][0]["id"] == criterion && bundle["criteria"][1].is_null(), "{words:?}");
        let told = bundle["criteria"][0].as_object().context("a criterion")?;
        for member in ["asks", "does", "not_shown", "records"] {
            ensure!(told.get(member).is_some_and(|told| *told != ""), "{member}: {told:?}");
        }
        for (name, setting) in told["settings"].as_object().context("settings")? {
            ensure!(!setting.is_null(), "{criterion}: the record of the start has no `{name}`");
        }
        fs::remove_dir_all(folder.join("evidence"))?;
    }
    let wrong = weir(folder, &["evidence", "--criterion", "CC99", "--out", "x"]).await.with_code(1);
    ensure!(wrong.stderr.contains("CC6.1") && !folder.join("x").exists(), "{wrong:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_counts_what_happened_and_is_signed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    written(folder).await?;
    let words = ["evidence", "--identity", "identity.txt", "--anchor", "anchor", "--since", "1h", "--out", "bundle"];
    weir(folder, &[&words[..], &["--signing-key", "audit/signing-key.pem"]].concat()).await.with_code(0);
    let read = |name: &str| fs::read_to_string(folder.join("bundle").join(name));
    let bundle: Value = serde_json::from_str(&read("evidence.json")?)?;
    let count = |name: &str| bundle["evidence"]["sorts"][name]["count"].as_u64();
    ensure!(
        count("writes") == Some(2) && count("write_intents") == Some(2) && count("calls_denied") == Some(2),
        "{bundle}"
    );
    ensure!(count("configs") == Some(2) && bundle["evidence"]["configs"][1]["config_digest"].is_string(), "{bundle}");
    ensure!(
        bundle["verification"]["damages"] == serde_json::json!([])
            && bundle["verification"]["anchored"].as_u64() > Some(0)
    );
    let sample = &bundle["evidence"]["sorts"]["writes"]["samples"][0];
    ensure!(sample["seq"].is_number() && sample["record"]["asked"] == "raw__put_thing", "{sample}");

    let summary = read("summary.md")?;
    for told in [
        "Yes: 2 chains",
        "| writes | 2 |",
        "## CC6.1",
        "## A.8.15",
        "**What this does not show.**",
        "does not say that a criterion is met",
    ] {
        ensure!(summary.contains(told), "{told}: {summary}");
    }
    let manifest: Value = serde_json::from_str(&read("manifest.json")?)?;
    let text = manifest["manifest"].as_str().context("a manifest")?;
    let hashes: Value = serde_json::from_str(text)?;
    for name in ["summary.md", "evidence.json"] {
        let hash: String =
            digest(&SHA256, read(name)?.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        ensure!(hashes["sha256"][name] == hash, "{name}");
    }
    let bytes = |name: &str| BASE64_STANDARD.decode(manifest[name].as_str().unwrap_or_default());
    let signed = format!("weir audit checkpoint 1\nevidence\n{text}");
    UnparsedPublicKey::new(&ED25519, bytes("public_key")?)
        .verify(signed.as_bytes(), &bytes("signature")?)
        .context("its signature")?;

    weir(folder, &words).await.with_code(1);
    let sealed = weir(folder, &["evidence", "--out", "sealed"]).await.with_code(1);
    ensure!(sealed.stderr.contains("--identity FILE"), "{sealed:?}");
    let summary = fs::read_to_string(folder.join("sealed/summary.md"))?;
    ensure!(summary.contains("Not everything could be read") && summary.contains("No anchor was given"), "{summary}");
    Ok(())
}
