use bytes::Bytes;
use cache::Tag;
use config::TagTemplate;

use super::{Resolved, TAGS_MAX, tags_of_arguments, tags_of_result, tags_of_write, tags_of_written};
use crate::invalidate::StrictFamilies;

fn strict() -> StrictFamilies {
    StrictFamilies::new(&config::Cache { strict: vec!["account".to_owned()], ..Default::default() })
}

fn templates(texts: &[&str]) -> Vec<TagTemplate> {
    texts.iter().map(|text| TagTemplate::parse(text).expect(text)).collect()
}

fn relaxed(names: &[&str]) -> Vec<Tag> {
    names.iter().map(|name| Tag::new(name, false)).collect()
}

fn bytes(text: &str) -> Bytes {
    Bytes::from(text.to_owned())
}

/// What one template stands for over these arguments, without the tag of its family; `None` when it cannot be filled.
fn filled(template: &str, arguments: &str) -> Option<Vec<Tag>> {
    let Resolved { mut tags, unresolved, .. } =
        tags_of_arguments(&templates(&[template]), &strict(), Some(&bytes(arguments)));
    tags.remove(0);
    (!unresolved).then_some(tags)
}

fn of_result(template: &str, result: &str) -> Option<Vec<Tag>> {
    let result = bytes(&format!(r#"{{"content":[],"structuredContent":{result}}}"#));
    tags_of_result(&templates(&[template]), &strict(), None, &result)
}

#[test]
fn values_of_one_meaning_make_one_tag_and_others_never_do() {
    for (value, spelled) in [
        (r#""CUST-00042""#, "CUST-00042"),
        (r#""caf\u00e9 \"x\"""#, "café \"x\""),
        ("42", "42"),
        ("42.0", "42"),
        ("4.2e1", "42"),
        ("-0", "0"),
        ("9007199254740993", "9007199254740993"),
        ("12345678901234567890.5", "12345678901234567890.5"),
        ("true", "true"),
    ] {
        let wanted = relaxed(&[&format!("c:{spelled}")]);
        assert_eq!(filled("c:{id}", &format!(r#"{{"id":{value}}}"#)), Some(wanted), "{value}");
    }
    let long = format!(r#""{}""#, "x".repeat(2000));
    for value in ["null", "[1]", "{}", r#""\ud800""#, "1e99999", &long] {
        assert_eq!(filled("c:{id}", &format!(r#"{{"id":{value}}}"#)), None, "{value}");
    }
}

#[test]
fn a_way_leads_into_objects_and_every_item_of_a_list() {
    let arguments = r#"{"a":{"b.c":0,"ids":[1,"x",1]},"pairs":[{"k":"p"},{"k":"q"}]}"#;
    assert_eq!(filled("c:{a.ids[]}", arguments), Some(relaxed(&["c:1", "c:x"])));
    assert_eq!(filled("c:{pairs[].k}/{a.ids[]}", arguments), Some(relaxed(&["c:p/1", "c:p/x", "c:q/1", "c:q/x"])));
    assert_eq!(filled("c:all", arguments), Some(relaxed(&["c:all"])));
    assert_eq!(filled("c:{pairs}", arguments), None);
    assert_eq!(filled("c:{pairs.k}", arguments), None);
    assert_eq!(filled("c:{a[]}", arguments), None);
}

#[test]
fn a_result_names_the_tags_of_its_items_or_is_not_stored() {
    let tickets = r#"{"tickets":[{"key":"OPS-1"},{"key":"OPS-2"}]}"#;
    assert_eq!(of_result("ticket:{result.tickets[].key}", tickets), Some(relaxed(&["ticket:OPS-1", "ticket:OPS-2"])));
    assert_eq!(of_result("ticket:{result.tickets[].key}", r#"{"tickets":[]}"#), Some(Vec::new()));
    assert_eq!(of_result("ticket:{result.tickets[].key}", r#"{"tickets":[{}]}"#), None);
    assert_eq!(of_result("ticket:{result.tickets[].key}", "{}"), None);
    let text_alone = bytes(r#"{"content":[{"type":"text","text":"{\"key\":\"OPS-1\"}"}]}"#);
    let of_key = templates(&["ticket:{result.key}"]);
    assert_eq!(tags_of_result(&of_key, &strict(), None, &text_alone), None);
    // Nothing is asked of a result that no template is about.
    assert_eq!(tags_of_result(&templates(&["c:{id}"]), &strict(), None, &bytes("no JSON")), Some(Vec::new()));
}

#[test]
fn more_tags_than_the_bound_are_none() {
    let list =
        |count: usize| format!(r#"{{"ids":[{}]}}"#, (0..count).map(|id| id.to_string()).collect::<Vec<_>>().join(","));
    assert_eq!(of_result("c:{result.ids[]}", &list(TAGS_MAX)).map(|tags| tags.len()), Some(TAGS_MAX));
    assert_eq!(of_result("c:{result.ids[]}", &list(TAGS_MAX + 1)), None);
    assert_eq!(of_result("c:{result.ids[]}/{result.ids[]}", &list(17)), None);
}

#[test]
fn a_read_has_the_tags_of_its_families_and_a_stand_in_for_what_its_result_names() {
    let both = templates(&["account:{id}", "ticket:{result.key}"]);
    let resolved = tags_of_arguments(&both, &strict(), Some(&bytes(r#"{"id":7}"#)));
    let account = |name: &str| Tag::new(name, true);
    let family_of_tickets = Tag::new("weir:family:ticket", false);
    assert_eq!(resolved.tags, [account("weir:family:account"), account("account:7"), family_of_tickets]);
    assert_eq!(resolved.templates, relaxed(&["ticket:*"]));
    assert!(!resolved.unresolved);
    assert!(tags_of_arguments(&both, &strict(), None).unresolved);
}

#[test]
fn a_write_that_cannot_say_what_it_changes_ends_the_whole_family() {
    let both = templates(&["account:{id}", "ticket:{result.key}"]);
    let before = tags_of_write(&both, &strict(), Some(&bytes(r#"{"id":7}"#)));
    assert_eq!(before.templates, [Tag::new("account:*", true), Tag::new("ticket:*", false)]);
    assert_eq!(before.tags, [Tag::new("account:7", true)]);
    assert_eq!(tags_of_write(&both, &strict(), None).tags, [Tag::new("weir:family:account", true)]);

    let after = |result: Option<&str>| tags_of_written(&both, &strict(), None, result.map(bytes).as_ref());
    assert_eq!(after(Some(r#"{"structuredContent":{"key":"OPS-1"}}"#)), relaxed(&["ticket:OPS-1"]));
    assert_eq!(after(Some("{}")), relaxed(&["weir:family:ticket"]));
    assert_eq!(after(None), relaxed(&["weir:family:ticket"]));
}

/// Others would serve what the write changed if its end could not be told, and they store nothing meanwhile.
#[test]
fn a_write_that_only_its_result_explains_ends_a_strict_family_before_it_is_sent() {
    let of_result = templates(&["account:{result.id}", "account:{result.other}", "ticket:{result.key}"]);
    let before = tags_of_write(&of_result, &strict(), None);
    assert_eq!(before.templates, [Tag::new("account:*", true), Tag::new("ticket:*", false)]);
    assert_eq!(before.tags, [Tag::new("weir:family:account", true)]);
}
