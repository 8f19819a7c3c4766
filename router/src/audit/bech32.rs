//! Bech32 (BIP 173) as age spells its keys with it: lower case, and of any length.

const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const CHECK_CHARACTERS: usize = 6;

/// `prefix`, `1`, the bytes and their check.
pub(super) fn encode(prefix: &str, bytes: &[u8]) -> String {
    let mut groups = regrouped(bytes, 8, 5, true).expect("whole bytes fill groups of five bits");
    let check = checksum(prefix, groups.iter().copied().chain([0; CHECK_CHARACTERS])) ^ 1;
    groups.extend((0..CHECK_CHARACTERS).rev().map(|place| (check >> (5 * place) & 31) as u8));
    let characters = groups.iter().map(|group| char::from(ALPHABET[usize::from(*group)]));
    format!("{prefix}1").chars().chain(characters).collect()
}

/// The bytes, where the text has this prefix and its check is right.
pub(super) fn decode(prefix: &str, text: &str) -> Option<Vec<u8>> {
    let data = text.strip_prefix(prefix)?.strip_prefix('1')?;
    let group = |character: u8| ALPHABET.iter().position(|&known| known == character).map(|group| group as u8);
    let groups: Vec<u8> = data.bytes().map(group).collect::<Option<_>>()?;
    let (content, _check) = groups.split_at_checked(groups.len().checked_sub(CHECK_CHARACTERS)?)?;
    if checksum(prefix, groups.iter().copied()) != 1 {
        return None;
    }
    regrouped(content, 5, 8, false)
}

fn checksum(prefix: &str, groups: impl Iterator<Item = u8>) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let high = prefix.bytes().map(|byte| byte >> 5);
    let low = prefix.bytes().map(|byte| byte & 31);
    high.chain([0]).chain(low).chain(groups).fold(1, |check, group| {
        let top = check >> 25;
        let shifted = (check & 0x01ff_ffff) << 5 ^ u32::from(group);
        GENERATOR
            .iter()
            .enumerate()
            .filter(|(bit, _)| top >> bit & 1 == 1)
            .fold(shifted, |check, (_, term)| check ^ term)
    })
}

/// The same bits in groups of another size. What is left over is filled with zeros where `pad` says so, and has to be nothing but them otherwise.
fn regrouped(groups: &[u8], from: u32, to: u32, pad: bool) -> Option<Vec<u8>> {
    let (mut bits, mut held) = (0_u32, 0_u32);
    let mut out = Vec::with_capacity(groups.len() * from as usize / to as usize + 1);
    for &group in groups {
        held = held << from | u32::from(group);
        bits += from;
        while bits >= to {
            bits -= to;
            out.push((held >> bits & ((1 << to) - 1)) as u8);
        }
        held &= (1 << bits) - 1;
    }
    if pad && bits > 0 {
        out.push((held << (to - bits)) as u8);
    } else if !pad && (bits >= from || held != 0) {
        return None;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn the_published_example_is_spelled_so() {
        let text = "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw";
        let bytes: Vec<u8> = vec![
            0x00, 0x44, 0x32, 0x14, 0xc7, 0x42, 0x54, 0xb6, 0x35, 0xcf, 0x84, 0x65, 0x3a, 0x56, 0xd7, 0xc6, 0x75, 0xbe,
            0x77, 0xdf,
        ];
        assert_eq!(decode("abcdef", text).as_ref(), Some(&bytes));
        assert_eq!(encode("abcdef", &bytes), text);
    }

    #[test]
    fn a_wrong_character_is_noticed() {
        let text = encode("age", &[7; 32]);
        for at in 4..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'q' { b'p' } else { b'q' };
            assert_eq!(decode("age", str::from_utf8(&wrong).expect("ASCII")), None, "{at}");
        }
        assert_eq!(decode("other", &text), None);
        assert_eq!(decode("age", "age1"), None);
    }
}
