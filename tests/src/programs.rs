//! The programs of the project, as their users run them.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
};

use serde_json::Value;

/// The path of the program `weir`. `cargo test` builds binaries only for the tests of their own package, so it is built here, once, with
/// the features that `cargo test --workspace` has used for everything it depends on.
pub fn weir() -> &'static Path {
    static WEIR: OnceLock<Option<PathBuf>> = OnceLock::new();
    // Built once also when that fails: cargo has said why.
    WEIR.get_or_init(|| build("weir")).as_deref().expect("weir builds")
}

/// The path of the program `standins`.
pub fn standins() -> &'static Path {
    static STANDINS: OnceLock<Option<PathBuf>> = OnceLock::new();
    STANDINS.get_or_init(|| build("standins")).as_deref().expect("the stand-ins build")
}

fn build(program: &str) -> Option<PathBuf> {
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--workspace", "--bin", program, "--message-format", "json-render-diagnostics"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit()).output().expect("cargo runs");
    let messages = String::from_utf8(built.stdout).expect("cargo writes UTF-8");
    let executable = |line: &str| serde_json::from_str::<Value>(line).ok()?["executable"].as_str().map(PathBuf::from);
    messages.lines().find_map(executable).filter(|_| built.status.success())
}
