//! What an operator pastes, and what a legacy system answers, for the fuzzer.

use config::downstream::mainframe::Encoding;

use crate::mainframe::codec::Codec;

/// A larger record is of no more interest.
const JSON_BYTES_MAX: usize = 1 << 20;

/// A copybook, a NUL, and the answer that is read by it, as one record and as a list of records, in each code page.
pub fn copybook(data: &[u8]) {
    let mut parts = data.splitn(2, |&byte| byte == 0);
    let (Some(copybook), answer) = (parts.next(), parts.next().unwrap_or_default()) else { return };
    let Ok(copybook) = std::str::from_utf8(copybook) else { return };
    for encoding in [Encoding::Cp037, Encoding::Utf8] {
        for many in [false, true] {
            let Ok(codec) = Codec::fixed_width(copybook, encoding, many) else { return };
            assert!(codec.output_schema().is_object());
            if let Ok(json) = codec.decode(answer, JSON_BYTES_MAX) {
                serde_json::from_str::<serde::de::IgnoredAny>(&json).expect("it is JSON");
            }
        }
    }
}
