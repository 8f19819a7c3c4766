//! Long answers: what is over a tool's budget is parted, and the rest waits for the caller who got the beginning.
//!
//! The cut is the last thing that happens to an answer: the cache holds it whole.

mod array;
mod content;
mod cut;
mod next_page;
mod part;
mod text;

use std::time::Duration;

use adapters::{Caller, Reply, json::Object};
use bytes::Bytes;
use cache::{Handle, PageSettings, Pages, redis::Redis};
use config::Config;
use tokio::sync::Semaphore;

use crate::{Router, catalog::Tool, masking::Print};

pub(crate) use next_page::{LOCAL_NAME, NextPage};
use part::Next;
pub(crate) use part::Promise;

/// What callers call the tool that gives the next part.
pub(crate) const NEXT_PAGE: &str = "weir__next_page";

const LIFETIME: Duration = Duration::from_secs(5 * 60);
/// Stands in no name, and in no JSON.
const NAME_END: u8 = 0;
/// How much of one answer is kept, and in how many parts: what is over it would not be read to its end by any model.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 << 20;
const ANSWER_PAGES_MAX: usize = 1000;
/// What a part takes besides its bytes: the name of its tool, and whose words it is in.
const PART_BYTES: usize = 1024;
/// The first part is not kept: its caller has it.
const PARTS_MAX: usize = ANSWER_PAGES_MAX + 1;
/// An answer from this size on is parted beside the work for other calls.
const BLOCKING_FROM_BYTES: usize = 256 << 10;
/// How many of those are parted at once. Each has a core for itself and may take many times its own size, where it is made of small items.
static LARGE: Semaphore = Semaphore::const_new(4);
/// What the memory of one process holds without Redis.
const LOCAL_BYTES_MAX: u64 = 64 << 20;

/// Where the rest of long answers is kept, sealed by `sealer` where it is Redis.
pub(crate) fn store(sealer: cache::Sealer, redis: Option<Redis>) -> Pages {
    let settings = PageSettings {
        lifetime: LIFETIME,
        answer_bytes_max: ANSWER_BYTES_MAX,
        answer_pages_max: ANSWER_PAGES_MAX,
        local_bytes_max: LOCAL_BYTES_MAX,
    };
    Pages::new(settings, redis, sealer)
}

/// Whether there is any use for [`NEXT_PAGE`].
pub(crate) fn may_be_cut(config: &Config) -> bool {
    let mut tools = config.downstreams.values().flat_map(|downstream| downstream.tools.values());
    tools.any(|tool| tool.answer_characters_max.is_some())
}

/// The reply, or its first part where it is longer than what the tool may give at once.
pub(crate) async fn fit(router: &Router, caller: &Caller, tool: &Tool, print: &Print, reply: Reply) -> Reply {
    let Some(characters_max) = tool.answer_characters_max() else { return reply };
    match reply {
        Reply::Complete(bytes) => {
            Reply::Complete(first_part(router, (caller, print), tool, characters_max, bytes).await)
        }
        Reply::NotFound(bytes) => {
            Reply::NotFound(first_part(router, (caller, print), tool, characters_max, bytes).await)
        }
        Reply::InputRequired(_) | Reply::Task(_) => reply,
    }
}

async fn first_part(
    router: &Router,
    (caller, print): (&Caller, &Print),
    tool: &Tool,
    characters_max: usize,
    bytes: Bytes,
) -> Bytes {
    // No character has less than a byte.
    if bytes.len() <= characters_max {
        return bytes;
    }
    let owner = owner(caller);
    let (pages, name, whose, whole) = (router.pages.clone(), tool.name.shown.clone(), owner.clone(), bytes.clone());
    let promise = tool.promise();
    // The budget is that of the tool.
    let handles = move |count, whole: &[u8]| pages.handles(&whose, &[name.as_bytes(), whole], count);
    let part = move || Parted::of(&whole, characters_max, promise, |count| handles(count, &whole));
    let parted = if bytes.len() < BLOCKING_FROM_BYTES {
        Ok(part())
    } else {
        let turn = LARGE.acquire().await.expect("the semaphore is never closed");
        let part = move || {
            // Over when the work is, also where nobody waits for that any more.
            let _turn = turn;
            part()
        };
        tokio::task::spawn_blocking(part).await
    };
    let parted = match parted {
        Ok(Some(parted)) => parted,
        Ok(None) => return bytes,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    };
    let told = |part: Bytes| match &tool.provenance {
        Some(provenance) => crate::mcp::provenance::told_in(&part, provenance),
        None => part,
    };
    let rest = parted.rest.into_iter().map(|(handle, part)| (handle, kept(&tool.name.shown, print, &told(part))));
    match router.pages.keep(&owner, rest.collect()).await {
        Ok(()) => parted.first,
        Err(cache::TooLarge) => parted.first_alone,
    }
}

/// A long answer: its beginning, and the rest by handle.
struct Parted {
    first: Bytes,
    /// The beginning for the case that the rest cannot be kept.
    first_alone: Bytes,
    rest: Vec<(Handle, Bytes)>,
}

impl Parted {
    /// `None` when the answer needs no parting.
    fn of(
        result: &[u8],
        characters_max: usize,
        promise: Promise,
        handles: impl FnOnce(usize) -> Vec<Handle>,
    ) -> Option<Self> {
        let result = Object::parse(std::str::from_utf8(result).ok()?)?;
        let cut = cut::cut(&result, characters_max, promise.exists)?;
        let handles = handles(cut.parts.len() - 1);
        let shown: Vec<String> = handles.iter().map(ToString::to_string).collect();
        let next = |index: usize| match shown.get(index) {
            Some(handle) => Next::Handle(handle),
            None if cut.goes_on => Next::Gone,
            None => Next::End,
        };
        let render = |index: usize, next: Next<'_>| Bytes::from(part::render(&result, &cut, index, next, promise));
        let (mut first, first_alone) = (render(0, next(0)), render(0, Next::Gone));
        let (mut rest, mut bytes) = (Vec::with_capacity(handles.len()), 0);
        for (index, handle) in (1..).zip(handles) {
            let part = render(index, next(index));
            bytes += part.len() + PART_BYTES;
            if bytes > ANSWER_BYTES_MAX {
                // Of an answer that goes on and on, the last part that is kept says that there is more.
                match rest.last_mut() {
                    None => first = first_alone.clone(),
                    Some((_, last)) => *last = render(index - 1, Next::Gone),
                }
                break;
            }
            rest.push((handle, part));
        }
        Some(Self { first, first_alone, rest })
    }
}

/// A part as it is kept, with the tool whose answer it is of and what decided what was seen of it: who may no longer use that, or would
/// see something else now, gets no more of its answers.
fn kept(tool_name: &str, print: &Print, part: &[u8]) -> Bytes {
    [tool_name.as_bytes(), &[NAME_END], print, part].concat().into()
}

/// A part that was kept.
struct Kept<'a> {
    tool_name: &'a str,
    print: &'a [u8],
    part: Bytes,
}

fn read_kept(kept: &Bytes) -> Option<Kept<'_>> {
    let end = memchr::memchr(NAME_END, kept)?;
    let (print, _) = kept[end + 1..].split_at_checked(size_of::<Print>())?;
    let part = kept.slice(end + 1 + print.len()..);
    Some(Kept { tool_name: std::str::from_utf8(&kept[..end]).ok()?, print, part })
}

/// Whose a page is: one caller with the roles that it has now.
fn owner(caller: &Caller) -> Vec<u8> {
    let principal = &caller.principal;
    let tenant = principal.tenant.as_deref();
    let mut owner = vec![u8::from(tenant.is_some())];
    let identity = [&*principal.issuer, &*principal.subject, tenant.unwrap_or_default()];
    for part in identity.into_iter().chain(caller.roles.iter().map(|role| &**role)) {
        // Where a part begins and ends is a part of it.
        owner.extend_from_slice(&(part.len() as u64).to_be_bytes());
        owner.extend_from_slice(part.as_bytes());
    }
    owner
}

#[cfg(test)]
mod tests;
