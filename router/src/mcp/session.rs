//! Legacy sessions. A session id is a sealed token (revision, principal, expiry), so a session costs nothing while it is idle and any
//! replica with the same master secret can serve it. What lives here is what runs: requests that can be cancelled, and tombstones.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use adapters::Principal;
use aws_lc_rs::{digest, rand};
use jiff::{SignedDuration, Timestamp};

use super::Version;
use crate::{call::Control, policy::NamedView, seal::Sealer};

/// How long a session id is accepted. Some clients do not start again when theirs has ended, so it is long.
const LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How many ended sessions are remembered; the oldest are forgotten first.
const TOMBSTONES_MAX: usize = 100_000;
const NONCE_BYTES: usize = 16;
const PRINCIPAL_BYTES: usize = 32;

type Nonce = [u8; NONCE_BYTES];
/// Running requests by session and request id.
type Requests = Arc<Mutex<HashMap<(Nonce, Box<str>), Control>>>;

/// One legacy session, as its id says.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(super) version: Version,
    pub(super) client: Option<Arc<str>>,
    pub(super) nonce: Nonce,
    expires: Timestamp,
}

/// Opens and ends sessions, and finds the running requests of one.
#[derive(Debug)]
pub(crate) struct Sessions {
    sealer: Sealer,
    ended: Mutex<Ended>,
    running: Requests,
    pub(super) streams: Arc<super::streams::Streams>,
}

#[derive(Debug, Default)]
struct Ended {
    order: std::collections::VecDeque<Nonce>,
    nonces: std::collections::HashSet<Nonce>,
}

impl Sessions {
    pub(crate) fn new(sealer: Sealer) -> Self {
        Self { sealer, ended: Mutex::default(), running: Arc::default(), streams: Arc::default() }
    }

    /// The id of a new session.
    pub(super) fn begin(
        &self,
        principal: &Principal,
        view: Option<&NamedView>,
        version: Version,
        client: Option<&str>,
    ) -> String {
        let mut nonce = [0; NONCE_BYTES];
        rand::fill(&mut nonce).expect("the system has random bytes");
        let expires = Timestamp::now() + LIFETIME;
        let mut content = Vec::with_capacity(128);
        content.push(version.code());
        content.extend_from_slice(&nonce);
        content.extend_from_slice(&expires.as_second().to_be_bytes());
        content.extend_from_slice(&digest_of(principal, view));
        content.extend_from_slice(client.unwrap_or_default().as_bytes());
        self.sealer.seal(&content)
    }

    /// The session that `id` stands for, when it is `principal`'s in this view, still valid and not ended.
    pub(super) fn open(&self, id: &str, principal: &Principal, view: Option<&NamedView>) -> Option<Session> {
        let content = self.sealer.open(id)?;
        let (&version, rest) = content.split_first()?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let (expires, rest) = rest.split_first_chunk::<8>()?;
        let (owner, client) = rest.split_first_chunk::<PRINCIPAL_BYTES>()?;
        let expires = Timestamp::from_second(i64::from_be_bytes(*expires)).ok()?;
        let is_valid = *owner == digest_of(principal, view)
            && Timestamp::now() < expires
            && !lock(&self.ended).nonces.contains(nonce);
        let client = std::str::from_utf8(client).ok().filter(|client| !client.is_empty()).map(Into::into);
        let version = Version::of_code(version)?;
        is_valid.then_some(Session { version, client, nonce: *nonce, expires })
    }

    /// Ends a session: its id is not accepted again, its requests and streams stop.
    pub(super) fn end(&self, session: &Session) {
        let mut ended = lock(&self.ended);
        if ended.nonces.insert(session.nonce) {
            ended.order.push_back(session.nonce);
        }
        if ended.order.len() > TOMBSTONES_MAX
            && let Some(oldest) = ended.order.pop_front()
        {
            ended.nonces.remove(&oldest);
        }
        drop(ended);
        lock(&self.running)
            .iter()
            .filter(|((nonce, _), _)| *nonce == session.nonce)
            .for_each(|(_, control)| control.withdraw());
        self.streams.close(&session.nonce);
    }

    /// Lets the session's own `notifications/cancelled` find a request while it runs.
    pub(super) fn register(&self, session: &Session, request_id: &str, control: &Control) -> Registration {
        let key = (session.nonce, Box::from(request_id));
        lock(&self.running).insert(key.clone(), control.clone());
        Registration { key, control: control.clone(), running: self.running.clone() }
    }

    /// Withdraws a running request of the session. One that has ended already is no longer found, which is as good.
    pub(super) fn cancel(&self, session: &Session, request_id: &str) {
        let control = lock(&self.running).get(&(session.nonce, Box::from(request_id))).cloned();
        if let Some(control) = control {
            control.withdraw();
        }
    }
}

impl Session {
    /// Whether the session's id is still accepted.
    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        now >= self.expires
    }
}

/// A running request that can be found; forgotten when dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    key: (Nonce, Box<str>),
    control: Control,
    running: Requests,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut running = lock(&self.running);
        // A client may have used the id again while this call went on without its connection.
        if running.get(&self.key).is_some_and(|control| control.is(&self.control)) {
            running.remove(&self.key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn digest_of(principal: &Principal, view: Option<&NamedView>) -> [u8; PRINCIPAL_BYTES] {
    let mut hashed = digest::Context::new(&digest::SHA256);
    let view = view.map(|view| &view.name);
    for part in [Some(&principal.issuer), Some(&principal.subject), principal.tenant.as_ref(), view] {
        // Length before content, and no tenant is another than an empty one: no two sets of parts share the bytes.
        hashed.update(&part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
        hashed.update(part.map_or(b"", |part| part.as_bytes()));
    }
    hashed.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use adapters::{Caller, Principal};

    use super::Sessions;
    use crate::{mcp::Version, seal::Sealer};

    fn principal(subject: &str, tenant: Option<&str>) -> Principal {
        Principal { subject: subject.into(), tenant: tenant.map(Into::into), ..Caller::local(&[]).principal }
    }

    #[test]
    fn a_session_is_its_owners_alone_and_ends_for_good() {
        let sessions = Sessions::new(Sealer::new(b"0123456789abcdef0123456789abcdef", "session"));
        let (ann, bob) = (principal("ann", None), principal("bob", None));
        let id = sessions.begin(&ann, None, Version::V2025_06_18, Some("client 1"));
        let session = sessions.open(&id, &ann, None).expect("her own session");
        assert_eq!((session.version, session.client.as_deref()), (Version::V2025_06_18, Some("client 1")));
        for other in [bob, principal("ann", Some("")), principal("ann", Some("acme")), principal("", None)] {
            assert!(sessions.open(&id, &other, None).is_none(), "{other:?}");
        }
        let another =
            sessions.open(&sessions.begin(&ann, None, Version::V2025_06_18, None), &ann, None).expect("a session");
        sessions.end(&session);
        assert!(sessions.open(&id, &ann, None).is_none());
        assert!(!another.has_expired(jiff::Timestamp::now()));
    }

    #[test]
    fn another_replica_with_the_same_master_opens_it() {
        let master = b"0123456789abcdef0123456789abcdef";
        let (one, two) = (Sessions::new(Sealer::new(master, "session")), Sessions::new(Sealer::new(master, "session")));
        let ann = principal("ann", None);
        assert!(two.open(&one.begin(&ann, None, Version::V2025_11_25, None), &ann, None).is_some());
    }
}
