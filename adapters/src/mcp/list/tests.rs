use std::time::Duration;

use super::{DEPTH_MAX, Gathered, Page, check, depth};
use crate::CallerInputs;

fn gathered(pages: &[&str]) -> Gathered {
    let mut gathered = Gathered::default();
    for page in pages {
        let parsed: Page<'_> = serde_json::from_str(page).expect(page);
        gathered.add(&parsed, page.len(), &CallerInputs::Unknown);
    }
    gathered
}

#[test]
fn definitions_are_kept_byte_for_byte_and_in_order() {
    let odd =
        r#"{ "vendor" : {"b":1,"a":2}, "name":"z","big": 9007199254740993, "inputSchema" : { "type":"object" } }"#;
    let page = format!(r#"{{"tools":[{odd}, {{"name":"a","inputSchema":{{}}}}]}}"#);
    let offer = gathered(&[&page]).into_offer(Duration::from_secs(60));
    assert_eq!(offer.tools[0].definition.get(), odd);
    assert_eq!(offer.tools.iter().map(|tool| &*tool.local_name).collect::<Vec<_>>(), ["z", "a"]);
}

#[test]
fn a_bad_tool_is_left_out_alone_with_its_name_and_the_reason() {
    let deep = format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
    let (deep, large, long) =
        (format!(r#"{{"name":"d","inputSchema":{{}},"x":{deep}}}"#), "x".repeat(300_000), "n".repeat(257));
    let rows = [
        ("7", "", "it is no JSON object"),
        (r#"{"inputSchema":{}}"#, "", "it has no `name`"),
        (r#"{"name":7,"inputSchema":{}}"#, "", "it has no `name`"),
        (r#"{"name":"","inputSchema":{}}"#, "", "its name has 0 bytes; from 1 to 256 can be used"),
        (r#"{"name":"s"}"#, "s", "it has no `inputSchema`"),
        (r#"{"name":"s","inputSchema":null}"#, "s", "its `inputSchema` is no JSON object"),
        (r#"{"name":"s","inputSchema":true}"#, "s", "its `inputSchema` is no JSON object"),
        (&deep, "d", "its definition nests deeper than 64 levels"),
    ];
    for (definition, name, reason) in rows {
        let expected = (name.to_owned(), reason.to_owned());
        assert_eq!(check(definition).expect_err(definition), expected);
    }
    check(&format!(r#"{{"name":"{long}","inputSchema":{{}}}}"#)).expect_err("a long name");
    check(&format!(r#"{{"name":"l","inputSchema":{{}},"d":"{large}"}}"#)).expect_err("a large definition");
    let page = r#"{"tools":[{"name":"a","inputSchema":{}},{"name":"bad"},{"name":"a","inputSchema":{"x":1}},{"name":"b","inputSchema":{}}]}"#;
    let offer = gathered(&[page]).into_offer(Duration::ZERO);
    assert_eq!(offer.tools.len(), 2);
    let left_out: Vec<_> = offer.left_out.iter().map(|out| out.local_name.as_str()).collect();
    assert_eq!(left_out, ["bad", "a"]);
    assert_eq!(offer.tools[0].definition.get(), r#"{"name":"a","inputSchema":{}}"#, "the first of two counts");
}

#[test]
fn brackets_inside_strings_do_not_nest() {
    for (text, expected) in [("{}", 1), ("[{\"a\":[]}]", 3), (r#"{"[[[\"[":"]]\\"}"#, 1), ("7", 0)] {
        assert_eq!(depth(text), expected, "{text}");
    }
}

#[test]
fn the_list_holds_as_long_as_the_shortest_page_says() {
    let default = Duration::from_secs(60);
    let rows = [
        (&[r#"{"tools":[]}"#][..], default),
        (&[r#"{"tools":[],"ttlMs":0}"#], Duration::ZERO),
        (&[r#"{"tools":[],"ttlMs":5000}"#, r#"{"tools":[],"ttlMs":0}"#], Duration::ZERO),
        (&[r#"{"tools":[],"ttlMs":5000}"#, r#"{"tools":[],"ttlMs":2500.5}"#], Duration::from_micros(2_500_500)),
        (&[r#"{"tools":[],"ttlMs":1e300}"#], Duration::from_secs(24 * 3600)),
        (&[r#"{"tools":[],"ttlMs":-1}"#], Duration::ZERO),
    ];
    for (pages, expected) in rows {
        assert_eq!(gathered(pages).into_offer(default).fresh_for, Some(expected), "{pages:?}");
    }
}
