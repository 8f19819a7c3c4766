//! "Did you mean …?"

/// The known name that `typed` is most likely a slip of.
#[must_use]
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace(['-', ' '], "_");
    let typed = plain(typed);
    let distance = |name: &str| strsim::damerau_levenshtein(&typed, &plain(name));
    let (slips, name) = known.into_iter().map(|name| (distance(name), name)).min_by_key(|(slips, _)| *slips)?;
    let slips_max = (typed.chars().count() / 3).clamp(1, 3);
    (slips <= slips_max).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_finds_the_name_that_was_meant_and_a_strange_word_finds_none() {
        let known = ["listen", "body_timeout", "body_bytes_max", "tls"];
        for (typed, expected) in [
            ("listen", Some("listen")),
            ("lsiten", Some("listen")),
            ("body-timeout", Some("body_timeout")),
            ("bodyTimeout", Some("body_timeout")),
            ("body_byte_max", Some("body_bytes_max")),
            ("TLS", Some("tls")),
            ("workers", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, known), expected, "{typed}");
        }
    }
}
