//! `limits`.

use insta::assert_snapshot;

use super::{said, with_e};

fn limits(limits: &[&str]) -> String {
    let sections: Vec<String> = limits.iter().map(|limits| format!("limits: [ {limits} ]")).collect();
    with_e(&sections.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_limit_has_a_name_of_its_own() {
    assert_snapshot!(limits(&[
        "{ name: exports, per: caller, rate: 10/h }",
        "{ name: Exports, per: caller, rate: 10/h }",
        "{ name: '1st', per: caller, rate: 10/h }",
        "{ name: '', per: caller, rate: 10/h }",
        "{ name: a, per: caller, rate: 10/h }, { name: a, per: tool, rate: 10/h }",
        "{ name: refused-calls, per: caller, rate: 10/h }",
        "{ name: failed-logins, per: caller, rate: 10/h }",
        "{ name: failed-logins, per: address, rate: 5/m }",
    ]), @"
    limits: [ { name: exports, per: caller, rate: 10/h } ]
      fine
    limits: [ { name: Exports, per: caller, rate: 10/h } ]
      problem 2:19 `limits[0].name` is `Exports`, which cannot name a limit
        help: use a lower-case letter followed by lower-case letters, digits or `-`, at most 64 characters, for example `exports`
    limits: [ { name: '1st', per: caller, rate: 10/h } ]
      problem 2:19 `limits[0].name` is `1st`, which cannot name a limit
        help: use a lower-case letter followed by lower-case letters, digits or `-`, at most 64 characters, for example `exports`
    limits: [ { name: '', per: caller, rate: 10/h } ]
      problem 2:19 `limits[0].name` is ``, which cannot name a limit
        help: use a lower-case letter followed by lower-case letters, digits or `-`, at most 64 characters, for example `exports`
    limits: [ { name: a, per: caller, rate: 10/h }, { name: a, per: tool, rate: 10/h } ]
      problem 2:57 `limits[1].name` is `a`, which another limit has
        help: callers are told a limit by its name: give each its own
    limits: [ { name: refused-calls, per: caller, rate: 10/h } ]
      problem 2:19 `limits[0].name` is `refused-calls`, which names a limit of Weir's own
        help: choose another name
    limits: [ { name: failed-logins, per: caller, rate: 10/h } ]
      problem 2:19 `limits[0].name` is `failed-logins`, which names a limit of Weir's own
        help: choose another name
    limits: [ { name: failed-logins, per: address, rate: 5/m } ]
      fine
    ");
}

#[test]
fn what_is_never_let_through_is_no_limit() {
    assert_snapshot!(limits(&[
        "{ name: a, per: caller, rate: 0/s }",
        "{ name: a, per: caller, rate: 10 }",
        "{ name: a, per: caller, rate: 100001/s }",
        "{ name: a, per: caller, rate: 10/s, burst: 0 }",
        "{ name: a, per: caller, rate: 1/s, burst: 4294967296 }",
        "{ name: a, per: caller, rate: 1/d, burst: 400 }",
        "{ name: a, per: caller, rate: 1000/d, burst: 10 }",
    ]), @"
    limits: [ { name: a, per: caller, rate: 0/s } ]
      problem 2:41 `limits[0].rate` is `0/s`, so that nothing would ever be let through
        help: to forbid tools, leave them out of the roles' `allow`, or name them under `deny`
    limits: [ { name: a, per: caller, rate: 10 } ]
      problem 2:41 `limits[0].rate` must be a whole number and a unit of time, such as `100/s`, `20/m`, `1000/h` or `5000/d`, not `10`
    limits: [ { name: a, per: caller, rate: 100001/s } ]
      problem 2:41 `limits[0].rate` is `100001/s`, more than can be counted: at most `100000/s`
        help: remove the limit: no system is protected by one so high
    limits: [ { name: a, per: caller, rate: 10/s, burst: 0 } ]
      problem 2:54 `limits[0].burst` is 0, so that nothing would ever be let through
        help: it is how many calls may come at once after a rest: 1 spreads them evenly
    limits: [ { name: a, per: caller, rate: 1/s, burst: 4294967296 } ]
      problem 2:53 `limits[0].burst` is 4294967296; it must be at most 4294967295
    limits: [ { name: a, per: caller, rate: 1/d, burst: 400 } ]
      problem 2:53 `limits[0].burst` is 400, which at `1/d` takes more than a year to come back
        help: lower it, or raise `rate`
    limits: [ { name: a, per: caller, rate: 1000/d, burst: 10 } ]
      fine
    ");
}

#[test]
fn a_role_belongs_to_limits_of_roles() {
    assert_snapshot!(limits(&[
        "{ name: a, per: role, role: r, rate: 1/s }",
        "{ name: a, per: role, rate: 1/s }",
        "{ name: a, per: role, role: R1, rate: 1/s }",
        "{ name: a, per: tenant, role: r, rate: 1/s }",
        // One mistake is not reported as two.
        "{ name: a, per: role, role: [r], rate: 1/s }",
    ]), @"
    limits: [ { name: a, per: role, role: r, rate: 1/s } ]
      fine
    limits: [ { name: a, per: role, rate: 1/s } ]
      problem 2:11 `limits[0]` is `per: role` and names no `role`
        help: say which: callers with other roles are not counted
    limits: [ { name: a, per: role, role: R1, rate: 1/s } ]
      problem 2:39 `limits[0].role` names the role `R1`, which `policy.roles` does not have
        help: did you mean `r`?
    limits: [ { name: a, per: tenant, role: r, rate: 1/s } ]
      problem 2:41 `limits[0].role` is for `per: role` alone
        help: say `per: role`, or remove it: all callers are counted
    limits: [ { name: a, per: role, role: [r], rate: 1/s } ]
      problem 2:33 `limits[0].role` must be a text, not a list
    ");
}

#[test]
fn a_pattern_means_some_tool() {
    assert_snapshot!(limits(&[
        "{ name: a, match: e__get_*, per: caller, rate: 1/s }",
        "{ name: a, match: f__*, per: caller, rate: 1/s }",
        "{ name: a, match: '*', per: address, rate: 1/s }",
    ]), @"
    limits: [ { name: a, match: e__get_*, per: caller, rate: 1/s } ]
      fine
    limits: [ { name: a, match: f__*, per: caller, rate: 1/s } ]
      warning 2:29 `limits[0].match` matches no tool of any downstream: `f__*`
        help: names are `<downstream>__<tool>`, so `e__*` means all tools of `e`
    limits: [ { name: a, match: '*', per: address, rate: 1/s } ]
      problem 2:29 `limits[0].match` is for limits of calls; `per: address` counts wrong credentials, which name no tool yet
        help: remove it
    ");
}

#[test]
fn a_limit_that_another_one_goes_before_is_told_of() {
    assert_snapshot!(limits(&[
        "{ name: a, per: caller, rate: 60/m }, { name: b, per: caller, rate: 2/s, burst: 60 }",
        "{ name: a, per: caller, rate: 60/m }, { name: b, per: caller, rate: 1/s, burst: 60 }",
        "{ name: a, per: caller, rate: 100/m }, { name: b, per: tenant, rate: 100/m }",
        "{ name: a, per: tool, match: e__x, rate: 100/m }, { name: b, per: downstream, rate: 10/m }",
        // A short burst and a long run are two things.
        "{ name: a, per: caller, rate: 100/s, burst: 10 }, { name: b, per: caller, rate: 10/s, burst: 100 }",
        // What protects a downstream does not count cached answers.
        "{ name: a, per: caller_tool, rate: 100/m }, { name: b, per: tool, rate: 10/m }",
        "{ name: a, per: caller, rate: 100/m }, { name: b, per: tenant, match: e__x, rate: 10/m }",
        "{ name: a, per: role, role: r, rate: 100/m }, { name: b, per: caller, rate: 10/m }",
        "{ name: a, per: caller, rate: 10/m }, { name: b, per: caller, rate: 10/m, redis_gone: closed }",
    ]), @"
    limits: [ { name: a, per: caller, rate: 60/m }, { name: b, per: caller, rate: 2/s, burst: 60 } ]
      warning 2:49 `limits[1]` never refuses anything: `a` counts the same calls and lets fewer through
        help: lower it, or remove it
    limits: [ { name: a, per: caller, rate: 60/m }, { name: b, per: caller, rate: 1/s, burst: 60 } ]
      warning 2:49 `limits[1]` never refuses anything: `a` counts the same calls and lets fewer through
        help: lower it, or remove it
    limits: [ { name: a, per: caller, rate: 100/m }, { name: b, per: tenant, rate: 100/m } ]
      warning 2:11 `limits[0]` never refuses anything: `b` counts the same calls and lets fewer through
        help: lower it, or remove it
    limits: [ { name: a, per: tool, match: e__x, rate: 100/m }, { name: b, per: downstream, rate: 10/m } ]
      warning 2:11 `limits[0]` never refuses anything: `b` counts the same calls and lets fewer through
        help: lower it, or remove it
    limits: [ { name: a, per: caller, rate: 100/s, burst: 10 }, { name: b, per: caller, rate: 10/s, burst: 100 } ]
      fine
    limits: [ { name: a, per: caller_tool, rate: 100/m }, { name: b, per: tool, rate: 10/m } ]
      fine
    limits: [ { name: a, per: caller, rate: 100/m }, { name: b, per: tenant, match: e__x, rate: 10/m } ]
      fine
    limits: [ { name: a, per: role, role: r, rate: 100/m }, { name: b, per: caller, rate: 10/m } ]
      fine
    limits: [ { name: a, per: caller, rate: 10/m }, { name: b, per: caller, rate: 10/m, redis_gone: closed } ]
      fine
    ");
}

#[test]
fn a_tool_costs_no_more_than_its_limits_have() {
    let config = |cost: &str, limits: &str| {
        format!(
            "downstreams: {{ d: {{ postgres: {{ url: {{ env: A }} }}, tools: {{ export: {{ sql: SELECT 1, effect: read, cost: {cost} }} }} }} }}\n\
             limits: [ {limits} ]\nidentity: {{ local: {{ roles: [r] }} }}\npolicy: {{ roles: {{ r: {{ allow: ['*'] }} }} }}"
        )
    };
    let configs = [
        config("10", "{ name: a, per: caller, rate: 10/h }"),
        config("11", "{ name: a, per: caller, rate: 10/h }"),
        config("11", "{ name: a, per: caller, rate: 100/h, burst: 10 }"),
        config("11", "{ name: a, match: d__x*, per: caller, rate: 10/h }, { name: b, per: address, rate: 1/m }"),
        config("0", "{ name: a, per: caller, rate: 10/h }"),
    ];
    let shown = said(&configs.each_ref().map(String::as_str));
    let same = "\nidentity: { local: { roles: [r] } }\npolicy: { roles: { r: { allow: ['*'] } } }";
    assert_snapshot!(shown.replace(same, ""), @"
    downstreams: { d: { postgres: { url: { env: A } }, tools: { export: { sql: SELECT 1, effect: read, cost: 10 } } } }
    limits: [ { name: a, per: caller, rate: 10/h } ]
      warning 1:61 `downstreams.d.tools.export` has no `description`
        help: say what it does and when to use it: that is all the model knows about it
    downstreams: { d: { postgres: { url: { env: A } }, tools: { export: { sql: SELECT 1, effect: read, cost: 11 } } } }
    limits: [ { name: a, per: caller, rate: 10/h } ]
      problem 1:106 `downstreams.d.tools.export.cost` is 11, more than the limit `a` ever has at once, which is 10: no call would be let through
        help: lower it, or raise the limit's `burst`
    downstreams: { d: { postgres: { url: { env: A } }, tools: { export: { sql: SELECT 1, effect: read, cost: 11 } } } }
    limits: [ { name: a, per: caller, rate: 100/h, burst: 10 } ]
      problem 1:106 `downstreams.d.tools.export.cost` is 11, more than the limit `a` ever has at once, which is 10: no call would be let through
        help: lower it, or raise the limit's `burst`
    downstreams: { d: { postgres: { url: { env: A } }, tools: { export: { sql: SELECT 1, effect: read, cost: 11 } } } }
    limits: [ { name: a, match: d__x*, per: caller, rate: 10/h }, { name: b, per: address, rate: 1/m } ]
      warning 1:61 `downstreams.d.tools.export` has no `description`
        help: say what it does and when to use it: that is all the model knows about it
      warning 2:29 `limits[0].match` matches no tool of any downstream: `d__x*`
        help: names are `<downstream>__<tool>`, so `d__*` means all tools of `d`
    downstreams: { d: { postgres: { url: { env: A } }, tools: { export: { sql: SELECT 1, effect: read, cost: 0 } } } }
    limits: [ { name: a, per: caller, rate: 10/h } ]
      warning 1:61 `downstreams.d.tools.export` has no `description`
        help: say what it does and when to use it: that is all the model knows about it
    ");
}
