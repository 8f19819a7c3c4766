use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use proptest::prelude::*;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{sync::Semaphore, time::Instant};

use super::{HOLDERS_MAX, Issue, Issued, NoCredential, Owner, Shown, Token, Tokens, renewed_after};
use crate::{Deadline, Principal};

/// An authorization server that gives `token-of-<subject>-<number>`, counts, and may be held up or say no.
struct Server {
    asked: AtomicUsize,
    lifetime: Mutex<Duration>,
    /// A permit for each answer.
    answers: Semaphore,
    refuses: Mutex<Option<NoCredential>>,
}

impl Server {
    fn new(lifetime: Duration, answers: usize) -> Arc<Self> {
        let (asked, answers) = (AtomicUsize::new(0), Semaphore::new(answers));
        Arc::new(Self { asked, lifetime: Mutex::new(lifetime), answers, refuses: Mutex::default() })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Issue for Arc<Server> {
    fn issue(&self, subject: Option<Arc<SecretString>>) -> BoxFuture<'_, Result<Issued, NoCredential>> {
        async move {
            let number = self.asked.fetch_add(1, Ordering::SeqCst);
            self.answers.acquire().await.expect("it is open").forget();
            if let Some(failure) = self.refuses.lock().expect("no test panics with it").clone() {
                return Err(failure);
            }
            let subject = subject.as_ref().map_or("weir", |subject| subject.expose_secret());
            let shown = Shown::bearer(format!("token-of-{subject}-{number}").into()).expect("a header");
            Ok(Issued { shown, lifetime: *self.lifetime.lock().expect("no test panics with it") })
        }
        .boxed()
    }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

fn owner(subject: &str) -> Owner {
    Owner::of(&Principal { issuer: "i".into(), subject: subject.into(), tenant: None })
}

fn shown(token: &Token) -> String {
    let mut headers = http::HeaderMap::new();
    token.shown.add_to(&mut headers);
    headers["authorization"].to_str().expect("ASCII").to_owned()
}

async fn own(tokens: &Arc<Tokens>) -> Result<String, NoCredential> {
    tokens.token(None, None, soon()).await.map(|token| shown(&token))
}

#[tokio::test(start_paused = true)]
async fn a_hundred_who_need_a_token_at_once_ask_for_it_once() {
    let server = Server::new(Duration::from_secs(600), 1);
    let tokens = Tokens::new(Arc::new(Arc::clone(&server)));
    let waiting = (0..100).map(|_| own(&tokens));
    for token in futures_util::future::join_all(waiting).await {
        assert_eq!(token.expect("a token"), "Bearer token-of-weir-0");
    }
    assert_eq!(server.asked(), 1);

    // The same at its end.
    server.answers.add_permits(9);
    tokio::time::advance(Duration::from_secs(600)).await;
    let waiting = (0..100).map(|_| own(&tokens));
    for token in futures_util::future::join_all(waiting).await {
        assert_eq!(token.expect("a token"), "Bearer token-of-weir-1");
    }
    assert_eq!(server.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_ends_while_the_old_one_is_shown() {
    let server = Server::new(Duration::from_secs(600), 9);
    let tokens = Tokens::new(Arc::new(Arc::clone(&server)));
    assert_eq!(own(&tokens).await.expect("a token"), "Bearer token-of-weir-0");
    tokio::time::advance(Duration::from_secs(479)).await;
    assert_eq!(own(&tokens).await.expect("a token"), "Bearer token-of-weir-0");
    assert_eq!(server.asked(), 1, "it is good for long");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(own(&tokens).await.expect("a token"), "Bearer token-of-weir-0", "nobody waits for the new one");
    while own(&tokens).await.expect("a token") != "Bearer token-of-weir-1" {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_takes_nothing_away_before_the_end() {
    let server = Server::new(Duration::from_secs(600), 99);
    let tokens = Tokens::new(Arc::new(Arc::clone(&server)));
    own(&tokens).await.expect("a token");
    *server.refuses.lock().expect("free") = Some(NoCredential::unanswered("away"));
    tokio::time::advance(Duration::from_secs(500)).await;
    for _ in 0..10 {
        assert_eq!(own(&tokens).await.expect("a token"), "Bearer token-of-weir-0");
        tokio::task::yield_now().await;
    }
    assert_eq!(server.asked(), 2, "it is not asked again at once");
    tokio::time::advance(Duration::from_secs(100)).await;
    own(&tokens).await.expect_err("it ended");
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_nothing_is_asked_for_a_while_that_grows() {
    let server = Server::new(Duration::from_secs(600), 99);
    *server.refuses.lock().expect("free") = Some(NoCredential::refused("no"));
    let tokens = Tokens::new(Arc::new(Arc::clone(&server)));
    for asked in 1..=8 {
        let wait = own(&tokens).await.expect_err("no").retry_after.expect("a wait");
        assert_eq!(server.asked(), asked);
        for _ in 0..5 {
            own(&tokens).await.expect_err("no");
        }
        assert_eq!(server.asked(), asked, "what was refused is not asked for again at once");
        assert_eq!(wait, Duration::from_millis(500 << (asked - 1)).min(Duration::from_secs(30)));
        tokio::time::advance(wait).await;
    }
    *server.refuses.lock().expect("free") = None;
    own(&tokens).await.expect("a token");

    let after = Some(Duration::from_secs(20));
    *server.refuses.lock().expect("free") = Some(NoCredential::unanswered("busy").after(after));
    tokio::time::advance(Duration::from_secs(600)).await;
    assert_eq!(own(&tokens).await.expect_err("busy").retry_after, after, "what the server asks for is heeded");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_replaced_once_and_not_at_once() {
    let server = Server::new(Duration::from_secs(600), 99);
    let tokens = Tokens::new(Arc::new(Arc::clone(&server)));
    let first = tokens.token(None, None, soon()).await.expect("a token");
    assert!(!tokens.refused(None, &first), "one that was just issued is not the reason");
    tokio::time::advance(Duration::from_secs(11)).await;
    assert!(tokens.refused(None, &first));
    assert!(tokens.refused(None, &first), "the second one who had it shares the new one");
    let second = tokens.token(None, None, soon()).await.expect("a token");
    assert_eq!(shown(&second), "Bearer token-of-weir-1");
    assert!(tokens.refused(None, &first), "the new one is there");
    assert_eq!(shown(&tokens.token(None, None, soon()).await.expect("a token")), "Bearer token-of-weir-1");
    assert_eq!(server.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_outlives_whoever_began_it() {
    let server = Server::new(Duration::from_secs(600), 0);
    let tokens = Tokens::new(Arc::new(Arc::clone(&server)));
    let given_up = tokens.token(None, None, Deadline::after(Duration::from_secs(1))).await;
    assert!(!given_up.expect_err("nobody answered").refused);
    server.answers.add_permits(1);
    assert_eq!(own(&tokens).await.expect("a token"), "Bearer token-of-weir-0");
    assert_eq!(server.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn there_are_never_more_holders_than_permitted() {
    let server = Server::new(Duration::from_secs(600), 3 * HOLDERS_MAX);
    let tokens = Tokens::new(Arc::new(Arc::clone(&server)));
    for number in 0..HOLDERS_MAX + 500 {
        let subject = Arc::new(SecretString::from(number.to_string()));
        let token = tokens.token(Some(owner(&number.to_string())), Some(subject), soon()).await.expect("a token");
        assert!(shown(&token).starts_with(&format!("Bearer token-of-{number}-")));
        assert!(tokens.holders.lock().expect("free").len() <= HOLDERS_MAX);
    }
}

#[test]
fn a_token_is_renewed_at_four_fifths_or_half_a_minute_before_its_end() {
    for (lifetime, expected) in [(3600, 2880), (600, 480), (100, 70), (60, 30), (10, 5), (0, 0)] {
        assert_eq!(renewed_after(Duration::from_secs(lifetime)), Duration::from_secs(expected), "{lifetime}");
    }
}

#[test]
fn one_that_has_ended_is_not_shown() {
    let now = Instant::now();
    for (lifetime, until) in [(3600, 3595), (10, 9), (0, 0)] {
        let issued =
            Issued { shown: Shown::bearer("t".into()).expect("a header"), lifetime: Duration::from_secs(lifetime) };
        assert_eq!(Token::new(issued, now, 0).until, now + Duration::from_secs(until));
    }
}

proptest! {
    /// However calls of several callers follow each other, each gets a token that was given for it.
    #[test]
    fn nobody_gets_another_ones_token(turns in prop::collection::vec((0_u8..6, 0_u8..3, 0_u64..400, any::<bool>()), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("one");
        runtime.block_on(async {
            let server = Server::new(Duration::from_secs(120), 1000);
            let tokens = Tokens::new(Arc::new(Arc::clone(&server)));
            let mut calls = Vec::new();
            for (caller, proof, pause, refused) in turns {
                let subject = format!("{caller}.{proof}");
                let own = Owner { proof: [proof; 32], ..owner(&caller.to_string()) };
                let tokens = Arc::clone(&tokens);
                calls.push(tokio::spawn(async move {
                    let given = Arc::new(SecretString::from(subject.clone()));
                    let token = tokens.token(Some(own.clone()), Some(given), soon()).await.expect("a token");
                    if refused {
                        tokens.refused(Some(own), &token);
                    }
                    (subject, shown(&token))
                }));
                tokio::time::advance(Duration::from_millis(pause * 250)).await;
            }
            for call in calls {
                let (subject, shown) = call.await.expect("it ends");
                assert!(shown.starts_with(&format!("Bearer token-of-{subject}-")), "{subject} got {shown}");
            }
        });
    }
}
