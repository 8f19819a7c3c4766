//! One call: its connection, its transaction, its answer.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use deadpool_postgres::{PoolError, TimeoutType, Timeouts};
use futures_util::TryStreamExt as _;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::{
    Error, RowStream,
    error::{Severity, SqlState},
};

use super::{
    Database,
    answer::{Caps, Fit, Rows, Unreadable},
    argument::{Parameter, parameters},
    failure::{self, Stage, Subject},
    lease::{Lease, Transaction},
    socket::ROW_TOO_LARGE,
    statement::{self, Statement},
};
use crate::{AdapterError, CallContext, Deadline, ErrorClass};

/// How much longer than the database itself an answer is waited for, so that its own timeout is heard.
const GRACE: Duration = Duration::from_millis(250);

/// What `statement_timeout` can be; zero would be none.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
const TIMEOUT_MAX: Duration = Duration::from_millis(i32::MAX as u64);

/// One call to one tool.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) ctx: &'a CallContext,
    pub(super) subject: Subject<'a>,
    pub(super) tool: &'a config::Tool,
    pub(super) sql: &'a str,
    pub(super) arguments: Option<&'a [u8]>,
}

/// Why an attempt gave no answer.
struct Failed {
    error: AdapterError,
    /// Nothing was executed, and another attempt meets another state of things: a fresh connection, a statement prepared anew.
    try_again: bool,
    /// The database has answered, so it is known what the connection is in.
    answered: bool,
}

/// How an answer came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    /// At a cap. The rest of the rows is on its way still.
    CutOff,
}

impl Database {
    /// Runs a call. Dropping the future cancels its statement.
    pub(super) async fn run(&self, call: Call<'_>) -> Result<Bytes, AdapterError> {
        match self.attempt(call).await {
            Err(failed) if failed.try_again => {}
            settled => return settled.map_err(|failed| failed.error),
        }
        // Where one waiting connection was broken or out of date, the others are as well, most likely.
        drop(self.pool.retain(|_, _| false));
        self.attempt(call).await.map_err(|failed| failed.error)
    }

    /// A connection, waited for until the deadline.
    pub(super) async fn lease(&self, subject: Subject<'_>, deadline: Deadline) -> Result<Lease, AdapterError> {
        let connecting = self.connect_timeout.min(deadline.remaining());
        let timeouts =
            Timeouts { wait: Some(deadline.remaining()), create: Some(connecting), recycle: Some(connecting) };
        match timeout_at(deadline.at(), self.pool.timeout_get(&timeouts)).await {
            Ok(Ok(client)) => Ok(Lease::new(client, self.connector.clone(), self.health.clone())),
            // It was the deadline that cut connecting short, which says nothing about the database.
            Ok(Err(PoolError::Timeout(TimeoutType::Create))) if connecting < self.connect_timeout => {
                self.health.suspect();
                Err(subject.timeout(Stage::Before, connecting))
            }
            Ok(Err(error)) => {
                if let Some(reason) = failure::why_unreachable(&error, connecting) {
                    self.health.down(&reason);
                }
                Err(subject.no_connection(&error, connecting))
            }
            // The one limit and the other may pass in the same moment: what the call waited for is a connection either way.
            Err(_elapsed) => {
                self.health.suspect();
                Err(subject.no_connection(&PoolError::Timeout(TimeoutType::Wait), connecting))
            }
        }
    }

    async fn attempt(&self, call: Call<'_>) -> Result<Bytes, Failed> {
        let lease = self.lease(call.subject, call.ctx.deadline).await.map_err(Failed::before)?;
        let step = Step::new(call, self);
        // This waits for nothing in the database: a connection that is silent for longer is broken.
        let soon = step.deadline.within(self.connect_timeout);
        if let Err(failed) = step.before(soon, lease.client().batch_execute(&step.begin())).await {
            lease.close();
            self.health.suspect();
            return Err(failed);
        }
        // Preparing may wait for the lock of another transaction on what it reads, for as long as the statement itself may.
        let statement = match step.before(step.deadline, statement::prepare(lease.client(), call.sql)).await {
            Ok(statement) => statement,
            Err(failed) => return Err(self.stop_early(failed, lease)),
        };
        let ready = match step.parameters(&statement) {
            Ok(parameters) if call.subject.writes => call.ctx.about_to_send().await.map(|()| parameters),
            ready => ready,
        };
        let parameters = match ready {
            Ok(parameters) => parameters,
            Err(error) => {
                lease.settle(Transaction::Open);
                return Err(Failed::before(error));
            }
        };
        let outcome = if call.subject.writes {
            step.write(&lease, &statement, parameters).await.map(|answer| (answer, End::Whole))
        } else {
            step.read(&lease, &statement, parameters).await
        };
        self.conclude(call, lease, outcome)
    }

    /// Keeps the connection for others, if it is good.
    fn stop_early(&self, failed: Failed, lease: Lease) -> Failed {
        if failed.answered {
            lease.settle(Transaction::Open);
            self.health.up();
        } else {
            self.health.suspect();
        }
        failed
    }

    /// What becomes of the connection, by how the statement ended.
    fn conclude(&self, call: Call<'_>, lease: Lease, outcome: Result<(Bytes, End), Failed>) -> Result<Bytes, Failed> {
        match &outcome {
            Ok((_, End::Whole)) => {
                lease.settle(if call.subject.writes { Transaction::Ended } else { Transaction::Open });
            }
            Err(failed) if failed.answered => {
                if failed.try_again {
                    statement::forget(lease.client(), call.sql);
                }
                lease.settle(Transaction::Open);
            }
            Ok((_, End::CutOff)) => drop(lease),
            Err(_) => {
                drop(lease);
                self.health.suspect();
                return outcome.map(|(answer, _)| answer);
            }
        }
        self.health.up();
        outcome.map(|(answer, _)| answer)
    }
}

/// The steps of one attempt, and the time they have.
struct Step<'a> {
    call: Call<'a>,
    caps: Caps,
    started: Instant,
    /// What the database is told to end the statement within.
    limit: Duration,
    deadline: Deadline,
}

impl<'a> Step<'a> {
    fn new(call: Call<'a>, database: &Database) -> Self {
        let limit = database.statement_timeout.min(call.ctx.deadline.remaining()).clamp(TIMEOUT_MIN, TIMEOUT_MAX);
        // In whole milliseconds, as the database hears it: what it cuts at its own limit must not look cut before ours.
        let limit = Duration::from_millis(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        let deadline = call.ctx.deadline.within(limit + GRACE);
        Self { call, caps: database.caps, started: Instant::now(), limit, deadline }
    }

    fn parameters(&self, statement: &Statement) -> Result<Vec<Parameter>, AdapterError> {
        let (types, wanted) = (statement.prepared.params(), &self.call.tool.arguments);
        if types.len() != wanted.len() {
            return Err(self.call.subject.parameter_count(types.len(), wanted.len()));
        }
        parameters(wanted, self.call.arguments, types).map_err(|problems| self.call.subject.arguments(&problems))
    }

    /// A declared read cannot write, whatever its statement says. A write begins as the database has it for this login.
    fn begin(&self) -> String {
        let mode = if self.call.subject.writes { "" } else { " READ ONLY" };
        format!("BEGIN{mode}; SET LOCAL statement_timeout = {}", self.limit.as_millis())
    }

    async fn read(
        &self,
        lease: &Lease,
        statement: &Statement,
        parameters: Vec<Parameter>,
    ) -> Result<(Bytes, End), Failed> {
        let mut rows = Rows::new(&statement.columns, self.caps);
        let mut stream = pin!(self.execute(lease, statement, parameters).await?);
        loop {
            let fit = match self.within(Stage::Running, stream.try_next()).await {
                Ok(Some(row)) => rows.add(&row).map_err(|error| self.unreadable(error))?,
                Ok(None) => return Ok((rows.read(), End::Whole)),
                Err(failed) if failed.error.class == ErrorClass::TooLarge => rows.cut(),
                Err(failed) => return Err(failed),
            };
            if fit == Fit::Full {
                if rows.is_empty() {
                    return Err(Failed::after(self.call.subject.too_large(self.caps.bytes_max)));
                }
                return Ok((rows.read(), End::CutOff));
            }
        }
    }

    /// Rows beyond the caps are read and dropped: a write runs to its end.
    async fn write(&self, lease: &Lease, statement: &Statement, parameters: Vec<Parameter>) -> Result<Bytes, Failed> {
        let mut rows = Rows::new(&statement.columns, self.caps);
        let mut stream = pin!(self.execute(lease, statement, parameters).await?);
        while let Some(row) = self.within(Stage::Running, stream.try_next()).await? {
            rows.add(&row).map_err(|error| self.unreadable(error))?;
        }
        let affected = stream.rows_affected().unwrap_or(0);
        self.within(Stage::Committing, lease.client().batch_execute("COMMIT")).await?;
        Ok(rows.written(affected))
    }

    /// Sends the statement with its parameters and hears whether Postgres can read them.
    async fn execute(
        &self,
        lease: &Lease,
        statement: &Statement,
        parameters: Vec<Parameter>,
    ) -> Result<RowStream, Failed> {
        let binding = lease.client().query_raw(&statement.prepared, parameters);
        let error = match timeout_at(self.deadline.at(), binding).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_elapsed) => return Err(Failed::after(self.call.subject.timeout(Stage::Running, self.limit))),
        };
        if let Some(error) = self.call.subject.unreadable_argument(&error, self.call.tool.arguments.keys()) {
            return Err(Failed { error, try_again: false, answered: true });
        }
        let try_again = is_out_of_date(&error);
        Err(Failed { try_again, ..self.failed(Stage::Running, error) })
    }

    /// A step before anything of the call is executed.
    async fn before<T>(&self, deadline: Deadline, step: impl Future<Output = Result<T, Error>>) -> Result<T, Failed> {
        match timeout_at(deadline.at(), step).await {
            Ok(result) => result.map_err(|error| {
                let failed = self.failed(Stage::Before, error);
                Failed { try_again: !failed.answered, ..failed }
            }),
            Err(_elapsed) => {
                let error = self.call.subject.timeout(Stage::Before, self.started.elapsed());
                Err(Failed { error, try_again: deadline < self.deadline, answered: false })
            }
        }
    }

    async fn within<T>(&self, stage: Stage, step: impl Future<Output = Result<T, Error>>) -> Result<T, Failed> {
        match timeout_at(self.deadline.at(), step).await {
            Ok(result) => result.map_err(|error| self.failed(stage, error)),
            Err(_elapsed) => Err(Failed::after(self.call.subject.timeout(stage, self.limit))),
        }
    }

    fn failed(&self, stage: Stage, error: Error) -> Failed {
        if error.code().is_some_and(|code| code.code() == ROW_TOO_LARGE) {
            return Failed::after(self.call.subject.too_large(self.caps.bytes_max));
        }
        // An error that ends the session is not one after which the connection serves on.
        let answered = error.as_db_error().is_some_and(|said| said.parsed_severity() == Some(Severity::Error));
        let timeout = Some(self.limit).filter(|limit| self.started.elapsed() >= *limit);
        Failed { error: self.call.subject.failed(stage, error, timeout), try_again: false, answered }
    }

    fn unreadable(&self, error: Unreadable) -> Failed {
        Failed::after(self.call.subject.unreadable(error))
    }
}

impl Failed {
    /// Nothing was executed, and trying again does not help.
    fn before(error: AdapterError) -> Self {
        Self { error, try_again: false, answered: false }
    }

    /// The statement was on its way: the connection cannot be used any more.
    fn after(error: AdapterError) -> Self {
        Self { error, try_again: false, answered: false }
    }
}

/// Whether what was prepared on the connection no longer holds: the types of its columns have changed, or it is gone.
fn is_out_of_date(error: &Error) -> bool {
    error.as_db_error().is_some_and(|said| {
        let changed =
            *said.code() == SqlState::FEATURE_NOT_SUPPORTED && said.routine() == Some("RevalidateCachedQuery");
        changed || *said.code() == SqlState::INVALID_SQL_STATEMENT_NAME
    })
}
