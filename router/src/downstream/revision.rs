//! What of a downstream's config decides what its answers are: two processes that differ in it never share an answer.

use std::{fs, path::Path};

use aws_lc_rs::digest::{Context, SHA256};
use config::{Downstream, downstream::mainframe::AnswerFormat};
use secrecy::ExposeSecret as _;

/// What of a downstream's config decides what its answers are.
#[derive(Clone, Copy)]
pub(crate) struct Revision {
    /// Over everything, secrets too: another account sees other things. Goes into keys, which are MACs, and is never shown.
    pub(crate) whole: [u8; 32],
    /// Over the config's text alone, which holds no secret, so that operators can tell two revisions apart.
    pub(crate) shown: [u8; 32],
}

impl Revision {
    /// `strict` are the families of tags of which no read may ever miss a write.
    pub(crate) fn of(config: &Downstream, base: &Path, strict: &[String]) -> Self {
        let text = serde_json::to_string(&(config, strict)).expect("a config has a JSON form");
        let (mut whole, mut shown) = (Context::new(&SHA256), Context::new(&SHA256));
        part(&mut whole, text.as_bytes());
        part(&mut shown, text.as_bytes());
        // The adapter has read the same files already, or it would not have been made.
        for copybook in copybooks(config) {
            let content = fs::read(base.join(copybook)).unwrap_or_default();
            part(&mut whole, &content);
            part(&mut shown, &content);
        }
        for secret in config.secrets() {
            let value = secret.resolve(base).ok();
            part(&mut whole, value.as_ref().map_or("", |value| value.expose_secret()).as_bytes());
        }
        Self { whole: digest(whole), shown: digest(shown) }
    }
}

fn copybooks(config: &Downstream) -> impl Iterator<Item = &Path> {
    config.tools.values().filter_map(|tool| match &tool.answer {
        AnswerFormat::FixedWidth(fixed) => fixed.copybook_file.as_deref(),
        AnswerFormat::Json => None,
    })
}

fn part(context: &mut Context, bytes: &[u8]) {
    context.update(&(bytes.len() as u64).to_be_bytes());
    context.update(bytes);
}

fn digest(context: Context) -> [u8; 32] {
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::Revision;

    #[test]
    fn another_config_another_secret_and_another_copybook_are_another_revision() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("set");
        };
        let revision = |fresh_for: &str, strict: &[String]| {
            let text = format!(
                r#"{{"mainframe":{{"base_url":"http://h","credential":{{"bearer":{{"file":"secret"}}}}}},"tools":{{"t":{{
                    "answer":{{"fixed_width":{{"copybook_file":"book"}}}},"cache":{{"fresh_for":"{fresh_for}"}}}}}}}}"#
            );
            Revision::of(&serde_json::from_str(&text).expect("a downstream"), folder.path(), strict)
        };
        write("secret", "one");
        write("book", "01 A PIC X.");
        let first = revision("1m", &[]);
        assert_eq!(first.whole, revision("1m", &[]).whole);
        assert_ne!(first.whole, revision("2m", &[]).whole);
        assert_ne!(first.whole, revision("1m", &["a".to_owned()]).whole);
        write("secret", "two");
        let second = revision("1m", &[]);
        assert_ne!(first.whole, second.whole);
        assert_eq!(first.shown, second.shown, "what is shown says nothing of a secret");
        write("book", "01 A PIC 9.");
        assert_ne!(second.shown, revision("1m", &[]).shown);
    }
}
