//! `audit.forward`.

use crate::{
    Config,
    audit::{Forward, SyslogTransport},
};

use super::Scope;

/// Each place has a queue of its own, of up to 16 MiB.
const PLACES_MAX: usize = 8;

pub(super) fn forward(config: &Config, scope: &Scope<'_>) {
    let scope = scope.key("audit").key("forward");
    let places = &config.audit.forward;
    if places.len() > PLACES_MAX {
        scope.refuse(
            format!("has {} places; at most {PLACES_MAX} are served", places.len()),
            "one collector can pass records on",
        );
    }
    let mut seen = Vec::new();
    for (scope, place) in scope.items(places) {
        let name = match place {
            Forward::Stdout(_) => "stdout".to_owned(),
            Forward::Syslog(syslog) => {
                let scope = scope.key("syslog").key("address");
                if syslog.address.port() == 0 || syslog.address.ip().is_unspecified() {
                    scope.refuse(
                        format!("is `{}`, to which nothing can be sent", syslog.address),
                        "address and port of the collector: `10.0.0.5:514`",
                    );
                } else if !syslog.address.ip().is_loopback() {
                    scope.warn(
                        "is on another machine, and records travel there as they are",
                        "they are masked, and not encrypted: a collector on this machine can pass them on over TLS",
                    );
                }
                let transport = match syslog.transport {
                    SyslogTransport::Tcp => "tcp",
                    SyslogTransport::Udp => "udp",
                };
                format!("{transport} {}", syslog.address)
            }
        };
        if seen.contains(&name) {
            scope.refuse(format!("is the same place as another one ({name})"), "each record would come twice");
        }
        seen.push(name);
    }
}
