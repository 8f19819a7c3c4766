//! Fingerprints of a downstream's config: whether it is another one, and whether its answers may be.

use std::{fs, path::Path};

use aws_lc_rs::digest::{Context, SHA256};
use config::{Downstream, Sources, downstream::mainframe::AnswerFormat};
use secrecy::ExposeSecret as _;

/// Fingerprints of a downstream's config.
#[derive(Clone, Copy)]
pub(crate) struct Revision {
    /// Over everything, secrets too.
    pub(crate) whole: [u8; 32],
    /// Over what decides what its answers are, secrets too: another account sees other things. Two processes that differ in it never share an
    /// answer. Goes into keys, which are MACs, and is never shown.
    pub(crate) answers: [u8; 32],
    /// Over the config's text alone, which holds no secret, so that operators can tell two revisions apart.
    pub(crate) shown: [u8; 32],
}

impl Revision {
    /// `strict` are the families of tags of which no read may ever miss a write.
    pub(crate) fn of(config: &Downstream, sources: &Sources, strict: &[String]) -> Self {
        let text = |config| serde_json::to_string(&(config, strict)).expect("a config has a JSON form");
        let [mut whole, mut answers, mut shown] = [(); 3].map(|()| Context::new(&SHA256));
        part(&mut whole, text(config).as_bytes());
        part(&mut shown, text(config).as_bytes());
        part(&mut answers, text(&without_manners(config)).as_bytes());
        // The adapter has read the same files already, or it would not have been made.
        for copybook in copybooks(config) {
            let content = fs::read(sources.base.join(copybook)).unwrap_or_default();
            for context in [&mut whole, &mut answers, &mut shown] {
                part(context, &content);
            }
        }
        for certificate in config.certificate_files() {
            let content = fs::read(sources.base.join(certificate)).unwrap_or_default();
            for context in [&mut whole, &mut answers, &mut shown] {
                part(context, &content);
            }
        }
        // They decide what it may connect to, and not what it answers.
        part(&mut whole, format!("{:?}", sources.private_networks).as_bytes());
        for secret in config.secrets() {
            let value = secret.resolve(sources).ok();
            let value = value.as_ref().map_or("", |value| value.expose_secret());
            part(&mut whole, value.as_bytes());
            part(&mut answers, value.as_bytes());
        }
        Self { whole: digest(whole), answers: digest(answers), shown: digest(shown) }
    }
}

/// The config without what only says when and how gently it is called: whoever closes a system in an incident needs its cached answers.
fn without_manners(config: &Downstream) -> Downstream {
    let unstated = Downstream::default();
    let mut config = Downstream {
        calls_max: unstated.calls_max,
        calls_max_shared: unstated.calls_max_shared,
        line: unstated.line,
        retries: unstated.retries,
        breaker: unstated.breaker,
        closed: unstated.closed,
        deadline: unstated.deadline,
        ..config.clone()
    };
    for tool in config.tools.values_mut() {
        (tool.cost, tool.deadline) = (None, None);
    }
    config
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

    use config::Sources;

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
            Revision::of(&serde_json::from_str(&text).expect("a downstream"), &Sources::at(folder.path()), strict)
        };
        write("secret", "one");
        write("book", "01 A PIC X.");
        let first = revision("1m", &[]);
        assert_eq!(first.whole, revision("1m", &[]).whole);
        assert_ne!(first.answers, revision("2m", &[]).answers);
        assert_ne!(first.answers, revision("1m", &["a".to_owned()]).answers);
        let gentler = |more: &str| {
            let text = format!(r#"{{"mainframe":{{"base_url":"http://h"}},{more}"tools":{{"t":{{}}}}}}"#);
            Revision::of(&serde_json::from_str(&text).expect("a downstream"), &Sources::at(folder.path()), &[])
        };
        let closed = gentler(
            r#""closed":[{"from":"00:00","to":"00:00","reason":"incident"}],"line":{"max":1},"calls_max":3,"deadline":"1s","#,
        );
        assert_ne!(closed.whole, gentler("").whole, "it takes effect");
        assert_eq!(closed.answers, gentler("").answers, "cached answers stay");
        write("secret", "two");
        let second = revision("1m", &[]);
        assert_ne!(first.answers, second.answers);
        assert_ne!(first.whole, second.whole);
        assert_eq!(first.shown, second.shown, "what is shown says nothing of a secret");
        write("book", "01 A PIC 9.");
        assert_ne!(second.shown, revision("1m", &[]).shown);
    }
}
