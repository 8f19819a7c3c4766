//! The tickets that are there at the start, made from a seed.

use serde_json::{Map, Value, json};

use super::adf::{bullets, document, link, paragraph};
use super::store::{Comment, Issue, KINDS, PRIORITIES, Project, Status, Store, User};
use super::{TICKETS, TicketsOptions};
use crate::customers::{Customer, after, as_of, before, customers, moment_between};
use crate::random::Random;

const DAY_US: i64 = 86_400_000_000;
const PEOPLE: &[&str] = &["Ada Quist", "Bilal Haddad", "Chiara Conti", "Dmitri Orlov", "Elif Şahin", "Farid Nasser"];
const LABELS: &[&str] = &["billing", "login", "shipping", "vip", "refund", "mainframe"];
/// What is wrong, what the customer says of it, and its label.
const TROUBLES: &[(&str, &str, usize)] = &[
    ("Invoice paid twice", "The bank shows the same payment on two days. Please send one of them back.", 0),
    ("Cannot sign in", "The page says \"session expired\" right after the password was entered.", 1),
    ("Order has not arrived", "The parcel left three weeks ago and nobody has seen it since.", 2),
    ("Wrong credit limit", "The limit on the statement is not the one that was agreed on.", 5),
    ("Refund is missing", "The goods went back a month ago, and no money came.", 4),
    ("Account statement is empty", "The statement has a heading and no entries (a \"blank page\").", 5),
    ("Change of address", "Letters still go to the old flat; the new address was told by phone.", 2),
    ("Discount was not applied", "The offer said 15% off, the invoice says nothing of it.", 0),
];
const REPLIES: &[&str] = &[
    "I have asked the customer for the reference.",
    "Looks like the nightly job stopped half-way; the mainframe team has a look.",
    "The customer called again and would like to be called back after 4 pm.",
    "Done on our side. Waiting for the customer to confirm.",
];

impl Store {
    pub(super) fn generate(options: &TicketsOptions) -> Self {
        let mut random = Random::new(options.seed, "tickets");
        let customers = customers(options.seed);
        let projects = options.projects.iter().enumerate().map(|(index, key)| Project {
            id: 10_000 + index as u64,
            key: key.clone(),
            name: format!("Project {key}"),
            newest: 0,
        });
        let mut store = Self { projects: projects.collect(), users: users(&options.user), issues: Vec::new() };
        let mut created = before(as_of(), 90 * DAY_US);
        let step_us = 89 * DAY_US / TICKETS as i64;
        let mut comments = 0;
        for _ in 0..TICKETS {
            created = after(created, random.between(step_us / 2, step_us));
            // The first project gets about two thirds.
            let project = if random.chance(65) { 0 } else { random.index(store.projects.len()) };
            let (key, id) = (store.next_key(project), store.next_id());
            let mut issue = issue(random.pick(&customers), store.users.len(), &mut random);
            (issue.id, issue.key, issue.project, issue.created, issue.updated) = (id, key, project, created, created);
            for _ in 0..random.index(4) {
                comments += 1;
                let moment = moment_between(issue.updated, as_of(), &mut random);
                let body = document(&[paragraph(REPLIES[random.index(REPLIES.len())])]);
                let author = 1 + random.index(PEOPLE.len());
                issue.comments.push(Comment {
                    id: 20_000 + comments,
                    author,
                    body,
                    created: moment,
                    properties: Map::new(),
                });
                issue.updated = moment;
            }
            store.issues.push(issue);
        }
        store
    }
}

fn users(bot: &str) -> Vec<User> {
    let person = |(index, name): (usize, &&str)| {
        let first = name.split(' ').next().unwrap_or_default().to_lowercase();
        let email = format!("{first}@example.com");
        User { account_id: format!("712020:{index:08x}-5eed-4a11-8b0b-0123456789ab"), email, name: (*name).to_owned() }
    };
    let account_id = "712020:b07b07b0-5eed-4a11-8b0b-0123456789ab".to_owned();
    let bot = User { account_id, email: bot.to_owned(), name: "Weir Bot".to_owned() };
    std::iter::once(bot).chain(PEOPLE.iter().enumerate().map(person)).collect()
}

/// Without its key and its times.
fn issue(customer: &Customer, users: usize, random: &mut Random) -> Issue {
    let &(what, said, label) = random.pick(TROUBLES);
    let mut labels = vec![LABELS[label].to_owned()];
    if customer.segment == "enterprise" {
        labels.push("vip".to_owned());
    }
    Issue {
        id: 0,
        key: String::new(),
        project: 0,
        kind: random.index(KINDS.len()),
        priority: random.index(PRIORITIES.len()),
        reporter: 1 + random.index(users - 1),
        assignee: random.chance(70).then(|| 1 + random.index(users - 1)),
        summary: format!("{what}: {} ({})", customer.name, customer.id),
        description: random.chance(92).then(|| description(customer, said)),
        status: *random.pick(Status::ALL),
        labels,
        created: as_of(),
        updated: as_of(),
        comments: Vec::new(),
        properties: Map::new(),
    }
}

fn description(customer: &Customer, said: &str) -> Value {
    let account = format!("account {}", customer.account_number);
    let since = format!("customer since {}", customer.created_at.strftime("%Y-%m-%d"));
    let greeting = json!({ "type": "paragraph", "content": [
        { "type": "text", "text": customer.name, "marks": [{ "type": "strong" }] },
        { "type": "text", "text": " writes:" },
        { "type": "hardBreak" },
        { "type": "text", "text": said },
    ] });
    let page = format!("https://crm.example.com/customers/{}", customer.id);
    document(&[greeting, bullets(&[&customer.id, &account, &since]), link("Customer page", &page)])
}
