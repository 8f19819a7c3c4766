use std::{collections::HashMap, sync::Arc};

use aws_lc_rs::hmac;
use config::masking::{MaskRule, Strategy};

use super::{Frame, Pass};
use crate::masking::{
    detect::Detector,
    masks::{Masks, Source},
    recur::{Known, Recurring},
};

fn rule(path: Option<&str>, detect: &[&str], with: Strategy) -> MaskRule {
    let detect = detect.iter().map(|name| (*name).to_owned()).collect();
    MaskRule { tools: Vec::new(), path: path.map(str::to_owned), detect, with, class: None }
}

fn masks(rules: &[MaskRule]) -> Masks {
    let known = Detector::BUILT_IN;
    let detectors = |rule: &MaskRule| {
        let of = |name: &String| known.iter().find(|(own, _)| own == name).expect("a detector").1.clone();
        rule.detect.iter().map(of).collect()
    };
    let source = |(at, rule)| Source { name: format!("p.rules[{at}]"), rule, detectors: detectors(rule) };
    let sources = rules.iter().enumerate().map(source).collect();
    Masks::new("p", sources, false, hmac::Key::new(hmac::HMAC_SHA256, b"key"))
}

/// What is left of a result.
fn masked(masks: &Masks, result: &str) -> String {
    let (nothing, names) = (Recurring::new(Vec::new()).expect("nothing to search for"), HashMap::new());
    let mut first = Pass::gathering(masks, &nothing, &names);
    first.json(result, Frame::Reply).expect("a result");
    let gathered = first.into_gathered();
    assert!(!gathered.too_many);
    let pass = Pass::masking(masks, &nothing, &names);
    let known = gathered.values.into_iter().map(|(value, rule)| {
        let shown = pass.shown(rule, &value);
        Known { value, rule, shown }
    });
    let known = Recurring::new(known.collect()).expect("few values");
    let mut second = Pass::masking(masks, &known, &names);
    second.json(result, Frame::Reply).expect("a result").into_owned()
}

#[test]
fn a_value_by_path_is_masked_there_and_wherever_it_recurs() {
    let masks = masks(&[rule(Some("$..name"), &[], Strategy::Redact)]);
    let result = r#"{"content":[{"type":"text","text":"{\"name\":\"Ada Lovelace\",\"n\":1.0}"},{"type":"text","text":"It is ADA LOVELACE, or Ada."},
        {"type":"resource","resource":{"uri":"x://Ada Lovelace","text":"name: Ada Lovelace"}},{"type":"resource_link","name":"text","uri":"u:Ada%20Lovelace"}],
        "structuredContent":{"rows":[{"name":"Ada Lovelace","Ada Lovelace":{"id":9007199254740993.10}}]},"_meta":{"who":"Ada Lovelace"}}"#;
    let expected = r#"{"content":[{"type":"text","text":"{\"name\":\"[redacted]\",\"n\":1.0}"},{"type":"text","text":"It is [redacted], or Ada."},
        {"type":"resource","resource":{"uri":"x://[redacted]","text":"name: [redacted]"}},{"type":"resource_link","name":"text","uri":"u:Ada%20Lovelace"}],
        "structuredContent":{"rows":[{"name":"[redacted]","[redacted]":{"id":9007199254740993.10}}]},"_meta":{"who":"[redacted]"}}"#;
    assert_eq!(masked(&masks, result), expected);
}

#[test]
fn what_is_found_by_its_looks_is_masked_in_every_place() {
    let masks = masks(&[rule(None, &["email"], Strategy::Partial), rule(None, &["card"], Strategy::Last4)]);
    for (given, expected) in [
        (
            r#"{"content":[{"type":"text","text":"to ada@example.com"}]}"#,
            r#"{"content":[{"type":"text","text":"to a…@example.com"}]}"#,
        ),
        (
            r#"{"structuredContent":{"ada\u0040example.com":[4111111111111111]}}"#,
            r#"{"structuredContent":{"a…@example.com":["…1111"]}}"#,
        ),
        (
            r#"{"structuredContent":{"n":4.111111111111111e15,"m":41.5}}"#,
            r#"{"structuredContent":{"n":"…1111","m":41.5}}"#,
        ),
        (
            r#"{"content":[{"type":"resource","resource":{"uri":"f:x","blob":"bWFpbCBhZGFAZXhhbXBsZS5jb20="}}]}"#,
            r#"{"content":[{"type":"resource","resource":{"uri":"f:x","blob":"bWFpbCBh4oCmQGV4YW1wbGUuY29t"}}]}"#,
        ),
        (
            r#"{"content":[{"type":"text","text":"x YWRhQGV4YW1wbGUuY29t y"}]}"#,
            r#"{"content":[{"type":"text","text":"x [redacted] y"}]}"#,
        ),
        (
            r#"{"inputRequests":{"a":{"message":"Is it ada@example.com?"}}}"#,
            r#"{"inputRequests":{"a":{"message":"Is it a…@example.com?"}}}"#,
        ),
    ] {
        assert_eq!(masked(&masks, given), expected);
    }
}

#[test]
fn two_members_that_look_alike_afterwards_are_still_two() {
    let masks = masks(&[rule(None, &["email"], Strategy::Redact)]);
    let given = r#"{"structuredContent":{"a@b.example":1,"c@d.example":2}}"#;
    assert_eq!(masked(&masks, given), r#"{"structuredContent":{"[redacted]":1,"[redacted] (2)":2}}"#);
}

#[test]
fn the_first_rule_that_fits_counts_and_what_overlaps_is_redacted() {
    let first = [rule(None, &["email"], Strategy::Partial), rule(Some("$..mail"), &[], Strategy::Redact)];
    let given = r#"{"structuredContent":{"mail":"ada@example.com","other":"ada@example.com"}}"#;
    assert_eq!(
        masked(&masks(&first), given),
        r#"{"structuredContent":{"mail":"a…@example.com","other":"a…@example.com"}}"#
    );
    let [by_looks, by_path] = first;
    let turned = masks(&[by_path, by_looks]);
    assert_eq!(masked(&turned, given), r#"{"structuredContent":{"mail":"[redacted]","other":"[redacted]"}}"#);
    let both = masks(&[rule(None, &["secret"], Strategy::Last4), rule(None, &["email"], Strategy::Partial)]);
    let given = r#"{"content":[{"type":"text","text":"password=x1ada@example.com"}]}"#;
    let left = masked(&both, given);
    assert!(!left.contains("example.com") || left.contains("[redacted]"), "{left}");
}

#[test]
fn words_of_the_protocol_and_what_is_not_masked_keep_every_byte() {
    let masks = masks(&[rule(Some("$..kind"), &[], Strategy::Redact)]);
    let given = r#"{ "content":[ {"type":"text", "text":"a" } ], "isError":false, "structuredContent":{"kind":null,"n":1.50} }"#;
    assert_eq!(masked(&masks, given), given);
    let given = r#"{"content":[{"type":"text","text":"hello"}],"structuredContent":{"kind":"text","b":{"kind":[true,{"c":12345}]}}}"#;
    let expected = r#"{"content":[{"type":"text","text":"hello"}],"structuredContent":{"kind":"[redacted]","b":{"kind":["[redacted]",{"c":"[redacted]"}]}}}"#;
    assert_eq!(masked(&masks, given), expected);
}

#[test]
fn what_cannot_be_looked_into_is_noticed() {
    let masks = masks(&[rule(None, &["email"], Strategy::Redact)]);
    let (nothing, names) = (Recurring::new(Vec::new()).expect("nothing to search for"), HashMap::new());
    for (given, unseen) in [
        (r#"{"content":[{"type":"image","data":"iVBORw0KGgoAAAANSUhEUg==","mimeType":"image/png"}]}"#, true),
        (r#"{"content":[{"type":"resource","resource":{"uri":"x","blob":"/////w=="}}]}"#, true),
        (r#"{"content":[{"type":"resource","resource":{"uri":"x","blob":"aGVsbG8="}}]}"#, false),
        (r#"{"requestState":"abc","inputRequests":{}}"#, true),
        (r#"{"content":[{"type":"text","text":"hello"}]}"#, false),
    ] {
        let mut pass = Pass::masking(&masks, &nothing, &names);
        pass.json(given, Frame::Reply).expect("a result");
        assert_eq!(pass.unseen, unseen, "{given}");
    }
    let mut pass = Pass::masking(&masks, &nothing, &names);
    let deep = format!("{{\"structuredContent\":{}1{}}}", "[".repeat(300), "]".repeat(300));
    assert!(pass.json(&deep, Frame::Reply).is_err());
    assert!(pass.json("{\"a\":", Frame::Reply).is_err());
}

#[test]
fn a_value_that_does_not_stand_alone_hides_none_that_does() {
    let masks = masks(&[rule(Some("$..secret"), &[], Strategy::Redact)]);
    let given = r#"{"structuredContent":{"secret":["xabc","abcdefghij","John S","John"]},"content":[{"type":"text","text":"xabcdefghij John Smith"}]}"#;
    let expected = r#"{"structuredContent":{"secret":["[redacted]","[redacted]","[redacted]","[redacted]"]},"content":[{"type":"text","text":"x[redacted] [redacted] Smith"}]}"#;
    assert_eq!(masked(&masks, given), expected);
}

#[test]
fn base64_that_only_some_read_is_looked_into_all_the_same() {
    let masks = masks(&[rule(None, &["email"], Strategy::Redact)]);
    // Without its padding, and with a line break in it.
    for blob in ["YWRhQGV4YW1wbGUuY29tLCA_Pz8", "YWRhQGV4YW1wbGUuY29t\\nLCBhZGE"] {
        let given = format!(r#"{{"content":[{{"type":"resource","resource":{{"uri":"x","blob":"{blob}"}}}}]}}"#);
        assert!(!masked(&masks, &given).contains("YWRhQGV4YW1wbGUuY29t"), "{blob}");
    }
}

#[test]
fn a_restored_value_is_its_pseudonym_again() {
    let masks = masks(&[]);
    let name = "cust_0123456789ab".to_owned();
    let value = crate::masking::names::Value::Number(Arc::from("42"));
    let known = Recurring::new(vec![Known { value, rule: 0, shown: name }]).expect("one value");
    let names = HashMap::new();
    let mut pass = Pass::masking(&masks, &known, &names);
    let given = r#"{"content":[{"type":"text","text":"no customer 42, but 142 and a42"}],"structuredContent":{"id":42,"n":420}}"#;
    let expected = r#"{"content":[{"type":"text","text":"no customer cust_0123456789ab, but 142 and a42"}],"structuredContent":{"id":"cust_0123456789ab","n":420}}"#;
    assert_eq!(pass.json(given, Frame::Reply).expect("a result"), expected);
}
