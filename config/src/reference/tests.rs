//! The files that come from the types, and the examples that people copy: all of them are true.

use std::{fs, path::PathBuf};

use insta::assert_snapshot;

use crate::{Policy, load, parse, reference};

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Whether the file at `path` is not `expected`. It is from then on.
fn was_stale(path: &str, expected: &str) -> bool {
    let file = repository().join(path);
    let stale = fs::read_to_string(&file).unwrap_or_default() != expected;
    if stale {
        fs::write(&file, expected).expect("the file can be written");
    }
    stale
}

#[test]
fn the_schema_and_the_reference_page_fit_the_types() {
    let files = [("config/schema.json", reference::schema()), ("docs/config.md", reference::markdown())];
    let stale: Vec<&str> = files.iter().filter(|(path, text)| was_stale(path, text)).map(|(path, _)| *path).collect();
    assert!(stale.is_empty(), "{stale:?} did not fit the types and were written anew: look at them and commit them");
}

#[test]
fn the_annotated_example_loads_without_a_warning() {
    let loaded = load(&repository().join("config/weir.yaml")).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(loaded.warnings.is_empty(), "{:#?}", loaded.warnings);
}

#[test]
fn the_annotated_example_fits_the_schema() {
    let schema: serde_json::Value = serde_json::from_str(&reference::schema()).expect("a schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema that can be used");
    let example = fs::read_to_string(repository().join("config/weir.yaml")).expect("the example");
    let example: serde_json::Value = serde_saphyr::from_str(&example).expect("the example is YAML");
    let mistakes: Vec<String> = validator.iter_errors(&example).map(|mistake| mistake.to_string()).collect();
    assert!(mistakes.is_empty(), "{mistakes:#?}");
    let two_kinds = serde_json::json!({ "downstreams": { "crm": { "postgres": { "url": { "env": "A" } }, "mcp": { "websocket": { "url": "wss://a" } } } } });
    assert!(!validator.is_valid(&two_kinds));
}

/// The blocks of a Markdown page that are marked `yaml` and begin with `# <file>`.
fn blocks(page: &str, file: &str) -> Vec<String> {
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let marker = format!("# {file}");
    blocks.filter(|block| block.lines().next() == Some(&marker)).map(|block| format!("{block}\n")).collect()
}

#[test]
fn every_config_in_the_documentation_loads() {
    let docs = fs::read_dir(repository().join("docs")).expect("there is documentation");
    let pages = docs.map(|page| page.expect("a page").path()).chain([repository().join("README.md")]);
    for path in pages.filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let page = fs::read_to_string(&path).expect("a page");
        for block in blocks(&page, "weir.yaml") {
            let base = repository();
            parse(&block, "weir.yaml", &base).unwrap_or_else(|problems| panic!("{}:\n{problems}", path.display()));
        }
    }
}

/// Rows of tables that are headed `setting` and `default`: the setting, and its default where that is one value.
fn documented_defaults(page: &str) -> Vec<(String, String)> {
    let code = |cell: &str| Some(cell.trim().strip_prefix('`')?.strip_suffix('`')?.to_owned());
    let tables = page.split("| setting | default | |\n|---|---|---|\n").skip(1);
    let rows = tables.flat_map(|rest| rest.lines().take_while(|line| line.starts_with('|')));
    let cells = rows.map(|row| row.split('|').skip(1).take(2).map(code).collect::<Vec<_>>());
    cells.filter_map(|cells| Some((cells[0].clone()?, cells[1].clone()?))).collect()
}

#[test]
fn every_default_in_the_documentation_is_true() {
    let text = "
downstreams:
  crm: { postgres: { url: { env: A } }, tools: { t: { sql: SELECT 1 } } }
  mainframe: { mainframe: { base_url: https://a.example }, tools: { t: { request: { path: /a } } } }
  tickets: { ticketing: { provider: jira, base_url: https://a.example, credential: { bearer: { env: A } } } }
  enrich: { mcp: { websocket: { url: wss://a.example } } }
policy: { roles: { admin: } }
";
    let loaded = parse(text, "weir.yaml", &repository()).unwrap_or_else(|problems| panic!("{problems}"));
    let config = serde_json::to_value(&loaded.config).expect("a config is plain data");
    let page = fs::read_to_string(repository().join("docs/resilience.md")).expect("the page");
    let documented = documented_defaults(&page);
    assert!(documented.len() > 20, "{documented:?}");
    for (setting, default) in documented {
        let path = format!("/{}", setting.replace('.', "/"));
        let of_downstreams =
            ["/crm", "/mainframe", "/tickets", "/enrich"].map(|name| format!("/downstreams{name}{path}"));
        let places = std::iter::once(path).chain(of_downstreams);
        let found = places.filter_map(|place| config.pointer(&place)).find(|value| !value.is_null());
        let value = found.unwrap_or_else(|| panic!("there is no setting {setting} with a default"));
        assert_eq!(value.as_str().map_or_else(|| value.to_string(), str::to_owned), default, "{setting}");
    }
}

#[test]
fn the_key_file_in_the_documentation_is_right_but_for_its_key() {
    let policy: Policy = serde_json::from_str(r#"{ "roles": { "support_agent": {} } }"#).expect("a policy");
    for block in blocks(&reference::markdown(), "keys.yaml") {
        let problems = crate::surroundings::check_keys(&block, "keys.yaml", &policy).expect_err("its key is known");
        assert_eq!(problems.len(), 1, "{problems}");
        assert!(problems.to_string().contains("example in the documentation"), "{problems}");
    }
}

#[test]
fn every_default_is_pinned() {
    let text = "
downstreams:
  crm: { postgres: { url: { env: CRM_URL } }, tools: { t: { arguments: { a: { type: string } }, sql: SELECT $1 } } }
  enrich: { mcp: { websocket: { url: wss://enrich.example/mcp } } }
policy: { roles: { admin: } }
";
    let loaded = parse(text, "weir.yaml", &repository()).unwrap_or_else(|problems| panic!("{problems}"));
    let config = serde_json::to_string_pretty(&loaded.config).expect("a config is plain data");
    assert_snapshot!(config, @r#"
    {
      "server": {
        "listen": "127.0.0.1:8080",
        "admin": "127.0.0.1:8081",
        "public_url": null,
        "trusted_proxies": [],
        "behind_tls_proxy": false,
        "tls": null,
        "hosts": [],
        "origins": [],
        "body_bytes_max": "4MiB",
        "header_timeout": "10s",
        "body_timeout": "30s",
        "write_timeout": "30s",
        "connections_max": 8192,
        "calls_max": 1024,
        "grace": "5s",
        "drain": "25s"
      },
      "deadlines": {
        "default": "50s",
        "max": "10m"
      },
      "redis": null,
      "secrets": {
        "master": null,
        "previous": [],
        "vault": null,
        "command_timeout": "10s",
        "refresh": "5m"
      },
      "identity": {
        "api_keys": null,
        "jwt": [],
        "mtls": null,
        "signatures": null,
        "combine": "refuse",
        "local": {
          "roles": []
        }
      },
      "names": {
        "prefix": true,
        "name_length_max": 64
      },
      "downstreams": {
        "crm": {
          "postgres": {
            "url": {
              "env": "CRM_URL"
            },
            "ca": null,
            "client_certificate": null,
            "pool_max": 16,
            "connect_timeout": "1s",
            "statement_timeout": "5s",
            "rows_max": 1000,
            "bytes_max": "1MiB",
            "notify_channel": null
          },
          "mainframe": null,
          "ticketing": null,
          "mcp": null,
          "tools": {
            "t": {
              "description": null,
              "effect": null,
              "deadline": null,
              "sql": "SELECT $1",
              "request": null,
              "answer": "json",
              "arguments": {
                "a": {
                  "type": "string",
                  "description": null,
                  "required": true,
                  "default": null,
                  "enum": null,
                  "minimum": null,
                  "maximum": null,
                  "items": null
                }
              },
              "accepts": {},
              "labels": null,
              "cost": null,
              "cache": null,
              "invalidates": [],
              "settles_within": null,
              "answer_characters_max": null
            }
          },
          "expose": "all",
          "effects": [],
          "deadline": null,
          "calls_max": null,
          "calls_max_shared": null,
          "line": {
            "max": 512,
            "fair_by": "tenant"
          },
          "labels": null,
          "retries": {
            "attempts_max": 2,
            "wait_first": "50ms",
            "wait_max": "2s",
            "budget_percent": 10,
            "budget_per_second": 3
          },
          "breaker": {
            "failures_in_a_row": 5,
            "failures_percent": 50,
            "attempts_min": 20,
            "within": "10s",
            "open_first": "1s",
            "open_max": "1m"
          },
          "closed": []
        },
        "enrich": {
          "postgres": null,
          "mainframe": null,
          "ticketing": null,
          "mcp": {
            "websocket": {
              "url": "wss://enrich.example/mcp",
              "credential": null,
              "ca": null,
              "client_certificate": null,
              "connect_timeout": "1s",
              "ping_every": "8s",
              "message_bytes_max": "16MiB",
              "connections_max": 64
            },
            "http": null,
            "stdio": null,
            "sharing": "shared",
            "era": "auto",
            "idempotency_keys": false,
            "attempt_timeout": "30s",
            "list_refresh": "1m"
          },
          "tools": {},
          "expose": "all",
          "effects": [],
          "deadline": null,
          "calls_max": null,
          "calls_max_shared": null,
          "line": {
            "max": 512,
            "fair_by": "tenant"
          },
          "labels": null,
          "retries": {
            "attempts_max": 2,
            "wait_first": "50ms",
            "wait_max": "2s",
            "budget_percent": 10,
            "budget_per_second": 3
          },
          "breaker": {
            "failures_in_a_row": 5,
            "failures_percent": 50,
            "attempts_min": 20,
            "within": "10s",
            "open_first": "1s",
            "open_max": "1m"
          },
          "closed": []
        }
      },
      "outbound": {
        "private_networks": null
      },
      "cache": {
        "local_bytes_max": "64MiB",
        "value_bytes_max": "4MiB",
        "lease": "10s",
        "fetches_max": 1024,
        "waiters_max": 8192,
        "strict": [],
        "webhook": null
      },
      "limits": [],
      "operations": {
        "kept_for": "1d",
        "refused_after_loss": null
      },
      "policy": {
        "roles": {
          "admin": {
            "allow": [],
            "deny": [],
            "conditions": [],
            "resources": [],
            "prompts": [],
            "masking": null
          }
        },
        "time_zone": "UTC",
        "tests": []
      },
      "masking": {
        "profiles": {},
        "detectors": {},
        "sensitive_names": []
      },
      "views": {},
      "definitions": {
        "lock": null,
        "new": "hold"
      },
      "audit": {
        "dir": null,
        "recipient": null,
        "signing_key": null,
        "anchor": null,
        "checkpoint_every": "1m",
        "segment_bytes_max": "64MiB",
        "segment_age_max": "1d",
        "retention": "90d",
        "write_timeout": "2s",
        "unwritable": "keep_reading",
        "bodies": false,
        "forward": []
      },
      "log": {
        "format": "text",
        "level": "info"
      }
    }
    "#);
}
