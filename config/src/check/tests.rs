//! What does not fit together: each case is one mistake in an otherwise good config.

mod audit;
mod caching;
mod credentials;
mod forward;
mod limits;
mod line;
mod masking;
mod redis;
mod resilience;

use std::{fmt::Write, path::Path};

use insta::assert_snapshot;

use crate::parse;

/// Every problem and warning of each config, without its snippet.
fn said(configs: &[&str]) -> String {
    let mut said = String::new();
    for text in configs {
        let (kind, found) = match parse(text, "weir.yaml", Path::new("")) {
            Ok(loaded) => ("warning", loaded.warnings),
            Err(problems) => ("problem", problems.iter().cloned().collect()),
        };
        let _ = writeln!(said, "{}", text.trim());
        for problem in &found {
            let (line, column) = (problem.line.unwrap_or(0), problem.column.unwrap_or(0));
            let _ = writeln!(said, "  {kind} {line}:{column} {}", problem.message);
            if let Some(help) = &problem.help {
                let _ = writeln!(said, "    help: {help}");
            }
        }
        if found.is_empty() {
            said += "  fine\n";
        }
    }
    said
}

/// A config in which all is well but for `sections`.
fn good_but(sections: &[&str]) -> String {
    const REST: &str = "\nidentity: { local: { roles: [r] } }\npolicy: { roles: { r: { allow: ['*'] } } }";
    let configs: Vec<String> = sections.iter().map(|section| format!("{section}{REST}")).collect();
    said(&configs.iter().map(String::as_str).collect::<Vec<_>>()).replace(REST, "")
}

/// A database with one tool.
fn tool(tools: &[&str]) -> String {
    let configs: Vec<String> = tools
        .iter()
        .map(|tool| format!("downstreams: {{ d: {{ postgres: {{ url: {{ env: A }} }}, tools: {{ {tool} }} }} }}"))
        .collect();
    good_but(&configs.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A server over WebSocket.
fn mcp(settings: &[&str]) -> String {
    let configs: Vec<String> = settings.iter().map(|settings| format!("downstreams: {{ e: {settings} }}")).collect();
    good_but(&configs.iter().map(String::as_str).collect::<Vec<_>>())
}

const E: &str = "downstreams: { e: { mcp: { websocket: { url: 'wss://e/mcp' } } } }";

fn with_e(sections: &[&str]) -> String {
    let configs: Vec<String> = sections.iter().map(|section| format!("{E}\n{section}")).collect();
    good_but(&configs.iter().map(String::as_str).collect::<Vec<_>>()).replace(&format!("{E}\n"), "")
}

#[test]
fn a_listener_that_others_reach_needs_tls_and_credentials() {
    let keys = "identity: { api_keys: { file: keys.yaml } }";
    let e = format!("{E}\n");
    let configs = [
        "server: { listen: 0.0.0.0:8080 }".to_owned(),
        format!("server: {{ listen: '0.0.0.0:8080' }}\n{keys}"),
        "server: { listen: '[::]:8080', behind_tls_proxy: true }".to_owned(),
        format!("server: {{ listen: 10.1.2.3:8080, behind_tls_proxy: true }}\n{keys}"),
        format!("server: {{ listen: 10.1.2.3:8443, tls: {{ certificate: c.pem, key: k.pem }} }}\n{keys}"),
        "server: { listen: '[::1]:8080' }".to_owned(),
        "server: { listen: '[::ffff:127.0.0.1]:8080' }".to_owned(),
        "server: { listen: 127.0.0.1:8081 }".to_owned(),
        "server: { admin: 127.0.0.1:8080 }".to_owned(),
        "server: { listen: 127.0.0.1:0, admin: 127.0.0.1:0 }".to_owned(),
        // A mistake in `tls` is not reported as its absence.
        format!("server: {{ listen: 10.1.2.3:8443, tls: {{ certificate: c.pem }} }}\n{keys}"),
    ];
    let configs: Vec<String> =
        configs.iter().map(|config| format!("{e}{config}\npolicy: {{ roles: {{ r: {{ allow: ['*'] }} }} }}")).collect();
    let shown = said(&configs.iter().map(String::as_str).collect::<Vec<_>>());
    assert_snapshot!(shown.replace(&e, "").replace("\npolicy: { roles: { r: { allow: ['*'] } } }", ""), @"
    server: { listen: 0.0.0.0:8080 }
      problem 2:19 `server.listen` is `0.0.0.0:8080`, which other machines reach, and speaks no TLS
        help: give `server.tls`, or say `server.behind_tls_proxy: true` where a proxy in front ends TLS, or listen on `127.0.0.1`
      problem 2:19 `server.listen` is `0.0.0.0:8080`, which other machines reach, and no credentials are configured
        help: give `identity.api_keys` or another kind of credential, or listen on `127.0.0.1`
    server: { listen: '0.0.0.0:8080' }
    identity: { api_keys: { file: keys.yaml } }
      problem 2:19 `server.listen` is `0.0.0.0:8080`, which other machines reach, and speaks no TLS
        help: give `server.tls`, or say `server.behind_tls_proxy: true` where a proxy in front ends TLS, or listen on `127.0.0.1`
    server: { listen: '[::]:8080', behind_tls_proxy: true }
      problem 2:19 `server.listen` is `[::]:8080`, which other machines reach, and no credentials are configured
        help: give `identity.api_keys` or another kind of credential, or listen on `127.0.0.1`
    server: { listen: 10.1.2.3:8080, behind_tls_proxy: true }
    identity: { api_keys: { file: keys.yaml } }
      fine
    server: { listen: 10.1.2.3:8443, tls: { certificate: c.pem, key: k.pem } }
    identity: { api_keys: { file: keys.yaml } }
      fine
    server: { listen: '[::1]:8080' }
      warning 0:0 nobody can use this config: there are no API keys, and the local caller has no role
        help: give `identity.local.roles`, or `identity.api_keys`
    server: { listen: '[::ffff:127.0.0.1]:8080' }
      warning 0:0 nobody can use this config: there are no API keys, and the local caller has no role
        help: give `identity.local.roles`, or `identity.api_keys`
    server: { listen: 127.0.0.1:8081 }
      problem 2:19 `server.listen` has the port 8081 of `server.admin`
        help: the two listeners need a port each: callers must not reach the admin listener
    server: { admin: 127.0.0.1:8080 }
      problem 2:18 `server.admin` has the port 8080 of `server.listen`
        help: the two listeners need a port each: callers must not reach the admin listener
    server: { listen: 127.0.0.1:0, admin: 127.0.0.1:0 }
      warning 0:0 nobody can use this config: there are no API keys, and the local caller has no role
        help: give `identity.local.roles`, or `identity.api_keys`
    server: { listen: 10.1.2.3:8443, tls: { certificate: c.pem } }
    identity: { api_keys: { file: keys.yaml } }
      problem 2:34 `server.tls` lacks `key`
        help: add `key: …` to it
    ");
}

#[test]
fn names_of_hosts_and_networks_are_well_formed() {
    assert_snapshot!(with_e(&[
        "server: { public_url: 'https://weir.example' }",
        "server: { public_url: weir.example }",
        "server: { public_url: 'https://weir.example/mcp' }",
        "server: { hosts: [weir.example, 'weir.example:8443', '[::1]:80'] }",
        "server: { hosts: ['https://weir.example', 'a b', weir.example/] }",
        "server: { origins: ['https://app.example', 'http://localhost:3000'] }",
        "server: { origins: [app.example, '*', 'null', 'https://app.example/x'] }",
        "server: { trusted_proxies: [10.0.0.0/8, '::1', 192.168.1.7] }",
        "server: { trusted_proxies: [10.0.0.1/8, proxy.example, 10.0.0.0/33, 0.0.0.0/0] }",
    ]), @"
    server: { public_url: 'https://weir.example' }
      fine
    server: { public_url: weir.example }
      problem 2:23 `server.public_url` must be the URL of a host, not `weir.example`
        help: write scheme and host, and no path: `https://weir.example`
    server: { public_url: 'https://weir.example/mcp' }
      problem 2:23 `server.public_url` must be the URL of a host, not `https://weir.example/mcp`
        help: write scheme and host, and no path: `https://weir.example`
    server: { hosts: [weir.example, 'weir.example:8443', '[::1]:80'] }
      fine
    server: { hosts: ['https://weir.example', 'a b', weir.example/] }
      problem 2:19 `server.hosts[0]` must be a host as `Host` has it, not `https://weir.example`
        help: write `weir.example` or `weir.example:8443`
      problem 2:43 `server.hosts[1]` must be a host as `Host` has it, not `a b`
        help: write `weir.example` or `weir.example:8443`
      problem 2:50 `server.hosts[2]` must be a host as `Host` has it, not `weir.example/`
        help: write `weir.example` or `weir.example:8443`
    server: { origins: ['https://app.example', 'http://localhost:3000'] }
      fine
    server: { origins: [app.example, '*', 'null', 'https://app.example/x'] }
      problem 2:21 `server.origins[0]` must be an origin, not `app.example`
        help: write scheme and host alone: `https://app.example`
      problem 2:34 `server.origins[1]` must be an origin, not `*`
        help: write scheme and host alone: `https://app.example`
      problem 2:39 `server.origins[2]` must be an origin, not `null`
        help: write scheme and host alone: `https://app.example`
      problem 2:47 `server.origins[3]` must be an origin, not `https://app.example/x`
        help: write scheme and host alone: `https://app.example`
    server: { trusted_proxies: [10.0.0.0/8, '::1', 192.168.1.7] }
      fine
    server: { trusted_proxies: [10.0.0.1/8, proxy.example, 10.0.0.0/33, 0.0.0.0/0] }
      problem 2:29 `server.trusted_proxies[0]` is not right: `10.0.0.1/8` names one address and a network at once: write `10.0.0.0/8`, or `10.0.0.1` alone
      problem 2:41 `server.trusted_proxies[1]` is not right: `proxy.example` is no network: write it as `10.0.0.0/8`, `fd00::/8`, or one address
      problem 2:56 `server.trusted_proxies[2]` is not right: `10.0.0.0/33` is no network: write it as `10.0.0.0/8`, `fd00::/8`, or one address
    ");
}

#[test]
fn quantities_make_sense() {
    assert_snapshot!(with_e(&[
        "server: { body_bytes_max: 0B, header_timeout: 0s, body_timeout: 0s, write_timeout: 0ms, connections_max: 0, calls_max: 0 }",
        "server: { grace: 0s, drain: 0s }",
        "deadlines: { default: 0s }",
        "deadlines: { default: 20m }",
        "names: { name_length_max: 23 }",
        "names: { name_length_max: 129 }",
        "names: { name_length_max: 128, prefix: false }",
    ]), @"
    server: { body_bytes_max: 0B, header_timeout: 0s, body_timeout: 0s, write_timeout: 0ms, connections_max: 0, calls_max: 0 }
      problem 2:27 `server.body_bytes_max` must be larger than nothing
        help: the default is `4MiB`
      problem 2:47 `server.header_timeout` must be longer than nothing
        help: a wait of `0s` would end before it begins
      problem 2:65 `server.body_timeout` must be longer than nothing
        help: a wait of `0s` would end before it begins
      problem 2:84 `server.write_timeout` must be longer than nothing
        help: a wait of `0s` would end before it begins
      problem 2:106 `server.connections_max` must be at least 1
        help: with 0 nothing would ever be let through
      problem 2:120 `server.calls_max` must be at least 1
        help: with 0 nothing would ever be let through
    server: { grace: 0s, drain: 0s }
      fine
    deadlines: { default: 0s }
      problem 2:23 `deadlines.default` must be longer than nothing
        help: a wait of `0s` would end before it begins
    deadlines: { default: 20m }
      problem 2:23 `deadlines.default` is `20m`, longer than `deadlines.max`, which is `10m`
    names: { name_length_max: 23 }
      problem 2:27 `names.name_length_max` must be from 24 to 128, not 23
    names: { name_length_max: 129 }
      problem 2:27 `names.name_length_max` must be from 24 to 128, not 129
    names: { name_length_max: 128, prefix: false }
      fine
    ");
}

#[test]
fn a_part_of_an_answer_has_room_for_something() {
    assert_snapshot!(tool(&[
        "t: { description: D, effect: read, sql: SELECT 1, answer_characters_max: 999 }",
        "t: { description: D, effect: read, sql: SELECT 1, answer_characters_max: 1000 }",
    ]), @"
    downstreams: { d: { postgres: { url: { env: A } }, tools: { t: { description: D, effect: read, sql: SELECT 1, answer_characters_max: 999 } } } }
      problem 1:134 `downstreams.d.tools.t.answer_characters_max` is 999; a part of an answer has at least 1000 characters
        help: raise it: 20000 characters are about 5000 tokens; or remove it, and answers are given whole
    downstreams: { d: { postgres: { url: { env: A } }, tools: { t: { description: D, effect: read, sql: SELECT 1, answer_characters_max: 1000 } } } }
      fine
    ");
}

#[test]
fn a_downstream_has_one_kind_and_something_to_offer() {
    assert_snapshot!(good_but(&[
        "log: {}",
        "downstreams: { a: {} }",
        "downstreams: { a: { mcp: } }",
        "downstreams: { a: { mcp: { websocket: { url: 'wss://a' } }, postgres: { url: { env: A } } } }",
        "downstreams: { a: { postgres: { url: { env: A } } } }",
        "downstreams: { a: { postgres: { url: { env: A }, pool_max: 0, connect_timeout: 0s, statement_timeout: 0s, rows_max: 0, bytes_max: 0B } } }",
        "downstreams: { a: { deadline: 11m, calls_max: 0, mcp: { websocket: { url: 'wss://a' } } } }",
        "names: { prefix: false }\ndownstreams: { a: { mcp: { websocket: { url: 'wss://a' } } }, b: { mcp: { websocket: { url: 'wss://b' } } } }",
    ]), @"
    log: {}
      warning 0:0 there are no `downstreams`: callers will find no tools
        help: add one: a database with `postgres`, another MCP server with `mcp`
    downstreams: { a: {} }
      problem 1:16 `downstreams.a` has no kind
        help: give one of `postgres`, `mainframe`, `ticketing`, `mcp`
    downstreams: { a: { mcp: } }
      problem 1:16 `downstreams.a` has no kind
        help: give one of `postgres`, `mainframe`, `ticketing`, `mcp`
    downstreams: { a: { mcp: { websocket: { url: 'wss://a' } }, postgres: { url: { env: A } } } }
      problem 1:16 `downstreams.a` has several kinds: `postgres`, `mcp`
        help: keep one; another system is another downstream with a name of its own
    downstreams: { a: { postgres: { url: { env: A } } } }
      warning 1:16 `downstreams.a` offers no tools
        help: name at least one under `tools`
    downstreams: { a: { postgres: { url: { env: A }, pool_max: 0, connect_timeout: 0s, statement_timeout: 0s, rows_max: 0, bytes_max: 0B } } }
      problem 1:60 `downstreams.a.postgres.pool_max` must be at least 1
        help: with 0 nothing would ever be let through
      problem 1:80 `downstreams.a.postgres.connect_timeout` must be longer than nothing
        help: a wait of `0s` would end before it begins
      problem 1:103 `downstreams.a.postgres.statement_timeout` must be longer than nothing
        help: a wait of `0s` would end before it begins
      problem 1:117 `downstreams.a.postgres.rows_max` must be at least 1
        help: with 0 nothing would ever be let through
      problem 1:131 `downstreams.a.postgres.bytes_max` must be larger than nothing
        help: the default is `1MiB`
    downstreams: { a: { deadline: 11m, calls_max: 0, mcp: { websocket: { url: 'wss://a' } } } }
      problem 1:31 `downstreams.a.deadline` is `11m`, longer than `deadlines.max`, which is `10m`
        help: shorten it, or raise `deadlines.max`
      problem 1:47 `downstreams.a.calls_max` must be at least 1
        help: with 0 nothing would ever be let through
    names: { prefix: false }
    downstreams: { a: { mcp: { websocket: { url: 'wss://a' } } }, b: { mcp: { websocket: { url: 'wss://b' } } } }
      problem 1:18 `names.prefix` is `false`, which needs exactly one downstream; here are 2
        help: remove it: with several downstreams the prefix tells their tools apart
    ");
}

#[test]
fn a_tool_of_a_database_has_one_statement_whose_numbers_are_its_arguments() {
    assert_snapshot!(tool(&[
        "t: { description: d, effect: read, sql: 'SELECT $1, $2, $1', arguments: { a: { type: string }, b: { type: integer } } }",
        "t: { description: d, effect: read }",
        "t: { description: d, effect: read, sql: '-- later' }",
        "t: { description: d, effect: read, sql: 'SELECT 1; SELECT 2' }",
        "t: { description: d, effect: read, sql: \"SELECT 'x\" }",
        "t: { description: d, effect: read, sql: 'SELECT $1' }",
        "t: { description: d, effect: read, sql: 'SELECT $0', arguments: { a: { type: string } } }",
        "t: { description: d, effect: read, sql: 'SELECT $1, $3', arguments: { a: { type: string }, b: { type: string } } }",
        "t: { description: d, effect: read, sql: \"SELECT '$1', $2\", arguments: { a: { type: string }, b: { type: string } } }",
        "t: { description: d, effect: read, sql: 'UPDATE t SET a = 1' }",
        "t: { description: d, sql: 'UPDATE t SET a = 1' }",
        "t: { effect: read, sql: SELECT 1 }",
        "t: { description: d, effect: read, sql: SELECT 1, deadline: 0s }",
        "'get customer': { description: d, effect: read, sql: SELECT 1 }",
        "t: { description: d, effect: read, sql: SELECT $1, arguments: { 'customer id': { type: string } } }",
    ]), @r#"
    downstreams: { d: { postgres: { url: { env: A } }, tools: { t: { description: d, effect: read, sql: 'SELECT $1, $2, $1', arguments: { a: { type: string }, b: { type: integer } } } } } }
      fine
    downstreams: { d: { postgres: { url: { env: A } }, tools: { t: { description: d, effect: read } } } }
      problem 1:61 `downstreams.d.tools.t` lacks `sql`
        help: write one statement, with `$1`, `$2`, … for its arguments
    downstreams: { d: { postgres: { url: { env: A } }, tools: { t: { description: d, effect: read, sql: '-- later' } } } }
      problem 1:101 `downstreams.d.tools.t.sql` holds no statement
        help: write one statement, with `$1`, `$2`, … for its arguments
    downstreams: { d: { postgres: { url: { env: A } }, tools: { t: { description: d, effect: read, sql: 'SELECT 1; SELECT 2' } } } }
      problem 1:101 `downstreams.d.tools.t.sql` holds more than one statement
        help: keep one; several steps belong in a function of the database
    downstreams: { d: { postgres: { url: { env: A } }, tools: { t: { description: d, effect: read, sql: "SELECT 'x" } } } }
      problem 1:101 `downstreams.d.tools.t.sql` has a quote or comment that does not end
    downstreams: { d: { postgres: { url: { env: A } }, tools: { t: { description: d, effect: read, sql: 'SELECT $1' } } } }
      problem 1:101 `downstreams.d.tools.t.sql` uses `$1`, but no arguments are listed
        help: `$1` is the first one under `arguments`, `$2` the second, and so on
    downstreams: { d: { postgres: { url: { env: A } }, tools: { t: { description: d, effect: read, sql: 'SELECT $0', arguments: { a: { type: string } } } } } }
      problem 1:101 `downstreams.d.tools.t.sql` uses `$0`, but only one argument is listed
        help: `$1` is the first one under `arguments`, `$2` the second, and so on
    downstreams: { d: { postgres: { url: { env: A } }, tools: { t: { description: d, effect: read, sql: 'SELECT $1, $3', arguments: { a: { type: string }, b: { type: string } } } } } }
      problem 1:101 `downstreams.d.tools.t.sql` uses `$3`, but only 2 arguments are listed
        help: `$1` is the first one under `arguments`, `$2` the second, and so on
    downstreams: { d: { postgres: { url: { env: A } }, tools: { t: { description: d, effect: read, sql: "SELECT '$1', $2", arguments: { a: { type: string }, b: { type: string } } } } } }
      problem 1:133 `downstreams.d.tools.t.arguments.a` is never used: `sql` has no `$1`
        help: arguments are numbered in the order in which they are listed: use it, or remove it
    downstreams: { d: { postgres: { url: { env: A } }, tools: { t: { description: d, effect: read, sql: 'UPDATE t SET a = 1' } } } }
      problem 1:101 `downstreams.d.tools.t.sql` begins with `UPDATE`, but the tool's effect is `read`
        help: state `effect: write`, or `idempotent_write` where doing it twice is the same as doing it once
    downstreams: { d: { postgres: { url: { env: A } }, tools: { t: { description: d, sql: 'UPDATE t SET a = 1' } } } }
      fine
    downstreams: { d: { postgres: { url: { env: A } }, tools: { t: { effect: read, sql: SELECT 1 } } } }
      warning 1:61 `downstreams.d.tools.t` has no `description`
        help: say what it does and when to use it: that is all the model knows about it
    downstreams: { d: { postgres: { url: { env: A } }, tools: { t: { description: d, effect: read, sql: SELECT 1, deadline: 0s } } } }
      problem 1:121 `downstreams.d.tools.t.deadline` must be longer than nothing
        help: a wait of `0s` would end before it begins
    downstreams: { d: { postgres: { url: { env: A } }, tools: { 'get customer': { description: d, effect: read, sql: SELECT 1 } } } }
      problem 1:61 `downstreams.d.tools.get customer` is named `get customer`
        help: a tool is named with at most 128 of the characters a-z, A-Z, 0-9, `_`, `.` and `-`
    downstreams: { d: { postgres: { url: { env: A } }, tools: { t: { description: d, effect: read, sql: SELECT $1, arguments: { 'customer id': { type: string } } } } } }
      problem 1:125 `downstreams.d.tools.t.arguments.customer id` is named `customer id`
        help: an argument is named with at most 64 of the characters a-z, A-Z, 0-9, `_`, `.` and `-`
    "#);
    assert_snapshot!(good_but(&[
        "downstreams: { d: { postgres: { url: { env: A } }, expose: listed, effects: [ { match: get_*, effect: read }, { match: list_*, effect: read } ], tools: { get_x: { description: d, sql: SELECT 1 } } } }",
    ]), @"
    downstreams: { d: { postgres: { url: { env: A } }, expose: listed, effects: [ { match: get_*, effect: read }, { match: list_*, effect: read } ], tools: { get_x: { description: d, sql: SELECT 1 } } } }
      problem 1:60 `downstreams.d.expose` is for systems that bring tools of their own
        help: a database offers exactly the tools named under `tools`: remove it
    ");
}

#[test]
fn the_parts_of_an_argument_agree_with_its_type() {
    let arguments: Vec<String> = [
        "{ type: string, default: x, enum: [x, y] }",
        "{ type: string, default: z, enum: [x, y] }",
        "{ type: string, default: 5 }",
        "{ type: string, enum: [x, 5, true] }",
        "{ type: string, enum: [] }",
        "{ type: string, minimum: 1 }",
        "{ type: string, items: string }",
        "{ type: integer, default: 1.5 }",
        "{ type: integer, default: 9007199254740993, minimum: 9007199254740994 }",
        "{ type: integer, minimum: 0.5 }",
        "{ type: integer, minimum: 10, maximum: 1 }",
        "{ type: integer, minimum: 1, maximum: 10, default: 11 }",
        "{ type: number, default: 2 }",
        "{ type: boolean, default: 'true' }",
        "{ type: array }",
        "{ type: array, items: integer, default: [1, 2] }",
        "{ type: array, items: integer, default: [1, two] }",
        "{ type: array, items: text }",
        "{ type: object, default: { a: 1 } }",
        "{ type: object, default: [1] }",
    ]
    .iter()
    .map(|argument| format!("t: {{ description: d, effect: read, sql: SELECT $1, arguments: {{ a: {argument} }} }}"))
    .collect();
    let shown = tool(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let shown = shown.replace("downstreams: { d: { postgres: { url: { env: A } }, tools: { t: { description: d, effect: read, sql: SELECT $1, arguments: { a: ", "");
    assert_snapshot!(shown.replace(" } } } } }", "").replace("downstreams.d.tools.t.arguments.", ""), @r#"
    { type: string, default: x, enum: [x, y] }
      fine
    { type: string, default: z, enum: [x, y] }
      problem 1:153 `a.default` is `"z"`, which is not one of `enum`
    { type: string, default: 5 }
      problem 1:153 `a.default` is `5`, but the type is `string`
    { type: string, enum: [x, 5, true] }
      problem 1:154 `a.enum[1]` is `5`, but the type is `string`
      problem 1:157 `a.enum[2]` is `true`, but the type is `string`
    { type: string, enum: [] }
      problem 1:144 `a.enum` is empty, so that no value is allowed
        help: list the allowed values, or remove it
    { type: string, minimum: 1 }
      problem 1:153 `a.minimum` is for numbers, and this is of type `string`
        help: remove it
    { type: string, items: string }
      problem 1:151 `a.items` is for arrays, and this is of type `string`
        help: remove it
    { type: integer, default: 1.5 }
      problem 1:154 `a.default` is `1.5`, but the type is `integer`
    { type: integer, default: 9007199254740993, minimum: 9007199254740994 }
      problem 1:154 `a.default` is `9007199254740993`, less than `minimum`, which is `9007199254740994`
    { type: integer, minimum: 0.5 }
      problem 1:154 `a.minimum` must be a whole number, as the type is `integer`, not `0.5`
    { type: integer, minimum: 10, maximum: 1 }
      problem 1:154 `a.minimum` is `10`, more than `maximum`, which is `1`
    { type: integer, minimum: 1, maximum: 10, default: 11 }
      problem 1:179 `a.default` is `11`, more than `maximum`, which is `10`
    { type: number, default: 2 }
      fine
    { type: boolean, default: 'true' }
      problem 1:154 `a.default` is `"true"`, but the type is `boolean`
    { type: array }
      problem 1:125 `a` is an array without `items`
        help: state the type of its items: `items: string`
    { type: array, items: integer, default: [1, 2] }
      fine
    { type: array, items: integer, default: [1, two] }
      problem 1:159 `a.default` is `[1,"two"]`, but the type is `array` of `integer`
    { type: array, items: text }
      problem 1:150 `a.items` must be one of `string`, `integer`, `number`, `boolean`, `array`, `object`, not `text`
    { type: object, default: { a: 1 } }
      fine
    { type: object, default: [1] }
      problem 1:144 `a.default` is `[1]`, but the type is `object`
    "#);
}

#[test]
fn the_connection_to_a_server_is_safe_and_bounded() {
    assert_snapshot!(mcp(&[
        "{ mcp: { websocket: { url: 'wss://host/mcp?x=1', credential: { bearer: { env: T } } } } }",
        "{ mcp: { websocket: { url: 'https://host/mcp' } } }",
        "{ mcp: { websocket: { url: host/mcp } } }",
        "{ mcp: { websocket: { url: 'wss://host/mcp#x' } } }",
        "{ mcp: { websocket: { url: 'ws://localhost:9000/mcp', credential: { bearer: { env: T } } } } }",
        "{ mcp: { websocket: { url: 'ws://10.0.0.7:9000/mcp', credential: { bearer: { env: T } } } } }",
        "{ mcp: { websocket: { url: 'ws://10.0.0.7:9000/mcp' } } }",
        "{ mcp: { websocket: { url: 'wss://h', ping_every: 10ms, connect_timeout: 0s, connections_max: 0, message_bytes_max: 1KiB } } }",
        "{ mcp: { websocket: { url: 'wss://h' }, attempt_timeout: 0s, list_refresh: 0s } }",
        "{ mcp: { websocket: { url: 'wss://h' }, attempt_timeout: 20m } }",
    ]), @"
    downstreams: { e: { mcp: { websocket: { url: 'wss://host/mcp?x=1', credential: { bearer: { env: T } } } } } }
      fine
    downstreams: { e: { mcp: { websocket: { url: 'https://host/mcp' } } } }
      problem 1:46 `downstreams.e.mcp.websocket.url` must be a WebSocket URL, not `https://host/mcp`
        help: write `wss://host/path`
    downstreams: { e: { mcp: { websocket: { url: host/mcp } } } }
      problem 1:46 `downstreams.e.mcp.websocket.url` must be a WebSocket URL, not `host/mcp`
        help: write `wss://host/path`
    downstreams: { e: { mcp: { websocket: { url: 'wss://host/mcp#x' } } } }
      problem 1:46 `downstreams.e.mcp.websocket.url` must not have a fragment: `wss://host/mcp#x`
        help: remove `#` and what follows
    downstreams: { e: { mcp: { websocket: { url: 'ws://localhost:9000/mcp', credential: { bearer: { env: T } } } } } }
      fine
    downstreams: { e: { mcp: { websocket: { url: 'ws://10.0.0.7:9000/mcp', credential: { bearer: { env: T } } } } } }
      problem 1:46 `downstreams.e.mcp.websocket.url` would send the credential unencrypted to another machine
        help: use `wss://`
    downstreams: { e: { mcp: { websocket: { url: 'ws://10.0.0.7:9000/mcp' } } } }
      warning 1:46 `downstreams.e.mcp.websocket.url` speaks unencrypted with another machine
        help: use `wss://` unless you trust the way there
    downstreams: { e: { mcp: { websocket: { url: 'wss://h', ping_every: 10ms, connect_timeout: 0s, connections_max: 0, message_bytes_max: 1KiB } } } }
      problem 1:69 `downstreams.e.mcp.websocket.ping_every` must be from `100ms` to `5m`, not `10ms`
      problem 1:92 `downstreams.e.mcp.websocket.connect_timeout` must be from `10ms` to `1m`, not `0ms`
      problem 1:113 `downstreams.e.mcp.websocket.connections_max` must be at least 1
        help: with 0 nothing would ever be let through
      problem 1:135 `downstreams.e.mcp.websocket.message_bytes_max` must be at least `4KiB`, not `1KiB`
        help: a list of tools alone may be larger
    downstreams: { e: { mcp: { websocket: { url: 'wss://h' }, attempt_timeout: 0s, list_refresh: 0s } } }
      problem 1:76 `downstreams.e.mcp.attempt_timeout` must be longer than nothing
        help: a wait of `0s` would end before it begins
      problem 1:94 `downstreams.e.mcp.list_refresh` must be from `100ms` to `1d`, not `0ms`
    downstreams: { e: { mcp: { websocket: { url: 'wss://h' }, attempt_timeout: 20m } } }
      problem 1:76 `downstreams.e.mcp.attempt_timeout` is `20m`, longer than `deadlines.max`, which is `10m`
        help: no call may take that long
    ");
}

#[test]
fn settings_for_the_tools_of_a_server_are_those_that_it_can_have() {
    assert_snapshot!(mcp(&[
        "{ mcp: { websocket: { url: 'wss://h' } }, expose: listed }",
        "{ mcp: { websocket: { url: 'wss://h' } }, tools: { 'any name': { effect: read, deadline: 5s } } }",
        "{ mcp: { websocket: { url: 'wss://h' } }, tools: { t: { sql: SELECT 1, arguments: { a: { type: string } } } } }",
        "{ mcp: { websocket: { url: 'wss://h' } }, effects: [ { match: '', effect: read } ] }",
        "{ mcp: { websocket: { url: 'wss://h' } }, expose: listed, tools: { get_x: {} }, effects: [ { match: get_*, effect: read }, { match: list_*, effect: read } ] }",
    ]), @"
    downstreams: { e: { mcp: { websocket: { url: 'wss://h' } }, expose: listed } }
      warning 1:16 `downstreams.e` offers no tools
        help: name at least one under `tools`
    downstreams: { e: { mcp: { websocket: { url: 'wss://h' } }, tools: { 'any name': { effect: read, deadline: 5s } } } }
      fine
    downstreams: { e: { mcp: { websocket: { url: 'wss://h' } }, tools: { t: { sql: SELECT 1, arguments: { a: { type: string } } } } } }
      problem 1:80 `downstreams.e.tools.t.sql` is for another kind of downstream
        help: an MCP server brings its tools; remove it
      problem 1:90 `downstreams.e.tools.t.arguments` is for another kind of downstream
        help: an MCP server brings its tools; remove it
    downstreams: { e: { mcp: { websocket: { url: 'wss://h' } }, effects: [ { match: '', effect: read } ] } }
      problem 1:81 `downstreams.e.effects[0].match` is empty
        help: write a pattern over the names of its tools: `get_*`
    downstreams: { e: { mcp: { websocket: { url: 'wss://h' } }, expose: listed, tools: { get_x: {} }, effects: [ { match: get_*, effect: read }, { match: list_*, effect: read } ] } }
      warning 1:142 `downstreams.e.effects[1]` matches none of the tools named here: `list_*`
        help: with `expose: listed` no others are offered
    ");
}

#[test]
fn roles_exist_and_their_patterns_mean_something() {
    let d = "downstreams: { d: { postgres: { url: { env: A } }, tools: { get_x: { description: d, effect: read, sql: SELECT 1 } } } }\n";
    assert_snapshot!(said(&[
        &format!("{E}\n"),
        &format!("{E}\nidentity: {{ local: {{ roles: [suport, nobody] }} }}\npolicy: {{ roles: {{ support: {{ allow: ['*'] }} }} }}"),
        &format!("{E}\nidentity: {{ local: {{ roles: [r] }} }}\npolicy: {{ roles: {{ r: {{ allow: ['e__*', 'e__get_x', 'weir__*', 'e*', 'crm__*', 'e_get', 'e__'], deny: ['ee__*'] }} }} }}"),
        &format!("{d}identity: {{ local: {{ roles: [r] }} }}\npolicy: {{ roles: {{ r: {{ allow: ['d__get_*', 'd__gte_*', get_x, '*_x'] }} }} }}"),
        &format!("{d}names: {{ prefix: false }}\nidentity: {{ local: {{ roles: [r] }} }}\npolicy: {{ roles: {{ r: {{ allow: ['d__get_*', get_x] }} }} }}"),
    ]), @r#"
    downstreams: { e: { mcp: { websocket: { url: 'wss://e/mcp' } } } }
      warning 0:0 nobody can use this config: there are no API keys, and the local caller has no role
        help: give `identity.local.roles`, or `identity.api_keys`
      warning 0:0 `policy.roles` is empty: nobody may call anything
        help: a role with `allow: ["*"]` may call everything
    downstreams: { e: { mcp: { websocket: { url: 'wss://e/mcp' } } } }
    identity: { local: { roles: [suport, nobody] } }
    policy: { roles: { support: { allow: ['*'] } } }
      problem 2:30 `identity.local.roles[0]` names the role `suport`, which `policy.roles` does not have
        help: did you mean `support`?
      problem 2:38 `identity.local.roles[1]` names the role `nobody`, which `policy.roles` does not have
        help: define it under `policy.roles`, or use one of those there
    downstreams: { e: { mcp: { websocket: { url: 'wss://e/mcp' } } } }
    identity: { local: { roles: [r] } }
    policy: { roles: { r: { allow: ['e__*', 'e__get_x', 'weir__*', 'e*', 'crm__*', 'e_get', 'e__'], deny: ['ee__*'] } } }
      warning 3:70 `policy.roles.r.allow[4]` matches no tool of any downstream: `crm__*`
        help: names are `<downstream>__<tool>`, so `e__*` means all tools of `e`
      warning 3:80 `policy.roles.r.allow[5]` matches no tool of any downstream: `e_get`
        help: names are `<downstream>__<tool>`, so `e__*` means all tools of `e`
      warning 3:89 `policy.roles.r.allow[6]` matches no tool of any downstream: `e__`
        help: names are `<downstream>__<tool>`, so `e__*` means all tools of `e`
      warning 3:104 `policy.roles.r.deny[0]` matches no tool of any downstream: `ee__*`
        help: names are `<downstream>__<tool>`, so `e__*` means all tools of `e`
    downstreams: { d: { postgres: { url: { env: A } }, tools: { get_x: { description: d, effect: read, sql: SELECT 1 } } } }
    identity: { local: { roles: [r] } }
    policy: { roles: { r: { allow: ['d__get_*', 'd__gte_*', get_x, '*_x'] } } }
      warning 3:45 `policy.roles.r.allow[1]` matches no tool of any downstream: `d__gte_*`
        help: names are `<downstream>__<tool>`, so `d__*` means all tools of `d`
      warning 3:57 `policy.roles.r.allow[2]` matches no tool of any downstream: `get_x`
        help: names are `<downstream>__<tool>`, so `d__*` means all tools of `d`
    downstreams: { d: { postgres: { url: { env: A } }, tools: { get_x: { description: d, effect: read, sql: SELECT 1 } } } }
    names: { prefix: false }
    identity: { local: { roles: [r] } }
    policy: { roles: { r: { allow: ['d__get_*', get_x] } } }
      warning 4:33 `policy.roles.r.allow[0]` matches no tool of any downstream: `d__get_*`
        help: with `names.prefix: false` names are those of the tools alone
    "#);
}

#[test]
fn a_downstreams_name_leaves_room_for_its_tools() {
    let long = "downstreams: { a-long-name: { mcp: { websocket: { url: 'wss://x.example/mcp' } } } }";
    let configs = [24, 29, 30].map(|length| format!("{long}\nnames: {{ name_length_max: {length} }}"));
    let configs: Vec<&str> = configs.iter().map(String::as_str).collect();
    assert_snapshot!(good_but(&configs).replace(&format!("{long}\n"), ""), @"
    names: { name_length_max: 24 }
      problem 1:16 `downstreams.a-long-name` leaves no room for its tools in names of 24 characters
        help: give it a shorter name, or raise `names.name_length_max` to 30
    names: { name_length_max: 29 }
      problem 1:16 `downstreams.a-long-name` leaves no room for its tools in names of 29 characters
        help: give it a shorter name, or raise `names.name_length_max` to 30
    names: { name_length_max: 30 }
      fine
    ");
}
