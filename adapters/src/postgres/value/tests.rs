use proptest::prelude::{any, prop_assert, proptest};

use super::Decoder;

const ALL: [Decoder; 24] = [
    Decoder::Bool,
    Decoder::Int2,
    Decoder::Int4,
    Decoder::Int8,
    Decoder::Unsigned4,
    Decoder::Unsigned8,
    Decoder::Float4,
    Decoder::Float8,
    Decoder::Numeric,
    Decoder::Text,
    Decoder::Char,
    Decoder::Bytes,
    Decoder::Uuid,
    Decoder::Json,
    Decoder::Jsonb,
    Decoder::Date,
    Decoder::Time,
    Decoder::TimeWithZone,
    Decoder::Timestamp,
    Decoder::TimestampWithZone,
    Decoder::Interval,
    Decoder::Network,
    Decoder::Mac,
    Decoder::Void,
];

proptest! {
    #[test]
    fn bytes_that_no_database_sends_are_read_as_json_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let lists = ALL.into_iter().map(|item| Decoder::Array(Box::new(item)));
        for decoder in ALL.into_iter().chain(lists) {
            let mut out = Vec::new();
            // The content of json and jsonb is taken as Postgres gives it.
            let is_opaque = matches!(decoder, Decoder::Json | Decoder::Jsonb);
            if decoder.write(&bytes, &mut out).is_ok() && !is_opaque {
                prop_assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&out).is_ok(), "{decoder:?}: {out:?}");
            }
        }
    }
}

#[test]
fn a_value_with_bytes_left_over_is_refused() {
    assert!(Decoder::Int4.write(&[0, 0, 0, 1, 0], &mut Vec::new()).is_err());
    assert!(
        Decoder::Array(Box::new(Decoder::Int4)).write(&[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 23], &mut Vec::new()).is_err()
    );
}
