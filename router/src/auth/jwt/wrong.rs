//! Why a token is not accepted.

/// Why a token is not accepted. The words are for metrics and the operator: whoever shows a token hears the same for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::auth) enum Wrong {
    Malformed,
    /// Its algorithm is none that the config accepts, or none that its key is for.
    Algorithm,
    /// It asks for something that must be understood, and is not (RFC 7515, section 4.1.11).
    Critical,
    Issuer,
    /// No key of its issuer has this name.
    UnknownKey,
    Signature,
    /// It is another kind of token: one that says who logged in, one that gets others.
    Kind,
    Expired,
    NotYet,
    Audience,
    /// A claim that is needed is missing, or has another form.
    Claims,
    /// It belongs to the holder of a key, and who shows it has not proven to be that.
    Bound,
    /// It is right, and lacks a scope without which nobody is let in.
    Scope,
    /// The keys of its issuer are not known now.
    NoKeys,
}

impl Wrong {
    /// The word in metrics.
    pub(in crate::auth) fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::Algorithm => "token_algorithm",
            Self::Critical => "token_critical",
            Self::Issuer => "token_issuer",
            Self::UnknownKey => "token_key",
            Self::Signature => "token_signature",
            Self::Kind => "token_kind",
            Self::Expired => "token_expired",
            Self::NotYet => "token_not_yet_valid",
            Self::Audience => "token_audience",
            Self::Claims => "token_claims",
            Self::Bound => "token_bound",
            Self::Scope => "token_scope",
            Self::NoKeys => "issuer_keys_unavailable",
        }
    }
}
