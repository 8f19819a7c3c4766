//! Text and numbers as a mainframe writes them: EBCDIC code page 037, packed and zoned decimals, big-endian binary.
//! Written by hand, so that a decoder is held against somebody else's reading of the same rules.

/// The printable half of IBM's code page 037 from byte 0x40 on, as the Unicode Consortium's table `CP037.TXT` has it.
/// The soft hyphen, the no-break space and the last character, a control, are written as escapes.
const FROM_0X40: &str = "\u{20}\u{a0}âäàáãåçñ¢.<(+|\
                         &éêëèíîïìß!$*);¬\
                         -/ÂÄÀÁÃÅÇÑ¦,%_>?\
                         øÉÊËÈÍÎÏÌ`:#@'=\"\
                         Øabcdefghi«»ðýþ±\
                         °jklmnopqrªºæ¸Æ¤\
                         µ~stuvwxyz¡¿ÐÝÞ®\
                         ^£¥·©§¶¼½¾[]¯¨´×\
                         {ABCDEFGHI\u{ad}ôöòóõ\
                         }JKLMNOPQR¹ûüùúÿ\
                         \\÷STUVWXYZ²ÔÖÒÓÕ\
                         0123456789³ÛÜÙÚ\u{9f}";
const SPACE: u8 = 0x40;
const PLUS: u8 = 0x4e;
const MINUS: u8 = 0x60;
const QUESTION_MARK: u8 = 0x6f;
const ZERO: u8 = 0xf0;

/// One byte for each character. Names from outside of Latin-1 come as their clerks typed them.
pub(super) fn encode(text: &str) -> Vec<u8> {
    text.chars().map(byte).collect()
}

fn byte(character: char) -> u8 {
    let typed = match character {
        'ı' => 'i',
        'ş' => 's',
        other => other,
    };
    FROM_0X40.chars().position(|known| known == typed).map_or(QUESTION_MARK, |index| SPACE + index as u8)
}

/// A record that grows field by field, in the order of its copybook.
#[derive(Debug, Default)]
pub(super) struct Record(Vec<u8>);

impl Record {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// `PIC X(width)`: cut, or filled with spaces.
    pub(super) fn text(mut self, width: usize, text: &str) -> Self {
        let mut bytes = encode(text);
        bytes.resize(width, SPACE);
        self.0.extend(bytes);
        self
    }

    /// `PIC 9(width)`.
    pub(super) fn digits(mut self, width: usize, value: i64) -> Self {
        assert!(value >= 0, "the picture has no sign");
        self.0.extend(digits(width, value).map(|digit| ZERO | digit));
        self
    }

    /// `PIC S9(width)`: the sign is in the zone of the last digit.
    pub(super) fn zoned(mut self, width: usize, value: i64) -> Self {
        self.0.extend(digits(width, value).map(|digit| ZERO | digit));
        let last = self.0.last_mut().expect("a number has digits");
        *last = *last & 0x0f | if value < 0 { 0xd0 } else { 0xc0 };
        self
    }

    /// `PIC S9(width) SIGN LEADING SEPARATE`.
    pub(super) fn sign_and_digits(mut self, width: usize, value: i64) -> Self {
        self.0.push(if value < 0 { MINUS } else { PLUS });
        self.0.extend(digits(width, value).map(|digit| ZERO | digit));
        self
    }

    /// `PIC 9(width) COMP-3`.
    pub(super) fn packed_unsigned(self, width: usize, value: i64) -> Self {
        assert!(value >= 0, "the picture has no sign");
        self.packed_with_sign(width, value, 0x0f)
    }

    /// `PIC S9(width) COMP-3`.
    pub(super) fn packed(self, width: usize, value: i64) -> Self {
        self.packed_with_sign(width, value, if value < 0 { 0x0d } else { 0x0c })
    }

    fn packed_with_sign(mut self, width: usize, value: i64, sign: u8) -> Self {
        // An even number of digits leaves the first half byte zero.
        let filling = width.is_multiple_of(2).then_some(0);
        let half_bytes: Vec<u8> = filling.into_iter().chain(digits(width, value)).chain([sign]).collect();
        self.0.extend(half_bytes.chunks(2).map(|pair| pair[0] << 4 | pair[1]));
        self
    }

    /// `PIC S9(…) COMP` of that many bytes.
    pub(super) fn binary(mut self, bytes: usize, value: i64) -> Self {
        self.0.extend(&value.to_be_bytes()[8 - bytes..]);
        self
    }
}

/// The last `width` digits of a number.
fn digits(width: usize, value: i64) -> impl Iterator<Item = u8> {
    let text = format!("{:0width$}", value.unsigned_abs());
    assert_eq!(text.len(), width, "{value} does not fit its picture");
    text.into_bytes().into_iter().map(|digit| digit - b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_page_is_that_of_an_independent_codec() {
        let table = include_str!("cp037.txt").lines().filter(|line| !line.starts_with('#'));
        let mut compared = 0;
        for line in table {
            let (byte, point) = line.split_once(' ').expect("two columns");
            let byte = u8::from_str_radix(byte, 16).expect("a byte");
            let character = u32::from_str_radix(point, 16).ok().and_then(char::from_u32).expect("a character");
            if byte >= SPACE {
                assert_eq!(encode(&character.to_string()), [byte], "{character:?}");
                compared += 1;
            }
        }
        assert_eq!(compared, 192);
    }

    #[test]
    fn fields_have_the_bytes_of_the_manual() {
        let bytes = |record: Record| record.into_bytes();
        assert_eq!(bytes(Record::default().text(4, "Añ")), [0xc1, 0x49, 0x40, 0x40]);
        assert_eq!(bytes(Record::default().text(3, "Yılmaz")), [0xe8, 0x89, 0x93]);
        assert_eq!(bytes(Record::default().digits(4, 42)), [0xf0, 0xf0, 0xf4, 0xf2]);
        assert_eq!(bytes(Record::default().zoned(3, -120)), [0xf1, 0xf2, 0xd0]);
        assert_eq!(bytes(Record::default().zoned(3, 125)), [0xf1, 0xf2, 0xc5]);
        assert_eq!(bytes(Record::default().sign_and_digits(2, -7)), [0x60, 0xf0, 0xf7]);
        assert_eq!(bytes(Record::default().packed(5, -12_345)), [0x12, 0x34, 0x5d]);
        assert_eq!(bytes(Record::default().packed(4, 1_234)), [0x01, 0x23, 0x4c]);
        assert_eq!(bytes(Record::default().packed_unsigned(3, 7)), [0x00, 0x7f]);
        assert_eq!(bytes(Record::default().binary(2, -2)), [0xff, 0xfe]);
        assert_eq!(bytes(Record::default().binary(4, 1_000_000)), [0x00, 0x0f, 0x42, 0x40]);
    }
}
