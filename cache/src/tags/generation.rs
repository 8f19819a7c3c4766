//! Random values that say nothing but whether something has moved.

use aws_lc_rs::digest::{Context, SHA256};

/// What a tag had when it was read.
pub(super) type Generation = [u8; 16];

/// The generation as entries know it: with the server that answered. Another one, or the same after a restart, may have lost a raise that
/// this one had; so what was read here counts for nothing there.
pub(super) fn at_server(server: &[u8], kept: &[u8]) -> Generation {
    let mut context = Context::new(&SHA256);
    context.update(server);
    context.update(b"/");
    context.update(kept);
    *context.finish().as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}
