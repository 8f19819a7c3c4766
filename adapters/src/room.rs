//! Room in a buffer for what arrives in pieces and has a largest size.

use bytes::BytesMut;

/// Below this a buffer grows by itself.
const SMALL: usize = 32 * 1024;
/// How many times larger a buffer becomes at once. Room that is not used costs nothing.
const GROWTH: usize = 8;

/// Makes room for `more` bytes in a buffer that never holds more than `bytes_max`. One that grows by itself doubles, in the end
/// beyond its largest size, and leaves as much behind on its way.
pub(crate) fn make(buffer: &mut BytesMut, more: usize, bytes_max: usize) {
    let length = buffer.len();
    if buffer.capacity() - length >= more {
        return;
    }
    let needed = length.saturating_add(more);
    if needed <= SMALL {
        buffer.reserve(more);
        return;
    }
    let grown = needed.saturating_mul(GROWTH);
    // No step just short of the largest size: there the old and the new buffer would be as large as that, each.
    let capacity = if grown >= bytes_max / GROWTH { bytes_max.max(needed) } else { grown };
    let mut larger = BytesMut::with_capacity(capacity);
    larger.extend_from_slice(buffer);
    *buffer = larger;
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::make;

    #[test]
    fn a_buffer_grows_in_few_steps_and_not_beyond_the_largest_size() {
        const LARGEST: usize = 3 << 20;
        let (mut buffer, mut steps) = (BytesMut::new(), Vec::new());
        while buffer.len() < LARGEST {
            make(&mut buffer, 1 << 10, LARGEST);
            buffer.extend_from_slice(&[b'x'; 1 << 10]);
            if steps.last() != Some(&buffer.capacity()) {
                steps.push(buffer.capacity());
            }
        }
        assert_eq!(steps.last(), Some(&LARGEST));
        let left_behind: usize = steps.iter().rev().skip(1).sum();
        assert!(left_behind <= LARGEST / 4, "{steps:?}");
    }
}
