//! What `weir check` says of a policy: its tests, and conditions that make no sense.

use std::path::Path;

use anyhow::{Result, ensure};

const CONFIG: &str = "identity: { local: { roles: [one] } }
downstreams:
  crm:
    postgres: { url: { env: CRM } }
    tools:
      get: { effect: read, sql: SELECT 1 }
      pay: { effect: write, sql: SELECT $1, arguments: { amount: { type: integer, default: 5000 } } }
limits: [{ name: w, match: '*', per: caller_tool, rate: 60/h }]
views: { v: { tools: [crm__get] } }
policy:
  roles:
    one:
      allow: ['crm__*']
      resources: ['crm://*']
      conditions: [{ match: crm__pay, when: CONDITION }]
  tests:
    - { name: first, roles: [one], TEST }
";

/// Each problem as `line: message`.
fn said(condition: &str, test: &str) -> Result<Vec<String>> {
    let text = CONFIG.replace("CONDITION", condition).replace("TEST", test);
    let loaded = tests::harness::parse(&text, Path::new(""))?;
    let (problems, warnings) = router::policy::check(&loaded, Some(&[]));
    ensure!(warnings.is_empty(), "{warnings:?}");
    Ok(problems.iter().map(|problem| format!("{}: {}", problem.line.unwrap_or(0), problem.message)).collect())
}

#[test]
fn a_test_of_the_policy_that_does_not_come_out_is_a_mistake_with_what_was_decided() -> Result<()> {
    let small = "'arguments.amount <= 1000'";
    for test in [
        "arguments: { amount: 1000 }, allowed: [crm__get, crm__pay], denied: [CRM__get, files__read]",
        "arguments: { amount: 1001 }, denied: [crm__pay]",
        // What Weir adds where a caller says nothing is judged too.
        "denied: [crm__pay]",
        "view: v, arguments: { amount: 1 }, allowed: [crm__get], denied: [crm__pay]",
        "allowed_resources: ['crm://a'], denied_resources: ['file://a'], denied_prompts: [crm__p]",
    ] {
        ensure!(said(small, test)?.is_empty(), "{test}: {:?}", said(small, test)?);
    }
    for (test, told) in [
        ("allowed: [files__read]", "first: `files__read` is denied: role `one` has no pattern for it"),
        ("denied: [crm__get]", "first: `crm__get` is allowed by `one: crm__*`"),
        ("allowed: [crm__pay]", "first: `crm__pay` is denied by a condition: `one: arguments.amount <= 1000`: false"),
        (
            "view: v, arguments: { amount: 1 }, allowed: [crm__pay]",
            "first: `crm__pay` is denied: the view does not show it",
        ),
        ("allowed_prompts: [crm__p]", "first: `crm__p` is denied: none of the roles has a pattern for it"),
    ] {
        let said = said(small, test)?;
        ensure!(said.len() == 1 && said[0].starts_with("17: ") && said[0].ends_with(told), "{test}: {said:?}");
    }
    Ok(())
}

#[test]
fn a_condition_that_makes_no_sense_is_a_mistake_with_its_place() -> Result<()> {
    let said = said("'caller.tennant == \"a\"'", "denied: [crm__pay]")?;
    ensure!(said.len() == 1 && said[0].starts_with("15: "), "{said:?}");
    ensure!(said[0].contains("conditions[0].when") && said[0].contains("did you mean `caller.tenant`?"), "{said:?}");
    Ok(())
}
