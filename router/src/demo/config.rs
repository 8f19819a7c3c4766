//! The demo's own weir.yaml, with its key file, in a folder that ends with the demo.

use std::{
    fs::OpenOptions,
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use config::{Loaded, Surroundings};
use secrecy::{ExposeSecret as _, SecretString};
use standins::mainframe::{ACCOUNT_COPYBOOK, HISTORY_COPYBOOK};
use tempfile::TempDir;

use super::systems::{ACCOUNT, Systems, TICKETS_USER};
use router::auth::KeyStore;

const CONFIG: &str = include_str!("config/weir.yaml");
const CRM: &str = include_str!("config/crm.yaml");
const MAINFRAME: &str = include_str!("config/mainframe.yaml");
const TICKETS: &str = include_str!("config/tickets.yaml");
/// What reads, and what opens and comments tickets. Not update, delete and export of customers; not batch jobs and the status of
/// tickets; and not the write of the enrichment service.
const SUPPORT_AGENT_ALLOWS: &[&str] = &[
    "enrich__get_*",
    "enrich__check_*",
    "mainframe__get_*",
    "mainframe__order_status",
    "mainframe__account_history",
    "mainframe__batch_job_status",
    "tickets__search_tickets",
    "tickets__get_ticket",
    "tickets__create_ticket",
    "tickets__add_comment",
];
const SUPPORT_AGENT_ALLOWS_OF_CRM: &[&str] = &["crm__get_*", "crm__list_*", "crm__top_*", "crm__overdue_*"];

/// So short that the tour can fill it, and fair by caller, since all callers of the demo are of one tenant.
const SHORT_LINE: &str = "    line: { max: 8, fair_by: caller }\n";

/// The files of a running demo.
#[derive(Debug)]
pub(super) struct Files {
    folder: TempDir,
}

/// What opens a demo. Shown to whoever started it, and to nobody else.
pub(super) struct Credentials {
    pub(super) support_agent: String,
    pub(super) admin: String,
    /// For `/admin/…` of the admin listener.
    pub(super) admin_token: String,
}

impl Files {
    /// Makes a folder that only we can read.
    pub(super) fn new() -> anyhow::Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("weir-demo-").tempdir().context("cannot make a temporary folder")?;
        Ok(Self { folder })
    }

    /// Writes the files into it.
    pub(super) fn write(
        &self,
        systems: &Systems,
        listen: SocketAddr,
        admin: SocketAddr,
        is_quiet: bool,
    ) -> anyhow::Result<Credentials> {
        let mut keys = KeyStore::open_or_new(&self.path("keys.yaml"))?;
        let mut key = |role: &str| {
            let made = keys.add(&format!("demo-{role}"), None, &[role.to_owned()], None)?;
            anyhow::Ok(made.key.expose_secret().to_owned())
        };
        let credentials =
            Credentials { support_agent: key("support_agent")?, admin: key("admin")?, admin_token: random_token()? };
        keys.save()?;
        private_file(&self.path("tickets-token"), systems.tickets_token())?;
        private_file(&self.path("ACCTREC.cpy"), ACCOUNT_COPYBOOK)?;
        private_file(&self.path("HISTREC.cpy"), HISTORY_COPYBOOK)?;
        let (crm, crm_allows) = match systems.crm_url() {
            Some(url) => {
                private_file(&self.path("crm-url"), url)?;
                (format!("{CRM}\n"), SUPPORT_AGENT_ALLOWS_OF_CRM)
            }
            None => (String::new(), &[][..]),
        };
        let allows: String =
            crm_allows.iter().chain(SUPPORT_AGENT_ALLOWS).map(|glob| format!("        - {glob}\n")).collect();
        let log_level = match (is_quiet, systems.network()) {
            // What goes wrong on the tour is told by the tour.
            (true, Some(_)) => "error",
            (true, None) => "warn",
            (false, _) => "info",
        };
        let text = CONFIG
            .replace("{{crm}}\n", &crm)
            .replace("{{mainframe}}\n", MAINFRAME)
            .replace("{{tickets}}\n", TICKETS)
            .replace("{{listen}}", &listen.to_string())
            .replace("{{admin}}", &admin.to_string())
            .replace("{{enrich_url}}", systems.enrich_url())
            .replace("{{mainframe_line}}\n", if systems.network().is_some() { SHORT_LINE } else { "" })
            .replace("{{mainframe_url}}", &systems.mainframe_url())
            .replace("{{account_number}}", ACCOUNT)
            .replace("{{tickets_url}}", &systems.tickets_url())
            .replace("{{tickets_user}}", TICKETS_USER)
            .replace("{{support_agent_allows}}\n", &allows)
            .replace("{{log_level}}", log_level);
        private_file(&self.config(), &text)?;
        Ok(credentials)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The config file.
    pub(super) fn config(&self) -> PathBuf {
        self.path("weir.yaml")
    }

    /// Reads the config as `weir serve` would, except that the token for operators is our own.
    pub(super) fn load(&self, credentials: &Credentials) -> anyhow::Result<(Loaded, Surroundings)> {
        let loaded = config::load(&self.config())?;
        let surroundings = loaded.surroundings()?;
        let admin_token = Some(SecretString::from(credentials.admin_token.as_str()));
        Ok((loaded, Surroundings { admin_token, ..surroundings }))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn private_file(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

pub(super) fn random_token() -> anyhow::Result<String> {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).context("the system has no random bytes")?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}
