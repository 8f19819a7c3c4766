//! JSON numbers by their exact value: what is judged is what is sent, so no number passes through a float.

use std::cmp::Ordering;

/// The value of a JSON number, exactly: `±digits × 10^exponent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    /// Without zeros at either end; empty for zero.
    digits: String,
    exponent: i64,
}

/// More digits than any number type has, before the point and behind it: longer ones need not be written out to be refused.
const DIGITS_MAX: i64 = 40;

impl Decimal {
    /// Reads a JSON number; `None` when `text` is not one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let digits = format!("{whole}{fraction}");
        let significant = digits.trim_end_matches('0');
        let exponent = read_exponent(exponent)?
            .saturating_sub(length(fraction))
            .saturating_add(length(&digits) - length(significant));
        let digits = significant.trim_start_matches('0').to_owned();
        let is_zero = digits.is_empty();
        Some(Self { negative: negative && !is_zero, digits, exponent: if is_zero { 0 } else { exponent } })
    }

    /// Its digits as SQL reads an integer; `None` when it has a fraction or is larger than any integer type.
    pub(crate) fn as_integer(&self) -> Option<String> {
        if self.exponent < 0 || self.magnitude() > DIGITS_MAX {
            return None;
        }
        let zeros = "0".repeat(usize::try_from(self.exponent).ok()?);
        let digits = if self.digits.is_empty() { "0" } else { &self.digits };
        Some(format!("{}{digits}{zeros}", if self.negative { "-" } else { "" }))
    }

    /// Its digits without an exponent; `None` when those are more than any number type has.
    pub(crate) fn written_out(&self) -> Option<String> {
        if self.is_whole() {
            return self.as_integer();
        }
        if self.exponent < -DIGITS_MAX || self.magnitude() > DIGITS_MAX {
            return None;
        }
        let places = usize::try_from(-self.exponent).ok()?;
        // At least one digit before the point.
        let digits = format!("{:0>width$}", self.digits, width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        Some(format!("{}{whole}.{fraction}", if self.negative { "-" } else { "" }))
    }

    /// Whether it has no fraction.
    pub(crate) fn is_whole(&self) -> bool {
        self.exponent >= 0
    }

    /// How many digits stand before the decimal point.
    fn magnitude(&self) -> i64 {
        self.exponent.saturating_add(length(&self.digits))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match (number.digits.is_empty(), number.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let size = || self.magnitude().cmp(&other.magnitude()).then_with(|| self.digits.cmp(&other.digits));
        sign(self).cmp(&sign(other)).then_with(|| match sign(self) {
            0 => Ordering::Equal,
            1 => size(),
            _ => size().reverse(),
        })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn length(text: &str) -> i64 {
    i64::try_from(text.len()).unwrap_or(i64::MAX)
}

/// An exponent that no `i64` holds is as good as the largest: nothing of that size fits anywhere.
fn read_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i64>().unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
    Some(if negative { -size } else { size })
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::{prop_assert_eq, proptest};

    use super::Decimal;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).expect(text)
    }

    #[test]
    fn whole_numbers_are_written_out_and_fractions_are_not_rounded() {
        for (text, integer) in [
            ("0", Some("0")),
            ("-0", Some("0")),
            ("-0.0e5", Some("0")),
            ("120", Some("120")),
            ("1.20e2", Some("120")),
            ("12E+1", Some("120")),
            ("-9223372036854775809", Some("-9223372036854775809")),
            ("1e19", Some("10000000000000000000")),
            ("1.5", None),
            ("120e-3", None),
            ("1e999999999999999999999", None),
            ("1e-999999999999999999999", None),
        ] {
            assert_eq!(decimal(text).as_integer().as_deref(), integer, "{text}");
        }
    }

    #[test]
    fn numbers_that_no_double_tells_apart_are_told_apart() {
        assert!(decimal("9007199254740993") > decimal("9007199254740992"));
        assert!(decimal("-1e400") < decimal("-1e399") && decimal("1e-400") > decimal("0"));
        assert_eq!(decimal("1.0"), decimal("1e0"));
        assert_eq!(decimal("-0"), decimal("0"));
        for text in ["", "-", "+1", ".5", "1e", "1e+", "NaN", "0x10", "1_000"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_values(a: i64, b: i64, scale in 0_u32..6) {
            let text = |number: i64| format!("{number}e-{scale}");
            prop_assert_eq!(decimal(&text(a)).cmp(&decimal(&text(b))), a.cmp(&b));
            prop_assert_eq!(decimal(&a.to_string()).as_integer(), Some(a.to_string()));
            prop_assert_eq!(decimal(&a.to_string()).cmp(&decimal(&b.to_string())) == Ordering::Equal, a == b);
        }
    }
}
