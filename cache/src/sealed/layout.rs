//! An entry as bytes. Numbers are big-endian.
//!
//! ```text
//! found (1) · version (16) · created (8) · fresh until (8) · stale until (8) · fetch (8)
//! count of tags (2), each: strict (1) · id (16) · generation (16)
//! packing (1) · bytes of the value when unpacked (4) · the value, up to the end
//! ```

use bytes::Bytes;

use super::Damage;
use crate::{
    entry::{Entry, Found, TagGeneration, Version},
    tags::Tag,
};

/// Room for a list whose items have a tag each.
pub(super) const TAGS_MAX: usize = 520;
/// All but the value itself.
pub(super) const PLAIN_OVERHEAD_BYTES_MAX: usize = HEAD_BYTES + 2 + TAGS_MAX * TAG_BYTES + 5;

const HEAD_BYTES: usize = 1 + 16 + 4 * 8;
const TAG_BYTES: usize = 1 + 16 + 16;
/// Values up to this size gain too little to be worth the time.
const PACK_FROM_BYTES: usize = 1024;
/// The library's own middle: a hit should wait for the store, not for the packing.
const LEVEL: i32 = 3;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// `None` when there are too many tags. The value has at most 4 GiB.
pub(super) fn write(entry: &Entry) -> Option<Vec<u8>> {
    if entry.tags.len() > TAGS_MAX {
        return None;
    }
    let packed = pack(&entry.value);
    let (packing, value) = packed.as_ref().map_or((PLAIN, entry.value.as_ref()), |packed| (ZSTD, packed));
    let mut out = Vec::with_capacity(HEAD_BYTES + 2 + entry.tags.len() * TAG_BYTES + 5 + value.len());
    out.push(u8::from(entry.found == Found::NotFound));
    out.extend_from_slice(&entry.version.0);
    for number in [entry.created_ms, entry.fresh_until_ms, entry.stale_until_ms, entry.fetch_ms] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    let tags = u16::try_from(entry.tags.len()).expect("the count of tags was checked");
    out.extend_from_slice(&tags.to_be_bytes());
    for TagGeneration { tag, generation } in entry.tags.iter() {
        out.push(u8::from(tag.strict));
        out.extend_from_slice(&tag.id);
        out.extend_from_slice(generation);
    }
    out.push(packing);
    let value_bytes = u32::try_from(entry.value.len()).expect("the sealer refused larger values");
    out.extend_from_slice(&value_bytes.to_be_bytes());
    out.extend_from_slice(value);
    Some(out)
}

/// The entry in `plain`, unless its value has more than `value_bytes_max`.
pub(super) fn read(plain: Vec<u8>, value_bytes_max: usize) -> Result<Entry, Damage> {
    let plain = Bytes::from(plain);
    let mut rest = Reader(&plain);
    let found = match rest.byte()? {
        0 => Found::Found,
        1 => Found::NotFound,
        _ => return Err(Damage::Content),
    };
    let version = Version(rest.array()?);
    let created_ms = u64::from_be_bytes(rest.array()?);
    let fresh_until_ms = u64::from_be_bytes(rest.array()?);
    let stale_until_ms = u64::from_be_bytes(rest.array()?);
    let fetch_ms = u64::from_be_bytes(rest.array()?);
    let tags = usize::from(u16::from_be_bytes(rest.array()?));
    if tags > TAGS_MAX {
        return Err(Damage::Content);
    }
    let tags = (0..tags).map(|_| rest.tag()).collect::<Result<_, _>>()?;
    let packing = rest.byte()?;
    let value_bytes = u32::from_be_bytes(rest.array()?) as usize;
    if value_bytes > value_bytes_max {
        return Err(Damage::TooLarge);
    }
    let value = match packing {
        PLAIN => plain.slice_ref(rest.0),
        ZSTD => unpack(rest.0, value_bytes)?,
        _ => return Err(Damage::Content),
    };
    if value.len() != value_bytes {
        return Err(Damage::Content);
    }
    Ok(Entry { version, value, found, created_ms, fresh_until_ms, stale_until_ms, fetch_ms, tags })
}

/// `None` when packing is not worth it, or does not make it smaller.
fn pack(value: &[u8]) -> Option<Vec<u8>> {
    if value.len() <= PACK_FROM_BYTES {
        return None;
    }
    let packed = zstd::bulk::compress(value, LEVEL).ok()?;
    (packed.len() < value.len()).then_some(packed)
}

/// The buffer has at most the size that was promised, and is the window too: a packed value that holds more costs no more.
pub(super) fn unpack(packed: &[u8], value_bytes: usize) -> Result<Bytes, Damage> {
    zstd::bulk::decompress(packed, value_bytes).map(Bytes::from).map_err(|_| Damage::Content)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], Damage> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Damage::Content)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, Damage> {
        self.array().map(|[byte]| byte)
    }

    fn tag(&mut self) -> Result<TagGeneration, Damage> {
        let strict = match self.byte()? {
            0 => false,
            1 => true,
            _ => return Err(Damage::Content),
        };
        Ok(TagGeneration { tag: Tag { id: self.array()?, strict }, generation: self.array()? })
    }
}
