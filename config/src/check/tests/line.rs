//! `calls_max`, `calls_max_shared` and `line` of a downstream.

use insta::assert_snapshot;

use super::mcp;

fn downstream(kind: &str, settings: &[&str]) -> String {
    let whole: Vec<String> = settings.iter().map(|setting| format!("{{ {kind}, {setting} }}")).collect();
    mcp(&whole.iter().map(String::as_str).collect::<Vec<_>>()).replace("downstreams: ", "")
}

#[test]
fn places_permits_and_the_line_have_bounds() {
    assert_snapshot!(downstream("mcp: { websocket: { url: 'wss://e' } }", &[
        "calls_max: 4, calls_max_shared: 8, line: { max: 0, fair_by: caller }",
        "calls_max: 0, calls_max_shared: 0, line: { max: 10001 }",
        "calls_max: 9, calls_max_shared: 8",
    ]), @"
    { e: { mcp: { websocket: { url: 'wss://e' } }, calls_max: 4, calls_max_shared: 8, line: { max: 0, fair_by: caller } } }
      fine
    { e: { mcp: { websocket: { url: 'wss://e' } }, calls_max: 0, calls_max_shared: 0, line: { max: 10001 } } }
      problem 1:72 `downstreams.e.calls_max` must be at least 1
        help: with 0 nothing would ever be let through
      problem 1:93 `downstreams.e.calls_max_shared` must be at least 1
        help: with 0 nothing would ever be let through
      problem 1:109 `downstreams.e.line.max` must be at most 10000, not 10001
        help: who would wait longer than its call may take is refused at once in any case
    { e: { mcp: { websocket: { url: 'wss://e' } }, calls_max: 9, calls_max_shared: 8 } }
      warning 1:72 `downstreams.e.calls_max` has no effect: `calls_max_shared` is 8, and more calls than that do not run at once
        help: raise `calls_max_shared` too, or remove this
    ");
}

#[test]
fn a_mainframe_has_its_own_word_for_permits() {
    assert_snapshot!(downstream("mainframe: { base_url: 'https://e', concurrency: 3 }", &[
        "calls_max_shared: 3",
        "calls_max: 4",
    ]), @"
    { e: { mainframe: { base_url: 'https://e', concurrency: 3 }, calls_max_shared: 3 } }
      problem 1:93 `downstreams.e.calls_max_shared` is what `mainframe.concurrency` says for a mainframe
        help: remove it, and write the number of calls at `mainframe.concurrency`
    { e: { mainframe: { base_url: 'https://e', concurrency: 3 }, calls_max: 4 } }
      warning 1:16 `downstreams.e` offers no tools
        help: name at least one under `tools`
      warning 1:86 `downstreams.e.calls_max` has no effect: `mainframe.concurrency` is 3, and more calls than that do not run at once
        help: raise `mainframe.concurrency` too, or remove this
    ");
}
