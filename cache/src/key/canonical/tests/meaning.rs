//! What JSON means, apart from how it is spelled; written without a look at the code under test.

use std::collections::BTreeMap;

use proptest::prelude::*;

/// Characters that JSON, RFC 8785 or UTF-16 treats in a way of their own, and neighbours of such.
pub(super) const SPECIAL: &str = "\
    ab1/\"\\\0\u{1}\u{8}\t\n\u{b}\u{c}\r\u{1f}\u{7f}\
    \u{e9}\u{301}\u{2028}\u{d7ff}\u{e000}\u{fb33}\u{ffff}\u{10000}\u{1f600}\u{10ffff}";

/// Equal exactly if the JSON means the same.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Meaning {
    Null,
    Bool(bool),
    Number(Decimal),
    Text(String),
    Array(Vec<Meaning>),
    Object(BTreeMap<String, Meaning>),
}

/// `unscaled` times ten to `exponent`; `unscaled` is 0, with the exponent 0, or ends in another digit, so that no value has two of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Decimal {
    negative: bool,
    unscaled: u128,
    exponent: i32,
}

impl Decimal {
    fn new(negative: bool, mut unscaled: u128, mut exponent: i32) -> Self {
        if unscaled == 0 {
            exponent = 0;
        }
        while unscaled > 0 && unscaled.is_multiple_of(10) {
            unscaled /= 10;
            exponent += 1;
        }
        Self { negative, unscaled, exponent }
    }

    fn spelled(self, dice: &mut Dice) -> String {
        let mut digits = self.unscaled.to_string();
        let zeros_added = dice.roll(4);
        digits.push_str(&"0".repeat(zeros_added));
        let places = dice.roll(digits.len() + 4);
        let mut exponent = self.exponent - zeros_added as i32 + places as i32;
        if self.unscaled == 0 {
            exponent = dice.roll(40) as i32 - 20;
        }
        while digits.len() <= places {
            digits.insert(0, '0');
        }
        let (whole, fraction) = digits.split_at(digits.len() - places);
        // Zero with zeros added has more than one digit before the point, which JSON does not allow.
        let whole = if self.unscaled == 0 { "0" } else { whole };
        let sign = if self.negative { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        let mantissa = format!("{sign}{whole}{point}{fraction}");
        if exponent == 0 && dice.roll(2) == 0 {
            return mantissa;
        }
        let e = ["e", "E"][dice.roll(2)];
        let sign = if exponent < 0 { "-" } else { ["", "+"][dice.roll(2)] };
        let zeros = ["", "0", "00"][dice.roll(3)];
        format!("{mantissa}{e}{sign}{zeros}{}", exponent.abs())
    }
}

/// The sign and all digits of a number, with as many places before and after the point as every number with a small exponent has.
pub(super) fn fixed_point(number: &str) -> String {
    const PLACES: usize = 40;
    let (sign, number) = if let Some(rest) = number.strip_prefix('-') { ("-", rest) } else { ("", number) };
    let number = number.to_lowercase();
    let mut halves = number.split('e');
    let mantissa = halves.next().expect("a number");
    let exponent: i32 = halves.next().map_or(0, |exponent| exponent.parse().expect("a small exponent"));
    let point = mantissa.find('.').unwrap_or(mantissa.len()) as i32 + exponent;
    let mut places = vec!['0'; 2 * PLACES];
    for (at, digit) in mantissa.chars().filter(|character| *character != '.').enumerate() {
        let place = PLACES as i32 + at as i32 - point;
        places[usize::try_from(place).expect("within the places")] = digit;
    }
    sign.chars().chain(places).collect()
}

/// Many small decisions out of one number.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// Below `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

impl Meaning {
    /// One of the ways to spell it.
    pub(super) fn spelled(&self, dice: &mut Dice) -> String {
        let space = |dice: &mut Dice| ["", "", "", " ", "\t", "\r\n", "\n  "][dice.roll(7)];
        let value = match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => number.spelled(dice),
            Self::Text(text) => text_spelled(text, dice),
            Self::Array(values) => {
                let values: Vec<_> = values.iter().map(|value| value.spelled(dice)).collect();
                format!("[{}{}]", space(dice), values.join(","))
            }
            Self::Object(members) => {
                let mut spelled = Vec::new();
                for (name, value) in members {
                    let name = text_spelled(name, dice);
                    let member = format!("{}{name}{}:{}", space(dice), space(dice), value.spelled(dice));
                    spelled.insert(dice.roll(spelled.len() + 1), member);
                }
                format!("{{{}{}}}", space(dice), spelled.join(","))
            }
        };
        format!("{}{value}{}", space(dice), space(dice))
    }

    /// Changes one thing somewhere in it.
    pub(super) fn change(&mut self, dice: &mut Dice) {
        let inner = match self {
            Self::Array(values) => values.iter_mut().collect(),
            Self::Object(members) => members.values_mut().collect(),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => Vec::new(),
        };
        let goes_inside = !inner.is_empty() && dice.roll(4) > 0;
        if goes_inside {
            let at = dice.roll(inner.len());
            return inner.into_iter().nth(at).expect("below its length").change(dice);
        }
        *self = match std::mem::replace(self, Self::Null) {
            Self::Null => [Self::Text("null".to_owned()), Self::Bool(false), Self::Array(vec![])][dice.roll(3)].clone(),
            Self::Bool(value) => [Self::Bool(!value), Self::Null, Self::Text(value.to_string())][dice.roll(3)].clone(),
            Self::Number(Decimal { negative, unscaled, exponent }) => match dice.roll(6) {
                0 => Self::Number(Decimal::new(!negative, unscaled, exponent)),
                1 => Self::Number(Decimal::new(negative, unscaled + 1, exponent)),
                2 => Self::Number(Decimal::new(negative, unscaled, exponent + 1)),
                // One more in a last place that did not show.
                3 => Self::Number(Decimal::new(negative, unscaled * 1_000 + 1, exponent - 3)),
                4 => Self::Array(vec![Self::Number(Decimal { negative, unscaled, exponent })]),
                _ => Self::Text(Decimal { negative, unscaled, exponent }.spelled(dice)),
            },
            Self::Text(mut text) => {
                match (dice.roll(5), text.chars().count()) {
                    (0, _) => text = text.replace('\u{e9}', "e\u{301}") + "\u{301}",
                    (1, _) => text.push('\0'),
                    (2, _) => text = text.chars().rev().collect(),
                    (3, length @ 1..) => {
                        let mut characters: Vec<char> = text.chars().collect();
                        let specials: Vec<char> = SPECIAL.chars().collect();
                        characters[dice.roll(length)] = specials[dice.roll(specials.len())];
                        text = characters.into_iter().collect();
                    }
                    _ => drop(text.pop()),
                }
                Self::Text(text)
            }
            Self::Array(mut values) => {
                match dice.roll(4) {
                    0 => values.push(Self::Null),
                    1 => values.reverse(),
                    2 => values = vec![Self::Array(values)],
                    _ => drop(values.pop()),
                }
                Self::Array(values)
            }
            Self::Object(mut members) => {
                let absent_name = if members.contains_key("") { "\0" } else { "" };
                match (dice.roll(3), members.pop_first()) {
                    (0, Some((name, value))) => drop(members.insert(name + "\0", value)),
                    (1, Some(_)) => {}
                    (_, first) => {
                        members.extend(first);
                        members.insert(absent_name.to_owned(), Self::Null);
                    }
                }
                Self::Object(members)
            }
        };
    }
}

fn text_spelled(text: &str, dice: &mut Dice) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        let short = "\"\\/\u{8}\u{c}\n\r\t".find(character).map(|at| &"\"\\/bfnrt"[at..=at]);
        let must_escape = character < ' ' || character == '"' || character == '\\';
        match (dice.roll(3), short) {
            (0, _) if !must_escape => out.push(character),
            (1, Some(short)) => out.extend(["\\", short]),
            (_, None) if dice.roll(2) == 0 && !must_escape => out.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    out += &if dice.roll(2) == 0 { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") };
                }
            }
        }
    }
    out + "\""
}

/// Any arguments.
pub(super) fn json_object() -> impl Strategy<Value = Meaning> {
    let number =
        (any::<bool>(), prop_oneof![0..20_u128, any::<u64>().prop_map(u128::from), 0..1_u128 << 110], -30..30_i32)
            .prop_map(|(negative, unscaled, exponent)| Meaning::Number(Decimal::new(negative, unscaled, exponent)));
    let leaf = prop_oneof![
        Just(Meaning::Null),
        any::<bool>().prop_map(Meaning::Bool),
        number,
        any_text().prop_map(Meaning::Text),
    ];
    let any = leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Meaning::Array),
            proptest::collection::btree_map(any_text(), inner, 0..6).prop_map(Meaning::Object),
        ]
    });
    proptest::collection::btree_map(any_text(), any, 0..6).prop_map(Meaning::Object)
}

/// Short, and mostly of special characters.
fn any_text() -> impl Strategy<Value = String> {
    let special: Vec<char> = SPECIAL.chars().collect();
    let character = prop_oneof![3 => proptest::sample::select(special), 1 => any::<char>()];
    proptest::collection::vec(character, 0..5).prop_map(|characters| characters.into_iter().collect())
}
