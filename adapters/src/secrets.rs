//! Secrets that lie elsewhere: with another program, or in Vault.

mod command;
mod vault;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use config::{Fetched, Loaded, SecretRef};
use futures_util::future::join_all;
use secrecy::ExposeSecret as _;
use tokio::sync::Mutex;

/// Fetches what a config refers to and keeps what is needed to do so again.
#[derive(Debug, Default)]
pub struct SecretFetcher {
    /// One fetch at a time: what Vault gave to log in with is renewed by one of them.
    vault: Mutex<Option<vault::Session>>,
}

impl SecretFetcher {
    /// Fetches every secret of `loaded` that is in no file and no variable. What cannot be had is told by whoever reads it, at its setting.
    pub async fn fetch(&self, loaded: &mut Loaded) {
        let mut commands = Vec::new();
        let mut places: BTreeMap<String, Vec<(SecretRef, String)>> = BTreeMap::new();
        for reference in loaded.secrets() {
            match reference {
                SecretRef::Command(command) if !commands.contains(command) => commands.push(command.clone()),
                SecretRef::Vault(place) => {
                    let (path, key) = place.split_once('#').unwrap_or((place, ""));
                    places.entry(path.to_owned()).or_default().push((reference.clone(), key.to_owned()));
                }
                SecretRef::Command(_) | SecretRef::Env(_) | SecretRef::File(_) => {}
            }
        }
        let timeout = loaded.config.secrets.command_timeout.0;
        let ran = commands.into_iter().map(|command| async move {
            let output = command::output(&command, timeout).await;
            (SecretRef::Command(command), output)
        });
        let mut fetched: Fetched = join_all(ran).await.into_iter().collect();
        // Vault may want what a command gives.
        loaded.sources = std::mem::take(&mut loaded.sources).with(fetched.clone());
        let mut session = self.vault.lock().await;
        if places.is_empty() {
            *session = None;
        } else {
            fetched.extend(from_vault(&mut session, loaded, places).await);
        }
        loaded.sources = std::mem::take(&mut loaded.sources).with(fetched);
    }

    /// Whether another fetch could give another secret, and when it is time for one: before what Vault gave to log in with ends.
    pub async fn due(&self, loaded: &Loaded) -> Option<Duration> {
        let is_fetched = |reference: &&SecretRef| matches!(reference, SecretRef::Vault(_) | SecretRef::Command(_));
        loaded.secrets().iter().any(is_fetched).then_some(())?;
        let refresh = loaded.config.secrets.refresh.0;
        let renew = self.vault.lock().await.as_ref().and_then(vault::Session::renews_in);
        Some(renew.map_or(refresh, |renew| renew.min(refresh)))
    }
}

/// Whether all that was fetched is the same. A secret that cannot be had now is no other one.
#[must_use]
pub fn is_same(before: &Fetched, now: &Fetched) -> bool {
    before.len() == now.len()
        && now.iter().all(|(reference, value)| match (value, before.get(reference)) {
            (Ok(value), Some(Ok(before))) => value.expose_secret() == before.expose_secret(),
            (Ok(_), _) => false,
            (Err(_), before) => before.is_some(),
        })
}

async fn from_vault(
    session: &mut Option<vault::Session>,
    loaded: &Loaded,
    places: BTreeMap<String, Vec<(SecretRef, String)>>,
) -> Fetched {
    let all_fail =
        |why: String| places.values().flatten().map(|(reference, _)| (reference.clone(), Err(why.clone()))).collect();
    let Some(settings) = &loaded.config.secrets.vault else {
        return all_fail("`secrets.vault` does not say where Vault is".to_owned());
    };
    let open = match vault::Session::opened(session.take(), settings, &loaded.sources).await {
        Ok(open) => session.insert(open),
        Err(why) => return all_fail(why),
    };
    let mut fetched = HashMap::new();
    for (path, keys) in places {
        let read = open.read(&path).await;
        for (reference, key) in keys {
            let value = read.as_ref().map_err(Clone::clone).and_then(|secret| secret.value(&path, &key));
            fetched.insert(reference, value);
        }
    }
    fetched
}
