use std::{path::Path, sync::Arc, time::Duration};

use config::{Period, audit::Unwritable};
use serde_json::{Value, json, value::RawValue};
use tokio::time::Instant;

use super::{
    Audit, Unaudited,
    disk::faulty::{Fault, Faults, FaultyDisk},
    entry::Body,
    raw,
    segment::{self, Reader},
};

/// A log on a disk with faults.
struct Log {
    audit: Arc<Audit>,
    faults: Arc<Faults>,
    dir: tempfile::TempDir,
}

impl Log {
    fn new(unwritable: Unwritable) -> Self {
        let (dir, faults) = (tempfile::tempdir().expect("a folder"), Arc::<Faults>::default());
        let settings = config::Audit {
            dir: Some(dir.path().to_owned()),
            write_timeout: Period::ms(100),
            unwritable,
            ..config::Audit::default()
        };
        let disk = Box::new(FaultyDisk(faults.clone()));
        let audit = Audit::on(disk, &settings, Path::new("/"), None, b"for digests").expect("a log");
        Self { audit, faults, dir }
    }

    async fn write(&self, number: usize) -> Result<(), Unaudited> {
        self.audit.confirmed(raw(&json!({ "number": number }))).await
    }

    fn text(&self) -> String {
        let chains = segment::chains(self.dir.path()).expect("a folder");
        let paths = chains.values().flat_map(|segments| segments.values());
        paths.map(|path| std::fs::read_to_string(path).expect("a segment")).collect()
    }

    async fn until(&self, what: impl Fn(&Audit) -> bool) {
        let by = Instant::now() + Duration::from_secs(20);
        while !what(&self.audit) {
            assert!(Instant::now() < by, "it did not come to that");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The numbers in the log, in their order, after its end.
    async fn numbers(&self) -> Vec<u64> {
        self.audit.end(Duration::from_secs(20)).await;
        let chains = segment::chains(self.dir.path()).expect("a folder");
        let mut numbers = Vec::new();
        for path in chains.values().flat_map(|segments| segments.values()) {
            let mut reader = Reader::open(path).expect("a segment");
            while let Some(line) = reader.next().expect("it can be read") {
                if let Body::Record(text) = line.entry().expect("a line of a log").body {
                    let record: Value = serde_json::from_str(text).expect("JSON");
                    numbers.extend(record["number"].as_u64());
                }
            }
        }
        numbers
    }
}

#[tokio::test]
async fn a_write_whose_record_a_failing_disk_lost_is_refused_and_the_next_is_not() {
    let log = Log::new(Unwritable::KeepReading);
    for number in 0..2 {
        assert_eq!(log.write(number).await, Ok(()));
    }
    log.faults.set(Fault::Full);
    assert!(log.write(2).await.is_err());
    assert!(log.faults.bites() > 0);
    assert_eq!(log.audit.admit(), Ok(()), "reads go on");
    log.faults.set(Fault::None);
    log.until(|audit| audit.lag().is_some_and(|lag| lag.records == 0 && !lag.failing)).await;
    assert_eq!(log.write(3).await, Ok(()));
    assert_eq!(log.numbers().await, [0, 1, 2, 3], "what was told stands there, too");
}

#[tokio::test]
async fn a_sync_that_fails_once_refuses_nobody_and_loses_nothing() {
    let log = Log::new(Unwritable::KeepReading);
    log.faults.set(Fault::SyncLost(3));
    for number in 0..5 {
        assert_eq!(log.write(number).await, Ok(()));
    }
    assert_eq!(log.faults.bites(), 1);
    assert_eq!(log.numbers().await, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn a_stuck_disk_refuses_writes_at_once_and_reads_where_the_config_says_so() {
    for (unwritable, reads) in [(Unwritable::KeepReading, true), (Unwritable::Refuse, false)] {
        let log = Log::new(unwritable);
        log.faults.set(Fault::Stuck);
        assert!(log.write(0).await.is_err());
        assert_eq!(log.faults.bites(), 1);
        log.until(|audit| audit.lag().is_some_and(|lag| lag.time > Duration::from_millis(100))).await;
        let waiting = log.audit.lag().map(|lag| lag.records);
        for number in 1..1000 {
            assert!(log.write(number).await.is_err());
        }
        assert_eq!(log.audit.lag().map(|lag| lag.records), waiting, "who is refused at once leaves nothing");
        assert_eq!(log.audit.admit().is_ok(), reads);
        log.faults.set(Fault::None);
        log.until(|audit| audit.admit().is_ok() && audit.lag().is_some_and(|lag| lag.records == 0)).await;
        assert_eq!(log.write(7).await, Ok(()));
        assert_eq!(log.numbers().await, [0, 7]);
    }
}

#[tokio::test]
async fn records_that_wait_for_a_stuck_disk_have_a_bound_and_reads_end_before_it() {
    let log = Log::new(Unwritable::KeepReading);
    log.faults.set(Fault::Stuck);
    let large = "x".repeat(1 << 20);
    let mut taken = 0;
    while log.audit.admit().is_ok() {
        log.audit.append(raw(&json!({ "number": taken, "large": large })));
        taken += 1;
    }
    assert!((10..32).contains(&taken), "{taken} MiB");
    for number in 0..64 {
        log.audit.append(raw(&json!({ "more": number, "large": large })));
    }
    let waiting = log.audit.lag().expect("a log").records;
    assert!(waiting <= 32, "{waiting} MiB wait");
    log.faults.set(Fault::None);
    assert_eq!(log.numbers().await.len(), taken);
    let told = format!(r#""event":"records_lost","details":{{"records":{}}}"#, taken + 64 - waiting);
    assert!(log.text().contains(&told), "the log says how many are missing in it: {told}");
}

#[tokio::test]
async fn all_writes_that_wait_share_one_sync() {
    let log = Log::new(Unwritable::KeepReading);
    assert_eq!(log.write(0).await, Ok(()));
    log.faults.set(Fault::Stuck);
    let waiting: Vec<_> = (1..200).map(|number| log.audit.append(raw(&json!({ "number": number })))).collect();
    assert_eq!(waiting.len(), 199);
    log.faults.set(Fault::None);
    assert_eq!(log.write(200).await, Ok(()));
    assert!(log.faults.syncs() < 20, "{} syncs", log.faults.syncs());
    assert_eq!(log.numbers().await.len(), 201);
}

#[tokio::test]
async fn a_record_is_one_line_whatever_its_arguments_look_like() {
    let log = Log::new(Unwritable::KeepReading);
    let arguments = RawValue::from_string("{\r\n  \"a\":\n1}".to_owned()).expect("JSON");
    log.audit.append(raw(&json!({ "number": 1 })));
    #[derive(serde::Serialize)]
    struct Record<'a> {
        number: u64,
        arguments: &'a RawValue,
    }
    log.audit.append(raw(&Record { number: 2, arguments: &arguments }));
    assert_eq!(log.numbers().await, [1, 2]);
}

#[tokio::test]
async fn requests_that_are_no_calls_are_told_by_their_count() {
    let log = Log::new(Unwritable::KeepReading);
    for _ in 0..500 {
        log.audit.count(None, "no_credentials");
    }
    log.audit.end(Duration::from_secs(20)).await;
    let text = log.text();
    assert!(
        text.contains(r#""kind":"counted""#) && text.contains(r#""reason":"no_credentials","count":500"#),
        "{text}"
    );
}
