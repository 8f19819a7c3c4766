use std::time::Duration;

use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::Instant,
};

use super::{
    BYTES_PER_WINDOW_UPDATE, Calm, Judge,
    frames::{Frame, Frames, Kind},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

fn frame(kind: Kind, length: usize, ends_stream: bool) -> Frame {
    Frame { kind, length, ends_stream }
}

fn judge() -> Judge {
    Judge { paid_at: Instant::now(), sent_bytes: 0 }
}

#[test]
fn what_asks_for_nothing_is_bounded_and_what_does_is_not() {
    for (frame, is_bounded) in [
        (frame(Kind::Other, 8, false), true),
        (frame(Kind::WindowUpdate, 4, false), true),
        (frame(Kind::Data, 0, false), true),
        (frame(Kind::Data, 127, false), true),
        (frame(Kind::Data, 0, true), false),
        (frame(Kind::Data, 128, false), false),
        (frame(Kind::Headers, 10, false), false),
    ] {
        let (mut judge, now) = (judge(), Instant::now());
        let allowed = (0..10_000).take_while(|_| judge.allows(frame, now)).count();
        assert_eq!(allowed, if is_bounded { 2_000 } else { 10_000 }, "{frame:?}");
        // Two hundred a second are always fine again, once it has been quiet.
        let later = now + Duration::from_secs(60);
        let fine = (0..60_000).all(|each: u64| judge.allows(frame, later + Duration::from_millis(5 * each)));
        assert!(fine, "{frame:?}");
    }
}

#[test]
fn windows_may_be_opened_for_what_was_sent() {
    let (mut judge, now) = (judge(), Instant::now());
    judge.sent(10_000 * usize::try_from(BYTES_PER_WINDOW_UPDATE).expect("it is small"));
    let update = frame(Kind::WindowUpdate, 4, false);
    assert_eq!((0..20_000).take_while(|_| judge.allows(update, now)).count(), 12_000);
}

#[tokio::test(start_paused = true)]
async fn a_flood_ends_the_connection() {
    let (mut caller, router) = tokio::io::duplex(1 << 20);
    let mut calm = Calm::new(router);
    caller.write_all(&[PREFACE, &PING.repeat(2_001)].concat()).await.expect("there is room");
    let ended = calm.read_to_end(&mut Vec::new()).await;
    assert_eq!(ended.expect_err("it goes on").kind(), std::io::ErrorKind::InvalidData);
}

proptest! {
    #[test]
    fn frames_are_found_however_the_bytes_come(
        frames in prop::collection::vec((any::<u8>(), any::<u8>(), 0_usize..40), 0..20),
        cuts in prop::collection::vec(1_usize..30, 1..40),
    ) {
        let mut wire = PREFACE.to_vec();
        for (kind, flags, length) in &frames {
            wire.extend([0, 0, u8::try_from(*length).expect("it is small"), *kind, *flags, 0, 0, 0, 1]);
            wire.extend(std::iter::repeat_n(0xaa, *length));
        }
        let (mut found, mut state, mut rest) = (Vec::new(), Frames::default(), &wire[..]);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            rest = later;
            let goes_on = state.take(now, |frame| {
                found.push((frame.length, frame.ends_stream));
                true
            });
            prop_assert!(goes_on);
        }
        let expected: Vec<_> = frames.iter().map(|(_, flags, length)| (*length, flags & 1 == 1)).collect();
        prop_assert_eq!(found, expected);
    }
}
