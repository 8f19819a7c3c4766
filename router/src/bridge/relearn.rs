//! Asking for the list of tools on the bridge's own account: a client that knows its tools from an earlier run of the bridge calls them
//! without listing them, and then the bridge lacks the annotations that name the headers
//! (MCP 2026-07-28, basic/transports/streamable-http, "Client Behavior").

use std::sync::atomic::AtomicBool;

use adapters::json::{Change, Object, string, unquote};

use super::{
    Bridge, headers,
    message::{Heard, HeardKind, Message},
    stream::Stream,
};

/// Pages of a list that are read.
const PAGES_MAX: usize = 100;

impl Bridge {
    /// Reads the current list, with the `_meta` of the client's message. Says whether that went well.
    pub(super) async fn relearn(&self, message: &Message) -> bool {
        let Some(meta) = message.param("_meta").and_then(Object::parse) else { return false };
        // The token belongs to the client's own request.
        let meta = meta.rewrite(&[], |key, _| if key == "progressToken" { Change::Remove } else { Change::Keep });
        let mut cursor = None;
        for page in 0..PAGES_MAX {
            let Some(answer) = self.list_tools(&meta, cursor.as_deref()).await else { return false };
            _ = self.annotations.learn(&answer, page == 0);
            cursor = answer
                .member("result")
                .and_then(|result| unquote(Object::parse(result)?.get("nextCursor")?))
                .map(String::from);
            if cursor.is_none() {
                return true;
            }
        }
        true
    }

    async fn list_tools(&self, meta: &str, cursor: Option<&str>) -> Option<Heard> {
        let cursor = cursor.map(|cursor| format!(r#","cursor":{}"#, string(cursor))).unwrap_or_default();
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":"weir-stdio","method":"tools/list","params":{{"_meta":{meta}{cursor}}}}}"#
        );
        let message = Message::parse(text.into()).ok()?;
        let headers = headers::modern(&message, message.modern.as_deref()?, &[]);
        let response = self.wire.post(headers, message.bytes, true, &AtomicBool::new(false)).await.ok()?;
        let mut stream = Stream::new(response, self.wire.limits());
        while let Ok(Some(bytes)) = stream.next().await {
            let heard = Heard::parse(bytes)?;
            match heard.kind {
                HeardKind::Response { code: None, .. } => return Some(heard),
                HeardKind::Response { .. } => return None,
                _ => {}
            }
        }
        None
    }
}
