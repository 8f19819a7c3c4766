//! `redis`.

use insta::assert_snapshot;

use super::with_e;

const MASTER: &str = "secrets: { master: { env: WEIR_MASTER } }";

/// With a master secret in each config.
fn redis(settings: &[&str]) -> String {
    let sections: Vec<String> = settings.iter().map(|redis| format!("{MASTER}\nredis: {redis}")).collect();
    with_e(&sections.iter().map(String::as_str).collect::<Vec<_>>()).replace(&format!("{MASTER}\n"), "")
}

#[test]
fn what_lies_in_redis_is_sealed_and_so_a_master_secret_is_needed() {
    assert_snapshot!(with_e(&[
        "redis: { url: { env: REDIS_URL } }",
        "secrets: { master: { env: WEIR_MASTER } }\nredis: { url: { env: REDIS_URL } }",
    ]), @"
    redis: { url: { env: REDIS_URL } }
      problem 2:1 `redis` needs `secrets.master`: what lies in Redis is sealed, and every replica must be able to open it
        help: give all replicas one random secret: `secrets: { master: { env: WEIR_MASTER } }`, made by `openssl rand -hex 32`
    secrets: { master: { env: WEIR_MASTER } }
    redis: { url: { env: REDIS_URL } }
      fine
    ");
}

#[test]
fn sentinels_need_a_name_and_nothing_else_has_one() {
    assert_snapshot!(redis(&[
        "{ url: { env: A }, kind: sentinel, master_name: weir }",
        "{ url: { env: A }, kind: sentinel }",
        "{ url: { env: A }, kind: sentinel, master_name: '' }",
        "{ url: { env: A }, kind: sentinel, master_name: weir, server_user: app }",
        "{ url: { env: A }, kind: sentinel, master_name: weir, server_user: app, server_password: { env: B } }",
        "{ url: { env: A }, kind: cluster, master_name: weir }",
        "{ url: { env: A }, server_password: { env: B } }",
        // One mistake is not reported as two.
        "{ url: { env: A }, kind: sentinel, master_name: [weir] }",
    ]), @"
    redis: { url: { env: A }, kind: sentinel, master_name: weir }
      fine
    redis: { url: { env: A }, kind: sentinel }
      problem 3:1 `redis` is of the kind `sentinel` and has no `master_name`
        help: write what the sentinels call the server: it stands after `sentinel monitor` in their config
    redis: { url: { env: A }, kind: sentinel, master_name: '' }
      problem 3:56 `redis.master_name` must be a name without blanks around it
    redis: { url: { env: A }, kind: sentinel, master_name: weir, server_user: app }
      problem 3:75 `redis.server_user` has no `redis.server_password`
        help: a user of Redis comes with a password
    redis: { url: { env: A }, kind: sentinel, master_name: weir, server_user: app, server_password: { env: B } }
      fine
    redis: { url: { env: A }, kind: cluster, master_name: weir }
      problem 3:55 `redis.master_name` is for `kind: sentinel` alone
        help: user and password of the server stand in `redis.url`, and behind sentinels its name is needed too: say `kind: sentinel`, or leave this out
    redis: { url: { env: A }, server_password: { env: B } }
      problem 3:27 `redis.server_password` is for `kind: sentinel` alone
        help: user and password of the server stand in `redis.url`, and behind sentinels its name is needed too: say `kind: sentinel`, or leave this out
    redis: { url: { env: A }, kind: sentinel, master_name: [weir] }
      problem 3:43 `redis.master_name` must be a text, not a list
    ");
}

#[test]
fn keys_begin_with_what_every_kind_of_redis_takes_and_times_make_sense() {
    assert_snapshot!(redis(&[
        "{ url: { env: A }, prefix: 'weir-staging:eu_1' }",
        "{ url: { env: A }, prefix: '' }",
        "{ url: { env: A }, prefix: 'weir{a}' }",
        "{ url: { env: A }, command_timeout: 0s }",
        "{ url: { env: A }, command_timeout: 2s, value_timeout: 3s }",
        "{ url: { env: A }, value_timeout: 20ms }",
        "{ url: { env: A }, connect_timeout: 5m }",
    ]), @"
    redis: { url: { env: A }, prefix: 'weir-staging:eu_1' }
      fine
    redis: { url: { env: A }, prefix: '' }
      problem 3:35 `redis.prefix` must be 1 to 40 of `a-z`, `0-9`, `:`, `_` and `-`, not ``
        help: installations that share a Redis need a prefix each, such as `weir-staging`
    redis: { url: { env: A }, prefix: 'weir{a}' }
      problem 3:35 `redis.prefix` must be 1 to 40 of `a-z`, `0-9`, `:`, `_` and `-`, not `weir{a}`
        help: installations that share a Redis need a prefix each, such as `weir-staging`
    redis: { url: { env: A }, command_timeout: 0s }
      problem 3:44 `redis.command_timeout` must be from `1ms` to `1s`, not `0ms`
    redis: { url: { env: A }, command_timeout: 2s, value_timeout: 3s }
      problem 3:44 `redis.command_timeout` must be from `1ms` to `1s`, not `2s`
    redis: { url: { env: A }, value_timeout: 20ms }
      problem 3:42 `redis.value_timeout` is `20ms`, shorter than `redis.command_timeout`, which is `50ms`
        help: a command that carries a value takes at least as long as one that carries little
    redis: { url: { env: A }, connect_timeout: 5m }
      problem 3:44 `redis.connect_timeout` must be from `10ms` to `30s`, not `5m`
    ");
}

#[test]
fn a_second_redis_is_another_one() {
    assert_snapshot!(redis(&[
        "{ url: { env: A }, state_url: { env: B } }",
        "{ url: { env: A }, state_url: { env: A } }",
    ]), @"
    redis: { url: { env: A }, state_url: { env: B } }
      fine
    redis: { url: { env: A }, state_url: { env: A } }
      problem 3:27 `redis.state_url` refers to the same address as `redis.url`
        help: leave it out where one Redis holds everything, or name another one, whose `maxmemory-policy` is `noeviction`
    ");
}
