use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};

use super::{of, quoted};
use crate::{ErrorClass, ticketing::arguments::Search};

/// A query as a reader of the language takes it apart: words and signs as they stand, values without their quotes.
#[derive(Debug, PartialEq)]
enum Token {
    Bare(String),
    Value(String),
}

fn tokens(query: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut chars = query.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' => {}
            '"' => {
                let mut value = String::new();
                loop {
                    match chars.next().expect("the value ends") {
                        '"' => break,
                        '\\' => value.push(chars.next().expect("something is escaped")),
                        c => value.push(c),
                    }
                }
                found.push(Token::Value(value));
            }
            '(' | ')' | ',' => found.push(Token::Bare(c.to_string())),
            c => {
                let mut word = c.to_string();
                while let Some(c) = chars.next_if(|c| !matches!(c, ' ' | '"' | '(' | ')' | ',')) {
                    word.push(c);
                }
                found.push(Token::Bare(word));
            }
        }
    }
    found
}

fn bare(words: &str) -> Vec<Token> {
    words.split(' ').map(|word| Token::Bare(word.to_owned())).collect()
}

fn query(search: &Search, projects: &[&str]) -> String {
    let projects: Vec<_> = projects.iter().map(|&key| key.to_owned()).collect();
    of(search, &projects).expect("a query")
}

fn search() -> Search {
    Search::default()
}

#[test]
fn every_condition_has_its_term_and_the_projects_are_always_among_them() {
    let since = Some("2026-11-22T08:00:00Z".parse().expect("a moment"));
    let rows = [
        (search(), vec!["SUP", "OPS"], r#"project in ("SUP", "OPS")"#),
        (Search { project: Some("sup".into()), ..search() }, vec!["SUP", "OPS"], r#"project = "SUP""#),
        (Search { status: Some("in_progress".into()), ..search() }, vec![], r#"statusCategory = "In Progress""#),
        (Search { status: Some("Done".into()), ..search() }, vec![], r#"status = "Done""#),
        (Search { assignee: Some("a@b.example".into()), ..search() }, vec![], r#"assignee = "a@b.example""#),
        (Search { updated_since: since, ..search() }, vec![], "updated >= 1795334400000"),
        (
            Search { text: Some("card declined".into()), ..search() },
            vec!["SUP"],
            r#"project in ("SUP") AND text ~ "card declined""#,
        ),
    ];
    for (search, projects, wanted) in rows {
        assert_eq!(query(&search, &projects), format!("{wanted} ORDER BY updated DESC"));
    }
}

#[test]
fn text_loses_what_the_text_search_would_take_for_syntax() {
    let rows = [
        (r#"say "hi" OR 1=1"#, r#"text ~ "say hi or 1=1""#),
        (r#"x" OR project = SECRET OR text ~ "y"#, r#"text ~ "x or project = SECRET or text y""#),
        (r"back\slash (a*b?)", r#"text ~ "back slash a b""#),
        ("NOT AND null empty", r#"text ~ "not and null empty""#),
        ("Überweisung 訂單", r#"text ~ "Überweisung 訂單""#),
        ("weir-0192f0c1-2345-7abc-8def-0123456789ab", r#"labels = "weir-0192f0c1-2345-7abc-8def-0123456789ab""#),
        ("weir-nothing", r#"text ~ "weir nothing""#),
    ];
    for (text, wanted) in rows {
        let search = Search { text: Some(text.into()), ..search() };
        assert_eq!(query(&search, &[]), format!("{wanted} ORDER BY updated DESC"), "{text}");
    }
}

#[test]
fn what_could_find_nothing_or_everything_is_refused() {
    let rows = [
        (search(), vec![], "at least one of"),
        (Search { text: Some("?!".into()), ..search() }, vec!["SUP".to_owned()], "no word"),
        (Search { project: Some("SECRET".into()), ..search() }, vec!["SUP".to_owned()], "must be one of SUP"),
    ];
    for (search, projects, wanted) in rows {
        let error = of(&search, &projects).expect_err(wanted);
        assert_eq!(error.class, ErrorClass::InvalidArguments);
        assert!(error.message.contains(wanted), "{}", error.message);
    }
}

/// Text made of what has a meaning in the language, and of anything.
fn hostile() -> impl Strategy<Value = String> {
    let piece = proptest::prop_oneof![
        proptest::sample::select(vec![
            "\"", "\\", "'", " OR ", " AND ", ")", "(", "~", "project", "EMPTY", "\n", "\u{0}", "ORDER BY"
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
        "[a-z]{1,8}",
    ];
    proptest::collection::vec(piece, 1..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_value_is_read_back_as_it_was(text in hostile()) {
        let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        prop_assert_eq!(tokens(&quoted(&text)), vec![Token::Value(plain)]);
    }

    #[test]
    fn no_text_of_a_caller_becomes_syntax(status in hostile(), assignee in hostile(), text in hostile()) {
        let search = Search {
            status: Some(format!("s{status}")), assignee: Some(assignee), text: Some(format!("word {text}")), ..search()
        };
        let found = tokens(&query(&search, &["SUP"]));
        let without_values: Vec<_> = found.into_iter().filter(|token| matches!(token, Token::Bare(_))).collect();
        let frame = "project in ( ) AND status = AND assignee = AND text ~ ORDER BY updated DESC";
        prop_assert_eq!(without_values, bare(frame));
    }
}
