//! Which tickets a query means, and in which order.

use std::cmp::Ordering;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::{Clause, Filter, Operand, Operator, Query};
use crate::tickets::adf;
use crate::tickets::store::{Issue, KINDS, PRIORITIES, Status, Store};

type Test<'a> = Box<dyn Fn(&Issue) -> bool + 'a>;

/// The places of the tickets, in the order that the query wants and then the newest first. The error is what the service
/// says of values that it does not know.
pub(in crate::tickets) fn select(store: &Store, query: &Query, now: Timestamp) -> Result<Vec<usize>, String> {
    let test = match &query.filter {
        Some(filter) => Matching { store, now }.filter(filter)?,
        None => Box::new(|_: &Issue| true),
    };
    for (field, _) in &query.order {
        ordering(field).ok_or_else(|| unknown_field(field))?;
    }
    let mut found: Vec<usize> = (0..store.issues.len()).filter(|&index| test(&store.issues[index])).collect();
    found.sort_by(|&a, &b| {
        let compare = |(field, descending): &(String, bool)| {
            let ordering = ordering(field).map_or(Ordering::Equal, |order| order(&store.issues[a], &store.issues[b]));
            if *descending { ordering.reverse() } else { ordering }
        };
        query.order.iter().map(compare).find(|order| order.is_ne()).unwrap_or(b.cmp(&a))
    });
    Ok(found)
}

fn ordering(field: &str) -> Option<fn(&Issue, &Issue) -> Ordering> {
    Some(match field {
        "created" | "createddate" => |a, b| a.created.cmp(&b.created),
        "updated" | "updateddate" => |a, b| a.updated.cmp(&b.updated),
        "key" | "issuekey" | "id" => |a, b| (a.project, a.id).cmp(&(b.project, b.id)),
        // As on the site, the most urgent is the largest.
        "priority" => |a, b| b.priority.cmp(&a.priority),
        "status" => |a, b| a.status.cmp(&b.status),
        "summary" => |a, b| a.summary.cmp(&b.summary),
        _ => return None,
    })
}

fn unknown_field(field: &str) -> String {
    format!("Field '{field}' does not exist or you do not have permission to view it.")
}

#[derive(Clone, Copy)]
struct Matching<'a> {
    store: &'a Store,
    now: Timestamp,
}

impl<'a> Matching<'a> {
    fn filter(self, filter: &'a Filter) -> Result<Test<'a>, String> {
        match filter {
            Filter::All(filters) => {
                let tests = self.filters(filters)?;
                Ok(Box::new(move |issue| tests.iter().all(|test| test(issue))))
            }
            Filter::Any(filters) => {
                let tests = self.filters(filters)?;
                Ok(Box::new(move |issue| tests.iter().any(|test| test(issue))))
            }
            Filter::Not(filter) => {
                let test = self.filter(filter)?;
                Ok(Box::new(move |issue| !test(issue)))
            }
            Filter::Clause(clause) => self.clause(clause),
        }
    }

    fn filters(self, filters: &'a [Filter]) -> Result<Vec<Test<'a>>, String> {
        filters.iter().map(|filter| self.filter(filter)).collect()
    }

    fn clause(self, clause: &'a Clause) -> Result<Test<'a>, String> {
        match clause.field.as_str() {
            "text" => like(clause, |issue| {
                let comments = issue.comments.iter().map(|comment| adf::text(&comment.body));
                let description = issue.description.iter().map(adf::text);
                [issue.summary.clone()].into_iter().chain(description).chain(comments).collect::<Vec<_>>().join("\n")
            }),
            "summary" => like(clause, |issue| issue.summary.clone()),
            "description" => like(clause, |issue| issue.description.as_ref().map(adf::text).unwrap_or_default()),
            "comment" => like(clause, |issue| {
                issue.comments.iter().map(|comment| adf::text(&comment.body)).collect::<Vec<_>>().join("\n")
            }),
            "created" | "createddate" => self.moment(clause, |issue| issue.created),
            "updated" | "updateddate" => self.moment(clause, |issue| issue.updated),
            "project" => self.among(clause, |text| self.store.project(text), |issue| vec![issue.project]),
            "status" => self.among(clause, status, |issue| vec![issue.status as usize]),
            "statuscategory" => self.among(clause, status_category, |issue| vec![issue.status as usize]),
            "assignee" => {
                self.among(clause, |text| self.store.user(text), |issue| issue.assignee.into_iter().collect())
            }
            "reporter" | "creator" => self.among(clause, |text| self.store.user(text), |issue| vec![issue.reporter]),
            "priority" => self.among(clause, |text| named(PRIORITIES, text), |issue| vec![issue.priority]),
            "issuetype" | "type" => self.among(clause, |text| named(KINDS, text), |issue| vec![issue.kind]),
            "key" | "issuekey" | "id" | "issue" => {
                let of = |issue: &Issue| self.store.position(&issue.key).into_iter().collect();
                self.among(clause, |text| self.store.position(text), of)
            }
            "labels" => labels(clause),
            field => Err(unknown_field(field)),
        }
    }

    /// A field that has values out of a known set, each of which has a place.
    fn among(
        self,
        clause: &Clause,
        place: impl Fn(&str) -> Option<usize>,
        of: impl Fn(&Issue) -> Vec<usize> + 'a,
    ) -> Result<Test<'a>, String> {
        let negated = is_negated(clause)?;
        let wanted = clause.values.iter().map(|value| match value {
            Operand::Empty => Ok(None),
            Operand::CurrentUser => Ok(Some(0)),
            Operand::Text(text) => place(text)
                .map(Some)
                .ok_or_else(|| format!("The value '{text}' does not exist for the field '{}'.", clause.field)),
        });
        let wanted: Vec<Option<usize>> = wanted.collect::<Result<_, _>>()?;
        // As on the site: what has no value is found by neither a list nor the opposite of it, only by EMPTY.
        Ok(Box::new(move |issue| {
            let places = of(issue);
            let among = wanted.iter().any(|wanted| wanted.map_or(places.is_empty(), |place| places.contains(&place)));
            if negated { !among && (!places.is_empty() || wanted.contains(&None)) } else { among }
        }))
    }

    fn moment(self, clause: &Clause, of: impl Fn(&Issue) -> Timestamp + 'a) -> Result<Test<'a>, String> {
        let [Operand::Text(text)] = clause.values.as_slice() else {
            return Err(format!("The field '{}' needs a date.", clause.field));
        };
        let limit = moment(text, self.now).ok_or_else(|| {
            format!(
                "Date value '{text}' for field '{}' is invalid. Valid formats include: 'yyyy/MM/dd HH:mm', \
                 'yyyy-MM-dd HH:mm', 'yyyy/MM/dd', 'yyyy-MM-dd', or a period format e.g. '-5d', '4w 2d'.",
                clause.field
            )
        })?;
        Ok(match clause.operator {
            Operator::Less => Box::new(move |issue| of(issue) < limit),
            Operator::LessOrEqual => Box::new(move |issue| of(issue) <= limit),
            Operator::Greater => Box::new(move |issue| of(issue) > limit),
            Operator::GreaterOrEqual => Box::new(move |issue| of(issue) >= limit),
            Operator::Equal => Box::new(move |issue| of(issue) == limit),
            Operator::NotEqual => Box::new(move |issue| of(issue) != limit),
            Operator::In | Operator::NotIn | Operator::Like | Operator::NotLike => return Err(unsupported(clause)),
        })
    }
}

fn status(text: &str) -> Option<usize> {
    Status::ALL.iter().position(|status| status.name().eq_ignore_ascii_case(text) || status.id() == text)
}

fn status_category(text: &str) -> Option<usize> {
    let by_key = Status::ALL.iter().position(|status| status.category().eq_ignore_ascii_case(text));
    by_key.or_else(|| status(text))
}

fn named(names: &[&str], text: &str) -> Option<usize> {
    names.iter().position(|name| name.eq_ignore_ascii_case(text))
}

fn unsupported(clause: &Clause) -> String {
    format!("The operator is not supported by the '{}' field.", clause.field)
}

fn is_negated(clause: &Clause) -> Result<bool, String> {
    match clause.operator {
        Operator::Equal | Operator::In => Ok(false),
        Operator::NotEqual | Operator::NotIn => Ok(true),
        _ => Err(unsupported(clause)),
    }
}

fn labels(clause: &Clause) -> Result<Test<'_>, String> {
    let negated = is_negated(clause)?;
    Ok(Box::new(move |issue| {
        let has = |value: &Operand| match value {
            Operand::Text(text) => issue.labels.contains(text),
            Operand::Empty => issue.labels.is_empty(),
            Operand::CurrentUser => false,
        };
        clause.values.iter().any(has) != negated
    }))
}

/// A field that is searched as text: every word must be there, a phrase in inner quotes as it stands, and a `*` at the
/// end of a word means any ending.
fn like<'a>(clause: &Clause, of: impl Fn(&Issue) -> String + 'a) -> Result<Test<'a>, String> {
    let negated = match clause.operator {
        Operator::Like => false,
        Operator::NotLike => true,
        _ => return Err(unsupported(clause)),
    };
    let [Operand::Text(query)] = clause.values.as_slice() else {
        return Err(format!("The field '{}' needs a text.", clause.field));
    };
    let terms = terms(query, &clause.field)?;
    Ok(Box::new(move |issue| {
        let words = words(&of(issue));
        let found = terms.iter().all(|term| {
            words.windows(term.words.len()).any(|window| {
                window.iter().zip(&term.words).enumerate().all(|(index, (word, wanted))| {
                    let is_last = index + 1 == term.words.len();
                    word == wanted || term.any_ending && is_last && word.starts_with(wanted)
                })
            })
        });
        found != negated
    }))
}

#[derive(Debug, Default)]
struct Term {
    words: Vec<String>,
    any_ending: bool,
}

fn terms(query: &str, field: &str) -> Result<Vec<Term>, String> {
    let invalid = || format!("The text query '{query}' for field '{field}' is not valid.");
    if query.trim().is_empty() {
        return Err(invalid());
    }
    let mut terms = Vec::new();
    // Quotes that are not escaped border phrases: every second part is one.
    let mut parts = vec![String::new()];
    let mut characters = query.chars();
    while let Some(character) = characters.next() {
        let last = parts.last_mut().expect("there is one from the start");
        match character {
            // What is escaped means nothing, and neither do such characters in texts.
            '\\' if characters.next().is_some() => last.push(' '),
            '\\' => return Err(invalid()),
            '"' => parts.push(String::new()),
            other => last.push(other),
        }
    }
    if parts.len() % 2 == 0 {
        return Err(invalid());
    }
    for (index, part) in parts.iter().enumerate() {
        if index % 2 == 1 {
            terms.push(Term { words: words(part), any_ending: false });
            continue;
        }
        for written in part.split_whitespace() {
            if let Some(wildcard @ ('*' | '?')) = written.chars().next() {
                return Err(format!(
                    "The text query '{query}' for field '{field}' is not allowed to start with character '{wildcard}'."
                ));
            }
            let any_ending = written.ends_with('*');
            let words = words(written);
            // Parts of one word, such as `C-00042`, stand beside each other.
            terms.push(Term { words, any_ending });
        }
    }
    terms.retain(|term| !term.words.is_empty());
    Ok(terms)
}

fn words(text: &str) -> Vec<String> {
    text.split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// A day, a minute, milliseconds since 1970, or a period before or after now. The account's zone is UTC.
fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    let text = text.trim().replace('/', "-");
    if let Ok(milliseconds) = text.parse() {
        return Timestamp::from_millisecond(milliseconds).ok();
    }
    if let Ok(at) = DateTime::strptime("%Y-%m-%d %H:%M", &text) {
        return at.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp());
    }
    if let Ok(day) = Date::strptime("%Y-%m-%d", &text) {
        return day.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp());
    }
    let (sign, periods) = text.strip_prefix('-').map_or((1, text.as_str()), |periods| (-1, periods));
    let mut seconds: i64 = 0;
    for period in periods.split_whitespace() {
        let (number, unit) = period.split_at_checked(period.len().checked_sub(1)?)?;
        let unit = match unit {
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 7 * 86_400,
            _ => return None,
        };
        seconds = seconds.checked_add(number.parse::<i64>().ok()?.checked_mul(unit)?)?;
    }
    (!periods.trim().is_empty()).then(|| now.checked_add(SignedDuration::from_secs(sign * seconds)).ok())?
}
