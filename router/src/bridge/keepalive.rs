//! Signs of life for a client that waits: progress notifications while the router has nothing to say.
//!
//! Progress must rise with each notification (MCP 2026-07-28, basic/patterns/progress). What the bridge adds must not get in the way of
//! what the downstream will say, so it rises by a millionth: from 0 before the first real progress, and from the last real value after it,
//! never beyond a total. Should a real value come that is not above what has been said (a first progress of exactly 0), it is held
//! back as a notification, for a value that falls would break the rule; the client loses one message and nothing else.

use std::{
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use adapters::json;
use tokio::time::{Instant, sleep_until};

/// By how much an added progress rises: this part of the last value, or this much near 0.
const STEP: f64 = 1e-6;

/// The progress of one request that its client wants to hear of.
#[derive(Debug)]
pub(super) struct Patience {
    /// The token as JSON.
    token: String,
    /// What is waited for, in the words of the client: the tool, or the method.
    subject: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    started: Instant,
    heard_at: Instant,
    last: f64,
    total: Option<f64>,
    /// Whether the bridge has added progress of its own.
    added: bool,
}

impl Patience {
    pub(super) fn new(token: String, subject: String, now: Instant) -> Self {
        Self {
            token,
            subject,
            state: Mutex::new(State { started: now, heard_at: now, last: 0.0, total: None, added: false }),
        }
    }

    /// Whether this progress token is the request's.
    pub(super) fn is_about(&self, token: &str) -> bool {
        self.token == token || json::unquote(&self.token).is_some_and(|own| json::unquote(token) == Some(own))
    }

    /// Some message came for the request.
    pub(super) fn heard(&self, now: Instant) {
        self.state().heard_at = now;
    }

    /// Real progress came. Says whether the client may be told: not when the bridge has already said as much.
    pub(super) fn admit(&self, progress: f64, total: Option<f64>) -> bool {
        let mut state = self.state();
        let rises = progress > state.last;
        if rises {
            state.last = progress;
        }
        state.total = total;
        // Without an addition of the bridge's own it is the downstream's business whether its progress rises.
        rises || !state.added
    }

    /// Says that the request is still waited for whenever nothing came for `period`.
    pub(super) async fn keep_alive<F: Future<Output = ()>>(
        &self,
        period: Duration,
        mut say: impl FnMut(String) -> F,
    ) -> Infallible {
        loop {
            let due = self.state().heard_at + period;
            sleep_until(due).await;
            let now = Instant::now();
            if now < self.state().heard_at + period {
                continue;
            }
            self.heard(now);
            if let Some(line) = self.sign_of_life(now) {
                say(line).await;
            }
        }
    }

    /// A notification a little further than the last; `None` when that would pass the total, or all that a double can tell apart.
    fn sign_of_life(&self, now: Instant) -> Option<String> {
        let mut state = self.state();
        let next = state.last + STEP * state.last.abs().max(1.0);
        if next <= state.last || !next.is_finite() || state.total.is_some_and(|total| next > total) {
            return None;
        }
        state.last = next;
        state.added = true;
        let waited = now.duration_since(state.started).as_secs();
        let message = json::string(&format!("still waiting for {} ({waited} s)", self.subject));
        let token = &self.token;
        Some(format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{next},"message":{message}}}}}"#
        ))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is complete before anything could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use tokio::time::{Instant, sleep, timeout};

    use super::Patience;

    fn patience() -> Patience {
        Patience::new("\"t\"".into(), "crm__slow".into(), Instant::now())
    }

    fn progress_of(line: &str) -> f64 {
        let message: serde_json::Value = serde_json::from_str(line).expect("JSON");
        message["params"]["progress"].as_f64().expect("a number")
    }

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_come_when_nothing_else_does() {
        let (patience, said, start) = (patience(), Mutex::new(Vec::new()), Instant::now());
        let say = |line| {
            said.lock().expect("no panic").push((start.elapsed().as_secs(), line));
            std::future::ready(())
        };
        let messages = async {
            sleep(Duration::from_secs(40)).await;
            patience.heard(Instant::now());
            sleep(Duration::from_secs(20)).await;
        };
        tokio::select! { _ = patience.keep_alive(Duration::from_secs(15), say) => {}, () = messages => {} }
        let said = said.into_inner().expect("no panic");
        assert_eq!(said.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [15, 30, 55]);
        assert!(said[1].1.contains(r#""message":"still waiting for crm__slow (30 s)""#), "{}", said[1].1);
        assert!(said.windows(2).all(|pair| progress_of(&pair[0].1) < progress_of(&pair[1].1)));
    }

    #[tokio::test(start_paused = true)]
    async fn no_sign_of_life_before_the_period_is_over() {
        let never = patience();
        let early = timeout(
            Duration::from_millis(14_999),
            never.keep_alive(Duration::from_secs(15), |line| async move { panic!("{line}") }),
        );
        early.await.expect_err("it never ends");
    }

    #[tokio::test]
    async fn what_is_added_stays_between_the_real_values() {
        let patience = patience();
        let sign = || patience.sign_of_life(Instant::now()).map(|line| progress_of(&line));
        let first = sign().expect("the first");
        assert!(first > 0.0 && first < 0.000_1);
        assert!(!patience.admit(0.0, Some(100.0)), "it would fall");
        assert!(patience.admit(0.001, Some(100.0)));
        for real in [1.0, 50.0, 99.0] {
            assert!(patience.admit(real, Some(100.0)));
            for _ in 0..1_000 {
                let added = sign().expect("below the total");
                assert!(added > real && added < real + 0.2, "{added}");
            }
        }
        assert!(patience.admit(100.0, Some(100.0)));
        assert_eq!(sign(), None, "beyond the total");
        assert!(patience.admit(1e300, None) && patience.admit(f64::MAX, None));
        assert_eq!(sign(), None, "no double is left");
    }

    #[tokio::test]
    async fn without_additions_every_real_value_passes() {
        let patience = patience();
        for real in [0.0, 5.0, 3.0, 3.0, -1.0] {
            assert!(patience.admit(real, None));
        }
    }
}
