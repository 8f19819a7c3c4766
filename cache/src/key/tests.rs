use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::{Canonical, Identity, Key, KeyMaker, Mask, Partition, Parts, Personal};

const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

/// The parts of one call, each of which a test may change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Call {
    downstream: String,
    config_revision: Vec<u8>,
    tool: String,
    definition: Vec<u8>,
    arguments: String,
    partition: Scope,
    mask: Option<(String, Vec<u8>)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Scope {
    Private(Person),
    Token(Vec<u8>, Person),
    Shared(Vec<u8>, BTreeSet<String>),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Person {
    issuer: Vec<u8>,
    subject: Vec<u8>,
    tenant: Option<Vec<u8>>,
    credential: Vec<u8>,
    roles: BTreeSet<String>,
    inputs: BTreeMap<String, Vec<u8>>,
}

impl Person {
    fn personal(&self) -> Personal<'_> {
        Personal {
            identity: Identity::new(&self.issuer, &self.subject, self.tenant.as_deref()).expect("a subject"),
            credential: &self.credential,
            roles: self.roles.iter().map(String::as_str).collect(),
            inputs: self.inputs.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect(),
        }
    }
}

impl Call {
    fn key(&self) -> Key {
        self.key_by(&KeyMaker::new(SECRET))
    }

    fn key_by(&self, maker: &KeyMaker) -> Key {
        let partition = match &self.partition {
            Scope::Private(person) => Partition::Private(person.personal()),
            Scope::Token(token, person) => Partition::Token { token, personal: person.personal() },
            Scope::Shared(credential, roles) => {
                Partition::Shared { credential, roles: roles.iter().map(String::as_str).collect() }
            }
        };
        maker.key(&Parts {
            downstream: &self.downstream,
            config_revision: &self.config_revision,
            tool: &self.tool,
            definition: &self.definition,
            arguments: &Canonical::of(self.arguments.as_bytes()).expect("JSON"),
            partition: &partition,
            mask: self.mask.as_ref().map(|(profile, revision)| Mask { profile, revision }),
        })
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut changed = self.clone();
        change(&mut changed);
        changed
    }

    fn with_person(&self, change: impl FnOnce(&mut Person)) -> Self {
        self.with(|call| match &mut call.partition {
            Scope::Private(person) | Scope::Token(_, person) => change(person),
            Scope::Shared(..) => unreachable!("a shared scope has no person"),
        })
    }
}

fn person() -> Person {
    Person {
        issuer: b"https://login.example".to_vec(),
        subject: b"alice".to_vec(),
        tenant: Some(b"north".to_vec()),
        credential: b"service".to_vec(),
        roles: ["reader", "support"].map(str::to_owned).into(),
        inputs: [("branch".to_owned(), b"12".to_vec()), ("desk".to_owned(), b"3".to_vec())].into(),
    }
}

fn call() -> Call {
    Call {
        downstream: "mainframe".to_owned(),
        config_revision: b"r1".to_vec(),
        tool: "get_account".to_owned(),
        definition: b"d1".to_vec(),
        arguments: r#"{"id":7,"at":null}"#.to_owned(),
        partition: Scope::Private(person()),
        mask: Some(("strict".to_owned(), b"m1".to_vec())),
    }
}

/// Replicas of two versions must not disagree on what a format is: whoever changes what goes into a key raises `FORMAT` and then this
/// value, which another program computed from the description of the format.
#[test]
fn the_format_is_what_it_was() {
    let hex: String = call().key().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "406658d0e8046dd315c8b1ab1c973fd1cb47380f3712fcbb012673559cba3ff9");
}

#[test]
fn a_key_goes_by_what_the_arguments_mean() {
    let respelled = call().with(|call| call.arguments = "{ \"at\": null, \"\\u0069d\": 70e-1 }".to_owned());
    assert_eq!(respelled.key(), call().key());
}

#[test]
fn every_part_makes_another_key() {
    let base = call();
    let roles = |roles: &[&str]| roles.iter().map(|&role| role.to_owned()).collect::<BTreeSet<_>>();
    let calls = [
        base.clone(),
        base.with(|call| call.downstream = "tickets".to_owned()),
        base.with(|call| call.config_revision = b"r2".to_vec()),
        base.with(|call| call.tool = "get_accounts".to_owned()),
        base.with(|call| call.definition = b"d2".to_vec()),
        base.with(|call| call.arguments = r#"{"id":7}"#.to_owned()),
        base.with(|call| call.arguments = r#"{"id":"7","at":null}"#.to_owned()),
        base.with_person(|person| person.issuer = b"https://login.other".to_vec()),
        base.with_person(|person| person.subject = b"bob".to_vec()),
        base.with_person(|person| person.tenant = Some(b"south".to_vec())),
        base.with_person(|person| person.tenant = Some(vec![])),
        base.with_person(|person| person.tenant = None),
        base.with_person(|person| person.credential = b"alice's".to_vec()),
        base.with_person(|person| person.roles = roles(&["reader"])),
        base.with_person(|person| person.roles = roles(&[])),
        base.with_person(|person| person.roles = roles(&["readersupport"])),
        base.with_person(|person| person.inputs.clear()),
        base.with_person(|person| drop(person.inputs.insert("branch".to_owned(), b"13".to_vec()))),
        base.with_person(|person| drop(person.inputs.insert("branch".to_owned(), b"".to_vec()))),
        base.with_person(|person| drop(person.inputs.remove("branch"))),
        base.with_person(|person| {
            person.inputs = [("branch".to_owned(), b"3".to_vec()), ("desk".to_owned(), b"12".to_vec())].into();
        }),
        base.with_person(|person| {
            person.inputs = [("branch".to_owned(), b"12".to_vec()), ("disk".to_owned(), b"3".to_vec())].into();
        }),
        base.with(|call| call.partition = Scope::Token(b"t1".to_vec(), person())),
        base.with(|call| call.partition = Scope::Token(b"t2".to_vec(), person())),
        base.with(|call| call.partition = Scope::Token(b"".to_vec(), person())),
        base.with(|call| call.partition = Scope::Token(b"t1".to_vec(), person()))
            .with_person(|person| person.subject = b"bob".to_vec()),
        base.with(|call| call.partition = Scope::Shared(b"service".to_vec(), roles(&["reader", "support"]))),
        base.with(|call| call.partition = Scope::Shared(b"service".to_vec(), roles(&["reader"]))),
        base.with(|call| call.partition = Scope::Shared(b"service 2".to_vec(), roles(&["reader"]))),
        base.with(|call| call.mask = Some(("loose".to_owned(), b"m1".to_vec()))),
        base.with(|call| call.mask = Some(("strict".to_owned(), b"m2".to_vec()))),
        base.with(|call| call.mask = Some((String::new(), vec![]))),
        base.with(|call| call.mask = None),
    ];
    let mut seen = HashMap::new();
    for call in &calls {
        if let Some(other) = seen.insert(call.key(), call) {
            panic!("one key for {call:?} and {other:?}");
        }
    }
}

#[test]
fn another_secret_makes_other_keys() {
    assert_eq!(call().key_by(&KeyMaker::new(SECRET)), call().key());
    assert_ne!(call().key_by(&KeyMaker::new(b"another secret that has 32 bytes")), call().key());
}

#[test]
fn a_caller_without_a_subject_has_no_identity() {
    assert!(Identity::new(b"issuer", b"", Some(b"tenant")).is_none());
    assert!(Identity::new(b"", b"subject", None).is_some());
}

#[test]
fn nothing_secret_is_shown() {
    let key = call().key();
    let [a, b, c, d, ..] = key.as_bytes();
    let short = format!("{a:02x}{b:02x}{c:02x}{d:02x}…");
    assert_eq!(format!("{key} {key:?}"), format!("{short} Key({short})"));
    assert_eq!(format!("{:?}", KeyMaker::new(SECRET)), "KeyMaker(…)");
    let person = person();
    assert_eq!(format!("{:?} {:?}", person.personal(), person.personal().identity), "Personal(…) Identity(…)");
    let token = Partition::Token { token: b"hunter2", personal: person.personal() };
    assert_eq!(format!("{token:?}"), "Partition(token, …)");
}

/// What a call has of the parts that may be missing or many.
#[derive(Debug, Clone, Copy)]
struct Shape {
    scope: usize,
    has_tenant: bool,
    roles: usize,
    inputs: usize,
    is_masked: bool,
}

/// A call out of pieces of one and the same text, in the order in which they go into the key.
fn call_of_pieces(shape: Shape, cuts: &[usize]) -> Call {
    const TEXT: &str = "abcdefghijkl";
    let personal = if shape.scope < 2 { 2 + usize::from(shape.has_tenant) + 2 * shape.inputs } else { 0 };
    let count = 4 + usize::from(shape.scope == 1) + personal + 1 + shape.roles + 2 * usize::from(shape.is_masked);
    let mut cuts = cuts[..count - 1].to_vec();
    cuts.sort_unstable();
    let starts = [0].into_iter().chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([TEXT.len()]);
    let mut pieces = starts.zip(ends).map(|(start, end)| TEXT[start..end].to_owned());
    let mut text = || pieces.next().expect("as many as were counted");

    let (downstream, config_revision) = (text(), text().into_bytes());
    let (tool, definition) = (text(), text().into_bytes());
    let person = |text: &mut dyn FnMut() -> String| Person {
        issuer: text().into_bytes(),
        subject: text().into_bytes(),
        tenant: shape.has_tenant.then(|| text().into_bytes()),
        credential: text().into_bytes(),
        roles: (0..shape.roles).map(|_| text()).collect(),
        inputs: (0..shape.inputs).map(|_| (text(), text().into_bytes())).collect(),
    };
    let partition = match shape.scope {
        0 => Scope::Private(person(&mut text)),
        1 => Scope::Token(text().into_bytes(), person(&mut text)),
        _ => Scope::Shared(text().into_bytes(), (0..shape.roles).map(|_| text()).collect()),
    };
    let mask = shape.is_masked.then(|| (text(), text().into_bytes()));
    Call { downstream, config_revision, tool, definition, arguments: "{}".to_owned(), partition, mask }
}

fn has_subject(call: &Call) -> bool {
    match &call.partition {
        Scope::Private(person) | Scope::Token(_, person) => !person.subject.is_empty(),
        Scope::Shared(..) => true,
    }
}

prop_compose! {
    fn any_shape()(scope in 0..3_usize, has_tenant: bool, roles in 0..4_usize, inputs in 0..3_usize, is_masked: bool) -> Shape {
        Shape { scope, has_tenant, roles, inputs, is_masked }
    }
}

fn any_cuts() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(0..=12_usize, 20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, max_global_rejects: 20_000, ..ProptestConfig::default() })]

    /// The bytes of all parts, one after the other, are the same in every call here: only boundaries and counts tell them apart.
    #[test]
    fn no_boundary_between_parts_can_be_moved(
        (one, other) in prop_oneof![
            (any_shape(), any_cuts(), any_cuts()).prop_map(|(shape, one, other)| ((shape, one), (shape, other))),
            (any_shape(), any_shape(), any_cuts()).prop_map(|(one, other, cuts)| ((one, cuts.clone()), (other, cuts))),
        ],
    ) {
        let (one, other) = (call_of_pieces(one.0, &one.1), call_of_pieces(other.0, &other.1));
        prop_assume!(has_subject(&one) && has_subject(&other));
        prop_assert_eq!(one.key() == other.key(), one == other, "{:?} and {:?}", one, other);
    }
}
