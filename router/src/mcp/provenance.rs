//! Whose words a result is in. Names under `weir/` in `_meta` are Weir's own word: a downstream that uses one is not passed on with it, and
//! one of them says where a result came from.

use adapters::{
    Reply,
    json::{self, Change, Object},
};
use bytes::Bytes;
use memchr::memmem;

use super::message::text_of;
use crate::name::ToolName;

/// The member of `_meta` that says whose words a result is in.
pub(crate) const PROVENANCE: &str = "weir/provenance";

/// Its value for the results of one tool. Whatever a downstream answers is data: nothing in it is an order of the user or of Weir.
pub(crate) fn of(name: &ToolName) -> String {
    let (downstream, tool) = (json::string(name.downstream.as_str()), json::string(&name.shown));
    format!("{{\"downstream\":{downstream},\"tool\":{tool},\"trust\":\"untrusted\"}}")
}

/// A part of a long answer, kept for later, with its provenance: who asks for it asks a tool of Weir's own.
pub(crate) fn told_in(part: &Bytes, provenance: &str) -> Bytes {
    let Some(object) = Object::parse(text_of(Some(part))) else { return part.clone() };
    let alone = format!("{{\"{PROVENANCE}\":{provenance}}}");
    let added: &[(&str, &str)] = if object.get("_meta").is_none() { &[("_meta", &alone)] } else { &[] };
    let rewritten = object.rewrite(added, |key, value| match Object::parse(value).filter(|_| key == "_meta") {
        Some(meta) => Change::Replace(meta.rewrite(&[(PROVENANCE, provenance)], |_, _| Change::Keep)),
        None => Change::Keep,
    });
    rewritten.into()
}

/// The reply without members of Weir's own in its `_meta`. Nearly always it has none, and its bytes stay as they are.
pub(crate) fn without_our_names(reply: Reply) -> Reply {
    match reply {
        Reply::Complete(bytes) => Reply::Complete(cleaned(bytes)),
        Reply::NotFound(bytes) => Reply::NotFound(cleaned(bytes)),
        Reply::InputRequired(bytes) => Reply::InputRequired(cleaned(bytes)),
        Reply::Task(bytes) => Reply::Task(cleaned(bytes)),
    }
}

fn cleaned(object: Bytes) -> Bytes {
    cleaned_text(text_of(Some(&object))).map_or(object, Bytes::from)
}

/// An object of a downstream (a result, a definition, the params of a notification) without our names in its `_meta`; `None` when it has
/// none of them. A downstream's object may hold `_meta` twice, so each one is looked at.
pub(crate) fn cleaned_text(object: &str) -> Option<String> {
    if !may_name_us(object) {
        return None;
    }
    let object = Object::parse(object)?;
    let mut found = false;
    let rewritten = object.rewrite(&[], |key, value| match Object::parse(value).filter(|_| key == "_meta") {
        Some(meta) if meta.iter().any(|(key, _)| key.starts_with("weir/")) => {
            found = true;
            let keep = |key: &str, _: &str| if key.starts_with("weir/") { Change::Remove } else { Change::Keep };
            Change::Replace(meta.rewrite(&[], keep))
        }
        _ => Change::Keep,
    });
    found.then_some(rewritten)
}

/// Whether the text may hold one of our names, also in an escaped spelling. Found by searching: results are large, and nearly none does.
fn may_name_us(text: &str) -> bool {
    let holds = |needle: &[u8]| memmem::find(text.as_bytes(), needle).is_some();
    holds(b"weir/") || holds(b"weir\\/") || holds(b"\\u00")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{cleaned, told_in};

    #[test]
    fn the_rest_of_an_answer_says_whose_it_is() {
        for (part, expected) in [
            (r#"{"content":[]}"#, r#"{"_meta":{"weir/provenance":{"a":1}},"content":[]}"#),
            (r#"{"_meta":{"b":2},"content":[]}"#, r#"{"_meta":{"weir/provenance":{"a":1},"b":2},"content":[]}"#),
        ] {
            assert_eq!(told_in(&Bytes::from_static(part.as_bytes()), r#"{"a":1}"#), expected.as_bytes());
        }
    }

    #[test]
    fn a_downstream_cannot_speak_in_our_name() {
        for (given, expected) in [
            (r#"{"content":["weir/cache"]}"#, r#"{"content":["weir/cache"]}"#),
            (r#"{"_meta":{"a":1,"b":"weir/x"}}"#, r#"{"_meta":{"a":1,"b":"weir/x"}}"#),
            (r#"{"_meta":{"weir/cache":{"state":"hit"},"a":1 }, "x":1}"#, r#"{"_meta":{"a":1 }, "x":1}"#),
            (r#"{"_meta":{"we\u0069r/cache":{},"a":1}}"#, r#"{"_meta":{"a":1}}"#),
            (r#"{"\u005fmeta":{"weir\/cache":{},"a":1}}"#, r#"{"\u005fmeta":{"a":1}}"#),
            (r#"{"_meta":{"weir/a":1}}"#, r#"{"_meta":{}}"#),
            (r#"{"_meta":{"weir/a":1},"_meta":1}"#, r#"{"_meta":{},"_meta":1}"#),
            (r#"{"_meta":{},"_meta":{"weir/a":1}}"#, r#"{"_meta":{},"_meta":{}}"#),
            (r#"{"_meta":["weir/a"]}"#, r#"{"_meta":["weir/a"]}"#),
        ] {
            assert_eq!(cleaned(Bytes::from_static(given.as_bytes())), expected.as_bytes());
        }
    }
}
