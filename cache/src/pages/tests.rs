use std::time::Duration;

use bytes::Bytes;

use super::{Pages, Settings, TooLarge};
use crate::Sealer;

const LONG: Duration = Duration::from_secs(300);

fn pages(lifetime: Duration) -> Pages {
    let settings = Settings { lifetime, answer_bytes_max: 1000, answer_pages_max: 3, local_bytes_max: 100_000 };
    Pages::new(settings, None, Sealer::new(&[7; 32], &[], settings.answer_bytes_max))
}

/// Keeps these pages for an owner and gives their handles.
async fn kept(pages: &Pages, owner: &[u8], texts: &[&'static str]) -> Result<Vec<String>, TooLarge> {
    let handles = pages.handles(owner, &[texts.concat().as_bytes()], texts.len());
    let shown = handles.iter().map(ToString::to_string).collect();
    let bytes = texts.iter().map(|text| Bytes::from_static(text.as_bytes()));
    pages.keep(owner, handles.into_iter().zip(bytes).collect()).await.map(|()| shown)
}

async fn found(pages: &Pages, owner: &[u8], handle: &str) -> Option<Bytes> {
    pages.find(owner, handle).await.expect("there is no Redis that could be gone")
}

#[tokio::test]
async fn a_page_is_found_by_its_owner_alone_as_often_as_it_asks() {
    let pages = pages(LONG);
    let handles = kept(&pages, b"ann", &["two", "three"]).await.expect("kept");
    for _ in 0..2 {
        assert_eq!(found(&pages, b"ann", &handles[0]).await.as_deref(), Some(&b"two"[..]));
        assert_eq!(found(&pages, b"ann", &handles[1]).await.as_deref(), Some(&b"three"[..]));
    }
    assert_eq!(found(&pages, b"bob", &handles[0]).await, None);
    assert_eq!(found(&pages, b"", &handles[0]).await, None);
    let mixed = format!("{}{}", &handles[0][..16], &handles[1][16..]);
    for unknown in ["", "x", "AAAA", &handles[0][1..], &"A".repeat(32), &format!("{}=", handles[0]), "not base64!"] {
        assert_eq!(found(&pages, b"ann", unknown).await, None, "{unknown}");
    }
    assert_eq!(
        found(&pages, b"ann", &mixed).await.as_deref(),
        Some(&b"three"[..]),
        "it is the second page's own handle"
    );
}

#[tokio::test]
async fn a_page_is_gone_when_its_time_is_over() {
    let pages = pages(Duration::from_millis(40));
    let before = pages.clock.now_ms();
    let handles = kept(&pages, b"ann", &["two"]).await.expect("kept");
    let mut seen = 0;
    while found(&pages, b"ann", &handles[0]).await.is_some() {
        seen += 1;
        tokio::task::yield_now().await;
    }
    assert!(seen > 0 && pages.clock.now_ms() >= before + 40);
}

#[tokio::test]
async fn an_answer_is_kept_as_a_whole_or_not_at_all() {
    let pages = pages(LONG);
    let large: &'static str = "x".repeat(999).leak();
    assert!(kept(&pages, b"ann", &[large, "y"]).await.is_ok());
    assert_eq!(kept(&pages, b"ann", &[large, "yy"]).await, Err(TooLarge));
    assert_eq!(kept(&pages, b"ann", &["1", "2", "3", "4"]).await, Err(TooLarge));
}

#[tokio::test]
async fn handles_say_nothing() {
    let pages = pages(LONG);
    let handles = pages.handles(b"ann", &[b"answer"], 2);
    assert!(handles[0].to_string().len() == 32 && handles[0] != handles[1]);
    assert!(handles == pages.handles(b"ann", &[b"answer"], 2), "the same answer takes no more room");
    for other in [
        pages.handles(b"bob", &[b"answer"], 1),
        pages.handles(b"ann", &[b"another"], 1),
        pages.handles(b"anna", &[b"nswer"], 1),
        pages.handles(b"ann", &[b"ans", b"wer"], 1),
        self::pages(LONG).handles(b"ann", &[b"answer"], 1),
    ] {
        assert_ne!(handles[0].to_string()[..8], other[0].to_string()[..8]);
    }
    assert_eq!(format!("{:?}", handles[0]), "Handle(…)");
    assert!(!handles[0].place().contains(&handles[0].to_string()[..8]));
}

#[tokio::test]
async fn where_room_runs_short_the_pages_that_are_read_stay() {
    let pages = pages(LONG);
    let read = kept(&pages, b"ann", &["read"]).await.expect("kept");
    let unread = kept(&pages, b"ann", &["unread"]).await.expect("kept");
    for number in 0..1000_u32 {
        let text: &'static str = format!("{number}{}", "x".repeat(900)).leak();
        let flood = kept(&pages, b"bob", &[text]).await.expect("kept");
        assert_eq!(found(&pages, b"bob", &flood[0]).await.as_deref(), Some(text.as_bytes()), "the newest is there");
        assert!(found(&pages, b"ann", &read[0]).await.is_some(), "{number}");
    }
    assert_eq!(found(&pages, b"ann", &unread[0]).await, None);
    let bytes = pages.local.holding().bytes;
    assert!(bytes <= pages.settings.local_bytes_max, "{bytes}");
}
