//! The checks that need more than the text of a config: the environment and other files. They are apart so that a config
//! can be checked on a machine that has neither.

mod credential;
mod files;
mod keys;
mod redis;

use std::{cell::RefCell, collections::HashMap};

use secrecy::{ExposeSecret, SecretString};

use crate::{
    KeyRecord, Loaded, Problem, Problems, Redis, SecretRef, Sources,
    check::{Scope, is_loopback},
    environment,
    identity::signatures::SigningKey,
    problem::Findings,
    secret::{self, Lookup, read_private},
};

#[cfg(test)]
pub(crate) use keys::check as check_keys;

/// Guessing a shorter token is only a matter of patience.
const ADMIN_TOKEN_BYTES_MIN: usize = 16;
const MASTER_BYTES_MIN: usize = 32;

/// What a config refers to outside of its text, read and found good.
#[derive(Debug)]
pub struct Surroundings {
    /// The master secret, of `secrets.master`.
    pub master: Option<SecretString>,
    /// The master secrets of before, of `secrets.previous`.
    pub previous_masters: Vec<SecretString>,
    /// The address of Redis, of `redis.url`.
    pub redis_url: Option<SecretString>,
    /// The address of the Redis for what must not be forgotten early, of `redis.state_url`.
    pub redis_state_url: Option<SecretString>,
    /// The password of the servers behind sentinels, of `redis.server_password`.
    pub redis_server_password: Option<SecretString>,
    /// The secret of `cache.webhook`.
    pub webhook_secret: Option<SecretString>,
    /// What signs checkpoints of the audit log, of `audit.signing_key`.
    pub audit_signing_key: Option<SecretString>,
    /// The API keys, of `identity.api_keys.file`.
    pub keys: Vec<KeyRecord>,
    /// The secrets of `identity.signatures.keys`, by their ids.
    pub signing_keys: HashMap<String, SecretString>,
    /// The token for `/admin/…`, of the environment variable `WEIR_ADMIN_TOKEN`.
    pub admin_token: Option<SecretString>,
    /// What deserves a look but stops nothing.
    pub warnings: Vec<Problem>,
}

impl Loaded {
    /// Reads what the config refers to and checks it: secrets, the key file, the key of TLS, the token for operators.
    ///
    /// # Errors
    /// Every problem with them, each at the setting that refers to it. None contains a secret.
    pub fn surroundings(&self) -> Result<Surroundings, Problems> {
        self.surroundings_in(&|name| self.sources.variable(name))
    }

    pub(crate) fn surroundings_in(&self, variables: Lookup<'_>) -> Result<Surroundings, Problems> {
        let findings = RefCell::new(Findings::hiding(self.hidden.clone()));
        let scope = Scope::root(&self.document, &findings);
        let secrets = Secrets { sources: &self.sources, variables };

        let master = self.config.secrets.master.as_ref();
        let master = master.and_then(|master| secrets.master(master, &scope.key("secrets").key("master")));
        let previous = scope.key("secrets").key("previous").items(&self.config.secrets.previous);
        let previous_masters =
            previous.into_iter().filter_map(|(scope, secret)| secrets.master(secret, &scope)).collect();
        let redis = scope.key("redis");
        let redis_url =
            self.config.redis.as_ref().and_then(|settings| secrets.redis(settings, &settings.url, &redis.key("url")));
        let redis_state_url = self
            .config
            .redis
            .as_ref()
            .and_then(|settings| secrets.redis(settings, settings.state_url.as_ref()?, &redis.key("state_url")));
        let redis_server_password = self.config.redis.as_ref().and_then(|settings| settings.server_password.as_ref());
        let redis_server_password =
            redis_server_password.and_then(|password| secrets.read(password, &redis.key("server_password")));
        let webhook_scope = scope.key("cache").key("webhook").key("secret");
        let webhook_secret = self.config.cache.webhook.as_ref();
        let webhook_secret = webhook_secret.and_then(|webhook| secrets.master(&webhook.secret, &webhook_scope));
        let signing_keys = self.signing_keys(&secrets, &scope.key("identity"));
        let audit_signing_key = self.config.audit.signing_key.as_ref();
        let audit_signing_key =
            audit_signing_key.and_then(|key| secrets.read(key, &scope.key("audit").key("signing_key")));
        let admin_token = self.admin_token(variables, &scope);
        self.tls(&scope.key("server").key("tls"));
        self.mtls(&scope.key("identity").key("mtls"));
        self.downstreams(&secrets, &scope.key("downstreams"));
        let keys = self.keys(&scope.key("identity").key("api_keys").key("file"));

        let (mut problems, mut warnings) = findings.into_inner().finish(&self.document);
        let (keys, key_warnings) = match keys {
            Ok(keys) => keys,
            Err(in_key_file) => {
                problems.extend(in_key_file.iter().cloned());
                Default::default()
            }
        };
        warnings.extend(key_warnings);
        match Problems::new(problems) {
            Some(problems) => Err(problems),
            None => Ok(Surroundings {
                master,
                previous_masters,
                redis_url,
                redis_state_url,
                redis_server_password,
                webhook_secret,
                audit_signing_key,
                keys,
                signing_keys,
                admin_token,
                warnings,
            }),
        }
    }

    fn admin_token(&self, variables: Lookup<'_>, scope: &Scope<'_>) -> Option<SecretString> {
        let name = environment::ADMIN_TOKEN;
        let token = variables(name).filter(|token| !token.is_empty());
        let Some(token) = token else {
            if !is_loopback(self.config.server.admin) {
                scope.key("server").key("admin").refuse(
                    format!(
                        "is `{}`, which other machines reach, and the environment variable `{name}` is not set",
                        self.config.server.admin
                    ),
                    format!("set `{name}` to a random text (`openssl rand -hex 32`), or listen on `127.0.0.1`"),
                );
            }
            return None;
        };
        if let Some(weakness) = secret::weakness(&token, ADMIN_TOKEN_BYTES_MIN) {
            scope.refuse(
                format!("the token in the environment variable `{name}` {weakness}"),
                "make a random one: `openssl rand -hex 32`",
            );
        }
        Some(SecretString::from(token))
    }

    fn tls(&self, scope: &Scope<'_>) {
        let Some(tls) = &self.config.server.tls else { return };
        if let Err(error) = std::fs::read(self.sources.base.join(&tls.certificate)) {
            let path = self.sources.base.join(&tls.certificate);
            scope
                .key("certificate")
                .refuse(format!("cannot be used: the file {} cannot be read ({error})", path.display()), "");
        }
        if let Err(error) = read_private(&self.sources.base.join(&tls.key)) {
            scope.key("key").refuse(format!("cannot be used: {error}"), "");
        }
    }

    /// What is in them the router reads.
    fn mtls(&self, scope: &Scope<'_>) {
        let Some(mtls) = &self.config.identity.mtls else { return };
        let ca = std::iter::once((scope.key("ca"), &mtls.ca));
        for (scope, path) in ca.chain(scope.key("crl").items(&mtls.crl)) {
            let path = self.sources.base.join(path);
            if let Err(error) = std::fs::read(&path) {
                scope.refuse(format!("cannot be used: the file {} cannot be read ({error})", path.display()), "");
            }
        }
    }

    fn signing_keys(&self, secrets: &Secrets<'_>, scope: &Scope<'_>) -> HashMap<String, SecretString> {
        let keys = self.config.identity.signatures.iter().flat_map(|signatures| &signatures.keys);
        let scope = scope.key("signatures").key("keys");
        let secret = |(id, key): (&String, &SigningKey)| {
            Some((id.clone(), secrets.master(&key.secret, &scope.key(id).key("secret"))?))
        };
        keys.filter_map(secret).collect()
    }

    fn downstreams(&self, secrets: &Secrets<'_>, scope: &Scope<'_>) {
        for (name, downstream) in &self.config.downstreams {
            let scope = scope.key(name.as_str());
            if let Some(postgres) = &downstream.postgres {
                secrets.postgres(&postgres.url, &scope.key("postgres").key("url"));
            }
            secrets.shown(downstream, &scope);
            let stdio = downstream.mcp.as_ref().and_then(|mcp| mcp.stdio.as_ref());
            for (name, reference) in stdio.iter().flat_map(|stdio| &stdio.secrets) {
                secrets.read(reference, &scope.key("mcp").key("stdio").key("secrets").key(name));
            }
        }
    }

    fn keys(&self, scope: &Scope<'_>) -> Result<(Vec<KeyRecord>, Vec<Problem>), Problems> {
        let Some(api_keys) = &self.config.identity.api_keys else { return Ok(Default::default()) };
        let path = self.sources.base.join(&api_keys.file);
        match read_private(&path) {
            Ok(text) => keys::check(&text, &path.display().to_string(), &self.config.policy),
            Err(error) => {
                let help = if path.exists() { "" } else { "`weir keys create` writes it" };
                scope.refuse(format!("cannot be used: {error}"), help);
                Ok(Default::default())
            }
        }
    }
}

/// Reads secrets and says at their reference what is wrong with them.
struct Secrets<'a> {
    sources: &'a Sources,
    variables: Lookup<'a>,
}

impl Secrets<'_> {
    fn read(&self, reference: &SecretRef, scope: &Scope<'_>) -> Option<SecretString> {
        match reference.resolve_in(self.sources, self.variables) {
            Ok(secret) => Some(secret),
            Err(error) => {
                scope.refuse(format!("cannot be read: {error}"), "");
                None
            }
        }
    }

    fn master(&self, reference: &SecretRef, scope: &Scope<'_>) -> Option<SecretString> {
        let master = self.read(reference, scope)?;
        if let Some(weakness) = secret::weakness(master.expose_secret(), MASTER_BYTES_MIN) {
            scope.refuse(weakness, "make a random one: `openssl rand -hex 32`");
        }
        Some(master)
    }

    fn redis(&self, settings: &Redis, reference: &SecretRef, scope: &Scope<'_>) -> Option<SecretString> {
        let url = self.read(reference, scope)?;
        if let Err(weakness) = redis::addresses(url.expose_secret(), settings.kind) {
            scope.refuse(weakness.what, weakness.help);
        }
        Some(url)
    }

    fn postgres(&self, reference: &SecretRef, scope: &Scope<'_>) {
        let Some(url) = self.read(reference, scope) else { return };
        let url = url.expose_secret().trim_start();
        let is_url = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
        if !is_url && !url.contains('=') {
            scope.refuse(
                "does not hold a connection string",
                "its form is `postgres://user:password@host/database?sslmode=require`",
            );
        }
    }
}

#[cfg(test)]
mod tests;
