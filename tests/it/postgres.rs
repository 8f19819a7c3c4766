//! The Postgres adapter against a real Postgres.

mod arguments;
mod notify;
mod outages;
mod sessions;
mod tls;
mod values;
mod writes;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use adapters::{Adapter, AdapterError, CallContext, Method, Reply, Request};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use config::{Effect, Tool};
use futures_util::future::BoxFuture;
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::value::RawValue;
use standins::postgres::{PgOptions, PrivatePg};
use tempfile::TempDir;
use tests::contract::{self, Fixture};
use tokio::{sync::OnceCell, time::Instant};
use tokio_postgres::{Client, NoTls};

/// How long anything here may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(20);

/// One server for all tests that do not break theirs; a database for each.
static SERVER: OnceCell<PrivatePg> = OnceCell::const_new();

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract() -> Result<()> {
    let tools = "
      quick: { effect: read, sql: SELECT 1 AS one }
      slow: { effect: read, sql: 'SELECT pg_sleep(600)' }
      oversized: { effect: read, sql: \"SELECT repeat('x', 1000) AS text FROM generate_series(1, 100000)\" }
      refused: { effect: read, sql: 'SELECT 1 / (random() * 0)::int AS never' }
      misfit: { effect: read, sql: 'SELECT $1::int AS number', arguments: { number: { type: integer } } }";
    let options = PgOptions { tcp: true, ..PgOptions::default() };
    let server = PrivatePg::start(options).await?;
    let database = Database::at(server.url(), "{ bytes_max: 64KiB, statement_timeout: 10m }", tools).await?;
    let nobody = server.url().replace(&server.tcp_addr().context("no port")?.to_string(), "127.0.0.1:1");
    ensure!(nobody != server.url(), "the URL names its address in another form: {nobody}");
    let unreachable = Connected::new(&nobody, "{}", tools)?;
    contract::hold(&Contract { database, unreachable }).await
}

struct Contract {
    database: Database,
    unreachable: Connected,
}

impl Fixture for Contract {
    fn adapter(&self) -> Arc<dyn Adapter> {
        self.database.connected.adapter.clone()
    }

    fn unreachable(&self) -> Arc<dyn Adapter> {
        self.unreachable.adapter.clone()
    }

    fn quick(&self) -> Request {
        request("quick", "{}", Effect::Read)
    }

    fn slow(&self) -> Request {
        request("slow", "{}", Effect::Read)
    }

    fn until_running(&self, count: usize) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.database.until_running(count))
    }

    fn oversized(&self) -> Request {
        request("oversized", "{}", Effect::Read)
    }

    fn bytes_max(&self) -> usize {
        64 << 10
    }

    fn refused(&self) -> Request {
        request("refused", "{}", Effect::Read)
    }

    fn misfit(&self) -> Option<Request> {
        Some(request("misfit", r#"{"number":1.5}"#, Effect::Read))
    }

    fn secrets(&self) -> Vec<String> {
        let url = &self.database.url;
        let password = url.split([':', '@']).nth(2).expect("postgres://user:password@…");
        vec![url.clone(), password.to_owned(), "127.0.0.1".to_owned()]
    }
}

/// An adapter with its config.
struct Connected {
    adapter: Arc<dyn Adapter>,
    tools: IndexMap<String, Effect>,
    _base: TempDir,
}

impl Connected {
    /// `settings` and `tools` are YAML, as they stand in `weir.yaml`.
    fn new(url: &str, settings: &str, tools: &str) -> Result<Self> {
        Self::with(url, settings, tools, [])
    }

    /// The same with tools that are not checked as a config is.
    fn with(
        url: &str,
        settings: &str,
        tools: &str,
        unchecked: impl IntoIterator<Item = (String, Tool)>,
    ) -> Result<Self> {
        let base = tempfile::tempdir()?;
        tests::private_file(base.path().join("url"), url)?;
        let settings = settings.replacen('{', "{ url: { file: url }, ", 1);
        let text = format!(
            "downstreams:\n  crm:\n    postgres: {settings}\n    tools:{}\n",
            if tools.is_empty() { " {}" } else { tools }
        );
        let loaded =
            config::parse(&text, "weir.yaml", base.path()).map_err(|problems| anyhow::anyhow!("{problems}"))?;
        let (name, downstream) = loaded.config.downstreams.first().context("no downstream")?;
        let mut downstream = downstream.clone();
        downstream.tools.extend(unchecked);
        let adapter = adapters::build(name, &downstream, &config::Sources::at(base.path()), |_, _, _| {})?;
        let tools = downstream.tools.keys().map(|tool| (tool.clone(), downstream.effect_of(tool))).collect();
        Ok(Self { adapter, tools, _base: base })
    }

    async fn call(&self, tool: &str, arguments: &str) -> Result<Answer, AdapterError> {
        self.call_in(&contract::context(PATIENCE), tool, arguments).await
    }

    async fn call_in(&self, ctx: &CallContext, tool: &str, arguments: &str) -> Result<Answer, AdapterError> {
        let effect = self.tools.get(tool).copied().expect("a tool of the config");
        match self.adapter.call(ctx, request(tool, arguments, effect)).await? {
            Reply::Complete(bytes) => Ok(Answer::read(&bytes)),
            other => panic!("{other:?}"),
        }
    }
}

/// A database of its own, the adapter in front of it, and a way to look at it from beside.
struct Database {
    connected: Connected,
    url: String,
    observer: Client,
}

impl Database {
    /// A new database on the shared server, after `setup`, in which `:db` stands for its name.
    async fn new(setup: &str, settings: &str, tools: &str) -> Result<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let server = SERVER.get_or_try_init(|| PrivatePg::start(PgOptions::default())).await?;
        let name = format!("adapter_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let url = server.create_database(&name).await?;
        observe(&url).await?.batch_execute(&setup.replace(":db", &name)).await?;
        Self::at(&url, settings, tools).await
    }

    async fn at(url: &str, settings: &str, tools: &str) -> Result<Self> {
        Self::beside(url, url, settings, tools).await
    }

    /// The adapter goes the way of `url`, the observer that of `plain`.
    async fn beside(url: &str, plain: &str, settings: &str, tools: &str) -> Result<Self> {
        let (connected, observer) = (Connected::new(url, settings, tools)?, observe(plain).await?);
        Ok(Self { connected, url: url.to_owned(), observer })
    }

    async fn call(&self, tool: &str, arguments: &str) -> Result<Answer, AdapterError> {
        self.connected.call(tool, arguments).await
    }

    /// The one value that `sql` finds, in its text form.
    async fn look(&self, sql: &str) -> Result<String> {
        let row = self.observer.query_one(&format!("SELECT ({sql})::text"), &[]).await?;
        Ok(row.get::<_, Option<String>>(0).unwrap_or_default())
    }

    /// Ends when exactly `count` statements of the adapter run in this database.
    async fn until_running(&self, count: usize) -> Result<()> {
        let running = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'weir' AND state <> 'idle'";
        self.until(running, &count.to_string()).await
    }

    /// Ends when `sql` finds `wanted`.
    async fn until(&self, sql: &str, wanted: &str) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let found = self.look(sql).await?;
            if found == wanted {
                return Ok(());
            }
            ensure!(Instant::now() < give_up, "{sql} is {found}, never {wanted}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn observe(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn request(tool: &str, arguments: &str, effect: Effect) -> Request {
    let params = format!(r#"{{"name":"crm__{tool}","arguments":{arguments}}}"#);
    Request {
        method: Method::CallTool,
        local_name: tool.into(),
        params: params.into(),
        arguments: Some(Bytes::copy_from_slice(arguments.as_bytes())),
        effect,
    }
}

/// A `result` object, its values still the text they came as.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    content: Vec<Block>,
    #[serde(rename = "structuredContent")]
    structured: Box<RawValue>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    #[serde(rename = "type")]
    kind: String,
    text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Structured {
    #[serde(default)]
    rows: Vec<IndexMap<String, Box<RawValue>>>,
    row_count: Option<usize>,
    rows_affected: Option<u64>,
    truncated: Option<bool>,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let answer: Self = serde_json::from_slice(bytes).expect("a result object");
        let [block] = &answer.content[..] else { panic!("not one block: {answer:?}") };
        assert_eq!((block.kind.as_str(), block.text.as_str()), ("text", answer.structured.get()));
        answer
    }

    /// The structured content as it came.
    fn text(&self) -> &str {
        self.structured.get()
    }

    fn structured(&self) -> Structured {
        serde_json::from_str(self.text()).expect("rows and counts")
    }

    /// The JSON text of the value that stands alone in its row.
    fn only(&self) -> String {
        let rows = self.structured().rows;
        let [row] = &rows[..] else { panic!("not one row: {}", self.text()) };
        let [value] = &row.values().collect::<Vec<_>>()[..] else { panic!("not one column: {}", self.text()) };
        value.get().to_owned()
    }
}
