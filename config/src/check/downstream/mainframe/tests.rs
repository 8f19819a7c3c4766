//! What does not fit together in a mainframe: each case is one mistake in an otherwise good config.

use std::{fmt::Write as _, path::Path};

use insta::assert_snapshot;

use crate::parse;

/// Every problem and warning of each mainframe, without its snippet.
fn said(mainframes: &[&str]) -> String {
    let mut said = String::new();
    for text in mainframes {
        let yaml = format!(
            "downstreams: {{ m: {{ {text} }} }}\nidentity: {{ local: {{ roles: [r] }} }}\npolicy: {{ roles: {{ r: {{ allow: ['*'] }} }} }}"
        );
        let (kind, found) = match parse(&yaml, "weir.yaml", Path::new("")) {
            Ok(loaded) => ("warning", loaded.warnings),
            Err(problems) => ("problem", problems.iter().cloned().collect()),
        };
        let _ = writeln!(said, "{text}");
        for problem in &found {
            let _ = writeln!(said, "  {kind} {}", problem.message);
            if let Some(help) = &problem.help {
                let _ = writeln!(said, "    help: {help}");
            }
        }
        if found.is_empty() {
            said += "  fine\n";
        }
    }
    said
}

/// Mainframes with this one tool.
fn tools(tools: &[&str]) -> String {
    const BEFORE: &str = "mainframe: { base_url: 'https://m' }, tools: { t: { description: d, effect: read, ";
    let all: Vec<String> = tools.iter().map(|tool| format!("{BEFORE}{tool} }} }}")).collect();
    said(&all.iter().map(String::as_str).collect::<Vec<_>>()).replace(BEFORE, "")
}

#[test]
fn every_place_of_a_request_has_an_argument_and_every_argument_a_place() {
    assert_snapshot!(tools(&[
        "request: { path: '/a/{id}' }, arguments: { id: { type: string } }",
        "request: { path: '/a/{ident}' }, arguments: { idents: { type: string } }",
        "request: { path: /a, query: { x: '{id}' } }",
        "request: { path: /a }, arguments: { id: { type: string } }",
        "request: { path: '/a/{id' }, arguments: { id: { type: string } }",
        "request: { path: '/a/{}', headers: { X-A: 'a}' } }, arguments: { id: { type: string } }",
        "request: { method: POST, path: /a, body: { json: { a: [ { b: '{no}' } ] } } }",
        "request: { method: POST, path: /a, body: { form: { a: '{no}' } } }",
        "request: { path: '/a/{id}' }, arguments: { id: { type: string, required: false } }",
        "request: { path: '/a/{id}' }, arguments: { id: { type: string, required: false, default: x } }",
        "request: { path: /a, query: { x: '{id}' } }, arguments: { id: { type: array, items: string } }",
        "request: { method: POST, path: /a, body: { json: { x: 'a {id}' } } }, arguments: { id: { type: object } }",
        "request: { method: POST, path: /a, body: { json: { x: '{id}' } } }, arguments: { id: { type: object } }",
    ]), @"
    request: { path: '/a/{id}' }, arguments: { id: { type: string } } } }
      fine
    request: { path: '/a/{ident}' }, arguments: { idents: { type: string } } } }
      problem `downstreams.m.tools.t.request.path` uses `{ident}`, but there is no argument of this name
        help: did you mean `{idents}`?
      problem `downstreams.m.tools.t.arguments.idents` is never used: `request` has no `{idents}`
        help: give it a place, or remove it
    request: { path: /a, query: { x: '{id}' } } } }
      problem `downstreams.m.tools.t.request.query.x` uses `{id}`, but there is no argument of this name
        help: list it under `arguments`: `id: { type: string }`
    request: { path: /a }, arguments: { id: { type: string } } } }
      problem `downstreams.m.tools.t.arguments.id` is never used: `request` has no `{id}`
        help: give it a place, or remove it
    request: { path: '/a/{id' }, arguments: { id: { type: string } } } }
      problem `downstreams.m.tools.t.request.path` has a `{` without its `}`
        help: `{name}` is the place of an argument; `{{` and `}}` stand for braces
    request: { path: '/a/{}', headers: { X-A: 'a}' } }, arguments: { id: { type: string } } } }
      problem `downstreams.m.tools.t.request.path` has braces with no name in them
        help: `{name}` is the place of an argument; `{{` and `}}` stand for braces
      problem `downstreams.m.tools.t.request.headers.X-A` has a `}` without its `{`
        help: `{name}` is the place of an argument; `{{` and `}}` stand for braces
    request: { method: POST, path: /a, body: { json: { a: [ { b: '{no}' } ] } } } } }
      problem `downstreams.m.tools.t.request.body.json.a[0].b` uses `{no}`, but there is no argument of this name
        help: list it under `arguments`: `no: { type: string }`
    request: { method: POST, path: /a, body: { form: { a: '{no}' } } } } }
      problem `downstreams.m.tools.t.request.body.form.a` uses `{no}`, but there is no argument of this name
        help: list it under `arguments`: `no: { type: string }`
    request: { path: '/a/{id}' }, arguments: { id: { type: string, required: false } } } }
      problem `downstreams.m.tools.t.request.path` uses `{id}`, which may be left out
        help: a path cannot lack a part: make the argument required, or give it a `default`
    request: { path: '/a/{id}' }, arguments: { id: { type: string, required: false, default: x } } } }
      fine
    request: { path: /a, query: { x: '{id}' } }, arguments: { id: { type: array, items: string } } } }
      problem `downstreams.m.tools.t.request.query.x` uses `{id}`, which is of type `array`
        help: that can only stand in a JSON body, as a text of its own
    request: { method: POST, path: /a, body: { json: { x: 'a {id}' } } }, arguments: { id: { type: object } } } }
      problem `downstreams.m.tools.t.request.body.json.x` uses `{id}`, which is of type `object`
        help: that can only stand in a JSON body, as a text of its own
    request: { method: POST, path: /a, body: { json: { x: '{id}' } } }, arguments: { id: { type: object } } } }
      fine
    ");
}

#[test]
fn a_request_leads_where_its_config_says_and_frames_itself() {
    assert_snapshot!(tools(&[
        "request: { path: a }",
        "request: { path: '/a?b=c' }",
        "request: { path: '/a b' }",
        "request: { path: '/a/%2e%2E/b' }",
        "request: { path: '/a/..;v=1/b' }",
        "request: { path: '/a/%2E;v=1' }",
        "request: { path: '/a/;v={x}' }, arguments: { x: { type: string } }",
        "request: { path: '/a/b;v=1' }",
        "request: { path: '/a%2' }",
        "request: { path: /a, body: { json: {} } }",
        "request: { path: /a, headers: { 'x y': a } }",
        "request: { path: /a, headers: { Content-Length: '5' } }",
        "request: { path: /a, headers: { Authorization: a } }",
        "request: { path: /a, headers: { X-A: a, x-a: b } }",
        "request: { path: /a, headers: { X-A: ü } }",
        "sql: SELECT 1, request: { path: /a }",
        "arguments: {}",
        "request: { path: /a }, answer: { fixed_width: {} }",
        "request: { path: /a }, answer: { fixed_width: { copybook: '01 A.', copybook_file: a.cpy } }",
        "request: { path: /a }, answer: { fixed_width: { copybook_file: a.cpy } }",
    ]), @r#"
    request: { path: a } } }
      problem `downstreams.m.tools.t.request.path` must start with `/`, not `a`
        help: write `/a`
    request: { path: '/a?b=c' } } }
      problem `downstreams.m.tools.t.request.path` has a `?`, which no path has
        help: parameters belong in `query`: `query: { name: "{argument}" }`
    request: { path: '/a b' } } }
      problem `downstreams.m.tools.t.request.path` has a ` `, which no path has
        help: percent-encode it: a space is `%20`
    request: { path: '/a/%2e%2E/b' } } }
      problem `downstreams.m.tools.t.request.path` has a segment `.` or `..`
        help: write where the path leads, without detours
    request: { path: '/a/..;v=1/b' } } }
      problem `downstreams.m.tools.t.request.path` has a segment `.` or `..`
        help: write where the path leads, without detours
    request: { path: '/a/%2E;v=1' } } }
      problem `downstreams.m.tools.t.request.path` has a segment `.` or `..`
        help: write where the path leads, without detours
    request: { path: '/a/;v={x}' }, arguments: { x: { type: string } } } }
      problem `downstreams.m.tools.t.request.path` has a segment with parameters alone (`;`)
        help: write the segment before them: `/accounts;v=1`
    request: { path: '/a/b;v=1' } } }
      fine
    request: { path: '/a%2' } } }
      problem `downstreams.m.tools.t.request.path` has a `%` without two hexadecimal digits
        help: the character itself is `%25`
    request: { path: /a, body: { json: {} } } } }
      problem `downstreams.m.tools.t.request.body` is sent with GET, which has none
        help: state another method: `method: POST`
    request: { path: /a, headers: { 'x y': a } } } }
      problem `downstreams.m.tools.t.request.headers.x y` is no name of a header: `x y`
        help: such as `X-Terminal`
    request: { path: /a, headers: { Content-Length: '5' } } } }
      problem `downstreams.m.tools.t.request.headers.Content-Length` is a header that Weir sets itself: `content-length`
        help: remove it
    request: { path: /a, headers: { Authorization: a } } } }
      problem `downstreams.m.tools.t.request.headers.Authorization` is where the credential stands
        help: give it as `credential` of the downstream
    request: { path: /a, headers: { X-A: a, x-a: b } } } }
      problem `downstreams.m.tools.t.request.headers.x-a` stands here twice, in other letters: `x-a`
        help: keep one
    request: { path: /a, headers: { X-A: ü } } } }
      problem `downstreams.m.tools.t.request.headers.X-A` has a character that no header may have
        help: visible ASCII and spaces may stand there
    sql: SELECT 1, request: { path: /a } } }
      problem `downstreams.m.tools.t.sql` is for another kind of downstream
        help: a mainframe has requests: write `request`; remove it
    arguments: {} } }
      problem `downstreams.m.tools.t` lacks `request`
        help: write the request that it makes: `request: { path: "/accounts/{id}" }`
    request: { path: /a }, answer: { fixed_width: {} } } }
      problem `downstreams.m.tools.t.answer.fixed_width` has no copybook
        help: write it as `copybook: |`, or name its file with `copybook_file`
    request: { path: /a }, answer: { fixed_width: { copybook: '01 A.', copybook_file: a.cpy } } } }
      problem `downstreams.m.tools.t.answer.fixed_width` has both `copybook` and `copybook_file`
        help: keep one
    request: { path: /a }, answer: { fixed_width: { copybook_file: a.cpy } } } }
      fine
    "#);
}

#[test]
fn an_error_screen_is_recognised_by_something() {
    let screens = [
        "{}",
        "{ means: busy }",
        "{ contains: '' }",
        "{ contains: BUSY, means: busy }",
        "{ content_type: html }",
        "{ json: { at: rc, equals: '04' } }",
        "{ json: { at: /rc } }",
        "{ json: { at: /rc, equals: 1, other_than: 2 } }",
        "{ json: { at: /rc, other_than: '00' } }",
        "{ json: { at: /error, other_than: null } }",
        "{ json: { at: /rc, equals: 1, other_than: null } }",
    ];
    let tool = ", tools: { t: { description: d, request: { path: /a } } }";
    let all: Vec<String> = screens
        .iter()
        .map(|screen| format!("mainframe: {{ base_url: 'https://m', error_screens: [ {screen} ] }}{tool}"))
        .chain([
            format!("mainframe: {{ base_url: 'https://m/{{id}}' }}{tool}"),
            format!("mainframe: {{ base_url: 'https://m', concurrency: 0 }}, expose: listed{tool}"),
        ])
        .collect();
    assert_snapshot!(said(&all.iter().map(String::as_str).collect::<Vec<_>>()).replace(tool, ""), @r#"
    mainframe: { base_url: 'https://m', error_screens: [ {} ] }
      problem `downstreams.m.mainframe.error_screens[0]` fits every answer
        help: state what it is recognised by: `contains: ACCOUNT NOT FOUND`, `content_type: text/html` or `json: { at: /rc, equals: "04" }`
    mainframe: { base_url: 'https://m', error_screens: [ { means: busy } ] }
      problem `downstreams.m.mainframe.error_screens[0]` fits every answer
        help: state what it is recognised by: `contains: ACCOUNT NOT FOUND`, `content_type: text/html` or `json: { at: /rc, equals: "04" }`
    mainframe: { base_url: 'https://m', error_screens: [ { contains: '' } ] }
      problem `downstreams.m.mainframe.error_screens[0].contains` is empty, which is in every answer
    mainframe: { base_url: 'https://m', error_screens: [ { contains: BUSY, means: busy } ] }
      warning `downstreams.m.tools.t` states no `effect` and so counts as a write
        help: state `effect: read` if the request changes nothing
    mainframe: { base_url: 'https://m', error_screens: [ { content_type: html } ] }
      problem `downstreams.m.mainframe.error_screens[0].content_type` is no media type: `html`
        help: such as `text/html`, without parameters
    mainframe: { base_url: 'https://m', error_screens: [ { json: { at: rc, equals: '04' } } ] }
      problem `downstreams.m.mainframe.error_screens[0].json.at` is no JSON pointer: `rc`
        help: write `/rc`
    mainframe: { base_url: 'https://m', error_screens: [ { json: { at: /rc } } ] }
      problem `downstreams.m.mainframe.error_screens[0].json` compares with nothing
        help: give `equals` or `other_than`
    mainframe: { base_url: 'https://m', error_screens: [ { json: { at: /rc, equals: 1, other_than: 2 } } ] }
      problem `downstreams.m.mainframe.error_screens[0].json` has both `equals` and `other_than`
        help: keep one
    mainframe: { base_url: 'https://m', error_screens: [ { json: { at: /rc, other_than: '00' } } ] }
      warning `downstreams.m.tools.t` states no `effect` and so counts as a write
        help: state `effect: read` if the request changes nothing
    mainframe: { base_url: 'https://m', error_screens: [ { json: { at: /error, other_than: null } } ] }
      warning `downstreams.m.tools.t` states no `effect` and so counts as a write
        help: state `effect: read` if the request changes nothing
    mainframe: { base_url: 'https://m', error_screens: [ { json: { at: /rc, equals: 1, other_than: null } } ] }
      problem `downstreams.m.mainframe.error_screens[0].json` has both `equals` and `other_than`
        help: keep one
    mainframe: { base_url: 'https://m/{id}' }
      problem `downstreams.m.mainframe.base_url` has braces
        help: it has no places for arguments: those are in `request` of a tool
    mainframe: { base_url: 'https://m', concurrency: 0 }, expose: listed
      problem `downstreams.m.mainframe.concurrency` must be at least 1
        help: with 0 nothing would ever be let through
      problem `downstreams.m.expose` is for systems that bring tools of their own
        help: a mainframe offers exactly the tools named under `tools`: remove it
    "#);
}
