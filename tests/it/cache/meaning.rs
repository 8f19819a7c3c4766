//! Which calls are the same call.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tests::{Ask, TestRouter};

use super::{Got, Source, long};

/// Within a row one meaning, between rows another one. The texts are members of an object.
const MEANINGS: &[&[&str]] = &[
    &[
        r#""a":1,"b":2"#,
        r#""b":2,"a":1"#,
        r#" "a" : 1.0 , "b" : 2e0"#,
        r#""a":10e-1,"b":0.2E+1"#,
        r#""\u0061":1,"b":2"#,
    ],
    &[r#""a":"1","b":2"#],
    &[r#""a":1"#],
    &[r#""a":1,"b":null"#],
    &[r#""a":null,"b":2"#],
    &[r#""a":[1,2]"#, r#""a":[ 1.00, 2 ]"#],
    &[r#""a":[2,1]"#],
    &[r#""a":9007199254740992"#, r#""a":9007199254740992.0"#, r#""a":9.007199254740992e15"#],
    &[r#""a":9007199254740993"#, r#""a":9007199254740993.000"#],
    &[r#""a":"9007199254740993""#],
    &[r#""a":0.1"#, r#""a":1e-1"#, r#""a":0.10"#],
    &[r#""a":0.1000000000000000055511151231257827"#],
    &[r#""a":0"#, r#""a":0.0"#],
    &[r#""a":"\u00e9""#, r#""a":"é""#],
    &[r#""a":"e\u0301""#],
    &[r#""a":"\ud83d\ude00""#, r#""a":"😀""#],
    &[r#""a":"\/""#, r#""a":"/""#],
    &[r#""a":true"#],
    &[r#""a":"true""#],
    &[r#""a":{}"#],
    &[r#""a":[]"#],
    &[r#""a":"""#],
    &[r#""A":1"#],
];

/// What two readers could read differently is never kept.
const DOUBTFUL: &[&str] = &[r#""a":"\ud800""#, r#""a":1e400"#, r#""a":1e99999"#, r#""a":1,"a":2"#];

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_one_meaning_are_one_and_all_others_are_not() -> Result<()> {
    let source = Source::start().await?;
    let config = json!({
        "identity": { "local": { "roles": ["all"] } },
        "policy": { "roles": { "all": { "allow": ["*"] } } },
        "downstreams": { "source": {
            "mainframe": { "base_url": source.url },
            "tools": { "echo": {
                "effect": "read",
                "request": { "method": "POST", "path": "/echo", "body": { "json": { "value": "{value}" } } },
                "arguments": { "value": { "type": "object" } },
                "cache": long(),
            } },
        } },
    });
    let router = TestRouter::ready(&config.to_string()).await?;
    let fetch_of = async |members: &str| {
        let ask = Ask::call("source__echo", json!({ "value": "HERE" })).replaced("\"HERE\"", &format!("{{{members}}}"));
        Got::of(&router.ask(&ask).await?)
    };
    let mut rows: Vec<u64> = Vec::new();
    for row in MEANINGS {
        let first = fetch_of(row[0]).await?.good()?;
        ensure!(first.mark.is_none(), "{} was taken for one of the rows before: {}", row[0], first.result);
        let first = first.fetch.context("a number")?;
        for text in row.iter().cycle().take(row.len() + 1).skip(1) {
            let again = fetch_of(text).await?.good()?;
            ensure!(again.fetch == Some(first), "{text} is not the same as {}: {}", row[0], again.result);
            ensure!(again.state() == Some("fresh"), "void: {text} was no hit: {}", again.result);
        }
        rows.push(first);
    }
    // Once more, when all of them are there.
    for (row, first) in MEANINGS.iter().zip(&rows) {
        ensure!(fetch_of(row[0]).await?.fetch == Some(*first), "{}", row[0]);
    }
    ensure!(source.seen().all() == MEANINGS.len(), "{:?}", source.seen());
    for text in DOUBTFUL {
        for _ in 0..2 {
            // An error, or an answer that is not out of the cache.
            let answer = fetch_of(text).await;
            ensure!(answer.as_ref().map_or(true, |got| got.mark.is_none()), "{text}: {answer:?}");
        }
    }
    Ok(())
}
