//! What a request says of its signature: `Signature-Input` and `Signature` (RFC 9421, section 4).

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, FieldType as _, InnerList, ListEntry, Parser};

/// Longer headers are not looked into.
const HEADER_BYTES_MAX: usize = 4 << 10;
/// How many components one signature covers.
const COMPONENTS_MAX: usize = 32;
/// The longest nonce or id of a key.
const NAME_BYTES_MAX: usize = 256;

/// The one signature of a request, as it is written. Nothing of it is proven.
#[derive(Debug)]
pub(super) struct Parameters {
    /// What it covers, each once.
    pub(super) components: Vec<String>,
    /// The value of `@signature-params`.
    pub(super) written: String,
    pub(super) created_s: i64,
    pub(super) expires_s: i64,
    pub(super) nonce: String,
    pub(super) key_id: String,
    pub(super) signature: Vec<u8>,
}

impl Parameters {
    /// Those of a request; `None` where it has no signature.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, &'static str> {
        let (input, signature) = (one(headers, "signature-input")?, one(headers, "signature")?);
        match (input, signature) {
            (None, None) => Ok(None),
            (Some(input), Some(signature)) => Self::read(input, signature).map(Some),
            _ => Err("A signed request has both Signature-Input and Signature."),
        }
    }

    fn read(input: &[u8], signature: &[u8]) -> Result<Self, &'static str> {
        const ONE: &str =
            "A signed request has exactly one signature, with the same label in Signature-Input and Signature.";
        let dictionary = |value: &[u8]| Parser::new(value).parse::<Dictionary>().map_err(|_| UNREADABLE);
        let (mut input, mut signature) = (dictionary(input)?, dictionary(signature)?);
        if input.len() != 1 || signature.len() != 1 {
            return Err(ONE);
        }
        let ((label, input), (label_too, signature)) = (input.pop().ok_or(ONE)?, signature.pop().ok_or(ONE)?);
        let ListEntry::InnerList(input) = input else { return Err(UNREADABLE) };
        let ListEntry::Item(signature) = signature else { return Err(UNREADABLE) };
        let BareItem::ByteSequence(signature_bytes) = signature.bare_item else { return Err(UNREADABLE) };
        if label != label_too || !signature.params.is_empty() {
            return Err(ONE);
        }
        Self::checked(input, signature_bytes)
    }

    fn checked(input: InnerList, signature: Vec<u8>) -> Result<Self, &'static str> {
        let components = components(&input)?;
        let (mut created, mut expires, mut nonce, mut key_id) = (None, None, None, None);
        for (name, value) in &input.params {
            match (name.as_str(), value) {
                ("created", BareItem::Integer(at)) => created = Some(i64::from(*at)),
                ("expires", BareItem::Integer(at)) => expires = Some(i64::from(*at)),
                ("nonce", BareItem::String(text)) => nonce = Some(text.as_str().to_owned()),
                ("keyid", BareItem::String(text)) => key_id = Some(text.as_str().to_owned()),
                ("alg", BareItem::String(text)) if text.as_str() == "hmac-sha256" => {}
                ("alg", _) => return Err("The algorithm of the signature must be hmac-sha256."),
                ("tag", BareItem::String(_)) => {}
                _ => return Err("The signature has a parameter that is not known here, or not of the right kind."),
            }
        }
        const NEEDED: &str = "The signature needs the parameters `created`, `expires`, `nonce` and `keyid`.";
        let is_name = |name: &String| !name.is_empty() && name.len() <= NAME_BYTES_MAX;
        let written = vec![ListEntry::InnerList(input)].serialize().ok_or(UNREADABLE)?;
        Ok(Self {
            components,
            written,
            created_s: created.ok_or(NEEDED)?,
            expires_s: expires.ok_or(NEEDED)?,
            nonce: nonce.filter(is_name).ok_or(NEEDED)?,
            key_id: key_id.filter(is_name).ok_or(NEEDED)?,
            signature,
        })
    }

    pub(super) fn covers(&self, component: &str) -> bool {
        self.components.iter().any(|covered| covered == component)
    }
}

const UNREADABLE: &str = "Signature-Input or Signature is not written as RFC 9421 says.";

fn components(input: &InnerList) -> Result<Vec<String>, &'static str> {
    if input.items.len() > COMPONENTS_MAX {
        return Err("The signature covers more than 32 components.");
    }
    let mut components: Vec<String> = Vec::with_capacity(input.items.len());
    for item in &input.items {
        let BareItem::String(name) = &item.bare_item else { return Err(UNREADABLE) };
        if !item.params.is_empty() {
            return Err("Components with parameters, such as ;sf, ;bs, ;key, ;req and ;tr, are not taken.");
        }
        if components.iter().any(|before| before == name.as_str()) {
            return Err("The signature covers a component twice.");
        }
        components.push(name.as_str().to_owned());
    }
    Ok(components)
}

/// The value of a header that may be there once.
fn one<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a [u8]>, &'static str> {
    let mut values = headers.get_all(HeaderName::from_static(name)).iter();
    let (value, another) = (values.next(), values.next());
    if another.is_some() || value.is_some_and(|value| value.len() > HEADER_BYTES_MAX) {
        return Err("Signature-Input and Signature are there once each, and no longer than 4096 bytes.");
    }
    Ok(value.map(http::HeaderValue::as_bytes))
}
