use super::{Detector, find_all};

/// What the built-in detector of this name finds.
fn found<'t>(name: &str, text: &'t str) -> Vec<&'t str> {
    let detectors = Detector::BUILT_IN;
    let detector = detectors.iter().find(|(own, _)| *own == name).map(|(_, detector)| detector).expect("a detector");
    find_all(text, std::iter::once((0, detector))).into_iter().map(|found| &text[found.range]).collect()
}

#[test]
fn each_value_is_found_whole_and_nothing_beside_it() {
    for (name, text, expected) in [
        ("email", "ask ada@example.com.", &["ada@example.com"][..]),
        (
            "email",
            "<o'brien+x@mail.example.co.uk>, jürgen@müller.example",
            &["o'brien+x@mail.example.co.uk", "jürgen@müller.example"],
        ),
        ("email", "?to=ada%40example.com&x", &["ada%40example.com"]),
        ("email", "ada&#64;example.com 'x@y.example'", &["ada&#64;example.com", "x@y.example"]),
        ("email", r#"mail "ada lovelace"@example.com"#, &[r#""ada lovelace"@example.com"#]),
        ("email", "a@b, @example.com, ada@, root@localhost, 5@3.14", &[]),
        ("card", "4111111111111111", &["4111111111111111"]),
        ("card", "pay 4111 1111-1111 1111 by 3782-822463-10005", &["4111 1111-1111 1111", "3782-822463-10005"]),
        ("card", "12 4111111111111111 5555555555554444 7", &["4111111111111111", "5555555555554444"]),
        ("card", "4111111111111112 1764000000000000 41111111111111111111111", &[]),
        ("phone", "call +49 30 1234567 or tel:+14155552671", &["+49 30 1234567", "+14155552671"]),
        (
            "phone",
            "(415) 555-2671, 415-555-2671, 0049 30 1234567",
            &["(415) 555-2671", "415-555-2671", "0049 30 1234567"],
        ),
        ("phone", "030 1234567; 0170/1234567; 06 12 34 56 78", &["030 1234567", "0170/1234567", "06 12 34 56 78"]),
        ("phone", "4155552671 2026-11-23 10.20.30.40 01.02.2026 0a1b-0123-4567-8901-aabb 1+4155552671", &[]),
        ("iban", "to DE89 3704 0044 0532 0130 00 please", &["DE89 3704 0044 0532 0130 00"]),
        ("iban", "GB82WEST12345698765432, nl91abna0417164300", &["GB82WEST12345698765432", "nl91abna0417164300"]),
        ("iban", "DE89 3704 0044 0532 0130 01, XDE89370400440532013000", &[]),
        ("national_id", "SSN 078-05-1120, NINO AB 12 34 56 C", &["078-05-1120", "AB 12 34 56 C"]),
        ("national_id", "65929970489 86095742719 15 070649 C 103", &["65929970489", "86095742719", "15 070649 C 103"]),
        (
            "national_id",
            "NIR 2 55 08 14 168 025 38, DNI 12345678Z, RSSMRA85T10A562S",
            &["2 55 08 14 168 025 38", "12345678Z", "RSSMRA85T10A562S"],
        ),
        (
            "national_id",
            "756.9217.0769.85 44051401359 811218-9876 529.982.247-25, 130 692 544, 046 454 286",
            &["756.9217.0769.85", "44051401359", "811218-9876", "529.982.247-25", "130 692 544"],
        ),
        ("national_id", "000-12-3456 12345678901 12345678A 123.456.789-00", &[]),
        ("secret", "key AKIAIOSFODNN7EXAMPLE end", &["AKIAIOSFODNN7EXAMPLE"]),
        ("secret", "Authorization: Bearer abc.def-ghi", &["abc.def-ghi"]),
        ("secret", "password=hunter2&x=1 pwd: 'two words' ok", &["hunter2", "two words"]),
        ("secret", r#"{\"client_secret\":\"s3cr3t x\",\"a\":1}"#, &["s3cr3t x"]),
        ("secret", "ALTER USER a PASSWORD 'it''s' VALID; create user b identified by \"p w\"", &["it''s", "p w"]),
        ("secret", "postgres://app:p@ss@db/x and amqp%3A%2F%2Fu%3Apw%40host", &["p@ss", "pw"]),
        ("secret", "weir_a1b2c3d4_0123456789abcdefghijklmnop", &["weir_a1b2c3d4_0123456789abcdefghijklmnop"]),
        ("secret", "passenger: 4, a bearer of news, basic needs", &[]),
    ] {
        assert_eq!(found(name, text), expected, "{name} in {text}");
    }
}

#[test]
fn a_private_key_is_found_with_all_its_lines() {
    let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA0Z3VS5JJcds3xfn\nabcd==\n-----END RSA PRIVATE KEY-----";
    assert_eq!(found("secret", &format!("<{key}>")), [key]);
    let cut = "-----BEGIN PRIVATE KEY-----\\nMIIEowIBAAKCAQEA0Z3VS5";
    assert_eq!(found("secret", cut), [cut]);
}

/// A search that looks to the end for each of many beginnings would not end within the time of any test.
#[test]
fn many_beginnings_in_a_long_text_take_no_longer_than_any_other_text() {
    let text = "-eyJ-AKIA0123456789ABCDEF".repeat(60_000);
    let found = found("secret", &text);
    assert_eq!(found.len(), 60_000);
    assert!(found.iter().all(|key| *key == "AKIA0123456789ABCDEF"));
}
