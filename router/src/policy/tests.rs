use std::sync::Arc;

use adapters::Caller;
use config::{Effect, Glob, View, policy::Role};
use jiff::Timestamp;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{Asked, Asker, Policy};

const NAMES: [&str; 14] = [
    "crm__get_customer",
    "crm__get_secret",
    "crm__delete_customer",
    "crm2__get_customer",
    "files__read",
    "CRM__get_customer",
    "crm__Get_customer",
    "crm_get_customer",
    "crm__gét_customer",
    "crm__ge\u{301}t_customer",
    "crm__get_customer.",
    "crm__get_customer ",
    "crm__get%5Fcustomer",
    "с\u{72}m__get_customer",
];
const PATTERNS: [&str; 12] = [
    "*",
    "",
    "crm__*",
    "crm__get_*",
    "*customer",
    "crm__get_customer",
    "*__get_*",
    "*secret*",
    "!crm__*",
    "c*m__*",
    "**",
    "files__*",
];

fn globs(patterns: &[&str]) -> Vec<Glob> {
    patterns.iter().map(|&pattern| Glob::new(pattern)).collect()
}

fn role(allow: &[&str], deny: &[&str]) -> Role {
    Role { allow: globs(allow), deny: globs(deny), ..Role::default() }
}

fn policy(roles: &[(&str, Role)], views: &[(&str, &[&str])]) -> Arc<Policy> {
    let view = |tools: &[&str]| View { tools: globs(tools), ..View::default() };
    let config = config::Config {
        policy: config::Policy {
            roles: roles.iter().map(|(name, role)| ((*name).to_owned(), role.clone())).collect(),
            ..config::Policy::default()
        },
        views: views.iter().map(|(name, tools)| ((*name).to_owned(), view(tools))).collect(),
        ..config::Config::default()
    };
    Policy::new(&config).expect("a policy")
}

fn caller(roles: &[&str]) -> Caller {
    Caller::local(&roles.iter().map(|&role| role.to_owned()).collect::<Vec<_>>())
}

fn tool(name: &str) -> Asked<'_> {
    Asked { name, place: Some(("crm", Effect::Write)) }
}

fn now() -> Timestamp {
    "2026-11-23T12:30:00Z".parse().expect("a time")
}

/// The rule by which a call is allowed, or the word for why it is not.
fn decided(
    policy: &Policy,
    roles: &[&str],
    view: Option<&str>,
    name: &str,
    arguments: &str,
) -> Result<String, &'static str> {
    let caller = caller(roles);
    let view = view.map(|view| &**policy.view(view).expect("a view"));
    let decision = policy.decide(Asker { caller: &caller, now: now() }, tool(name), view, arguments);
    assert_eq!(decision.grant.is_none(), decision.denied_by.is_some());
    decision.grant.map(|grant| grant.rule.to_string()).ok_or_else(|| decision.denied_by.unwrap_or_default())
}

#[test]
fn nothing_is_allowed_that_no_role_allows() {
    let policy = policy(
        &[
            ("support", role(&["crm__get_*", "crm__list_*"], &["crm__get_secret"])),
            ("admin", role(&["*"], &[])),
            ("empty", role(&[], &[])),
        ],
        &[],
    );
    let rule = |roles: &[&str], name: &str| decided(&policy, roles, None, name, "{}");
    assert_eq!(rule(&["support"], "crm__get_customer").as_deref(), Ok("support: crm__get_*"));
    assert_eq!(rule(&["support"], "crm__get_secret"), Err("role"));
    for name in NAMES.iter().filter(|name| !name.starts_with("crm__get_")) {
        assert_eq!(rule(&["support"], name), Err("role"), "{name:?}");
    }
    for roles in [&["empty"][..], &["Admin"], &["admin "], &["ADMIN"], &["*"], &[]] {
        assert_eq!(rule(roles, "crm__get_customer"), Err("role"), "{roles:?}");
    }
    assert_eq!(rule(&["support", "admin"], "crm__get_secret").as_deref(), Ok("admin: *"));
}

#[test]
fn a_name_that_only_looks_like_an_allowed_one_is_another_name() {
    let policy = policy(&[("one", role(&["crm__get_customer"], &[]))], &[]);
    for name in NAMES {
        let expected = if name == NAMES[0] { Ok("one: crm__get_customer".to_owned()) } else { Err("role") };
        assert_eq!(decided(&policy, &["one"], None, name, "{}"), expected, "{name:?}");
    }
}

#[test]
fn a_condition_takes_away_the_role_that_states_it_and_no_other() {
    let conditional = |when: &str| {
        let text = format!(
            r#"{{"allow":["crm__*"],"conditions":[{{"match":"crm__get_*","when":{}}}]}}"#,
            serde_json::json!(when)
        );
        serde_json::from_str::<Role>(&text).expect("a role")
    };
    let policy = policy(
        &[
            ("never", conditional("caller.tenant == 'acme'")),
            ("small", conditional("arguments.amount <= 1000")),
            ("always", role(&["crm__get_secret"], &[])),
        ],
        &[("shut", &["files__*"])],
    );
    for (roles, view, name, arguments, expected) in [
        (&["never"][..], None, "crm__get_customer", "{}", Err("condition")),
        // The condition is for other tools.
        (&["never"], None, "crm__delete_customer", "{}", Ok("never: crm__*")),
        (&["never", "always"], None, "crm__get_secret", "{}", Ok("always: crm__get_secret")),
        (&["small"], None, "crm__get_customer", r#"{"amount":1000}"#, Ok("small: crm__*")),
        (&["small"], None, "crm__get_customer", r#"{"amount":1001}"#, Err("arguments")),
        (&["small"], None, "crm__get_customer", r#"{"amount":9007199254740993}"#, Err("arguments")),
        (&["small"], None, "crm__get_customer", r#"{"amount":"1"}"#, Err("arguments")),
        (&["small"], None, "crm__get_customer", "{}", Err("arguments")),
        (&["small", "never"], None, "crm__get_customer", r#"{"amount":5}"#, Ok("small: crm__*")),
        (&["small", "never"], None, "crm__get_customer", r#"{"amount":5000}"#, Err("arguments")),
        (&["always"], Some("shut"), "crm__get_secret", "{}", Err("view")),
        (&["always"], Some("shut"), "crm__get_customer", "{}", Err("role")),
    ] {
        let decided = decided(&policy, roles, view, name, arguments);
        assert_eq!(decided.as_deref().map_err(|reason| *reason), expected, "{roles:?} {view:?} {name} {arguments}");
    }
}

#[test]
fn what_is_told_of_a_decision_names_the_rule() {
    let policy = policy(&[("a", role(&["crm__*"], &["*secret*"])), ("b", role(&["files__*"], &[]))], &[]);
    let told = |roles: &[&str], name: &str| {
        let caller = caller(roles);
        policy.decide(Asker { caller: &caller, now: now() }, tool(name), None, "{}").because()
    };
    assert_eq!(told(&["a"], "crm__get_customer"), "allowed by `a: crm__*`");
    assert_eq!(
        told(&["a", "b"], "crm__get_secret"),
        "denied: role `a` denies `*secret*`, role `b` has no pattern for it"
    );
    assert_eq!(told(&["c"], "crm__get_secret"), "denied: the caller has no role that the policy knows");
}

fn patterns() -> impl Strategy<Value = Vec<&'static str>> {
    vec(select(&PATTERNS[..]), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn a_view_shows_nothing_that_the_roles_do_not_allow(
        roles in vec((patterns(), patterns()), 1..4),
        held in vec(0_usize..5, 0..4),
        view in option::of(patterns()),
    ) {
        let names = ["r0", "r1", "r2", "r3", "r4"];
        let stated: Vec<_> =
            roles.iter().enumerate().map(|(at, (allow, deny))| (names[at], role(allow, deny))).collect();
        let view = view.unwrap_or_else(|| vec!["*"]);
        let policy = policy(&stated, &[("v", &view)]);
        let held: Vec<&str> = held.into_iter().map(|at| names[at]).collect();
        for name in NAMES {
            let matches = |patterns: &[Glob]| patterns.iter().any(|pattern| pattern.matches(name));
            let granted = stated.iter().any(|(named, role)| {
                held.contains(named) && matches(&role.allow) && !matches(&role.deny)
            });
            prop_assert_eq!(decided(&policy, &held, None, name, "{}").is_ok(), granted);
            let through = decided(&policy, &held, Some("v"), name, "{}").is_ok();
            prop_assert_eq!(through, granted && matches(&globs(&view)));
        }
    }
}
