//! Takes the secrets that a child was given out of what it writes.

use secrecy::{ExposeSecret as _, SecretString};

/// What stands where a secret stood.
const INSTEAD: &str = "[secret]";
/// A line of a secret of several lines, such as a key file, is looked for by itself from this length on.
const LINE_LEAST: usize = 8;

/// The secrets of one child.
pub(super) struct Mask {
    /// The longest first, since one may be part of another.
    pieces: Vec<SecretString>,
}

impl Mask {
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let mut pieces: Vec<SecretString> = secrets.into_iter().flat_map(pieces).collect();
        pieces.sort_by_key(|piece| std::cmp::Reverse(piece.expose_secret().len()));
        Self { pieces }
    }

    /// The length of the longest.
    pub(super) fn longest(&self) -> usize {
        self.pieces.first().map_or(0, |piece| piece.expose_secret().len())
    }

    /// `text` without them.
    pub(super) fn apply(&self, text: &str) -> String {
        self.pieces.iter().fold(text.to_owned(), |text, piece| {
            let piece = piece.expose_secret();
            if text.contains(piece) { text.replace(piece, INSTEAD) } else { text }
        })
    }
}

/// What of a secret can stand in one line.
fn pieces(secret: &SecretString) -> Vec<SecretString> {
    let secret = secret.expose_secret();
    if !secret.contains('\n') {
        return vec![secret.into()];
    }
    secret.lines().filter(|line| line.len() >= LINE_LEAST).map(SecretString::from).collect()
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::Mask;

    #[test]
    fn every_secret_is_taken_out_wherever_it_stands() {
        let secrets =
            ["hunter2", "hunter2-and-more", "-----BEGIN\nMIIEvQIBADAN\nab\n-----END KEY"].map(SecretString::from);
        let mask = Mask::new(&secrets);
        for (text, wanted) in [
            ("a hunter2, b=hunter2", "a [secret], b=[secret]"),
            ("hunter2-and-more", "[secret]"),
            ("MIIEvQIBADAN and ab", "[secret] and ab"),
            ("nothing of it", "nothing of it"),
        ] {
            assert_eq!(mask.apply(text), wanted);
        }
        assert_eq!(mask.longest(), "hunter2-and-more".len());
        assert_eq!(Mask::new([]).apply("text"), "text");
    }
}
