use config::{KeyRecord, parse};

use super::lints;

const DOWNSTREAMS: &str = "
identity: { local: { roles: [one] } }
downstreams:
  crm:
    postgres: { url: { env: CRM } }
    tools:
      get_customer: { effect: read, sql: SELECT 1 }
      set_status: { effect: write, sql: UPDATE t SET a = 1 }
  tickets: { ticketing: { provider: jira, base_url: 'https://jira.example', credential: { bearer: { env: J } }, projects: [A], default_project: A } }
  enrich:
    mcp: { websocket: { url: 'wss://enrich.example/mcp' } }
    effects: [{ match: get_*, effect: read }]
";

/// What is said of a config with these roles and limits, as `place: what`.
fn said(rest: &str) -> Vec<String> {
    let loaded = parse(&format!("{DOWNSTREAMS}\n{rest}"), "weir.yaml", std::path::Path::new(""));
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    let no_keys: &[KeyRecord] = &[];
    let lints = lints(&loaded.config, Some(no_keys));
    let place = |index: Option<usize>| index.map(|index| format!("[{index}]")).unwrap_or_default();
    lints.iter().map(|lint| format!("{}{}: {}", lint.at.join("."), place(lint.index), lint.what)).collect()
}

#[test]
fn a_policy_in_which_nothing_deserves_a_look_is_left_alone() {
    for roles in [
        "{ one: { allow: [crm__get_*] } }",
        "{ one: { allow: [crm__*], deny: [crm__set_*] } }",
        "{ one: { allow: [crm__get_customer, 'tickets__get_*'] } }",
        "{ one: { allow: ['enrich__get_*', crm__get_customer] } }",
    ] {
        assert_eq!(said(&format!("policy: {{ roles: {roles} }}")), Vec::<String>::new(), "{roles}");
    }
}

#[test]
fn a_write_without_a_limit_is_told_once_with_the_roles_that_may_call_it() {
    let roles = "policy: { roles: { one: { allow: [crm__set_*] } } }";
    let expected = "downstreams.crm: nothing limits how often `crm__set_status` may be called, which write, and which `one` may call";
    assert_eq!(said(roles), [expected]);
    let limit = |of: &str| format!("{roles}\nlimits: [{{ name: w, {of}, rate: 60/h }}]");
    assert_eq!(said(&limit("match: 'crm__*', per: caller_tool")), Vec::<String>::new());
    assert_eq!(said(&limit("match: 'tickets__*', per: caller_tool")), [expected]);
    assert_eq!(said(&limit("per: address")), [expected], "a limit of wrong credentials limits no tool");
}

#[test]
fn a_role_that_combines_all_three_is_told_with_a_tool_for_each() {
    let limits = "limits: [{ name: w, match: '*', per: caller_tool, rate: 60/h }]";
    let of = |allow: &str| said(&format!("policy: {{ roles: {{ one: {{ allow: [{allow}] }} }} }}\n{limits}"));
    let told = of("crm__get_customer, tickets__get_ticket, tickets__add_comment");
    assert_eq!(told.len(), 1, "{told:?}");
    for part in
        ["`crm__get_customer` is private", "`tickets__get_ticket` is untrusted", "`tickets__add_comment` is outward"]
    {
        assert!(told[0].contains(part), "{told:?}");
    }
    // Any two of them are fine, and a tool of an MCP server of which nothing is stated may do both.
    for two in
        ["crm__get_customer, tickets__get_ticket", "crm__get_customer, tickets__add_comment", "tickets__*", "enrich__*"]
    {
        assert_eq!(of(two), Vec::<String>::new(), "{two}");
    }
    assert!(of("crm__get_customer, 'enrich__*'")[0].contains("`enrich__*` is outward"));
    assert_eq!(of("crm__get_customer, 'enrich__get_*'"), Vec::<String>::new());
}

#[test]
fn a_role_that_allows_less_or_more_than_it_seems_is_told() {
    let limits = "limits: [{ name: w, match: '*', per: caller_tool, rate: 60/h }]";
    let of = |roles: &str| said(&format!("policy: {{ roles: {{ {roles} }} }}\n{limits}"));
    let told = of("one: { allow: [crm__get_customer, 'crm__set_*'], deny: ['crm__set_*'] }");
    assert_eq!(
        told,
        ["policy.roles.one.allow[1]: `crm__set_*` allows nothing: `deny` has `crm__set_*`, which takes all of it back"]
    );
    let told = of("one: { allow: ['*'], deny: ['tickets__*', 'enrich__*'] }");
    assert_eq!(
        told,
        ["policy.roles.one.allow[0]: `*` allows every tool, also those that write and those that are still to come"]
    );
    let told = of("one: { allow: [crm__get_customer] }, two: { allow: [crm__get_customer] }");
    assert_eq!(
        told,
        ["policy.roles.two: nobody can have this role: no API key, no token, no certificate and no signature gives it"]
    );
}
