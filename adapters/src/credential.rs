//! What Weir shows a downstream: a secret of the config, a token that an authorization server gives Weir or the caller, or a signed word
//! on who calls. Never the caller's own credential, and what is one caller's is nobody else's.

mod assertion;
mod endpoint;
mod failure;
mod shown;
mod signer;
mod tokens;

use std::{fmt, sync::Arc};

use aws_lc_rs::digest::{self, SHA256};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use config::{
    SecretRef, Sources,
    downstream::{
        Credential,
        credential::{CatalogCredential, TokenClient},
    },
};
use http::{HeaderName, Uri, header};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use crate::{BuildError, Caller, Deadline, Outgoing};
use assertion::Assertor;
use endpoint::{Client, Grant, Proof, Refresh, TokenEndpoint};
use signer::Signer;
use tokens::{Token, Tokens};

pub(crate) use failure::NoCredential;
pub(crate) use shown::Shown;
pub(crate) use tokens::Owner;

/// Counts a request for a token: of which downstream, of which kind, and what came of it: `ok`, `refused`, `failed`.
pub type TokenMeter = fn(downstream: &str, kind: &'static str, outcome: &'static str);

/// What one downstream is shown. Clones share their tokens.
#[derive(Clone, Default)]
pub(crate) struct Credentials(Option<Arc<Kind>>);

enum Kind {
    Service(Service),
    /// A token for each caller; lists are asked with the other one.
    Exchange(Arc<Tokens>, Option<Service>),
    Assertion(Assertor),
}

/// The same for all callers.
enum Service {
    Fixed(Arc<Shown>),
    Tokens(Arc<Tokens>),
}

/// On whose behalf something is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whose<'a> {
    /// Weir's own: lists, handshakes, looks whether it is still there.
    Weir,
    Caller(&'a Caller),
}

/// Something to be shown.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) shown: Arc<Shown>,
    /// The token that it is, where it is one that can be had anew.
    token: Option<Arc<Token>>,
}

/// Where credentials are made: for which downstream, with what around it.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'a> {
    /// The section that the credential stands in, such as `downstreams.crm.mainframe`.
    pub(crate) section: &'a str,
    pub(crate) downstream: &'a str,
    pub(crate) sources: &'a Sources,
    pub(crate) meter: TokenMeter,
}

impl Credentials {
    /// Reads the credential, if there is one.
    ///
    /// # Errors
    /// When a secret cannot be read, or cannot be what it should be.
    pub(crate) fn new(credential: Option<&Credential>, setting: Setting<'_>) -> Result<Self, BuildError> {
        credential.map(|credential| kind(credential, setting)).transpose().map(|kind| Self(kind.map(Arc::new)))
    }

    /// Whether each caller is shown to be itself.
    pub(crate) fn is_per_caller(&self) -> bool {
        matches!(self.0.as_deref(), Some(Kind::Exchange(..) | Kind::Assertion(_)))
    }

    /// What is shown on behalf of `whose`; `None` where nothing is. Waits for a token until `limit`.
    ///
    /// # Errors
    /// [`NoCredential`]: then nothing may be asked.
    pub(crate) async fn show(&self, whose: Whose<'_>, limit: Deadline) -> Result<Option<Given>, NoCredential> {
        let Some(kind) = self.0.as_deref() else { return Ok(None) };
        let given = match kind {
            Kind::Service(service) => service.show(limit).await?,
            Kind::Assertion(assertor) => Given { shown: assertor.show(whose)?, token: None },
            Kind::Exchange(_, service) if matches!(whose, Whose::Weir) => match service {
                Some(service) => service.show(limit).await?,
                None => return Err(NoCredential::refused("only callers are let in, and nobody called")),
            },
            Kind::Exchange(tokens, _) => {
                let (owner, subject) = exchanged(whose, Timestamp::now())?;
                Given::of(tokens.token(Some(owner), Some(subject), limit).await?)
            }
        };
        Ok(Some(given))
    }

    /// The downstream did not accept what it was shown. Whether it is worth showing it something else.
    pub(crate) fn refused(&self, whose: Whose<'_>, given: &Given) -> bool {
        let (Some(kind), Some(token)) = (self.0.as_deref(), &given.token) else { return false };
        match (kind, whose) {
            (Kind::Exchange(tokens, _), Whose::Caller(caller)) => tokens.refused(Some(owner(caller)), token),
            (Kind::Service(Service::Tokens(tokens)), _)
            | (Kind::Exchange(_, Some(Service::Tokens(tokens))), Whose::Weir) => tokens.refused(None, token),
            (Kind::Service(_) | Kind::Exchange(..) | Kind::Assertion(_), _) => false,
        }
    }
}

impl Service {
    async fn show(&self, limit: Deadline) -> Result<Given, NoCredential> {
        match self {
            Self::Fixed(shown) => Ok(Given { shown: Arc::clone(shown), token: None }),
            Self::Tokens(tokens) => Ok(Given::of(tokens.token(None, None, limit).await?)),
        }
    }
}

impl Given {
    fn of(token: Arc<Token>) -> Self {
        Self { shown: Arc::clone(&token.shown), token: Some(token) }
    }

    /// Whether another one can be had in its place.
    pub(crate) fn is_token(&self) -> bool {
        self.token.is_some()
    }
}

/// Whom a connection belongs to that was opened with this caller's credential: one with another token, or with other roles, has another.
pub(crate) fn owner(caller: &Caller) -> Owner {
    let mut context = digest::Context::new(&SHA256);
    let mut part = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    part(caller.token.as_ref().map_or("", |token| token.expose_secret()).as_bytes());
    caller.roles.iter().for_each(|role| part(role.as_bytes()));
    let proof = context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
    Owner { principal: caller.principal.clone(), proof }
}

/// The token that is exchanged, and whose it is.
fn exchanged(whose: Whose<'_>, now: Timestamp) -> Result<(Owner, Arc<SecretString>), NoCredential> {
    let own = match whose {
        Whose::Weir => None,
        Whose::Caller(caller) => caller.token.as_ref().map(|token| (caller, token)),
    };
    let Some((caller, token)) = own else {
        return Err(NoCredential::refused(
            "it needs your own access token, and you came without one: sign in at your organisation's authorization server",
        ));
    };
    if caller.expires.is_some_and(|expires| expires <= now) {
        return Err(expired());
    }
    Ok((owner(caller), Arc::clone(token)))
}

fn expired() -> NoCredential {
    NoCredential::refused("it needs your own access token, and yours has expired: get a new one and try again")
}

fn kind(credential: &Credential, setting: Setting<'_>) -> Result<Kind, BuildError> {
    Ok(match credential {
        Credential::Bearer(reference) => Kind::Service(fixed_bearer(reference, setting, "bearer")?),
        Credential::Basic(basic) => {
            let password = setting.read(&basic.password, "basic.password")?;
            let pair = BASE64_STANDARD.encode(format!("{}:{}", basic.user, password.expose_secret()));
            let value = format!("Basic {pair}");
            let shown = Shown::new(header::AUTHORIZATION, &value, vec![pair.into(), password]);
            Kind::Service(Service::Fixed(setting.fits(shown, "basic.password")?))
        }
        Credential::Header(header) => {
            let name = setting.header(&header.name, "header.name")?;
            let value = setting.read(&header.value, "header.value")?;
            let shown = Shown::new(name, value.clone().expose_secret(), vec![value]);
            Kind::Service(Service::Fixed(setting.fits(shown, "header.value")?))
        }
        Credential::ClientCredentials(asked) => {
            let fields = fields(&asked.scopes, asked.resource.as_deref(), asked.audience.as_deref());
            let tokens = tokens(&asked.client, Grant::ClientCredentials, fields, setting, "client_credentials")?;
            Kind::Service(Service::Tokens(tokens))
        }
        Credential::RefreshToken(asked) => {
            let first = setting.read(&asked.token, "refresh_token.token")?;
            let refresh = Refresh::new(first, &asked.client.token_url, &asked.client.client_id);
            let fields = fields(&asked.scopes, None, None);
            let tokens = tokens(&asked.client, Grant::Refresh(refresh), fields, setting, "refresh_token")?;
            Kind::Service(Service::Tokens(tokens))
        }
        Credential::TokenExchange(asked) => {
            let fields = fields(&asked.scopes, asked.resource.as_deref(), asked.audience.as_deref());
            let own = tokens(&asked.client, Grant::Exchange, fields, setting, "token_exchange")?;
            let catalog = asked.catalog.as_ref().map(|catalog| match catalog {
                CatalogCredential::Bearer(reference) => {
                    fixed_bearer(reference, setting, "token_exchange.catalog.bearer")
                }
                CatalogCredential::ClientCredentials(asked) => {
                    let fields = self::fields(&asked.scopes, asked.resource.as_deref(), asked.audience.as_deref());
                    let key = "token_exchange.catalog.client_credentials";
                    tokens(&asked.client, Grant::ClientCredentials, fields, setting, key).map(Service::Tokens)
                }
            });
            Kind::Exchange(own, catalog.transpose()?)
        }
        Credential::Assertion(signed) => Kind::Assertion(Assertor {
            signer: setting.signer(&signed.key, signed.key_id.as_deref(), "assertion.key")?,
            issuer: signed.issuer.clone().unwrap_or_else(|| "weir".to_owned()),
            audience: signed.audience.clone(),
            header: signed.header.as_ref().map(|name| setting.header(name, "assertion.header")).transpose()?,
            lifetime: signed.lifetime.0,
        }),
    })
}

fn fixed_bearer(reference: &SecretRef, setting: Setting<'_>, key: &str) -> Result<Service, BuildError> {
    let token = setting.read(reference, key)?;
    setting.fits(Shown::bearer(token), key).map(Service::Fixed)
}

fn fields(scopes: &[String], resource: Option<&str>, audience: Option<&str>) -> Vec<(&'static str, String)> {
    let scope = (!scopes.is_empty()).then(|| scopes.join(" "));
    let fields =
        [("scope", scope), ("resource", resource.map(str::to_owned)), ("audience", audience.map(str::to_owned))];
    fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn tokens(
    client: &TokenClient,
    grant: Grant,
    fields: Vec<(&'static str, String)>,
    setting: Setting<'_>,
    key: &str,
) -> Result<Arc<Tokens>, BuildError> {
    let url_key = format!("{key}.client.token_url");
    let wrong = |message: String| setting.wrong(&url_key, message);
    let outgoing = Outgoing::new(&client.token_url, None, setting.sources).map_err(|error| wrong(error.to_string()))?;
    let uri: Uri = client.token_url.parse().map_err(|_| wrong("this is no URL".to_owned()))?;
    let path = uri.path_and_query().map_or(Uri::from_static("/"), |path| Uri::from(path.clone()));
    let proof = match (&client.client_secret, &client.client_key) {
        (Some(secret), None) => Proof::Secret(setting.read(secret, &format!("{key}.client.client_secret"))?),
        (None, Some(reference)) => Proof::Key(setting.signer(reference, None, &format!("{key}.client.client_key"))?),
        _ => {
            let message = "give exactly one of `client_secret` and `client_key`".to_owned();
            return Err(setting.wrong(&format!("{key}.client"), message));
        }
    };
    Ok(Tokens::new(Arc::new(TokenEndpoint {
        outgoing,
        url: client.token_url.clone(),
        path,
        client: Client { id: client.client_id.clone(), proof },
        grant,
        fields,
        downstream: setting.downstream.into(),
        meter: setting.meter,
    })))
}

impl Setting<'_> {
    fn wrong(&self, key: &str, message: String) -> BuildError {
        BuildError::Setting { setting: format!("{}.credential.{key}", self.section), message }
    }

    fn read(&self, reference: &SecretRef, key: &str) -> Result<SecretString, BuildError> {
        let setting = format!("{}.credential.{key}", self.section);
        reference.resolve(self.sources).map_err(|source| BuildError::Secret { setting, source })
    }

    fn signer(&self, reference: &SecretRef, key_id: Option<&str>, key: &str) -> Result<Signer, BuildError> {
        Signer::new(&self.read(reference, key)?, key_id).map_err(|message| self.wrong(key, message))
    }

    fn header(&self, name: &str, key: &str) -> Result<HeaderName, BuildError> {
        name.parse().map_err(|_| self.wrong(key, "this is no name of a header".to_owned()))
    }

    fn fits(&self, shown: Option<Shown>, key: &str) -> Result<Arc<Shown>, BuildError> {
        let message = "the secret has a character in it that no HTTP header may have: look for a line break";
        shown.map(Arc::new).ok_or_else(|| self.wrong(key, message.to_owned()))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.0.as_deref().map(|kind| match kind {
            Kind::Service(Service::Fixed(_)) => "fixed",
            Kind::Service(Service::Tokens(_)) => "tokens",
            Kind::Exchange(..) => "exchange",
            Kind::Assertion(_) => "assertion",
        });
        f.debug_tuple("Credentials").field(&kind).finish()
    }
}
