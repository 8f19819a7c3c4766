//! Refusals that come from the environment and from other files. Secrets never show.

use std::{fs, os::unix::fs::PermissionsExt};

use insta::assert_snapshot;
use secrecy::ExposeSecret;

use crate::{Surroundings, environment, parse};

const GOOD: &str = "Zq3vN8xLr2Wk7TjUy5BdHfGm1PsCa9Ee";
const SECRETS: [&str; 3] = [GOOD, "hunter2", "swordfish"];

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// A file that its owner alone can read.
    fn with(self, name: &str, text: &str) -> Self {
        self.with_mode(name, text, 0o600)
    }

    fn with_mode(self, name: &str, text: &str, mode: u32) -> Self {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("the file is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode is set");
        self
    }

    fn look(&self, config: &str, variables: &[(&str, &str)]) -> Result<Surroundings, String> {
        let loaded = parse(config, "weir.yaml", self.0.path()).unwrap_or_else(|problems| panic!("{problems}"));
        let lookup =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        loaded.surroundings_in(&lookup).map_err(|problems| self.plain(&problems.to_string()))
    }

    fn refused(&self, config: &str, variables: &[(&str, &str)]) -> String {
        let shown = self.look(config, variables).expect_err("there are problems");
        for secret in SECRETS {
            assert!(!shown.contains(secret), "{shown}");
        }
        shown
    }

    fn plain(&self, shown: &str) -> String {
        shown.replace(&self.0.path().display().to_string(), "DIR")
    }
}

#[test]
fn every_secret_that_cannot_be_read_is_named_at_its_reference() {
    let config = "
secrets: { master: { env: WEIR_MASTER } }
identity: { api_keys: { file: keys.yaml } }
server: { tls: { certificate: cert.pem, key: key.pem } }
downstreams:
  crm: { postgres: { url: { env: CRM_URL } } }
  erp: { postgres: { url: { file: erp-url } } }
  empty: { postgres: { url: { env: EMPTY } } }
  e: { mcp: { websocket: { url: 'wss://e/mcp', credential: { bearer: { file: token } } } } }
";
    let folder = Folder::new().with_mode("token", GOOD, 0o644).with_mode("key.pem", GOOD, 0o640);
    assert_snapshot!(folder.refused(config, &[("EMPTY", "")]), @"
    weir.yaml:2:12: `secrets.master` cannot be read: the environment variable WEIR_MASTER is not set: set it, or refer to a file with { file: PATH }
      2 | secrets: { master: { env: WEIR_MASTER } }
        |            ^^^^^^

    weir.yaml:3:31: `identity.api_keys.file` cannot be used: the file DIR/keys.yaml cannot be read (No such file or directory (os error 2)): create it, readable by its owner alone
      3 | identity: { api_keys: { file: keys.yaml } }
        |                               ^^^^^^^^^
      help: `weir keys create` writes it

    weir.yaml:4:31: `server.tls.certificate` cannot be used: the file DIR/cert.pem cannot be read (No such file or directory (os error 2))
      4 | server: { tls: { certificate: cert.pem, key: key.pem } }
        |                               ^^^^^^^^

    weir.yaml:4:46: `server.tls.key` cannot be used: the file DIR/key.pem can be read by others (mode 640): run `chmod 600 DIR/key.pem`
      4 | server: { tls: { certificate: cert.pem, key: key.pem } }
        |                                              ^^^^^^^

    weir.yaml:6:22: `downstreams.crm.postgres.url` cannot be read: the environment variable CRM_URL is not set: set it, or refer to a file with { file: PATH }
      6 |   crm: { postgres: { url: { env: CRM_URL } } }
        |                      ^^^

    weir.yaml:7:22: `downstreams.erp.postgres.url` cannot be read: the file DIR/erp-url cannot be read (No such file or directory (os error 2)): create it, readable by its owner alone
      7 |   erp: { postgres: { url: { file: erp-url } } }
        |                      ^^^

    weir.yaml:8:24: `downstreams.empty.postgres.url` cannot be read: the environment variable EMPTY is empty
      8 |   empty: { postgres: { url: { env: EMPTY } } }
        |                        ^^^

    weir.yaml:9:62: `downstreams.e.mcp.websocket.credential.bearer` cannot be read: the file DIR/token can be read by others (mode 644): run `chmod 600 DIR/token`
      9 |   e: { mcp: { websocket: { url: 'wss://e/mcp', credential: { bearer: { file: token } } } } }
        |                                                              ^^^^^^

    8 problems
    ");
}

#[test]
fn what_a_secret_holds_must_be_of_use() {
    let config = "
downstreams:
  crm: { postgres: { url: { env: CRM_URL } } }
  e: { mcp: { websocket: { url: 'wss://e/mcp', credential: { bearer: { file: token } } } } }
";
    let folder = Folder::new().with("token", "sword fish\n");
    assert_snapshot!(folder.refused(config, &[("CRM_URL", "hunter2")]), @"
    weir.yaml:3:22: `downstreams.crm.postgres.url` does not hold a connection string
      3 |   crm: { postgres: { url: { env: CRM_URL } } }
        |                      ^^^
      help: its form is `postgres://user:password@host/database?sslmode=require`

    weir.yaml:4:62: `downstreams.e.mcp.websocket.credential.bearer` holds characters that no bearer token has
      4 |   e: { mcp: { websocket: { url: 'wss://e/mcp', credential: { bearer: { file: token } } } } }
        |                                                              ^^^^^^
      help: look for a space, a line break or an umlaut in the secret

    2 problems
    ");
    let folder = Folder::new().with("token", "swordfish\n");
    folder.look(config, &[("CRM_URL", "postgres://weir:hunter2@db/crm")]).expect("all is well");
}

#[test]
fn the_address_of_redis_must_be_of_use_and_is_never_printed() {
    let config = |kind: &str| {
        format!("secrets: {{ master: {{ env: MASTER }} }}\nredis: {{ url: {{ env: REDIS_URL }}, {kind} }}")
    };
    let single = config("kind: single");
    let mut shown = String::new();
    for (config, url) in [
        (&single, "hunter2@redis.example:6379"),
        (&single, "redis://:hunter2@a,redis://:swordfish@b"),
        (&single, "redis://:hunt,er2@a"),
        (&config("kind: cluster"), "redis://:hunter2@a,redis://:swordfish@b/1"),
        (&config("kind: sentinel, master_name: weir"), "rediss://:hunter2@a,redis://:swordfish@b"),
    ] {
        shown += &Folder::new().refused(config, &[("MASTER", GOOD), ("REDIS_URL", url)]);
        shown += "\n";
    }
    let second = config("state_url: { env: STATE_URL }");
    let urls = [("MASTER", GOOD), ("REDIS_URL", "redis://a"), ("STATE_URL", "hunter2@b")];
    let said = Folder::new().refused(&second, &urls);
    assert!(
        said.contains("`redis.state_url` does not hold the address of a Redis") && !said.contains("hunter2"),
        "{said}"
    );
    assert_snapshot!(shown, @"
    weir.yaml:2:10: `redis.url` does not hold the address of a Redis
      2 | redis: { url: { env: REDIS_URL }, kind: single }
        |          ^^^
      help: its form is `redis://user:password@host:6379/0`, or `rediss://…` over TLS; in a password write `%2C` for a comma, `%40` for @, `%2F` for a slash and `%23` for #

    1 problem
    weir.yaml:2:10: `redis.url` holds 2 addresses, and `redis.kind` is `single`
      2 | redis: { url: { env: REDIS_URL }, kind: single }
        |          ^^^
      help: say `kind: sentinel` or `kind: cluster`, or name one server; in a password write `%2C` for a comma

    1 problem
    weir.yaml:2:10: `redis.url` does not hold the address of a Redis: look at address 1
      2 | redis: { url: { env: REDIS_URL }, kind: single }
        |          ^^^
      help: its form is `redis://user:password@host:6379/0`, or `rediss://…` over TLS; in a password write `%2C` for a comma, `%40` for @, `%2F` for a slash and `%23` for #

    1 problem
    weir.yaml:2:10: `redis.url` names a database of a cluster, which has none but 0: look at address 2
      2 | redis: { url: { env: REDIS_URL }, kind: cluster }
        |          ^^^
      help: leave out the number at its end

    1 problem
    weir.yaml:2:10: `redis.url` has both `redis://` and `rediss://`: look at address 2
      2 | redis: { url: { env: REDIS_URL }, kind: sentinel, master_name: weir }
        |          ^^^
      help: make all of them the same: one without TLS would tell the password

    1 problem
    ");

    let url = "redis://:hunter2@a:1,redis://b:2";
    let surroundings = Folder::new().look(&config("kind: cluster"), &[("MASTER", GOOD), ("REDIS_URL", url)]);
    let found = surroundings.expect("it is of use");
    assert!(!format!("{found:?}").contains("hunter2"));
    assert_eq!(found.redis_url.expect("an address").expose_secret(), url);
}

#[test]
fn a_weak_master_secret_is_refused_with_its_setting() {
    let config = "secrets: { master: { env: M } }";
    let mut shown = String::new();
    for weak in [
        "swordfish",
        "change-me-change-me-change-me-1234",
        "0123456789abcdef0123456789abcdefXY",
        "PASSWORD-of-the-router-in-production",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "abababcabcabcababcababccbabcbabcbabcbab",
        "abcdefghijabcdefghijabcdefghijabcdefghij",
    ] {
        let refused = Folder::new().refused(config, &[("M", weak)]);
        shown += refused.lines().next().unwrap_or_default();
        shown += "\n";
        assert!(!refused.contains(weak), "{refused}");
    }
    assert_snapshot!(shown, @"
    weir.yaml:1:12: `secrets.master` has 9 bytes and must have at least 32
    weir.yaml:1:12: `secrets.master` is a sample value that everybody knows
    weir.yaml:1:12: `secrets.master` is a sample value that everybody knows
    weir.yaml:1:12: `secrets.master` is a sample value that everybody knows
    weir.yaml:1:12: `secrets.master` is made of fewer than 8 different characters
    weir.yaml:1:12: `secrets.master` is made of fewer than 8 different characters
    weir.yaml:1:12: `secrets.master` is a short text repeated
    ");
    let surroundings = Folder::new().look(config, &[("M", GOOD)]).expect("a strong secret");
    assert_eq!(surroundings.master.expect("it was given").expose_secret(), GOOD);
}

#[test]
fn operators_off_this_machine_need_a_token() {
    let config = "server: { admin: 0.0.0.0:8081 }";
    assert_snapshot!(Folder::new().refused(config, &[]), @"
    weir.yaml:1:18: `server.admin` is `0.0.0.0:8081`, which other machines reach, and the environment variable `WEIR_ADMIN_TOKEN` is not set
      1 | server: { admin: 0.0.0.0:8081 }
        |                  ^^^^^^^^^^^^
      help: set `WEIR_ADMIN_TOKEN` to a random text (`openssl rand -hex 32`), or listen on `127.0.0.1`

    1 problem
    ");
    assert_snapshot!(Folder::new().refused(config, &[("WEIR_ADMIN_TOKEN", "swordfish")]), @"
    weir.yaml: the token in the environment variable `WEIR_ADMIN_TOKEN` has 9 bytes and must have at least 16
      help: make a random one: `openssl rand -hex 32`

    1 problem
    ");
    let surroundings = Folder::new().look(config, &[("WEIR_ADMIN_TOKEN", GOOD)]).expect("a strong token");
    assert!(surroundings.admin_token.is_some());
    let shown = format!("{surroundings:?}");
    assert!(!shown.contains(GOOD), "{shown}");
}

const KEYS: &str = "identity: { api_keys: { file: keys.yaml } }\npolicy: { roles: { support: { allow: ['*'] }, admin: { allow: ['*'] } } }";

#[test]
fn the_key_file_is_checked_entry_by_entry() {
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let keys = format!(
        "keys:
  - {{ id: a, hash: {hash}, subject: ada, tenant: acme, roles: [admin], expires: '2999-01-31T00:00:00Z' }}
  - {{ id: a, hash: {hash}, subject: bob, roles: [suport] }}
  - {{ id: 'b c', hash: hunter2, subject: '', expires: tomorrow }}
  - {{ id: d, hash: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855, subject: dan, role: admin }}
  - {{ id: e, subject: eve, key: swordfish }}
"
    );
    assert_snapshot!(Folder::new().with("keys.yaml", &keys).refused(KEYS, &[]), @"
    DIR/keys.yaml:3:11: `keys[1].id` is `a`, like that of `keys[0]`
      3 |   - { id: a, hash: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, subject: bob, roles: [suport] }
        |           ^
      help: give every key an id of its own

    DIR/keys.yaml:3:20: `keys[1].hash` is the one of `keys[0]`
      3 |   - { id: a, hash: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, subject: bob, roles: [suport] }
        |                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      help: two entries for one key: remove one of them

    DIR/keys.yaml:3:108: `keys[1].roles[0]` names the role `suport`, which `policy.roles` does not have
      3 |   - { id: a, hash: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, subject: bob, roles: [suport] }
        |                                                                                                            ^^^^^^
      help: did you mean `support`?

    DIR/keys.yaml:4:11: `keys[2].id` is no id
      4 |   - { id: 'b c', hash: …, subject: '', expires: tomorrow }
        |           ^^^^^
      help: use at most 64 of the characters a-z, A-Z, 0-9 and `-`

    DIR/keys.yaml:4:24: `keys[2].hash` is no SHA-256 of a key, which has 64 hexadecimal digits
      4 |   - { id: 'b c', hash: …, subject: '', expires: tomorrow }
        |                        ^
      help: let `weir keys create` write the entry

    DIR/keys.yaml:4:42: `keys[2].subject` is empty
      4 |   - { id: 'b c', hash: …, subject: '', expires: tomorrow }
        |                                    ^^

    DIR/keys.yaml:4:55: `keys[2].expires` is no point in time
      4 |   - { id: 'b c', hash: …, subject: '', expires: tomorrow }
        |                                                 ^^^^^^^^
      help: write it as `2027-01-31T00:00:00Z`

    DIR/keys.yaml:5:20: `keys[3].hash` is the one of the example in the documentation
      5 |   - { id: d, hash: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855, subject: dan, role: … }
        |                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      help: let `weir keys create` make a key of your own

    DIR/keys.yaml:5:100: `role` is not known in `keys[3]`
      5 |   - { id: d, hash: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855, subject: dan, role: … }
        |                                                                                                    ^^^^
      help: did you mean `roles`?

    DIR/keys.yaml:6:5: `keys[4]` lacks `hash`
      6 |   - { id: e, subject: eve, key: … }
        |     ^
      help: add `hash: …` to it

    DIR/keys.yaml:6:28: `key` is not known in `keys[4]`
      6 |   - { id: e, subject: eve, key: … }
        |                            ^^^
      help: `keys[4]` knows `id`, `hash`, `subject`, `tenant`, `roles`, `created`, `expires`, `revoked`

    11 problems
    ");
}

#[test]
fn a_good_key_file_comes_back_and_an_expired_key_is_mentioned() {
    let keys = "keys:\n  - { id: a, hash: 9F86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, subject: ada, roles: [admin], expires: '2020-01-31T00:00:00Z' }\n";
    let folder = Folder::new().with("keys.yaml", keys);
    let surroundings = folder.look(KEYS, &[]).expect("a good key file");
    assert_eq!(surroundings.keys.len(), 1);
    let key = &surroundings.keys[0];
    assert_eq!(key.hash_bytes().expect("a hash")[..3], [0x9f, 0x86, 0xd0]);
    assert_eq!(key.expires_at().expect("a timestamp").to_string(), "2020-01-31T00:00:00Z");
    let warnings: Vec<String> =
        surroundings.warnings.iter().map(|warning| folder.plain(&warning.to_string())).collect();
    assert_snapshot!(warnings.join("\n"), @"
    DIR/keys.yaml:2:125: `keys[0].expires` has passed: the key no longer works
      2 |  subject: ada, roles: [admin], expires: '2020-01-31T00:00:00Z' }
        |                                         ^^^^^^^^^^^^^^^^^^^^^^
      help: remove the entry
    ");
}

#[test]
fn a_key_file_that_others_can_read_or_that_is_missing_or_empty_is_noticed() {
    let folder = Folder::new().with_mode("keys.yaml", "keys: []\n", 0o604);
    assert_snapshot!(folder.refused(KEYS, &[]), @"
    weir.yaml:1:31: `identity.api_keys.file` cannot be used: the file DIR/keys.yaml can be read by others (mode 604): run `chmod 600 DIR/keys.yaml`
      1 | identity: { api_keys: { file: keys.yaml } }
        |                               ^^^^^^^^^

    1 problem
    ");
    assert_snapshot!(Folder::new().refused(KEYS, &[]), @"
    weir.yaml:1:31: `identity.api_keys.file` cannot be used: the file DIR/keys.yaml cannot be read (No such file or directory (os error 2)): create it, readable by its owner alone
      1 | identity: { api_keys: { file: keys.yaml } }
        |                               ^^^^^^^^^
      help: `weir keys create` writes it

    1 problem
    ");
    let folder = Folder::new().with("keys.yaml", "");
    let surroundings = folder.look(KEYS, &[]).expect("an empty key file is one without keys");
    let warnings: Vec<String> =
        surroundings.warnings.iter().map(|warning| folder.plain(&warning.to_string())).collect();
    assert_snapshot!(warnings.join("\n"), @"
    DIR/keys.yaml: there are no keys in it: nobody can prove who they are
      help: `weir keys create` makes one
    ");
}

#[test]
fn a_secret_comes_from_the_environment_of_the_process() {
    // Cargo sets it for every test.
    let reference = crate::SecretRef::Env("CARGO_MANIFEST_DIR".to_owned());
    assert_eq!(
        reference.resolve(&crate::Sources::default()).expect("it is set").expose_secret(),
        env!("CARGO_MANIFEST_DIR")
    );
    assert_eq!(environment::raw("NO_SUCH_VARIABLE_IN_ANY_ENVIRONMENT"), None);
}
