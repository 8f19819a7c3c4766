//! The secrets that downstreams are shown, or that tokens for them are asked for with.

use secrecy::ExposeSecret as _;

use super::Secrets;
use crate::{
    Downstream, SecretRef,
    check::Scope,
    downstream::{
        Credential, Kind, Transport,
        credential::{CatalogCredential, TokenClient},
    },
};

impl Secrets<'_> {
    /// What the downstream at `scope` is shown.
    pub(super) fn shown(&self, downstream: &Downstream, scope: &Scope<'_>) {
        let section = match downstream.kind() {
            Some(Kind::Postgres(_)) => scope.key("postgres"),
            Some(Kind::Mainframe(_)) => scope.key("mainframe"),
            Some(Kind::Ticketing(_)) => scope.key("ticketing"),
            Some(Kind::Mcp(mcp)) => match mcp.transport() {
                Some(Transport::Http(_)) => scope.key("mcp").key("http"),
                Some(Transport::WebSocket(_)) => scope.key("mcp").key("websocket"),
                Some(Transport::Stdio(_)) | None => return,
            },
            None => return,
        };
        self.credential(downstream.credential(), &section.key("credential"));
        let (ca, shown) = downstream.tls();
        let file = |path: &std::path::Path, scope: &Scope<'_>| {
            let path = self.sources.base.join(path);
            if let Err(error) = std::fs::read(&path) {
                scope.refuse(format!("cannot be used: the file {} cannot be read ({error})", path.display()), "");
            }
        };
        if let Some(ca) = ca {
            file(ca, &section.key("ca"));
        }
        if let Some(shown) = shown {
            let scope = section.key("client_certificate");
            file(&shown.certificate, &scope.key("certificate"));
            self.private_key(&shown.key, &scope.key("key"));
        }
    }

    fn credential(&self, credential: Option<&Credential>, scope: &Scope<'_>) {
        match credential {
            None => {}
            Some(Credential::Bearer(token)) => self.bearer(token, &scope.key("bearer")),
            Some(Credential::Basic(basic)) => drop(self.read(&basic.password, &scope.key("basic").key("password"))),
            Some(Credential::Header(header)) => self.header(&header.value, &scope.key("header").key("value")),
            Some(Credential::ClientCredentials(asked)) => {
                self.client(&asked.client, &scope.key("client_credentials").key("client"));
            }
            Some(Credential::RefreshToken(asked)) => {
                let scope = scope.key("refresh_token");
                self.client(&asked.client, &scope.key("client"));
                self.read(&asked.token, &scope.key("token"));
            }
            Some(Credential::TokenExchange(asked)) => {
                let scope = scope.key("token_exchange");
                self.client(&asked.client, &scope.key("client"));
                let catalog = scope.key("catalog");
                match &asked.catalog {
                    Some(CatalogCredential::Bearer(token)) => self.bearer(token, &catalog.key("bearer")),
                    Some(CatalogCredential::ClientCredentials(asked)) => {
                        self.client(&asked.client, &catalog.key("client_credentials").key("client"));
                    }
                    None => {}
                }
            }
            Some(Credential::Assertion(signed)) => self.private_key(&signed.key, &scope.key("assertion").key("key")),
        }
    }

    fn client(&self, client: &TokenClient, scope: &Scope<'_>) {
        if let Some(secret) = &client.client_secret {
            self.read(secret, &scope.key("client_secret"));
        }
        if let Some(key) = &client.client_key {
            self.private_key(key, &scope.key("client_key"));
        }
    }

    fn private_key(&self, reference: &SecretRef, scope: &Scope<'_>) {
        let Some(key) = self.read(reference, scope) else { return };
        if !key.expose_secret().contains("PRIVATE KEY-----") {
            scope.refuse("holds no private key in PEM", "it begins with `-----BEGIN PRIVATE KEY-----`");
        }
    }

    fn header(&self, reference: &SecretRef, scope: &Scope<'_>) {
        let Some(value) = self.read(reference, scope) else { return };
        if !value.expose_secret().bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            scope.refuse("holds characters that no header has", "look for a line break or an umlaut in the secret");
        }
    }

    fn bearer(&self, reference: &SecretRef, scope: &Scope<'_>) {
        let Some(token) = self.read(reference, scope) else { return };
        if !token.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
            scope.refuse(
                "holds characters that no bearer token has",
                "look for a space, a line break or an umlaut in the secret",
            );
        }
    }
}
