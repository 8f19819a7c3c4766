//! What is masked of all that one call gives back: its result, its errors, its progress.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use adapters::{AdapterError, MaskNotice, Notice, Notices, Rejection, Reply};
use bytes::Bytes;
use cache::{NewName, Pseudonyms};
use tokio::sync::mpsc;

use super::{
    Print,
    answer::{Frame, Gathered, Pass},
    masks::{Masks, RESTORED, Wanted},
    names::{self, Value},
    recur::{Known, Recurring},
    strategy::REDACTED,
};
use crate::{call::Trail, error::CallError, telemetry};

/// An answer from this size on is masked beside the work for other calls.
const BLOCKING_FROM_BYTES: usize = 128 << 10;

/// What is masked of one call. Clones are for the same call.
#[derive(Debug, Clone)]
pub(crate) struct CallMask(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    masks: Arc<Masks>,
    /// What the caller named by its pseudonym, ready to be found.
    restored: Vec<(Value, String)>,
    known: Recurring,
    pseudonyms: Arc<Pseudonyms>,
    owner: Vec<u8>,
    tool: Arc<str>,
    trail: Trail,
}

/// What a caller may see of what comes of one call. Who may see everything pays for nothing.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    pub(super) print: Print,
    pub(super) mask: Option<CallMask>,
}

impl Sight {
    /// Changes with everything that decides what the caller sees.
    pub(crate) fn print(&self) -> &Print {
        &self.print
    }

    /// What is masked, if anything is.
    pub(crate) fn mask(&self) -> Option<&CallMask> {
        self.mask.as_ref()
    }

    /// What came of the call, as its caller may see it.
    pub(crate) async fn outcome(&self, outcome: Result<Reply, CallError>) -> Result<Reply, CallError> {
        match &self.mask {
            Some(mask) => mask.outcome(outcome).await,
            None => outcome,
        }
    }

    /// An error, as its caller may see it.
    pub(crate) fn error(&self, error: CallError) -> CallError {
        match &self.mask {
            Some(mask) => mask.error(error),
            None => error,
        }
    }

    /// The way of notices to the caller.
    pub(crate) fn notices(&self, sender: mpsc::Sender<Notice>) -> Notices {
        let mask = self.mask.clone().map(|mask| Arc::new(mask) as Arc<dyn MaskNotice>);
        Notices::new(sender, mask)
    }
}

/// Why an answer is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unmaskable {
    #[error("it has parts that cannot be looked into, such as images, and may only be seen where all of it can")]
    Unseen,
    #[error("it is not what answers look like, so it is not known what is in it")]
    Form,
    #[error("too much in it must not be seen. Ask for less at once")]
    TooMany,
}

impl CallMask {
    pub(super) fn new(
        masks: Arc<Masks>,
        restored: Vec<(Value, String)>,
        pseudonyms: Arc<Pseudonyms>,
        owner: Vec<u8>,
        tool: Arc<str>,
        trail: Trail,
    ) -> Self {
        let known = Recurring::new(known_of(&restored)).expect("a few values of one call can be searched for");
        Self(Arc::new(Inner { masks, restored, known, pseudonyms, owner, tool, trail }))
    }

    /// Whether what comes of the call is for its caller alone.
    pub(crate) fn is_personal(&self) -> bool {
        self.0.masks.has_pseudonyms() || !self.0.restored.is_empty()
    }

    /// What the cache must tell apart: the rules, and what the caller named.
    pub(crate) fn revision(&self) -> Vec<u8> {
        let names = self.0.restored.iter().flat_map(|(_, name)| [name.as_bytes(), b" "]);
        std::iter::once(&self.0.masks.revision()[..]).chain(names).collect::<Vec<_>>().concat()
    }

    /// What came of the call, as its caller may see it.
    async fn outcome(&self, outcome: Result<Reply, CallError>) -> Result<Reply, CallError> {
        match outcome {
            Ok(reply) => self.reply(reply).await,
            Err(error) => Err(self.error(error)),
        }
    }

    async fn reply(&self, reply: Reply) -> Result<Reply, CallError> {
        Ok(match reply {
            Reply::Complete(bytes) => Reply::Complete(self.bytes(bytes).await?),
            Reply::NotFound(bytes) => Reply::NotFound(self.bytes(bytes).await?),
            Reply::InputRequired(bytes) => Reply::InputRequired(self.bytes(bytes).await?),
            Reply::Task(bytes) => Reply::Task(self.bytes(bytes).await?),
        })
    }

    async fn bytes(&self, bytes: Bytes) -> Result<Bytes, CallError> {
        let refused = |why| CallError::Unmaskable { tool: self.0.tool.clone(), why };
        let mask = self.clone();
        let (whole, gathered) = aside(bytes, move |bytes| mask.0.gather(bytes)).await;
        let gathered = gathered.map_err(refused)?;
        let names = self.names(&gathered.wanted).await;
        let mask = self.clone();
        let (whole, masked) = aside(whole, move |bytes| mask.0.masked(bytes, gathered, &names)).await;
        let (masked, counts) = masked.map_err(refused)?;
        self.0.note(&counts);
        Ok(masked.unwrap_or(whole))
    }

    /// The pseudonyms of values. What has none, because Redis is gone, is not named.
    async fn names(&self, wanted: &[Wanted]) -> HashMap<Wanted, String> {
        if wanted.is_empty() {
            return HashMap::new();
        }
        let new = |(class, value): &Wanted| NewName {
            value: [class.as_bytes(), b" ", value.json().as_bytes()].concat().into(),
            name: names::new(class),
        };
        let new: Vec<NewName> = wanted.iter().map(new).collect();
        match self.0.pseudonyms.show(&self.0.owner, &new).await {
            Ok(names) => wanted.iter().cloned().zip(names).filter_map(|(wanted, name)| Some((wanted, name?))).collect(),
            Err(_gone) => {
                tracing::warn!(tool = %self.0.tool, "values are redacted: Redis, which knows their pseudonyms, cannot be reached");
                HashMap::new()
            }
        }
    }

    /// An error without what must not be seen in its texts.
    fn error(&self, error: CallError) -> CallError {
        match error {
            CallError::Downstream { tool, downstream, error } => {
                CallError::Downstream { tool, downstream, error: Box::new(self.adapter_error(*error)) }
            }
            CallError::OutcomeUnknown { tool, operation_id, error } => {
                CallError::OutcomeUnknown { tool, operation_id, error: Box::new(self.adapter_error(*error)) }
            }
            CallError::InvalidArguments { tool, mistakes } => {
                CallError::InvalidArguments { tool, mistakes: self.text(mistakes) }
            }
            other => other,
        }
    }

    fn adapter_error(&self, mut error: AdapterError) -> AdapterError {
        error.message = self.text(error.message);
        error.rejection = error.rejection.map(|rejection| match rejection {
            Rejection::Text(text) => Rejection::Text(self.text(text)),
            Rejection::Rpc(bytes) => Rejection::Rpc(
                self.data(bytes)
                    .unwrap_or_else(|_why| format!("{{\"code\":-32603,\"message\":\"{REDACTED}\"}}").into()),
            ),
        });
        error
    }

    fn text(&self, text: String) -> String {
        // Names are made where there is time to ask for them; here a value that has none is redacted.
        let names = HashMap::new();
        let mut pass = Pass::masking(&self.0.masks, &self.0.known, &names);
        let masked = pass.text(&text);
        self.0.note(&pass.counts);
        masked.unwrap_or(text)
    }

    /// An object of the downstream that is no result.
    fn data(&self, bytes: Bytes) -> Result<Bytes, Unmaskable> {
        let names = HashMap::new();
        let text = std::str::from_utf8(&bytes).map_err(|_| Unmaskable::Form)?;
        let gathered = self.0.gathered(text, Frame::Data)?;
        let (masked, counts) = self.0.rewritten(text, Frame::Data, gathered, &names)?;
        self.0.note(&counts);
        Ok(masked.unwrap_or(bytes))
    }
}

impl MaskNotice for CallMask {
    fn masked(&self, notice: Notice) -> Option<Notice> {
        match notice {
            Notice::Progress(bytes) => self.data(bytes).ok().map(Notice::Progress),
            Notice::Message(bytes) => self.data(bytes).ok().map(Notice::Message),
        }
    }
}

/// Something masked, if anything was, and how many values by which rule.
type Masked = (Option<Bytes>, BTreeMap<u32, u64>);

impl Inner {
    fn gather(&self, bytes: &Bytes) -> Result<Gathered, Unmaskable> {
        let text = std::str::from_utf8(bytes).map_err(|_| Unmaskable::Form)?;
        self.gathered(text, Frame::Reply)
    }

    fn masked(&self, bytes: &Bytes, gathered: Gathered, names: &HashMap<Wanted, String>) -> Result<Masked, Unmaskable> {
        let text = std::str::from_utf8(bytes).map_err(|_| Unmaskable::Form)?;
        self.rewritten(text, Frame::Reply, gathered, names)
    }

    fn gathered(&self, text: &str, frame: Frame) -> Result<Gathered, Unmaskable> {
        if self.masks.paths.is_empty() && !self.masks.has_pseudonyms() {
            return Ok(Gathered::default());
        }
        let names = HashMap::new();
        let mut pass = Pass::gathering(&self.masks, &self.known, &names);
        pass.json(text, frame).map_err(|_fault| Unmaskable::Form)?;
        let gathered = pass.into_gathered();
        if gathered.too_many { Err(Unmaskable::TooMany) } else { Ok(gathered) }
    }

    fn rewritten(
        &self,
        text: &str,
        frame: Frame,
        gathered: Gathered,
        names: &HashMap<Wanted, String>,
    ) -> Result<Masked, Unmaskable> {
        let with_values;
        let known = if gathered.values.is_empty() {
            &self.known
        } else {
            let pass = Pass::masking(&self.masks, &self.known, names);
            let by_path = gathered.values.into_iter().map(|(value, rule)| {
                let shown = pass.shown(rule, &value);
                Known { value, rule, shown }
            });
            let all = known_of(&self.restored).into_iter().chain(by_path).collect();
            with_values = Recurring::new(all).map_err(|_too_large| Unmaskable::TooMany)?;
            &with_values
        };
        let mut pass = Pass::masking(&self.masks, known, names);
        let masked = pass.json(text, frame).map_err(|_fault| Unmaskable::Form)?;
        if self.masks.strict && pass.unseen {
            return Err(Unmaskable::Unseen);
        }
        let masked = match masked {
            std::borrow::Cow::Borrowed(_) => None,
            std::borrow::Cow::Owned(masked) => Some(masked.into()),
        };
        Ok((masked, pass.counts))
    }

    /// Counts by rule, for audit and metrics.
    fn note(&self, counts: &BTreeMap<u32, u64>) {
        if counts.is_empty() {
            return;
        }
        let name = |at: &u32| match self.masks.rule(*at) {
            Some(rule) => rule.name.clone(),
            None => "restored".into(),
        };
        let counts: Vec<(Arc<str>, u64)> = counts.iter().map(|(at, count)| (name(at), *count)).collect();
        counts.iter().for_each(|(rule, count)| telemetry::masked(rule, *count));
        self.trail.masked(&counts);
    }
}

fn known_of(restored: &[(Value, String)]) -> Vec<Known> {
    let known = |(value, name): &(Value, String)| Known { value: value.clone(), rule: RESTORED, shown: name.clone() };
    restored.iter().map(known).collect()
}

/// Works on a large answer beside the work for other calls; gives the answer back.
async fn aside<T: Send + 'static>(bytes: Bytes, work: impl FnOnce(&Bytes) -> T + Send + 'static) -> (Bytes, T) {
    if bytes.len() < BLOCKING_FROM_BYTES {
        let done = work(&bytes);
        return (bytes, done);
    }
    let task = tokio::task::spawn_blocking(move || {
        let done = work(&bytes);
        (bytes, done)
    });
    task.await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
}
