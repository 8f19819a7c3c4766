//! Bodies of answers, and reading bodies of requests.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream::BoxStream};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The body of an answer: pieces that are there, or pieces that come.
pub enum Body {
    /// The whole answer, in pieces that are written one after the other without being copied together.
    Whole(VecDeque<Bytes>),
    /// Pieces as they come.
    Stream(BoxStream<'static, Bytes>),
}

impl Body {
    /// No bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::Whole(VecDeque::new())
    }

    /// Pieces as they come.
    pub fn stream(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self::Stream(pieces.boxed())
    }

    /// Pieces that make up the whole. Small ones become one.
    #[must_use]
    pub fn pieces(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        const COPIED_BYTES_MAX: usize = 16 << 10;
        let pieces: VecDeque<Bytes> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        let total: usize = pieces.iter().map(Bytes::len).sum();
        if pieces.len() <= 1 || total > COPIED_BYTES_MAX {
            return Self::Whole(pieces);
        }
        let mut one = BytesMut::with_capacity(total);
        pieces.iter().for_each(|piece| one.extend_from_slice(piece));
        Self::Whole(VecDeque::from([one.freeze()]))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::pieces([Bytes::from(text)])
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(pieces) => Poll::Ready(pieces.pop_front().map(|piece| Ok(Frame::data(piece)))),
            Self::Stream(pieces) => pieces.poll_next_unpin(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(pieces) if pieces.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(pieces) => SizeHint::with_exact(pieces.iter().map(|piece| piece.len() as u64).sum()),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(pieces) => write!(f, "Body({} pieces)", pieces.len()),
            Self::Stream(_) => f.write_str("Body(stream)"),
        }
    }
}

/// Why the body of a request was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadError {
    TooLarge,
    TooManyPieces,
    TooSlow,
    Broken,
    NoRoom,
}

/// The memory that large bodies of requests may take together. Small ones need none of it, so that nobody's uploads stand in the way of
/// ordinary calls.
#[derive(Debug)]
pub(crate) struct Room(Arc<Semaphore>);

/// The room that one body takes; none for a small one.
#[derive(Debug)]
struct Place<'a> {
    room: &'a Room,
    taken: Option<OwnedSemaphorePermit>,
}

/// Bodies up to this size are small.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// In how many pieces a body may come: each costs much more work than the byte that it may hold.
const PIECES_MAX: usize = 64 << 10;
/// Large ones are counted in pieces of this size, so that the largest fit a semaphore's count.
const ROOM_UNIT_BYTES: usize = 1 << 10;
/// How many bodies of the largest size fit at once.
const LARGEST_BODIES_MAX: usize = 64;

impl Room {
    pub(crate) fn new(body_bytes_max: usize) -> Self {
        let units = units(body_bytes_max).saturating_mul(LARGEST_BODIES_MAX);
        Self(Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))))
    }
}

impl Place<'_> {
    fn take(&mut self, bytes: usize) -> Result<(), ReadError> {
        if self.taken.is_some() || bytes <= SMALL_BYTES_MAX {
            return Ok(());
        }
        let units = u32::try_from(units(bytes)).map_err(|_| ReadError::NoRoom)?;
        self.taken = Some(self.room.0.clone().try_acquire_many_owned(units).map_err(|_| ReadError::NoRoom)?);
        Ok(())
    }

    /// Gives back what a body of this size does not take.
    fn settle(self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let mut taken = self.taken?;
        drop(taken.split(taken.num_permits().saturating_sub(units(bytes))));
        Some(taken)
    }
}

fn units(bytes: usize) -> usize {
    bytes / ROOM_UNIT_BYTES + 1
}

/// Reads a request's body, of at most `bytes_max` bytes and within `period`, and gives it with the room it takes. What is too large is not
/// read to its end.
pub(crate) async fn read(
    body: Incoming,
    bytes_max: usize,
    period: Duration,
    room: &Room,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), ReadError> {
    if http_body::Body::size_hint(&body).lower() > bytes_max as u64 {
        return Err(ReadError::TooLarge);
    }
    tokio::time::timeout(period, collect(body, bytes_max, room)).await.unwrap_or(Err(ReadError::TooSlow))
}

async fn collect(
    mut body: Incoming,
    bytes_max: usize,
    room: &Room,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), ReadError> {
    let declared = http_body::Body::size_hint(&body).exact().and_then(|bytes| usize::try_from(bytes).ok());
    let mut place = Place { room, taken: None };
    place.take(declared.unwrap_or(0))?;
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    let mut pieces = 0;
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(|_| ReadError::Broken)?.into_data() else { continue };
        pieces += 1;
        if pieces > PIECES_MAX {
            return Err(ReadError::TooManyPieces);
        }
        let length = first.len() + all.len() + piece.len();
        if length > bytes_max {
            return Err(ReadError::TooLarge);
        }
        // One that does not say how long it is may become as long as any, but only when it is no longer small.
        if length > SMALL_BYTES_MAX {
            place.take(bytes_max)?;
        }
        match (first.is_empty(), all.is_empty()) {
            // Nearly every request comes in one piece, which is used as it is.
            (true, true) => first = piece,
            (false, _) => {
                // Growing step by step would hold the body twice over.
                all.reserve(declared.unwrap_or(length));
                all.extend_from_slice(&std::mem::take(&mut first));
                all.extend_from_slice(&piece);
            }
            (true, false) => all.extend_from_slice(&piece),
        }
    }
    let whole = if all.is_empty() { first } else { all.freeze() };
    let room = place.settle(whole.len());
    Ok((whole, room))
}
