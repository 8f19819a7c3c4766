//! The trace a call belongs to (W3C Trace Context; MCP SEP-414 carries it in `_meta`).

use std::fmt;

use rand::Rng;

/// The trace a call belongs to and the span that stands for this call in it. Rewritten at each hop; `baggage` of callers is not carried on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
    state: Option<Box<str>>,
}

/// The longest `tracestate` that is carried on, in bytes (W3C Trace Context, section 3.3.1.5).
const TRACESTATE_BYTES_MAX: usize = 512;

impl TraceContext {
    /// A trace that starts here.
    #[must_use]
    pub fn new_root() -> Self {
        let mut rng = rand::rng();
        Self { trace_id: rng.next_u64().into(), span_id: rng.next_u64(), flags: 0, state: None }
            .with_trace_id(rng.next_u64())
    }

    fn with_trace_id(mut self, high: u64) -> Self {
        self.trace_id |= u128::from(high) << 64;
        self
    }

    /// Goes on with the trace of a `traceparent` and `tracestate`, under a span of our own. `None` when `traceparent` is not valid.
    #[must_use]
    pub fn continued(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, length: usize| {
            text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let well_formed = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
        if !well_formed || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let trace_id = u128::from_str_radix(trace, 16).ok().filter(|&id| id != 0)?;
        u64::from_str_radix(parent, 16).ok().filter(|&id| id != 0)?;
        let state = tracestate.filter(|state| state.len() <= TRACESTATE_BYTES_MAX).map(Into::into);
        Some(Self { trace_id, span_id: rand::rng().next_u64(), flags: u8::from_str_radix(flags, 16).ok()? & 1, state })
    }

    /// The same place in the same trace, without what the caller said of it in its own words.
    #[must_use]
    pub fn without_state(&self) -> Self {
        Self { state: None, ..*self }
    }

    /// The `traceparent` for what this call calls.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }

    /// The `tracestate` for what this call calls.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

impl fmt::Display for TraceContext {
    /// The trace id alone, as logs and audit records show it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.trace_id)
    }
}

#[cfg(test)]
mod tests {
    use super::TraceContext;

    #[test]
    fn a_valid_traceparent_is_continued_under_a_span_of_our_own() {
        let incoming = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = TraceContext::continued(incoming, Some("vendor=1")).expect("a valid traceparent");
        let outgoing = trace.traceparent();
        assert!(outgoing.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && outgoing.ends_with("-01"));
        assert_ne!(outgoing, incoming);
        assert_eq!(trace.tracestate(), Some("vendor=1"));
    }

    #[test]
    fn an_invalid_traceparent_starts_no_trace() {
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert_eq!(TraceContext::continued(bad, None), None, "{bad}");
        }
    }
}
