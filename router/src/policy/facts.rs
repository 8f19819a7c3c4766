//! What conditions are judged by: the caller, the arguments, the tool and the time, each made into values only where an expression names
//! it.
//!
//! Numbers are taken from the caller's own text. CEL knows whole numbers of 64 bits and doubles; who receives the call may read the same
//! digits as another number than a double can hold. So a number that a double does not hold exactly is not judged at all.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use adapters::{
    Caller,
    json::{self, Object},
};
use cel::{
    Value,
    objects::{Key, Map},
};
use config::Effect;
use jiff::{Timestamp, tz::TimeZone};

use super::tree::{Members, Mentions};

/// How many bytes of arguments, or of a caller's claims, one condition looks at.
pub(super) const BYTES_MAX: usize = 64 * 1024;
/// How many values stand in them.
pub(super) const VALUES_MAX: usize = 2048;
/// How deep they nest.
const DEPTH_MAX: usize = 32;
/// A double holds every whole number up to this one.
const WHOLE_MAX: i64 = 1 << 53;
/// A double holds every decimal of so many digits so that it can be told from all others.
const DIGITS_MAX: usize = 15;

/// The function that asks whether an address lies in a network.
pub(super) const NETWORK_FUNCTION: &str = "in_network";
/// The members of `caller`,
pub(super) const CALLER: [&str; 7] = ["subject", "issuer", "tenant", "roles", "claims", "method", "address"];
/// of `tool`,
pub(super) const TOOL: [&str; 3] = ["name", "downstream", "effect"];
/// and of `time`.
pub(super) const TIME: [&str; 5] = ["hour", "minute", "weekday", "date", "unix"];

/// Why a condition does not hold. Nothing of what was asked for is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unheld {
    /// It was worked out.
    False,
    /// It could not be: something it names is missing, or of another type.
    Failed,
    /// It comes to something else than true or false.
    NotBoolean,
    /// A number in what it names cannot be judged exactly.
    Inexact,
    /// What it names is too large to be judged.
    TooLarge,
}

impl Unheld {
    /// The word in audit records.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::False => "false",
            Self::Failed => "cannot be worked out: something is missing, or of another type",
            Self::NotBoolean => "is neither true nor false",
            Self::Inexact => "a number cannot be judged exactly",
            Self::TooLarge => "what it names is too large to be judged",
        }
    }
}

/// The tool that somebody asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// Its shown name.
    pub(crate) name: &'a str,
    /// Where it is, and what it does, where that is known.
    pub(crate) place: Option<(&'a str, Effect)>,
}

/// All that can be known when a condition is judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) caller: &'a Caller,
    pub(super) tool: Asked<'a>,
    /// The text of the arguments object; `None` before a call is made.
    pub(super) arguments: Option<&'a str>,
    pub(super) now: Timestamp,
    pub(super) time_zone: &'a TimeZone,
}

impl Facts<'_> {
    /// The values of the variables that an expression names.
    pub(super) fn values(&self, mentions: &Mentions) -> Result<Vec<(&'static str, Value)>, Unheld> {
        let mut values = Vec::with_capacity(4);
        if let Some(members) = &mentions.caller {
            values.push(("caller", self.caller_value(members, mentions.claims.as_ref())?));
        }
        if let Some(members) = &mentions.arguments {
            let text = self.arguments.ok_or(Unheld::Failed)?;
            values.push(("arguments", members_value(text, members)?));
        }
        if mentions.tool.is_some() {
            let place = self
                .tool
                .place
                .map(|(downstream, effect)| [("downstream", text(downstream)), ("effect", text(effect.as_str()))]);
            let name = ("name", text(self.tool.name));
            values.push(("tool", map(place.into_iter().flatten().chain([name]))));
        }
        if mentions.time.is_some() {
            values.push(("time", self.time_value()));
        }
        Ok(values)
    }

    /// What is not known of a caller is missing, so that whatever asks for it does not hold.
    fn caller_value(&self, members: &BTreeSet<Box<str>>, named: Option<&Members>) -> Result<Value, Unheld> {
        let Caller { principal, roles, claims, method, address, .. } = self.caller;
        let mut caller = Vec::with_capacity(members.len());
        for member in members {
            let value = match &**member {
                "subject" => Some(text(&principal.subject)),
                "issuer" => Some(text(&principal.issuer)),
                "tenant" => principal.tenant.as_deref().map(text),
                "roles" => Some(Value::List(Arc::new(roles.iter().map(|role| text(role)).collect()))),
                "method" => Some(text(method.as_str())),
                "address" => address.map(|address| text(&address.to_canonical().to_string())),
                // Below, with those of the claims that are named.
                _ => None,
            };
            caller.extend(value.map(|value| (&**member, value)));
        }
        if let Some(named) = named {
            let claims = serde_json::to_string(&**claims).map_err(|_| Unheld::Failed)?;
            caller.push(("claims", members_value(&claims, named)?));
        }
        Ok(map(caller))
    }

    fn time_value(&self) -> Value {
        let here = self.now.to_zoned(self.time_zone.clone());
        let weekday = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
            [usize::try_from(here.weekday().to_monday_zero_offset()).expect("there are seven, from zero on")];
        map([
            ("hour", Value::Int(here.hour().into())),
            ("minute", Value::Int(here.minute().into())),
            ("weekday", text(weekday)),
            ("date", text(&here.date().to_string())),
            ("unix", Value::Int(self.now.as_second())),
        ])
    }
}

/// Those members of an object that are named.
fn members_value(whole: &str, members: &Members) -> Result<Value, Unheld> {
    let names = match members {
        Members::All => return Reader::new(whole)?.value(whole, 0),
        Members::Named(names) => names,
    };
    let object = Object::parse(whole).ok_or(Unheld::Failed)?;
    let named: Vec<_> = object.iter().filter(|(name, _)| names.contains(&**name)).collect();
    let mut reader = Reader::new("")?;
    let mut bytes = 0;
    let mut values = HashMap::with_capacity(named.len());
    for (name, member) in named {
        bytes += member.len();
        if bytes > BYTES_MAX {
            return Err(Unheld::TooLarge);
        }
        values.insert(Key::String(Arc::new(name.into_owned())), reader.value(member, 1)?);
    }
    Ok(Value::Map(Map { map: Arc::new(values) }))
}

/// Makes values of JSON text, and counts them.
struct Reader {
    left: usize,
}

impl Reader {
    fn new(text: &str) -> Result<Self, Unheld> {
        if text.len() > BYTES_MAX { Err(Unheld::TooLarge) } else { Ok(Self { left: VALUES_MAX }) }
    }

    fn value(&mut self, text: &str, depth: usize) -> Result<Value, Unheld> {
        self.left = self.left.checked_sub(1).ok_or(Unheld::TooLarge)?;
        if depth > DEPTH_MAX {
            return Err(Unheld::TooLarge);
        }
        match text.as_bytes().first() {
            Some(b'{') => {
                let object = Object::parse(text).ok_or(Unheld::Failed)?;
                let mut members = HashMap::new();
                for (name, value) in object.iter() {
                    members.insert(Key::String(Arc::new(name.into_owned())), self.value(value, depth + 1)?);
                }
                Ok(Value::Map(Map { map: Arc::new(members) }))
            }
            Some(b'[') => {
                let items: Vec<&serde_json::value::RawValue> =
                    serde_json::from_str(text).map_err(|_| Unheld::Failed)?;
                let values: Result<Vec<Value>, Unheld> =
                    items.iter().map(|item| self.value(item.get(), depth + 1)).collect();
                Ok(Value::List(Arc::new(values?)))
            }
            Some(b'"') => Ok(Value::String(Arc::new(json::unquote(text).ok_or(Unheld::Failed)?.into_owned()))),
            Some(b't') => Ok(Value::Bool(true)),
            Some(b'f') => Ok(Value::Bool(false)),
            Some(b'n') => Ok(Value::Null),
            _ => number(text).ok_or(Unheld::Inexact),
        }
    }
}

/// A number as CEL holds it; `None` for one that it would round. As JSON Schema has it, `5.0` and `5e0` are the whole number 5.
fn number(text: &str) -> Option<Value> {
    let whole = |number: i64| (-WHOLE_MAX..=WHOLE_MAX).contains(&number).then_some(Value::Int(number));
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return whole(text.parse().ok()?);
    }
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_matches('0');
    let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite())?;
    if digits.is_empty() {
        return Some(Value::Int(0));
    }
    if digits.len() > DIGITS_MAX || !number.is_normal() {
        return None;
    }
    if number.fract() != 0.0 {
        return Some(Value::Float(number));
    }
    // The cast is exact below the bound, and a number beyond it is caught by it.
    if number.abs() <= WHOLE_MAX as f64 { whole(number as i64) } else { None }
}

fn text(text: &str) -> Value {
    Value::String(Arc::new(text.to_owned()))
}

fn map<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let members = members.into_iter().map(|(name, value)| (Key::String(Arc::new(name.to_owned())), value));
    Value::Map(Map { map: Arc::new(members.collect()) })
}
