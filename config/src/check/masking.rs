//! `masking`, the profiles that roles name, and the arguments that take pseudonyms.

use regex::RegexBuilder;

use crate::{
    Config,
    masking::{DETECTORS, JsonPath, MaskRule, PATTERN_BYTES_MAX, Strategy},
    nearest::nearest,
};

use super::{Scope, policy::pattern_means_something};

/// What a class of pseudonyms has at most.
const CLASS_LENGTH_MAX: usize = 12;

pub(super) fn masking(config: &Config, root: &Scope<'_>) {
    let masking = root.key("masking");
    let known: Vec<&str> = DETECTORS.into_iter().chain(masking.key("detectors").keys()).collect();
    detectors(config, &masking.key("detectors"));
    let all_downstreams_are_read = root.key("downstreams").keys().len() == config.downstreams.len();
    for (name, profile) in &config.masking.profiles {
        let scope = masking.key("profiles").key(name);
        for (scope, rule) in scope.key("rules").items(&profile.rules) {
            what(rule, &known, &scope);
            class(rule, &scope);
            if all_downstreams_are_read {
                for (scope, pattern) in scope.key("tools").items(&rule.tools) {
                    pattern_means_something(pattern, config, &scope);
                }
            }
        }
    }
    roles(config, root);
    accepts(config, root);
}

fn detectors(config: &Config, scope: &Scope<'_>) {
    for (name, detector) in &config.masking.detectors {
        let scope = scope.key(name);
        if DETECTORS.contains(&name.as_str()) {
            scope.refuse("has the name of a detector of Weir's own", "choose another name");
        }
        // The same engine as later: it knows nothing that takes more than linear time.
        match RegexBuilder::new(&detector.pattern).size_limit(PATTERN_BYTES_MAX).build() {
            Err(error) => {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                scope.key("pattern").refuse(
                    format!("is no pattern that takes linear time: {reason}"),
                    "look-around and back-references cannot be used, and repetitions must not be huge",
                );
            }
            Ok(pattern) if pattern.is_match("") => scope
                .key("pattern")
                .refuse("fits a text of nothing, so it would be found everywhere", "say what must be there at least"),
            Ok(_) => {}
        }
    }
}

fn what(rule: &MaskRule, known: &[&str], scope: &Scope<'_>) {
    let (has_path, has_detectors) = (scope.key("path").given(), scope.key("detect").given());
    match (has_path, has_detectors && !rule.detect.is_empty()) {
        (true, false) | (false, true) => {}
        (true, true) => scope.refuse("has `path` and `detect`", "write two rules: one with each"),
        (false, false) => scope.refuse("says nothing to mask", "give it `path: $..email` or `detect: [email]`"),
    }
    if let Some(Err(wrong)) = rule.path.as_deref().map(JsonPath::parse) {
        scope.key("path").refuse(format!("is no path: {wrong}"), "for example `$..email` or `$.rows[*].iban`");
    }
    for (scope, detector) in scope.key("detect").items(&rule.detect) {
        if !known.contains(&detector.as_str()) {
            let help = match nearest(detector, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}, and what `masking.detectors` defines", DETECTORS.join(", ")),
            };
            scope.refuse(format!("names the detector `{detector}`, which there is not"), help);
        }
    }
}

fn class(rule: &MaskRule, scope: &Scope<'_>) {
    match (&rule.class, rule.with) {
        (None, Strategy::Pseudonym) => scope.refuse(
            "has no `class`, so nothing can be named",
            "say what the value is: `class: cust` gives pseudonyms like `cust_7f3ak2m9qx4t`",
        ),
        (Some(class), Strategy::Pseudonym) => is_class(class, &scope.key("class")),
        (Some(_), _) => scope.key("class").refuse("is for `with: pseudonym` alone", "take it out"),
        (None, _) => {}
    }
}

fn is_class(class: &str, scope: &Scope<'_>) {
    let starts_well = class.starts_with(|first: char| first.is_ascii_lowercase());
    let goes_on_well = class.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !starts_well || !goes_on_well || class.len() > CLASS_LENGTH_MAX {
        scope.refuse(
            format!("is `{class}`, which cannot name a class"),
            format!(
                "use a lower-case letter, then lower-case letters and digits, at most {CLASS_LENGTH_MAX} in all: `cust`"
            ),
        );
    }
}

fn roles(config: &Config, root: &Scope<'_>) {
    let profiles = root.key("masking").key("profiles").keys();
    for (name, role) in &config.policy.roles {
        let scope = root.key("policy").key("roles").key(name).key("masking");
        if let Some(profile) = role.masking.as_deref().filter(|profile| !profiles.contains(profile)) {
            let help = match nearest(profile, profiles.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "define it under `masking.profiles`".to_owned(),
            };
            scope.refuse(format!("names the profile `{profile}`, which `masking.profiles` does not have"), help);
        }
    }
    for profile in profiles {
        if !config.policy.roles.values().any(|role| role.masking.as_deref() == Some(profile)) {
            root.key("masking").key("profiles").key(profile).warn(
                "is named by no role, so nobody's answers are masked by it",
                "name it in `policy.roles.<role>.masking`",
            );
        }
    }
}

/// Classes that are shown and taken back must be the same ones.
fn accepts(config: &Config, root: &Scope<'_>) {
    let rules = || {
        config.masking.profiles.iter().flat_map(|(name, profile)| profile.rules.iter().map(move |rule| (name, rule)))
    };
    let shown: Vec<&str> = rules().filter_map(|(_, rule)| rule.class.as_deref()).collect();
    let mut taken: Vec<&str> = Vec::new();
    for (name, downstream) in &config.downstreams {
        for (tool_name, tool) in &downstream.tools {
            for (pointer, class) in &tool.accepts {
                taken.push(class);
                let scope =
                    root.key("downstreams").key(name.as_str()).key("tools").key(tool_name).key("accepts").key(pointer);
                if !pointer.starts_with('/') {
                    scope.refuse(
                        "is no JSON Pointer (RFC 6901)",
                        "it begins with `/`: `/customer_id`, `/filter/customer_id`",
                    );
                }
                if !shown.contains(&class.as_str()) {
                    scope.refuse(
                        format!("takes the class `{class}`, which no rule with `with: pseudonym` gives"),
                        "name the `class` of a rule under `masking.profiles`",
                    );
                }
            }
        }
    }
    for (name, profile) in &config.masking.profiles {
        for (scope, rule) in root.key("masking").key("profiles").key(name).key("rules").items(&profile.rules) {
            if let Some(class) = rule.class.as_deref().filter(|class| !taken.contains(class)) {
                scope.key("class").warn(
                    format!("is `{class}`, which no tool accepts: its pseudonyms are of no use to a caller"),
                    format!(
                        "say `accepts: {{ /argument: {class} }}` for the tools that take such a value, or use `hash`"
                    ),
                );
            }
        }
    }
}
