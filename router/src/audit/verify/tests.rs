use std::{collections::BTreeMap, fs, path::PathBuf};

use jiff::{SignedDuration, Timestamp};
use proptest::{prelude::*, sample::Index};
use tempfile::TempDir;
use uuid::Uuid;

use super::{Damage, End, Keys, Kind, Report, Settings, verify};
use crate::audit::{
    age::Identity,
    entry::{After, Before, Body, Checkpoint, Entry, FORMAT, Header, Kind as CheckpointKind},
    hash::Hash,
    prune::{Pruned, prune},
    seal::DataKey,
    segment::file_name,
    signing::SigningKey,
};

/// A folder with a log, an anchor beside it, and the key that signs both.
pub(super) struct Folder {
    dir: TempDir,
    key: SigningKey,
    identity: Option<Identity>,
}

/// How a chain is written.
#[derive(Clone)]
struct Plan {
    chain: Uuid,
    begun: Timestamp,
    segments: u32,
    records: u64,
    said: &'static str,
    before: Vec<Before>,
    ends: bool,
    /// The time between two segments.
    step: SignedDuration,
}

struct Written {
    seq: u64,
    head: Hash,
    previous: Hash,
    records: u64,
    anchor: String,
}

impl Folder {
    fn new() -> Self {
        let folder = Self {
            dir: tempfile::tempdir().expect("a folder"),
            key: SigningKey::parse(&SigningKey::generate()).expect("a key"),
            identity: None,
        };
        fs::create_dir(folder.log()).expect("a folder");
        fs::write(folder.log().join("signing-key.pub"), folder.key.public().to_pem()).expect("a file");
        fs::write(folder.anchor(), "").expect("a file");
        folder
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("audit")
    }

    fn anchor(&self) -> PathBuf {
        self.dir.path().join("anchor")
    }

    /// Writes a chain, and its checkpoints into the anchor; gives what a later start finds of it.
    fn write(&self, plan: &Plan, into_anchor: bool) -> Before {
        let mut at = Written { seq: 0, head: Hash::NONE, previous: Hash::NONE, records: 0, anchor: String::new() };
        let mut after = None;
        for segment in 1..=plan.segments {
            let time = plan.begun + plan.step * i32::try_from(segment - 1).expect("few");
            let mut lines = Vec::new();
            let (key, wrapped) = match &self.identity {
                Some(identity) => {
                    let (key, wrapped) = DataKey::new(&identity.recipient(), plan.chain, segment).expect("a recipient");
                    (Some(key), Some(wrapped))
                }
                None => (None, None),
            };
            let header = Header {
                v: FORMAT,
                chain: plan.chain,
                instance: "host/1".to_owned(),
                segment,
                time,
                weir: "0".to_owned(),
                after,
                recipient: self.identity.as_ref().map(|identity| identity.recipient().to_string()),
                key: wrapped,
            };
            let header = serde_json::to_string(&header).expect("JSON");
            line(&mut at, &mut lines, Body::Segment(&header));
            if segment == 1 {
                self.checkpoint(&mut at, &mut lines, plan, segment, time, CheckpointKind::Start);
            }
            for number in 0..plan.records {
                let record = format!(r#"{{"kind":"call","time":"{time}","asked":"{}","n":{number}}}"#, plan.said);
                match &key {
                    Some(key) => {
                        let sealed = key.seal(at.seq, &record);
                        line(&mut at, &mut lines, Body::Sealed(&sealed));
                    }
                    None => line(&mut at, &mut lines, Body::Record(&record)),
                }
                at.records += 1;
                if number == plan.records / 2 {
                    self.checkpoint(&mut at, &mut lines, plan, segment, time, CheckpointKind::Running);
                }
            }
            if segment < plan.segments {
                self.checkpoint(&mut at, &mut lines, plan, segment, time, CheckpointKind::Rotation);
            } else if plan.ends {
                self.checkpoint(&mut at, &mut lines, plan, segment, time, CheckpointKind::End);
            }
            after = Some(After { segment, bytes: lines.len() as u64, failed: false });
            fs::write(self.log().join(file_name(plan.chain, segment)), lines).expect("a file");
        }
        if into_anchor {
            let before = fs::read_to_string(self.anchor()).expect("the anchor");
            fs::write(self.anchor(), before + &at.anchor).expect("the anchor");
        }
        Before {
            chain: plan.chain,
            segment: plan.segments,
            seq: Some(at.seq - 1),
            head: at.head,
            torn_bytes: 0,
            running: false,
        }
    }

    fn checkpoint(
        &self,
        at: &mut Written,
        lines: &mut Vec<u8>,
        plan: &Plan,
        segment: u32,
        time: Timestamp,
        kind: CheckpointKind,
    ) {
        let checkpoint = Checkpoint {
            v: FORMAT,
            kind,
            chain: plan.chain,
            instance: "host/1".to_owned(),
            segment,
            seq: at.seq,
            head: at.head,
            records: at.records,
            time,
            previous: at.previous,
            public_key: self.key.public().to_base64(),
            before: if kind == CheckpointKind::Start { plan.before.clone() } else { Vec::new() },
        };
        let text = serde_json::to_string(&checkpoint).expect("JSON");
        let signature = self.key.sign(&text);
        at.previous = Hash::of(text.as_bytes());
        at.anchor.push_str(&format!("{{\"signature\":\"{signature}\",\"checkpoint\":{text}}}\n"));
        line(at, lines, Body::Checkpoint { text: &text, signature: &signature });
    }

    fn verify_with(&self, anchor: bool, identity: Option<&Identity>) -> Report {
        let keys = Keys::in_folder(&self.log()).expect("its key");
        let anchor = anchor.then(|| self.anchor());
        verify(Settings { dir: self.log(), anchor, identity, keys, now: Timestamp::now() }).expect("it can be read")
    }

    fn verify(&self) -> Report {
        self.verify_with(true, None)
    }

    fn prune(&self, days: i64, key: Option<&SigningKey>) -> Pruned {
        let now = Timestamp::now();
        let before = now - SignedDuration::from_hours(24 * days);
        prune(&self.log(), &self.verify(), before, now, key).expect("it can be pruned")
    }

    /// The files of a log as lines: (file, lines with newline).
    fn lines(&self) -> BTreeMap<PathBuf, Vec<Vec<u8>>> {
        let files = fs::read_dir(self.log()).expect("a folder").map(|file| file.expect("a file").path());
        let segments = files.filter(|path| path.extension().is_some_and(|extension| extension == "audit"));
        segments
            .map(|path| {
                let bytes = fs::read(&path).expect("a file");
                (path, bytes.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect())
            })
            .collect()
    }
}

impl Plan {
    fn new(begun: Timestamp) -> Self {
        Self {
            chain: Uuid::now_v7(),
            begun,
            segments: 3,
            records: 6,
            said: "crm__get_customer",
            before: Vec::new(),
            ends: true,
            step: SignedDuration::from_secs(60),
        }
    }
}

fn line(at: &mut Written, lines: &mut Vec<u8>, body: Body<'_>) {
    at.head = Entry { seq: at.seq, prev: at.head, body }.write(lines);
    at.seq += 1;
}

/// Two chains, the second of which found the first.
fn two_chains(folder: &Folder) -> (Plan, Plan) {
    let first = Plan::new(Timestamp::now());
    let before = folder.write(&first, true);
    let second = Plan { before: vec![before], segments: 2, ..Plan::new(Timestamp::now()) };
    folder.write(&second, true);
    (first, second)
}

fn first_bad(report: &Report, chain: Uuid) -> Option<u64> {
    report.damages.iter().filter(|damage| damage.chain == chain).filter_map(|damage| damage.seq).min()
}

fn only(report: &Report) -> &Damage {
    assert_eq!(report.damages.len(), 1, "{:#?}", report.damages);
    &report.damages[0]
}

#[test]
fn a_log_that_is_as_it_was_written_gives_no_alarm() {
    let mut folder = Folder::new();
    let (first, second) = two_chains(&folder);
    let report = folder.verify();
    assert!(report.damages.is_empty(), "{:#?}", report.damages);
    assert_eq!(report.chains.iter().map(|chain| chain.chain).collect::<Vec<_>>(), [first.chain, second.chain]);
    assert!(report.chains.iter().all(|chain| chain.end == End::Ended));
    assert_eq!((report.records, report.checkpoints, report.anchored), (30, 12, Some(12)));

    folder.identity = Some(Identity::generate());
    folder.write(&Plan::new(Timestamp::now()), true);
    for identity in [None, folder.identity.as_ref()] {
        let report = folder.verify_with(true, identity);
        assert!(report.damages.is_empty(), "{:#?}", report.damages);
    }
    let stranger = Identity::generate();
    let report = folder.verify_with(true, Some(&stranger));
    assert!(report.damages.iter().all(|damage| damage.kind == Kind::Sealed) && report.damages.len() == 3);
}

#[derive(Debug, Clone)]
enum Harm {
    Flip { at: Index, bit: u8 },
    Drop(Index),
    Swap(Index, Index),
    Repeat(Index, Index),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        6 => (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Harm::Flip { at, bit }),
        1 => any::<Index>().prop_map(Harm::Drop),
        1 => any::<(Index, Index)>().prop_map(|(one, other)| Harm::Swap(one, other)),
        1 => any::<(Index, Index)>().prop_map(|(one, other)| Harm::Repeat(one, other)),
    ]
}

/// Harms a chain of which the lines are these; gives the number of the first line that is not as it was written, or none where all are.
fn harmed(lines: &mut Vec<Vec<u8>>, harm: &Harm) -> Option<usize> {
    match harm {
        Harm::Flip { at, bit } => {
            let mut at = at.index(lines.iter().map(Vec::len).sum());
            let number = lines.iter().position(|line| {
                let is_here = at < line.len();
                at -= if is_here { 0 } else { line.len() };
                is_here
            })?;
            lines[number][at] ^= 1 << bit;
            Some(number)
        }
        Harm::Drop(at) => {
            let at = at.index(lines.len());
            lines.remove(at);
            Some(at)
        }
        Harm::Swap(one, other) => {
            let (one, other) = (one.index(lines.len()), other.index(lines.len()));
            lines.swap(one, other);
            (one != other).then_some(one.min(other))
        }
        Harm::Repeat(one, other) => {
            let (one, other) = (one.index(lines.len()), other.index(lines.len()));
            lines.insert(other, lines[one].clone());
            Some(one.min(other))
        }
    }
}

proptest! {
    // `PROPTEST_CASES=10000 cargo test -p router audit::verify` is the long form.
    #[test]
    fn every_harm_is_found_at_its_first_line(harm in harm(), in_second in any::<bool>(), sealed in any::<bool>()) {
        let mut folder = Folder::new();
        folder.identity = sealed.then(Identity::generate);
        let (first, second) = two_chains(&folder);
        let chain = if in_second { second.chain } else { first.chain };
        let files: Vec<(PathBuf, Vec<Vec<u8>>)> =
            folder.lines().into_iter().filter(|(path, _)| path.to_string_lossy().contains(&chain.to_string())).collect();
        // The whole chain as one list of lines, put back into the files by where each file begins.
        let mut all: Vec<Vec<u8>> = files.iter().flat_map(|(_, lines)| lines.clone()).collect();
        let written = all.clone();
        let Some(bad) = harmed(&mut all, &harm) else { return Ok(()) };
        prop_assert_ne!(&all, &written);
        let mut rest = all.as_slice();
        for (at, (path, lines)) in files.iter().enumerate() {
            let here = if at + 1 == files.len() { rest.len() } else { lines.len().min(rest.len()) };
            let (here, after) = rest.split_at(here);
            fs::write(path, here.concat()).expect("a file");
            rest = after;
        }
        for identity in [None, folder.identity.as_ref()] {
            let report = folder.verify_with(true, identity);
            prop_assert_eq!(first_bad(&report, chain), Some(bad as u64), "{:#?}", report.damages);
        }
    }
}

#[test]
fn each_kind_of_damage_has_its_own_name() {
    let kinds = |harm: &dyn Fn(&Folder, &Plan, &Plan)| {
        let folder = Folder::new();
        let (first, second) = two_chains(&folder);
        harm(&folder, &first, &second);
        let report = folder.verify();
        (report.gravest().map(|damage| damage.kind), first_bad(&report, first.chain), first_bad(&report, second.chain))
    };
    let path = |folder: &Folder, chain: Uuid, segment| folder.log().join(file_name(chain, segment));
    let edit = |path: PathBuf, from: &str, to: &str| {
        let text = fs::read_to_string(&path).expect("a file");
        assert!(text.contains(from));
        fs::write(path, text.replacen(from, to, 1)).expect("a file");
    };
    let altered = kinds(&|folder, first, _| edit(path(folder, first.chain, 1), "crm__get", "crm__set"));
    assert_eq!(altered, (Some(Kind::Altered), Some(2), None));
    let segment = kinds(&|folder, first, _| fs::remove_file(path(folder, first.chain, 2)).expect("a file"));
    assert_eq!((segment.0, segment.2), (Some(Kind::Missing), None));
    let last = kinds(&|folder, first, _| fs::remove_file(path(folder, first.chain, 3)).expect("a file"));
    assert_eq!((last.0, last.2), (Some(Kind::CutOff), None));
    let chain = kinds(&|folder, first, _| {
        (1..=3).for_each(|segment| fs::remove_file(path(folder, first.chain, segment)).expect("a file"));
    });
    assert_eq!((chain.0, chain.2), (Some(Kind::Rewritten), None));
    let stranger = kinds(&|folder, _, second| {
        let other = Folder { key: SigningKey::parse(&SigningKey::generate()).expect("a key"), ..Folder::new() };
        other.write(second, false);
        fs::copy(path(&other, second.chain, 1), path(folder, second.chain, 1)).expect("a file");
        fs::copy(path(&other, second.chain, 2), path(folder, second.chain, 2)).expect("a file");
    });
    assert_eq!((stranger.0, stranger.2), (Some(Kind::Rewritten), Some(1)));
}

#[test]
fn a_chain_that_is_missing_shows_without_an_anchor_too() {
    let folder = Folder::new();
    let (first, _) = two_chains(&folder);
    for segment in 1..=3 {
        fs::remove_file(folder.log().join(file_name(first.chain, segment))).expect("a file");
    }
    let report = folder.verify_with(false, None);
    assert_eq!((only(&report).kind, only(&report).chain), (Kind::Missing, first.chain));
}

#[test]
fn a_log_written_anew_with_the_stolen_key_is_found_by_the_anchor() {
    let folder = Folder::new();
    let (first, second) = two_chains(&folder);
    let before = folder.write(&Plan { said: "crm__get_nothing", ..first.clone() }, false);
    folder.write(&Plan { before: vec![before], ..second }, false);
    // Without the anchor it is a log like any other.
    let report = folder.verify_with(false, None);
    assert!(report.damages.is_empty(), "{:#?}", report.damages);
    let report = folder.verify();
    assert_eq!(report.gravest().map(|damage| damage.kind), Some(Kind::Rewritten));
    // The start is the same as before; the first checkpoint after the first record is not.
    assert_eq!(first_bad(&report, first.chain), Some(6));
}

#[test]
fn a_tail_that_was_cut_shows_by_the_next_start_or_by_the_anchor() {
    let folder = Folder::new();
    let (first, second) = two_chains(&folder);
    for (chain, segment, by_anchor_alone) in [(first.chain, 3, false), (second.chain, 2, true)] {
        let path = folder.log().join(file_name(chain, segment));
        let whole = fs::read(&path).expect("a file");
        let cut: Vec<&[u8]> = whole.split_inclusive(|&byte| byte == b'\n').collect();
        fs::write(&path, cut[..3].concat()).expect("a file");
        assert_eq!(folder.verify().gravest().map(|damage| (damage.kind, damage.chain)), Some((Kind::CutOff, chain)));
        let report = folder.verify_with(false, None);
        assert_eq!(report.damages.is_empty(), by_anchor_alone, "{:#?}", report.damages);
        fs::write(&path, whole).expect("a file");
    }
}

#[test]
fn what_a_crash_tore_off_is_no_damage_where_the_next_start_says_so() {
    let torn = br#"{"seq":21,"prev":"00"#;
    for (said, is_damage) in [(torn.len() as u64, false), (0, true), (3, true)] {
        let folder = Folder::new();
        let first = Plan { ends: false, ..Plan::new(Timestamp::now()) };
        let before = folder.write(&first, true);
        let path = folder.log().join(file_name(first.chain, 3));
        let whole = fs::read(&path).expect("a file");
        fs::write(&path, [&whole[..], torn].concat()).expect("a file");
        // As long as nobody started after it, it may be one that is being written.
        assert!(folder.verify().damages.is_empty());
        let second = Plan { before: vec![Before { torn_bytes: said, ..before }], ..Plan::new(Timestamp::now()) };
        folder.write(&second, true);
        let report = folder.verify();
        assert_eq!(!report.damages.is_empty(), is_damage, "{:#?}", report.damages);
        assert_eq!(report.chains[0].end, End::Died);
    }
}

#[test]
fn a_key_of_the_reader_counts_and_no_other() {
    let folder = Folder::new();
    two_chains(&folder);
    let other = SigningKey::parse(&SigningKey::generate()).expect("a key");
    let file = folder.dir.path().join("other.pub");
    fs::write(&file, other.public().to_pem()).expect("a file");
    let with = |files: &[PathBuf]| {
        let keys = Keys::given(files).expect("keys");
        let settings = Settings { dir: folder.log(), anchor: None, identity: None, keys, now: Timestamp::now() };
        verify(settings).expect("it can be read")
    };
    assert_eq!(with(std::slice::from_ref(&file)).gravest().map(|damage| damage.kind), Some(Kind::Signature));
    let own = folder.log().join("signing-key.pub");
    assert!(with(&[file, own]).damages.is_empty());
}

#[test]
fn segments_are_pruned_when_they_are_old_enough_and_the_rest_still_verifies() {
    let days = |days: i64| SignedDuration::from_hours(24 * days);
    let folder = Folder::new();
    let now = Timestamp::now();
    // Segments of 100, 95 and 90 days ago; the first two end 95 and 90 days ago.
    let first = Plan { begun: now - days(100), step: days(5), ..Plan::new(now) };
    let before = folder.write(&first, true);
    let second = Plan { before: vec![before], ends: false, begun: now - days(80), ..Plan::new(now) };
    folder.write(&second, true);

    let would = folder.prune(91, None);
    assert_eq!((would.files.len(), would.records), (1, 6), "{would:?}");
    assert_eq!(folder.lines().len(), 6);
    let pruned = folder.prune(91, Some(&folder.key));
    assert_eq!(pruned.files, [file_name(first.chain, 1)]);
    let report = folder.verify();
    assert!(report.damages.is_empty(), "{:#?}", report.damages);
    assert!(report.chains[0].pruned && !report.chains[1].pruned);
    assert!(folder.prune(91, Some(&folder.key)).files.is_empty());

    // What is behind the tombstone is protected as before.
    let path = folder.log().join(file_name(first.chain, 2));
    let whole = fs::read_to_string(&path).expect("a file");
    fs::write(&path, whole.replacen("crm__get", "crm__set", 1)).expect("a file");
    assert_eq!(first_bad(&folder.verify(), first.chain), Some(11));
    assert_eq!(folder.prune(90, Some(&folder.key)).left.len(), 1);
    fs::write(&path, whole).expect("a file");

    // And without the tombstone the pruned segment is missing.
    let tombstones = folder.log().join("pruned.jsonl");
    let signed = fs::read_to_string(&tombstones).expect("a file");
    fs::remove_file(&tombstones).expect("a file");
    assert_eq!(folder.verify().gravest().map(|damage| damage.kind), Some(Kind::Missing));
    fs::write(&tombstones, signed.replace("\"records\":6", "\"records\":7")).expect("a file");
    assert_eq!(folder.verify().gravest().map(|damage| damage.kind), Some(Kind::Signature));
}

#[test]
fn what_was_pruned_too_early_shows_although_it_is_signed() {
    let days = |days: i64| SignedDuration::from_hours(24 * days);
    let folder = Folder::new();
    let now = Timestamp::now();
    let plan = Plan { begun: now - days(20), step: days(5), ..Plan::new(now) };
    folder.write(&plan, true);
    // Nothing but the command line keeps who has the key from this.
    assert_eq!(folder.prune(1, Some(&folder.key)).files.len(), 3);
    let report = folder.verify();
    assert_eq!(report.gravest().map(|damage| damage.kind), Some(Kind::Rewritten), "{:#?}", report.damages);
    let report = folder.verify_with(false, None);
    assert_eq!(report.gravest().map(|damage| damage.kind), Some(Kind::Missing));
}
