//! A legacy system over HTTP: its tools are requests of the config.
//!
//! How many requests it gets at once is seen to before calls come here. What it answers is looked at before it is believed, since such
//! systems say with status 200 that something went wrong.

mod answer;
pub(crate) mod codec;
mod definition;
mod encode;
mod request;
mod rules;
mod screen;
mod template;

use std::{fmt, sync::Arc, time::Duration};

use ::http::{HeaderName, HeaderValue};
use bytes::Bytes;
use config::{DownstreamName, Sources, Tool as Settings, downstream::mainframe::ErrorScreen};
use futures_util::{FutureExt as _, future::BoxFuture, stream::BoxStream};
use indexmap::IndexMap;
use tokio_util::task::AbortOnDropHandle;

use self::{
    answer::{Subject, Terms},
    definition::{Tool, Wrong},
};
use crate::{
    Adapter, AdapterError, AdapterEvent, BuildError, CallContext, CallerInputs, ErrorClass, Method, Offer, OfferedTool,
    Reply, Request, Sent,
    credential::{self, Whose},
    health::{self, Health},
    http::{Care, Head, HttpClient, HttpError, HttpSettings, Limits, tell_time_left},
    registry::{Mistake, Shown},
};

/// A legacy system over HTTP.
pub(crate) struct Mainframe {
    name: Box<str>,
    http: Arc<HttpClient>,
    health: Arc<Health>,
    tools: IndexMap<Arc<str>, Tool>,
    error_screens: Vec<ErrorScreen>,
    idempotency_header: Option<HeaderName>,
    attempt_timeout: Duration,
    answer_bytes_max: usize,
    _watch: AbortOnDropHandle<()>,
}

impl Mainframe {
    /// Makes the adapter. Connects to nothing yet. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// [`BuildError`] names the setting that is wrong.
    pub(crate) fn new(
        name: &DownstreamName,
        settings: &config::downstream::Mainframe,
        tools: &IndexMap<String, Settings>,
        shown: Shown<'_>,
        sources: &Sources,
    ) -> Result<Self, BuildError> {
        let http = HttpClient::new(
            HttpSettings {
                base_url: &settings.base_url,
                url_key: "base_url",
                credentials: shown.credentials,
                trust: &shown.trust,
                limits: Limits {
                    connect_timeout: settings.connect_timeout.0,
                    idle_timeout: settings.idle_timeout.0,
                    connections_max: settings.concurrency,
                },
            },
            sources,
            shown.section,
        )?;
        let tool = |(tool, config): (&String, &Settings)| {
            let wrong = |Wrong { part, message }| BuildError::Setting {
                setting: format!("downstreams.{name}.tools.{tool}.{part}"),
                message,
            };
            Ok((tool.as_str().into(), Tool::new(tool, config, settings.encoding, &sources.base).map_err(wrong)?))
        };
        let tools = tools.iter().map(tool).collect::<Result<_, BuildError>>()?;
        let header = settings.idempotency_header.as_deref().map(str::parse::<HeaderName>).transpose();
        let idempotency_header = header.map_err(|_| BuildError::Setting {
            setting: format!("downstreams.{name}.mainframe.idempotency_header"),
            message: "write the name of a header, such as `Idempotency-Key`".to_owned(),
        })?;
        let (http, health) = (Arc::new(http), Arc::new(Health::new()));
        // Nobody may have called yet: whether it can be reached is found out all the same.
        health.suspect();
        let probed = Arc::clone(&http);
        let watch = health::watch(Arc::clone(&health), move || probe(Arc::clone(&probed)));
        Ok(Self {
            name: name.as_str().into(),
            http,
            health,
            tools,
            error_screens: settings.error_screens.clone(),
            idempotency_header,
            attempt_timeout: settings.attempt_timeout.0,
            answer_bytes_max: settings.answer_bytes_max.bytes(),
            _watch: AbortOnDropHandle::new(tokio::spawn(watch)),
        })
    }

    fn offer(&self) -> Offer {
        let offered = |(name, tool): (&Arc<str>, &Tool)| OfferedTool {
            local_name: Arc::clone(name),
            definition: tool.definition.clone(),
            caller_inputs: CallerInputs::of(self.http.is_per_caller()),
        };
        Offer { tools: self.tools.iter().map(offered).collect(), ..Offer::default() }
    }

    async fn ask(&self, ctx: &CallContext, tool: &Tool, request: &Request) -> Result<Reply, AdapterError> {
        let subject = Subject { downstream: &self.name, tool: &request.local_name, writes: request.effect.writes() };
        let mut asked = tool.request.fill(&tool.settings, request.arguments.as_deref())?;
        if let (Some(header), Some(write)) = (&self.idempotency_header, &ctx.write) {
            let key = HeaderValue::from_str(write.passed_key()).expect("hexadecimal digits are visible ASCII");
            asked.headers_mut().insert(header, key);
        }
        let (head, body, shown) =
            self.exchange(ctx, asked, subject).await.map_err(|error| self.failed(&error, subject))?;
        self.health.up();
        let terms =
            Terms { screens: &self.error_screens, credential: shown.as_deref(), bytes_max: self.answer_bytes_max };
        tool.reader.read(&head, &body, terms, subject)
    }

    /// One request and its whole answer. The time of an attempt runs from here.
    async fn exchange(
        &self,
        ctx: &CallContext,
        mut request: http::Request<Bytes>,
        subject: Subject<'_>,
    ) -> Result<(Head, Bytes, Option<Arc<credential::Shown>>), HttpError> {
        let limit = ctx.deadline.within(self.attempt_timeout);
        tell_time_left(request.headers_mut(), limit);
        let mut answer =
            self.http.send(request, Whose::Caller(&ctx.caller), Care::of(ctx, subject.writes), limit).await?;
        let head = std::mem::replace(&mut answer.head, http::Response::new(()).into_parts().0);
        let shown = answer.shown.take();
        Ok((head, answer.body(self.answer_bytes_max, limit).await?, shown))
    }

    fn failed(&self, error: &HttpError, subject: Subject<'_>) -> AdapterError {
        match error.class {
            ErrorClass::Unreachable if error.uncredited => {}
            ErrorClass::Unreachable => self.health.down(&error.reason()),
            ErrorClass::ConnectionLost | ErrorClass::Timeout => self.health.suspect(),
            ErrorClass::Cancelled
            | ErrorClass::Busy
            | ErrorClass::Rejected
            | ErrorClass::InvalidArguments
            | ErrorClass::Protocol
            | ErrorClass::TooLarge
            | ErrorClass::Unauthorized => {}
        }
        error.for_call(subject.downstream, subject.tool)
    }
}

/// Everything that is wrong with the tools, as far as their config alone cannot tell.
pub(crate) fn check(
    settings: &config::downstream::Mainframe,
    tools: &IndexMap<String, Settings>,
    sources: &Sources,
) -> Vec<Mistake> {
    let mistake = |(name, tool): (&String, &Settings)| {
        let wrong = Tool::new(name, tool, settings.encoding, &sources.base).err()?;
        let keys = ["tools", name].into_iter().chain(wrong.part.split('.')).map(str::to_owned).collect();
        Some(Mistake { keys, message: wrong.message })
    };
    tools.iter().filter_map(mistake).collect()
}

impl Adapter for Mainframe {
    fn list<'a>(&'a self, ctx: &'a CallContext) -> BoxFuture<'a, Result<Offer, AdapterError>> {
        async move {
            // Its tools come from the config, so they are listed while it is down; but who asks first is also told whether it is.
            self.health.settled(ctx.deadline).await;
            Ok(self.offer())
        }
        .boxed()
    }

    fn call<'a>(&'a self, ctx: &'a CallContext, request: Request) -> BoxFuture<'a, Result<Reply, AdapterError>> {
        async move {
            let Method::CallTool = request.method;
            let tool = self.tools.get(&*request.local_name).ok_or_else(|| {
                AdapterError::not_sent(ErrorClass::Rejected, format!("{} has no tool of this name.", self.name))
            })?;
            tokio::select! {
                biased;
                () = ctx.withdrawn() => {
                    // A write comes here only before it left.
                    let sent = if request.effect.writes() { Sent::No } else { Sent::Unknown };
                    Err(AdapterError::new(ErrorClass::Cancelled, sent, "The call was cancelled."))
                }
                answer = self.ask(ctx, tool, &request) => answer,
            }
        }
        .boxed()
    }

    fn events(&self) -> BoxStream<'static, AdapterEvent> {
        self.health.events()
    }
}

async fn probe(http: Arc<HttpClient>) -> Result<(), Option<String>> {
    http.probe().await.map_err(|error| Some(error.reason()))
}

impl fmt::Debug for Mainframe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mainframe").field("name", &self.name).field("tools", &self.tools.keys()).finish_non_exhaustive()
    }
}
