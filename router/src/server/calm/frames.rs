//! Where one frame of HTTP/2 ends and the next begins: RFC 9113, section 4.1.

/// What a client sends first: RFC 9113, section 3.4. Whether it is right is for the library to say.
const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;
const END_STREAM: u8 = 0x1;

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) length: usize,
    pub(super) ends_stream: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    WindowUpdate,
    /// What belongs to the connection, ends a stream, goes on with a head, or is unknown.
    Other,
}

/// The bytes of a connection so far.
#[derive(Debug)]
pub(super) struct Frames {
    /// Of the preface or a frame, before the next head begins.
    skip: usize,
    head: [u8; HEAD_BYTES],
    head_length: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self { skip: PREFACE_BYTES, head: [0; HEAD_BYTES], head_length: 0 }
    }
}

impl Frames {
    /// Gives each head to `allows` as soon as it is whole, until that says no. Whether it never did.
    pub(super) fn take(&mut self, mut bytes: &[u8], mut allows: impl FnMut(Frame) -> bool) -> bool {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEAD_BYTES - self.head_length).min(bytes.len());
            self.head[self.head_length..self.head_length + taken].copy_from_slice(&bytes[..taken]);
            self.head_length += taken;
            bytes = &bytes[taken..];
            if self.head_length < HEAD_BYTES {
                return true;
            }
            self.head_length = 0;
            let frame = Frame::of(self.head);
            self.skip = frame.length;
            if !allows(frame) {
                return false;
            }
        }
    }
}

impl Frame {
    fn of(head: [u8; HEAD_BYTES]) -> Self {
        let [high, middle, low, kind, flags, ..] = head;
        let kind = match kind {
            0x0 => Kind::Data,
            0x1 => Kind::Headers,
            0x8 => Kind::WindowUpdate,
            _ => Kind::Other,
        };
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        Self { kind, length, ends_stream: flags & END_STREAM != 0 }
    }
}
