//! What operators are told of the config: whether the one that was read last is in force, and what waits for the next start.

use serde_json::{Value, json};

use crate::Live;

/// The whole of it.
pub(super) fn state(live: &Live) -> Value {
    let last = live.last_attempt().map(|attempt| {
        let problems = attempt.refused.as_ref().map(|refused| refused.lines()).unwrap_or_default();
        let result = if attempt.refused.is_some() { "refused" } else { "applied" };
        json!({ "at": attempt.at, "result": result, "problems": problems })
    });
    json!({ "last_reload": last, "waits_for_restart": live.router().waiting })
}

/// What of it deserves a look, as lines of text.
pub(super) fn lines(live: &Live) -> String {
    let mut lines = String::new();
    if let Some(refused) = live.last_attempt().and_then(|attempt| attempt.refused.clone()) {
        let problems = refused.lines();
        let first = problems.first().map(String::as_str).unwrap_or_default();
        let more = if problems.len() > 1 { format!(" (and {} more)", problems.len() - 1) } else { String::new() };
        lines.push_str(&format!("the changed config is refused: {}{more}\n", first.replace('\n', " ")));
    }
    for waiting in &live.router().waiting {
        lines.push_str(&format!("{waiting} changes with the next start\n"));
    }
    lines
}
