use adapters::{AuthMethod, Caller, Principal};
use config::Effect;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::json;

use super::Expression;
use crate::policy::facts::{Asked, Facts, Unheld, VALUES_MAX};

const NOON: &str = "2026-11-23T12:30:00Z";

fn caller() -> Caller {
    let claims =
        json!({ "department": "finance", "limit": 500, "groups": ["a", "b"], "large": 9_007_199_254_740_993_u64 });
    Caller {
        principal: Principal {
            issuer: "https://login.example".into(),
            subject: "ann".into(),
            tenant: Some("acme".into()),
        },
        claims: std::sync::Arc::new(claims.as_object().expect("an object").clone()),
        method: AuthMethod::Jwt,
        address: Some("::ffff:10.1.2.3".parse().expect("an address")),
        ..Caller::local(&["support".to_owned()])
    }
}

fn judged(when: &str, caller: &Caller, arguments: Option<&str>) -> Result<(), Unheld> {
    let expression = Expression::read(when).unwrap_or_else(|mistake| panic!("{when}: {mistake}"));
    let time_zone = TimeZone::get("Europe/Berlin").expect("a zone");
    let tool = Asked { name: "crm__pay", place: Some(("crm", Effect::Write)) };
    let now: Timestamp = NOON.parse().expect("a time");
    expression.holds(&Facts { caller, tool, arguments, now, time_zone: &time_zone })
}

#[test]
fn a_condition_holds_or_it_does_not() {
    let arguments = r#"{"amount":1000,"price":99.5,"to":"DE","list":[1,2,3],"on":{"day":"mon"},"a-b":1,"nothing":null,"\u0061x":7,"e":1e3}"#;
    for (when, expected) in [
        ("true", Ok(())),
        ("arguments.amount <= 1000", Ok(())),
        ("arguments.amount < 1000", Err(Unheld::False)),
        ("arguments.amount <= 1000.5", Ok(())),
        ("arguments.price <= 100", Ok(())),
        ("arguments.e == 1000", Ok(())),
        ("arguments.ax == 7", Ok(())),
        ("arguments['a-b'] == 1", Ok(())),
        ("arguments.to in ['DE', 'AT']", Ok(())),
        ("arguments.list.all(one, one < 4)", Ok(())),
        ("arguments.list.exists(one, one == 3)", Ok(())),
        ("arguments.list.filter(one, one > 1).size() == 2", Ok(())),
        ("arguments.list.map(one, one + 1).all(one, one in [2, 3, 4])", Ok(())),
        ("size(arguments.list) <= 2", Err(Unheld::False)),
        ("arguments.on.day == 'mon'", Ok(())),
        ("!has(arguments.other)", Ok(())),
        ("has(arguments.nothing)", Ok(())),
        // What is missing or of another type never holds, on neither side of a comparison.
        ("arguments.other == 1", Err(Unheld::Failed)),
        ("arguments.other != 1", Err(Unheld::Failed)),
        ("!(arguments.to > 5)", Err(Unheld::Failed)),
        ("arguments.amount", Err(Unheld::NotBoolean)),
        ("caller.subject == 'ann' && caller.tenant == 'acme'", Ok(())),
        ("caller.tenant == 'ACME'", Err(Unheld::False)),
        ("caller.method == 'jwt' && 'support' in caller.roles", Ok(())),
        ("caller.claims.department == 'finance' && 'b' in caller.claims['groups']", Ok(())),
        ("!has(caller.claims.other)", Ok(())),
        ("caller.claims.large > 5", Err(Unheld::Inexact)),
        ("size(caller.claims) == 4", Err(Unheld::Inexact)),
        ("in_network(caller.address, '10.0.0.0/8')", Ok(())),
        ("in_network(caller.address, '192.168.0.0/16')", Err(Unheld::False)),
        ("tool.effect == 'write' && tool.downstream == 'crm' && tool.name == 'crm__pay'", Ok(())),
        // Half past one in Berlin.
        ("time.hour == 13 && time.minute == 30 && time.weekday == 'mon' && time.date == '2026-11-23'", Ok(())),
        ("time.date >= '2027-01-01'", Err(Unheld::False)),
        ("arguments.amount <= 10 || caller.subject == 'ann'", Ok(())),
    ] {
        assert_eq!(judged(when, &caller(), Some(arguments)), expected, "{when}");
    }
}

#[test]
fn what_is_not_known_of_a_caller_holds_for_no_condition() {
    let nobody = Caller::local(&[]);
    for when in [
        "caller.tenant == 'acme'",
        "caller.tenant != 'acme'",
        "!(caller.tenant == 'acme')",
        "in_network(caller.address, '0.0.0.0/0')",
        "!in_network(caller.address, '10.0.0.0/8')",
        "caller.claims.department != 'sales'",
    ] {
        assert_eq!(judged(when, &nobody, None), Err(Unheld::Failed), "{when}");
    }
    assert_eq!(judged("!has(caller.tenant)", &nobody, None), Ok(()));
}

#[test]
fn a_number_that_would_have_to_be_rounded_is_not_judged() {
    for (number, expected) in [
        ("9007199254740992", Ok(())),
        ("9007199254740993", Err(Unheld::Inexact)),
        ("-9007199254740993", Err(Unheld::Inexact)),
        ("9007199254740993.0", Err(Unheld::Inexact)),
        ("99999999999999999999", Err(Unheld::Inexact)),
        ("1e400", Err(Unheld::Inexact)),
        ("1e-400", Err(Unheld::Inexact)),
        ("1e300", Err(Unheld::Inexact)),
        ("0.1", Ok(())),
        ("123456789012.345", Ok(())),
        ("1000.0000000000000001", Err(Unheld::Inexact)),
        ("0.1000000000000000055511151231257827", Err(Unheld::Inexact)),
        ("0", Ok(())),
        ("-0.0", Ok(())),
        ("5e0", Ok(())),
    ] {
        let arguments = format!(r#"{{"n":{number},"other":1}}"#);
        assert_eq!(judged("arguments.n == arguments.n", &caller(), Some(&arguments)), expected, "{number}");
        assert_eq!(judged("arguments.n != 7777", &caller(), Some(&arguments)), expected, "{number}");
        // Nothing is said of what is not asked for.
        assert_eq!(judged("arguments.other == 1", &caller(), Some(&arguments)), Ok(()), "{number}");
    }
}

#[test]
fn what_is_too_large_is_not_judged() {
    let long = format!(r#"{{"text":"{}","n":1}}"#, "x".repeat(70_000));
    assert_eq!(judged("arguments.text != 'y'", &caller(), Some(&long)), Err(Unheld::TooLarge));
    assert_eq!(judged("arguments.n == 1", &caller(), Some(&long)), Ok(()));
    let many = format!(r#"{{"list":[{}1]}}"#, "1,".repeat(VALUES_MAX));
    assert_eq!(judged("arguments.list.all(one, one == 1)", &caller(), Some(&many)), Err(Unheld::TooLarge));
    let deep = format!(r#"{{"list":{}{}}}"#, "[".repeat(40), "]".repeat(40));
    assert_eq!(judged("size(arguments.list) == 1", &caller(), Some(&deep)), Err(Unheld::TooLarge));
}

#[test]
fn an_expression_that_makes_no_sense_is_refused_before_it_is_asked() {
    for (when, told) in [
        ("arguments.amount <=", "cannot be read"),
        ("", "cannot be read"),
        ("caler.tenant == 'a'", "`caler`"),
        ("caller.tennant == 'a'", "`caller.tenant`"),
        ("caller == 'a'", "as a whole"),
        ("time.second == 1", "`time.second`"),
        ("arguments.a.matches('a+')", "`matches`"),
        ("timestamp('2026-01-01T00:00:00Z') == time.unix", "`timestamp`"),
        ("in_network(caller.address, arguments.network)", "does not stand in it"),
        ("in_network(caller.address, '10.0.0.1/8')", "10.0.0.0/8"),
        ("caller.address.in_network('10.0.0.0/8')", "in another way"),
        ("arguments.list.all(arguments, arguments == 1)", "choose another name"),
        ("arguments.a.exists(x, arguments.b.exists(y, arguments.c.exists(z, x == y && y == z)))", "too long"),
        ("arguments.a.all(x, x in arguments.b)", "too long"),
        ("arguments.a.map(x, arguments.b + x).size() > 0", "too long"),
        ("arguments.a.all(x, arguments.text.contains(x))", "too long"),
    ] {
        let mistake = Expression::read(when).expect_err(when);
        assert!(mistake.contains(told), "{when}: {mistake}");
    }
    let long = format!("arguments.a == '{}'", "x".repeat(2000));
    assert!(Expression::read(&long).expect_err("too long").contains("2000 bytes"));
    let many = format!("{}true{}", "(".repeat(500), ")".repeat(500));
    assert!(Expression::read(&many).expect_err("too many").contains("100 operators"));
}

#[test]
fn what_a_condition_asks_for_is_known_before_it_is_judged() {
    for (when, needs_arguments, may_change) in [
        ("caller.tenant == 'acme'", false, false),
        ("in_network(caller.address, '10.0.0.0/8')", false, true),
        ("time.hour >= 8", false, true),
        ("arguments.a == 1 && time.hour >= 8", true, true),
        ("size(arguments) == 1", true, false),
    ] {
        let expression = Expression::read(when).expect(when);
        assert_eq!((expression.needs_arguments(), expression.may_change()), (needs_arguments, may_change), "{when}");
    }
}

#[test]
fn no_expression_that_is_read_needs_more_stack_than_there_is() {
    type Shape = fn(usize) -> String;
    let shapes: [(Shape, &str); 8] = [
        (|n| format!("{}true{}", "(".repeat(n), ")".repeat(n)), "brackets"),
        (|n| format!("{}1 == 1", "1+".repeat(n)), "sums"),
        (|n| format!("{}1", "1==".repeat(n)), "comparisons"),
        (|n| format!("{}true", "true?true:".repeat(n)), "choices"),
        (|n| format!("arguments{} == 1", "[0]".repeat(n)), "places"),
        (|n| format!("{}1{} == 1", "[".repeat(n), "]".repeat(n)), "lists"),
        (|n| format!("{}arguments{} == 1", "size(".repeat(n), ")".repeat(n)), "calls"),
        (|n| format!("caller.claims{} == 1", ".a".repeat(n)), "members"),
    ];
    // Here, as everywhere that calls are served, a thread has 2 MiB of stack.
    for (shape, name) in shapes {
        let mut deepest = 0;
        for n in [1, 4, 8, 12, 16, 20, 24, 40, 90, 500] {
            let text = shape(n);
            if let Ok(expression) = Expression::read(&text) {
                deepest = n;
                drop(expression);
                let _ = judged(&text, &caller(), Some("{}"));
            }
        }
        assert!(deepest >= 8, "{name}: {deepest}");
    }
}
