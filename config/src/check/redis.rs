//! `redis`.

use crate::{
    Config, Period, Redis,
    redis::{RedisKind, is_prefix},
};

use super::Scope;

/// Beyond this a caller waits for Redis longer than the cache spares him.
const COMMAND_TIMEOUT_MAX: Period = Period::s(1);
const VALUE_TIMEOUT_MAX: Period = Period::s(10);
const CONNECT_TIMEOUT_MAX: Period = Period::s(30);

pub(super) fn redis(config: &Config, scope: &Scope<'_>) {
    let Some(redis) = &config.redis else { return };
    let root = scope;
    let scope = &root.key("redis");
    if !root.key("secrets").key("master").given() {
        scope.refuse(
            "needs `secrets.master`: what lies in Redis is sealed, and every replica must be able to open it",
            "give all replicas one random secret: `secrets: { master: { env: WEIR_MASTER } }`, made by `openssl rand -hex 32`",
        );
    }
    sentinels(redis, scope);
    if redis.state_url.as_ref() == Some(&redis.url) {
        scope.key("state_url").refuse(
            "refers to the same address as `redis.url`",
            "leave it out where one Redis holds everything, or name another one, whose `maxmemory-policy` is `noeviction`",
        );
    }
    if !is_prefix(&redis.prefix) {
        scope.key("prefix").refuse(
            format!("must be 1 to 40 of `a-z`, `0-9`, `:`, `_` and `-`, not `{}`", redis.prefix),
            "installations that share a Redis need a prefix each, such as `weir-staging`",
        );
    }
    let least = Period::ms(1);
    scope.key("connect_timeout").time_within(redis.connect_timeout, Period::ms(10), CONNECT_TIMEOUT_MAX);
    scope.key("command_timeout").time_within(redis.command_timeout, least, COMMAND_TIMEOUT_MAX);
    scope.key("value_timeout").time_within(redis.value_timeout, least, VALUE_TIMEOUT_MAX);
    if redis.value_timeout < redis.command_timeout {
        scope.key("value_timeout").refuse(
            format!(
                "is `{}`, shorter than `redis.command_timeout`, which is `{}`",
                redis.value_timeout, redis.command_timeout
            ),
            "a command that carries a value takes at least as long as one that carries little",
        );
    }
}

/// What only sentinels need, and what they cannot do without.
fn sentinels(redis: &Redis, scope: &Scope<'_>) {
    if redis.kind == RedisKind::Sentinel {
        let name = scope.key("master_name");
        match redis.master_name.as_deref() {
            None if name.given() => {}
            None => scope.refuse(
                "is of the kind `sentinel` and has no `master_name`",
                "write what the sentinels call the server: it stands after `sentinel monitor` in their config",
            ),
            Some(known) if known.trim() != known || known.is_empty() => {
                name.refuse("must be a name without blanks around it", "");
            }
            Some(_) => {}
        }
        if redis.server_user.is_some() && !scope.key("server_password").given() {
            scope.key("server_user").refuse("has no `redis.server_password`", "a user of Redis comes with a password");
        }
        return;
    }
    for key in ["master_name", "server_user", "server_password"] {
        if scope.key(key).given() {
            scope.key(key).refuse(
                "is for `kind: sentinel` alone",
                "user and password of the server stand in `redis.url`, and behind sentinels its name is needed too: \
                 say `kind: sentinel`, or leave this out",
            );
        }
    }
}
