//! The records of one chain, one after the other.

use std::{collections::VecDeque, fs::File, io, io::BufReader};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{Filter, Found, Unread};
use crate::audit::{
    age::Identity,
    entry::{Body, Header},
    seal::DataKey,
    segment::Reader,
    verify::{Step, plan},
};

/// A record has the time at which its call began, and is written when it ends. No call runs for longer.
const CALL_MAX: SignedDuration = SignedDuration::from_hours(2);

#[derive(Debug)]
pub(super) struct Cursor<'a> {
    chain: Uuid,
    steps: VecDeque<Step>,
    identity: Option<&'a Identity>,
    reading: Option<Reading>,
    found: Option<Found>,
}

#[derive(Debug)]
struct Reading {
    reader: Reader<BufReader<File>>,
    bytes_max: Option<u64>,
    key: Option<DataKey>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(chain: Uuid, plan: Vec<Step>, identity: Option<&'a Identity>) -> Self {
        Self { chain, steps: plan.into(), identity, reading: None, found: None }
    }

    /// The record to which [`advance`](Self::advance) came.
    pub(super) fn take(&mut self) -> Option<Found> {
        self.found.take()
    }

    /// Goes on to the next record that the filter lets through, and gives its time.
    pub(super) fn advance(&mut self, filter: &Filter, unread: &mut Unread) -> io::Result<Option<Timestamp>> {
        loop {
            if self.reading.is_none() && !self.open(filter)? {
                return Ok(None);
            }
            let Some(reading) = &mut self.reading else { return Ok(None) };
            let line = reading.reader.next()?.filter(|line| reading.bytes_max.is_none_or(|most| line.at < most));
            let Some(line) = line else {
                self.reading = None;
                continue;
            };
            let Ok(entry) = line.entry() else {
                // The end of what is being written is no damage.
                unread.damaged += u64::from(line.whole);
                continue;
            };
            let (seq, chain) = (entry.seq, self.chain);
            let opened;
            let text = match entry.body {
                Body::Record(text) => text,
                Body::Sealed(sealed) => match reading.key.as_ref().and_then(|key| key.open(seq, sealed)) {
                    Some(text) => {
                        opened = text;
                        &opened
                    }
                    None => {
                        unread.sealed += 1;
                        continue;
                    }
                },
                Body::Segment(text) => {
                    let header = serde_json::from_str::<Header>(text).ok();
                    reading.key = header
                        .zip(self.identity)
                        .and_then(|(header, identity)| DataKey::unwrap(identity, &header).ok());
                    continue;
                }
                Body::Checkpoint { .. } => continue,
            };
            let Some(time) = filter.time_of(text) else { continue };
            self.found = Some(Found { chain, seq, time, text: text.to_owned() });
            return Ok(Some(time));
        }
    }

    /// Opens the next segment that may have something; false when there is none.
    fn open(&mut self, filter: &Filter) -> io::Result<bool> {
        while let Some(step) = self.steps.pop_front() {
            let begun = plan::header(&step.path)?.map(|header| header.time);
            let ended = match self.steps.front() {
                Some(next) => plan::header(&next.path)?.map(|header| header.time),
                None => None,
            };
            let too_late = begun.zip(filter.until).is_some_and(|(begun, until)| begun.duration_since(until) > CALL_MAX);
            let too_early = ended.zip(filter.since).is_some_and(|(ended, since)| ended < since);
            if !too_late && !too_early {
                let reader = Reader::open(&step.path)?;
                self.reading = Some(Reading { reader, bytes_max: step.bytes_max, key: None });
                return Ok(true);
            }
        }
        Ok(false)
    }
}
