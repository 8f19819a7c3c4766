//! Whole error outputs: what a platform engineer reads.

mod properties;
mod secrets;
mod text;

use std::path::Path;

use insta::assert_snapshot;

use super::{Loaded, load, parse};

fn loaded(text: &str) -> Loaded {
    parse(text, "weir.yaml", Path::new("")).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(text: &str) -> String {
    parse(text, "weir.yaml", Path::new("")).expect_err("the config has problems").to_string()
}

#[test]
fn several_mistakes_of_different_kinds_are_reported_at_once() {
    let text = r#"
server:
  lsiten: 127.0.0.1:8080
  admin: localhost:8081
  body_timeout: 30
  calls_max: lots
  behind_tls_proxy: yes
downstream: {}
downstreams:
  CRM:
    postgres: { url: { env: CRM_URL } }
  crm:
    postgres:
      url: { env: CRM_URL }
      pool_maximum: 4
      bytes_max: 4MB
    tools:
      get_customer:
        description: 5
        effect: reed
        sql: SELECT 1
        arguments:
          id: { type: text }
          name: { description: The name }
  enrich:
    mcp:
      sharing: per-caller
log:
  level: [info]
"#;
    assert_snapshot!(problems(text), @"
    weir.yaml:3:3: `lsiten` is not known in `server`
      3 |   lsiten: …
        |   ^^^^^^
      help: did you mean `listen`?

    weir.yaml:4:10: `server.admin` must be an IP address with a port, such as `127.0.0.1:8080` or `[::1]:8080`, not `localhost:8081`
      4 |   admin: localhost:8081
        |          ^^^^^^^^^^^^^^

    weir.yaml:5:17: `server.body_timeout` must be a whole number with a unit, such as `250ms`, `5s`, `10m`, `24h` or `90d`, not `30`
      5 |   body_timeout: 30
        |                 ^^

    weir.yaml:6:14: `server.calls_max` must be a whole number, not `lots`
      6 |   calls_max: lots
        |              ^^^^

    weir.yaml:7:21: `server.behind_tls_proxy` must be `true` or `false`, not `yes`
      7 |   behind_tls_proxy: yes
        |                     ^^^
      help: write `true`

    weir.yaml:8:1: `downstream` is not known in this file
      8 | downstream: {}
        | ^^^^^^^^^^
      help: did you mean `downstreams`?

    weir.yaml:10:3: `downstreams.CRM`: `CRM` cannot name a downstream: use a lower-case letter followed by lower-case letters, digits or `-`, for example `crm`
      10 |   CRM:
         |   ^^^

    weir.yaml:15:7: `pool_maximum` is not known in `downstreams.crm.postgres`
      15 |       pool_maximum: …
         |       ^^^^^^^^^^^^
      help: `downstreams.crm.postgres` knows `url`, `ca`, `client_certificate`, `pool_max`, `connect_timeout`, `statement_timeout`, `rows_max`, `bytes_max`, `notify_channel`

    weir.yaml:16:18: `downstreams.crm.postgres.bytes_max` must be a whole number with a unit, such as `512B`, `64KiB`, `4MiB` or `1GiB`, not `4MB`
      16 |       bytes_max: 4MB
         |                  ^^^

    weir.yaml:19:22: `downstreams.crm.tools.get_customer.description` must be a text, not `5`
      19 |         description: 5
         |                      ^
      help: put it in quotes if the text is meant

    weir.yaml:20:17: `downstreams.crm.tools.get_customer.effect` must be one of `read`, `idempotent_write`, `write`, not `reed`
      20 |         effect: reed
         |                 ^^^^
      help: did you mean `read`?

    weir.yaml:23:11: `downstreams.crm.tools.get_customer.arguments.id` is never used: `sql` has no `$1`
      23 |           id: { type: text }
         |           ^^
      help: arguments are numbered in the order in which they are listed: use it, or remove it

    weir.yaml:23:23: `downstreams.crm.tools.get_customer.arguments.id.type` must be one of `string`, `integer`, `number`, `boolean`, `array`, `object`, not `text`
      23 |           id: { type: text }
         |                       ^^^^

    weir.yaml:24:11: `downstreams.crm.tools.get_customer.arguments.name` lacks `type`
      24 |           name: { description: The name }
         |           ^^^^
      help: add `type: …` to it

    weir.yaml:24:11: `downstreams.crm.tools.get_customer.arguments.name` is never used: `sql` has no `$2`
      24 |           name: { description: The name }
         |           ^^^^
      help: arguments are numbered in the order in which they are listed: use it, or remove it

    weir.yaml:26:5: `downstreams.enrich.mcp` does not say how the server is reached
      26 |     mcp:
         |     ^^^
      help: give one of `websocket`, `http`, `stdio`

    weir.yaml:27:16: `downstreams.enrich.mcp.sharing` must be one of `shared`, `per_caller`, `per_call`, not `per-caller`
      27 |       sharing: per-caller
         |                ^^^^^^^^^^
      help: did you mean `per_caller`?

    weir.yaml:29:3: `log.level` must be one of `error`, `warn`, `info`, `debug`, not a list
      29 |   level: [info]
         |   ^^^^^

    18 problems
    ");
}

#[test]
fn a_key_given_twice_is_reported_with_both_its_lines() {
    let text = "
log: { format: json }
downstreams:
  crm: { postgres: { url: { env: A } } }
  crm: { postgres: { url: { env: B } } }
log: { format: text }
";
    assert_snapshot!(problems(text), @"
    weir.yaml:5:3: `downstreams.crm` is given twice, first in line 4
      5 |   crm: { postgres: { url: { env: B } } }
        |   ^^^
      help: keep one of them

    weir.yaml:6:1: `log` is given twice, first in line 2
      6 | log: { format: text }
        | ^^^
      help: keep one of them

    2 problems
    ");
}

#[test]
fn one_mistake_is_not_reported_twice() {
    // The kind, the role and the downstream are wrong: nobody wants to hear that they are missing, too.
    let text = "
identity: { local: { roles: [agent] } }
names: { prefix: false }
downstreams:
  crm:
    postgres: { url: { env: CRM_URL }, pool: 4 }
    tools:
      t: { description: d, effect: read, sql: 'SELECT $1, $2', arguments: { a: { type: strin }, b: { type: string } } }
  Enrich:
    mcp: {}
policy:
  roles:
    agent: { alow: ['enrich__*'] }
";
    assert_snapshot!(problems(text), @"
    weir.yaml:3:18: `names.prefix` is `false`, which needs exactly one downstream; here are 2
      3 | names: { prefix: false }
        |                  ^^^^^
      help: remove it: with several downstreams the prefix tells their tools apart

    weir.yaml:6:40: `pool` is not known in `downstreams.crm.postgres`
      6 |     postgres: { url: { env: CRM_URL }, pool: … }
        |                                        ^^^^
      help: `downstreams.crm.postgres` knows `url`, `ca`, `client_certificate`, `pool_max`, `connect_timeout`, `statement_timeout`, `rows_max`, `bytes_max`, `notify_channel`

    weir.yaml:8:88: `downstreams.crm.tools.t.arguments.a.type` must be one of `string`, `integer`, `number`, `boolean`, `array`, `object`, not `strin`
      8 |       t: { description: d, effect: read, sql: 'SELECT $1, $2', arguments: { a: { type: strin }, b: { type: string } } }
        |                                                                                        ^^^^^
      help: did you mean `string`?

    weir.yaml:9:3: `downstreams.Enrich`: `Enrich` cannot name a downstream: use a lower-case letter followed by lower-case letters, digits or `-`, for example `crm`
      9 |   Enrich:
        |   ^^^^^^

    weir.yaml:13:14: `alow` is not known in `policy.roles.agent`
      13 |     agent: { alow: […] }
         |              ^^^^
      help: did you mean `allow`?

    5 problems
    ");
}

#[test]
fn another_shape_than_expected_is_named() {
    let mut shown = String::new();
    for text in [
        "- server\n",
        "server\n",
        "server: [listen]\n",
        "server: 127.0.0.1:8080\n",
        "downstreams: [ { name: crm } ]\n",
        "policy: { roles: { admin: { allow: '*' } } }\n",
        "policy: { roles: { admin: { allow: { crm: '*' } } } }\n",
        "names: { prefix: 'true', name_length_max: '64' }\n",
        "names: { name_length_max: -3 }\n",
        "names: { name_length_max: 64.5 }\n",
        "audit: { dir: 7 }\n",
        "server: { listen: }\n",
        "server: { grace: 1.5s, drain: 5 s, body_bytes_max: 4 }\n",
        "log: { format: { json: true } }\n",
        "log: { format: }\n",
    ] {
        shown += &problems(text);
        shown += "\n----\n";
    }
    assert_snapshot!(shown, @"
    weir.yaml:1:1: the file must be a map, not a list
      1 | - …
        | ^
      help: its keys are `server`, `deadlines`, `redis`, `secrets`, `identity`, `names`, `downstreams`, `outbound`, `cache`, `limits`, `operations`, `policy`, `masking`, `views`, `definitions`, `audit`, `log`

    1 problem
    ----
    weir.yaml:1:1: the file must be a map, not a plain value
      1 | …
        | ^
      help: its keys are `server`, `deadlines`, `redis`, `secrets`, `identity`, `names`, `downstreams`, `outbound`, `cache`, `limits`, `operations`, `policy`, `masking`, `views`, `definitions`, `audit`, `log`

    1 problem
    ----
    weir.yaml:1:1: `server` must be a map, not a list
      1 | server: […]
        | ^^^^^^
      help: its keys are `listen`, `admin`, `public_url`, `trusted_proxies`, `behind_tls_proxy`, `tls`, `hosts`, `origins`, `body_bytes_max`, `header_timeout`, `body_timeout`, `write_timeout`, `connections_max`, `calls_max`, `grace`, `drain`

    1 problem
    ----
    weir.yaml:1:9: `server` must be a map, not a plain value
      1 | server: …
        |         ^
      help: its keys are `listen`, `admin`, `public_url`, `trusted_proxies`, `behind_tls_proxy`, `tls`, `hosts`, `origins`, `body_bytes_max`, `header_timeout`, `body_timeout`, `write_timeout`, `connections_max`, `calls_max`, `grace`, `drain`

    1 problem
    ----
    weir.yaml:1:1: `downstreams` must be a map, not a list
      1 | downstreams: [ { name: … } ]
        | ^^^^^^^^^^^
      help: write a line `name: …` for each entry

    1 problem
    ----
    weir.yaml:1:36: `policy.roles.admin.allow` must be a list, not `*`
      1 | policy: { roles: { admin: { allow: '*' } } }
        |                                    ^^^
      help: write `[ … ]`, or a line with `- ` for each item

    1 problem
    ----
    weir.yaml:1:29: `policy.roles.admin.allow` must be a list, not a map
      1 | policy: { roles: { admin: { allow: { crm: '*' } } } }
        |                             ^^^^^
      help: write `[ … ]`, or a line with `- ` for each item

    1 problem
    ----
    weir.yaml:1:18: `names.prefix` must be `true` or `false`, not `true`
      1 | names: { prefix: 'true', name_length_max: '64' }
        |                  ^^^^^^
      help: remove the quotes

    weir.yaml:1:43: `names.name_length_max` must be a whole number, not `64`
      1 | names: { prefix: 'true', name_length_max: '64' }
        |                                           ^^^^
      help: remove the quotes

    2 problems
    ----
    weir.yaml:1:27: `names.name_length_max` must be a whole number, not `-3`
      1 | names: { name_length_max: -3 }
        |                           ^^

    1 problem
    ----
    weir.yaml:1:27: `names.name_length_max` must be a whole number, not `64.5`
      1 | names: { name_length_max: 64.5 }
        |                           ^^^^

    1 problem
    ----
    weir.yaml:1:15: `audit.dir` must be a text, not `7`
      1 | audit: { dir: 7 }
        |               ^
      help: put it in quotes if the text is meant

    1 problem
    ----
    weir.yaml:1:11: `server.listen` must be an IP address with a port, such as `127.0.0.1:8080` or `[::1]:8080`, but is empty
      1 | server: { listen: }
        |           ^^^^^^

    1 problem
    ----
    weir.yaml:1:18: `server.grace` must be a whole number with a unit, such as `250ms`, `5s`, `10m`, `24h` or `90d`, not `1.5s`
      1 | server: { grace: 1.5s, drain: 5 s, body_bytes_max: 4 }
        |                  ^^^^

    weir.yaml:1:31: `server.drain` must be a whole number with a unit, such as `250ms`, `5s`, `10m`, `24h` or `90d`, not `5 s`
      1 | server: { grace: 1.5s, drain: 5 s, body_bytes_max: 4 }
        |                               ^^^

    weir.yaml:1:52: `server.body_bytes_max` must be a whole number with a unit, such as `512B`, `64KiB`, `4MiB` or `1GiB`, not `4`
      1 | server: { grace: 1.5s, drain: 5 s, body_bytes_max: 4 }
        |                                                    ^

    3 problems
    ----
    weir.yaml:1:8: `log.format` must be the word `json` alone, not a map
      1 | log: { format: { json: true } }
        |        ^^^^^^

    1 problem
    ----
    weir.yaml:1:8: `log.format` must be one of `text`, `json`, but is empty
      1 | log: { format: }
        |        ^^^^^^

    1 problem
    ----
    ");
}

#[test]
fn a_section_of_comments_alone_is_an_empty_one() {
    let config = loaded("server:\ndownstreams:\npolicy:\n  roles:\nidentity:\n  api_keys:\nlog: {}\n").config;
    assert!(config.downstreams.is_empty());
    assert_eq!(config.server.calls_max, 1024);
}

#[test]
fn a_file_that_cannot_be_read_or_is_not_utf8_is_named() {
    let missing = load(Path::new("no/such/weir.yaml")).expect_err("there is no such file");
    assert_snapshot!(missing, @"
    no/such/weir.yaml: cannot be read: No such file or directory (os error 2)
      help: name the file with `--config PATH`, or write one with `weir init`

    1 problem
    ");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weir.yaml");
    std::fs::write(&path, b"log: {}\naudit: { dir: caf\xe9 }\n").expect("the file is written");
    let not_utf8 = load(&path).expect_err("the file is latin-1").to_string();
    assert_snapshot!(not_utf8.replace(&folder.path().display().to_string(), "."), @"
    ./weir.yaml: line 2 is not UTF-8
      help: save it in the encoding UTF-8

    1 problem
    ");
}

#[test]
fn relative_paths_start_beside_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weir.yaml");
    std::fs::write(&path, "log: {}\n").expect("the file is written");
    assert_eq!(load(&path).expect("a good config").sources.base, folder.path());
}

#[test]
fn no_more_than_a_hundred_problems_are_listed() {
    let text: String = (0..150).map(|n| format!("unknown_{n}: {n}\n")).collect();
    let problems = parse(&text, "weir.yaml", Path::new("")).expect_err("there are problems");
    assert_eq!(problems.len(), 100);
}

#[test]
fn problems_are_data_for_programs_too() {
    let problems = parse("sever: {}\n", "weir.yaml", Path::new("")).expect_err("there is a problem");
    let json = serde_json::to_string_pretty(&problems).expect("problems are plain data");
    assert_snapshot!(json, @r#"
    [
      {
        "file": "weir.yaml",
        "line": 1,
        "column": 1,
        "setting": "sever",
        "message": "`sever` is not known in this file",
        "help": "did you mean `server`?"
      }
    ]
    "#);
}
