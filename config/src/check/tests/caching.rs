//! What would give someone a wrong answer out of the cache, or nothing at all.

use insta::assert_snapshot;

use super::{good_but, mcp, tool};

/// Tools of a database without what is the same for all of them.
fn tools(tools: &[&str]) -> String {
    const REST: &str = "sql: 'select $1', description: d, arguments: { customer_id: { type: string } }";
    let whole: Vec<String> = tools.iter().map(|tool| tool.replace("…", REST)).collect();
    let said = tool(&whole.iter().map(String::as_str).collect::<Vec<_>>());
    let said = said.replace(REST, "…").replace("downstreams: { d: { postgres: { url: { env: A } }, tools: { ", "");
    said.replace(" } } }\n", "\n")
}

#[test]
fn only_reads_are_cached_and_only_writes_end_what_is() {
    assert_snapshot!(tools(&[
        "t: { …, effect: read, cache: { fresh_for: 1m } }",
        "t: { …, effect: write, cache: { fresh_for: 1m } }",
        "t: { …, cache: { fresh_for: 1m } }",
        "t: { …, effect: read, invalidates: ['customer:{customer_id}'], settles_within: 1m }",
        "t: { …, effect: write, settles_within: 1m }",
        "t: { …, effect: write, invalidates: ['customer:{customer_id}'], settles_within: 1m }",
    ]), @r#"
    t: { …, effect: read, cache: { fresh_for: 1m } }
      fine
    t: { …, effect: write, cache: { fresh_for: 1m } }
      problem 1:161 `downstreams.d.tools.t.cache` is for tools that read, and the effect of this one is `write`
        help: remove it: an answer that was kept would be a write that did not happen
    t: { …, cache: { fresh_for: 1m } }
      problem 1:146 `downstreams.d.tools.t.cache` is for tools that read; this one states no `effect` and so counts as a write
        help: state `effect: read` if it changes nothing, or remove `cache`
    t: { …, effect: read, invalidates: ['customer:{customer_id}'], settles_within: 1m }
      problem 1:160 `downstreams.d.tools.t.invalidates` is for tools that write, and the effect of this one is `read`
        help: remove it, or state `effect: write`: a read that changes something must not be called a read
      problem 1:217 `downstreams.d.tools.t.settles_within` is for tools that write, and the effect of this one is `read`
        help: remove it, or state `effect: write`: a read that changes something must not be called a read
    t: { …, effect: write, settles_within: 1m }
      warning 1:177 `downstreams.d.tools.t.settles_within` means nothing without `invalidates`
        help: state what the write changes: `invalidates: ["customer:{customer_id}"]`
    t: { …, effect: write, invalidates: ['customer:{customer_id}'], settles_within: 1m }
      fine
    "#);
}

#[test]
fn ages_are_in_order() {
    assert_snapshot!(tools(&[
        "t: { …, effect: read, cache: { fresh_for: 1m, stale_while_refreshing: 5m, stale_on_error: 1h, not_found_for: 10s, stale_after_waiting: 2s } }",
        "t: { …, effect: read, cache: { fresh_for: 1m, stale_while_refreshing: 30s, stale_on_error: 1m } }",
        "t: { …, effect: read, cache: { fresh_for: 0s } }",
        "t: { …, effect: read, cache: { fresh_for: 0s, stale_on_error: 1m } }",
        "t: { …, effect: read, cache: { fresh_for: 8d } }",
        "t: { …, effect: read, cache: { fresh_for: 1m, stale_after_waiting: 2s } }",
        "t: { …, effect: read, cache: { fresh_for: 1m, stale_on_error: 2m, stale_after_waiting: 0s } }",
        "t: { …, effect: read, deadline: 2s, cache: { fresh_for: 1m, stale_on_error: 2m, stale_after_waiting: 2s } }",
    ]), @"
    t: { …, effect: read, cache: { fresh_for: 1m, stale_while_refreshing: 5m, stale_on_error: 1h, not_found_for: 10s, stale_after_waiting: 2s } }
      fine
    t: { …, effect: read, cache: { fresh_for: 1m, stale_while_refreshing: 30s, stale_on_error: 1m } }
      problem 1:208 `downstreams.d.tools.t.cache.stale_while_refreshing` is `30s`, no longer than `fresh_for`, which is `1m`, so that it never counts
        help: each figure is an age, counted from the fetch, not a time on top of `fresh_for`
      problem 1:229 `downstreams.d.tools.t.cache.stale_on_error` is `1m`, no longer than `fresh_for`, which is `1m`, so that it never counts
        help: each figure is an age, counted from the fetch, not a time on top of `fresh_for`
    t: { …, effect: read, cache: { fresh_for: 0s } }
      problem 1:180 `downstreams.d.tools.t.cache.fresh_for` is nothing, so that no answer is ever kept
        help: state an age, or remove `cache`
    t: { …, effect: read, cache: { fresh_for: 0s, stale_on_error: 1m } }
      fine
    t: { …, effect: read, cache: { fresh_for: 8d } }
      problem 1:180 `downstreams.d.tools.t.cache.fresh_for` must be at most `7d`, not `8d`
    t: { …, effect: read, cache: { fresh_for: 1m, stale_after_waiting: 2s } }
      problem 1:205 `downstreams.d.tools.t.cache.stale_after_waiting` needs `stale_on_error`, which says how old an answer may be that is given in place of a slow one
        help: state both, such as `stale_after_waiting: 2s` and `stale_on_error: 10m`
    t: { …, effect: read, cache: { fresh_for: 1m, stale_on_error: 2m, stale_after_waiting: 0s } }
      problem 1:225 `downstreams.d.tools.t.cache.stale_after_waiting` must be longer than nothing
        help: for an older answer at once, state `stale_while_refreshing`
    t: { …, effect: read, deadline: 2s, cache: { fresh_for: 1m, stale_on_error: 2m, stale_after_waiting: 2s } }
      warning 1:239 `downstreams.d.tools.t.cache.stale_after_waiting` is `2s`, no shorter than the tool's deadline, which is `2s`, so that it never counts
        help: shorten it: an older answer comes in place of a failure in any case
    ");
}

#[test]
fn what_depends_on_the_caller_is_not_shared() {
    let server = |sharing: &str, cache: &str| {
        format!(
            "{{ mcp: {{ websocket: {{ url: 'wss://e/mcp' }}, sharing: {sharing} }}, effects: [{{ match: '*', effect: read }}], \
             tools: {{ t: {{ description: d, cache: {{ {cache} }} }} }} }}"
        )
    };
    let servers = [
        server("shared", "fresh_for: 1m, partition: shared"),
        server("per_caller", "fresh_for: 1m"),
        server("per_caller", "fresh_for: 1m, partition: shared"),
        server("per_call", "fresh_for: 1m"),
    ];
    assert_snapshot!(mcp(&servers.iter().map(String::as_str).collect::<Vec<_>>()), @"
    downstreams: { e: { mcp: { websocket: { url: 'wss://e/mcp' }, sharing: shared }, effects: [{ match: '*', effect: read }], tools: { t: { description: d, cache: { fresh_for: 1m, partition: shared } } } } }
      fine
    downstreams: { e: { mcp: { websocket: { url: 'wss://e/mcp' }, sharing: per_caller }, effects: [{ match: '*', effect: read }], tools: { t: { description: d, cache: { fresh_for: 1m } } } } }
      fine
    downstreams: { e: { mcp: { websocket: { url: 'wss://e/mcp' }, sharing: per_caller }, effects: [{ match: '*', effect: read }], tools: { t: { description: d, cache: { fresh_for: 1m, partition: shared } } } } }
      problem 1:192 `downstreams.e.tools.t.cache.partition` is `shared`, but with `sharing: per_caller` the server knows its callers, and one would get what was meant for another
        help: use `partition: private`, or `sharing: shared` for the server if all callers get the same
    downstreams: { e: { mcp: { websocket: { url: 'wss://e/mcp' }, sharing: per_call }, effects: [{ match: '*', effect: read }], tools: { t: { description: d, cache: { fresh_for: 1m } } } } }
      problem 1:155 `downstreams.e.tools.t.cache` is for a server with `sharing: per_call`, of which it is not known what makes its results, so none may be given twice
        help: use `sharing: per_caller` or `shared`, if what it answers does not depend on the connection, or remove `cache`
    ");
}

#[test]
fn a_tag_names_arguments_that_the_tool_has() {
    assert_snapshot!(tools(&[
        "t: { …, effect: read, cache: { fresh_for: 1m, tags: ['customer:{customer_id}', 'customer:{result.id}'] } }",
        "t: { …, effect: read, cache: { fresh_for: 1m, tags: ['customer:{customer}', 'x:{nothing}', 'x:{customer_id.x}', 'x:{customer_id[]}'] } }",
        "t: { …, effect: read, cache: { fresh_for: 1m, not_found_for: 1s, tags: ['customer:{result.id}'] } }",
        "t: { …, effect: write, invalidates: ['customer:{costumer_id}'] }",
        "t: { sql: 'select $1', description: d, arguments: { a: { type: string, required: false } }, effect: read, cache: { fresh_for: 1m, tags: ['x:{a}'] } }",
        "t: { sql: 'select $1', description: d, arguments: { a: { type: string, default: b } }, effect: read, cache: { fresh_for: 1m, tags: ['x:{a}'] } }",
        "t: { sql: 'select $1', description: d, arguments: { a: { type: array, items: string } }, effect: read, cache: { fresh_for: 1m, tags: ['x:{a[]}', 'x:{a}'] } }",
        "t: { sql: 'select 1', description: d, effect: read, cache: { fresh_for: 1m, tags: ['x:{a}'] } }",
    ]), @"
    t: { …, effect: read, cache: { fresh_for: 1m, tags: ['customer:{customer_id}', 'customer:{result.id}'] } }
      fine
    t: { …, effect: read, cache: { fresh_for: 1m, tags: ['customer:{customer}', 'x:{nothing}', 'x:{customer_id.x}', 'x:{customer_id[]}'] } }
      problem 1:191 `downstreams.d.tools.t.cache.tags[0]` is `customer:{customer}`, but the tool has no argument `customer`
        help: it takes `customer_id`; what its result says stands as `{result.…}`
      problem 1:214 `downstreams.d.tools.t.cache.tags[1]` is `x:{nothing}`, but the tool has no argument `nothing`
        help: it takes `customer_id`; what its result says stands as `{result.…}`
      problem 1:229 `downstreams.d.tools.t.cache.tags[2]` is `x:{customer_id.x}`, but the argument `customer_id` is of type `string`
        help: a tag is made of texts, numbers, true and false; the items of a list stand as `{name[]}`, members of an object as `{name.member}`
      problem 1:250 `downstreams.d.tools.t.cache.tags[3]` is `x:{customer_id[]}`, but the argument `customer_id` is of type `string`
        help: a tag is made of texts, numbers, true and false; the items of a list stand as `{name[]}`, members of an object as `{name.member}`
    t: { …, effect: read, cache: { fresh_for: 1m, not_found_for: 1s, tags: ['customer:{result.id}'] } }
      warning 1:199 `downstreams.d.tools.t.cache.not_found_for` means nothing: an answer that there is no such thing does not name what a tag takes from the result, and is not kept
        help: take all tags from arguments, or remove it
    t: { …, effect: write, invalidates: ['customer:{costumer_id}'] }
      problem 1:175 `downstreams.d.tools.t.invalidates[0]` is `customer:{costumer_id}`, but the tool has no argument `costumer_id`
        help: did you mean `customer_id`?
    t: { sql: 'select $1', description: d, arguments: { a: { type: string, required: false } }, effect: read, cache: { fresh_for: 1m, tags: ['x:{a}'] } }
      warning 1:198 `downstreams.d.tools.t.cache.tags[0]` is `x:{a}`, but callers may leave out `a`: such calls are not cached
        help: give `a` a `default`, or use another tag
    t: { sql: 'select $1', description: d, arguments: { a: { type: string, default: b } }, effect: read, cache: { fresh_for: 1m, tags: ['x:{a}'] } }
      fine
    t: { sql: 'select $1', description: d, arguments: { a: { type: array, items: string } }, effect: read, cache: { fresh_for: 1m, tags: ['x:{a[]}', 'x:{a}'] } }
      problem 1:206 `downstreams.d.tools.t.cache.tags[1]` is `x:{a}`, but the argument `a` is of type `array`
        help: a tag is made of texts, numbers, true and false; the items of a list stand as `{name[]}`, members of an object as `{name.member}`
    t: { sql: 'select 1', description: d, effect: read, cache: { fresh_for: 1m, tags: ['x:{a}'] } }
      problem 1:144 `downstreams.d.tools.t.cache.tags[0]` is `x:{a}`, but the tool has no argument `a`
        help: it takes no arguments; what its result says stands as `{result.…}`
    ");
}

#[test]
fn a_read_hears_of_the_writes_beside_it() {
    let tickets = |tools: &str| {
        format!(
            "downstreams: {{ d: {{ ticketing: {{ provider: jira, base_url: 'https://j' }}, tools: {{ {tools} }} }} }}"
        )
    };
    let configs = [
        tickets(
            "get_ticket: { cache: { fresh_for: 1m, tags: ['ticket:{ticket}'] } }, add_comment: { invalidates: ['ticket:{id}'] }",
        ),
        tickets(
            "get_ticket: { cache: { fresh_for: 1m, tags: ['ticket:{result.id}'] } }, add_comment: { invalidates: ['ticket:{id}'] }",
        ),
        tickets(
            "search_tickets: { cache: { fresh_for: 1m, tags: ['ticket:{result.tickets[].id}'] } }, create_ticket: { invalidates: ['ticket:{result.id}'] }",
        ),
        tickets(
            "search_tickets: { cache: { fresh_for: 1m, tags: ['ticket:{result.tickets[].id}', 'tickets:all'] } }, \
             create_ticket: { invalidates: ['ticket:{result.id}', 'tickets:all'] }",
        ),
        tickets("get_ticket: { cache: { fresh_for: 1m } }"),
    ];
    let said = good_but(&configs.iter().map(String::as_str).collect::<Vec<_>>());
    assert_snapshot!(said.replace("downstreams: { d: { ticketing: { provider: jira, base_url: 'https://j' }, tools: ", ""), @"
    { get_ticket: { cache: { fresh_for: 1m, tags: ['ticket:{ticket}'] } }, add_comment: { invalidates: ['ticket:{id}'] } } } }
      problem 1:129 `downstreams.d.tools.get_ticket.cache.tags[0]` is `ticket:{ticket}`, but the tool has no argument `ticket`
        help: it takes `id`; what its result says stands as `{result.…}`
    { get_ticket: { cache: { fresh_for: 1m, tags: ['ticket:{result.id}'] } }, add_comment: { invalidates: ['ticket:{id}'] } } } }
      fine
    { search_tickets: { cache: { fresh_for: 1m, tags: ['ticket:{result.tickets[].id}'] } }, create_ticket: { invalidates: ['ticket:{result.id}'] } } } }
      warning 1:126 `downstreams.d.tools.search_tickets.cache.tags` name the items of the family `ticket` alone, so that `create_ticket` does not end a list on which what it makes is still missing
        help: give both one more tag that needs no result, such as `tickets:all`
    { search_tickets: { cache: { fresh_for: 1m, tags: ['ticket:{result.tickets[].id}', 'tickets:all'] } }, create_ticket: { invalidates: ['ticket:{result.id}', 'tickets:all'] } } } }
      fine
    { get_ticket: { cache: { fresh_for: 1m } } } } }
      warning 1:98 `downstreams.d.tools.get_ticket.cache` has no `tags`, and `create_ticket` does not say what it changes: until `fresh_for` is over nobody sees its effect
        help: give both the same tag: `tags` here, `invalidates` at `create_ticket`
    ");
}

#[test]
fn what_all_cached_tools_share_makes_sense() {
    const TOOL: &str = "downstreams: { d: { postgres: { url: { env: A } }, tools: { t: { sql: 'select 1', description: d, \
        effect: read, cache: { fresh_for: 1m, tags: ['customer:1'] } } } } }\n";
    let sections = [
        "cache: { strict: [customer] }",
        "cache: { strict: [costumer, order] }",
        "cache: { strict: ['a:b', weir, customer, customer] }",
        "cache: { lease: 100ms, fetches_max: 0, waiters_max: 0 }",
        "cache: { lease: 2m, fetches_max: 10, waiters_max: 5 }",
        "cache: { local_bytes_max: 1MiB }",
        "cache: { value_bytes_max: 0B }",
    ];
    let configs: Vec<String> = sections.iter().map(|section| format!("{TOOL}{section}")).collect();
    let said = good_but(&configs.iter().map(String::as_str).collect::<Vec<_>>());
    assert_snapshot!(said.replace(TOOL, ""), @"
    cache: { strict: [customer] }
      fine
    cache: { strict: [costumer, order] }
      warning 2:19 `cache.strict[0]` is `costumer`, of which no cached tool has a tag
        help: did you mean `customer`?
      warning 2:29 `cache.strict[1]` is `order`, of which no cached tool has a tag
        help: a family is strict for the tools that have a tag of it, and there is none
    cache: { strict: ['a:b', weir, customer, customer] }
      problem 2:19 `cache.strict[0]` is `a:b`, which is no family of tags: letters, digits, `_` and `-`
        help: name the part of a tag before its first `:`, such as `customer` for `customer:{customer_id}`
      problem 2:26 `cache.strict[1]` is `weir`, which is Weir's own
        help: name a family of the config's own tags
      problem 2:42 `cache.strict[3]` is `customer`, which stands there already
        help: remove one of them
    cache: { lease: 100ms, fetches_max: 0, waiters_max: 0 }
      problem 2:17 `cache.lease` must be from `1s` to `1m`, not `100ms`
      problem 2:37 `cache.fetches_max` must be at least 1
        help: with 0 nothing would ever be let through
      problem 2:53 `cache.waiters_max` must be at least 1
        help: with 0 nothing would ever be let through
    cache: { lease: 2m, fetches_max: 10, waiters_max: 5 }
      problem 2:17 `cache.lease` must be from `1s` to `1m`, not `2m`
      problem 2:51 `cache.waiters_max` is 5, less than `cache.fetches_max`, which is 10
        help: for each fetch that runs at least one call waits
    cache: { local_bytes_max: 1MiB }
      problem 2:1 `cache.value_bytes_max` is `4MiB`, more than `cache.local_bytes_max`, which is `1MiB`: the largest result would find no room
    cache: { value_bytes_max: 0B }
      problem 2:27 `cache.value_bytes_max` must be larger than nothing
        help: a tool is not cached when it states no `cache`
    ");
}
