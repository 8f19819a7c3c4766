//! A Postgres database: its tools are SQL statements of the config.
//!
//! A statement is prepared and executed by the extended protocol, which takes exactly one, in a transaction of its own: a read-only one
//! for `effect: read`, a committed one for writes. Nothing of a call is left on its connection for the next.

mod answer;
mod argument;
mod connect;
mod dial;
mod failure;
mod lease;
mod notify;
mod probe;
mod run;
mod schema;
mod socket;
mod sslmode;
mod statement;
mod value;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use config::{DownstreamName, Sources, Tool};
use deadpool_postgres::Pool;
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use indexmap::IndexMap;
use tokio::time::timeout_at;
use tokio_util::task::AbortOnDropHandle;

use self::{
    answer::Caps,
    connect::Connector,
    failure::{Subject, count_mismatch},
    notify::{Changes, Channel},
    run::Call,
    statement::Column,
};
use crate::{
    Adapter, AdapterError, AdapterEvent, BuildError, CallContext, CallerInputs, ErrorClass, LeftOut, Method, Offer,
    OfferedTool, Reply, Request,
    address::Reach,
    health::{self, Health},
    tls::Trust,
};

/// A Postgres database.
pub struct Postgres {
    database: Database,
    tools: IndexMap<Arc<str>, SqlTool>,
    /// What it says of changes, where the config names a channel.
    changes: Option<Arc<Changes>>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

/// The way to the database, and what is to be kept to on it.
struct Database {
    name: Box<str>,
    pool: Pool,
    connector: Connector,
    health: Arc<Health>,
    connect_timeout: Duration,
    statement_timeout: Duration,
    caps: Caps,
}

/// A tool of the config.
struct SqlTool {
    config: Tool,
    sql: Box<str>,
    /// What its statement returned when the database was last asked.
    seen: Mutex<Seen>,
}

/// What the database said of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// It was not asked yet.
    Nothing,
    Columns(Vec<Column>),
    /// It cannot be executed, and why not.
    Refused(String),
}

/// How long all statements together may take to be looked at for a list.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(3);
/// When a list that lacks a tool is to be asked for again.
const RELIST_AFTER: Duration = Duration::from_secs(10);

impl Postgres {
    /// Makes the adapter. Connects to nothing, but for a channel that is to be listened to. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// [`BuildError`] names the setting that is wrong.
    pub fn new(
        name: &DownstreamName,
        settings: &config::downstream::Postgres,
        tools: &IndexMap<String, Tool>,
        sources: &Sources,
    ) -> Result<Self, BuildError> {
        let setting = format!("downstreams.{name}.postgres.url");
        let url =
            settings.url.resolve(sources).map_err(|source| BuildError::Secret { setting: setting.clone(), source })?;
        let section = format!("downstreams.{name}.postgres");
        let trust = Trust::showing((settings.ca.as_deref(), settings.client_certificate.as_ref()), sources, &section)?;
        let health = Arc::new(Health::new());
        let connect_timeout = settings.connect_timeout.0;
        let caps = Caps { rows_max: settings.rows_max, bytes_max: settings.bytes_max.bytes() };
        let (pool, connector) = connect::pool(
            &url,
            settings.pool_max,
            connect_timeout,
            caps.bytes_max,
            (&trust, Reach::written(sources)),
            health.clone(),
        )
        .map_err(|message| BuildError::Setting { setting, message })?;
        let tools = tools.iter().map(|(tool, config)| SqlTool::new(name, tool, config)).collect::<Result<_, _>>()?;
        let probed = pool.clone();
        let watch = tokio::spawn(health::watch(health.clone(), move || probe::probe(probed.clone(), connect_timeout)));
        let mut tasks = vec![AbortOnDropHandle::new(watch)];
        let changes = settings.notify_channel.clone().map(|channel| {
            let (downstream, connector) = (name.as_str().into(), connector.clone());
            let (channel, changes) =
                (Channel { downstream, name: channel, connector, connect_timeout }, Arc::new(Changes::new()));
            tasks.push(AbortOnDropHandle::new(tokio::spawn(notify::follow(channel, changes.clone()))));
            changes
        });
        let statement_timeout = settings.statement_timeout.0;
        let database =
            Database { name: name.as_str().into(), pool, connector, health, connect_timeout, statement_timeout, caps };
        Ok(Self { database, tools, changes, _tasks: tasks })
    }

    async fn offer(&self, ctx: &CallContext) -> Offer {
        // While it is down the probe asks for it; a list does not wait.
        if !self.database.health.is_down() {
            let deadline = ctx.deadline.within(DESCRIBE_TIMEOUT);
            let _ = timeout_at(deadline.at(), self.describe(ctx)).await;
        }
        let mut offer = Offer::default();
        for (name, tool) in &self.tools {
            let columns = match tool.seen() {
                Seen::Refused(reason) => {
                    offer.left_out.push(LeftOut { local_name: (**name).to_owned(), reason });
                    offer.fresh_for = Some(RELIST_AFTER);
                    continue;
                }
                Seen::Columns(columns) => Some(columns),
                Seen::Nothing => None,
            };
            offer.tools.push(OfferedTool {
                local_name: name.clone(),
                definition: schema::definition(name, &tool.config, columns.as_deref()),
                caller_inputs: CallerInputs::Known(Vec::new()),
            });
        }
        offer
    }

    /// Asks the database what each statement takes and returns. What is not answered stays as it was.
    async fn describe(&self, ctx: &CallContext) -> Result<(), AdapterError> {
        let subject = Subject { downstream: &self.database.name, tool: "the list of its tools", writes: false };
        let lease = self.database.lease(subject, ctx.deadline).await?;
        for tool in self.tools.values() {
            let seen = match statement::describe(lease.client(), &tool.sql).await {
                Ok(statement) => {
                    let (wanted, named) = (statement.prepared.params().len(), tool.config.arguments.len());
                    if wanted == named {
                        Seen::Columns(statement.columns)
                    } else {
                        Seen::Refused(count_mismatch(wanted, named))
                    }
                }
                Err(error) => match error.as_db_error() {
                    Some(said) if failure::is_about_the_statement(said) => Seen::Refused(format!(
                        "its statement cannot be prepared: {} (SQLSTATE {})",
                        said.message(),
                        said.code().code()
                    )),
                    _ => return Err(subject.failed(failure::Stage::Before, error, None)),
                },
            };
            *tool.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        }
        self.database.health.up();
        lease.unused();
        Ok(())
    }
}

impl SqlTool {
    fn new(downstream: &DownstreamName, name: &str, config: &Tool) -> Result<(Arc<str>, Self), BuildError> {
        let sql =
            config.sql.as_deref().map(|sql| sql.trim().trim_end_matches(';').trim_end()).filter(|sql| !sql.is_empty());
        let sql = sql.ok_or_else(|| BuildError::Setting {
            setting: format!("downstreams.{downstream}.tools.{name}.sql"),
            message: "is missing: a tool of a Postgres database is one SQL statement".to_owned(),
        })?;
        Ok((name.into(), Self { config: config.clone(), sql: sql.into(), seen: Mutex::new(Seen::Nothing) }))
    }

    fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Adapter for Postgres {
    fn list<'a>(&'a self, ctx: &'a CallContext) -> BoxFuture<'a, Result<Offer, AdapterError>> {
        self.offer(ctx).map(Ok).boxed()
    }

    fn call<'a>(&'a self, ctx: &'a CallContext, request: Request) -> BoxFuture<'a, Result<Reply, AdapterError>> {
        async move {
            let Method::CallTool = request.method;
            let tool = self.tools.get(&*request.local_name).ok_or_else(|| {
                let message = format!("{} has no tool of this name.", self.database.name);
                AdapterError::not_sent(ErrorClass::Rejected, message)
            })?;
            let subject =
                Subject { downstream: &self.database.name, tool: &request.local_name, writes: request.effect.writes() };
            let arguments = request.arguments.as_deref();
            let call = Call { ctx, subject, tool: &tool.config, sql: &tool.sql, arguments };
            tokio::select! {
                biased;
                () = ctx.withdrawn() => Err(subject.cancelled()),
                answer = self.database.run(call) => answer.map(Reply::Complete),
            }
        }
        .boxed()
    }

    fn events(&self) -> BoxStream<'static, AdapterEvent> {
        let state = self.database.health.events();
        match &self.changes {
            Some(changes) => stream::select(state, changes.events()).boxed(),
            None => state,
        }
    }
}

impl fmt::Debug for Postgres {
    /// The way to the database is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("name", &self.database.name)
            .field("tools", &self.tools.keys())
            .finish_non_exhaustive()
    }
}
