//! Hundreds of values, in every place that an answer has.

use anyhow::{Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{HIGH, LOW, Scene, profile};

const VALUES: usize = 500;

/// A value that some detector must find.
fn value(number: usize) -> String {
    match number % 4 {
        0 => format!("user{number}@host{number}.example"),
        1 => card(number),
        2 => format!("+49 30 {:07}", 1_000_000 + number),
        _ => format!("ghp_{number:036}"),
    }
}

/// Sixteen digits with the right check digit.
fn card(number: usize) -> String {
    let body = format!("4{number:014}");
    let sum: u32 = body
        .chars()
        .rev()
        .filter_map(|digit| digit.to_digit(10))
        .enumerate()
        .map(|(place, digit)| if place % 2 == 0 { digit * 2 / 10 + digit * 2 % 10 } else { digit })
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

/// The values, spread over all that a result may have, up to 60 levels deep.
fn answer(values: &[String]) -> Value {
    let (mut content, mut structured, mut meta) = (Vec::new(), Vec::new(), serde_json::Map::new());
    for (number, value) in values.iter().enumerate() {
        let encoded = STANDARD.encode(format!("see {value} there"));
        match number % 9 {
            0 => content.push(json!({ "type": "text", "text": format!("Ask for {value}, please.") })),
            1 => content.push(json!({ "type": "text", "text": json!({ "a": [{ "deep": value }] }).to_string() })),
            2 => content
                .push(json!({ "type": "resource", "resource": { "uri": "f:x", "text": format!("x={value}\n") } })),
            3 => content.push(json!({ "type": "resource", "resource": { "uri": "f:x", "blob": encoded } })),
            4 => content.push(
                json!({ "type": "resource_link", "name": value, "uri": format!("f:{value}"), "description": value }),
            ),
            5 => structured.push((0..60).fold(json!(value), |inner, level| {
                if level % 2 == 0 { json!({ "level": inner }) } else { json!([1, inner]) }
            })),
            6 => structured.push(json!({ value.as_str(): { "n": 1.5 } })),
            7 => structured.push(json!({ "text": format!("data:text/plain;base64,{encoded}") })),
            _ => drop(meta.insert(format!("m{number}"), json!(value))),
        }
    }
    json!({ "content": content, "structuredContent": { "rows": structured }, "_meta": meta })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lower_role_sees_none_of_500_values_and_the_higher_one_sees_all() -> Result<()> {
    let rules = json!([{ "detect": ["email", "card", "phone", "secret"], "with": "redact" }]);
    let scene = Scene::new(&profile(&rules), |_| {}).await?;
    let values: Vec<String> = (0..VALUES).map(value).collect();
    let told = values.iter().take(20).cloned().collect::<Vec<_>>().join("; ");
    scene.says(json!({ "result": answer(&values), "told": told }));
    let (low, high) = (scene.call(LOW, "read", json!({})).await?.text, scene.call(HIGH, "read", json!({})).await?.text);
    ensure!(low.contains("notifications/progress") && high.contains("notifications/progress"), "no progress came");
    for (number, value) in values.iter().enumerate() {
        let encoded = STANDARD.encode(format!("see {value} there"));
        ensure!(high.contains(value) || high.contains(&encoded), "{number}: the higher role does not see {value}");
        ensure!(!low.contains(value) && !low.contains(&encoded), "{number}: the lower role sees {value}");
    }
    ensure!(low.matches("[redacted]").count() >= VALUES - VALUES / 9 - 1, "{}", low.matches("[redacted]").count());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_all_kinds_are_masked() -> Result<()> {
    let rules = json!([{ "detect": ["email", "card", "phone", "secret"], "with": "redact" }]);
    let scene = Scene::new(&profile(&rules), |_| {}).await?;
    let values: Vec<String> = (0..40).map(value).collect();
    let text = values.join(" | ");
    scene.says(json!(text));
    let (low, high) = (scene.call(LOW, "fail", json!({})).await?.text, scene.call(HIGH, "fail", json!({})).await?.text);
    for value in &values {
        ensure!(high.contains(value), "{value}: {high}");
        ensure!(!low.contains(value), "{value}: {low}");
    }
    scene.says(json!({ "isError": true, "content": [{ "type": "text", "text": text }] }));
    let low = scene.call(LOW, "read", json!({})).await?.text;
    ensure!(low.contains("isError") && values.iter().all(|value| !low.contains(value)), "{low}");
    Ok(())
}
