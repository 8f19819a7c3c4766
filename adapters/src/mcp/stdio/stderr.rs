//! What a child writes to its standard error: into the log, line by line, and never more than the log can bear.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle;

use super::mask::Mask;

/// The longest line in the log; more of it is cut off.
const LINE_BYTES_MAX: usize = 4 * 1024;
/// How many lines go into the log in each period; the others are counted.
const LINES_MAX: u32 = 50;
const PERIOD: Duration = Duration::from_secs(10);
/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;
/// How long after a child's end its last line is waited for.
const LAST_LINE: Duration = Duration::from_millis(50);
/// How much of the last line is part of a reason.
const LAST_LINE_CHARS: usize = 300;

/// Listens to the standard error of one child until it is dropped. Reads on whatever comes, so that the child never waits.
pub(super) struct Stderr {
    listening: AbortOnDropHandle<()>,
    last: Arc<Mutex<Line>>,
    mask: Arc<Mask>,
}

impl Stderr {
    pub(super) fn listen(downstream: Arc<str>, from: impl AsyncRead + Send + Unpin + 'static, mask: Arc<Mask>) -> Self {
        let last = Arc::<Mutex<Line>>::default();
        let listener = Listener {
            downstream,
            line: Line::default(),
            kept_bytes_max: LINE_BYTES_MAX + mask.longest(),
            last: Arc::clone(&last),
            rate: Rate::new(Instant::now()),
            mask: Arc::clone(&mask),
        };
        Self { listening: AbortOnDropHandle::new(tokio::spawn(listener.listen(from))), last, mask }
    }

    /// Waits until all is heard that a child which has ended wrote.
    pub(super) async fn finish(&mut self) {
        if !self.listening.is_finished() {
            let _ = tokio::time::timeout(LAST_LINE, &mut self.listening).await;
        }
    }

    /// The last line that said anything, after the child has ended.
    pub(super) async fn last_line(&mut self) -> Option<String> {
        self.finish().await;
        let last = mem::take(&mut *lock(&self.last));
        let text: String = last.shown(&self.mask).chars().take(LAST_LINE_CHARS).collect();
        (!text.is_empty()).then_some(text)
    }
}

/// A line as far as it is kept.
#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Line {
    fn push(&mut self, piece: &[u8], bytes_max: usize) {
        let room = bytes_max - self.bytes.len();
        self.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        self.is_cut |= piece.len() > room;
    }

    /// As it may be read by an operator: without secrets, without what steers a terminal, not too long.
    fn shown(&self, mask: &Mask) -> String {
        let mut text = mask.apply(&String::from_utf8_lossy(&self.bytes));
        if self.is_cut {
            // The beginning of a secret may be the last that was kept of the line.
            text.truncate(text.floor_char_boundary((text.len() + 1).saturating_sub(mask.longest())));
        }
        text.truncate(text.floor_char_boundary(LINE_BYTES_MAX));
        let harmless = |c: char| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
        text.trim_end().chars().map(harmless).collect()
    }
}

struct Listener {
    downstream: Arc<str>,
    line: Line,
    kept_bytes_max: usize,
    last: Arc<Mutex<Line>>,
    rate: Rate,
    mask: Arc<Mask>,
}

impl Listener {
    async fn listen(mut self, mut from: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; READ_BYTES];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let mut rest = &buffer[..read];
            while let Some(end) = memchr::memchr(b'\n', rest) {
                self.line.push(&rest[..end], self.kept_bytes_max);
                self.line_ended();
                rest = &rest[end + 1..];
            }
            self.line.push(rest, self.kept_bytes_max);
        }
        self.line_ended();
        self.tell_left_out();
    }

    fn line_ended(&mut self) {
        if self.line.bytes.iter().all(u8::is_ascii_whitespace) {
            self.line = Line::default();
            return;
        }
        if self.rate.period_is_over(Instant::now()) {
            self.tell_left_out();
        }
        if self.rate.admits() {
            tracing::info!(downstream = %self.downstream, line = %self.line.shown(&self.mask), "stderr");
        }
        // The one before it is where the next one is kept: a flood of lines asks for no memory.
        mem::swap(&mut *lock(&self.last), &mut self.line);
        self.line.bytes.clear();
        self.line.is_cut = false;
    }

    fn tell_left_out(&mut self) {
        let left_out = mem::take(&mut self.rate.left_out);
        if left_out > 0 {
            tracing::warn!(downstream = %self.downstream, left_out, "it writes more to stderr than is logged");
        }
    }
}

/// How much is logged.
struct Rate {
    began: Instant,
    admitted: u32,
    left_out: u64,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self { began: now, admitted: 0, left_out: 0 }
    }

    /// Whether another period begins with this line.
    fn period_is_over(&mut self, now: Instant) -> bool {
        let over = now.duration_since(self.began) >= PERIOD;
        if over {
            (self.began, self.admitted) = (now, 0);
        }
        over
    }

    fn admits(&mut self) -> bool {
        let admitted = self.admitted < LINES_MAX;
        if admitted {
            self.admitted += 1;
        } else {
            self.left_out += 1;
        }
        admitted
    }
}

fn lock(last: &Mutex<Line>) -> std::sync::MutexGuard<'_, Line> {
    // Nothing under this lock can panic half-way through a change.
    last.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    async fn last_line(written: &'static [u8], secrets: &[SecretString]) -> Option<String> {
        Stderr::listen("files".into(), written, Arc::new(Mask::new(secrets))).last_line().await
    }

    #[tokio::test]
    async fn the_last_line_that_says_anything_is_kept_without_secrets_and_escapes() {
        for (written, wanted) in [
            (&b"first\nsecond\n\n  \n"[..], Some("second")),
            (b"one\nwithout end", Some("without end")),
            (b"bad \xff byte, \x1b[31mred\n", Some("bad \u{fffd} byte, \u{fffd}[31mred")),
            (b"the token is t0ken!\n", Some("the token is [secret]")),
            (b"\n \n", None),
            (b"", None),
        ] {
            assert_eq!(last_line(written, &["t0ken!".into()]).await.as_deref(), wanted);
        }
    }

    #[test]
    fn no_part_of_a_secret_is_left_where_a_long_line_is_cut() {
        const SECRET: &str = "0123456789-secret";
        let mask = Mask::new(&[SecretString::from(SECRET)]);
        for before in LINE_BYTES_MAX - 40..LINE_BYTES_MAX + 40 {
            let text = [&vec![b'x'; before][..], SECRET.as_bytes(), &[b'y'; 100]].concat();
            let mut line = Line::default();
            line.push(&text, LINE_BYTES_MAX + mask.longest());
            let shown = line.shown(&mask);
            assert!(line.is_cut && shown.len() <= LINE_BYTES_MAX && !shown.contains('0'), "{before}: {shown}");
        }
    }

    #[test]
    fn a_flood_is_counted_and_not_logged() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let admitted = (0..1_000).filter(|_| !rate.period_is_over(start) && rate.admits()).count();
        assert_eq!((admitted, rate.left_out), (LINES_MAX as usize, 1_000 - u64::from(LINES_MAX)));
        assert!(rate.period_is_over(start + PERIOD) && rate.admits());
    }
}
