//! What may become of a record, as a pure function of what it is and of the time. The scripts do the same in Redis.

use bytes::Bytes;

use super::{Known, NewWrite, OperationId, State};

/// All that is kept of one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) operation: OperationId,
    pub(super) print: [u8; 16],
    pub(super) stage: Stage,
    /// Until when it counts as alive while it is reserved or sent.
    pub(super) lease_until_ms: u64,
    pub(super) about: Bytes,
    pub(super) answer: Option<Bytes>,
    pub(super) started_ms: u64,
    pub(super) ended_ms: Option<u64>,
}

/// In the order in which a write goes through them. No step leads back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Reserved,
    Sent,
    Unknown,
    NotMade,
    Done,
}

/// What the one who makes the write has to say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// It goes on.
    Renew,
    /// Its first byte is about to leave.
    Sent,
    /// Nothing was sent, or it was refused without effect: its key is free.
    Release,
    Unknown,
    Done(Option<Bytes>),
}

impl Record {
    pub(super) fn new(write: &NewWrite, lease_ms: u64, now_ms: u64) -> Self {
        Self {
            operation: write.operation,
            print: write.print,
            stage: Stage::Reserved,
            lease_until_ms: now_ms + lease_ms,
            about: write.about.clone(),
            answer: None,
            started_ms: now_ms,
            ended_ms: None,
        }
    }

    /// Whether another write may take its place: nothing was sent, and nobody is about to.
    pub(super) fn is_free(&self, now_ms: u64) -> bool {
        self.stage == Stage::NotMade || (self.stage == Stage::Reserved && self.lease_until_ms <= now_ms)
    }

    /// Takes a step. False when that is not the word of the one whose write it is, or comes too late to count.
    pub(super) fn step(&mut self, operation: OperationId, step: &Step, lease_ms: u64, now_ms: u64) -> bool {
        if self.operation != operation {
            return false;
        }
        match step {
            Step::Renew if self.stage <= Stage::Sent => self.lease_until_ms = now_ms + lease_ms,
            Step::Sent if self.stage <= Stage::Sent => {
                (self.stage, self.lease_until_ms) = (Stage::Sent, now_ms + lease_ms);
            }
            Step::Release if self.stage <= Stage::Sent => (self.stage, self.ended_ms) = (Stage::NotMade, Some(now_ms)),
            Step::Unknown if self.stage <= Stage::Sent => (self.stage, self.ended_ms) = (Stage::Unknown, Some(now_ms)),
            Step::Done(answer) if self.stage <= Stage::Unknown => {
                (self.stage, self.ended_ms) = (Stage::Done, Some(now_ms));
                self.answer.clone_from(answer);
            }
            Step::Renew | Step::Sent | Step::Release | Step::Unknown | Step::Done(_) => return false,
        }
        true
    }

    pub(super) fn known(&self, now_ms: u64) -> Known {
        let alive = self.lease_until_ms > now_ms;
        let state = match self.stage {
            Stage::Reserved if alive => State::Waiting,
            Stage::Reserved | Stage::NotMade => State::NotMade,
            Stage::Sent if alive => State::Sent,
            Stage::Sent | Stage::Unknown => State::Unknown,
            Stage::Done => State::Done,
        };
        Known {
            operation: self.operation,
            print: self.print,
            state,
            about: self.about.clone(),
            answer: self.answer.clone(),
            started_ms: self.started_ms,
            ended_ms: self.ended_ms,
        }
    }
}
