//! The request of a tool: every place for an argument must have one, and every argument a place.

use std::collections::BTreeSet;

use http::HeaderName;
use indexmap::IndexMap;
use serde_json::Value;

use crate::{
    Tool,
    downstream::{
        ArgumentType, Credential,
        mainframe::{BodyTemplate, HttpMethod, Part, RequestTemplate, Template},
    },
    nearest::nearest,
};

use super::Scope;

/// Headers that frame a request or speak for the connection: those are Weir's to set.
const FRAMING: [&str; 13] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether it is the name of a header that means nothing else in a request of Weir's.
pub(super) fn is_free_header(name: &str) -> bool {
    const OWN: [&str; 4] = ["accept", "authorization", "content-type", "cookie"];
    let name = HeaderName::from_bytes(name.as_bytes()).ok();
    name.is_some_and(|name| !FRAMING.contains(&name.as_str()) && !OWN.contains(&name.as_str()))
}

/// What the places of a request ask for.
struct Places<'a> {
    tool: &'a Tool,
    /// The names under `arguments` in the text: one with a mistake in it is missing from the model.
    listed: Vec<&'a str>,
    used: BTreeSet<String>,
    /// Whether a text could not be taken apart, so that what it uses is not known.
    unread: bool,
}

/// Where an argument stands, by what may stand there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Among other text, or where there is only text.
    Text,
    /// In the path, where nothing can be left out.
    Path,
    /// A text of a JSON body, which becomes the argument if it is the only part.
    Json,
}

pub(super) fn template(template: &RequestTemplate, tool: &Tool, credential: Option<&Credential>, scope: &Scope<'_>) {
    let listed = scope.key("arguments").keys();
    let mut places = Places { tool, listed, used: BTreeSet::new(), unread: false };
    let request = scope.key("request");
    path(&template.path, &mut places, &request.key("path"));
    // What is wrong in the text is missing from the model, with all that it uses.
    places.unread |= request.key("query").keys().len() != template.query.len();
    places.unread |= request.key("headers").keys().len() != template.headers.len();
    places.unread |= request.key("body").given() != template.body.is_some();
    fields(&template.query, &mut places, &request.key("query"));
    headers(&template.headers, credential, &mut places, &request.key("headers"));
    if let Some(body) = &template.body {
        let scope = request.key("body");
        if template.method == HttpMethod::Get {
            scope.refuse("is sent with GET, which has none", "state another method: `method: POST`");
        }
        match body {
            BodyTemplate::Json(value) => json(value, &mut places, &scope.key("json")),
            BodyTemplate::Form(form) => fields(form, &mut places, &scope.key("form")),
        }
    }
    if places.unread {
        return;
    }
    for name in places.listed.iter().filter(|name| !places.used.contains(**name)) {
        scope
            .key("arguments")
            .key(name)
            .refuse(format!("is never used: `request` has no `{{{name}}}`"), "give it a place, or remove it");
    }
}

fn path(text: &str, places: &mut Places<'_>, scope: &Scope<'_>) {
    if !text.starts_with('/') {
        scope.refuse(format!("must start with `/`, not `{text}`"), format!("write `/{text}`"));
    }
    let Some(template) = places.look(text, Place::Path, scope) else { return };
    let mut literal = String::new();
    for part in &template.parts {
        match part {
            Part::Literal(text) => literal.push_str(text),
            // Stands for something: a segment with an argument is judged when it is known.
            Part::Argument(_) => literal.push('x'),
        }
    }
    if let Some(character) = literal.chars().find(|character| !is_in_path(*character)) {
        let help = match character {
            '?' | '#' => "parameters belong in `query`: `query: { name: \"{argument}\" }`".to_owned(),
            _ => "percent-encode it: a space is `%20`".to_owned(),
        };
        scope.refuse(format!("has a `{character}`, which no path has"), help);
    }
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let mut percents =
        literal.bytes().enumerate().filter(|(_, byte)| *byte == b'%').map(|(at, _)| &literal.as_bytes()[at..]);
    if percents.any(|rest| !is_hex(rest.get(1)) || !is_hex(rest.get(2))) {
        scope.refuse("has a `%` without two hexadecimal digits", "the character itself is `%25`");
    }
    let undotted = literal.to_lowercase().replace("%2e", ".");
    // Servers that know parameters of a segment (`;v=1`) take those away before they go where it leads.
    let mut steps = undotted.split('/').map(|segment| segment.split_once(';').map_or(segment, |(step, _)| step));
    if steps.any(|step| matches!(step, "." | "..")) {
        scope.refuse("has a segment `.` or `..`", "write where the path leads, without detours");
    }
    if undotted.contains("/;") {
        scope.refuse("has a segment with parameters alone (`;`)", "write the segment before them: `/accounts;v=1`");
    }
}

/// RFC 3986, section 3.3: `pchar` and the slash.
fn is_in_path(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=:@/".contains(character)
}

fn fields(fields: &IndexMap<String, String>, places: &mut Places<'_>, scope: &Scope<'_>) {
    for (name, text) in fields {
        let scope = scope.key(name);
        if name.is_empty() {
            scope.refuse("has no name", "");
        }
        places.look(text, Place::Text, &scope);
    }
}

fn headers(
    headers: &IndexMap<String, String>,
    credential: Option<&Credential>,
    places: &mut Places<'_>,
    scope: &Scope<'_>,
) {
    let own = match credential {
        Some(Credential::Header(header)) => header.name.to_lowercase(),
        Some(Credential::Assertion(signed)) => {
            signed.header.as_ref().map_or_else(|| "authorization".to_owned(), |name| name.to_lowercase())
        }
        Some(_) | None => "authorization".to_owned(),
    };
    let mut seen = BTreeSet::new();
    for (name, text) in headers {
        let scope = scope.key(name);
        match HeaderName::from_bytes(name.as_bytes()) {
            Err(_) => scope.refuse(format!("is no name of a header: `{name}`"), "such as `X-Terminal`"),
            Ok(name) if FRAMING.contains(&name.as_str()) => {
                scope.refuse(format!("is a header that Weir sets itself: `{name}`"), "remove it");
            }
            Ok(name) if name == "authorization" || name.as_str() == own => {
                scope.refuse("is where the credential stands", "give it as `credential` of the downstream");
            }
            Ok(name) if !seen.insert(name.as_str().to_owned()) => {
                scope.refuse(format!("stands here twice, in other letters: `{name}`"), "keep one");
            }
            Ok(_) => {}
        }
        let Some(template) = places.look(text, Place::Text, &scope) else { continue };
        let is_plain = |part: &Part| match part {
            Part::Literal(text) => text.bytes().all(|byte| matches!(byte, b' '..=b'~')),
            Part::Argument(_) => true,
        };
        if !template.parts.iter().all(is_plain) {
            scope.refuse("has a character that no header may have", "visible ASCII and spaces may stand there");
        }
    }
}

fn json(value: &Value, places: &mut Places<'_>, scope: &Scope<'_>) {
    match value {
        Value::String(text) => {
            places.look(text, Place::Json, scope);
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                json(item, places, &scope.index(index));
            }
        }
        Value::Object(members) => {
            for (name, value) in members {
                json(value, places, &scope.key(name));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl Places<'_> {
    /// Takes a text apart and judges the arguments in it.
    fn look(&mut self, text: &str, place: Place, scope: &Scope<'_>) -> Option<Template> {
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(error) => {
                self.unread = true;
                scope.refuse(error, "`{name}` is the place of an argument; `{{` and `}}` stand for braces");
                return None;
            }
        };
        let alone = place == Place::Json && template.parts.len() == 1;
        for name in template.arguments() {
            self.used.insert(name.to_owned());
            if self.listed.contains(&name) {
                self.fits(name, place, alone, scope);
            } else {
                scope.refuse(format!("uses `{{{name}}}`, but there is no argument of this name"), self.instead(name));
            }
        }
        Some(template)
    }

    fn fits(&self, name: &str, place: Place, alone: bool, scope: &Scope<'_>) {
        let Some(argument) = self.tool.arguments.get(name) else { return };
        if matches!(argument.kind, ArgumentType::Array | ArgumentType::Object) && !alone {
            scope.refuse(
                format!("uses `{{{name}}}`, which is of type `{}`", argument.kind.as_str()),
                "that can only stand in a JSON body, as a text of its own",
            );
        }
        if place == Place::Path && !argument.required && argument.default.is_none() {
            scope.refuse(
                format!("uses `{{{name}}}`, which may be left out"),
                "a path cannot lack a part: make the argument required, or give it a `default`",
            );
        }
    }

    fn instead(&self, name: &str) -> String {
        match nearest(name, self.listed.iter().copied()) {
            Some(meant) => format!("did you mean `{{{meant}}}`?"),
            None => format!("list it under `arguments`: `{name}: {{ type: string }}`"),
        }
    }
}
