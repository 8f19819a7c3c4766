//! Who may have one and the same answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::Frame;

/// Who may have one and the same answer. Which of these is safe for a tool is not decided here.
pub enum Partition<'a> {
    /// One caller, with the rights he has now.
    Private(Personal<'a>),
    /// One caller, and only with this access token.
    Token { token: &'a [u8], personal: Personal<'a> },
    /// Every caller who has these roles, where the downstream knows none of them: it is called with a credential of the service, and no
    /// value of the caller goes to it, so there is no place for one here.
    Shared { credential: &'a [u8], roles: BTreeSet<&'a str> },
}

/// Everything about a caller that can change an answer.
pub struct Personal<'a> {
    pub identity: Identity<'a>,
    /// Which credential the downstream is called with on his behalf.
    pub credential: &'a [u8],
    /// The roles that count for him.
    pub roles: BTreeSet<&'a str>,
    /// The values that go to the downstream from his identity, by name. One that he does not have is not in it.
    pub inputs: BTreeMap<&'a str, &'a [u8]>,
}

/// Who a caller is.
#[derive(Clone, Copy)]
pub struct Identity<'a> {
    issuer: &'a [u8],
    subject: &'a [u8],
    tenant: Option<&'a [u8]>,
}

impl<'a> Identity<'a> {
    /// `None` without a subject: callers without identity would all be one, and have each other's answers.
    #[must_use]
    pub fn new(issuer: &'a [u8], subject: &'a [u8], tenant: Option<&'a [u8]>) -> Option<Self> {
        (!subject.is_empty()).then_some(Self { issuer, subject, tenant })
    }
}

impl Partition<'_> {
    /// The config's word for it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Private(_) => "private",
            Self::Token { .. } => "token",
            Self::Shared { .. } => "shared",
        }
    }

    pub(super) fn write(&self, frame: &mut Frame) {
        frame.part(self.as_str().as_bytes());
        match self {
            Self::Private(personal) => personal.write(frame),
            Self::Token { token, personal } => {
                frame.part(token);
                personal.write(frame);
            }
            Self::Shared { credential, roles } => {
                frame.part(credential);
                write_roles(roles, frame);
            }
        }
    }
}

impl Personal<'_> {
    fn write(&self, frame: &mut Frame) {
        frame.part(self.identity.issuer);
        frame.part(self.identity.subject);
        frame.count(usize::from(self.identity.tenant.is_some()));
        if let Some(tenant) = self.identity.tenant {
            frame.part(tenant);
        }
        frame.part(self.credential);
        write_roles(&self.roles, frame);
        frame.count(self.inputs.len());
        for (name, value) in &self.inputs {
            frame.part(name.as_bytes());
            frame.part(value);
        }
    }
}

fn write_roles(roles: &BTreeSet<&str>, frame: &mut Frame) {
    frame.count(roles.len());
    for role in roles {
        frame.part(role.as_bytes());
    }
}

/// Tokens, credentials and claims are not shown.
impl fmt::Debug for Partition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partition({}, …)", self.as_str())
    }
}

impl fmt::Debug for Personal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Personal(…)")
    }
}

impl fmt::Debug for Identity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}
