use config::downstream::Ticketing;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    super::ticket::{Category, Comment, Commented, Detailed, Found, Ticket, Updated, result},
    all,
};

fn definition(tool: &str) -> Value {
    let all = all(|tool| Ticketing::effect_of(tool).expect("a tool"));
    let (_, definition) = all.iter().find(|(name, _)| *name == tool).expect("a tool");
    serde_json::from_str(definition.get()).expect("JSON")
}

/// What is wrong with a result, by the tool's own schema.
fn mistakes(tool: &str, answer: &impl Serialize) -> Vec<String> {
    let result: Value = serde_json::from_slice(&result(answer)).expect("JSON");
    let schema = jsonschema::validator_for(&definition(tool)["outputSchema"]).expect("a schema");
    schema.iter_errors(&result["structuredContent"]).map(|error| error.to_string()).collect()
}

#[test]
fn every_result_is_what_its_tool_promises() {
    let bare = Ticket { id: "SUP-1".to_owned(), ..Ticket::default() };
    let full = Ticket { status: Some("Done".to_owned()), status_category: Some(Category::Done), ..bare.clone() };
    let comment = Comment { id: "1".to_owned(), author: None, text: String::new(), created_at: None };
    let none: Vec<String> = Vec::new();
    for ticket in [&bare, &full] {
        assert_eq!(mistakes("create_ticket", ticket), none);
        let found = Found { tickets: vec![ticket.clone()], next_cursor: Some("x".to_owned()) };
        assert_eq!(mistakes("search_tickets", &found), none);
        let detailed = Detailed { ticket: ticket.clone(), comments: vec![comment.clone()], comments_total: 7 };
        assert_eq!(mistakes("get_ticket", &detailed), none);
        for comment in [None, Some(comment.clone())] {
            let note = comment.is_none().then(|| "already".to_owned());
            let updated = Updated { ticket: ticket.clone(), changed: true, previous_status: None, comment, note };
            assert_eq!(mistakes("update_ticket_status", &updated), none);
        }
    }
    assert_eq!(mistakes("search_tickets", &Found { tickets: Vec::new(), next_cursor: None }), none);
    let commented = Commented { id: "SUP-1".to_owned(), url: String::new(), comment };
    assert_eq!(mistakes("add_comment", &commented), none);
    // The schemas do tell them apart.
    assert!(!mistakes("get_ticket", &commented).is_empty() && !mistakes("add_comment", &bare).is_empty());
}

#[test]
fn every_tool_takes_nothing_it_does_not_name_and_says_what_it_does() {
    for (tool, effect) in Ticketing::TOOLS {
        let definition = definition(tool);
        assert_eq!(definition["name"], tool);
        assert!(definition["title"].is_string() && definition["description"].is_string(), "{definition}");
        assert_eq!(definition["inputSchema"]["additionalProperties"], json!(false), "{tool}");
        assert_eq!(definition["annotations"]["readOnlyHint"], json!(!effect.writes()), "{tool}");
        for (name, schema) in definition["inputSchema"]["properties"].as_object().expect("properties") {
            let bounded = ["maxLength", "maxItems", "maximum"].iter().any(|bound| schema.get(bound).is_some());
            assert!(bounded && schema["description"].is_string(), "{tool}.{name}");
        }
        jsonschema::validator_for(&definition["inputSchema"]).expect("a schema");
    }
}

#[test]
fn the_config_knows_the_arguments_of_every_tool() {
    for (name, _) in Ticketing::TOOLS {
        let input = &definition(name)["inputSchema"];
        let required =
            |name: &str| input["required"].as_array().is_some_and(|names| names.iter().any(|one| one == name));
        let properties = input["properties"].as_object().expect("properties").iter();
        let taken: Vec<_> = properties
            .map(|(name, schema)| (name.as_str(), schema["type"].as_str().expect("a type"), required(name)))
            .collect();
        let known = Ticketing::arguments_of(name).expect("one of its tools");
        let known: Vec<_> = known.iter().map(|&(name, kind, always)| (name, kind.as_str(), always)).collect();
        assert_eq!(known, taken, "{name}");
    }
    assert_eq!(Ticketing::arguments_of("delete_ticket"), None);
}
