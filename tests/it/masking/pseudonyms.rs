//! Names that stand for values: they come back as the values for whom they were shown to, and for nobody else.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::redis::{PrivateRedis, RedisOptions, Reply};
use tests::{TestRouter, private_file};

use super::{HIGH, LOW, OTHER, Scene, profile};

fn rules() -> Value {
    json!([{ "path": "$..id", "with": "pseudonym", "class": "cust" }, { "path": "$..note", "with": "redact" }])
}

fn rows() -> Value {
    let rows =
        json!({ "rows": [{ "id": 4711, "who": "Ada" }, { "id": "C-0815", "note": "is C-0815" }, { "id": 4711 }] });
    json!({ "content": [{ "type": "text", "text": rows.to_string() }], "structuredContent": rows })
}

/// The pseudonyms in an answer, by row.
async fn names(scene: &Scene, who: usize) -> Result<Vec<String>> {
    let answer = scene.result(who, "read", json!({})).await?;
    let rows = answer["structuredContent"]["rows"].as_array().context("rows")?.clone();
    ensure!(!answer.to_string().contains("4711") && !answer.to_string().contains("C-0815"), "{answer}");
    let names = rows.iter().map(|row| row["id"].as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
    names.with_context(|| format!("{rows:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pseudonym_is_its_callers_alone() -> Result<()> {
    let scene = Scene::new(&profile(&rules()), |_| {}).await?;
    scene.says(rows());
    let (mine, again, others) = (names(&scene, LOW).await?, names(&scene, LOW).await?, names(&scene, OTHER).await?);
    ensure!(mine == again && mine[0] == mine[2] && mine[0] != mine[1], "{mine:?} {again:?}");
    ensure!(others[0] != mine[0] && mine[0].starts_with("cust_") && mine[0].len() >= 15, "{mine:?} {others:?}");

    // What comes back is the value with its type, and what is answered is the name again.
    let answer = scene.result(LOW, "get", json!({ "customer": mine[0], "n": 1.50 })).await?;
    ensure!(scene.sent()? == json!({ "customer": 4711, "n": 1.5 }), "{}", scene.sent()?);
    ensure!(
        !answer.to_string().contains("4711") && answer["structuredContent"]["found"]["customer"] == mine[0],
        "{answer}"
    );
    let text = answer["content"][0]["text"].as_str().context("text")?;
    ensure!(text.starts_with(&format!("found {}", mine[0])), "{text}");
    scene.result(LOW, "get", json!({ "filter": { "ids": [mine[1]] } })).await?;
    ensure!(scene.sent()? == json!({ "filter": { "ids": ["C-0815"] } }), "{}", scene.sent()?);
    let record = scene.router.records().await?.into_iter().next().context("no record")?;
    ensure!(record["restored"] == 1 && !record.to_string().contains("C-0815"), "{record}");

    let calls = scene.server.received().len();
    for (who, name) in [(OTHER, &mine[0]), (HIGH, &mine[0]), (LOW, &others[0]), (LOW, &"cust_0000000000ab".to_owned())]
    {
        let refused = scene.result(who, "get", json!({ "customer": name })).await?;
        let text = refused["content"][0]["text"].as_str().unwrap_or_default();
        ensure!(
            refused["isError"] == true && text.contains("/customer: this name is not one that you were shown"),
            "{refused}"
        );
    }
    ensure!(scene.server.received().len() == calls, "nothing was sent");

    // Where the config does not say so, or where it is not the whole argument, it is text like any other.
    for arguments in [
        json!({ "other": mine[0] }),
        json!({ "customer": format!("x {}", mine[0]) }),
        json!({ "filter": { "ids": ["a", mine[0]] } }),
    ] {
        scene.result(LOW, "get", arguments.clone()).await?;
        ensure!(scene.sent()? == arguments, "{arguments}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_replicas_know_a_pseudonym_and_redis_shows_nothing() -> Result<()> {
    let mut redis = PrivateRedis::start(RedisOptions::default()).await?;
    let url = redis.url();
    let scene = Scene::new(&profile(&rules()), |_| {}).await?;
    let mut config = scene.config.clone();
    config["secrets"] = json!({ "master": { "file": "master" } });
    config["redis"] = json!({ "url": { "file": "redis_url" }, "command_timeout": "1s", "value_timeout": "2s" });
    let dir = |keys: String| {
        let dir = tempfile::tempdir()?;
        private_file(dir.path().join("master"), "9d2c6f8be1704a53bd1f86a0c7e2549360ab71fd")?;
        private_file(dir.path().join("redis_url"), &url)?;
        private_file(dir.path().join("keys.yaml"), keys)?;
        anyhow::Ok(dir)
    };
    let holders = tempfile::tempdir()?;
    let keys = tests::keys(holders.path(), &[("low", &["low"]), ("other", &["low"])])?;
    let text = std::fs::read_to_string(holders.path().join("keys.yaml"))?;
    let one = TestRouter::ready_in(dir(text.clone())?, &config.to_string()).await?;
    let two = TestRouter::ready_in(dir(text)?, &config.to_string()).await?;
    scene.says(rows());
    let name_at = async |router: &TestRouter, key: &str| {
        let answer = router.call(Some(key), "crm__read", json!({})).await?.result()?;
        anyhow::Ok(answer["structuredContent"]["rows"][0]["id"].as_str().unwrap_or_default().to_owned())
    };
    // Each connects in its own time; before that a value is redacted, and no name is given that another replica would not know.
    let name = tests::until("both know Redis", async || {
        let (first, second) = (name_at(&one, &keys[0]).await?, name_at(&two, &keys[0]).await?);
        ensure!(first == "[redacted]" || first.starts_with("cust_"), "{first}");
        Ok((first.starts_with("cust_") && first == second).then_some(first))
    })
    .await?;
    let found = two.call(Some(&keys[0]), "crm__get", json!({ "customer": name })).await?.result()?;
    ensure!(found["isError"] != true && scene.sent()? == json!({ "customer": 4711 }), "{found}");
    let refused = two.call(Some(&keys[1]), "crm__get", json!({ "customer": name })).await?.result()?;
    ensure!(refused["isError"] == true, "{refused}");

    let mut looked_at = 0;
    for key in redis.command(&["KEYS", "*name:*"]).await?.list()? {
        let key = key.bytes()?;
        ensure!((1..=86_400_000).contains(&redis.command(&[b"PTTL".as_slice(), &key]).await?.integer()?));
        let is_hash = key.ends_with(b"names");
        let read: &[&[u8]] = if is_hash { &[b"HGETALL", &key] } else { &[b"ZRANGE", &key, b"0", b"-1"] };
        for held in redis.command(read).await?.list()? {
            let held = Reply::bytes(held)?;
            let text = String::from_utf8_lossy(&held);
            ensure!(["C-0815", "cust", name.as_str(), "low"].iter().all(|plain| !text.contains(plain)), "{text}");
            looked_at += 1;
        }
    }
    ensure!(looked_at >= 6, "{looked_at}");

    redis.kill().await?;
    let calls = scene.server.received().len();
    let gone = one.call(Some(&keys[0]), "crm__get", json!({ "customer": name })).await?.result()?;
    ensure!(gone["isError"] == true && gone.to_string().contains("cannot be looked up now"), "{gone}");
    ensure!(scene.server.received().len() == calls, "nothing was sent");
    ensure!(name_at(&one, &keys[0]).await? == "[redacted]");
    Ok(())
}
