use insta::assert_snapshot;

use super::said;

const HOUSE: &str = "downstreams: { crm: { mcp: { websocket: { url: wss://crm.example/mcp } }, tools: { get: { accepts: { /id: cust } } } } }";

/// The same house with these profiles.
fn house(masking: &str, roles: &str) -> String {
    format!("{HOUSE}\npolicy: {{ roles: {{ all: {{ allow: [\"*\"]{roles} }} }} }}\nmasking: {masking}\n")
}

#[test]
fn rules_that_mask_nothing_or_name_what_is_not_there_are_refused() {
    let role = ", masking: low";
    let rules = |rules: &str| house(&format!("{{ profiles: {{ low: {{ rules: [{rules}] }} }} }}"), role);
    let name = "{ path: $..id, with: pseudonym, class: cust }";
    let configs = [
        rules(name),
        rules(&format!("{name}, {{ with: redact }}")),
        rules(&format!("{name}, {{ path: $..a, detect: [email], with: redact }}")),
        rules(&format!("{name}, {{ detect: [emial], with: redact }}")),
        rules(&format!("{name}, {{ path: email, with: redact }}")),
        rules(&format!("{name}, {{ path: '$[?@.a]', with: redact }}")),
        rules(&format!("{name}, {{ path: $..a, with: redact, class: mail }}")),
        rules(&format!("{name}, {{ path: $..a, with: pseudonym }}")),
        rules(&format!("{name}, {{ path: $..a, with: pseudonym, class: A-b }}")),
        rules(&format!("{name}, {{ detect: [email], tools: ['cmr__*'], with: redact }}")),
        rules("{ detect: [email], with: redact }"),
        house(&format!("{{ profiles: {{ low: {{ rules: [{name}] }} }} }}"), ", masking: lo"),
        house(&format!("{{ profiles: {{ low: {{ rules: [{name}] }} }} }}"), ""),
        house(
            &format!("{{ profiles: {{ low: {{ rules: [{name}] }} }}, detectors: {{ a: {{ pattern: '(a)\\1' }} }} }}"),
            role,
        ),
        house(
            &format!("{{ profiles: {{ low: {{ rules: [{name}] }} }}, detectors: {{ a: {{ pattern: '(?=a)' }} }} }}"),
            role,
        ),
        house(
            &format!(
                "{{ profiles: {{ low: {{ rules: [{name}] }} }}, detectors: {{ a: {{ pattern: 'a*' }}, card: {{ pattern: a }} }} }}"
            ),
            role,
        ),
    ];
    let texts: Vec<&str> = configs.iter().map(String::as_str).collect();
    let said = said(&texts).replace(HOUSE, "…");
    assert_snapshot!(said, @r#"
    …
    policy: { roles: { all: { allow: ["*"], masking: low } } }
    masking: { profiles: { low: { rules: [{ path: $..id, with: pseudonym, class: cust }] } } }
      warning 0:0 nobody can use this config: there are no API keys, and the local caller has no role
        help: give `identity.local.roles`, or `identity.api_keys`
    …
    policy: { roles: { all: { allow: ["*"], masking: low } } }
    masking: { profiles: { low: { rules: [{ path: $..id, with: pseudonym, class: cust }, { with: redact }] } } }
      problem 3:86 `masking.profiles.low.rules[1]` says nothing to mask
        help: give it `path: $..email` or `detect: [email]`
    …
    policy: { roles: { all: { allow: ["*"], masking: low } } }
    masking: { profiles: { low: { rules: [{ path: $..id, with: pseudonym, class: cust }, { path: $..a, detect: [email], with: redact }] } } }
      problem 3:86 `masking.profiles.low.rules[1]` has `path` and `detect`
        help: write two rules: one with each
    …
    policy: { roles: { all: { allow: ["*"], masking: low } } }
    masking: { profiles: { low: { rules: [{ path: $..id, with: pseudonym, class: cust }, { detect: [emial], with: redact }] } } }
      problem 3:97 `masking.profiles.low.rules[1].detect[0]` names the detector `emial`, which there is not
        help: did you mean `email`?
    …
    policy: { roles: { all: { allow: ["*"], masking: low } } }
    masking: { profiles: { low: { rules: [{ path: $..id, with: pseudonym, class: cust }, { path: email, with: redact }] } } }
      problem 3:94 `masking.profiles.low.rules[1].path` is no path: it must begin with `$`, which is the whole value
        help: for example `$..email` or `$.rows[*].iban`
    …
    policy: { roles: { all: { allow: ["*"], masking: low } } }
    masking: { profiles: { low: { rules: [{ path: $..id, with: pseudonym, class: cust }, { path: '$[?@.a]', with: redact }] } } }
      problem 3:94 `masking.profiles.low.rules[1].path` is no path: filters (`?`) cannot be used: whether a value is masked must not depend on others
        help: for example `$..email` or `$.rows[*].iban`
    …
    policy: { roles: { all: { allow: ["*"], masking: low } } }
    masking: { profiles: { low: { rules: [{ path: $..id, with: pseudonym, class: cust }, { path: $..a, with: redact, class: mail }] } } }
      problem 3:121 `masking.profiles.low.rules[1].class` is for `with: pseudonym` alone
        help: take it out
    …
    policy: { roles: { all: { allow: ["*"], masking: low } } }
    masking: { profiles: { low: { rules: [{ path: $..id, with: pseudonym, class: cust }, { path: $..a, with: pseudonym }] } } }
      problem 3:86 `masking.profiles.low.rules[1]` has no `class`, so nothing can be named
        help: say what the value is: `class: cust` gives pseudonyms like `cust_7f3ak2m9qx4t`
    …
    policy: { roles: { all: { allow: ["*"], masking: low } } }
    masking: { profiles: { low: { rules: [{ path: $..id, with: pseudonym, class: cust }, { path: $..a, with: pseudonym, class: A-b }] } } }
      problem 3:124 `masking.profiles.low.rules[1].class` is `A-b`, which cannot name a class
        help: use a lower-case letter, then lower-case letters and digits, at most 12 in all: `cust`
    …
    policy: { roles: { all: { allow: ["*"], masking: low } } }
    masking: { profiles: { low: { rules: [{ path: $..id, with: pseudonym, class: cust }, { detect: [email], tools: ['cmr__*'], with: redact }] } } }
      warning 0:0 nobody can use this config: there are no API keys, and the local caller has no role
        help: give `identity.local.roles`, or `identity.api_keys`
      warning 3:113 `masking.profiles.low.rules[1].tools[0]` matches no tool of any downstream: `cmr__*`
        help: names are `<downstream>__<tool>`, so `crm__*` means all tools of `crm`
    …
    policy: { roles: { all: { allow: ["*"], masking: low } } }
    masking: { profiles: { low: { rules: [{ detect: [email], with: redact }] } } }
      problem 1:107 `downstreams.crm.tools.get.accepts./id` takes the class `cust`, which no rule with `with: pseudonym` gives
        help: name the `class` of a rule under `masking.profiles`
    …
    policy: { roles: { all: { allow: ["*"], masking: lo } } }
    masking: { profiles: { low: { rules: [{ path: $..id, with: pseudonym, class: cust }] } } }
      problem 2:50 `policy.roles.all.masking` names the profile `lo`, which `masking.profiles` does not have
        help: did you mean `low`?
    …
    policy: { roles: { all: { allow: ["*"] } } }
    masking: { profiles: { low: { rules: [{ path: $..id, with: pseudonym, class: cust }] } } }
      warning 0:0 nobody can use this config: there are no API keys, and the local caller has no role
        help: give `identity.local.roles`, or `identity.api_keys`
      warning 3:24 `masking.profiles.low` is named by no role, so nobody's answers are masked by it
        help: name it in `policy.roles.<role>.masking`
    …
    policy: { roles: { all: { allow: ["*"], masking: low } } }
    masking: { profiles: { low: { rules: [{ path: $..id, with: pseudonym, class: cust }] } }, detectors: { a: { pattern: '(a)\1' } } }
      problem 3:118 `masking.detectors.a.pattern` is no pattern that takes linear time: backreferences are not supported
        help: look-around and back-references cannot be used, and repetitions must not be huge
    …
    policy: { roles: { all: { allow: ["*"], masking: low } } }
    masking: { profiles: { low: { rules: [{ path: $..id, with: pseudonym, class: cust }] } }, detectors: { a: { pattern: '(?=a)' } } }
      problem 3:118 `masking.detectors.a.pattern` is no pattern that takes linear time: look-around, including look-ahead and look-behind, is not supported
        help: look-around and back-references cannot be used, and repetitions must not be huge
    …
    policy: { roles: { all: { allow: ["*"], masking: low } } }
    masking: { profiles: { low: { rules: [{ path: $..id, with: pseudonym, class: cust }] } }, detectors: { a: { pattern: 'a*' }, card: { pattern: a } } }
      problem 3:118 `masking.detectors.a.pattern` fits a text of nothing, so it would be found everywhere
        help: say what must be there at least
      problem 3:126 `masking.detectors.card` has the name of a detector of Weir's own
        help: choose another name
    "#);
}
