//! What `weir check` says of a policy: conditions that make no sense, tests that do not come out, and what deserves a look.

use adapters::{AuthMethod, Caller, Principal};
use config::{KeyRecord, Loaded, Problem, Step, policy::PolicyTest};
use jiff::Timestamp;

use super::{Asked, Asker, Policy, lints};

/// Everything that is wrong with the policy of a config, and everything that deserves a look. `keys` are the API keys there are; `None` where they
/// cannot be read.
#[must_use]
pub fn check(loaded: &Loaded, keys: Option<&[KeyRecord]>) -> (Vec<Problem>, Vec<Problem>) {
    let config = &loaded.config;
    let problems = match Policy::new(config) {
        Err(mistakes) => mistakes.iter().map(|mistake| condition(loaded, mistake)).collect(),
        Ok(policy) => tests(loaded, &policy),
    };
    let lints = lints::lints(config, keys);
    let warnings = lints.iter().map(|lint| {
        let steps: Vec<Step<'_>> =
            lint.at.iter().map(|key| Step::Key(key)).chain(lint.index.map(Step::Index)).collect();
        loaded.problem_in(&steps, &lint.what, Some(&lint.help))
    });
    (problems, warnings.collect())
}

fn condition(loaded: &Loaded, (role, at, mistake): &(String, usize, String)) -> Problem {
    let steps = [
        Step::Key("policy"),
        Step::Key("roles"),
        Step::Key(role),
        Step::Key("conditions"),
        Step::Index(*at),
        Step::Key("when"),
    ];
    let help = "docs/policy.md says what conditions can ask";
    loaded.problem_in(&steps, &format!("the condition {mistake}"), Some(help))
}

/// Runs the tests that the config has of its policy.
fn tests(loaded: &Loaded, policy: &Policy) -> Vec<Problem> {
    let all = loaded.config.policy.tests.iter().enumerate();
    all.flat_map(|(at, test)| {
        let named = test.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        failures(loaded, policy, test).into_iter().map(move |(list, index, told)| {
            let steps = [Step::Key("policy"), Step::Key("tests"), Step::Index(at), Step::Key(list), Step::Index(index)];
            loaded.problem_in(&steps, &format!("{named}{told}"), None)
        })
    })
    .collect()
}

/// What does not come out as the test says: the list, the place in it, and what was decided.
fn failures(loaded: &Loaded, policy: &Policy, test: &PolicyTest) -> Vec<(&'static str, usize, String)> {
    let caller = caller(test);
    // That it is one was checked with the config.
    let now = test.time.as_deref().and_then(|time| time.parse().ok()).unwrap_or_else(Timestamp::now);
    let view = test.view.as_deref().and_then(|name| policy.view(name)).map(|view| &**view);
    let arguments = serde_json::to_string(&test.arguments).expect("JSON has a JSON text");
    let tool = |name: &str| {
        let tool = asked(loaded, name);
        let arguments = crate::call::with_defaults(tool.1, Some(&arguments.clone().into()));
        let arguments = std::str::from_utf8(&arguments).unwrap_or_default().to_owned();
        let decision = policy.decide(Asker { caller: &caller, now }, tool.0, view, &arguments);
        (decision.grant.is_some(), decision.because())
    };
    let roles = policy.roles_of(&caller);
    let by_rule = |rule: Option<super::Rule>| match rule {
        Some(rule) => (true, format!("allowed by `{rule}`")),
        None => (false, "denied: none of the roles has a pattern for it".to_owned()),
    };
    let resource = |uri: &str| by_rule(policy.resource_rule(roles, uri));
    let prompt = |name: &str| by_rule(policy.prompt_rule(roles, name));
    type Decide<'d> = &'d dyn Fn(&str) -> (bool, String);
    let lists: [(&str, &[String], bool, Decide<'_>); 6] = [
        ("allowed", &test.allowed, true, &tool),
        ("denied", &test.denied, false, &tool),
        ("allowed_resources", &test.allowed_resources, true, &resource),
        ("denied_resources", &test.denied_resources, false, &resource),
        ("allowed_prompts", &test.allowed_prompts, true, &prompt),
        ("denied_prompts", &test.denied_prompts, false, &prompt),
    ];
    let mut failed = Vec::new();
    for (list, names, expected, decide) in lists {
        for (index, name) in names.iter().enumerate() {
            let (is_allowed, because) = decide(name);
            if is_allowed != expected {
                failed.push((list, index, format!("`{name}` is {because}")));
            }
        }
    }
    failed
}

/// The tool of this name, as far as the config alone knows it: the tools of an MCP server are known when it lists them.
fn asked<'a>(loaded: &'a Loaded, name: &'a str) -> (Asked<'a>, Option<&'a config::Tool>) {
    let config = &loaded.config;
    let found = config.downstreams.iter().find_map(|(downstream, settings)| {
        let local = if config.names.prefix {
            name.strip_prefix(downstream.as_str())?.strip_prefix(crate::SEPARATOR)?
        } else {
            settings.tools.get_key_value(name)?.0.as_str()
        };
        Some(((downstream.as_str(), settings.effect_of(local)), settings.tools.get(local)))
    });
    let (place, tool) = found.unzip();
    (Asked { name, place }, tool.flatten())
}

fn caller(test: &PolicyTest) -> Caller {
    let local = Caller::local(&test.roles);
    let subject = test.subject.as_deref().map_or_else(|| local.principal.subject.clone(), Into::into);
    let tenant = test.tenant.as_deref().map(Into::into);
    Caller {
        principal: Principal { subject, tenant, ..local.principal },
        claims: test.claims.clone().into(),
        address: test.address,
        method: if test.subject.is_some() { AuthMethod::ApiKey } else { AuthMethod::Local },
        ..local
    }
}
