use std::path::Path;

use crate::parse;

/// What is wrong with these settings, without places and help.
fn problems(settings: &str, more: &str) -> Vec<String> {
    let text = format!(
        "downstreams:\n  tickets:\n    ticketing: {{ provider: jira, base_url: 'https://a.example'{settings} }}\n{more}"
    );
    match parse(&text, "weir.yaml", Path::new("")) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(|problem| problem.message.clone()).collect(),
    }
}

#[test]
fn a_fence_of_projects_is_one_that_jira_knows() {
    for settings in ["", ", projects: [SUP, OPS_2], default_project: SUP", ", site_url: 'https://b.example/jira'"] {
        assert_eq!(problems(settings, ""), Vec::<String>::new(), "{settings}");
    }
    let rows = [
        (", projects: [sup]", "`downstreams.tickets.ticketing.projects[0]` is `sup`, which is no key of a project"),
        (", projects: [SUP, 'S\" OR 1']", "projects[1]` is `S\" OR 1`, which is no key"),
        (", projects: [SUP, SUP]", "projects[1]` is `SUP`, which stands there already"),
        (", projects: [SUP], default_project: OPS", "default_project` is `OPS`, which is not among `projects`"),
        (", default_project: '1A'", "default_project` is `1A`, which is no key"),
        (", ticket_type: ' '", "ticket_type` is empty"),
        (", site_url: 'ftp://b.example'", "site_url` must be an HTTP URL"),
    ];
    for (settings, wanted) in rows {
        let found = problems(settings, "");
        assert!(matches!(&found[..], [one] if one.contains(wanted)), "{settings}: {found:?}");
    }
}

#[test]
fn only_its_own_tools_can_be_adjusted() {
    let tools = |tools: &str| problems("", &format!("    tools: {{ {tools} }}\n"));
    assert_eq!(tools("get_ticket: { description: Ours. }"), Vec::<String>::new());
    let found = tools("get_tickets: {}");
    assert!(
        matches!(&found[..], [one] if one.contains("`downstreams.tickets.tools.get_tickets` is no tool")),
        "{found:?}"
    );
    let found = tools("get_ticket: { sql: SELECT 1 }");
    assert!(matches!(&found[..], [one] if one.contains("is for another kind")), "{found:?}");
}

#[test]
fn no_write_passes_for_less_than_it_is() {
    for more in [
        "    tools: { create_ticket: { effect: write }, get_ticket: { effect: write } }\n",
        "    effects: [ { match: '*_ticket*', effect: write } ]\n",
        "    effects: [ { match: '[a]*', effect: read }, { match: get_*, effect: read } ]\n",
        "    effects: [ { match: '*', effect: read } ]\n    tools: { create_ticket: { effect: write }, update_ticket_status: { effect: write }, add_comment: { effect: write } }\n",
    ] {
        assert_eq!(problems("", more), Vec::<String>::new(), "{more}");
    }
    let rows = [
        (
            "    tools: { create_ticket: { effect: read } }\n",
            "tools.create_ticket.effect` is `read`, but the tool is a `write`",
        ),
        (
            "    tools: { add_comment: { effect: idempotent_write } }\n",
            "tools.add_comment.effect` is `idempotent_write`, but the tool is a `write`",
        ),
        (
            "    effects: [ { match: 'get_*', effect: read }, { match: '*', effect: read } ]\n",
            "effects[1].effect` is `read`, but among its tools are writes: `create_ticket`, `update_ticket_status`, `add_comment`",
        ),
        (
            "    effects: [ { match: create_ticket, effect: write }, { match: '*t*', effect: idempotent_write } ]\n    tools: { add_comment: { effect: write } }\n",
            "effects[1].effect` is `idempotent_write`, but among its tools are writes: `update_ticket_status`",
        ),
    ];
    for (more, wanted) in rows {
        let found = problems("", more);
        assert!(matches!(&found[..], [one] if one.contains(wanted)), "{more}: {found:?}");
    }
}

#[test]
fn the_address_is_that_of_a_site_and_not_of_its_api() {
    let of = |url: &str| {
        let text = format!("downstreams: {{ tickets: {{ ticketing: {{ provider: jira, base_url: '{url}' }} }} }}");
        parse(&text, "weir.yaml", Path::new(""))
            .err()
            .and_then(|problems| problems.iter().next().map(|problem| problem.message.clone()))
    };
    for url in ["https://a.example", "https://a.example/", "https://a.example/jira/", "https://rest:8443/restful"] {
        assert_eq!(of(url), None, "{url}");
    }
    for url in ["https://a.example/rest", "https://a.example/rest/api/3/", "https://a.example/jira/rest/api/3"] {
        assert!(of(url).is_some_and(|told| told.contains("has the path of the API in it")), "{url}: {:?}", of(url));
    }
    for url in [
        "https://a.example:99999",
        "https://a.example:x",
        "https://a.example:0",
        "https://a.example:",
        "https://[::1]:+1",
    ] {
        assert!(of(url).is_some_and(|told| told.contains("must be an HTTP URL")), "{url}: {:?}", of(url));
    }
}
