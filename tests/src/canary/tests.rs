use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use proptest::prelude::*;

use super::{Canaries, Holder};

fn with(kind: &str, holder: Holder, value: &str) -> Canaries {
    let mut canaries = Canaries::new();
    canaries.add(kind, holder, value);
    canaries
}

#[test]
fn a_planted_secret_is_found_in_every_form() {
    let value = "p@ss/wörd\"+?~~~kl";
    let canaries = with("password", Holder::Downstream, value);
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent = "p%40ss%2Fw%C3%B6rd%22%2B%3F~~~kl".to_owned();
    let json = serde_json::json!({ "said": value }).to_string();
    let mut planted = vec![value.to_owned(), hex.to_uppercase(), hex, percent, json];
    for before in ["", "u", "us", "bot:"] {
        planted.push(STANDARD.encode(format!("{before}{value}")));
        planted.push(URL_SAFE.encode(format!("{before}{value} and more")));
    }
    for text in planted {
        let found = canaries.find(format!("a line with {text} in it").as_bytes(), |_, _| true);
        assert_eq!(found.map(|found| found.kind), Some("password".into()), "{text}");
    }
}

#[test]
fn what_only_resembles_it_is_not_found() {
    let canaries = with("password", Holder::Downstream, "canary-password-0123");
    for text in ["", "canary-", "canary-password-0124", "Canary-password-0123", "canary-password-012"] {
        assert_eq!(canaries.find(text.as_bytes(), |_, _| true), None, "{text}");
    }
}

#[test]
fn a_value_that_is_hardly_one_is_passed_over() {
    for value in ["short", "0000000000000000", "ababababababababab"] {
        assert_eq!(with("password", Holder::Weir, value).find(value.as_bytes(), |_, _| true), None, "{value}");
    }
}

#[test]
fn who_may_be_shown_a_secret_decides_what_counts() {
    let value = "canary-bearer-abcdef";
    let canaries = with("bearer", Holder::Downstream, value);
    assert!(canaries.find(value.as_bytes(), |_, holder| holder == Holder::Weir).is_none());
    assert!(canaries.find(value.as_bytes(), |kind, _| kind == "bearer").is_some());
}

proptest! {
    #[test]
    fn it_is_found_wherever_it_stands(before: Vec<u8>, after: Vec<u8>, which in 0..3_usize) {
        let value = "canary-any-7f3a90bd";
        let canaries = with("any", Holder::Weir, value);
        let whole = [&before[..], value.as_bytes(), &after].concat();
        let written = match which {
            0 => whole,
            1 => STANDARD.encode(whole).into_bytes(),
            _ => URL_SAFE.encode(whole).into_bytes(),
        };
        prop_assert!(canaries.find(&written, |_, _| true).is_some());
    }
}
