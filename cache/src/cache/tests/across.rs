//! Several replicas on one Redis.

use std::time::Duration;

use secrecy::SecretString;
use standins::redis::{PrivateRedis, RedisOptions};

use super::*;
use crate::{
    redis::{Kind, LinkState, Redis},
    store::tests::names,
    tags::Settled,
};

/// What stands for another time in a test of real time.
pub(super) const LEASE: Duration = Duration::from_millis(900);

/// As many caches as there would be processes, each with a connection of its own.
pub(super) struct Fleet {
    pub(super) server: PrivateRedis,
    pub(super) replicas: Vec<Cache<Outcome>>,
}

impl Fleet {
    pub(super) async fn start(replicas: usize) -> Self {
        Self::with_lease(replicas, SETTINGS.lease).await
    }

    pub(super) async fn with_lease(replicas: usize, lease: Duration) -> Self {
        let server = PrivateRedis::start(RedisOptions::default()).await.expect("redis-server is installed");
        let mut fleet = Self { server, replicas: Vec::new() };
        for _ in 0..replicas {
            let replica = fleet.another(lease).await;
            fleet.replicas.push(replica);
        }
        fleet
    }

    pub(super) async fn another(&self, lease: Duration) -> Cache<Outcome> {
        replica(self.server.url(), lease).await
    }

    /// The keys of Redis under which a value and its lease are.
    pub(super) fn names(&self, call: usize) -> [String; 2] {
        names(self.replicas[0].redis().expect("it has one"), &key(call))
    }

    pub(super) async fn exists(&self, name: &str) -> bool {
        self.server.command(&["EXISTS", name]).await.expect("it answers").integer().expect("a number") == 1
    }
}

pub(super) async fn replica(url: String, lease: Duration) -> Cache<Outcome> {
    let redis = Redis::new(crate::redis::Settings {
        kind: Kind::Single,
        url: SecretString::from(url),
        prefix: "test".to_owned(),
        connect_timeout: Duration::from_secs(1),
        command_timeout: Duration::from_secs(2),
        value_timeout: Duration::from_secs(5),
    })
    .expect("the address is right");
    let mut changes = redis.link_changes();
    changes.wait_for(|link| link.state == LinkState::Up).await.expect("the handle is there");
    let tags = Tags::shared(redis.clone(), 1_000, Duration::from_millis(100));
    Cache::new(Settings { lease, ..SETTINGS }, tags, Some(redis), sealer())
}

fn shared(text: &str) -> Short {
    Short::Cached(text.to_owned(), Tier::Shared, State::Fresh)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_fetch_serves_all_replicas() {
    let (fleet, downstream) = (Fleet::start(3).await, Downstream::shut());
    let calls: Vec<_> = (0..300).map(|call| spawn(&fleet.replicas[call % 3], &downstream, ask(1))).collect();
    for replica in &fleet.replicas {
        until_waiting(replica, 1, 100).await;
    }
    until("the others wait", || fleet.replicas.iter().map(|cache| cache.figures().lease_waits).sum::<u64>() == 2).await;
    downstream.let_through(10);
    let mut starters = 0;
    for call in calls {
        match short(got(call).await) {
            Short::Fetched(value, seat, true) => {
                starters += usize::from(seat == Seat::Starter);
                assert_eq!(value, "answer 1");
            }
            served => assert_eq!(served, shared("answer 1")),
        }
    }
    assert_eq!((starters, downstream.asked()), (1, 1));
    for replica in &fleet.replicas {
        assert_eq!(short(serve(replica, &downstream, ask(1)).await), fresh("answer 1"));
    }
    assert!(!fleet.exists(&fleet.names(1)[1]).await, "the lease is over");
}

#[tokio::test]
async fn what_one_replica_fetched_another_finds_and_it_is_not_in_the_clear() {
    let (fleet, downstream) = (Fleet::start(2).await, Downstream::open());
    serve(&fleet.replicas[0], &downstream, ask(1)).await;
    let looked = fleet.replicas[1].look(&ask(1)).await.expect("it is there");
    assert_eq!((looked.tier, &looked.value[..]), (Tier::Shared, &b"answer 1"[..]));
    assert_eq!(short(serve(&fleet.replicas[1], &downstream, ask(1)).await), shared("answer 1"));
    assert_eq!(downstream.asked(), 1);
    let value = fleet.server.command(&["GETRANGE", &fleet.names(1)[0], "0", "-1"]).await.expect("it answers");
    assert!(!format!("{value:?}").contains("answer"));
}

#[tokio::test]
async fn what_is_held_here_is_not_given_up_for_something_older_in_redis() {
    let (fleet, downstream) = (Fleet::start(1).await, Downstream::open());
    let (cache, [value_name, _]) = (&fleet.replicas[0], fleet.names(1));
    serve(cache, &downstream, ask(1)).await;
    let older = fleet.server.command(&["GETRANGE", &value_name, "0", "-1"]).await.expect("it answers");
    let standins::redis::Reply::Bytes(older) = older else { panic!("it is stored: {older:?}") };
    fleet.server.command(&["DEL", &value_name]).await.expect("it answers");
    cache.inner.local.clear();
    assert_eq!(short(serve(cache, &downstream, ask(1)).await), fetched("answer 2"));
    // As when Redis did not answer to the second one.
    fleet.server.command(&[b"SET", value_name.as_bytes(), &older]).await.expect("it answers");
    downstream.now(Does::Fail);
    let in_need = Contract { fresh_for_ms: 0, stale_while_refreshing_ms: 0, ..CONTRACT };
    for _ in 0..2 {
        let served = short(serve(cache, &downstream, Ask { contract: in_need, ..ask(1) }).await);
        assert!(matches!(&served, Short::Instead(text, State::StaleOnError, _) if text == "answer 2"), "{served:?}");
    }
}

#[tokio::test]
async fn a_large_value_comes_back_as_it_was() {
    let fleet = Fleet::start(2).await;
    let value: Bytes = (0..SETTINGS.value_bytes_max).map(|at| ((at * at) >> 7) as u8).collect::<Vec<_>>().into();
    let fetch = {
        let value = value.clone();
        move || {
            let value = value.clone();
            async move { Fetched::Answer { value, found: Found::Found, tags: Vec::new() } }
        }
    };
    fleet.replicas[0].serve(ask(1), fetch.clone()).await;
    let Served::Cached(cached) = fleet.replicas[1].serve(ask(1), fetch).await else { panic!("it is stored") };
    assert!(cached.value == value && cached.tier == Tier::Shared);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_reaches_those_who_wait_elsewhere_and_nobody_tries_again() {
    for does in [Does::Fail, Does::Share] {
        let (fleet, downstream) = (Fleet::start(2).await, Downstream::shut());
        downstream.now(does);
        let calls: Vec<_> = (0..20).map(|call| spawn(&fleet.replicas[call % 2], &downstream, ask(1))).collect();
        until("one waits", || fleet.replicas.iter().map(|cache| cache.figures().lease_waits).sum::<u64>() == 1).await;
        for replica in &fleet.replicas {
            until_waiting(replica, 1, 10).await;
        }
        downstream.let_through(10);
        let mut starters = 0;
        for call in calls {
            let Short::Passed(outcome, seat) = short(got(call).await) else { panic!("nothing is stored") };
            assert_eq!(outcome, "outcome 1");
            starters += usize::from(seat == Seat::Starter);
        }
        assert_eq!((starters, downstream.asked()), (1, 1));
        // Who comes after that asks anew.
        downstream.now(Does::Answer);
        assert_eq!(short(serve(&fleet.replicas[1], &downstream, ask(1)).await), fetched("answer 2"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_for_one_caller_sends_the_others_to_fetch_for_themselves_at_once() {
    let (fleet, downstream) = (Fleet::start(2).await, Downstream::shut());
    downstream.now(Does::AskBack);
    let first = spawn(&fleet.replicas[0], &downstream, ask(1));
    until("it is asked", || downstream.asked() == 1).await;
    let others: Vec<_> = (0..5).map(|_| spawn(&fleet.replicas[1], &downstream, ask(1))).collect();
    until("the other waits", || fleet.replicas[1].figures().lease_waits == 1).await;
    until_waiting(&fleet.replicas[1], 1, 5).await;
    downstream.let_through(1);
    assert_eq!(short(got(first).await), passed("outcome 1", Seat::Starter));
    until("each of them asks", || downstream.asked() == 6).await;
    downstream.let_through(5);
    for call in others {
        assert!(matches!(short(got(call).await), Short::Passed(..)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_kept_is_still_handed_to_those_who_wait_elsewhere() {
    let (fleet, downstream) = (Fleet::start(2).await, Downstream::shut());
    downstream.now(Does::NotFound);
    let unkept = || Ask { contract: Contract { not_found_for_ms: 0, ..CONTRACT }, ..ask(1) };
    let first = spawn(&fleet.replicas[0], &downstream, unkept());
    until("it is asked", || downstream.asked() == 1).await;
    let other = spawn(&fleet.replicas[1], &downstream, unkept());
    until("the other waits", || fleet.replicas[1].figures().lease_waits == 1).await;
    downstream.let_through(1);
    for call in [first, other] {
        let Served::Fetched { value, found: Found::NotFound, stored: false, .. } = got(call).await else {
            panic!("it is not kept");
        };
        assert_eq!(&value[..], b"nothing 1");
    }
    assert!(!fleet.exists(&fleet.names(1)[0]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_write_is_under_way_no_replica_waits_for_what_it_could_not_be_given() {
    let (fleet, downstream) = (Fleet::start(2).await, Downstream::shut());
    let tags = [Tag::new("weir:all", false)];
    let write = fleet.replicas[1].tags().begin(&tags, &[], Duration::from_secs(60)).await.expect("Redis is there");
    let calls = [0, 1].map(|replica: usize| spawn(&fleet.replicas[replica], &downstream, ask(1)));
    until("both ask", || downstream.asked() == 2).await;
    downstream.let_through(2);
    for call in calls {
        assert!(matches!(short(got(call).await), Short::Fetched(_, Seat::Starter, false)));
    }
    let _everywhere = write.end(&[], Settled::Yes).await;
    downstream.let_through(1);
    assert_eq!(short(serve(&fleet.replicas[0], &downstream, ask(1)).await), fetched("answer 3"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_renewed_for_as_long_as_the_fetch_takes() {
    let fleet = Fleet::with_lease(2, LEASE).await;
    let downstream = Downstream { takes: 3 * LEASE, ..Downstream::open() };
    let first = spawn(&fleet.replicas[0], &downstream, ask(1));
    until("it is asked", || downstream.asked() == 1).await;
    assert_eq!(short(serve(&fleet.replicas[1], &downstream, ask(1)).await), shared("answer 1"));
    assert_eq!(short(got(first).await), fetched("answer 1"));
    assert_eq!((downstream.asked(), fleet.replicas[1].figures().take_overs), (1, 0));
}

#[test]
fn a_holder_that_dies_is_followed_within_its_lease() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let (dying, living) = (runtime().expect("a runtime"), runtime().expect("a runtime"));
    let downstream = Downstream::shut();
    let fleet = living.block_on(Fleet::with_lease(1, LEASE));
    let url = fleet.server.url();
    dying.block_on(async {
        let doomed = replica(url, LEASE).await;
        let _call = spawn(&doomed, &downstream, ask(1));
        until("it is asked", || downstream.asked() == 1).await;
    });
    living.block_on(async {
        let call = spawn(&fleet.replicas[0], &downstream, ask(1));
        until("the other waits", || fleet.replicas[0].figures().lease_waits == 1).await;
        let killed = std::time::Instant::now();
        dying.shutdown_background();
        until("the other asks", || downstream.asked() == 2).await;
        // Half a second for a machine with other things to do.
        assert!(killed.elapsed() < LEASE + Duration::from_millis(500), "{:?}", killed.elapsed());
        downstream.let_through(2);
        assert_eq!(short(got(call).await), fetched("answer 2"));
        assert_eq!(fleet.replicas[0].figures().take_overs, 1);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_the_lease_stores_nothing() {
    let (fleet, downstream) = (Fleet::start(2).await, Downstream::shut());
    let slow = spawn(&fleet.replicas[0], &downstream, ask(1));
    until("it is asked", || downstream.asked() == 1).await;
    let [value_name, lease_name] = fleet.names(1);
    fleet.server.command(&["DEL", &lease_name]).await.expect("it answers");
    let quick = Downstream::open();
    let taken = spawn(&fleet.replicas[1], &quick, ask(1));
    assert_eq!(short(got(taken).await), fetched("answer 1"));
    let stored = fleet.server.command(&["GETRANGE", &value_name, "0", "-1"]).await.expect("it answers");
    downstream.let_through(1);
    assert_eq!(short(got(slow).await), Short::Fetched("answer 1".to_owned(), Seat::Starter, false));
    assert_eq!(fleet.replicas[0].figures().refused_commits, 1);
    let now = fleet.server.command(&["GETRANGE", &value_name, "0", "-1"]).await.expect("it answers");
    assert_eq!(format!("{now:?}"), format!("{stored:?}"));
    // Neither here: from now on all replicas serve what the other stored.
    assert_eq!(short(serve(&fleet.replicas[0], &downstream, ask(1)).await), shared("answer 1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_ends_hands_its_lease_back() {
    let (fleet, downstream) = (Fleet::start(2).await, Downstream::shut());
    let dropped = spawn(&fleet.replicas[0], &downstream, ask(1));
    until("it is asked", || downstream.asked() == 1).await;
    let waits = spawn(&fleet.replicas[1], &downstream, ask(1));
    until("the other waits", || fleet.replicas[1].figures().lease_waits == 1).await;
    fleet.replicas[0].finish(Duration::ZERO).await;
    let ended = std::time::Instant::now();
    until("the other asks", || downstream.asked() == 2).await;
    assert!(ended.elapsed() < SETTINGS.lease / 4, "{:?}", ended.elapsed());
    downstream.let_through(2);
    assert_eq!(short(got(waits).await), fetched("answer 2"));
    assert!(matches!(got(dropped).await, Served::Nothing(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_value_is_fetched_anew_by_one_replica() {
    let (fleet, downstream) = (Fleet::start(3).await, Downstream::open());
    // What was stored under a stricter contract is stale to all of them soon.
    let brief = Ask { contract: Contract { fresh_for_ms: 5, ..CONTRACT }, ..ask(1) };
    serve(&fleet.replicas[0], &downstream, brief).await;
    let stale_from_ms = fleet.replicas[0].clock().now_ms() + 100;
    until("it is stale", || fleet.replicas.iter().all(|cache| cache.clock().now_ms() >= stale_from_ms)).await;
    let shut = Downstream::shut();
    for replica in &fleet.replicas {
        let served = serve(replica, &shut, ask(1)).await;
        let Served::Cached(cached) = served else { panic!("it is stale, not gone") };
        assert_eq!((cached.state, &cached.value[..]), (State::StaleWhileRefreshing, &b"answer 1"[..]));
    }
    until("the others wait", || fleet.replicas.iter().map(|cache| cache.figures().lease_waits).sum::<u64>() == 2).await;
    shut.let_through(1);
    for replica in &fleet.replicas {
        until_waiting(replica, 0, 0).await;
    }
    assert_eq!(shut.asked(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_replica_stored_is_served_in_need() {
    let (fleet, downstream) = (Fleet::start(3).await, Downstream::open());
    let brief = Contract { fresh_for_ms: 5, stale_while_refreshing_ms: 0, ..CONTRACT };
    let ask = || Ask { contract: brief, ..ask(1) };
    serve(&fleet.replicas[0], &downstream, ask()).await;
    let stale_from_ms = fleet.replicas[0].clock().now_ms() + 100;
    until("it is stale", || fleet.replicas.iter().all(|cache| cache.clock().now_ms() >= stale_from_ms)).await;

    let patient = Ask { stale_after_waiting: Some(Duration::from_millis(50)), ..ask() };
    let shut = Downstream::shut();
    let served = short(serve(&fleet.replicas[1], &shut, patient).await);
    assert!(matches!(served, Short::Cached(value, _, State::StaleAfterWaiting) if value == "answer 1"));

    let failing = Downstream::shut();
    failing.now(Does::Fail);
    shut.now(Does::Fail);
    let waits = spawn(&fleet.replicas[2], &failing, ask());
    until("the other waits", || fleet.replicas[2].figures().lease_waits == 1).await;
    shut.let_through(1);
    let instead = Short::Instead("answer 1".to_owned(), State::StaleOnError, Outcome("outcome 1".to_owned()));
    assert_eq!((short(got(waits).await), failing.asked()), (instead, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_to_be_stale_does_not_come_over_again() {
    const VALUE_BYTES: usize = 512 * 1024;
    let fleet = Fleet::start(1).await;
    let brief = Contract { fresh_for_ms: 5, stale_while_refreshing_ms: 0, ..CONTRACT };
    let ask = || Ask { contract: brief, ..ask(1) };
    let mut value = vec![0; VALUE_BYTES];
    aws_lc_rs::rand::fill(&mut value).expect("the system has random bytes");
    let value = Bytes::from(value);
    let fetch = move || {
        let value = value.clone();
        async move { Fetched::Answer { value, found: Found::Found, tags: Vec::new() } }
    };
    fleet.replicas[0].serve(ask(), fetch).await;
    let stale_from_ms = fleet.replicas[0].clock().now_ms() + 100;
    until("it is stale", || fleet.replicas[0].clock().now_ms() >= stale_from_ms).await;
    let sent = async || -> usize {
        let sent = fleet.server.info("total_net_output_bytes").await.expect("it answers");
        sent.parse().expect("a number")
    };
    let before = sent().await;
    let failing = Downstream::open();
    failing.now(Does::Fail);
    for _ in 0..10 {
        let served = serve(&fleet.replicas[0], &failing, ask()).await;
        assert!(matches!(served, Served::Cached(Cached { state: State::StaleOnError, .. })), "{served:?}");
    }
    assert_eq!(failing.asked(), 10);
    assert!(sent().await - before < VALUE_BYTES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_replica_changed_no_other_serves_any_more() {
    let (fleet, downstream) = (Fleet::start(2).await, Downstream::open());
    let strict = || Ask { tags: Arc::new([Tag::new("customer:1", true)]), ..ask(1) };
    for round in 1..=50 {
        let before = format!("answer {}", downstream.asked());
        for replica in &fleet.replicas {
            let Served::Nothing(_) = serve(replica, &downstream, strict()).await else { continue };
            panic!("it is served");
        }
        let _everywhere = fleet.replicas[round % 2].tags().raise(&[Tag::new("customer:1", true)]).await;
        for replica in &fleet.replicas {
            let (Served::Fetched { value, .. } | Served::Cached(Cached { value, .. })) =
                serve(replica, &downstream, strict()).await
            else {
                panic!("it is served");
            };
            assert_ne!(&value[..], before.as_bytes());
        }
    }
}
