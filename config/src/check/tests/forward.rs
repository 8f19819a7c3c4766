//! `audit.forward`.

use insta::assert_snapshot;

use super::said;

#[test]
fn a_further_place_is_somewhere_and_once() {
    let syslog = |rest: &str| format!("audit: {{ forward: [{{ syslog: {{ {rest} }} }}] }}");
    let configs = [
        "audit: { forward: [{ stdout: {} }, { syslog: { address: 127.0.0.1:514 } }, { syslog: { address: 127.0.0.1:514, transport: udp } }] }".to_owned(),
        syslog("address: 10.0.0.5:514"),
        syslog("address: 127.0.0.1:0"),
        syslog("address: 0.0.0.0:514"),
        syslog("address: collector.example"),
        "audit: { forward: [{ stdout: {} }, { stdout: {} }] }".to_owned(),
    ];
    assert_snapshot!(said(&configs.iter().map(String::as_str).collect::<Vec<_>>()), @"
    audit: { forward: [{ stdout: {} }, { syslog: { address: 127.0.0.1:514 } }, { syslog: { address: 127.0.0.1:514, transport: udp } }] }
      warning 0:0 there are no `downstreams`: callers will find no tools
        help: add one: a database with `postgres`, another MCP server with `mcp`
    audit: { forward: [{ syslog: { address: 10.0.0.5:514 } }] }
      warning 0:0 there are no `downstreams`: callers will find no tools
        help: add one: a database with `postgres`, another MCP server with `mcp`
      warning 1:41 `audit.forward[0].syslog.address` is on another machine, and records travel there as they are
        help: they are masked, and not encrypted: a collector on this machine can pass them on over TLS
    audit: { forward: [{ syslog: { address: 127.0.0.1:0 } }] }
      problem 1:41 `audit.forward[0].syslog.address` is `127.0.0.1:0`, to which nothing can be sent
        help: address and port of the collector: `10.0.0.5:514`
    audit: { forward: [{ syslog: { address: 0.0.0.0:514 } }] }
      problem 1:41 `audit.forward[0].syslog.address` is `0.0.0.0:514`, to which nothing can be sent
        help: address and port of the collector: `10.0.0.5:514`
    audit: { forward: [{ syslog: { address: collector.example } }] }
      problem 1:41 `audit.forward[0].syslog.address`: invalid socket address syntax
    audit: { forward: [{ stdout: {} }, { stdout: {} }] }
      problem 1:36 `audit.forward[1]` is the same place as another one (stdout)
        help: each record would come twice
    ");
}
