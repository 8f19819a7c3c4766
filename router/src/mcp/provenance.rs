//! Names under `weir/` in `_meta` are Weir's own word. A downstream that uses one is not passed on with it.

use adapters::{
    Reply,
    json::{Change, Object},
};
use bytes::Bytes;
use memchr::memmem;

use super::message::text_of;

/// The reply without members of Weir's own in its `_meta`. Nearly always it has none, and its bytes stay as they are.
pub(crate) fn without_our_names(reply: Reply) -> Reply {
    match reply {
        Reply::Complete(bytes) => Reply::Complete(cleaned(bytes)),
        Reply::NotFound(bytes) => Reply::NotFound(cleaned(bytes)),
        Reply::InputRequired(bytes) => Reply::InputRequired(cleaned(bytes)),
        Reply::Task(bytes) => Reply::Task(cleaned(bytes)),
    }
}

fn cleaned(result: Bytes) -> Bytes {
    // An escaped spelling of the name would pass the search, so any escape in `_meta` is looked at as well.
    let suspicious = memmem::find(&result, b"weir/").is_some()
        || memmem::find(&result, b"\\u").is_some()
        || memmem::find(&result, b"\\/").is_some();
    if !suspicious || memmem::find(&result, b"_meta").is_none() && memmem::find(&result, b"\\u").is_none() {
        return result;
    }
    let Some(object) = Object::parse(text_of(Some(&result))) else { return result };
    let ours =
        |meta: &str| Object::parse(meta).is_some_and(|meta| meta.iter().any(|(key, _)| key.starts_with("weir/")));
    if !object.get("_meta").is_some_and(ours) {
        return result;
    }
    let without = |meta: &str| {
        let meta = Object::parse(meta).expect("it was just looked into");
        meta.rewrite(&[], |key, _| if key.starts_with("weir/") { Change::Remove } else { Change::Keep })
    };
    object.rewrite(&[], |key, value| if key == "_meta" { Change::Replace(without(value)) } else { Change::Keep }).into()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::cleaned;

    #[test]
    fn a_downstream_cannot_speak_in_our_name() {
        for (given, expected) in [
            (r#"{"content":["weir/cache"]}"#, r#"{"content":["weir/cache"]}"#),
            (r#"{"_meta":{"a":1,"b":"weir/x"}}"#, r#"{"_meta":{"a":1,"b":"weir/x"}}"#),
            (r#"{"_meta":{"weir/cache":{"state":"hit"},"a":1 }, "x":1}"#, r#"{"_meta":{"a":1 }, "x":1}"#),
            (r#"{"_meta":{"we\u0069r/cache":{},"a":1}}"#, r#"{"_meta":{"a":1}}"#),
            (r#"{"\u005fmeta":{"weir\/cache":{},"a":1}}"#, r#"{"\u005fmeta":{"a":1}}"#),
            (r#"{"_meta":{"weir/a":1}}"#, r#"{"_meta":{}}"#),
        ] {
            assert_eq!(cleaned(Bytes::from_static(given.as_bytes())), expected.as_bytes());
        }
    }
}
