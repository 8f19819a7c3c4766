use std::sync::Arc;

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

use super::{Damage, FORMAT, HEAD_BYTES, Sealer, Unsealable, layout};
use crate::{
    entry::{Entry, Found, TagGeneration, Version},
    key::Key,
    tags::Tag,
    testing::key,
};

const SECRET: [u8; 32] = [7; 32];
const VALUE_BYTES_MAX: usize = 256 * 1024;

fn sealer() -> Sealer {
    Sealer::new(&SECRET, &[], VALUE_BYTES_MAX)
}

fn entry(value: impl Into<Bytes>) -> Entry {
    let tags = [tag("ticket:1", 1), tag("", 2)];
    Entry {
        version: Version([3; 16]),
        value: value.into(),
        found: Found::Found,
        created_ms: 1_800_000_000_000,
        fresh_until_ms: 1_800_000_060_000,
        stale_until_ms: u64::MAX,
        fetch_ms: 8_000,
        tags: Arc::new(tags),
    }
}

fn tag(name: &str, generation: u8) -> TagGeneration {
    TagGeneration { tag: Tag::new(name, generation == 2), generation: [generation; 16] }
}

fn seal(entry: &Entry) -> Vec<u8> {
    sealer().seal(&key(1), entry).expect("a small entry")
}

fn open(sealed: &[u8]) -> Result<Entry, Damage> {
    sealer().open(&key(1), sealed)
}

/// Seals content that `seal` would never make: what a bug, or the holder of a stolen secret, could store.
fn open_content(content: Vec<u8>) -> Result<Entry, Damage> {
    open(&sealer().seal_plain(b"", &key(1), content))
}

/// Bytes that do not repeat, by an xorshift.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(next).collect()
}

#[test]
fn only_the_same_key_opens_an_entry() {
    let sealed = seal(&entry("answer"));
    assert_eq!(open(&sealed), Ok(entry("answer")));
    assert_eq!(sealer().open(&key(2), &sealed), Err(Damage::Seal));
    assert_ne!(sealed, seal(&entry("answer")));
}

#[test]
fn what_was_sealed_for_one_use_opens_for_no_other() {
    let note = sealer().seal_as(b"note 1", &key(1), &entry("answer")).expect("a small entry");
    assert_eq!(sealer().open_as(b"note 1", &key(1), &note), Ok(entry("answer")));
    assert_eq!(sealer().open_as(b"note 2", &key(1), &note), Err(Damage::Seal));
    assert_eq!(open(&note), Err(Damage::Seal));
    assert_eq!(sealer().open_as(b"note 1", &key(1), &seal(&entry("answer"))), Err(Damage::Seal));
}

#[test]
fn a_previous_secret_opens_but_does_not_seal() {
    let old = seal(&entry("answer"));
    let rotated = Sealer::new(&[8; 32], &[[9; 32], SECRET], VALUE_BYTES_MAX);
    assert_eq!(rotated.open(&key(1), &old), Ok(entry("answer")));
    let new = rotated.seal(&key(1), &entry("answer")).expect("a small entry");
    assert_eq!(open(&new), Err(Damage::Secret));
    let after = Sealer::new(&[8; 32], &[], VALUE_BYTES_MAX);
    assert_eq!(after.open(&key(1), &new), Ok(entry("answer")));
    assert_eq!(after.open(&key(1), &old), Err(Damage::Secret));
}

#[test]
fn every_changed_bit_is_noticed() {
    let sealed = seal(&entry("answer"));
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit / 8 {
            0 => Damage::Format,
            1..5 => Damage::Secret,
            _ => Damage::Seal,
        };
        assert_eq!(open(&changed), Err(expected), "bit {bit}");
    }
}

#[test]
fn every_cut_is_noticed() {
    for sealed in [seal(&entry("answer")), seal(&entry(vec![b'a'; 5_000]))] {
        for bytes in 0..sealed.len() {
            let damage = open(&sealed[..bytes]).expect_err("something is missing");
            let expected = if bytes < HEAD_BYTES + 16 { Damage::Truncated } else { Damage::Seal };
            assert_eq!(damage, expected, "{bytes} bytes");
        }
        let mut longer = sealed;
        longer.push(0);
        assert_eq!(open(&longer), Err(Damage::Seal));
    }
}

#[test]
fn another_format_is_a_miss() {
    let mut sealed = seal(&entry("answer"));
    sealed[0] = FORMAT + 1;
    assert_eq!(open(&sealed), Err(Damage::Format));
}

#[test]
fn large_values_are_packed_and_small_or_dense_ones_are_not() {
    let overhead = seal(&entry("")).len();
    assert_eq!(seal(&entry(vec![b'a'; 1_024])).len(), overhead + 1_024);
    assert!(seal(&entry(vec![b'a'; 1_025])).len() < overhead + 100);
    assert_eq!(seal(&entry(noise(5_000))).len(), overhead + 5_000);
    for value in [vec![b'a'; VALUE_BYTES_MAX], noise(VALUE_BYTES_MAX)] {
        assert_eq!(open(&seal(&entry(value.clone()))), Ok(entry(value)));
    }
}

#[test]
fn what_is_too_large_is_not_stored() {
    let value_bytes = VALUE_BYTES_MAX + 1;
    let refused = sealer().seal(&key(1), &entry(vec![b'a'; value_bytes]));
    assert_eq!(refused, Err(Unsealable::ValueTooLarge { value_bytes, value_bytes_max: VALUE_BYTES_MAX }));
    let with_tags = |tags: Vec<TagGeneration>| {
        sealer().seal(&key(1), &Entry { tags: tags.into(), ..entry(noise(VALUE_BYTES_MAX)) })
    };
    let most = with_tags(vec![tag("ticket:1", 1); layout::TAGS_MAX]).expect("the most there may be");
    assert!(open(&most).is_ok());
    assert_eq!(with_tags(vec![tag("ticket:1", 1); layout::TAGS_MAX + 1]), Err(Unsealable::Tags));
    let largest = HEAD_BYTES + layout::PLAIN_OVERHEAD_BYTES_MAX + VALUE_BYTES_MAX + 16;
    assert_eq!((most.len(), sealer().sealed_bytes_max()), (largest, largest));
    assert_eq!(open(&vec![FORMAT; largest + 1]), Err(Damage::TooLarge));
}

#[test]
fn a_smaller_bound_counts_for_what_is_stored() {
    let sealed = seal(&entry(vec![b'a'; 5_000]));
    assert_eq!(Sealer::new(&SECRET, &[], 4_999).open(&key(1), &sealed), Err(Damage::TooLarge));
    assert_eq!(Sealer::new(&SECRET, &[], 5_000).open(&key(1), &sealed), Ok(entry(vec![b'a'; 5_000])));
}

/// The content of an entry without tags, up to its packing.
fn content(packing: u8, value_bytes: u32, value: &[u8]) -> Vec<u8> {
    let mut content = vec![0; 49 + 2];
    content.push(packing);
    content.extend_from_slice(&value_bytes.to_be_bytes());
    content.extend_from_slice(value);
    content
}

#[test]
fn a_value_that_unpacks_to_more_than_it_says_costs_what_it_says() {
    let frame = zstd::bulk::compress(&vec![0; 1 << 20], 3).expect("zeros can be packed");
    let gibibyte = frame.repeat(1024);
    assert!(gibibyte.len() < VALUE_BYTES_MAX);
    for value_bytes in [0, 1, 1 << 16, VALUE_BYTES_MAX as u32] {
        assert_eq!(open_content(content(1, value_bytes, &gibibyte)), Err(Damage::Content));
    }
    for value_bytes in [VALUE_BYTES_MAX as u32 + 1, 1 << 30, u32::MAX] {
        assert_eq!(open_content(content(1, value_bytes, &gibibyte)), Err(Damage::TooLarge));
    }
    assert_eq!(layout::unpack(&frame, VALUE_BYTES_MAX), Err(Damage::Content));
    let honest = zstd::bulk::compress(&vec![0; VALUE_BYTES_MAX], 3).expect("zeros can be packed");
    let opened = open_content(content(1, VALUE_BYTES_MAX as u32, &honest)).expect("within the bound");
    assert_eq!(opened.value, vec![0; VALUE_BYTES_MAX]);
}

#[test]
fn sealed_content_without_meaning_is_a_miss() {
    assert!(open_content(content(0, 2, b"{}")).is_ok());
    assert_eq!(open_content(vec![]), Err(Damage::Content));
    assert_eq!(open_content(content(0, 3, b"{}")), Err(Damage::Content));
    assert_eq!(open_content(content(0, 1, b"{}")), Err(Damage::Content));
    assert_eq!(open_content(content(2, 2, b"{}")), Err(Damage::Content));
    assert_eq!(open_content(content(1, 2, b"{}")), Err(Damage::Content));
    let packed = zstd::bulk::compress(b"{}", 3).expect("it can be packed");
    assert_eq!(open_content(content(1, 3, &packed)), Err(Damage::Content));
    let mut found = content(0, 2, b"{}");
    found[0] = 2;
    assert_eq!(open_content(found), Err(Damage::Content));
    let with_tags = |count: usize| {
        let mut tags = content(0, 2, b"{}");
        tags[49..51].copy_from_slice(&u16::try_from(count).expect("few").to_be_bytes());
        tags.splice(51..51, vec![0; count * (1 + 16 + 16)]);
        open_content(tags).map(|entry| entry.tags.len())
    };
    let most = layout::TAGS_MAX;
    assert_eq!((with_tags(most), with_tags(most + 1)), (Ok(most), Err(Damage::Content)));
}

#[test]
fn no_secret_is_printed() {
    assert_eq!(format!("{:?}", sealer()), "Sealer(…)");
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let value = prop_oneof![
        vec(any::<u8>(), 0..3_000),
        (any::<u8>(), 0..VALUE_BYTES_MAX).prop_map(|(byte, bytes)| vec![byte; bytes])
    ];
    let found = prop_oneof![Just(Found::Found), Just(Found::NotFound)];
    let tag = (any::<[u8; 16]>(), any::<bool>(), any::<[u8; 16]>())
        .prop_map(|(id, strict, generation)| TagGeneration { tag: Tag { id, strict }, generation });
    let entry = (any::<[u8; 16]>(), value, found, any::<[u64; 4]>(), vec(tag, 0..10));
    entry.prop_map(|(version, value, found, times, tags)| Entry {
        version: Version(version),
        value: value.into(),
        found,
        created_ms: times[0],
        fresh_until_ms: times[1],
        stale_until_ms: times[2],
        fetch_ms: times[3],
        tags: tags.into(),
    })
}

fn keys() -> (Key, Key) {
    (key(1), key(2))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_sealed_is_what_opens(stored in any_entry()) {
        let (this, other) = keys();
        let sealed = sealer().seal(&this, &stored).expect("it is within the bounds");
        prop_assert_eq!(sealer().open(&other, &sealed), Err(Damage::Seal));
        prop_assert_eq!(sealer().open(&this, &sealed), Ok(stored));
    }

    #[test]
    fn no_bytes_whatever_open(bytes in vec(any::<u8>(), 0..500), under_a_true_head: bool) {
        let mut sealed = bytes;
        if under_a_true_head {
            sealed.splice(0..0, seal(&entry("answer"))[..HEAD_BYTES].iter().copied());
        }
        prop_assert!(open(&sealed).is_err());
    }

    #[test]
    fn content_of_any_kind_opens_within_its_bounds_or_is_a_miss(
        stored in any_entry(), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>(),
    ) {
        let mut content = layout::write(&stored).expect("it is within the bounds");
        for (at, byte) in changes {
            let at = at.index(content.len().min(200));
            content[at] = byte;
        }
        content.truncate(cut.index(content.len() * 2).min(content.len()));
        if let Ok(opened) = open_content(content) {
            prop_assert!(opened.value.len() <= VALUE_BYTES_MAX);
            prop_assert!(opened.tags.len() <= layout::TAGS_MAX);
        }
    }
}
