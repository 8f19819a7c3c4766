//! Random copybooks with random records, encoded by an encoder that knows nothing of the decoder.

mod sample;

use config::downstream::mainframe::Encoding::{self, Cp037, Utf8};
use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest},
    sample::select,
};
use serde_json::Value;

use self::sample::Sample;
use super::Codec;

fn encodings() -> impl Strategy<Value = Encoding> {
    prop_oneof![Just(Cp037), Just(Utf8)]
}

fn fits(schema: &Value, json: &str) -> Result<(), String> {
    let value: Value = serde_json::from_str(json).map_err(|error| format!("{error}: {json}"))?;
    let validator = jsonschema::validator_for(schema).map_err(|error| format!("{error}: {schema}"))?;
    validator.validate(&value).map_err(|error| format!("{error}: {json}"))
}

/// Words of copybooks, and what is nearly one.
const WORDS: [&str; 44] = [
    "01",
    "05",
    "10",
    "49",
    "66",
    "77",
    "88",
    "A",
    "B-C",
    "FILLER",
    "PIC",
    "X(3)",
    "S9(4)V99",
    "9(5)",
    "ZZ9.99",
    "X(",
    "9(99999)",
    "VP9",
    "COMP",
    "COMP-3",
    "USAGE",
    "SIGN",
    "LEADING",
    "SEPARATE",
    "OCCURS",
    "2",
    "0 TO 3",
    "TIMES",
    "DEPENDING ON",
    "REDEFINES",
    "VALUE",
    "'x'",
    "\"",
    "ZEROS",
    "THRU",
    "JUST",
    "BLANK WHEN ZERO",
    ".",
    ".\n",
    "\n",
    "\n      -",
    "\n      *",
    "\t",
    "é",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn records_come_out_as_they_were_put_in(seed: u64, encoding in encodings(), count in 0_usize..4) {
        let mut sample = Sample::new(seed, encoding);
        let codec = Codec::fixed_width(sample.copybook(), encoding, true).expect("a copybook");
        let one = Codec::fixed_width(sample.copybook(), encoding, false).expect("a copybook");
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for _ in 0..count {
            let (record, json) = sample.record();
            prop_assert_eq!(one.decode(&record, usize::MAX), Ok(json.clone()), "{}", sample.copybook());
            prop_assert_eq!(fits(&one.output_schema(), &json), Ok(()), "{}", sample.copybook());
            bytes.extend(record);
            expected.push(json);
        }
        let json = format!(r#"{{"records":[{}]}}"#, expected.join(","));
        prop_assert_eq!(codec.decode(&bytes, usize::MAX), Ok(json.clone()), "{}", sample.copybook());
        prop_assert_eq!(fits(&codec.output_schema(), &json), Ok(()), "{}", sample.copybook());
    }

    #[test]
    fn a_record_that_is_cut_or_goes_on_is_refused(seed: u64, encoding in encodings(), cut: proptest::sample::Index) {
        let mut sample = Sample::new(seed, encoding);
        let codec = Codec::fixed_width(sample.copybook(), encoding, false).expect("a copybook");
        let (mut record, _) = sample.record();
        let cut = cut.index(record.len());
        let error = codec.decode(&record[..cut], usize::MAX).expect_err("it is cut");
        prop_assert!(error.offset <= cut && error.what.contains("ends too early"), "{error}");
        let whole = record.len();
        record.push(0);
        let error = codec.decode(&record, usize::MAX).expect_err("it goes on");
        prop_assert!(error.offset == whole && error.what.contains("more bytes follow (1)"), "{error}");
    }

    #[test]
    fn any_bytes_are_decoded_to_what_the_schema_says_or_refused(seed: u64, encoding in encodings(), bytes in vec(any::<u8>(), 0..300)) {
        let sample = Sample::new(seed, encoding);
        for many in [false, true] {
            let codec = Codec::fixed_width(sample.copybook(), encoding, many).expect("a copybook");
            match codec.decode(&bytes, usize::MAX) {
                Ok(json) => prop_assert_eq!(fits(&codec.output_schema(), &json), Ok(())),
                Err(error) => prop_assert!(error.offset <= bytes.len(), "{error}"),
            }
        }
    }

    #[test]
    fn a_byte_that_is_changed_never_breaks_the_decoder(seed: u64, encoding in encodings(), at: proptest::sample::Index, byte: u8) {
        let mut sample = Sample::new(seed, encoding);
        let codec = Codec::fixed_width(sample.copybook(), encoding, false).expect("a copybook");
        let (mut record, _) = sample.record();
        let at = at.index(record.len());
        record[at] = byte;
        match codec.decode(&record, usize::MAX) {
            Ok(json) => prop_assert_eq!(fits(&codec.output_schema(), &json), Ok(())),
            Err(error) => prop_assert!(error.offset <= record.len(), "{error}"),
        }
    }

    #[test]
    fn any_text_is_a_copybook_or_refused(text in any::<String>(), words in vec(select(&WORDS[..]), 0..60), bytes in vec(any::<u8>(), 0..80)) {
        for text in [text, words.join(" ")] {
            match Codec::fixed_width(&text, Cp037, true) {
                Ok(codec) => {
                    if let Ok(json) = codec.decode(&bytes, usize::MAX) {
                        prop_assert_eq!(fits(&codec.output_schema(), &json), Ok(()), "{}", text);
                    }
                }
                Err(error) => prop_assert!(error.line >= 1 && error.line <= text.lines().count().max(1), "{error}"),
            }
        }
    }
}
