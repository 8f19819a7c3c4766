//! Many callers at once, whose answer has to be compared with Redis.

use super::{across::Fleet, *};

const CALLERS: usize = 600;

/// How many scripts were run.
async fn scripts_run(fleet: &Fleet) -> usize {
    let stats = fleet.server.command(&["INFO", "commandstats"]).await.expect("it answers").text().expect("a text");
    let calls = stats.split("cmdstat_evalsha:calls=").nth(1).and_then(|rest| rest.split(',').next());
    calls.map_or(0, |calls| calls.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_about_a_strict_tag_is_compared_with_redis_in_a_few_readings() {
    let (fleet, downstream) = (Fleet::start(1).await, Downstream::shut());
    let cache = &fleet.replicas[0];
    let strict = Ask { tags: Arc::new([Tag::new("weir:all", false), Tag::new("limit:1", true)]), ..ask(1) };
    let crowd = || (0..CALLERS).map(|_| spawn(cache, &downstream, strict.clone())).collect::<Vec<_>>();

    let waiting = crowd();
    until_waiting(cache, 1, CALLERS).await;
    let before = scripts_run(&fleet).await;
    downstream.let_through(100);
    for call in waiting {
        assert!(matches!(short(got(call).await), Short::Fetched(text, _, true) if text == "answer 1"));
    }
    for call in crowd() {
        assert_eq!(short(got(call).await), fresh("answer 1"));
    }
    let run = scripts_run(&fleet).await - before;
    assert!(run < CALLERS / 2, "{run} scripts for {CALLERS} who waited and as many hits");
    assert_eq!(downstream.asked(), 1);
}
