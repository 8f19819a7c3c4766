mod meaning;

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use self::meaning::{Dice, Meaning, SPECIAL, fixed_point, json_object};
use super::{Canonical, Uncacheable};

fn canonical(text: &str) -> Result<String, Uncacheable> {
    Canonical::of(text.as_bytes()).map(|canonical| canonical.as_str().to_owned())
}

/// The canonical form of `text` as an argument's value.
fn of_value(text: &str) -> Result<String, Uncacheable> {
    let whole = canonical(&format!("{{\"a\":{text}}}"))?;
    Ok(whole["{\"a\":".len()..whole.len() - 1].to_owned())
}

#[test]
fn spellings_of_one_number_are_one() {
    for (spellings, expected) in [
        (&["1", "1.0", "1e0", "10e-1", "0.1E1", "0.001e+3", "1.000e-0", "100e-02"][..], "1"),
        (&["0", "0.0", "0e5", "0.000E-7", "0e0"], "0"),
        (&["-0", "-0.0", "-0e9"], "-0"),
        (&["-12.50", "-125e-1", "-0.00125e4"], "-12.5"),
        (&["120", "12e1", "1.2e2"], "120"),
        (&["1e20", "100000000000000000000", "10e19"], "100000000000000000000"),
        (&["1e21", "1000000000000000000000", "0.1e22"], "1e+21"),
        (&["1.25e21", "1250e18"], "1.25e+21"),
        (&["0.000001", "1e-6", "10e-7"], "0.000001"),
        (&["0.0000001", "1e-7", "100e-9"], "1e-7"),
        (&["9007199254740993", "9007199254740993.000", "9.007199254740993e15"], "9007199254740993"),
        (&["1e9999", "10e9998"], "1e+9999"),
    ] {
        for spelling in spellings {
            assert_eq!(of_value(spelling).as_deref(), Ok(expected), "{spelling}");
        }
    }
}

/// All pairs out of some thousand spellings, many of them of one value.
#[test]
fn numbers_are_the_same_exactly_if_they_are_equal() {
    let mut form_of = HashMap::new();
    let mut value_of = HashMap::new();
    for sign in ["", "-"] {
        for whole in ["0", "1", "2", "10", "12", "100", "120", "1000"] {
            for fraction in ["", ".0", ".1", ".2", ".01", ".10", ".012", ".000", ".0000001"] {
                for exponent in ["", "e0", "e1", "E+1", "e-1", "e02", "e-2", "e3", "E-3", "e-6", "e18", "e20", "e-20"] {
                    let spelling = [sign, whole, fraction, exponent].concat();
                    let form = of_value(&spelling).expect("a number");
                    let value = fixed_point(&spelling);
                    assert_eq!(form_of.entry(value.clone()).or_insert_with(|| form.clone()), &form, "{spelling}");
                    assert_eq!(value_of.entry(form).or_insert_with(|| value.clone()), &value, "{spelling}");
                }
            }
        }
    }
}

#[test]
fn numbers_that_a_double_rounds_together_stay_apart() {
    for (one, other) in [
        ("9007199254740992", "9007199254740993"),
        ("9007199254740992", "9007199254740992.5"),
        ("-9007199254740992", "-9007199254740993"),
        ("18446744073709551616", "18446744073709551617"),
        ("123456789012345678901234567890", "123456789012345678901234567891"),
        ("0.1", "0.1000000000000000055511151231257827"),
        ("1e400", "1e401"),
        ("1e-400", "0"),
        ("-1e-400", "-0"),
        ("0", "-0"),
        ("1", "1.0000000000000000000000000000000001"),
    ] {
        assert_ne!(of_value(one).expect("a number"), of_value(other).expect("a number"), "{one} and {other}");
    }
}

#[test]
fn what_is_not_the_same_value_is_not_the_same() {
    let values = [
        "1",
        "\"1\"",
        "true",
        "\"true\"",
        "null",
        "\"null\"",
        "\"\"",
        "[]",
        "{}",
        "[1]",
        "[[1]]",
        "\"\u{e9}\"",
        "\"e\u{301}\"",
        "\"E\"",
    ];
    for (at, one) in values.iter().enumerate() {
        for other in &values[at + 1..] {
            assert_ne!(of_value(one).expect("JSON"), of_value(other).expect("JSON"), "{one} and {other}");
        }
    }
    assert_ne!(canonical(r#"{"a":null}"#), canonical("{}"));
    assert_ne!(canonical(r#"{"a":[1,2]}"#), canonical(r#"{"a":[2,1]}"#));
    assert_ne!(canonical(r#"{"a":{"b":1},"c":2}"#), canonical(r#"{"a":{"b":1,"c":2}}"#));
}

#[test]
fn members_are_in_the_order_of_their_utf_16_code_units() {
    // U+1F600 begins with the code unit D83D, so it stands before U+FB33, though its bytes are greater.
    let shuffled =
        "{ \"\u{fb33}\" : 6,\"\\ud83d\\ude00\":5,\"\u{20ac}\":4,\t\"b\":3,\"a\\u0000\":2,\"a\":1,\r\n\"\":0 }";
    let ordered = "{\"\":0,\"a\":1,\"a\\u0000\":2,\"b\":3,\"\u{20ac}\":4,\"\u{1f600}\":5,\"\u{fb33}\":6}";
    assert_eq!(canonical(shuffled).as_deref(), Ok(ordered));
}

#[test]
fn strings_are_their_code_points_however_they_are_escaped() {
    for (spellings, expected) in [
        (&[r#""A\/""#, r#""\u0041/""#][..], r#""A/""#),
        (&[r#""\u00e9""#, r#""\u00E9""#, "\"\u{e9}\""], "\"\u{e9}\""),
        (&[r#""\ud83d\ude00""#, r#""\uD83D\uDE00""#, "\"\u{1f600}\""], "\"\u{1f600}\""),
        (&[r#""\u0008\u0009\u000a\u000c\u000D\u001f""#, r#""\b\t\n\f\r\u001F""#], r#""\b\t\n\f\r\u001f""#),
        (&[r#""\u0022\u005c""#, r#""\"\\""#], r#""\"\\""#),
        (&["\"\u{7f}\u{2028}\"", r#""\u007f\u2028""#], "\"\u{7f}\u{2028}\""),
    ] {
        for spelling in spellings {
            assert_eq!(of_value(spelling).as_deref(), Ok(expected), "{spelling}");
        }
    }
}

/// All texts of up to two special characters, each of them in two spellings.
#[test]
fn texts_are_the_same_exactly_if_they_are_equal() {
    let none_or_one = || [String::new()].into_iter().chain(SPECIAL.chars().map(String::from));
    let texts: HashSet<String> =
        none_or_one().flat_map(|first| none_or_one().map(move |second| first.clone() + &second)).collect();
    let mut forms = HashSet::new();
    for text in &texts {
        let text = Meaning::Text(text.clone());
        let form = of_value(&text.spelled(&mut Dice(1))).expect("a text");
        assert_eq!(of_value(&text.spelled(&mut Dice(2))).as_ref(), Ok(&form), "{text:?}");
        forms.insert(form);
    }
    assert_eq!(forms.len(), texts.len());
}

#[test]
fn what_is_in_doubt_has_no_key() {
    for (text, expected) in [
        (r#"{"a":1,"\u0061":1}"#, Uncacheable::Twice),
        (r#"{"a":[{"b":1,"c":2,"b":1}]}"#, Uncacheable::Twice),
        (r#"{"a":"\ud800"}"#, Uncacheable::LoneSurrogate),
        (r#"{"a":"\ude00\ud83d"}"#, Uncacheable::LoneSurrogate),
        (r#"{"a":"\ud83d\ud83d\ude00"}"#, Uncacheable::LoneSurrogate),
        (r#"{"a":"\ud83d\u0041"}"#, Uncacheable::LoneSurrogate),
        (r#"{"\udfff":1}"#, Uncacheable::LoneSurrogate),
        (r#"{"a":1e999999999}"#, Uncacheable::Exponent),
        (r#"{"a":1e-10000}"#, Uncacheable::Exponent),
        (r#"{"a":10e9999}"#, Uncacheable::Exponent),
        (r#"{"a":0e10000}"#, Uncacheable::Exponent),
        (r#"{"a":1e99999999999999999999999}"#, Uncacheable::Exponent),
        ("[]", Uncacheable::NotAnObject),
        ("null", Uncacheable::NotAnObject),
    ] {
        assert_eq!(canonical(text), Err(expected), "{text}");
    }
}

#[test]
fn what_is_not_json_has_no_key() {
    for (text, at) in [
        ("", 0),
        ("{", 1),
        ("{} {}", 3),
        ("{\"a\"}", 4),
        ("{\"a\":}", 5),
        ("{\"a\":1,}", 7),
        ("{\"a\":1 \"b\":2}", 7),
        ("{\"a\":[1,]}", 8),
        ("{\"a\":[1}", 7),
        ("{\"a\":01}", 6),
        ("{\"a\":1.}", 7),
        ("{\"a\":.5}", 5),
        ("{\"a\":1e}", 7),
        ("{\"a\":+1}", 5),
        ("{\"a\":-}", 6),
        ("{\"a\":NaN}", 5),
        ("{\"a\":nul}", 5),
        ("{\"a\":\"\\x\"}", 7),
        ("{\"a\":\"\\u12g4\"}", 10),
        ("{\"a\":\"\n\"}", 6),
        ("{\"a\":\"b", 7),
        ("{'a':1}", 1),
        ("\u{feff}{}", 0),
        ("\u{a0}{}", 0),
    ] {
        assert_eq!(canonical(text), Err(Uncacheable::NotJson { at }), "{text:?}");
    }
    assert_eq!(Canonical::of(b"{\"a\":\"\xed\xa0\x80\"}"), Err(Uncacheable::NotJson { at: 6 }));
}

#[test]
fn size_and_depth_are_bounded() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert!(canonical(&nested(64)).is_ok());
    assert_eq!(canonical(&nested(65)), Err(Uncacheable::TooDeep));
    assert_eq!(canonical(&"{\"a\":".repeat(10_000)), Err(Uncacheable::TooDeep));

    let sized = |bytes: usize| format!("{{\"a\":\"{}\"}}", "b".repeat(bytes - 8));
    assert!(canonical(&sized(64 * 1024)).is_ok());
    assert_eq!(canonical(&sized(64 * 1024 + 1)), Err(Uncacheable::TooLarge));
}

#[test]
fn the_largest_number_is_as_long_as_it_is_written() {
    let digits = "123456789".repeat(1_000);
    assert_eq!(of_value(&format!("{digits}.0")), Ok(format!("1.{}e+8999", &digits[1..])));
    assert_eq!(of_value(&format!("1{}", "0".repeat(9_999))).as_deref(), Ok("1e+9999"));
    assert_eq!(of_value(&format!("1{}", "0".repeat(10_000))), Err(Uncacheable::Exponent));
}

#[test]
fn arguments_do_not_show_in_debug_output() {
    let canonical = Canonical::of(br#"{"iban":"DE02"}"#).expect("JSON");
    assert_eq!(format!("{canonical:?}"), "Canonical(15 bytes)");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_spelling_of_one_meaning_is_the_same(object in json_object(), one: u64, other: u64) {
        let one = object.spelled(&mut Dice(one));
        let other = object.spelled(&mut Dice(other));
        prop_assert_eq!(canonical(&one).expect("JSON"), canonical(&other).expect("JSON"), "{} and {}", one, other);
    }

    #[test]
    fn another_meaning_is_never_the_same(object in json_object(), change: u64, spelling: u64) {
        let mut changed = object.clone();
        changed.change(&mut Dice(change));
        prop_assume!(changed != object && matches!(changed, Meaning::Object(_)));
        // The same dice: the spellings differ in nothing but the change.
        let one = object.spelled(&mut Dice(spelling));
        let other = changed.spelled(&mut Dice(spelling));
        prop_assert_ne!(canonical(&one).expect("JSON"), canonical(&other).expect("JSON"), "{} and {}", one, other);
    }

    #[test]
    fn the_canonical_form_is_its_own(object in json_object(), spelling: u64) {
        let once = canonical(&object.spelled(&mut Dice(spelling))).expect("JSON");
        prop_assert_eq!(canonical(&once).expect("JSON"), once);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Canonical::of(&bytes);
    }

    #[test]
    fn no_text_like_json_makes_it_panic(text in "[\\[\\]{}:,\"0-9eE.+\\-a-z \\\\ud8é]{0,32}") {
        let _ = canonical(&format!("{{{text}}}"));
    }
}
