//! What callers, log and audit may not see.
//!
//! An answer is masked once, after it came and before anything keeps it: the cache, the rest of long answers and what is known of writes
//! hold it masked, under keys that change with the rules.

mod answer;
mod audit;
mod detect;
mod masks;
mod names;
mod of_call;
mod place;
mod recur;
mod restore;
mod strategy;
mod walk;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use adapters::Caller;
use aws_lc_rs::{digest, hmac};
use cache::{Pseudonyms, redis::Redis};
use config::masking::Profile;
use indexmap::IndexMap;
use regex::Regex;

use crate::{call::Trail, policy::Grant, seal::Masters};

pub(crate) use audit::AuditMask;
use detect::Detector;
use masks::{Masks, Source};
pub use of_call::Unmaskable;
pub(crate) use of_call::{CallMask, Sight};
pub(crate) use restore::Names;

/// How many sets of rules are kept; beyond it they are made for each call.
const MASKS_MAX: usize = 4096;
/// A value of more bytes has no pseudonym.
const NAMED_BYTES_MAX: usize = 64 << 10;

/// Stands for all that decides what somebody sees of the answers of a tool.
pub(crate) type Print = [u8; 32];

/// By the names of the profiles, and of the tool.
type Made = HashMap<(String, Arc<str>), Arc<Masks>>;

/// The profiles of a config, ready to be applied.
pub(crate) struct Masking {
    profiles: IndexMap<String, Profile>,
    detectors: HashMap<String, Detector>,
    keeper: Keeper,
    made: RwLock<Made>,
    /// For callers who may see everything, and name something by its pseudonym nevertheless.
    nothing: Arc<Masks>,
}

/// What outlives a config: pseudonyms, and the key of hashes.
#[derive(Clone)]
struct Keeper {
    pseudonyms: Arc<Pseudonyms>,
    hash_key: hmac::Key,
}

impl Masking {
    /// The masking of a checked config. Pseudonyms are kept in `state`, where all replicas find them, if there is one.
    pub(crate) fn new(config: &config::Masking, masters: &Masters, state: Option<Redis>) -> Arc<Self> {
        let sealer = masters.store_sealer("masking/pseudonym", NAMED_BYTES_MAX);
        let pseudonyms = Pseudonyms::new(&masters.store_secret("masking/pseudonym/hash"), sealer, state);
        let hash_key = hmac::Key::new(hmac::HMAC_SHA256, &masters.store_secret("masking/hash"));
        Self::of(config, Keeper { pseudonyms: Arc::new(pseudonyms), hash_key })
    }

    /// That of another config, with the same pseudonyms.
    pub(crate) fn succeeding(before: &Self, config: &config::Masking) -> Arc<Self> {
        Self::of(config, before.keeper.clone())
    }

    fn of(config: &config::Masking, keeper: Keeper) -> Arc<Self> {
        let own = Detector::BUILT_IN.into_iter().map(|(name, detector)| (name.to_owned(), detector));
        let configured = config.detectors.iter().map(|(name, detector)| {
            let pattern = Regex::new(&detector.pattern).expect("the patterns of a checked config are right");
            (name.clone(), Detector::Pattern(Arc::new(pattern)))
        });
        Arc::new(Self {
            profiles: config.profiles.clone(),
            detectors: own.chain(configured).collect(),
            nothing: Arc::new(Masks::new("", Vec::new(), false, keeper.hash_key.clone())),
            keeper,
            made: RwLock::default(),
        })
    }

    /// What the caller may see of what comes of one call, in whose arguments it named some values.
    pub(crate) fn sight(&self, grant: &Grant, caller: &Caller, tool: &Arc<str>, names: Names, trail: &Trail) -> Sight {
        let print = self.print(grant, tool);
        let masks = self.masks(grant, tool);
        if masks.is_none() && names.is_empty() {
            return Sight { print, mask: None };
        }
        if let Some(masks) = &masks {
            trail.note(|decisions| decisions.masking = Some(masks.profiles.clone()));
        }
        let masks = masks.unwrap_or_else(|| self.nothing.clone());
        let pseudonyms = self.keeper.pseudonyms.clone();
        let mask = CallMask::new(masks, names, pseudonyms, owner(caller), tool.clone(), trail.clone());
        Sight { print, mask: Some(mask) }
    }

    /// Changes with everything that decides what those see of a tool for whom `grant` allows it.
    pub(crate) fn print(&self, grant: &Grant, tool: &Arc<str>) -> Print {
        if self.profiles.is_empty() {
            return Print::default();
        }
        let mut print = digest::Context::new(&digest::SHA256);
        for profile in grant.maskings() {
            match profile {
                Some(profile) => print.update(self.made(&[profile], tool).revision()),
                None => print.update(b"all"),
            }
        }
        print.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// The rules for a tool by name, as an operator asks for them; `None` where nothing is masked.
    pub(crate) fn explain(&self, grant: &Grant, tool: &Arc<str>) -> Option<Vec<String>> {
        self.masks(grant, tool).map(|masks| masks.names().map(str::to_owned).collect())
    }

    /// What is masked of the answers of a tool for whom `grant` allows it. A role without a profile sees everything, and so does who has it;
    /// of several profiles all count, in the order of the roles.
    fn masks(&self, grant: &Grant, tool: &Arc<str>) -> Option<Arc<Masks>> {
        if self.profiles.is_empty() {
            return None;
        }
        let profiles: Vec<&str> = grant.maskings().collect::<Option<_>>()?;
        (!profiles.is_empty()).then(|| self.made(&profiles, tool))
    }

    fn made(&self, profiles: &[&str], tool: &Arc<str>) -> Arc<Masks> {
        let key = (profiles.join(", "), tool.clone());
        if let Some(masks) = self.made.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return masks.clone();
        }
        let masks = Arc::new(self.make(profiles, &key.0, tool));
        let mut made = self.made.write().unwrap_or_else(PoisonError::into_inner);
        if made.len() < MASKS_MAX {
            made.insert(key, masks.clone());
        }
        masks
    }

    fn make(&self, profiles: &[&str], shown: &str, tool: &str) -> Masks {
        let (mut sources, mut strict, mut seen) = (Vec::new(), false, Vec::new());
        for &name in profiles {
            // Of a profile that there is not nobody knows what it would mask: the check of the config refuses it.
            let Some(profile) = self.profiles.get(name).filter(|_| !seen.contains(&name)) else { continue };
            seen.push(name);
            strict |= profile.strict;
            for (at, rule) in profile.rules.iter().enumerate() {
                if rule.tools.is_empty() || rule.tools.iter().any(|pattern| pattern.matches(tool)) {
                    let detectors = rule.detect.iter().filter_map(|name| self.detectors.get(name).cloned()).collect();
                    sources.push(Source { name: format!("{name}.rules[{at}]"), rule, detectors });
                }
            }
        }
        Masks::new(shown, sources, strict, self.keeper.hash_key.clone())
    }
}

/// Whose pseudonyms: one caller, whatever credential he shows.
fn owner(caller: &Caller) -> Vec<u8> {
    let principal = &caller.principal;
    let tenant = principal.tenant.as_deref();
    let mut owner = vec![u8::from(tenant.is_some())];
    for part in [&*principal.issuer, &*principal.subject, tenant.unwrap_or_default()] {
        // Where a part begins and ends is a part of it.
        owner.extend_from_slice(&(part.len() as u64).to_be_bytes());
        owner.extend_from_slice(part.as_bytes());
    }
    owner
}

impl fmt::Debug for Masking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masking").field("profiles", &self.profiles.keys()).finish_non_exhaustive()
    }
}
