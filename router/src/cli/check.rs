//! `weir check`: every mistake in a config at once; with `--connect` also whether its downstreams and its Redis can be used.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use adapters::{Adapter, AdapterEvent, CallContext, Caller, Deadline, Health, LeftOut, Offer, OfferedTool, State};
use clap::Args;
use config::{Config, Loaded, Problem, Problems};
use futures_util::{StreamExt as _, future::join_all};
use router::{
    ToolName,
    definitions::{Finding, Lock, defines_its_tools, findings, findings_in_config},
};
use serde_json::{Value, json};

use super::{Exit, Style, log, output::count, serve::DEFAULT_CONFIG};

/// How long one downstream has to tell its tools.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The config file.
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Also connect to Redis, and to each downstream to list its tools. Calls none of them.
    #[arg(long)]
    connect: bool,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// What was found in a config.
#[derive(Debug, Default)]
struct Report {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    downstreams: Vec<Tried>,
    /// How trying Redis went, where the config has one.
    redis: Option<Result<(), String>>,
}

/// How trying one downstream went.
#[derive(Debug)]
struct Tried {
    name: String,
    outcome: Result<Listed, String>,
}

#[derive(Debug)]
struct Listed {
    tools: Vec<ToolName>,
    left_out: Vec<LeftOut>,
    /// What deserves a look, by shown name.
    suspicious: Vec<(Arc<str>, Finding)>,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let mut report = Report::default();
    let loaded = match router::load(&arguments.config).await {
        Ok(loaded) => Some(loaded),
        Err(problems) => {
            report.problems = problems.iter().cloned().collect();
            None
        }
    };
    if let Some(loaded) = &loaded {
        report.warnings.clone_from(&loaded.warnings);
        let surroundings = match loaded.surroundings() {
            Ok(surroundings) => {
                report.warnings.extend(surroundings.warnings.iter().cloned());
                Some(surroundings)
            }
            Err(problems) => {
                report.problems.extend(problems.iter().cloned());
                None
            }
        };
        if let Some(lock) = &loaded.config.definitions.lock
            && let Err(error) = Lock::read(&loaded.sources.base.join(lock))
        {
            report.problems.push(loaded.problem_at(&["definitions", "lock"], &error.to_string()));
        }
        let keys = surroundings.as_ref().map(|surroundings| &surroundings.keys[..]);
        let (problems, warnings) = router::policy::check(loaded, keys);
        report.problems.extend(problems);
        report.warnings.extend(warnings);
        for (keys, finding) in findings_in_config(&loaded.config) {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            report.warnings.push(loaded.problem_at(&keys, &format!("{}; models take it for an order", finding.what)));
        }
        for (name, downstream) in &loaded.config.downstreams {
            report.problems.extend(adapters::check(downstream, &loaded.sources).iter().map(|mistake| {
                let keys = mistake.keys.iter().map(String::as_str);
                let keys: Vec<&str> = ["downstreams", name.as_str()].into_iter().chain(keys).collect();
                loaded.problem_at(&keys, &mistake.message)
            }));
        }
        if arguments.connect
            && let Some(surroundings) = surroundings.filter(|_| report.problems.is_empty())
        {
            log::start(&config::Log { level: config::log::LogLevel::Error, ..config::Log::default() })?;
            let redis = router::try_redis(&loaded.config, &surroundings, LIST_TIMEOUT);
            (report.downstreams, report.redis) = tokio::join!(try_all(loaded), redis);
        }
    }
    let mut stdout = io::stdout();
    if arguments.json {
        writeln!(stdout, "{}", report.as_json())?;
    } else {
        let style = Style::of(&stdout);
        report.print(
            &mut stdout,
            style,
            &arguments.config.display().to_string(),
            loaded.as_ref().map(|loaded| &loaded.config),
        )?;
    }
    Ok(report.exit())
}

async fn try_all(loaded: &Loaded) -> Vec<Tried> {
    join_all(loaded.config.downstreams.iter().map(|(name, downstream)| async move {
        let offer = offer_of(name, downstream, &loaded.sources).await;
        let outcome = offer.map(|offer| listed(name, &loaded.config, offer));
        Tried { name: name.to_string(), outcome }
    }))
    .await
}

/// What a downstream offers now, or why it cannot be used. It is connected for this alone.
pub(super) async fn offer_of(
    name: &config::DownstreamName,
    downstream: &config::Downstream,
    sources: &config::Sources,
) -> Result<Offer, String> {
    let adapter = adapters::build(name, downstream, sources, |_, _, _| {}).map_err(|error| with_causes(&error))?;
    let offered = offered(&*adapter).await;
    adapter.close().await;
    offered
}

/// What the downstream offers now. A list alone proves nothing: tools that the config names stay in it while their database is down.
async fn offered(adapter: &dyn Adapter) -> Result<Offer, String> {
    let ctx = CallContext::new(Arc::new(Caller::local(&[])), Deadline::after(LIST_TIMEOUT));
    let offer = match tokio::time::timeout(LIST_TIMEOUT, adapter.list(&ctx)).await {
        Ok(Ok(offer)) => offer,
        Ok(Err(error)) => return Err(with_causes(&error)),
        Err(_) => return Err(format!("It did not list its tools within {} s.", LIST_TIMEOUT.as_secs())),
    };
    match tokio::time::timeout_at(ctx.deadline.at(), known_state(adapter)).await {
        Ok(Some(State { health: Health::Up, .. })) => Ok(offer),
        Ok(Some(State { reason: Some(reason), .. })) => Err(reason),
        _ => Err("It did not answer.".to_owned()),
    }
}

/// Its state, as soon as it is known: a list may be there before that.
async fn known_state(adapter: &dyn Adapter) -> Option<State> {
    let mut events = adapter.events();
    while let Some(event) = events.next().await {
        match event {
            AdapterEvent::State(state) if state.health != Health::Starting => return Some(state),
            AdapterEvent::State(_)
            | AdapterEvent::ListChanged
            | AdapterEvent::ListUnknown
            | AdapterEvent::Changed(_)
            | AdapterEvent::ChangedUnknown => {}
        }
    }
    None
}

/// What went wrong and everything behind it: this is for the operator, who may see it all.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let also = error.to_string();
        // Some libraries repeat their source in their own text.
        if !text.contains(&also) {
            text = format!("{text} ({also})");
        }
        cause = error.source();
    }
    text
}

fn listed(name: &config::DownstreamName, config: &Config, offer: Offer) -> Listed {
    let downstream = &config.downstreams[name];
    let exposed: BTreeSet<&str> = downstream.tools.keys().map(String::as_str).collect();
    let is_exposed = |local: &str| downstream.expose == config::downstream::Expose::All || exposed.contains(local);
    let offered = || offer.tools.iter().filter(|tool| is_exposed(&tool.local_name));
    let tools: Vec<ToolName> = offered().map(|tool| ToolName::form(name, &tool.local_name, &config.names)).collect();
    let told = |(tool, name): (&OfferedTool, &ToolName)| {
        let shown = name.shown.clone();
        findings(tool.definition.get()).into_iter().map(move |finding| (shown.clone(), finding))
    };
    let others_define = defines_its_tools(downstream);
    let suspicious = offered().zip(&tools).filter(|_| others_define).flat_map(told).collect();
    Listed { tools, left_out: offer.left_out, suspicious }
}

impl Report {
    fn exit(&self) -> Exit {
        if !self.problems.is_empty() {
            Exit::ConfigMistakes
        } else if self.downstreams.iter().any(|tried| tried.outcome.is_err()) || matches!(self.redis, Some(Err(_))) {
            Exit::DownstreamUnusable
        } else {
            Exit::Done
        }
    }

    fn as_json(&self) -> Value {
        let downstreams: Vec<Value> = self.downstreams.iter().map(Tried::as_json).collect();
        let redis = self.redis.as_ref().map(|outcome| match outcome {
            Ok(()) => json!({ "reached": true }),
            Err(reason) => json!({ "reached": false, "reason": reason }),
        });
        json!({ "problems": self.problems, "warnings": self.warnings, "downstreams": downstreams, "redis": redis })
    }

    fn print(&self, to: &mut impl io::Write, style: Style, file: &str, config: Option<&Config>) -> io::Result<()> {
        for warning in &self.warnings {
            writeln!(to, "{} {warning}\n", style.bold("warning:"))?;
        }
        if let Some(problems) = Problems::new(self.problems.clone()) {
            writeln!(to, "{problems}")?;
            return Ok(());
        }
        if let Some(config) = config {
            let (downstreams, roles) =
                (count(config.downstreams.len(), "downstream"), count(config.policy.roles.len(), "role"));
            writeln!(to, "{file} is {}: {downstreams}, {roles}.", style.good("right"))?;
        }
        match &self.redis {
            None => {}
            Some(Ok(())) => writeln!(to, "  {}: {}", style.bold("redis"), style.good("reached"))?,
            Some(Err(reason)) => writeln!(to, "  {}: {} {reason}", style.bold("redis"), style.bad("cannot be used:"))?,
        }
        self.downstreams.iter().try_for_each(|tried| tried.print(to, style))
    }
}

impl Tried {
    fn as_json(&self) -> Value {
        match &self.outcome {
            Err(reason) => json!({ "name": self.name, "reached": false, "reason": reason }),
            Ok(Listed { tools, left_out, suspicious }) => {
                let tool =
                    |tool: &ToolName| json!({ "name": tool.shown, "local_name": tool.local, "alias": tool.is_alias });
                let left = |left: &LeftOut| json!({ "local_name": left.local_name, "reason": left.reason });
                let (tools, left_out): (Vec<_>, Vec<_>) =
                    (tools.iter().map(tool).collect(), left_out.iter().map(left).collect());
                let finding = |(name, finding): &(Arc<str>, Finding)| json!({ "name": name, "place": finding.place, "what": finding.what });
                let suspicious: Vec<_> = suspicious.iter().map(finding).collect();
                json!({ "name": self.name, "reached": true, "tools": tools, "left_out": left_out, "suspicious": suspicious })
            }
        }
    }

    fn print(&self, to: &mut impl io::Write, style: Style) -> io::Result<()> {
        let name = style.bold(&self.name);
        let Listed { tools, left_out, suspicious } = match &self.outcome {
            Ok(listed) => listed,
            Err(reason) => return writeln!(to, "  {name}: {} {}", style.bad("cannot be used."), style.foreign(reason)),
        };
        writeln!(to, "  {name}: {}, {}", style.good("reached"), count(tools.len(), "tool"))?;
        for tool in tools.iter().filter(|tool| tool.is_alias) {
            writeln!(to, "    {} stands for `{}`", tool.shown, style.foreign(&tool.local))?;
        }
        for (name, finding) in suspicious {
            writeln!(to, "    {} {name}: {finding}", style.bad("look:"))?;
        }
        for LeftOut { local_name, reason } in left_out {
            let (local_name, reason) = (style.foreign(local_name), style.foreign(reason));
            writeln!(to, "    {} `{local_name}`: {reason}", style.bad("left out"))?;
        }
        Ok(())
    }
}
