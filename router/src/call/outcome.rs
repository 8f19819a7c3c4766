//! What the cache was to one call, in the words of audit records and metrics.

use cache::{State, Tier, Uncacheable};

/// What the cache was to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It held the answer.
    Hit(Tier),
    /// It held an old one, which was given.
    Stale(State),
    /// This call fetched.
    Miss,
    /// This call waited for the fetch of another one.
    Coalesced,
    /// It was not asked.
    Bypass(Bypass),
}

/// Why the cache was not asked. There is no bypass without a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Bypass {
    #[error("the tool writes")]
    Write,
    #[error("the config does not say how long its results are kept: state `cache` for the tool")]
    NotDeclared,
    #[error(
        "it is not known what of the caller changes its results: use `sharing: shared` or `per_caller` for the server"
    )]
    CallerInputsUnknown,
    #[error("its results depend on the caller, so they cannot be shared: use `partition: private`")]
    CallerInputs,
    #[error("pseudonyms in its results are for one caller, so they cannot be shared: use `partition: private`")]
    Pseudonyms,
    #[error("the caller has no identity, so its results could be given to anybody")]
    NoIdentity,
    #[error("the caller shows no credential, by which `partition: token` keeps results apart")]
    NoCredential,
    #[error("it says more than a name and arguments: a further round of a call, or a task")]
    FurtherParameters,
    #[error("{0}")]
    Arguments(Uncacheable),
    #[error("an argument that its tags name is missing, or is none that a tag can hold")]
    TagUnresolved,
    #[error("it has a strict tag, which cannot be compared while Redis cannot be reached")]
    RedisGoneStrict,
}

impl Outcome {
    /// The word in audit records and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Hit(Tier::Local) => "hit_local",
            Self::Hit(Tier::Shared) => "hit_shared",
            Self::Stale(state) => state.as_str(),
            Self::Miss => "miss",
            Self::Coalesced => "coalesced",
            Self::Bypass(bypass) => bypass.as_str(),
        }
    }
}

impl Bypass {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Write => "bypass_write",
            Self::NotDeclared => "bypass_not_declared",
            Self::CallerInputsUnknown => "bypass_caller_inputs_unknown",
            Self::CallerInputs => "bypass_caller_inputs",
            Self::Pseudonyms => "bypass_pseudonyms",
            Self::NoIdentity => "bypass_no_identity",
            Self::NoCredential => "bypass_no_credential",
            Self::FurtherParameters => "bypass_further_parameters",
            Self::Arguments(_) => "bypass_arguments",
            Self::TagUnresolved => "bypass_tag_unresolved",
            Self::RedisGoneStrict => "bypass_redis_gone_strict",
        }
    }
}
