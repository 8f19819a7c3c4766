//! Quantities with their unit in the text: `5s`, `4MiB`.

use std::{fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time, written as a whole number with its unit: `250ms`, `5s`, `10m`, `24h`, `90d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

const PERIOD_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const PERIOD_FORM: &str = "a whole number with a unit, such as `250ms`, `5s`, `10m`, `24h` or `90d`";

impl Period {
    /// A period of whole milliseconds.
    #[must_use]
    pub const fn ms(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// A period of whole seconds.
    #[must_use]
    pub const fn s(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_largest_unit(f, u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &PERIOD_UNITS)
    }
}

/// A number of bytes, written as a whole number with its unit: `512B`, `64KiB`, `4MiB`, `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const SIZE_UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
const SIZE_FORM: &str = "a whole number with a unit, such as `512B`, `64KiB`, `4MiB` or `1GiB`";

impl ByteSize {
    /// A size of whole mebibytes.
    #[must_use]
    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// The number of bytes as the machine's own size.
    #[must_use]
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_largest_unit(f, self.0, &SIZE_UNITS)
    }
}

fn write_with_largest_unit(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)]) -> fmt::Result {
    let fits = |&&(_, factor): &&(&str, u64)| value >= factor && value.is_multiple_of(factor);
    let (unit, factor) = units.iter().rev().find(fits).unwrap_or(&units[0]);
    write!(f, "{}{unit}", value / factor)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

macro_rules! of_text {
    ($type:ident, $units:ident, $form:ident, $from:expr) => {
        impl std::str::FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                parse(text, &$units).map($from).ok_or_else(|| format!("`{text}` is not {}", $form))
            }
        }
    };
}

macro_rules! text_form {
    ($type:ident, $form:ident, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($form)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": format!("Written as {}.", $form) })
            }
        }
    };
}

/// How often something may happen: a whole number and a unit of time, such as `100/s`, `20/m`, `1000/h` or `5000/d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many times.
    pub amount: u64,
    /// In how long.
    pub per: Duration,
}

const RATE_UNITS: [(&str, u64); 4] = [("/s", 1), ("/m", 60), ("/h", 3_600), ("/d", 86_400)];
const RATE_FORM: &str = "a whole number and a unit of time, such as `100/s`, `20/m`, `1000/h` or `5000/d`";

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = text.find('/').and_then(|at| RATE_UNITS.iter().find(|(unit, _)| *unit == &text[at..]));
        let amount = |unit: &str| text.strip_suffix(unit).and_then(|number| number.parse::<u32>().ok());
        unit.and_then(|(unit, seconds)| Some((amount(unit)?, *seconds)))
            .map(|(amount, seconds)| Self { amount: amount.into(), per: Duration::from_secs(seconds) })
            .ok_or_else(|| format!("`{text}` is not {RATE_FORM}"))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = RATE_UNITS.iter().find(|(_, seconds)| *seconds == self.per.as_secs()).unwrap_or(&RATE_UNITS[0]);
        write!(f, "{}{}", self.amount, unit.0)
    }
}

of_text!(Period, PERIOD_UNITS, PERIOD_FORM, |ms| Period(Duration::from_millis(ms)));
of_text!(ByteSize, SIZE_UNITS, SIZE_FORM, ByteSize);
text_form!(Period, PERIOD_FORM, "^[0-9]+(ms|s|m|h|d)$");
text_form!(ByteSize, SIZE_FORM, "^[0-9]+(B|KiB|MiB|GiB)$");
text_form!(Rate, RATE_FORM, "^[0-9]+/(s|m|h|d)$");

#[cfg(test)]
mod tests {
    use super::{ByteSize, Period, Rate};

    #[test]
    fn quantities_are_read_and_written_with_their_unit() {
        for text in ["0ms", "250ms", "5s", "10m", "25h", "90d"] {
            assert_eq!(text.parse::<Period>().expect(text).to_string(), text);
        }
        for text in ["0B", "512B", "64KiB", "4MiB", "1GiB"] {
            assert_eq!(text.parse::<ByteSize>().expect(text).to_string(), text);
        }
        for text in ["1/s", "20/m", "1000/h", "4294967295/d"] {
            assert_eq!(text.parse::<Rate>().expect(text).to_string(), text);
        }
        assert_eq!("1000ms".parse::<Period>().expect("a period").to_string(), "1s");
    }

    #[test]
    fn a_quantity_without_its_unit_is_refused_with_the_right_form() {
        for text in ["5", "s", "-5s", "5 s", "1.5s", "99999999999999999999s", "5S", ""] {
            let error = text.parse::<Period>().expect_err(text);
            assert!(error.contains("`5s`"), "{error}");
        }
        for text in ["5", "4MB", "4mib", "18446744073709551615GiB"] {
            let error = text.parse::<ByteSize>().expect_err(text);
            assert!(error.contains("`4MiB`"), "{error}");
        }
        for text in ["5", "/s", "5/", "5/w", "-5/s", "5 / s", "1.5/s", "4294967296/s", "5/s/m", ""] {
            let error = text.parse::<Rate>().expect_err(text);
            assert!(error.contains("`1000/h`"), "{error}");
        }
    }
}
