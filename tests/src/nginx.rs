//! An nginx in front of replicas, with the configuration that the docs give to operators.

use std::{fmt::Write as _, net::SocketAddr};

use anyhow::{Context as _, Result, ensure};
use standins::nginx::PrivateNginx;

/// The host that callers ask for.
pub const PUBLIC_HOST: &str = "weir.example";
const DOCS: &str = include_str!("../../docs/nginx.md");

/// Starts one in front of routers at these addresses, whose `public_url` is `http://weir.example`.
pub async fn in_front_of(replicas: &[SocketAddr]) -> Result<PrivateNginx> {
    let (_, rest) = DOCS.split_once("```nginx\n").context("docs/nginx.md has no configuration")?;
    let (written, _) = rest.split_once("```").context("it has no end")?;
    ensure!(written.contains("proxy_next_upstream error timeout;") && written.contains(PUBLIC_HOST), "{written}");
    PrivateNginx::start(&[], |address| site(written, address, replicas)).await
}

/// The docs' lines, except that TLS and addresses are the test's.
fn site(written: &str, address: SocketAddr, replicas: &[SocketAddr]) -> String {
    let mut site = String::new();
    let mut replicas = Some(replicas);
    for line in written.lines() {
        let _ = match line.trim() {
            words if words.starts_with("ssl_") => Ok(()),
            words if words.starts_with("server ") && words.ends_with(";") => {
                // All of them in the place of the first one.
                replicas.take().into_iter().flatten().try_for_each(|replica| writeln!(site, "server {replica};"))
            }
            words if words.starts_with("listen ") => {
                let default = if words.contains("default_server") { " default_server" } else { "" };
                writeln!(site, "listen {address}{default};")
            }
            _ => writeln!(site, "{line}"),
        };
    }
    site
}
