//! From the located tree to the typed model. Serde stops at the first mistake, so the offending part is left out and the
//! rest read again, until nothing more is found: that is how all mistakes come out at once.
//!
//! The deserializer is our own because the mistakes are told apart by their kind (unknown key, wrong word, missing key, …)
//! and not by the text of somebody's error message.

mod failure;

use serde::{
    Deserializer,
    de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor},
    forward_to_deserialize_any,
};

use crate::{
    document::{Document, Entry, Node, Value},
    problem::Findings,
};

use failure::{Cause, Failure};

/// Further problems are not looked for.
pub(crate) const PROBLEMS_MAX: usize = 100;

/// Types that hold a secret by reference, with their right form. What stands in their place may be the secret itself.
const SECRETS: [(&str, &str); 2] = [
    ("SecretRef", "a reference to a secret: `{ env: NAME }` or `{ file: PATH }`"),
    (
        "Credential",
        "a credential by reference: `{ bearer: { env: NAME } }` or `{ basic: { user: NAME, password: { env: NAME } } }`",
    ),
];

/// Reads the whole document as a `T` and adds every mistake to `findings`. What is returned lacks the parts that are wrong.
/// Nothing is returned when too little is left.
pub(crate) fn read<T: DeserializeOwned>(document: &mut Document, findings: &mut Findings) -> Option<T> {
    loop {
        let failure = match T::deserialize(Typed { node: &document.root, holds_secret: false }) {
            Ok(value) => return Some(value),
            Err(failure) => failure,
        };
        let path = failure.path();
        failure.report(document, &path, findings);
        if path.is_root() || findings.len() >= PROBLEMS_MAX {
            return None;
        }
        document.node_mut(&path)?.left_out = true;
    }
}

/// A node on its way to becoming a value.
#[derive(Clone, Copy)]
struct Typed<'a> {
    node: &'a Node,
    holds_secret: bool,
}

impl<'a> Typed<'a> {
    fn entries(node: &'a Node) -> Entries<'a> {
        Entries { rest: node.entries().iter(), value: None }
    }

    fn is_section(self) -> bool {
        matches!(self.node.value, Value::Map(_) | Value::Nothing)
    }

    fn fail(self, cause: Cause) -> Failure {
        Failure::new(cause, self.holds_secret)
    }
}

impl<'de> Deserializer<'de> for Typed<'de> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let result = match &self.node.value {
            Value::Nothing => visitor.visit_unit(),
            Value::Boolean(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(Items { rest: items.iter().enumerate() }),
            Value::Map(_) => visitor.visit_map(Self::entries(self.node)),
        };
        result.map_err(|failure| failure.keeping_secret(self.holds_secret))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.node.value {
            Value::Nothing => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    // A list or map of which all lines are comments is an empty one.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.node.value {
            Value::Nothing => visitor.visit_seq(Items { rest: [].iter().enumerate() }),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if !self.is_section() {
            return Err(self.fail(Cause::NotAMap { known: &[] }));
        }
        visitor.visit_map(Self::entries(self.node))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        if !self.is_section() {
            return Err(self.fail(Cause::NotAMap { known }));
        }
        let present = || self.node.entries().iter().filter(|entry| !entry.node.left_out);
        if let Some(unknown) = present().find(|entry| !known.contains(&entry.key.as_str())) {
            return Err(self.fail(Cause::UnknownKey { known }).inside_key(&unknown.key));
        }
        visitor.visit_map(Self::entries(self.node)).map_err(|failure| failure.missing_on_purpose(self.node))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let secret = SECRETS.iter().find(|(secret, _)| *secret == name);
        let this = Self { holds_secret: self.holds_secret || secret.is_some(), ..self };
        match (&self.node.value, secret) {
            (Value::Text(word), None) => visitor
                .visit_enum(IntoDeserializer::<Failure>::into_deserializer(word.as_str()))
                .map_err(|failure| failure.keeping_secret(this.holds_secret)),
            (Value::Map(entries), _) => {
                let mut present = entries.iter().filter(|entry| !entry.node.left_out);
                match (present.next(), present.next()) {
                    (Some(entry), None) if known.contains(&entry.key.as_str()) => {
                        visitor.visit_enum(Choice { entry, holds_secret: this.holds_secret })
                    }
                    (Some(entry), None) => Err(this.fail(Cause::UnknownKey { known }).inside_key(&entry.key)),
                    (None, _) if !entries.is_empty() => Err(this.fail(Cause::Emptied)),
                    _ => Err(this.fail(Cause::NotOneOf { known })),
                }
            }
            (_, Some((_, form))) => Err(this.fail(Cause::Wrong { expected: (*form).to_owned() })),
            (_, None) => Err(this.fail(Cause::UnknownWord { known })),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple
        tuple_struct identifier ignored_any
    }
}

/// The items of a list.
struct Items<'a> {
    rest: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        let Some((index, node)) = self.rest.find(|(_, node)| !node.left_out) else { return Ok(None) };
        seed.deserialize(Typed { node, holds_secret: false }).map(Some).map_err(|failure| failure.inside_index(index))
    }
}

/// The keys and values of a map.
struct Entries<'a> {
    rest: std::slice::Iter<'a, Entry>,
    value: Option<&'a Entry>,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        let Some(entry) = self.rest.find(|entry| !entry.node.left_out) else { return Ok(None) };
        self.value = Some(entry);
        let key = IntoDeserializer::<Failure>::into_deserializer(entry.key.as_str());
        seed.deserialize(key).map(Some).map_err(|failure| failure.about_key().inside_key(&entry.key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let entry = self.value.take().expect("serde asks for a value after its key");
        seed.deserialize(Typed { node: &entry.node, holds_secret: false })
            .map_err(|failure| failure.inside_key(&entry.key))
    }
}

/// One of several kinds, written as a map with one key.
struct Choice<'a> {
    entry: &'a Entry,
    holds_secret: bool,
}

impl<'de> de::EnumAccess<'de> for Choice<'de> {
    type Error = Failure;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Failure> {
        let word = IntoDeserializer::<Failure>::into_deserializer(self.entry.key.as_str());
        let variant = seed.deserialize(word).map_err(Failure::about_key)?;
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for Choice<'de> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        let word = format!("the word `{}` alone", self.entry.key);
        Err(Failure::new(Cause::Wrong { expected: word }, self.holds_secret))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Failure> {
        let typed = Typed { node: &self.entry.node, holds_secret: self.holds_secret };
        let wrong = |failure: Failure| failure.keeping_secret(self.holds_secret).inside_key(&self.entry.key);
        seed.deserialize(typed).map_err(wrong)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, visitor: V) -> Result<V::Value, Failure> {
        let typed = Typed { node: &self.entry.node, holds_secret: self.holds_secret };
        typed.deserialize_seq(visitor).map_err(|failure| failure.inside_key(&self.entry.key))
    }

    fn struct_variant<V: Visitor<'de>>(self, known: &'static [&'static str], visitor: V) -> Result<V::Value, Failure> {
        let typed = Typed { node: &self.entry.node, holds_secret: self.holds_secret };
        typed.deserialize_struct("", known, visitor).map_err(|failure| failure.inside_key(&self.entry.key))
    }
}
