//! A Lua script and the name by which Redis knows it.

use aws_lc_rs::digest;

use crate::octets::hex;

/// A Lua script. Redis keeps it after the first run and is told its SHA-1 from then on.
#[derive(Debug)]
pub(crate) struct Script {
    code: &'static str,
    sha1: String,
}

impl Script {
    pub(crate) fn new(code: &'static str) -> Self {
        // Redis names scripts by SHA-1; nothing is protected by it.
        let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, code.as_bytes());
        Self { code, sha1: hex(sha1.as_ref()) }
    }

    /// The command that runs the script by its name.
    pub(super) fn by_name(&self, keys: &[&str], args: &[&[u8]]) -> ::redis::Cmd {
        command("EVALSHA", &self.sha1, keys, args)
    }

    /// The command that hands the script over and runs it.
    pub(super) fn in_full(&self, keys: &[&str], args: &[&[u8]]) -> ::redis::Cmd {
        command("EVAL", self.code, keys, args)
    }
}

fn command(name: &str, script: &str, keys: &[&str], args: &[&[u8]]) -> ::redis::Cmd {
    let bytes = keys.iter().map(|key| key.len()).chain(args.iter().map(|arg| arg.len())).sum::<usize>();
    let mut command = ::redis::Cmd::with_capacity(3 + keys.len() + args.len(), name.len() + script.len() + 8 + bytes);
    command.arg(name).arg(script).arg(keys.len()).arg(keys).arg(args);
    command
}
