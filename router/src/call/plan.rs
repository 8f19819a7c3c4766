//! Whether a call may use the cache, under which key and for whom. Every reason against it stands here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use adapters::{
    Caller, CallerInput, CallerInputs,
    json::{Change, Object},
};
use bytes::Bytes;
use cache::{Canonical, Identity, Key, Mask, Partition, Parts, Personal, Tag};
use config::downstream::Partition as Stated;

use super::outcome::Bypass;
use crate::{
    Router,
    catalog::{Caching, Tool},
    invalidate::template::tags_of_arguments,
    masking::CallMask,
};

/// How a call uses the cache.
pub(crate) struct Plan {
    pub(crate) key: Key,
    /// Those that are known before the fetch.
    pub(crate) tags: Arc<[Tag]>,
    /// Stand for those that only the result will name.
    pub(crate) templates: Arc<[Tag]>,
    /// The arguments as the downstream gets them, defaults included.
    pub(crate) arguments: Bytes,
}

/// All downstreams are called with the credential of the service, which is part of the downstream's revision.
const SERVICE: &[u8] = b"service";

/// How the call uses the cache, or by what name it goes past it. `params` are the caller's whole params.
pub(crate) fn cache_plan(
    router: &Router,
    caller: &Caller,
    tool: &Tool,
    params: &[u8],
    arguments: Option<&Bytes>,
    mask: Option<&CallMask>,
) -> Result<Plan, Bypass> {
    if tool.effect.writes() {
        return Err(Bypass::Write);
    }
    let caching = tool.caching.as_ref().ok_or(Bypass::NotDeclared)?;
    if says_more(params) {
        return Err(Bypass::FurtherParameters);
    }
    let roles = router.policy.known_roles(caller);
    let partition = partition(tool, caching, caller, roles.iter().map(AsRef::as_ref).collect())?;
    if caching.partition == Stated::Shared && mask.is_some_and(CallMask::is_personal) {
        return Err(Bypass::Pseudonyms);
    }
    let revision = mask.map(CallMask::revision);
    let arguments = with_defaults(tool.settings(), arguments);
    let canonical = Canonical::of(&arguments).map_err(Bypass::Arguments)?;
    let about = tags_of_arguments(&caching.templates, &router.strict, Some(&arguments));
    if about.unresolved {
        return Err(Bypass::TagUnresolved);
    }
    let tags: Arc<[Tag]> = caching.own_tags.iter().chain(&about.tags).copied().collect();
    let is_strict = tags.iter().chain(&about.templates).any(|tag| tag.is_strict());
    if is_strict && router.cache.redis().is_some_and(|redis| !redis.is_up()) {
        return Err(Bypass::RedisGoneStrict);
    }
    let key = router.cache_keys.key(&Parts {
        downstream: tool.downstream.name.as_str(),
        config_revision: &tool.downstream.revision.answers,
        tool: &tool.name.local,
        definition: &caching.definition,
        arguments: &canonical,
        partition: &partition,
        mask: revision.as_deref().map(|revision| Mask { profile: "", revision }),
    });
    Ok(Plan { key, tags, templates: about.templates.into(), arguments })
}

/// Who may have the same answer. What the config states was checked against what is known before the start; what the downstream's adapter
/// says of the caller's part in its results is known only here.
fn partition<'a>(
    tool: &Tool,
    caching: &Caching,
    caller: &'a Caller,
    roles: BTreeSet<&'a str>,
) -> Result<Partition<'a>, Bypass> {
    let CallerInputs::Known(inputs) = &tool.caller_inputs else { return Err(Bypass::CallerInputsUnknown) };
    let principal = &caller.principal;
    let tenant = principal.tenant.as_deref().map(str::as_bytes);
    let identity = Identity::new(principal.issuer.as_bytes(), principal.subject.as_bytes(), tenant);
    let identity = identity.ok_or(Bypass::NoIdentity)?;
    for input in inputs {
        match input {
            // Every partition but the shared one has the whole identity in it.
            CallerInput::Principal => {}
        }
    }
    match caching.partition {
        Stated::Shared if !inputs.is_empty() => Err(Bypass::CallerInputs),
        Stated::Shared => Ok(Partition::Shared { credential: SERVICE, roles }),
        Stated::Private => Ok(Partition::Private(personal(identity, roles))),
        Stated::Token => {
            let token = caller.credential_id.as_deref().ok_or(Bypass::NoCredential)?.as_bytes();
            Ok(Partition::Token { token, personal: personal(identity, roles) })
        }
    }
}

fn personal<'a>(identity: Identity<'a>, roles: BTreeSet<&'a str>) -> Personal<'a> {
    Personal { identity, credential: SERVICE, roles, inputs: BTreeMap::new() }
}

/// Whether the params hold more than a cached call has: it is a further round of a call, or wants a task. What stands in `_meta` belongs to
/// the way of the call, and goes no further when its result is for others too.
fn says_more(params: &[u8]) -> bool {
    let members = std::str::from_utf8(params).ok().and_then(Object::parse);
    members.is_none_or(|members| members.iter().any(|(key, _)| !matches!(&*key, "name" | "arguments" | "_meta")))
}

/// The arguments with what Weir itself adds where the caller says nothing: the defaults of the config. A foreign schema's `default` is never
/// applied.
pub(crate) fn with_defaults(settings: Option<&config::Tool>, given: Option<&Bytes>) -> Bytes {
    let given = given.cloned().unwrap_or(Bytes::from_static(b"{}"));
    let stated = settings.map(|settings| &settings.arguments);
    let defaults = stated.into_iter().flatten().filter_map(|(name, argument)| {
        let default = argument.default.as_ref().filter(|default| !default.is_null())?;
        Some((name.as_str(), default))
    });
    let Some(object) = std::str::from_utf8(&given).ok().and_then(Object::parse) else { return given };
    let left_out = |name: &str| object.get(name).is_none_or(|value| value == "null");
    let added: Vec<(&str, String)> =
        defaults.filter(|(name, _)| left_out(name)).map(|(name, default)| (name, default.to_string())).collect();
    if added.is_empty() {
        return given;
    }
    let texts: Vec<(&str, &str)> = added.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let is_added = |key: &str| added.iter().any(|(name, _)| *name == key);
    object.rewrite(&texts, |key, _| if is_added(key) { Change::Remove } else { Change::Keep }).into()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{says_more, with_defaults};

    #[test]
    fn what_weir_adds_is_the_same_as_what_a_caller_says() {
        let tool = r#"{"arguments":{"a":{"type":"string","default":"x\"y"},"b":{"type":"integer","default":5},"c":{"type":"string","default":null}}}"#;
        let tool: config::Tool = serde_json::from_str(tool).expect("a tool");
        let whole = r#"{"a":"x\"y","b":5}"#;
        for (given, expected) in [
            (None, whole),
            (Some("{}"), whole),
            (Some(r#"{"b":null}"#), whole),
            (Some(r#"{"a":"x\"y"}"#), r#"{"b":5,"a":"x\"y"}"#),
            (Some(r#"{ "b" : 6,"a":"", "d":null }"#), r#"{ "b" : 6,"a":"", "d":null }"#),
        ] {
            let given = given.map(|text| Bytes::from_static(text.as_bytes()));
            assert_eq!(with_defaults(Some(&tool), given.as_ref()), expected);
            let unstated = given.clone().unwrap_or(Bytes::from_static(b"{}"));
            assert_eq!(with_defaults(None, given.as_ref()), unstated);
        }
    }

    #[test]
    fn only_a_name_and_arguments_make_a_cached_call() {
        for (params, more) in [
            (r#"{"name":"t"}"#, false),
            (r#"{"_meta":{"progressToken":1},"name":"t","arguments":{"requestState":1}}"#, false),
            (r#"{"name":"t","requestState":"s"}"#, true),
            (r#"{"name":"t","inputResponses":{}}"#, true),
            (r#"{"name":"t","t\u0061sk":{}}"#, true),
            ("[]", true),
        ] {
            assert_eq!(says_more(params.as_bytes()), more, "{params}");
        }
    }
}
