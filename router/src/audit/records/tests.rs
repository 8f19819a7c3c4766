use std::{fs, ops::ControlFlow};

use config::Glob;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{Filter, Unread, each};
use crate::audit::{
    age::Identity,
    entry::{Body, Entry, FORMAT, Header},
    hash::Hash,
    seal::DataKey,
    segment::file_name,
};

/// Writes a chain of one segment, with a record at each of these seconds.
fn chain(dir: &std::path::Path, begun: Timestamp, seconds: &[i64], said: &str, identity: Option<&Identity>) {
    let id = Uuid::now_v7();
    let (key, wrapped) = match identity {
        Some(identity) => {
            let (key, wrapped) = DataKey::new(&identity.recipient(), id, 1).expect("a recipient");
            (Some(key), Some(wrapped))
        }
        None => (None, None),
    };
    let header = Header {
        v: FORMAT,
        chain: id,
        instance: String::new(),
        segment: 1,
        time: begun,
        weir: String::new(),
        after: None,
        recipient: None,
        key: wrapped,
    };
    let (mut lines, mut head, header) = (Vec::new(), Hash::NONE, serde_json::to_string(&header).expect("JSON"));
    head = Entry { seq: 0, prev: head, body: Body::Segment(&header) }.write(&mut lines);
    for (seq, second) in (1..).zip(seconds) {
        let time = begun + SignedDuration::from_secs(*second);
        let record = format!(
            r#"{{"kind":"call","time":"{time}","subject":"{said}","asked":"crm__get","outcome":"ok","n":{second}}}"#
        );
        let sealed = key.as_ref().map(|key| key.seal(seq, &record));
        let body = sealed.as_deref().map_or(Body::Record(&record), Body::Sealed);
        head = Entry { seq, prev: head, body }.write(&mut lines);
    }
    fs::write(dir.join(file_name(id, 1)), lines).expect("a file");
}

fn found(dir: &std::path::Path, identity: Option<&Identity>, filter: &Filter) -> (Vec<u64>, Unread) {
    let mut numbers = Vec::new();
    let unread = each(dir, identity, filter, |found| {
        let record: serde_json::Value = serde_json::from_str(&found.text).expect("JSON");
        numbers.push(record["n"].as_u64().expect("a number"));
        Ok(ControlFlow::Continue(()))
    });
    (numbers, unread.expect("it can be read"))
}

#[test]
fn records_of_several_chains_come_by_time_and_only_those_that_are_looked_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let (begun, identity) = (Timestamp::now(), Identity::generate());
    chain(dir.path(), begun, &[1, 4, 9], "Ada", None);
    chain(dir.path(), begun, &[2, 3, 10], "Bob", Some(&identity));
    let all = Filter::default();
    assert_eq!(found(dir.path(), Some(&identity), &all), (vec![1, 2, 3, 4, 9, 10], Unread::default()));
    assert_eq!(found(dir.path(), None, &all), (vec![1, 4, 9], Unread { sealed: 3, damaged: 0 }));

    let at = |seconds| Some(begun + SignedDuration::from_secs(seconds));
    let of = |filter: Filter| found(dir.path(), Some(&identity), &filter).0;
    assert_eq!(of(Filter { since: at(3), until: at(9), ..Filter::default() }), [3, 4]);
    assert_eq!(of(Filter { subject: Some("Bob".to_owned()), ..Filter::default() }), [2, 3, 10]);
    assert_eq!(of(Filter { text: Some("ADA".to_owned()), ..Filter::default() }), [1, 4, 9]);
    assert_eq!(
        of(Filter { tool: Some(Glob::new("crm__*")), outcome: Some("denied".to_owned()), ..Filter::default() }),
        [0u64; 0]
    );
}
