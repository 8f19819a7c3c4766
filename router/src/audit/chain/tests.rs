use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Chain, Settings};
use crate::audit::{
    age::Identity,
    disk::{
        Disk, RealDisk,
        faulty::{Fault, Faults, FaultyDisk},
    },
    entry::{Body, Checkpoint, Header, Kind},
    hash::Hash,
    seal::DataKey,
    segment::{self, Reader},
    signing::SigningKey,
};

fn settings(dir: &Path) -> Settings {
    Settings {
        dir: dir.to_owned(),
        recipient: None,
        key: SigningKey::in_folder(dir).expect("a key"),
        checkpoint_every: Duration::from_secs(3600),
        segment_bytes_max: 1 << 20,
        segment_age_max: Duration::from_secs(3600),
    }
}

fn record(number: usize) -> Arc<RawValue> {
    RawValue::from_string(format!(r#"{{"number":{number}}}"#)).expect("JSON").into()
}

fn commit(chain: &mut Chain, numbers: std::ops::Range<usize>) -> std::io::Result<()> {
    chain.commit(&numbers.map(record).collect::<Vec<_>>())
}

/// What stands in a chain, each line found to follow from the one before, and each checkpoint to be signed.
#[derive(Default)]
struct Seen {
    headers: Vec<Header>,
    checkpoints: Vec<Checkpoint>,
    numbers: Vec<u64>,
}

fn read(segments: &BTreeMap<u32, std::path::PathBuf>, identity: Option<&Identity>) -> Seen {
    let mut seen = Seen::default();
    let (mut seq, mut head, mut checkpoint) = (0, Hash::NONE, Hash::NONE);
    for path in segments.values() {
        let mut reader = Reader::open(path).expect("a segment");
        let mut key = None;
        while let Some(line) = reader.next().expect("it can be read") {
            let entry = line.entry().expect("a line of a log");
            assert_eq!((entry.seq, entry.prev), (seq, head), "{}", String::from_utf8_lossy(line.bytes));
            let record = match entry.body {
                Body::Segment(text) => {
                    let header: Header = serde_json::from_str(text).expect("a header");
                    key = identity.map(|identity| DataKey::unwrap(identity, &header).expect("its own identity"));
                    seen.headers.push(header);
                    None
                }
                Body::Record(text) => Some(text.to_owned()),
                Body::Sealed(sealed) => key.as_ref().and_then(|key| key.open(entry.seq, sealed)),
                Body::Checkpoint { text, signature } => {
                    let read: Checkpoint = serde_json::from_str(text).expect("a checkpoint");
                    let key = crate::audit::signing::PublicKey::parse(&read.public_key).expect("a key");
                    assert!(key.signed(text, signature));
                    assert_eq!((read.seq, read.head, read.previous), (seq, head, checkpoint));
                    assert_eq!(read.records, seen.numbers.len() as u64);
                    checkpoint = Hash::of(text.as_bytes());
                    seen.checkpoints.push(read);
                    None
                }
            };
            if let Some(record) = record {
                let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
                seen.numbers.push(record["number"].as_u64().expect("a number"));
            }
            (seq, head) = (seq + 1, line.hash());
        }
    }
    seen
}

fn only_chain(dir: &Path) -> BTreeMap<u32, std::path::PathBuf> {
    let chains = segment::chains(dir).expect("a folder");
    assert_eq!(chains.len(), 1);
    chains.into_values().next().expect("one chain")
}

fn numbers(count: u64) -> Vec<u64> {
    (0..count).collect()
}

#[test]
fn a_chain_goes_through_its_segments_from_start_to_end() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut chain = Chain::new(Settings { segment_bytes_max: 2000, ..settings(dir.path()) }, Box::new(RealDisk));
    for number in 0..100 {
        commit(&mut chain, number..number + 1).expect("the disk is fine");
    }
    chain.end().expect("the disk is fine");
    let segments = only_chain(dir.path());
    let seen = read(&segments, None);
    assert_eq!(seen.numbers, numbers(100));
    assert!(seen.headers.len() > 5, "{} segments", seen.headers.len());
    let kinds: Vec<Kind> = seen.checkpoints.iter().map(|checkpoint| checkpoint.kind).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&Kind::Start), Some(&Kind::End)));
    assert_eq!(kinds.iter().filter(|kind| **kind == Kind::Rotation).count(), seen.headers.len() - 1);
    for (header, next) in seen.headers.iter().zip(&seen.headers[1..]) {
        let after = next.after.expect("a segment before");
        let bytes = fs::metadata(&segments[&header.segment]).expect("a file").len();
        assert_eq!((after.segment, after.bytes, after.failed), (header.segment, bytes, false));
    }
    assert_eq!(chain.take_checkpoints().len(), seen.checkpoints.len());
}

#[test]
fn with_a_recipient_only_its_identity_reads_the_records() {
    let (dir, identity) = (tempfile::tempdir().expect("a folder"), Identity::generate());
    let recipient = Some(identity.recipient());
    let mut chain =
        Chain::new(Settings { recipient, segment_bytes_max: 4000, ..settings(dir.path()) }, Box::new(RealDisk));
    for number in 0..80 {
        commit(&mut chain, number..number + 1).expect("the disk is fine");
    }
    chain.end().expect("the disk is fine");
    let segments = only_chain(dir.path());
    assert!(segments.len() > 2);
    assert_eq!(read(&segments, Some(&identity)).numbers, numbers(80));
    for path in segments.values() {
        assert!(!fs::read_to_string(path).expect("text").contains("number"));
    }
}

fn after_fault(fault: Fault, recipient: bool) -> (tempfile::TempDir, Seen, Arc<Faults>) {
    let (dir, identity) = (tempfile::tempdir().expect("a folder"), Identity::generate());
    let faults = Arc::<Faults>::default();
    let settings = Settings { recipient: recipient.then(|| identity.recipient()), ..settings(dir.path()) };
    let mut chain = Chain::new(settings, Box::new(FaultyDisk(faults.clone())));
    commit(&mut chain, 0..3).expect("the disk is fine");
    commit(&mut chain, 3..5).expect("the disk is fine");
    faults.set(fault);
    commit(&mut chain, 5..8).expect_err("the disk fails");
    assert_eq!(faults.bites(), 1);
    faults.set(Fault::None);
    commit(&mut chain, 5..8).expect("the disk is fine again");
    commit(&mut chain, 8..9).expect("the disk is fine");
    chain.end().expect("the disk is fine");
    let seen = read(&only_chain(dir.path()), Some(&identity).filter(|_| recipient));
    (dir, seen, faults)
}

#[test]
fn what_a_failed_sync_was_for_is_written_anew_in_another_segment() {
    for recipient in [false, true] {
        let (_dir, seen, _) = after_fault(Fault::SyncLost(3), recipient);
        assert_eq!(seen.numbers, numbers(9));
        assert_eq!(seen.headers.len(), 2);
        assert!(seen.headers[1].after.expect("a segment before").failed);
    }
}

#[test]
fn what_a_full_disk_took_half_of_is_written_anew() {
    let (_dir, seen, _) = after_fault(Fault::Full, false);
    assert_eq!(seen.numbers, numbers(9));
}

#[test]
fn a_start_that_failed_is_made_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let faults = Arc::<Faults>::default();
    faults.set(Fault::Full);
    let mut chain = Chain::new(settings(dir.path()), Box::new(FaultyDisk(faults.clone())));
    commit(&mut chain, 0..1).expect_err("the disk is full");
    commit(&mut chain, 0..1).expect_err("the disk is full");
    faults.set(Fault::None);
    commit(&mut chain, 0..1).expect("there is space again");
    let seen = read(&only_chain(dir.path()), None);
    assert_eq!((seen.numbers, seen.headers.len()), (numbers(1), 1));
}

#[test]
fn a_start_names_the_chains_that_lie_there_until_one_has_named_their_end() {
    let dir = tempfile::tempdir().expect("a folder");
    let begun = |records: usize| {
        let mut chain = Chain::new(settings(dir.path()), Box::new(RealDisk));
        commit(&mut chain, 0..records).expect("the disk is fine");
        chain
    };
    let before = |chain: &Chain| {
        let chains = segment::chains(dir.path()).expect("a folder");
        read(&chains[&chain.id], None).checkpoints[0].before.clone()
    };
    let mut ended = begun(2);
    ended.end().expect("the disk is fine");
    let crashed = begun(1);
    assert_eq!(before(&crashed).iter().map(|one| (one.chain, one.running)).collect::<Vec<_>>(), [(ended.id, false)]);
    let (crashed_id, crashed_head) = (crashed.id, crashed.at.head);
    drop(crashed);
    let path = dir.path().join(segment::file_name(crashed_id, 1));
    let mut torn = fs::read(&path).expect("a segment");
    torn.extend_from_slice(b"{\"seq\":4,");
    fs::write(&path, torn).expect("its tail is torn");

    let running = begun(1);
    let named = before(&running);
    assert_eq!(named.len(), 1, "what ended in order was named before");
    assert_eq!((named[0].chain, named[0].head, named[0].seq), (crashed_id, crashed_head, Some(2)));
    assert_eq!((named[0].torn_bytes, named[0].running), (9, false));

    let beside = begun(1);
    assert_eq!(before(&beside).iter().map(|one| (one.chain, one.running)).collect::<Vec<_>>(), [(running.id, true)]);
    drop(running);
    let (last, ids): (Chain, [Uuid; 1]) = (begun(1), [beside.id]);
    let named: Vec<Uuid> = before(&last).iter().filter(|one| one.running).map(|one| one.chain).collect();
    assert_eq!(named, ids);
}

#[test]
fn a_checkpoint_is_made_when_its_time_has_come_and_something_was_written() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut chain =
        Chain::new(Settings { checkpoint_every: Duration::ZERO, ..settings(dir.path()) }, Box::new(RealDisk));
    commit(&mut chain, 0..2).expect("the disk is fine");
    assert!(chain.checkpoint_due().is_some());
    commit(&mut chain, 2..2).expect("the disk is fine");
    assert_eq!(chain.checkpoint_due(), None);
    commit(&mut chain, 2..2).expect("nothing is to be written");
    let kinds: Vec<Kind> = read(&only_chain(dir.path()), None).checkpoints.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [Kind::Start, Kind::Running]);
}

#[test]
fn all_files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a folder");
    let mut chain = Chain::new(settings(dir.path()), Box::new(RealDisk) as Box<dyn Disk>);
    commit(&mut chain, 0..2).expect("the disk is fine");
    for file in fs::read_dir(dir.path()).expect("a folder") {
        let file = file.expect("a file");
        let mode = file.metadata().expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.path().display());
    }
}
