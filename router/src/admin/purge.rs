//! `POST /admin/cache/purge`: an operator ends cached answers by hand.

use cache::Tag;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::explain::no_such_tool;
use crate::{
    Router,
    front::problem,
    invalidate::{self, TAGS_AT_ONCE_MAX, raise, raised_json},
    server::Body,
};

const FORM: &str =
    "Send one of {\"tags\": [\"customer:CUST-00042\"]}, {\"tool\": \"crm__get_customer\"} and {\"all\": true}.";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    tags: Option<Vec<String>>,
    tool: Option<String>,
    #[serde(default)]
    all: bool,
}

pub(super) async fn answer(router: &Router, body: &[u8]) -> Response<Body> {
    let tags = match serde_json::from_slice(body) {
        Ok(asked) => tags(router, asked).await,
        Err(_) => Err(Box::new(problem(StatusCode::BAD_REQUEST, FORM))),
    };
    let tags = match tags {
        Ok(tags) => tags,
        Err(mistake) => return *mistake,
    };
    // Before it begins: who asked may hang up. What the tags are called may name customers; how many there were does not.
    router.audit.event("cache_purged", json!({ "by": "operator", "tags": tags.len() }));
    let reached = raise(&router.tags, "operator", &tags).await;
    tracing::info!(tags = tags.len(), ?reached, "an operator ended cached answers");
    raised_json(tags.len(), reached)
}

async fn tags(router: &Router, asked: Asked) -> Result<Vec<Tag>, Box<Response<Body>>> {
    match asked {
        Asked { tags: Some(tags), tool: None, all: false } if !tags.is_empty() => named(router, &tags),
        Asked { tags: None, tool: Some(name), all: false } => {
            let view = router.catalog.view_for(&name).await;
            let (_, tool) = view.resolve(&name).ok_or_else(|| Box::new(no_such_tool(&view, &name)))?;
            Ok(vec![invalidate::of_tool(tool.name.downstream.as_str(), &tool.name.local)])
        }
        Asked { tags: None, tool: None, all: true } => Ok(vec![invalidate::everything()]),
        _ => Err(Box::new(problem(StatusCode::BAD_REQUEST, FORM))),
    }
}

fn named(router: &Router, tags: &[String]) -> Result<Vec<Tag>, Box<Response<Body>>> {
    if tags.len() > TAGS_AT_ONCE_MAX {
        let text = format!("There are more than {TAGS_AT_ONCE_MAX} tags: send them in several requests.");
        return Err(Box::new(problem(StatusCode::BAD_REQUEST, &text)));
    }
    let named = router.strict.named(tags.iter().map(String::as_str));
    let mistake = |error| Box::new(problem(StatusCode::BAD_REQUEST, &format!("One of the tags is none: {error}.")));
    named.map_err(mistake)
}
