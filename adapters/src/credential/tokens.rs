//! Access tokens, each kept for its holder until it ends, and renewed before that.
//!
//! One request for a token serves all who wait for it and goes on when they give up: a refresh token that was used up must not be lost
//! with the answer. What was refused is not asked for again at once.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use secrecy::SecretString;
use tokio::time::Instant;

use super::{NoCredential, Shown};
use crate::{Deadline, Principal};

/// The most holders whose tokens are kept at once.
const HOLDERS_MAX: usize = 10_000;
/// No token is kept for longer, whatever its server says.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long it is before one that ends is no longer shown: its way to the downstream takes time too.
const MARGIN_MAX: Duration = Duration::from_secs(5);
/// How long nothing is asked after a failure, doubled with each further one.
const BACK_OFF: Duration = Duration::from_millis(500);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// A token that was refused so soon after it was issued is not the reason for the refusal.
const RENEWED_AFTER: Duration = Duration::from_secs(10);

/// Whose token it is: a caller, and what it proved itself by, so that a token asked for with more rights serves nobody with fewer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(super) principal: Principal,
    /// A digest of the caller's own token, or of its roles.
    pub(super) proof: [u8; 32],
}

impl Owner {
    /// The caller, whatever it proved itself by: for what no credential of its own was shown for.
    pub(crate) fn of(principal: &Principal) -> Self {
        Self { principal: principal.clone(), proof: [0; 32] }
    }
}

/// What the authorization server gave.
pub(super) struct Issued {
    pub(super) shown: Shown,
    pub(super) lifetime: Duration,
}

/// Asks the authorization server, with the caller's own token where there is one for each caller.
pub(super) trait Issue: Send + Sync + 'static {
    fn issue(&self, subject: Option<Arc<SecretString>>) -> BoxFuture<'_, Result<Issued, NoCredential>>;
}

/// A token that can be shown.
#[derive(Debug)]
pub(crate) struct Token {
    pub(super) shown: Arc<Shown>,
    /// Tells it from every other.
    serial: u64,
    issued: Instant,
    renew_at: Instant,
    until: Instant,
}

/// The tokens of one credential.
pub(super) struct Tokens {
    issuer: Arc<dyn Issue>,
    holders: Mutex<HashMap<Option<Owner>, Arc<Holder>>>,
    serial: AtomicU64,
}

#[derive(Default)]
struct Holder(Mutex<State>);

type Underway = Shared<BoxFuture<'static, Result<Arc<Token>, NoCredential>>>;

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    underway: Option<Underway>,
    /// The last failure, and until when it is the answer.
    failed: Option<(NoCredential, Instant)>,
    failures: u32,
}

/// What is to be done for one who needs a token now.
enum Step {
    Show(Arc<Token>),
    /// It soon ends: it is shown, and another one asked for.
    ShowAndRenew(Arc<Token>),
    Wait(Underway),
    Ask,
    Fail(NoCredential),
}

impl Tokens {
    pub(super) fn new(issuer: Arc<dyn Issue>) -> Arc<Self> {
        Arc::new(Self { issuer, holders: Mutex::default(), serial: AtomicU64::new(0) })
    }

    /// The token of `owner`, for which `subject` is exchanged where there is none. Waits until `limit`.
    pub(super) async fn token(
        self: &Arc<Self>,
        owner: Option<Owner>,
        subject: Option<Arc<SecretString>>,
        limit: Deadline,
    ) -> Result<Arc<Token>, NoCredential> {
        let holder = self.holder(owner);
        let underway = {
            let mut state = holder.state();
            match state.step(Instant::now()) {
                Step::Show(token) => return Ok(token),
                Step::ShowAndRenew(token) => {
                    // It runs by itself; who comes after its end has what came of it.
                    drop(self.ask(&holder, &mut state, subject));
                    return Ok(token);
                }
                Step::Fail(failure) => return Err(failure),
                Step::Wait(underway) => underway,
                Step::Ask => self.ask(&holder, &mut state, subject),
            }
        };
        let late = || NoCredential::unanswered("the authorization server gave no access token for it in time");
        tokio::time::timeout_at(limit.at(), underway).await.unwrap_or_else(|_| Err(late()))
    }

    /// The downstream did not accept this token of `owner`. Whether it is worth asking for another one, which is then done for the next.
    pub(super) fn refused(&self, owner: Option<Owner>, token: &Token) -> bool {
        let holder = self.holder(owner);
        let mut state = holder.state();
        match &state.token {
            Some(kept) if kept.serial == token.serial => {
                let is_worth_it = token.issued.elapsed() >= RENEWED_AFTER;
                if is_worth_it {
                    state.token = None;
                }
                is_worth_it
            }
            // Another one is there already, or on its way.
            _ => state.failed.is_none(),
        }
    }

    /// Puts a request on its way, which ends whoever waits for it.
    fn ask(self: &Arc<Self>, holder: &Arc<Holder>, state: &mut State, subject: Option<Arc<SecretString>>) -> Underway {
        let (tokens, holder) = (Arc::clone(self), Arc::clone(holder));
        let asking = tokio::spawn(async move {
            let issued = tokens.issuer.issue(subject).await;
            holder.state().take(issued, Instant::now(), tokens.serial.fetch_add(1, Ordering::Relaxed))
        });
        let broken = || NoCredential::unanswered("no access token could be asked for");
        let underway = async move { asking.await.unwrap_or_else(|_| Err(broken())) }.boxed().shared();
        state.underway = Some(underway.clone());
        underway
    }

    fn holder(&self, owner: Option<Owner>) -> Arc<Holder> {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        if holders.len() >= HOLDERS_MAX && !holders.contains_key(&owner) {
            make_room(&mut holders, Instant::now());
        }
        Arc::clone(holders.entry(owner).or_default())
    }
}

/// Lets go of the tokens that have ended, and if there are none, of a tenth of the others: they are asked for again.
fn make_room(holders: &mut HashMap<Option<Owner>, Arc<Holder>>, now: Instant) {
    holders.retain(|_, holder| !holder.state().is_idle(now));
    if holders.len() >= HOLDERS_MAX {
        let mut kept = 0_usize;
        holders.retain(|_, _| {
            kept += 1;
            !kept.is_multiple_of(10)
        });
    }
}

impl Holder {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn step(&self, now: Instant) -> Step {
        let failed = self.failed.as_ref().filter(|(_, until)| now < *until);
        match (&self.token, &self.underway) {
            (Some(token), underway) if now < token.until => {
                if now >= token.renew_at && underway.is_none() && failed.is_none() {
                    Step::ShowAndRenew(Arc::clone(token))
                } else {
                    Step::Show(Arc::clone(token))
                }
            }
            (_, Some(underway)) => Step::Wait(underway.clone()),
            (_, None) => match failed {
                Some((failure, until)) => Step::Fail(failure.clone().after(Some(until.saturating_duration_since(now)))),
                None => Step::Ask,
            },
        }
    }

    /// What came of a request.
    fn take(
        &mut self,
        issued: Result<Issued, NoCredential>,
        now: Instant,
        serial: u64,
    ) -> Result<Arc<Token>, NoCredential> {
        self.underway = None;
        match issued {
            Ok(issued) => {
                let token = Arc::new(Token::new(issued, now, serial));
                (self.token, self.failed, self.failures) = (Some(Arc::clone(&token)), None, 0);
                Ok(token)
            }
            Err(failure) => {
                let wait = BACK_OFF.saturating_mul(1 << self.failures.min(10)).min(BACK_OFF_MAX);
                let wait = wait.max(failure.retry_after.unwrap_or_default().min(BACK_OFF_MAX));
                self.failures = self.failures.saturating_add(1);
                self.failed = Some((failure.clone(), now + wait));
                Err(failure.after(Some(wait)))
            }
        }
    }

    fn is_idle(&self, now: Instant) -> bool {
        let has_token = self.token.as_ref().is_some_and(|token| now < token.until);
        let has_failed = self.failed.as_ref().is_some_and(|(_, until)| now < *until);
        !has_token && !has_failed && self.underway.is_none()
    }
}

impl Token {
    fn new(issued: Issued, now: Instant, serial: u64) -> Self {
        let lifetime = issued.lifetime.min(LIFETIME_MAX);
        Self {
            shown: Arc::new(issued.shown),
            serial,
            issued: now,
            renew_at: now + renewed_after(lifetime),
            until: now + (lifetime - MARGIN_MAX.min(lifetime / 10)),
        }
    }
}

/// At four fifths of its life, or half a minute before its end if that is earlier; one that lives a minute or less, at half of it.
fn renewed_after(lifetime: Duration) -> Duration {
    const AHEAD: Duration = Duration::from_secs(30);
    if lifetime <= 2 * AHEAD { lifetime / 2 } else { (lifetime * 4 / 5).min(lifetime - AHEAD) }
}

#[cfg(test)]
mod tests;
