//! What a network can do wrong, and when it does.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// What the network does. A *piece* is what one read of a socket gives. An *exchange* begins with the first piece that a
/// caller sends, at the start of its connection or after an answer, and its answer with the first piece that comes back.
/// So the proxy needs to know no protocol: HTTP, WebSocket and Postgres alike wait for a whole request before they answer.
/// What a server says unasked after a request, such as the ping of a WebSocket, counts as the answer's begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    #[default]
    Pass,
    /// Everything arrives so much later, in both directions.
    Latency(Duration),
    /// No more than this passes in each direction of a connection.
    Bandwidth { bytes_per_s: u32 },
    /// Everything passes in pieces of so many bytes, a millisecond apart.
    Slices { bytes: usize },
    /// Answers come byte by byte, so far apart; requests pass.
    Trickle { every: Duration },
    /// Connections stay open, new ones are accepted, and nothing passes, not even their end: half-open, as behind a
    /// firewall that drops packets. What was sent meanwhile arrives when the fault is over.
    Blackhole,
    /// Nobody listens. Connections that are open go on.
    Refuse,
    /// Both sides of the connection are reset.
    Reset(Moment),
    /// In the place of an answer its side of the connection ends. The other side stays open, and what the caller sends
    /// still arrives.
    HalfClose,
    /// In the place of an answer come bytes that are no protocol, and the end.
    Garbage,
    /// The second half of an answer's first piece is replaced by as many bytes that are no text.
    GarbageWithin,
}

/// When an exchange is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// At its first piece, of which nothing reaches the target.
    BeforeRequest,
    /// After half of its first piece has reached the target.
    WithinRequest,
    /// When the target begins to answer, so it has had the whole request, and nothing of the answer comes back.
    AfterRequest,
    /// After half of the answer's first piece.
    WithinAnswer,
}

/// Faults by the dice: an exchange has one of `faults` in `percent` of all cases. The seed decides the order of what is
/// drawn; which exchange draws what depends on who comes first.
#[derive(Clone, Debug)]
pub struct Chance {
    pub faults: Vec<Fault>,
    pub percent: u8,
    pub seed: u64,
}

impl Fault {
    /// What can befall one exchange and is over soon: what a history of writes has to stand.
    pub const EXCHANGE: [Self; 8] = [
        Self::Reset(Moment::BeforeRequest),
        Self::Reset(Moment::WithinRequest),
        Self::Reset(Moment::AfterRequest),
        Self::Reset(Moment::WithinAnswer),
        Self::HalfClose,
        Self::Garbage,
        Self::GarbageWithin,
        Self::Slices { bytes: 16 },
    ];

    /// Whether it befalls one exchange and is over, so that its times can be counted beforehand.
    pub(super) fn strikes(self) -> bool {
        matches!(self, Self::Reset(_) | Self::HalfClose | Self::Garbage | Self::GarbageWithin)
    }

    /// How many bytes pass at once, and the pause after them.
    pub(super) fn pace(self, is_answer: bool) -> Option<(usize, Duration)> {
        const TICK: Duration = Duration::from_millis(50);
        match self {
            Self::Bandwidth { bytes_per_s } => Some(((bytes_per_s as usize / 20).max(1), TICK)),
            Self::Slices { bytes } => Some((bytes.max(1), Duration::from_millis(1))),
            Self::Trickle { every } if is_answer => Some((1, every)),
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    /// As it is written on a command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::Latency(delay) => write!(f, "latency:{}ms", delay.as_millis()),
            Self::Bandwidth { bytes_per_s } => write!(f, "bandwidth:{bytes_per_s}"),
            Self::Slices { bytes } => write!(f, "slices:{bytes}"),
            Self::Trickle { every } => write!(f, "trickle:{}ms", every.as_millis()),
            Self::Blackhole => f.write_str("blackhole"),
            Self::Refuse => f.write_str("refuse"),
            Self::Reset(Moment::BeforeRequest) => f.write_str("reset:before-request"),
            Self::Reset(Moment::WithinRequest) => f.write_str("reset:within-request"),
            Self::Reset(Moment::AfterRequest) => f.write_str("reset:after-request"),
            Self::Reset(Moment::WithinAnswer) => f.write_str("reset:within-answer"),
            Self::HalfClose => f.write_str("half-close"),
            Self::Garbage => f.write_str("garbage"),
            Self::GarbageWithin => f.write_str("garbage:within"),
        }
    }
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        let fault = match (name, value) {
            ("pass", "") => Self::Pass,
            ("latency", delay) => Self::Latency(millis(delay)?),
            ("bandwidth", bytes) => Self::Bandwidth { bytes_per_s: bytes.parse().context("bandwidth:BYTES_A_SECOND")? },
            ("slices", bytes) => Self::Slices { bytes: bytes.parse().context("slices:BYTES")? },
            ("trickle", every) => Self::Trickle { every: millis(every)? },
            ("blackhole", "") => Self::Blackhole,
            ("refuse", "") => Self::Refuse,
            ("reset", "before-request") => Self::Reset(Moment::BeforeRequest),
            ("reset", "within-request") => Self::Reset(Moment::WithinRequest),
            ("reset", "after-request") => Self::Reset(Moment::AfterRequest),
            ("reset", "within-answer") => Self::Reset(Moment::WithinAnswer),
            ("half-close", "") => Self::HalfClose,
            ("garbage", "") => Self::Garbage,
            ("garbage", "within") => Self::GarbageWithin,
            _ => bail!(
                "there is no fault `{text}`; there are: pass, latency:200ms, bandwidth:10000, slices:16, trickle:1000ms, \
                 blackhole, refuse, reset:before-request, reset:within-request, reset:after-request, \
                 reset:within-answer, half-close, garbage, garbage:within"
            ),
        };
        Ok(fault)
    }
}

impl Chance {
    pub(super) fn check(&self) -> Result<()> {
        ensure!(!self.faults.is_empty() && self.percent <= 100, "no faults, or more than all: {self:?}");
        ensure!(!self.faults.contains(&Fault::Refuse), "only everybody can be refused, not one exchange in some");
        Ok(())
    }
}

fn millis(text: &str) -> Result<Duration> {
    let number = text.strip_suffix("ms").with_context(|| format!("`{text}` is not written as 200ms"))?;
    Ok(Duration::from_millis(number.parse().with_context(|| format!("`{text}` is not written as 200ms"))?))
}
