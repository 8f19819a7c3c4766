//! What is printed of a config in which a secret stands where its reference belongs.

use insta::assert_snapshot;

use super::problems;

#[test]
fn a_secret_written_where_its_reference_belongs_is_never_printed() {
    let mut shown = String::new();
    for text in [
        "downstreams: { crm: { postgres: { url: postgres://weir:hunter2@db/crm, pool_max: x }, tools: { } } }\n",
        "downstreams: { crm: { postgres: { url: { env: postgres://weir:hunter2@db/crm } } } }\n",
        "downstreams: { crm: { postgres: { url: { value: hunter2 } } } }\n",
        "downstreams: { crm: { postgres: { url: { env: A, file: hunter2 } } } }\n",
        "downstreams: { crm: { postgres: { url: [hunter2] } } }\n",
        "downstreams: { crm: { postgres: { url: { env: 12345 } } } }\n",
        "downstreams: { crm: { postgres: { url: { env: A }, password: hunter2 } } }\n",
        "downstreams: { crm: { postgres: { url: { env: A }, login: { user: weir, password: hunter2 } } } }\n",
        "downstreams: { e: { mcp: { websocket: { url: 'wss://weir:hunter2@host/mcp', credential: hunter2 } } } }\n",
        "downstreams: { e: { mcp: { websocket: { url: 'wss://host/mcp', credential: { bearer: hunter2 } } } } }\n",
        "downstreams: { e: { mcp: { websocket: { url: 'wss://host/mcp', credential: { password: hunter2 } } } } }\n",
        "downstreams: { e: { mcp: { websocket: { url: 'wss://weir:hunter2@ho st/mcp' } } } }\n",
        "secrets:\n  master: |\n    hunter2\n    hunter2\n",
        "secrets: { master: hunter2 }\nserver: { public_url: 'https://a:hunter2@b' }\n",
    ] {
        shown += &problems(text);
        shown += "\n----\n";
    }
    assert!(!shown.contains("hunter2") && !shown.contains("12345"), "{shown}");
    assert_snapshot!(shown, @"
    weir.yaml:1:40: `downstreams.crm.postgres.url` must be a reference to a secret: `{ env: NAME }` or `{ file: PATH }`, not the value itself
      1 | downstreams: { crm: { postgres: { url: …, pool_max: x }, tools: { } } }
        |                                        ^

    weir.yaml:1:82: `downstreams.crm.postgres.pool_max` must be a whole number, not `x`
      1 | downstreams: { crm: { postgres: { url: …, pool_max: x }, tools: { } } }
        |                                                     ^

    2 problems
    ----
    weir.yaml:1:47: `downstreams.crm.postgres.url.env` must be the name of an environment variable, such as `PG_URL`, not the value itself
      1 | downstreams: { crm: { postgres: { url: { env: … } } } }
        |                                               ^

    1 problem
    ----
    weir.yaml:1:42: `value` is not known in `downstreams.crm.postgres.url`
      1 | downstreams: { crm: { postgres: { url: { value: … } } } }
        |                                          ^^^^^
      help: `downstreams.crm.postgres.url` knows `env`, `file`, `vault`, `command`

    1 problem
    ----
    weir.yaml:1:35: `downstreams.crm.postgres.url` must have exactly one of the keys `env`, `file`, `vault`, `command`
      1 | downstreams: { crm: { postgres: { url: { env: …, file: … } } } }
        |                                   ^^^

    1 problem
    ----
    weir.yaml:1:35: `downstreams.crm.postgres.url` must be a reference to a secret: `{ env: NAME }` or `{ file: PATH }`, not a list
      1 | downstreams: { crm: { postgres: { url: […] } } }
        |                                   ^^^

    1 problem
    ----
    weir.yaml:1:47: `downstreams.crm.postgres.url.env` must be a text, not the value itself
      1 | downstreams: { crm: { postgres: { url: { env: … } } } }
        |                                               ^

    1 problem
    ----
    weir.yaml:1:52: `password` is not known in `downstreams.crm.postgres`
      1 | downstreams: { crm: { postgres: { url: { env: A }, password: … } } }
        |                                                    ^^^^^^^^
      help: `downstreams.crm.postgres` knows `url`, `ca`, `client_certificate`, `pool_max`, `connect_timeout`, `statement_timeout`, `rows_max`, `bytes_max`, `notify_channel`

    1 problem
    ----
    weir.yaml:1:52: `login` is not known in `downstreams.crm.postgres`
      1 | downstreams: { crm: { postgres: { url: { env: A }, login: { user: …, password: … } } } }
        |                                                    ^^^^^
      help: `downstreams.crm.postgres` knows `url`, `ca`, `client_certificate`, `pool_max`, `connect_timeout`, `statement_timeout`, `rows_max`, `bytes_max`, `notify_channel`

    1 problem
    ----
    weir.yaml:1:46: `downstreams.e.mcp.websocket.url` must not hold credentials
      1 | downstreams: { e: { mcp: { websocket: { url: …, credential: … } } } }
        |                                              ^
      help: give them as `credential: { bearer: { env: NAME } }`

    weir.yaml:1:89: `downstreams.e.mcp.websocket.credential` must be a credential by reference: `{ bearer: { env: NAME } }` or `{ basic: { user: NAME, password: { env: NAME } } }`, not the value itself
      1 | downstreams: { e: { mcp: { websocket: { url: …, credential: … } } } }
        |                                                             ^

    2 problems
    ----
    weir.yaml:1:86: `downstreams.e.mcp.websocket.credential.bearer` must be a reference to a secret: `{ env: NAME }` or `{ file: PATH }`, not the value itself
      1 | downstreams: { e: { mcp: { websocket: { url: 'wss://host/mcp', credential: { bearer: … } } } } }
        |                                                                                      ^

    1 problem
    ----
    weir.yaml:1:78: `password` is not known in `downstreams.e.mcp.websocket.credential`
      1 | downstreams: { e: { mcp: { websocket: { url: 'wss://host/mcp', credential: { password: … } } } } }
        |                                                                              ^^^^^^^^
      help: `downstreams.e.mcp.websocket.credential` knows `bearer`, `basic`, `header`, `client_credentials`, `refresh_token`, `token_exchange`, `assertion`

    1 problem
    ----
    weir.yaml:1:46: `downstreams.e.mcp.websocket.url` must be a WebSocket URL
      1 | downstreams: { e: { mcp: { websocket: { url: … } } } }
        |                                              ^
      help: write `wss://host/path`

    1 problem
    ----
    weir.yaml:3:5: `secrets.master` must be a reference to a secret: `{ env: NAME }` or `{ file: PATH }`, not the value itself
      3 |     …
        |     ^

    1 problem
    ----
    weir.yaml:1:20: `secrets.master` must be a reference to a secret: `{ env: NAME }` or `{ file: PATH }`, not the value itself
      1 | secrets: { master: … }
        |                    ^

    weir.yaml:2:23: `server.public_url` must not hold credentials
      2 | server: { public_url: … }
        |                       ^
      help: write scheme and host alone: `https://weir.example`

    2 problems
    ----
    ");
}
