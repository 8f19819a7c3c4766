//! What all replicas share: Redis, when the config has one.

use std::time::Duration;

use cache::redis::{Kind, LinkState, Redis, Settings};
use config::redis::RedisKind;

use crate::StartError;

/// The handle on the Redis of the config. Must be called within a tokio runtime: it connects in the background.
pub(crate) fn redis(config: &config::Config, surroundings: &config::Surroundings) -> Result<Option<Redis>, StartError> {
    let (Some(redis), Some(url)) = (&config.redis, &surroundings.redis_url) else { return Ok(None) };
    let kind = match redis.kind {
        RedisKind::Single => Kind::Single,
        RedisKind::Cluster => Kind::Cluster,
        RedisKind::Sentinel => Kind::Sentinel {
            master_name: redis.master_name.clone().unwrap_or_default(),
            user: redis.server_user.clone(),
            password: surroundings.redis_server_password.clone(),
        },
    };
    let settings = Settings {
        kind,
        url: url.clone(),
        prefix: redis.prefix.clone(),
        connect_timeout: redis.connect_timeout.0,
        command_timeout: redis.command_timeout.0,
        value_timeout: redis.value_timeout.0,
    };
    Ok(Some(Redis::new(settings).map_err(StartError::Redis)?))
}

/// Tries whether the Redis of the config can be used, and says why not; `None` where the config has none.
pub async fn try_redis(
    config: &config::Config,
    surroundings: &config::Surroundings,
    within: Duration,
) -> Option<Result<(), String>> {
    let redis = match redis(config, surroundings) {
        Ok(redis) => redis?,
        Err(error) => return Some(Err(error.to_string())),
    };
    let mut changes = redis.link_changes();
    let settled = tokio::time::timeout(within, changes.wait_for(|link| link.state != LinkState::Connecting)).await;
    let link = match settled {
        Ok(Ok(link)) => link.clone(),
        Ok(Err(_)) | Err(_) => return Some(Err(format!("nothing answered within {} s", within.as_secs()))),
    };
    match link.state {
        LinkState::Up => Some(Ok(())),
        LinkState::Connecting | LinkState::Down => Some(Err(link.reason.unwrap_or_default())),
    }
}
