//! `weir demo`, used as a new user or a program uses it.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::cli::{
    Folder,
    binary::{Finished, Started, command, finish},
};

const SUPPORT_AGENT_SEES: [&str; 16] = [
    "crm__get_customer",
    "crm__list_customers",
    "crm__overdue_invoices",
    "crm__top_customers",
    "enrich__check_fraud_patterns",
    "enrich__get_customer_history",
    "enrich__get_merchant",
    "mainframe__account_history",
    "mainframe__batch_job_status",
    "mainframe__get_account",
    "mainframe__order_status",
    "tickets__add_comment",
    "tickets__create_ticket",
    "tickets__get_ticket",
    "tickets__search_tickets",
    "weir__operation_status",
];
const ADMIN_SEES_TOO: [&str; 6] = [
    "crm__delete_customer",
    "crm__export_customers",
    "crm__update_customer",
    "enrich__log_transaction_enrichment",
    "mainframe__submit_batch_job",
    "tickets__update_ticket_status",
];

/// A demo with a temporary folder of its own, so that it can be seen what it leaves there.
fn demo(temporary: &Folder, words: &[&str]) -> Command {
    let mut command = command(&[&["demo", "--port", "0"], words].concat());
    command.env("TMPDIR", temporary.path(""));
    command
}

/// A temporary folder in which a Postgres under another user can work too.
fn temporary() -> Folder {
    let folder = Folder::new();
    fs::set_permissions(folder.path(""), fs::Permissions::from_mode(0o755)).expect("it is ours");
    folder
}

fn left_behind(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(Path::new(&folder.path(""))).expect("the folder");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

/// A ready demo, from the caller's side.
struct Ready(Value);

impl Ready {
    async fn run(&self, role: &str, words: &[&str]) -> Finished {
        let endpoint = self.0["endpoint"].as_str().expect("an endpoint");
        let key = self.0["keys"][role].as_str().expect("a key");
        finish(command(&[words, &["--url", endpoint]].concat()).env("WEIR_API_KEY", key)).await
    }

    async fn tools(&self, role: &str) -> Vec<String> {
        let listed = self.run(role, &["tools", "--json"]).await.with_code(0).json();
        listed
            .as_array()
            .expect("a list")
            .iter()
            .map(|tool| tool["name"].as_str().expect("a name").to_owned())
            .collect()
    }

    /// The structured answer.
    async fn call(&self, role: &str, name: &str, arguments: Value) -> Value {
        let result = self.run(role, &["call", name, &arguments.to_string(), "--json"]).await.with_code(0).json();
        result["structuredContent"].clone()
    }
}

#[tokio::test]
async fn every_tool_works_for_the_role_that_may_use_it_and_nothing_is_left_behind() {
    let temporary = temporary();
    let mut demo = Started::new(&mut demo(&temporary, &["--json", "--no-tour", "--mainframe-delay", "0ms"]));
    let ready = Ready(serde_json::from_str(&demo.line().await).expect("one line of JSON"));
    assert!(ready.0["admin"].as_str().is_some_and(|url| url.starts_with("http://127.0.0.1:")), "{}", ready.0);
    assert!(ready.0["admin_token"].as_str().is_some_and(|token| token.len() >= 32));

    assert_eq!(ready.tools("support_agent").await, SUPPORT_AGENT_SEES);
    let mut all: Vec<&str> = SUPPORT_AGENT_SEES.into_iter().chain(ADMIN_SEES_TOO).collect();
    all.sort_unstable();
    assert_eq!(ready.tools("admin").await, all);
    for name in ADMIN_SEES_TOO {
        let refused = ready.run("support_agent", &["call", name, "customer_id=C-00042"]).await.with_code(1);
        assert!(refused.stderr.contains(&format!("Unknown tool: {name}")), "{refused:#?}");
    }

    every_crm_tool(&ready).await;
    every_enrich_tool(&ready).await;
    every_mainframe_tool(&ready).await;
    every_tickets_tool(&ready).await;

    demo.signal("INT").await;
    let ended = demo.finish().await.with_code(0);
    assert_eq!(ended.stdout, "", "more than one line on stdout");
    assert_eq!(left_behind(&temporary), [""; 0]);
}

async fn every_crm_tool(ready: &Ready) {
    let agent = "support_agent";
    let customer = ready.call(agent, "crm__get_customer", json!({ "customer_id": "C-00042" })).await;
    assert_eq!(
        (&customer["rows"][0]["id"], customer["rows"].as_array().map(Vec::len)),
        (&"C-00042".into(), Some(1)),
        "{customer}"
    );
    let listed = ready.call(agent, "crm__list_customers", json!({ "country": "GB", "limit": 3 })).await;
    let rows = listed["rows"].as_array().expect("rows");
    assert!(rows.len() == 3 && rows.iter().all(|row| row["country"] == "GB"), "{listed}");
    let next = ready
        .call(agent, "crm__list_customers", json!({ "country": "GB", "limit": 3, "after_id": rows[2]["id"] }))
        .await;
    assert!(next["rows"][0]["id"].as_str() > rows[2]["id"].as_str(), "{next}");
    let top = ready.call(agent, "crm__top_customers", json!({})).await;
    let revenue = |row: &Value| {
        row["revenue"].as_str().map_or_else(|| row["revenue"].as_f64(), |text| text.parse().ok()).expect("a number")
    };
    let revenues: Vec<f64> = top["rows"].as_array().expect("rows").iter().map(revenue).collect();
    assert!(revenues.len() == 10 && revenues.is_sorted_by(|a, b| a >= b), "{top}");
    let overdue = ready.call(agent, "crm__overdue_invoices", json!({ "limit": 5 })).await;
    assert_eq!(overdue["rows"].as_array().map(Vec::len), Some(5), "{overdue}");

    let changed = json!({ "customer_id": "C-00042", "status": "suspended", "newsletter": true });
    let changed = ready.call("admin", "crm__update_customer", changed).await;
    assert_eq!(
        (&changed["rows"][0]["status"], &changed["rows"][0]["newsletter"]),
        (&"suspended".into(), &true.into()),
        "{changed}"
    );
    let after = ready.call(agent, "crm__get_customer", json!({ "customer_id": "C-00042" })).await;
    assert_eq!(
        (&after["rows"][0]["status"], &after["rows"][0]["email"]),
        (&"suspended".into(), &customer["rows"][0]["email"])
    );
    let all = ready.call("admin", "crm__export_customers", json!({})).await;
    assert_eq!(all["rows"].as_array().map(Vec::len), Some(standins::customers::CUSTOMERS));
    let deleted = ready.call("admin", "crm__delete_customer", json!({ "customer_id": "C-00043" })).await;
    assert_eq!(deleted["rows"][0]["id"], "C-00043", "{deleted}");
    let gone = ready.call(agent, "crm__get_customer", json!({ "customer_id": "C-00043" })).await;
    assert_eq!(gone["rows"], json!([]), "{gone}");
}

async fn every_enrich_tool(ready: &Ready) {
    let agent = "support_agent";
    let history =
        ready.call(agent, "enrich__get_customer_history", json!({ "customer_id": "C-00042", "limit": 2 })).await;
    let payment = &history["payments"][0];
    let merchant = ready.call(agent, "enrich__get_merchant", json!({ "merchant_id": payment["merchant_id"] })).await;
    assert_eq!(merchant["name"], payment["merchant"], "{merchant}");
    let of = json!({ "customer_id": "C-00042", "transaction_id": payment["transaction_id"] });
    let fraud = ready.call(agent, "enrich__check_fraud_patterns", of).await;
    assert!(fraud["verdict"].is_string(), "{fraud}");
    let entry = json!({ "transaction_id": payment["transaction_id"], "category": "food" });
    let logged = ready.call("admin", "enrich__log_transaction_enrichment", entry).await;
    assert_eq!(logged["transaction_id"], payment["transaction_id"], "{logged}");
}

async fn every_mainframe_tool(ready: &Ready) {
    let agent = "support_agent";
    let customer = ready.call(agent, "crm__get_customer", json!({ "customer_id": "C-00042" })).await;
    let customer = &customer["rows"][0];
    let number = &customer["account_number"];
    let account = ready.call(agent, "mainframe__get_account", json!({ "account_number": number })).await;
    assert_eq!(
        (&account["acct_number"], &account["acct_customer_id"], &account["acct_name"]),
        (&customer["account_number"], &customer["id"], &customer["name"]),
        "{account}"
    );
    let order = ready.call(agent, "mainframe__order_status", json!({ "order_id": "9007199254740993" })).await;
    assert_eq!(
        (&order["rc"], &order["order"]["order_id"]),
        (&"00".into(), &9_007_199_254_740_993_i64.into()),
        "{order}"
    );
    // Who buys most.
    let buyer = ready.call(agent, "crm__get_customer", json!({ "customer_id": "C-00001" })).await;
    let of_buyer = json!({ "account_number": buyer["rows"][0]["account_number"], "limit": 2 });
    let history = ready.call(agent, "mainframe__account_history", of_buyer).await;
    let entries = history["records"].as_array().expect("records");
    assert!(entries.len() == 2 && entries[0]["hist_date"].as_i64() >= entries[1]["hist_date"].as_i64(), "{history}");
    let later = json!({ "account_number": number, "from": 20_990_101 });
    assert_eq!(ready.call(agent, "mainframe__account_history", later).await["records"], json!([]));

    let job = json!({ "job": "ACCTRPT", "parm": "MONTH=10" });
    let job = ready.call("admin", "mainframe__submit_batch_job", job).await;
    let status = ready.call(agent, "mainframe__batch_job_status", json!({ "job_id": job["job_id"] })).await;
    assert_eq!((&status["job"], &status["job_id"]), (&"ACCTRPT".into(), &job["job_id"]), "{status}");
    for (tool, argument, says) in [
        ("get_account", "account_number=42", "There is no account of this number"),
        ("account_history", "account_number=42", "There is no account of this number"),
        ("order_status", "order_id=42", "There is no order of this number"),
        ("batch_job_status", "job_id=JOB99999", "JOB99999"),
    ] {
        let missed = ready.run(agent, &["call", &format!("mainframe__{tool}"), argument]).await;
        let told = format!("{}{}", missed.stdout, missed.stderr);
        assert!(missed.code != Some(0) && told.contains(says), "{missed:#?}");
    }
}

async fn every_tickets_tool(ready: &Ready) {
    let agent = "support_agent";
    let new = json!({ "title": "Statement is blank (C-00042)", "description": "Since today:\n\n- page 1\n- page 2" });
    let ticket = ready.call(agent, "tickets__create_ticket", new).await;
    let id = ticket["id"].as_str().expect("a key");
    assert!(id.starts_with("SUP-") && ticket["status_category"] == "open", "{ticket}");
    ready.call(agent, "tickets__add_comment", json!({ "id": id, "text": "The customer called again." })).await;
    let moved =
        ready.call("admin", "tickets__update_ticket_status", json!({ "id": id, "status": "in progress" })).await;
    assert_eq!(moved["status_category"], "in_progress", "{moved}");
    let read = ready.call(agent, "tickets__get_ticket", json!({ "id": id })).await;
    assert_eq!(
        (&read["description"], &read["comments"][0]["text"]),
        (&"Since today:\n\n- page 1\n- page 2".into(), &"The customer called again.".into()),
        "{read}"
    );
    let search = json!({ "text": "C-00042", "status": "in_progress" });
    let found = ready.call(agent, "tickets__search_tickets", search).await;
    assert!(found["tickets"].as_array().expect("tickets").iter().any(|ticket| ticket["id"] == id), "{found}");
}

#[tokio::test]
async fn the_tour_shows_every_step_and_fits_eighty_columns() {
    let temporary = temporary();
    // With the wait for a stale answer it is longer than an idle connection lives.
    let mut demo = Started::new(&mut demo(&temporary, &["--mainframe-delay", "7s..8s"]));
    let mut shown = String::new();
    while !shown.contains("Ctrl-C ends all of it.") {
        shown += &demo.line().await;
    }
    demo.signal("TERM").await;
    demo.finish().await.with_code(0);
    let (tour, ready) = shown.split_once("\nReady\n").unwrap_or_else(|| panic!("{shown}"));
    for part in [
        "16 tools",
        "takes 7 to 8 s",
        "mainframe__get_account account_number=90",
        "    balance ",
        "    out of the cache: fresh, ",
        " ms of that in the router",
        "SUP-57  ",
        " is To Do: ",
        "    comments: 0, from the ticketing service\n",
        "    comments: 0, out of the cache: fresh, ",
        "    comments: 1, from the ticketing service\n",
        "    out of the cache: stale_on_error, ",
        "“This is from ",
        "The mainframe is switched on again.",
        "crm__get_customer customer_id=C-00042",
        "\n    10  C-",
        "kept as E-",
        "Unknown tool: crm__delete_customer",
        " ms\n",
    ] {
        assert!(tour.contains(part), "{part}: {shown}");
    }
    let in_order = |parts: &[&str]| {
        let found = parts.iter().try_fold(tour, |rest, part| Some(rest.split_once(part)?.1));
        assert!(found.is_some(), "{parts:?} in this order: {shown}");
    };
    in_order(&["from the ticketing service", "out of the cache", "add_comment", "comments: 1, from the ticketing"]);
    assert!(!tour.contains('\x1b') && !tour.contains("null"), "{shown}");
    assert!(tour.lines().all(|line| line.chars().count() <= 80), "{shown}");
    for part in ["http://127.0.0.1:", "weir_", "claude mcp add --transport http weir http://127.0.0.1:"] {
        assert!(ready.contains(part), "{part}: {shown}");
    }
}

#[tokio::test]
async fn the_tour_of_faults_shows_what_becomes_of_calls() {
    let temporary = temporary();
    let mut demo = Started::new(&mut demo(&temporary, &["--faults", "--mainframe-delay", "0ms"]));
    let mut shown = String::new();
    while !shown.contains("Ctrl-C ends all of it.") {
        shown += &demo.line().await;
    }
    demo.signal("TERM").await;
    demo.finish().await.with_code(0);
    let (tour, _) = shown.split_once("\nReady\n").unwrap_or_else(|| panic!("{shown}"));
    let one_line = tour.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rest = one_line.as_str();
    for part in [
        "the network has cut 1 exchange",
        "3 tickets found all the same",
        "attempt 2: ok, sent: yes",
        "The outcome of tickets__create_ticket is unknown",
        "carried out meanwhile: 1",
        "state: done",
        "found in the system. Do not repeat it.",
        "tickets cannot be reached",
        "attempt 2: unreachable, sent: no",
        "carried out meanwhile: 0",
        "mainframe is left alone for a moment, since 5 attempts in a row failed",
        "out of the cache: stale_on_error, ",
        "The mainframe is back.",
        "calls of yours wait for mainframe already",
        "for its turn",
        "5 of 100 exchanges",
    ] {
        rest = rest.split_once(part).unwrap_or_else(|| panic!("{part} is not there, or not in this order: {shown}")).1;
    }
    assert!(!tour.contains("The tour ends here") && !tour.contains('\x1b') && !tour.contains("null"), "{shown}");
    assert!(tour.lines().all(|line| line.chars().count() <= 80), "{shown}");
}

#[tokio::test]
async fn a_second_signal_leaves_no_keys_behind_either() {
    let temporary = temporary();
    let mut demo = Started::new(&mut demo(&temporary, &["--json", "--no-tour"]));
    demo.line().await;
    let is_ours = |name: &String| name.starts_with("weir-demo-");
    assert_eq!(left_behind(&temporary).iter().filter(|name| is_ours(name)).count(), 1);
    demo.signal("INT").await;
    demo.signal("TERM").await;
    demo.finish().await;
    assert!(!left_behind(&temporary).iter().any(is_ours), "{:?}", left_behind(&temporary));
}

#[tokio::test]
async fn without_postgres_everything_else_is_served() {
    let temporary = temporary();
    let no_postgres = Folder::new();
    for program in ["initdb", "postgres"] {
        fs::write(no_postgres.path(program), "#!/bin/sh\nexit 1\n").expect("a file");
    }
    let mut demo = Started::new(
        demo(&temporary, &["--json", "--mainframe-delay", "0ms"]).env("WEIR_PG_BIN", no_postgres.path("")),
    );
    let ready = Ready(serde_json::from_str(&demo.line().await).expect("one line of JSON"));
    let all = ready.tools("admin").await;
    let of = |downstream: &str| all.iter().filter(|name| name.starts_with(downstream)).count();
    assert_eq!((of("crm__"), of("enrich__"), of("mainframe__"), of("tickets__")), (0, 4, 5, 5), "{all:?}");
    demo.line_with("balance ").await;
    demo.line_with("Unknown tool: enrich__log_transaction_enrichment").await;
    demo.signal("INT").await;
    let ended = demo.finish().await.with_code(0);
    assert!(ended.stderr.contains("No customer database in this demo"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_taken_port_is_told_before_anything_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port().to_string();
    let refused = finish(&mut command(&["demo", "--port", &port])).await.with_code(1);
    assert!(
        refused.stderr.contains(&format!("port {port} is taken")) && refused.stderr.contains("--port"),
        "{refused:#?}"
    );
    assert_eq!(refused.stdout, "");
}
