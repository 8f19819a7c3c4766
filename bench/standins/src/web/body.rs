//! Bodies of answers, good ones and spoilt ones.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use tokio_util::sync::CancellationToken;

use super::{Site, Visit};
use crate::random::Random;

pub(super) type Body = BoxBody<Bytes, Infallible>;

const GARBAGE_BYTES: usize = 2_000;
const ENDLESS_CHUNK: &[u8] = &[b' '; 64 << 10];
const TRICKLE_INTERVAL: Duration = Duration::from_secs(1);
/// The head is on its way when the body is asked for, and flushed soon after.
const HEAD_FLUSHED: Duration = Duration::from_millis(50);

pub(super) fn whole(bytes: Bytes) -> Body {
    Full::from(bytes).boxed()
}

/// Other random bytes each time.
pub(super) fn garbage() -> Body {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let mut random = Random::new(NUMBER.fetch_add(1, Ordering::Relaxed), "garbage");
    whole((0..GARBAGE_BYTES).map(|_| random.index(256) as u8).collect::<Vec<_>>().into())
}

pub(super) fn endless(visit: Visit<impl Site>) -> Body {
    streamed(stream::repeat(Bytes::from_static(ENDLESS_CHUNK)), visit)
}

pub(super) fn silent(visit: Visit<impl Site>) -> Body {
    streamed(stream::pending(), visit)
}

pub(super) fn reset(reset: CancellationToken, visit: Visit<impl Site>) -> Body {
    let resetting = stream::once(async move {
        tokio::time::sleep(HEAD_FLUSHED).await;
        reset.cancel();
        std::future::pending().await
    });
    streamed(resetting, visit)
}

pub(super) fn trickle(bytes: Bytes, visit: Visit<impl Site>) -> Body {
    let bytes = stream::unfold(bytes, |mut rest| async move {
        tokio::time::sleep(TRICKLE_INTERVAL).await;
        (!rest.is_empty()).then(|| (rest.split_to(1), rest))
    });
    streamed(bytes, visit)
}

/// A body that holds its visit: a caller who hangs up meanwhile was gone first.
fn streamed<S: Site>(chunks: impl Stream<Item = Bytes> + Send + Sync + 'static, visit: Visit<S>) -> Body {
    let frames = chunks.map(move |chunk| {
        let _held = &visit;
        Ok(Frame::data(chunk))
    });
    BodyExt::boxed(StreamBody::new(frames))
}
