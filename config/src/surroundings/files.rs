//! Which files a config refers to: when one of them changes, so does the config.

use std::path::PathBuf;

use crate::{Loaded, SecretRef, downstream::mainframe::AnswerFormat};

impl Loaded {
    /// Every secret that the config refers to.
    #[must_use]
    pub fn secrets(&self) -> Vec<&SecretRef> {
        let config = &self.config;
        let redis = config.redis.iter();
        let redis =
            redis.flat_map(|redis| [Some(&redis.url), redis.state_url.as_ref(), redis.server_password.as_ref()]);
        let webhook = config.cache.webhook.iter().map(|webhook| &webhook.secret);
        let signatures = config.identity.signatures.iter().flat_map(|signatures| signatures.keys.values());
        let login = config.secrets.vault.iter().map(|vault| vault.login.secret());
        let of_downstreams = config.downstreams.values().flat_map(|downstream| downstream.secrets());
        let masters = config.secrets.master.iter().chain(&config.secrets.previous);
        let own = masters.chain(redis.flatten()).chain(webhook).chain(login).chain(&config.audit.signing_key);
        own.chain(signatures.map(|key| &key.secret)).chain(of_downstreams).collect()
    }

    /// Every file that the config refers to. A changed one is read when the config is read again.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let config = &self.config;
        let secrets = self.secrets().into_iter().filter_map(|secret| match secret {
            SecretRef::File(path) => Some(path),
            SecretRef::Env(_) | SecretRef::Vault(_) | SecretRef::Command(_) => None,
        });
        let keys = config.identity.api_keys.iter().map(|keys| &keys.file);
        let mtls = config.identity.mtls.iter().flat_map(|mtls| std::iter::once(&mtls.ca).chain(&mtls.crl));
        let tls = config.server.tls.iter().flat_map(|tls| [&tls.certificate, &tls.key]);
        let tools = config.downstreams.values().flat_map(|downstream| downstream.tools.values());
        let copybooks = tools.filter_map(|tool| match &tool.answer {
            AnswerFormat::FixedWidth(fixed) => fixed.copybook_file.as_ref(),
            AnswerFormat::Json => None,
        });
        let certificates = config.downstreams.values().flat_map(|downstream| downstream.certificate_files());
        let files = secrets
            .chain(keys)
            .chain(mtls)
            .chain(tls)
            .chain(copybooks)
            .chain(&config.definitions.lock)
            .map(PathBuf::as_path);
        files.chain(certificates).map(|path| self.sources.base.join(path)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::parse;

    #[test]
    fn every_file_that_a_config_refers_to_is_named() {
        let text = "
server: { public_url: https://weir.example, tls: { certificate: f/cert, key: f/key } }
redis: { url: { file: f/url }, state_url: { file: f/state }, server_password: { file: f/server }, kind: sentinel, master_name: m }
secrets: { master: { file: f/master }, previous: [ { file: f/previous }, { env: PREVIOUS } ] }
identity:
  api_keys: { file: f/keys }
  mtls: { ca: f/ca, crl: [f/crl, f/more], callers: [ { uri: 'spiffe://a/*' } ] }
  signatures: { keys: { k: { secret: { file: f/signing }, subject: s } } }
cache: { webhook: { secret: { file: f/webhook } } }
definitions: { lock: f/lock }
downstreams:
  db: { postgres: { url: { file: f/pg }, ca: f/authority, client_certificate: { certificate: f/mine, key: { file: f/private } } } }
  host:
    mainframe: { base_url: http://127.0.0.1:1, credential: { bearer: { file: f/bearer } } }
    tools:
      look: { effect: read, description: d, request: { method: GET, path: /a }, answer: { fixed_width: { copybook_file: f/book } } }
  desk: { ticketing: { provider: jira, base_url: https://j.example, credential: { basic: { user: u, password: { file: f/jira } } }, projects: [P] } }
  tool: { mcp: { stdio: { command: [run], secrets: { TOKEN: { file: f/token } } } } }
";
        let loaded = parse(text, "weir.yaml", Path::new("/etc/weir")).unwrap_or_else(|problems| panic!("{problems}"));
        let mut named: Vec<String> = loaded.files().iter().map(|path| path.display().to_string()).collect();
        named.sort();
        let mut written: Vec<String> = text
            .split("f/")
            .skip(1)
            .map(|rest| {
                format!("/etc/weir/f/{}", rest.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or(""))
            })
            .collect();
        written.sort();
        assert_eq!(named, written);
    }
}
