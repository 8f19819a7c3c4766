//! A subscription of a modern client, across connections (MCP 2026-07-28, basic/patterns/subscriptions).
//!
//! To the client the bridge is one server on one channel, which does not end when the router restarts. So the bridge opens the stream
//! again, keeps the second acknowledgment to itself, and says in its place that everything subscribed may have changed meanwhile.

use adapters::json::{Object, unquote};

use super::message::{Heard, HeardKind};

const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
/// The filter of a subscription, and what is said when its subject changed.
const LISTS: [(&str, &str); 3] = [
    ("toolsListChanged", "notifications/tools/list_changed"),
    ("promptsListChanged", "notifications/prompts/list_changed"),
    ("resourcesListChanged", "notifications/resources/list_changed"),
];

/// How far a subscription is.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    acknowledged: bool,
    lost: bool,
}

impl Subscription {
    /// Whether it was open once, so that the client relies on it.
    pub(super) fn is_lasting(&self) -> bool {
        self.acknowledged
    }

    /// Its stream was lost. Says whether it is to be opened again however long that takes.
    pub(super) fn lose(&mut self) -> bool {
        self.lost = self.acknowledged;
        self.lost
    }

    /// What the client shall read in place of a message; `None`: the message itself.
    pub(super) fn replaces(&mut self, heard: &Heard) -> Option<Vec<String>> {
        match &heard.kind {
            HeardKind::Other { method } if method == ACKNOWLEDGED => {}
            _ => return None,
        }
        self.acknowledged = true;
        std::mem::take(&mut self.lost).then(|| missed(heard).unwrap_or_default())
    }
}

/// A notification for everything that an acknowledgment names.
fn missed(acknowledgment: &Heard) -> Option<Vec<String>> {
    let params = Object::parse(acknowledgment.member("params")?)?;
    let meta = params.get("_meta")?;
    let filter = Object::parse(params.get("notifications")?)?;
    let lists = LISTS.iter().filter(|(kind, _)| filter.get(kind) == Some("true"));
    let mut lines: Vec<String> = lists
        .map(|(_, method)| format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{{"_meta":{meta}}}}}"#))
        .collect();
    let uris: Vec<&serde_json::value::RawValue> =
        filter.get("resourceSubscriptions").and_then(|uris| serde_json::from_str(uris).ok()).unwrap_or_default();
    lines.extend(uris.iter().map(|uri| uri.get()).filter(|uri| unquote(uri).is_some()).map(|uri| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"_meta":{meta},"uri":{uri}}}}}"#
        )
    }));
    Some(lines)
}

#[cfg(test)]
mod tests {
    use super::{Heard, Subscription};

    #[test]
    fn after_a_loss_everything_subscribed_counts_as_changed() {
        let text = r#"{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":7},"notifications":{"toolsListChanged":true,"promptsListChanged":false,"resourceSubscriptions":["a:b"]}}}"#;
        let acknowledgment = Heard::parse(text.into()).expect("a notification");
        let mut subscription = Subscription::default();
        assert!(!subscription.lose(), "it was never open");
        assert_eq!(subscription.replaces(&acknowledgment), None);
        assert!(subscription.lose());
        let meta = r#""_meta":{"io.modelcontextprotocol/subscriptionId":7}"#;
        let expected = [
            format!(r#"{{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{{{meta}}}}}"#),
            format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{{meta},"uri":"a:b"}}}}"#
            ),
        ];
        assert_eq!(subscription.replaces(&acknowledgment).expect("in its place"), expected);
        assert_eq!(subscription.replaces(&acknowledgment), None, "the loss is told once");
    }
}
