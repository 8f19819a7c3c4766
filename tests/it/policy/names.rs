//! Names that look like allowed ones, and names that are denied, are names that there are not.

use anyhow::{Result, ensure};
use serde_json::json;

use super::{Scene, anonymous, call, is_unknown, plain_call};

/// Names that somebody, or some library, might take for `name`.
fn near(name: &str) -> Vec<String> {
    let swapped: String = name
        .chars()
        .map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
        .collect();
    let mut near = vec![
        name.to_uppercase(),
        swapped,
        format!("{name}."),
        format!("{name} "),
        format!(" {name}"),
        format!("{name}\0"),
        format!("{name}\u{200b}"),
        format!("\u{feff}{name}"),
        format!("{name}/"),
        format!("{name}*"),
        format!("./{name}"),
        format!("x/../{name}"),
        name.replace("__", "_"),
        name.replace("__", "___"),
        name.replace("__", "."),
        name.replace("__", "%5F%5F"),
        name.replace("__", "\u{ff3f}\u{ff3f}"),
        name.replace('c', "\u{441}"),
        name.replace('e', "\u{435}"),
        name.replace('o', "\u{3bf}"),
        name.replace('g', "\u{ff47}"),
        name[..name.len() - 1].to_owned(),
    ];
    near.retain(|near| near != name);
    near
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_only_looks_like_an_allowed_one_is_unknown_to_all() -> Result<()> {
    // The name has another spelling in Unicode: one character, or a letter and its accent.
    let tools: [&str; 2] = ["get_customer", "get_secret"];
    let roles = json!({ "one": { "allow": ["crm__get_customer"] }, "admin": { "allow": ["*"] } });
    let (scene, keys) = Scene::new(&[("crm", &tools)], &json!({ "policy": { "roles": roles } })).await?;
    for key in &keys {
        let answer = call(&scene.router, "/mcp", key, "crm__nobody", &json!({})).await?;
        let unknown = anonymous(&answer, "crm__nobody")?;
        let answer = plain_call(&scene.router, "/v1/tools/call", key, "crm__nobody", &json!({})).await?;
        let plain_unknown = anonymous(&answer, "crm__nobody")?;
        for name in near("crm__get_customer").into_iter().chain(["crm__ge\u{301}t_customer".to_owned()]) {
            let over_mcp = call(&scene.router, "/mcp", key, &name, &json!({})).await?;
            ensure!(is_unknown(&over_mcp) && anonymous(&over_mcp, &name)? == unknown, "{name:?}: {over_mcp:?}");
            let plain = plain_call(&scene.router, "/v1/tools/call", key, &name, &json!({})).await?;
            ensure!(anonymous(&plain, &name)? == plain_unknown, "{name:?}: {plain:?}");
        }
    }
    ensure!(scene.calls() == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_denies_a_tool_it_is_told_like_one_that_there_is_not() -> Result<()> {
    let tools: [&str; 3] = ["by_role", "by_condition", "by_view_"];
    let roles = json!({ "one": {
        "allow": ["crm__by_condition", "crm__by_view_"],
        "conditions": [{ "match": "crm__by_condition", "when": "caller.tenant == 'acme'" }],
    } });
    let views = json!({ "v": { "tools": ["crm__by_role", "crm__by_condition"] } });
    let (scene, keys) =
        Scene::new(&[("crm", &tools)], &json!({ "policy": { "roles": roles }, "views": views })).await?;
    let (router, key) = (&scene.router, &keys[0]);
    let misfits = json!({ "n": [1] });
    for (path, plain_path) in [("/mcp", "/v1/tools/call"), ("/mcp/v", "/v1/views/v/tools/call")] {
        let answer = call(router, path, key, "crm__by_nobody", &misfits).await?;
        let unknown = anonymous(&answer, "crm__by_nobody")?;
        let answer = plain_call(router, plain_path, key, "crm__by_nobody", &misfits).await?;
        let plain_unknown = anonymous(&answer, "crm__by_nobody")?;
        for (name, reason) in [("crm__by_role", "role"), ("crm__by_condition", "condition"), ("crm__by_view_", "view")]
        {
            if reason == "view" && path == "/mcp" {
                continue;
            }
            let over_mcp = call(router, path, key, name, &misfits).await?;
            ensure!(anonymous(&over_mcp, name)? == unknown, "{name}: {over_mcp:?}");
            let plain = plain_call(router, plain_path, key, name, &misfits).await?;
            ensure!(anonymous(&plain, name)? == plain_unknown, "{name}: {plain:?}");
            let record = scene.record().await?;
            ensure!(record["outcome"] == "denied" && record["denied_by"] == reason, "{record}");
        }
    }
    ensure!(scene.calls() == 0);
    Ok(())
}
