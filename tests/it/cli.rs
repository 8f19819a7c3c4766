//! The command line, as the program itself: what it writes, where to, and how it exits.

pub(crate) mod binary;
mod call;
mod check;
mod init;
mod keys;
mod serve;
mod stdio;
mod tools;

use std::path::PathBuf;

use tempfile::TempDir;

use binary::run;

/// A folder with a config in it.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn with_config(text: &str) -> Self {
        let folder = Self::new();
        std::fs::write(folder.0.path().join("weir.yaml"), text).expect("a file");
        folder
    }

    pub(crate) fn path(&self, name: &str) -> String {
        let path: PathBuf = self.0.path().join(name);
        path.to_str().expect("temporary folders have plain names").to_owned()
    }

    pub(crate) fn config(&self) -> String {
        self.path("weir.yaml")
    }
}

#[tokio::test]
async fn wrong_usage_exits_with_2_and_shows_the_right_one() {
    for words in [
        &["srve"][..],
        &["serve", "--confg", "x"],
        &["keys", "create"],
        &["call"],
        &["tools", "--url", "http://x/mcp", "--role", "a"],
    ] {
        let finished = run(words).await.with_code(2);
        assert!(finished.stderr.contains("--help"), "{finished:#?}");
    }
    let help = run(&["--help"]).await.with_code(0);
    for told in ["serve", "stdio", "demo", "init", "check", "tools", "call", "keys", "Exit codes:", "WEIR_API_KEY"] {
        assert!(help.stdout.contains(told), "{told}: {}", help.stdout);
    }
}
