//! What is settled at the start and stays as it is until the next one.

use aws_lc_rs::digest::{Context, SHA256};
use config::{Config, Surroundings};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

/// The secrets that were in force at the start, as digests: enough to tell that others came.
#[derive(Debug)]
pub(crate) struct Settled {
    secrets: [u8; 32],
    redis: [u8; 32],
}

impl Settled {
    pub(crate) fn new(surroundings: &Surroundings) -> Self {
        let masters = surroundings.master.iter().chain(&surroundings.previous_masters);
        let redis = surroundings
            .redis_url
            .iter()
            .chain(&surroundings.redis_state_url)
            .chain(&surroundings.redis_server_password);
        Self { secrets: digest(masters), redis: digest(redis) }
    }

    /// Puts what is in force `now` in the place of what `next` cannot change while the process runs, and gives the names of the settings
    /// that are other ones there.
    pub(crate) fn keep(&self, now: &Config, next: &mut Config, surroundings: &Surroundings) -> Vec<&'static str> {
        let found = Self::new(surroundings);
        let mut waiting = Vec::new();
        let mut keep = |name, is_other| {
            if is_other {
                waiting.push(name);
            }
        };
        keep("server.listen", put_back(&now.server.listen, &mut next.server.listen));
        keep("server.admin", put_back(&now.server.admin, &mut next.server.admin));
        keep("server.connections_max", put_back(&now.server.connections_max, &mut next.server.connections_max));
        if now.server.tls.is_some() != next.server.tls.is_some() {
            keep("server.tls", put_back(&now.server.tls, &mut next.server.tls));
        }
        keep("redis", put_back(&now.redis, &mut next.redis) || self.redis != found.redis);
        keep("secrets", put_back(&now.secrets, &mut next.secrets) || self.secrets != found.secrets);
        keep("cache.local_bytes_max", put_back(&now.cache.local_bytes_max, &mut next.cache.local_bytes_max));
        keep("cache.value_bytes_max", put_back(&now.cache.value_bytes_max, &mut next.cache.value_bytes_max));
        keep("cache.lease", put_back(&now.cache.lease, &mut next.cache.lease));
        keep("cache.fetches_max", put_back(&now.cache.fetches_max, &mut next.cache.fetches_max));
        keep("cache.waiters_max", put_back(&now.cache.waiters_max, &mut next.cache.waiters_max));
        keep("operations", put_back(&now.operations, &mut next.operations));
        keep("audit", put_back(&now.audit, &mut next.audit));
        keep("log", put_back(&now.log, &mut next.log));
        waiting
    }
}

/// Whether `next` is another one than `now`; it is the same afterwards.
fn put_back<T: Serialize + Clone>(now: &T, next: &mut T) -> bool {
    let text = |setting: &T| serde_json::to_string(setting).expect("a setting has a JSON form");
    let is_other = text(now) != text(next);
    if is_other {
        next.clone_from(now);
    }
    is_other
}

fn digest<'a>(secrets: impl Iterator<Item = &'a SecretString>) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for secret in secrets {
        context.update(&(secret.expose_secret().len() as u64).to_be_bytes());
        context.update(secret.expose_secret().as_bytes());
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}
