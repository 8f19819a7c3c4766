//! What all replicas share: Redis, when the config has one.

use std::time::Duration;

use cache::redis::{Kind, LinkState, Redis, Settings};
use config::redis::RedisKind;
use secrecy::SecretString;

use crate::StartError;

/// The handles on the Redis of the config.
pub(crate) struct Handles {
    /// For what may be forgotten: values, tags, the rest of long answers.
    pub(crate) cache: Option<Redis>,
    /// For what must be kept: limits, permits, writes. The same one, unless the config names a second.
    pub(crate) state: Option<Redis>,
}

/// Must be called within a tokio runtime: they connect in the background.
pub(crate) fn redis(config: &config::Config, surroundings: &config::Surroundings) -> Result<Handles, StartError> {
    let (Some(redis), Some(url)) = (&config.redis, &surroundings.redis_url) else {
        return Ok(Handles { cache: None, state: None });
    };
    let kind = match redis.kind {
        RedisKind::Single => Kind::Single,
        RedisKind::Cluster => Kind::Cluster,
        RedisKind::Sentinel => Kind::Sentinel {
            master_name: redis.master_name.clone().unwrap_or_default(),
            user: redis.server_user.clone(),
            password: surroundings.redis_server_password.clone(),
        },
    };
    let settings = |url: &SecretString| Settings {
        kind: kind.clone(),
        url: url.clone(),
        prefix: redis.prefix.clone(),
        connect_timeout: redis.connect_timeout.0,
        command_timeout: redis.command_timeout.0,
        value_timeout: redis.value_timeout.0,
    };
    let (cache, state) = match &surroundings.redis_state_url {
        None => {
            let both = Redis::keeping(settings(url)).map_err(StartError::Redis)?;
            (both.clone(), both)
        }
        Some(state_url) => (
            Redis::new(settings(url)).map_err(StartError::Redis)?,
            Redis::keeping(settings(state_url)).map_err(StartError::StateRedis)?,
        ),
    };
    Ok(Handles { cache: Some(cache), state: Some(state) })
}

/// Tries whether the Redis of the config can be used, and says why not; `None` where the config has none.
pub async fn try_redis(
    config: &config::Config,
    surroundings: &config::Surroundings,
    within: Duration,
) -> Option<Result<(), String>> {
    let (cache, state) = match redis(config, surroundings) {
        Ok(Handles { cache, state }) => (cache?, state?),
        Err(error) => return Some(Err(error.to_string())),
    };
    let (cache, state) = tokio::join!(tried(&cache, within), tried(&state, within));
    let state = state.map_err(|reason| match &surroundings.redis_state_url {
        Some(_) => format!("redis.state_url: {reason}"),
        None => reason,
    });
    Some(cache.and(state))
}

async fn tried(redis: &Redis, within: Duration) -> Result<(), String> {
    let mut changes = redis.link_changes();
    let settled = tokio::time::timeout(within, changes.wait_for(|link| link.state != LinkState::Connecting)).await;
    let link = match settled {
        Ok(Ok(link)) => link.clone(),
        Ok(Err(_)) | Err(_) => return Err(format!("nothing answered within {} s", within.as_secs())),
    };
    match link.state {
        LinkState::Up => Ok(()),
        LinkState::Connecting | LinkState::Down => Err(link.reason.unwrap_or_default()),
    }
}
