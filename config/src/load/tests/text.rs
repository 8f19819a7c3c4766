//! Texts that are no config at all: broken, hostile, or empty.

use insta::assert_snapshot;

use super::problems;

#[test]
fn text_that_is_no_yaml_is_reported_with_its_place() {
    let mut shown = String::new();
    for text in [
        "server:\n\tlisten: 127.0.0.1:8080\n",
        "server: { listen: 127.0.0.1:8080\nlog: {}\n",
        "log: { format: 'json }\n",
        "server:\n  listen: 127.0.0.1:8080\n admin: 127.0.0.1:8081\n",
        "audit: { dir: logs }\nserver: listen: 127.0.0.1:8080\n",
        "policy:\n  roles:\n    admin: { allow: [*] }\n",
        "policy: { roles: { admin: { allow: *all } } }\n",
        "log: {}\n---\nlog: {}\n",
        "log: @x\n",
        "~: 1\n",
    ] {
        shown += &problems(text);
        shown += "\n----\n";
    }
    assert_snapshot!(shown, @r#"
    weir.yaml:2:2: a tab is used for indentation
      2 |  listen: 127.0.0.1:8080
        |  ^
      help: YAML is indented with spaces: replace the tab by two of them

    1 problem
    ----
    weir.yaml:2:4: a bracket is not closed before this, or a comma is missing
      2 | log: {}
        |    ^
      help: end every `{` with `}` and every `[` with `]`

    1 problem
    ----
    weir.yaml:1:16: this quote is never closed
      1 | log: { format: 'json }
        |                ^
      help: end the text with the same quote

    1 problem
    ----
    weir.yaml:3:2: this line is indented unlike the lines of its section, or the line before does not end
      3 |  admin: 127.0.0.1:8081
        |  ^
      help: keys of one section start in the same column

    1 problem
    ----
    weir.yaml:2:15: a second `:` on this line
      2 | server: listen: 127.0.0.1:8080
        |               ^
      help: put a value that contains `: ` in quotes, or begin a new line for the inner key

    1 problem
    ----
    weir.yaml:3:22: `*` and `&` at the start of a text have a meaning of their own in YAML
      3 |     admin: { allow: [*] }
        |                      ^
      help: put the text in quotes: `"*"`

    1 problem
    ----
    weir.yaml:1:36: this alias has no anchor
      1 | policy: { roles: { admin: { allow: *all } } }
        |                                    ^
      help: `*name` repeats what `&name` marks further up; put a text that begins with `*` in quotes: `"*"`

    1 problem
    ----
    weir.yaml:3:1: a second YAML document begins here
      3 | log: {}
        | ^
      help: keep one document in the file and remove `---`

    1 problem
    ----
    weir.yaml:1:6: no value begins with this character
      1 | log: @x
        |      ^
      help: put the text in quotes

    1 problem
    ----
    weir.yaml:1:1: a key must be a text
      1 | ~: 1
        | ^

    1 problem
    ----
    "#);
}

#[test]
fn a_text_made_to_exhaust_its_reader_is_refused() {
    let bomb = "
a: &a [x, x, x, x, x, x, x, x, x, x]
b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]
c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]
d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]
e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]
f: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e]
";
    assert_snapshot!(problems(bomb), @"
    weir.yaml:6:36: the text unfolds to more than 100000 values or 24 levels
      6 | e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]
        |                                    ^
      help: use fewer levels, and fewer aliases (`*name`) inside of anchors (`&name`)

    1 problem
    ");
    let deep = format!("audit: {}1{}", "{ a: ".repeat(1000), " }".repeat(1000));
    assert_snapshot!(problems(&deep), @"
    weir.yaml:1:123: the text unfolds to more than 100000 values or 24 levels
      1 | { a: { a: { a: { a: { a: { a: { a: { a: { a: { a: { a: { a: { a: { a: { a: { a: { a: { a: { a: { a: { a: { a: { a: { a: { a: { a: { a: { a:
        |                                         ^
      help: use fewer levels, and fewer aliases (`*name`) inside of anchors (`&name`)

    1 problem
    ");
}

#[test]
fn an_empty_file_is_refused() {
    let mut shown = String::new();
    for text in ["", "\n\n", "# nothing yet\n", "---\n"] {
        shown += &problems(text);
        shown += "\n----\n";
    }
    assert_snapshot!(shown, @"
    weir.yaml: there is nothing in it
      help: `weir init` writes one to start from

    1 problem
    ----
    weir.yaml: there is nothing in it
      help: `weir init` writes one to start from

    1 problem
    ----
    weir.yaml: there is nothing in it
      help: `weir init` writes one to start from

    1 problem
    ----
    weir.yaml: there is nothing in it
      help: `weir init` writes one to start from

    1 problem
    ----
    ");
}
