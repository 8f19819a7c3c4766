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
