//! From the arguments of a call to the request that is sent.

use bytes::Bytes;
use config::{
    Tool,
    downstream::{
        ArgumentType,
        mainframe::{AnswerFormat, BodyTemplate, HttpMethod, RequestTemplate},
    },
};
use http::{HeaderValue, Method, Request, header};

use super::template::{Arguments, Field, Given, Header, Json, Parameter, Path};
use crate::{AdapterError, ErrorClass, arguments, json::unquote, number::Decimal};

/// The request of a tool, with places for arguments.
#[derive(Debug)]
pub(super) struct Template {
    method: Method,
    path: Path,
    query: Vec<Parameter>,
    headers: Vec<Header>,
    body: Option<Body>,
    /// The arguments' names, in the order of the config.
    names: Vec<Box<str>>,
    expects_json: bool,
}

#[derive(Debug)]
enum Body {
    Json(Json),
    Form(Vec<Field>),
}

impl Template {
    /// # Errors
    /// The part that is wrong, below `request`, and what is wrong with it.
    pub(super) fn new(request: &RequestTemplate, tool: &Tool) -> Result<Self, (&'static str, String)> {
        let names: Vec<Box<str>> = tool.arguments.keys().map(|name| name.as_str().into()).collect();
        let (query, headers) = (request.query.iter(), request.headers.iter());
        let body = |body: &BodyTemplate| match body {
            BodyTemplate::Json(value) => Json::new(value, &names).map(Body::Json),
            BodyTemplate::Form(form) => form
                .iter()
                .map(|(name, value)| Field::new(name, value, &names))
                .collect::<Result<_, _>>()
                .map(Body::Form),
        };
        Ok(Self {
            method: method(request.method),
            path: Path::new(&request.path, &names).map_err(|wrong| ("path", wrong))?,
            query: query
                .map(|(name, value)| Parameter::new(name, value, &names).map_err(|wrong| ("query", wrong)))
                .collect::<Result<_, _>>()?,
            headers: headers
                .map(|(name, value)| Header::new(name, value, &names).map_err(|wrong| ("headers", wrong)))
                .collect::<Result<_, _>>()?,
            body: request.body.as_ref().map(body).transpose().map_err(|wrong| ("body", wrong))?,
            expects_json: matches!(tool.answer, AnswerFormat::Json),
            names,
        })
    }

    /// Whether the path has an argument, so that "not found" is about what the caller asked for.
    pub(super) fn names_one(&self) -> bool {
        self.path.names_one()
    }

    /// The request with the arguments of a call, which are judged before anything is made of them.
    ///
    /// # Errors
    /// Every argument that does not fit, by the config or by its place.
    pub(super) fn fill(&self, tool: &Tool, given: Option<&[u8]>) -> Result<Request<Bytes>, AdapterError> {
        let given = arguments::each(&tool.arguments, given, |_, argument, raw| {
            raw.map(|raw| given_as(argument.kind, raw)).transpose()
        });
        let given = given.map_err(|problems| misfits(&problems))?;
        let arguments = Arguments { names: &self.names, given: &given };
        let mut problems = Vec::new();
        let request = self.request(&arguments, &mut problems);
        problems.is_empty().then_some(request).ok_or_else(|| misfits(&problems))
    }

    fn request(&self, arguments: &Arguments<'_>, problems: &mut Vec<String>) -> Request<Bytes> {
        let mut target = self.path.fill(arguments).unwrap_or_else(|misfit| {
            problems.push(format!("{misfit}."));
            String::new()
        });
        let mut note = |result: Result<(), String>| problems.extend(result.err().map(|misfit| format!("{misfit}.")));
        let mut query = String::new();
        for parameter in &self.query {
            note(parameter.add_to(&mut query, arguments));
        }
        target.push_str(&query);
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = self.method.clone();
        if self.expects_json {
            request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        }
        if let Some(body) = &self.body {
            note(body.fill(arguments).map(|filled| {
                if let Some((kind, bytes)) = filled {
                    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
                    *request.body_mut() = bytes;
                }
            }));
        }
        for header in &self.headers {
            note(header.fill(arguments).map(|filled| {
                // What the config states counts more than what Weir says by itself.
                if let Some((name, value)) = filled {
                    request.headers_mut().insert(name, value);
                } else {
                    request.headers_mut().remove(header.name());
                }
            }));
        }
        match target.parse() {
            Ok(uri) => *request.uri_mut() = uri,
            Err(_) if problems.is_empty() => {
                problems.push("The arguments are too long for the address of a request.".to_owned());
            }
            Err(_) => {}
        }
        request
    }
}

impl Body {
    /// Media type and bytes; `None` where all of it was left out.
    fn fill(&self, arguments: &Arguments<'_>) -> Result<Option<(&'static str, Bytes)>, String> {
        match self {
            Self::Json(json) => Ok(json.fill(arguments)?.map(|text| ("application/json", text.into()))),
            Self::Form(fields) => {
                let mut form = String::new();
                for field in fields {
                    field.add_to(&mut form, arguments)?;
                }
                Ok(Some(("application/x-www-form-urlencoded", form.into())))
            }
        }
    }
}

fn given_as(kind: ArgumentType, raw: &str) -> Result<Given, String> {
    let text = match kind {
        ArgumentType::String => Ok(unquote(raw).ok_or("must be a text of whole characters")?.into_owned()),
        ArgumentType::Integer | ArgumentType::Number => {
            number(kind, raw).ok_or("has too many digits to be written out")
        }
        ArgumentType::Boolean => Ok(raw.to_owned()),
        ArgumentType::Array | ArgumentType::Object => Err("is a list or an object"),
    };
    Ok(Given { text, raw: raw.to_owned() })
}

/// A number where there is only text. Legacy systems read `1000` and not `1e3`, of which many take the 1 alone.
fn number(kind: ArgumentType, raw: &str) -> Option<String> {
    let is_written_out = match kind {
        ArgumentType::Integer => raw != "-0" && raw.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'),
        _ => !raw.contains(['e', 'E']),
    };
    if is_written_out { Some(raw.to_owned()) } else { Decimal::parse(raw)?.written_out() }
}

fn misfits(problems: &[String]) -> AdapterError {
    let message = format!("{} Nothing was sent.", problems.join(" "));
    AdapterError::not_sent(ErrorClass::InvalidArguments, message)
}

fn method(method: HttpMethod) -> Method {
    match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Delete => Method::DELETE,
    }
}
