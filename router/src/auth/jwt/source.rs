//! The keys of one issuer: fetched in the background, so that no request waits for the issuer, but for the first one with a new key.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use adapters::{Delays, Outgoing, OutgoingError};
use bytes::Bytes;
use config::{
    Sources,
    identity::{Jwt, jwt::Algorithm},
};
use http::{HeaderMap, Request, StatusCode, header};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    discovery,
    key::{self, Key, Thumbprint},
    schedule::{self, Ask, Asked},
    wrong::Wrong,
};
use crate::telemetry;

/// How long a request waits for keys.
const WAIT: Duration = Duration::from_secs(2);
/// How long one answer of an issuer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// How long keys are used after they were fetched last, when the issuer cannot be asked.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How long it is believed where the keys are.
const PLACE_KEPT: Duration = Duration::from_secs(3600);
/// The waits after a fetch that failed.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(60);

/// The keys of one issuer, as long as somebody has it.
#[derive(Debug)]
pub(super) struct KeySource {
    shared: Arc<Shared>,
    place: Place,
    _end: DropGuard,
}

/// The settings on which keys hang.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    issuer: String,
    jwks_url: Option<String>,
    ca: Option<std::path::PathBuf>,
}

#[derive(Debug)]
struct Shared {
    state: watch::Sender<State>,
    asked: Mutex<Asked>,
    wanted: Notify,
}

#[derive(Debug, Clone, Default)]
struct State {
    set: Option<Arc<Set>>,
    /// How many fetches have ended, well or not.
    rounds: u64,
}

#[derive(Debug)]
struct Set {
    keys: Vec<Key>,
    until: Instant,
}

impl State {
    fn keys(&self, now: Instant) -> Option<&[Key]> {
        self.set.as_ref().filter(|set| now < set.until).map(|set| set.keys.as_slice())
    }
}

impl KeySource {
    /// Begins to fetch. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// When the URL or the authorities of the settings cannot be used.
    pub(super) fn start(settings: &Jwt, sources: &Sources) -> Result<Self, OutgoingError> {
        let place = Place::of(settings);
        let url = place.jwks_url.as_deref().unwrap_or(&place.issuer);
        let outgoing = Outgoing::new(url, place.ca.as_deref(), sources)?;
        let shared = Arc::new(Shared {
            state: watch::Sender::new(State::default()),
            asked: Mutex::default(),
            wanted: Notify::new(),
        });
        let fetcher = Fetcher { place: place.clone(), outgoing, sources: sources.clone(), learned: None };
        let end = CancellationToken::new();
        let keeping = keep(shared.clone(), fetcher);
        let ended = end.clone();
        tokio::spawn(async move { ended.run_until_cancelled(keeping).await });
        Ok(Self { shared, place, _end: end.drop_guard() })
    }

    /// Whether it fetches the keys of these settings.
    pub(super) fn is_of(&self, settings: &Jwt) -> bool {
        self.place == Place::of(settings)
    }

    /// Whether this key is still one of the issuer's.
    pub(super) fn has(&self, thumbprint: &Thumbprint) -> bool {
        let state = self.shared.state.borrow();
        state.keys(Instant::now()).is_some_and(|keys| keys.iter().any(|key| key.thumbprint == *thumbprint))
    }

    /// Whether `signature` is by one of its keys, and by which. Waits at most [`WAIT`] where the key is not known yet.
    pub(super) async fn signer(
        &self,
        name: Option<&str>,
        algorithm: Algorithm,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<Thumbprint, Wrong> {
        let look = |state: &State| {
            let keys = state.keys(Instant::now()).ok_or(Wrong::NoKeys)?;
            let key = key::choose(keys, name, algorithm).ok_or(Wrong::UnknownKey)?;
            key.has_signed(algorithm, signed, signature).then_some(key.thumbprint).ok_or(Wrong::Signature)
        };
        let (found, round) = {
            let state = self.shared.state.borrow();
            (look(&state), state.rounds)
        };
        match found {
            Err(Wrong::NoKeys | Wrong::UnknownKey) => {}
            found => return found,
        }
        let mut changes = self.shared.state.subscribe();
        match self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).ask(round, Instant::now()) {
            Ask::GiveUp => return found,
            Ask::Fetch => self.shared.wanted.notify_one(),
            Ask::Wait => {}
        }
        let waiting = tokio::time::timeout(WAIT, changes.wait_for(|state| state.rounds > round));
        match waiting.await {
            Ok(Ok(state)) => look(&state),
            _ => found,
        }
    }
}

impl Place {
    fn of(settings: &Jwt) -> Self {
        Self { issuer: settings.issuer.clone(), jwks_url: settings.jwks_url.clone(), ca: settings.ca.clone() }
    }
}

/// Fetches the keys again and again: before they are old, when a token names one that is not known, and after a failure in waits that
/// grow, with jitter, so that replicas do not come back in step.
async fn keep(shared: Arc<Shared>, mut fetcher: Fetcher) {
    let mut delays = Delays::new(RETRY_FIRST, RETRY_LONGEST);
    let mut failed = false;
    loop {
        let fetched = fetcher.fetch().await;
        telemetry::issuer_keys_fetched(fetched.is_ok());
        let wait = match fetched {
            Ok((keys, refresh_after)) => {
                if failed {
                    tracing::info!(issuer = %fetcher.place.issuer, "the keys of the issuer can be fetched again");
                }
                (failed, _) = (false, delays.reset());
                let set = Some(Arc::new(Set { keys, until: Instant::now() + KEPT }));
                shared.state.send_modify(|state| *state = State { set, rounds: state.rounds + 1 });
                refresh_after
            }
            Err(why) => {
                if !failed {
                    tracing::warn!(issuer = %fetcher.place.issuer, %why, "the keys of the issuer cannot be fetched");
                }
                failed = true;
                shared.state.send_modify(|state| state.rounds += 1);
                delays.next()
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shared.wanted.notified() => {}
        }
    }
}

struct Fetcher {
    place: Place,
    /// To where the config says: the keys, or the issuer that knows where they are.
    outgoing: Outgoing,
    sources: Sources,
    learned: Option<Learned>,
}

/// Where the keys are, by the word of the issuer.
struct Learned {
    url: String,
    /// For keys on another origin than the issuer.
    elsewhere: Option<Outgoing>,
    since: Instant,
}

impl Fetcher {
    /// The keys, and after how long they are to be fetched again.
    async fn fetch(&mut self) -> Result<(Vec<Key>, Duration), String> {
        if let Some(url) = &self.place.jwks_url {
            return keys(&self.outgoing, url).await;
        }
        let learned = match self.learned.take().filter(|learned| learned.since.elapsed() < PLACE_KEPT) {
            Some(learned) => learned,
            None => self.learn().await?,
        };
        let fetched = keys(learned.elsewhere.as_ref().unwrap_or(&self.outgoing), &learned.url).await?;
        // Not after a failure: they may have moved.
        self.learned = Some(learned);
        Ok(fetched)
    }

    async fn learn(&self) -> Result<Learned, String> {
        let issuer = &self.place.issuer;
        let mut why = String::new();
        for place in discovery::places(issuer) {
            let asked = get(&self.outgoing, &place).await;
            // At one of these places there may be a page of another kind, or of another issuer.
            match asked.and_then(|(_, metadata)| Ok(discovery::keys_of(issuer, &metadata)?)) {
                Ok(url) => {
                    let is_here = self.outgoing.is_of(&url);
                    // An issuer may keep its keys elsewhere, but must not send Weir into the company's own network for them.
                    let elsewhere = || Outgoing::learned(&url, self.place.ca.as_deref(), &self.sources);
                    let elsewhere = if is_here { None } else { Some(elsewhere().map_err(|why| why.to_string())?) };
                    return Ok(Learned { url, elsewhere, since: Instant::now() });
                }
                Err(failure) => why = failure,
            }
        }
        Err(why)
    }
}

async fn keys(outgoing: &Outgoing, url: &str) -> Result<(Vec<Key>, Duration), String> {
    let (head, body) = get(outgoing, url).await?;
    Ok((key::read_set(&body)?, schedule::refresh_after(&head)))
}

async fn get(outgoing: &Outgoing, url: &str) -> Result<(HeaderMap, Bytes), String> {
    let request = Request::get(url).header(header::ACCEPT, "application/json").body(Bytes::new());
    let request = request.map_err(|_| format!("{url} is no URL"))?;
    let answer =
        outgoing.send(request, ANSWER_WITHIN, ANSWER_BYTES_MAX).await.map_err(|why| format!("{url}: {why}"))?;
    let (head, body) = answer.into_parts();
    match head.status {
        StatusCode::OK => Ok((head.headers, body)),
        status => Err(format!("{url} answered {status}")),
    }
}
