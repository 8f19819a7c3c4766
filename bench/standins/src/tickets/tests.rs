use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::json;

use super::*;
use crate::web::ask::{Told, ask, get};

const JSON: (&str, &str) = ("content-type", "application/json");

async fn tickets(options: TicketsOptions) -> Tickets {
    Tickets::start("127.0.0.1:0", options).await.expect("a ticketing service")
}

async fn open() -> Tickets {
    tickets(TicketsOptions::default()).await
}

impl Tickets {
    async fn get(&self, route: &str) -> Told {
        get(self.addr, &format!("/rest/api/3/{route}")).await
    }

    async fn post(&self, route: &str, body: &Value) -> Told {
        ask(self.addr, "POST", &format!("/rest/api/3/{route}"), &[JSON], body.to_string()).await.expect("an answer")
    }

    async fn search(&self, jql: &str) -> Told {
        self.post("search/jql", &json!({ "jql": jql, "fields": ["*all"], "maxResults": 50 })).await
    }

    /// The keys of the first page.
    async fn found(&self, jql: &str) -> Vec<String> {
        let told = self.search(jql).await;
        assert_eq!(told.status, StatusCode::OK, "{jql}: {}", told.text());
        keys(&told.json())
    }
}

fn keys(page: &Value) -> Vec<String> {
    page["issues"]
        .as_array()
        .expect("issues")
        .iter()
        .map(|issue| issue["key"].as_str().expect("a key").into())
        .collect()
}

fn document(text: &str) -> Value {
    adf::document(&[adf::paragraph(text)])
}

#[tokio::test]
async fn a_search_is_paged_to_its_end_and_a_page_belongs_to_its_query() {
    let tickets = open().await;
    let mut search =
        json!({ "jql": "project in (SUP, OPS) ORDER BY key ASC", "fields": ["summary"], "maxResults": 70 });
    let mut all = Vec::new();
    let mut pages = Vec::new();
    loop {
        let page = tickets.post("search/jql", &search).await.json();
        pages.push(keys(&page).len());
        all.extend(keys(&page));
        assert_eq!(page["isLast"].as_bool(), Some(page["nextPageToken"].is_null()));
        assert!(page.get("total").is_none(), "the service counts nothing");
        if page["isLast"] == true {
            break;
        }
        search["nextPageToken"] = page["nextPageToken"].clone();
    }
    assert_eq!(pages, [50, 50, 50, 50]);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), TICKETS);
    search["nextPageToken"] = json!("nonsense");
    assert_eq!(tickets.post("search/jql", &search).await.status, StatusCode::BAD_REQUEST);
    let first = tickets.post("search/jql", &json!({ "jql": "project = SUP", "maxResults": 1 })).await.json();
    assert!(first["issues"][0]["id"].is_string() && first["issues"][0].get("key").is_none(), "only ids unless named");
    let of_another = json!({ "jql": "project = OPS", "nextPageToken": first["nextPageToken"] });
    assert_eq!(tickets.post("search/jql", &of_another).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn queries_find_what_they_say() {
    let tickets = open().await;
    let all = tickets.found("project = SUP AND status = \"To Do\" ORDER BY created DESC").await;
    assert!(!all.is_empty());
    let first = tickets.search("project = SUP AND status = \"To Do\" ORDER BY created DESC").await.json();
    assert!(
        first["issues"].as_array().expect("issues").iter().all(|issue| {
            issue["fields"]["status"]["name"] == "To Do" && issue["fields"]["project"]["key"] == "SUP"
        })
    );
    assert_eq!(tickets.found("project = SUP AND statusCategory = new ORDER BY created DESC").await, all);
    assert_eq!(
        tickets.found("project not in (OPS) AND NOT status in ('In Progress', Done) order by created desc").await,
        all
    );
    let key = all[0].as_str();
    assert_eq!(tickets.found(&format!("key = {key} OR (key = {key} AND key != {key})")).await, [key]);
    let issue = tickets.get(&format!("issue/{key}")).await.json();
    let summary = issue["fields"]["summary"].as_str().expect("a text");
    let customer = summary.rsplit_once('(').expect("an id").1.trim_end_matches(')');
    for query in [
        format!("text ~ \"{customer}\""),
        format!("summary ~ '\"{customer}\"' AND project = SUP"),
        format!("text ~ \"{}*\"", &customer[..6]),
    ] {
        assert!(tickets.found(&query).await.contains(&key.to_owned()), "{query}");
    }
    assert_eq!(tickets.found("text ~ \"nobody-wrote this\"").await, [""; 0]);
    assert_eq!(tickets.found("labels = nothing").await, [""; 0]);
    assert!(!tickets.found("labels in (billing) AND assignee is EMPTY").await.is_empty());
    assert!(!tickets.found("assignee = \"Ada Quist\"").await.is_empty());
    assert_eq!(tickets.found("assignee = currentUser()").await, [""; 0]);
    let late = tickets.search("updated >= \"2026-10-20 00:00\" ORDER BY updated ASC").await.json();
    let updated: Vec<_> = late["issues"]
        .as_array()
        .expect("issues")
        .iter()
        .map(|issue| issue["fields"]["updated"].as_str().expect("a text"))
        .collect();
    assert!(updated.is_sorted() && updated[0].starts_with("2026-10-2") && updated[0].ends_with("+0000"), "{updated:?}");
    assert_eq!(tickets.found("updated >= \"2099-01-01\"").await, [""; 0]);
    assert_eq!(tickets.found("created <= -1m AND created > \"2099/01/01 10:30\"").await, [""; 0]);
}

#[tokio::test]
async fn queries_that_make_no_sense_are_refused_with_a_reason() {
    let tickets = open().await;
    for (jql, told) in [
        ("", "Unbounded"),
        ("ORDER BY created", "Unbounded"),
        ("project = SUP AND", "Expecting"),
        ("project = SUP status = Done", "'OR' or 'AND'"),
        ("project = \"SUP", "has not been completed"),
        ("project = \"S\\UP\"", "illegal JQL escape"),
        ("project = NOPE", "'NOPE' does not exist"),
        ("project = SUP AND status = Nope", "'Nope' does not exist"),
        ("status = Done AND summary = x", "not supported"),
        ("nope = 1", "'nope' does not exist"),
        ("summary ~ or", "reserved JQL word"),
        ("summary ~ a.b", "reserved JQL character"),
        ("summary ~ \"*x\"", "not allowed to start"),
        ("summary ~ \"a \\\"b\"", "is not valid"),
        ("updated >= yesterday", "is invalid"),
        ("updated >= \"2026-10-20 00:00:00\"", "is invalid"),
        ("project in (SUP", "Expecting ')'"),
        ("assignee = nobody()", "JQL function"),
        ("project = SUP ORDER BY nope", "'nope' does not exist"),
    ] {
        let refused = tickets.search(jql).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{jql}");
        let message = refused.json()["errorMessages"][0].as_str().expect("a message").to_owned();
        assert!(message.contains(told), "{jql}: {message}");
    }
    let deep = format!("{}project = SUP{}", "(".repeat(10_000), ")".repeat(10_000));
    assert_eq!(tickets.search(&deep).await.status, StatusCode::BAD_REQUEST);
    for (method, route) in [("GET", "search?jql=project%3DSUP"), ("POST", "search")] {
        let gone = ask(tickets.addr, method, &format!("/rest/api/3/{route}"), &[JSON], "{}").await.expect("an answer");
        assert_eq!(gone.status, StatusCode::GONE);
    }
}

#[tokio::test]
async fn a_ticket_is_created_moved_and_commented_and_each_write_is_in_the_ledger_once() {
    let tickets = open().await;
    let fields = json!({
        "project": { "key": "SUP" }, "issuetype": { "name": "Bug" }, "summary": "The page is blank",
        "description": document("since this morning"), "priority": { "name": "High" }, "labels": ["weir"],
    });
    let creation = json!({ "fields": fields, "properties": [{ "key": "weir", "value": { "operation": "o-1" } }] });
    let created = tickets.post("issue", &creation).await;
    assert_eq!(created.status, StatusCode::CREATED);
    let key = created.json()["key"].as_str().expect("a key").to_owned();
    assert!(key.starts_with("SUP-"));
    assert_eq!(tickets.get(&format!("issue/{key}/properties/weir")).await.json()["value"]["operation"], "o-1");
    assert_eq!(tickets.found("labels = weir").await, [key.as_str()]);

    let names = async || -> Vec<String> {
        let told = tickets.get(&format!("issue/{key}/transitions")).await.json();
        let possible = told["transitions"].as_array().expect("a list").clone();
        possible.iter().map(|each| format!("{} {} {}", each["id"], each["name"], each["to"]["name"])).collect()
    };
    assert_eq!(names().await, ["\"21\" \"Start progress\" \"In Progress\""]);
    let with_comment =
        json!({ "transition": { "id": "21" }, "update": { "comment": [{ "add": { "body": document("on it") } }] } });
    let moved = tickets.post(&format!("issue/{key}/transitions"), &with_comment).await;
    assert_eq!((moved.status, moved.body.len()), (StatusCode::NO_CONTENT, 0));
    assert_eq!(names().await.len(), 2);
    let again = tickets.post(&format!("issue/{key}/transitions"), &json!({ "transition": { "id": "21" } })).await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST);
    let commented = tickets.post(&format!("issue/{key}/comment"), &json!({ "body": document("done") })).await;
    assert_eq!(commented.status, StatusCode::CREATED);
    assert_eq!(commented.json()["author"]["displayName"], "Weir Bot");
    let comments = tickets.get(&format!("issue/{key}/comment?orderBy=-created")).await.json();
    assert_eq!((&comments["total"], &comments["comments"][0]["body"]), (&json!(2), &document("done")));

    let issue = tickets.get(&format!("issue/{}?fields=summary,status,comment", key.to_lowercase())).await.json();
    let fields = issue["fields"].as_object().expect("fields");
    assert_eq!(
        fields.keys().collect::<BTreeSet<_>>(),
        BTreeSet::from([&"summary".into(), &"status".into(), &"comment".into()])
    );
    assert_eq!(issue["fields"]["status"]["statusCategory"]["key"], "indeterminate");
    let ledger = tickets.seen().ledger;
    let what: Vec<_> = ledger.iter().map(|entry| (entry.key.as_str(), entry.what.clone())).collect();
    let moved = What::Transitioned { from: "To Do".into(), to: "In Progress".into() };
    let key = key.as_str();
    assert_eq!(what, [(key, What::Created), (key, moved), (key, What::Commented), (key, What::Commented)]);
    assert_eq!(ledger[0].body, creation);
    let shown = get(tickets.addr, "/__ledger").await.json();
    assert_eq!(
        (&shown[0]["what"], &shown[1]["what"]["transitioned"]["to"]),
        (&json!("created"), &json!("In Progress"))
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_write_is_said_of_every_field() {
    let tickets = open().await;
    let long = "x".repeat(256);
    let wrong = json!({ "fields": {
        "project": { "key": "NOPE" }, "issuetype": { "name": "Nope" }, "summary": long, "description": "no document",
        "priority": { "name": "Nope" }, "labels": ["two words"], "assignee": { "accountId": "nobody" }, "nope": 1,
    } });
    let told = tickets.post("issue", &wrong).await;
    assert_eq!(told.status, StatusCode::BAD_REQUEST);
    let faults = told.json()["errors"].as_object().expect("errors").keys().cloned().collect::<BTreeSet<_>>();
    let fields = ["assignee", "description", "issuetype", "labels", "nope", "priority", "project", "summary"];
    assert_eq!(faults, fields.map(String::from).into());

    let mut fields = json!({ "project": { "key": "SUP" }, "issuetype": { "name": "Task" }, "summary": "s" });
    for (description, says) in [
        (document(&"x".repeat(adf::TEXT_MAX + 1)), "32,767"),
        (document(""), "Atlassian Document"),
        (
            json!({ "type": "doc", "version": 1, "content": [{ "type": "text", "text": "no block" }] }),
            "Atlassian Document",
        ),
        (json!({ "type": "doc", "version": 1, "content": [{ "type": "nope" }] }), "Atlassian Document"),
    ] {
        fields["description"] = description;
        let told = tickets.post("issue", &json!({ "fields": fields })).await;
        assert!(told.text().contains(says), "{}", told.text());
    }
    for (route, body) in [
        ("issue/SUP-1/comment", json!({ "body": "text" })),
        ("issue/SUP-1/comment", json!({ "text": "text" })),
        ("issue/SUP-1/transitions", json!({ "transition": { "id": "99" } })),
        ("issue", json!({ "field": {} })),
    ] {
        assert_eq!(tickets.post(route, &body).await.status, StatusCode::BAD_REQUEST, "{route} {body}");
    }
    let no_json = ask(tickets.addr, "POST", "/rest/api/3/issue", &[], "{}").await.expect("an answer");
    assert_eq!(no_json.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    for route in ["issue/SUP-99999", "issue/..%2Fmyself", "issue/SUP-99999/transitions", "issue/NOPE-1/comment"] {
        assert_eq!(tickets.get(route).await.status, StatusCode::NOT_FOUND, "{route}");
    }
    assert!(tickets.seen().ledger.is_empty());
}

#[tokio::test]
async fn only_the_user_with_the_token_is_served() {
    let tickets = tickets(TicketsOptions { token: Some("hunter2".into()), ..TicketsOptions::default() }).await;
    assert_eq!(tickets.get("myself").await.status, StatusCode::UNAUTHORIZED);
    // `bot@example.com:hunter2`
    let right = ("authorization", "Basic Ym90QGV4YW1wbGUuY29tOmh1bnRlcjI=");
    let me = ask(tickets.addr, "GET", "/rest/api/3/myself", &[right], "").await.expect("an answer");
    assert_eq!(me.json()["emailAddress"], "bot@example.com");
    assert!(!format!("{tickets:?}").contains("hunter2"));
}

#[tokio::test]
async fn who_asks_too_often_is_told_how_long_to_wait() {
    let tickets = open().await;
    tickets.limit_next(2, 7, "jira-burst-based");
    for _ in 0..2 {
        let told = tickets.get("issue/SUP-1").await;
        assert_eq!(told.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!((told.header("retry-after"), told.header("ratelimit-reason")), ("7", "jira-burst-based"));
        assert_eq!(told.header("x-ratelimit-remaining"), "0");
    }
    assert_eq!(tickets.get("issue/SUP-1").await.status, StatusCode::OK);
    assert_eq!(tickets.seen().limited, 2);
}

#[tokio::test]
async fn a_write_may_be_done_and_its_answer_lost() {
    let tickets = open().await;
    tickets.trouble(Trouble { next: 1, ..Trouble::of(TroubleKind::ResetBeforeAnswer) });
    let body = json!({ "body": document("once") }).to_string();
    let lost = ask(tickets.addr, "POST", "/rest/api/3/issue/SUP-1/comment", &[JSON], body).await;
    lost.expect_err("a reset");
    assert_eq!(tickets.seen().ledger.len(), 1);
    tickets.refuse(true).await.expect("the port is closed");
    ask(tickets.addr, "GET", "/rest/api/3/myself", &[], "").await.expect_err("nobody listens");
    tickets.refuse(false).await.expect("the port is open");
    let trouble = ask(tickets.addr, "POST", "/__trouble", &[], r#"{"kind": {"status": 502}, "next": 1}"#).await;
    assert_eq!(trouble.expect("an answer").status, StatusCode::OK);
    assert_eq!(tickets.get("myself").await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(tickets.get("myself").await.status, StatusCode::OK);
    let users = tickets.get("user/search?query=ada").await.json();
    assert_eq!(users[0]["displayName"], "Ada Quist");
}
