//! What all replicas share: Redis, when the config has one.

use cache::redis::{Kind, Redis, Settings};
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
