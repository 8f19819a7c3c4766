//! A caller on the tour, and what came back.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, value::to_raw_value};

use crate::{
    cli::connection::{Connection, ListedTool, ToolResult},
    demo::show::Screen,
};

/// One caller on the tour.
pub(in crate::demo) struct Visitor {
    pub(in crate::demo) role: &'static str,
    pub(in crate::demo) connection: Connection,
}

impl Visitor {
    pub(in crate::demo) async fn arrive(role: &'static str, endpoint: &str, key: &str) -> anyhow::Result<Self> {
        Ok(Self { role, connection: Connection::to_url(endpoint, Some(&key.into())).await? })
    }

    pub(in crate::demo) async fn list(&mut self) -> anyhow::Result<(Vec<ListedTool>, Duration)> {
        let start = Instant::now();
        let tools = self.connection.list_tools().await?;
        Ok((tools, start.elapsed()))
    }

    /// Calls a tool, shows the call and what it took, and returns what the tool says.
    pub(in crate::demo) async fn call(
        &mut self,
        screen: &mut Screen,
        name: &str,
        arguments: Value,
    ) -> anyhow::Result<Value> {
        Ok(self.ask(screen, name, &arguments).await?.says)
    }

    /// The same, with what stands beside what the tool says.
    pub(in crate::demo) async fn ask(
        &mut self,
        screen: &mut Screen,
        name: &str,
        arguments: &Value,
    ) -> anyhow::Result<Answer> {
        let (answer, took) = self.ask_quietly(name, arguments).await?;
        screen.done(&shown(name, arguments), took)?;
        Ok(answer)
    }

    pub(in crate::demo) async fn ask_quietly(
        &mut self,
        name: &str,
        arguments: &Value,
    ) -> anyhow::Result<(Answer, Duration)> {
        let (result, took) = self.attempt_quietly(name, arguments).await?;
        Ok((Answer::of(name, result)?, took))
    }

    /// Calls a tool, shows the call and what it took, and returns what came, be it an error of the tool.
    pub(in crate::demo) async fn attempt(
        &mut self,
        screen: &mut Screen,
        name: &str,
        arguments: &Value,
    ) -> anyhow::Result<ToolResult> {
        let (result, took) = self.attempt_quietly(name, arguments).await?;
        screen.done(&shown(name, arguments), took)?;
        Ok(result)
    }

    pub(in crate::demo) async fn attempt_quietly(
        &mut self,
        name: &str,
        arguments: &Value,
    ) -> anyhow::Result<(ToolResult, Duration)> {
        let start = Instant::now();
        let given = to_raw_value(arguments)?;
        let result = self.connection.call_tool(name, &given, None).await.with_context(|| format!("{name} failed"))?;
        Ok((result, start.elapsed()))
    }
}

/// What came back.
pub(in crate::demo) struct Answer {
    pub(in crate::demo) says: Value,
    /// Where it is out of the cache.
    pub(in crate::demo) cached: Option<Cached>,
    /// The last of its texts.
    pub(in crate::demo) last_text: String,
}

/// What the cache says of an answer.
#[derive(Deserialize)]
pub(in crate::demo) struct Cached {
    pub(in crate::demo) state: String,
    pub(in crate::demo) age_ms: u64,
}

impl Answer {
    fn of(name: &str, result: ToolResult) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Marked {
            #[serde(rename = "_meta")]
            meta: Option<Meta>,
        }
        #[derive(Deserialize)]
        struct Meta {
            #[serde(rename = "weir/cache")]
            cached: Option<Cached>,
        }
        anyhow::ensure!(!result.is_error, "{name} answered with an error: {}", result.text());
        let marked: Marked = serde_json::from_str(result.raw.get())?;
        let last_text = result.content.last().map(|content| text(&content["text"])).unwrap_or_default();
        let says = result.structured.with_context(|| format!("{name} gave no structured answer"))?;
        Ok(Self { says, cached: marked.meta.and_then(|meta| meta.cached), last_text })
    }

    /// Where it is from, in a line.
    pub(in crate::demo) fn origin(&self, system: &str) -> String {
        match &self.cached {
            None => format!("from {system}"),
            Some(Cached { state, age_ms }) => {
                format!("out of the cache: {state}, {:.1} s old", *age_ms as f64 / 1000.0)
            }
        }
    }
}

pub(in crate::demo) fn shown(name: &str, arguments: &Value) -> String {
    let pairs = arguments.as_object().into_iter().flatten().map(|(key, value)| format!("{key}={}", text(value)));
    format!("{name} {}", pairs.collect::<Vec<_>>().join(" "))
}

/// A value as people write it.
pub(in crate::demo) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
