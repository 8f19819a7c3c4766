//! How long a caller waits for its answer, in its own words.

use std::time::Duration;

/// How long a caller waits. It may be longer than the tool's own deadline, never longer than `deadlines.max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience(Duration);

impl Patience {
    /// What a caller may say, for whoever said something else.
    pub const FORM: &'static str = "a whole number of milliseconds, 1 or more";

    /// Reads a JSON value; `None` when it is not of the [form](Self::FORM).
    #[must_use]
    pub fn parse(raw: &str) -> Option<Self> {
        let is_whole = !raw.is_empty() && raw.bytes().all(|byte| byte.is_ascii_digit());
        // More than can be counted is more than is ever granted.
        let period = is_whole.then(|| Duration::from_millis(raw.parse().unwrap_or(u64::MAX)))?;
        (!period.is_zero()).then_some(Self(period))
    }

    /// The time it grants where `max` is the most that anybody gets.
    #[must_use]
    pub fn within(self, max: Duration) -> Duration {
        self.0.min(max)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Patience;

    #[test]
    fn it_is_a_whole_number_of_milliseconds() {
        let max = Duration::from_secs(600);
        for (raw, expected_ms) in
            [("1", 1), ("1500", 1500), ("600000", 600_000), ("600001", 600_000), ("99999999999999999999999", 600_000)]
        {
            let granted = Patience::parse(raw).map(|patience| patience.within(max));
            assert_eq!(granted, Some(Duration::from_millis(expected_ms)), "{raw}");
        }
        for raw in ["0", "-1", "1.5", "1e3", "1500.0", "\"1500\"", "null", "true", "{}", "[1]", ""] {
            assert_eq!(Patience::parse(raw), None, "{raw}");
        }
    }
}
