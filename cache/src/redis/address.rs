//! What `redis.url` names.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, io::tcp::TcpSettings};
use secrecy::{ExposeSecret, SecretString};

use super::{Kind, SettingsError};

/// The servers that `url` names, in its order. No error repeats any of it: there is a password within.
pub(super) fn servers(url: &SecretString, kind: &Kind) -> Result<Vec<ConnectionInfo>, SettingsError> {
    let parts: Vec<&str> = url.expose_secret().split(',').map(str::trim).collect();
    if parts.len() > 1 && matches!(kind, Kind::Single) {
        return Err(SettingsError::Several);
    }
    let mut servers = Vec::with_capacity(parts.len());
    for (index, part) in parts.into_iter().enumerate() {
        servers.push(server(part).ok_or(SettingsError::Address { number: index + 1 })?);
    }
    if matches!(kind, Kind::Cluster) && servers.iter().any(|server| server.redis_settings().db() != 0) {
        return Err(SettingsError::ClusterDatabase);
    }
    let secured = |server: &ConnectionInfo| matches!(server.addr(), ConnectionAddr::TcpTls { .. });
    if servers.iter().any(|server| secured(server) != secured(&servers[0])) {
        return Err(SettingsError::PartlySecured);
    }
    Ok(share_credentials(servers))
}

fn server(url: &str) -> Option<ConnectionInfo> {
    if !url.starts_with("redis://") && !url.starts_with("rediss://") {
        return None;
    }
    let server = url.into_connection_info().ok()?;
    // A certificate that is not checked protects nothing.
    if matches!(server.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
        return None;
    }
    Some(server.set_tcp_settings(tcp()))
}

/// A small command must not wait for the acknowledgement of another.
pub(super) fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

/// An address without user and password has those of the first that has some.
fn share_credentials(servers: Vec<ConnectionInfo>) -> Vec<ConnectionInfo> {
    let has_own = |server: &ConnectionInfo| {
        let settings = server.redis_settings();
        settings.password().is_some() || settings.username().is_some()
    };
    let Some(shared) = servers.iter().find(|server| has_own(server)).map(|server| server.redis_settings().clone())
    else {
        return servers;
    };
    let share = |server: ConnectionInfo| {
        if has_own(&server) {
            return server;
        }
        let settings = with_credentials(server.redis_settings().clone(), shared.username(), shared.password());
        server.set_redis_settings(settings)
    };
    servers.into_iter().map(share).collect()
}

pub(super) fn with_credentials(
    settings: RedisConnectionInfo,
    user: Option<&str>,
    password: Option<&str>,
) -> RedisConnectionInfo {
    let settings = match user {
        Some(user) => settings.set_username(user),
        None => settings,
    };
    match password {
        Some(password) => settings.set_password(password),
        None => settings,
    }
}
