use std::time::Duration;

use proptest::prelude::*;

use super::{Parser, TooLarge};

fn events(parser: &mut Parser) -> Vec<String> {
    std::iter::from_fn(|| parser.next())
        .map(|data| String::from_utf8(data.into()).expect("the tests send text"))
        .collect()
}

fn read(stream: &str) -> (Vec<String>, Parser) {
    let mut parser = Parser::new(10_000);
    parser.push(stream.as_bytes()).expect("the tests send little");
    (events(&mut parser), parser)
}

#[test]
fn events_are_read_as_the_standard_says() {
    let table: &[(&str, &[&str])] = &[
        ("data: {}\n\n", &["{}"]),
        ("data:{}\n\n", &["{}"]),
        ("data:  two spaces\n\n", &[" two spaces"]),
        ("data: a\ndata: b\n\n", &["a\nb"]),
        ("data\ndata\n\n", &["\n"]),
        ("data\n\n", &[]),
        ("data:\n\n", &[]),
        ("\u{feff}data: behind a mark\n\n", &["behind a mark"]),
        ("data: a\r\ndata: b\r\n\r\n", &["a\nb"]),
        ("data: a\rdata: b\r\r", &["a\nb"]),
        ("data: mixed\r\n\ndata: ends\r\rdata: c\n\r\n", &["mixed", "ends", "c"]),
        (": a comment\ndata: 1\n: another\n\n:\n\n", &["1"]),
        ("event: message\ndata: 1\n\nevent: ping\ndata: 2\n\ndata: 3\n\n", &["1", "3"]),
        ("unknown: x\ndata: 1\nwords without colon\n\n", &["1"]),
        ("data: never ended\n", &[]),
        ("data: never ended", &[]),
        ("data: with: colons: inside\n\n", &["with: colons: inside"]),
    ];
    for (stream, expected) in table {
        assert_eq!(read(stream).0, *expected, "{stream:?}");
    }
}

#[test]
fn the_place_to_resume_is_the_last_complete_event_with_an_id() {
    let (_, parser) = read("id: 1\ndata:\n\nid: 2\ndata: x\n\nid: 3\ndata: not complete\n");
    assert_eq!(parser.last_id(), Some("2"));
    let (_, parser) = read("id: 7\ndata:\n\ndata: x\n\n");
    assert_eq!(parser.last_id(), Some("7"), "an event without id leaves the last one");
    let (_, parser) = read("id: 7\n\nid\n\n");
    assert_eq!(parser.last_id(), None, "an empty id takes it back");
    let (_, parser) = read("id: a\0b\n\n");
    assert_eq!(parser.last_id(), None, "an id with NUL is none");
}

#[test]
fn the_wait_before_a_reconnection_is_digits_only() {
    assert_eq!(read("retry: 250\n\n").1.retry(), Some(Duration::from_millis(250)));
    for bad in ["retry: 2.5\n\n", "retry: -1\n\n", "retry:\n\n", "retry: 99999999999999999999999\n\n"] {
        assert_eq!(read(bad).1.retry(), None, "{bad:?}");
    }
}

#[test]
fn an_event_without_end_is_refused_at_the_limit_and_holds_no_more() {
    for field in ["data: ", ": ", "id: ", "data: x\ndata: "] {
        let mut parser = Parser::new(1_000);
        parser.push(field.as_bytes()).expect("the beginning is short");
        let pushed = (0..).find(|_| parser.push(&[b'x'; 100]) == Err(TooLarge)).expect("the limit comes");
        assert!(pushed <= 10, "{field:?}: {pushed} pieces");
        assert!(parser.line.capacity() + parser.data.capacity() <= 4_096);
    }
    let mut parser = Parser::new(1_000);
    for _ in 0..10_000 {
        parser.push(b"data: many small events\n\n").expect("each of them is small");
        assert_eq!(events(&mut parser).len(), 1);
    }
}

proptest! {
    #[test]
    fn cutting_the_stream_anywhere_changes_nothing(
        parts in prop::collection::vec(prop::sample::select(vec![
            "data: {\"a\":1}", "data:", "data: ä€😀", ":", "id: 5", "event: x", "event: message", "retry: 1", "\n", "\r", "\r\n", "\n\n", "\r\r", " ", "x",
            "\u{feff}",
        ]), 0..40),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let stream = parts.concat().into_bytes();
        let mut whole = Parser::new(10_000);
        whole.push(&stream).expect("the tests send little");

        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        places.extend([0, stream.len()]);
        places.sort_unstable();
        let mut pieces = Parser::new(10_000);
        for pair in places.windows(2) {
            pieces.push(&stream[pair[0]..pair[1]]).expect("the tests send little");
        }

        prop_assert_eq!(events(&mut whole), events(&mut pieces));
        prop_assert_eq!(whole.last_id(), pieces.last_id());
        prop_assert_eq!(whole.retry(), pieces.retry());
    }

    #[test]
    fn no_stream_of_bytes_is_too_strange(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..50)) {
        let mut parser = Parser::new(200);
        for piece in &pieces {
            if parser.push(piece).is_err() {
                break;
            }
            while let Some(data) = parser.next() {
                prop_assert!(!data.is_empty() && data.len() <= 200);
            }
        }
    }
}

/// What is held of a stream is little more than its largest event.
#[test]
fn memory_stays_at_the_limit() {
    const LIMIT: usize = 3 << 20;
    for first in ["data: ", "data: a\ndata: ", "id: ", ":"] {
        let mut parser = Parser::new(LIMIT);
        parser.push(first.as_bytes()).expect("it is short");
        while parser.push(&[b'x'; 64 << 10]).is_ok() {}
        let held = parser.line.capacity() + parser.data.capacity();
        assert!(held <= LIMIT + (64 << 10), "{first:?}: {held} bytes");
    }
    let mut parser = Parser::new(LIMIT);
    for _ in 0..3 {
        let long = "x".repeat(LIMIT - 100);
        parser.push(format!("data: {long}\nid: {}\n\n", &long[..50]).as_bytes()).expect("it fits");
        assert!(events(&mut parser) == [long]);
        let kept = parser.line.capacity() + parser.data.capacity();
        assert!(kept <= 64 << 10, "{kept} bytes are kept for the next event");
    }
}

#[test]
fn an_id_that_no_header_should_carry_is_no_place_to_resume() {
    let (_, parser) = read(&format!("id: 1\ndata: x\n\nid: {}\ndata: x\n\n", "9".repeat(2_000)));
    assert_eq!(parser.last_id(), None);
}
