//! What each route answers.

use std::sync::PoisonError;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::jql::{Query, select};
use super::shape::{Shape, Wanted, moment};
use super::{Inner, Limit};
use crate::faults::Troubles;
use crate::web::{Answer, Recorded, Site};

const PAGE_DEFAULT: usize = 50;
const USERS_MAX: usize = 50;
const NO_ISSUE: &str = "Issue does not exist or you do not have permission to see it.";

impl Site for Inner {
    fn troubles(&self) -> &Troubles {
        &self.troubles
    }

    const SHOWN_AT: &'static str = "/__ledger";

    fn shown(&self) -> Value {
        json!(self.observed.get().ledger)
    }

    fn arrived(&self, request: &Recorded, kept: bool) {
        self.observed.update(|seen| {
            if kept {
                seen.requests.push(request.clone());
            }
            seen.running += 1;
        });
    }

    async fn answer(&self, request: &Recorded) -> Answer {
        if let Some(limit) = self.limited() {
            self.observed.update(|seen| seen.limited += 1);
            return too_many(&limit);
        }
        if !self.admits(request.header("authorization")) {
            let told = "Client must be authenticated to access this resource.";
            return Answer::text(StatusCode::UNAUTHORIZED, told)
                .with("www-authenticate", "OAuth realm=\"https%3A%2F%2Fsite.example\"")
                .with("x-seraph-loginreason", "AUTHENTICATED_FAILED");
        }
        self.route(request).unwrap_or_else(|refused| refused)
    }

    fn left(&self, answered: bool) {
        self.observed.update(|seen| {
            seen.running -= 1;
            if answered {
                seen.finished += 1;
            } else {
                seen.dropped += 1;
            }
        });
    }
}

impl Inner {
    fn route(&self, request: &Recorded) -> Result<Answer, Answer> {
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["rest", "api", "3", route @ ..] = segments.as_slice() else {
            return Err(errors(StatusCode::NOT_FOUND, "There is nothing at this path."));
        };
        match (request.method.as_str(), route) {
            ("POST", ["search", "jql"]) => self.search(request),
            (_, ["search"]) => {
                let told = "This API has been removed. Use /rest/api/3/search/jql instead.";
                Err(errors(StatusCode::GONE, told))
            }
            ("GET", ["issue", key]) => self.issue(request, key),
            ("POST", ["issue"]) => self.create(request),
            ("GET", ["issue", key, "transitions"]) => self.transitions(request, key),
            ("POST", ["issue", key, "transitions"]) => self.transition(request, key),
            ("GET", ["issue", key, "comment"]) => self.comments(request, key),
            ("POST", ["issue", key, "comment"]) => self.comment(request, key),
            ("GET", ["issue", key, "properties", name]) => self.property(key, name),
            ("GET", ["comment", id, "properties", name]) => self.comment_property(id, name),
            ("GET", ["myself"]) => Ok(self.with_shape(request, |shape| Answer::json(StatusCode::OK, &shape.user(0)))),
            ("GET", ["user", "search"]) => Ok(self.users(request)),
            (_, ["search", "jql"] | ["issue", ..] | ["myself"] | ["user", "search"]) => {
                Err(Answer::text(StatusCode::METHOD_NOT_ALLOWED, ""))
            }
            _ => Err(errors(StatusCode::NOT_FOUND, "There is nothing at this path.")),
        }
    }

    pub(super) fn with_shape<R>(&self, request: &Recorded, then: impl FnOnce(Shape<'_>) -> R) -> R {
        let base = format!("http://{}", request.header("host").unwrap_or("localhost"));
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        then(Shape { store: &store, base: &base })
    }

    fn search(&self, request: &Recorded) -> Result<Answer, Answer> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Search {
            #[serde(default)]
            jql: String,
            #[serde(default)]
            fields: Vec<String>,
            max_results: Option<usize>,
            next_page_token: Option<String>,
            #[expect(dead_code, reason = "taken, and without a meaning here")]
            expand: Option<String>,
            #[expect(dead_code, reason = "taken, and without a meaning here")]
            fields_by_keys: Option<bool>,
        }
        let search: Search = json_of(request)?;
        let bad = |told: &str| errors(StatusCode::BAD_REQUEST, told);
        let query = Query::parse(&search.jql).map_err(|told| bad(&told))?;
        if query.is_unbounded() {
            return Err(bad(
                "Unbounded JQL queries are not allowed here. Please add a search restriction to your query.",
            ));
        }
        let skipped = match &search.next_page_token {
            Some(token) => {
                place_of(token, &search.jql).ok_or_else(|| bad("The nextPageToken is not of this query."))?
            }
            None => 0,
        };
        let wanted = Wanted::named(search.fields.iter().map(String::as_str));
        let page = search.max_results.unwrap_or(PAGE_DEFAULT).clamp(1, self.options.page_max.max(1));
        self.with_shape(request, |shape| {
            let found = select(shape.store, &query, Timestamp::now()).map_err(|told| bad(&told))?;
            let issues = found.iter().skip(skipped).take(page).map(|&index| match wanted.is_nothing() {
                // Who names no fields gets ids and nothing else.
                true => json!({ "id": shape.store.issues[index].id.to_string() }),
                false => shape.issue(&shape.store.issues[index], &wanted),
            });
            let mut answer = json!({ "issues": issues.collect::<Vec<_>>() });
            let is_last = skipped + page >= found.len();
            if !is_last {
                answer["nextPageToken"] = json!(token(skipped + page, &search.jql));
            }
            answer["isLast"] = json!(is_last);
            Ok(Answer::json(StatusCode::OK, &answer))
        })
    }

    fn issue(&self, request: &Recorded, key: &str) -> Result<Answer, Answer> {
        let wanted = request.query("fields").map_or_else(Wanted::all, |fields| Wanted::named(fields.split(',')));
        self.with_shape(request, |shape| {
            let index = shape.store.position(key).ok_or_else(no_issue)?;
            Ok(Answer::json(StatusCode::OK, &shape.issue(&shape.store.issues[index], &wanted)))
        })
    }

    fn transitions(&self, request: &Recorded, key: &str) -> Result<Answer, Answer> {
        self.with_shape(request, |shape| {
            let index = shape.store.position(key).ok_or_else(no_issue)?;
            let possible = shape.store.issues[index].status.transitions();
            let possible: Vec<Value> = possible.iter().map(|&transition| shape.transition(transition)).collect();
            Ok(Answer::json(StatusCode::OK, &json!({ "expand": "transitions", "transitions": possible })))
        })
    }

    fn comments(&self, request: &Recorded, key: &str) -> Result<Answer, Answer> {
        let number = |name: &str| request.query(name).and_then(|text| text.parse::<usize>().ok());
        let (start, max) = (number("startAt").unwrap_or(0), number("maxResults").unwrap_or(100).min(100));
        let newest_first = request.query("orderBy").is_some_and(|order| order == "-created");
        self.with_shape(request, |shape| {
            let issue = &shape.store.issues[shape.store.position(key).ok_or_else(no_issue)?];
            let mut comments: Vec<Value> = issue.comments.iter().map(|comment| shape.comment(issue, comment)).collect();
            if newest_first {
                comments.reverse();
            }
            let total = comments.len();
            let page: Vec<Value> = comments.into_iter().skip(start).take(max).collect();
            let answer = json!({ "startAt": start, "maxResults": max, "total": total, "comments": page });
            Ok(Answer::json(StatusCode::OK, &answer))
        })
    }

    fn property(&self, key: &str, name: &str) -> Result<Answer, Answer> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let issue = &store.issues[store.position(key).ok_or_else(no_issue)?];
        let value = issue.properties.get(name);
        let value = value.ok_or_else(|| errors(StatusCode::NOT_FOUND, "The property does not exist."))?;
        Ok(Answer::json(StatusCode::OK, &json!({ "key": name, "value": value })))
    }

    fn comment_property(&self, id: &str, name: &str) -> Result<Answer, Answer> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let mut comments = store.issues.iter().flat_map(|issue| &issue.comments);
        let comment = comments.find(|comment| comment.id.to_string() == id);
        let comment = comment.ok_or_else(|| errors(StatusCode::NOT_FOUND, "Can not find a comment for the id."))?;
        let value = comment.properties.get(name);
        let value = value.ok_or_else(|| errors(StatusCode::NOT_FOUND, "The property does not exist."))?;
        Ok(Answer::json(StatusCode::OK, &json!({ "key": name, "value": value })))
    }

    fn users(&self, request: &Recorded) -> Answer {
        let query = request.query("query").unwrap_or_default().to_lowercase();
        self.with_shape(request, |shape| {
            let users = shape.store.users.iter().enumerate();
            let found = users.filter(|(_, user)| {
                user.name.to_lowercase().contains(&query) || user.email.to_lowercase().contains(&query)
            });
            let found: Vec<Value> = found.take(USERS_MAX).map(|(index, _)| shape.user(index)).collect();
            Answer::json(StatusCode::OK, &json!(found))
        })
    }

    fn admits(&self, authorization: Option<&str>) -> bool {
        self.options.token.as_ref().is_none_or(|token| {
            let both = BASE64_STANDARD.encode(format!("{}:{token}", self.options.user));
            authorization.and_then(|value| value.strip_prefix("Basic ")) == Some(both.as_str())
        })
    }

    /// The limit that this request is over, which is counted.
    fn limited(&self) -> Option<Limit> {
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        limit.requests = limit.requests.checked_sub(1)?;
        Some(limit.clone())
    }
}

pub(super) fn no_issue() -> Answer {
    errors(StatusCode::NOT_FOUND, NO_ISSUE)
}

pub(super) fn errors(status: StatusCode, told: &str) -> Answer {
    Answer::json(status, &json!({ "errorMessages": [told], "errors": {} }))
}

/// What a request says. The service reads JSON only if it is told that it is JSON.
pub(super) fn json_of<T: serde::de::DeserializeOwned>(request: &Recorded) -> Result<T, Answer> {
    let is_json = request.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    if !is_json {
        return Err(errors(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body has to be application/json."));
    }
    serde_json::from_slice(&request.body).map_err(|error| {
        tracing::debug!(%error, "a request with a body that is not understood");
        let told = "Invalid request payload. Refer to the REST API documentation and try again.";
        errors(StatusCode::BAD_REQUEST, told)
    })
}

fn too_many(limit: &Limit) -> Answer {
    let seconds = i64::try_from(limit.retry_after_s).unwrap_or(i64::MAX);
    let reset = Timestamp::now().checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
    errors(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded.")
        .with("retry-after", limit.retry_after_s.to_string())
        .with("x-ratelimit-limit", "100")
        .with("x-ratelimit-remaining", "0")
        .with("x-ratelimit-reset", moment(reset))
        .with("ratelimit-reason", &limit.reason)
}

/// Where the next page begins, bound to its query.
fn token(place: usize, jql: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{place}:{:x}", fingerprint(jql)))
}

fn place_of(token: &str, jql: &str) -> Option<usize> {
    let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (place, of) = text.split_once(':')?;
    (of == format!("{:x}", fingerprint(jql))).then(|| place.parse().ok())?
}

/// FNV-1a: enough to notice a mistake.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
