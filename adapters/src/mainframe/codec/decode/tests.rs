use config::downstream::mainframe::Encoding::{self, Cp037, Utf8};

use super::super::{Codec, DecodeError};

fn decode(copybook: &str, encoding: Encoding, many: bool, bytes: &[u8]) -> Result<String, DecodeError> {
    Codec::fixed_width(copybook, encoding, many).expect(copybook).decode(bytes, usize::MAX)
}

/// What a single field `A` becomes.
fn field(clauses: &str, encoding: Encoding, bytes: &[u8]) -> String {
    match decode(&format!("01 R. 05 A {clauses}."), encoding, false, bytes) {
        Ok(json) => {
            let value = json.strip_prefix(r#"{"a":"#).and_then(|json| json.strip_suffix('}'));
            value.expect("one field").to_owned()
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn numbers_come_out_digit_for_digit() {
    for (clauses, bytes, expected) in [
        ("PIC 9(5)", &b"\xf0\xf0\xf1\xf2\xf3"[..], "123"),
        ("PIC 9(3)V99", b"\xf1\xf2\xf3\xf4\xf5", "123.45"),
        ("PIC 9(3)V99", b"\xf0\xf0\xf0\xf0\xf0", "0.00"),
        ("PIC V99", b"\xf0\xf7", "0.07"),
        ("PIC VPP99", b"\xf0\xf7", "0.0007"),
        ("PIC 99PP", b"\xf0\xf7", "700"),
        ("PIC 99PP", b"\xf0\xf0", "0"),
        ("PIC S9(3)", b"\xf1\xf2\xc3", "123"),
        ("PIC S9(3)", b"\xf1\xf2\xf3", "123"),
        ("PIC S9(3)", b"\xf1\xf2\xd3", "-123"),
        ("PIC S9(3)", b"\xf1\xf2\xb3", "-123"),
        ("PIC S9(3)", b"\xf1\xf2\xa3", "123"),
        ("PIC S9(3)", b"\xf0\xf0\xd0", "0"),
        ("PIC S9(2)V9", b"\xf0\xf0\xd0", "0.0"),
        ("PIC S9(2)V9", b"\xf0\xf0\xd5", "-0.5"),
        ("PIC S9(3) SIGN LEADING", b"\xd1\xf2\xf3", "-123"),
        ("PIC S9(3) SIGN LEADING SEPARATE", b"\x60\xf1\xf2\xf3", "-123"),
        ("PIC S9(3) SIGN TRAILING SEPARATE", b"\xf1\xf2\xf3\x4e", "123"),
        ("PIC S9(7)V99 COMP-3", b"\x12\x34\x56\x78\x9c", "1234567.89"),
        ("PIC S9(7)V99 COMP-3", b"\x00\x00\x00\x00\x1d", "-0.01"),
        ("PIC S9(3) COMP-3", b"\x12\x3f", "123"),
        ("PIC S9(3) COMP-3", b"\x12\x3b", "-123"),
        ("PIC S9(3) COMP-3", b"\x12\x3e", "123"),
        ("PIC 9(3) COMP-3", b"\x12\x3f", "123"),
        ("PIC 9(3) COMP-3", b"\x12\x3c", "123"),
        ("PIC 9(4) COMP-3", b"\x01\x23\x4f", "1234"),
        ("PIC 9(31) COMP-3", &[0x99; 15], "field a, byte 0: the answer ends too early: bytes needed here 16, left 15"),
        ("PIC S9(4) COMP", b"\xff\xfe", "-2"),
        ("PIC S9(4) COMP", b"\x80\x00", "-32768"),
        ("PIC 9(4) COMP", b"\xff\xff", "65535"),
        ("PIC S9(5)V99 COMP", b"\xff\xff\xff\x9c", "-1.00"),
        ("PIC S9(18) COMP", b"\x80\x00\x00\x00\x00\x00\x00\x00", "\"-9223372036854775808\""),
        ("PIC 9(18) COMP-5", b"\xff\xff\xff\xff\xff\xff\xff\xff", "\"18446744073709551615\""),
        ("PIC 9(17)", b"\xf0\xf9\xf0\xf0\xf7\xf1\xf9\xf9\xf2\xf5\xf4\xf7\xf4\xf0\xf9\xf9\xf3", "\"9007199254740993\""),
        // Fifteen digits are the most that survive every reader as a number.
        ("PIC 9(15)", b"\xf9\xf9\xf9\xf9\xf9\xf9\xf9\xf9\xf9\xf9\xf9\xf9\xf9\xf9\xf9", "999999999999999"),
        ("PIC S9(14)V99 COMP-3", b"\x01\x23\x45\x67\x89\x01\x23\x45\x6d", "\"-12345678901234.56\""),
        ("PIC 9(14)PP COMP-3", b"\x01\x23\x45\x67\x89\x01\x23\x4c", "\"1234567890123400\""),
        ("PIC 9(3) BLANK WHEN ZERO", b"\x40\x40\x40", "null"),
        ("PIC 9(3) BLANK WHEN ZERO", b"\0\0\0", "null"),
        ("PIC 9(3) BLANK WHEN ZERO", b"\xf0\xf0\xf1", "1"),
    ] {
        assert_eq!(field(clauses, Cp037, bytes), expected, "{clauses} {bytes:02x?}");
    }
}

#[test]
fn numbers_of_ascii_systems_carry_signs_in_their_own_ways() {
    for (clauses, bytes, expected) in [
        ("PIC S9(3)", "12{", "120"),
        ("PIC S9(3)", "12C", "123"),
        ("PIC S9(3)", "12}", "-120"),
        ("PIC S9(3)", "12R", "-129"),
        ("PIC S9(3)", "12s", "-123"),
        ("PIC S9(3)", "123", "123"),
        ("PIC S9(3) LEADING SEPARATE", "-123", "-123"),
        ("PIC 9(3)V9", "1234", "123.4"),
        ("PIC 9(3) BLANK WHEN ZERO", "   ", "null"),
        ("PIC 9(3)", "12C", "field a, byte 2: 0x43 is no digit"),
        ("PIC S9(3)", "12z", "field a, byte 2: 0x7A is no digit with a sign"),
    ] {
        assert_eq!(field(clauses, Utf8, bytes.as_bytes()), expected, "{clauses} {bytes}");
    }
}

#[test]
fn texts_lose_the_spaces_that_fill_them() {
    for (clauses, encoding, bytes, expected) in [
        ("PIC X(6)", Cp037, &b"\x40\xc1\x40\xc2\x40\x40"[..], r#"" A B""#),
        ("PIC X(3)", Cp037, b"\x40\x40\x40", r#""""#),
        ("PIC X(3)", Cp037, b"\0\0\0", r#""""#),
        ("PIC X(3)", Cp037, b"\xc1\0\xc2", r#""A\u0000B""#),
        ("PIC X(3)", Cp037, b"\x7f\xe0\xdc", r#""\"\\ü""#),
        ("PIC X(4) JUSTIFIED RIGHT", Cp037, b"\x40\x40\xc1\xc2", r#""AB""#),
        ("PIC ZZ9.99-", Cp037, b"\x40\xf1\xf2\x4b\xf5\xf0\x60", r#""12.50-""#),
        ("PIC X(4)", Utf8, "ü  ".as_bytes(), r#""ü""#),
    ] {
        assert_eq!(field(clauses, encoding, bytes), expected, "{clauses} {bytes:02x?}");
    }
}

#[test]
fn bad_data_is_named_with_its_byte() {
    for (clauses, bytes, expected) in [
        ("PIC 9(3)", &b"\xf1\xc1\xf3"[..], "field a, byte 1: 0xC1 is no digit"),
        ("PIC 9(3)", b"\xf1\xf2\xc3", "field a, byte 2: 0xC3 is no digit"),
        ("PIC 9(3)", b"\xf1\xfa\xf3", "field a, byte 1: 0xFA is no digit"),
        ("PIC S9(3)", b"\xf1\xf2\x93", "field a, byte 2: 0x93 is no digit with a sign"),
        ("PIC S9(3)", b"\xd1\xf2\xc3", "field a, byte 0: 0xD1 is no digit"),
        ("PIC S9 SIGN LEADING SEPARATE", b"\x40\xf1", "field a, byte 0: 0x40 is no sign"),
        (
            "PIC 9(3)",
            b"\x40\x40\x40",
            "field a, byte 0: it holds spaces and no digits, and its picture has no BLANK WHEN ZERO",
        ),
        (
            "PIC 9(3)",
            b"\0\0\0",
            "field a, byte 0: it holds low-values and no digits, and its picture has no BLANK WHEN ZERO",
        ),
        ("PIC S9(3) COMP-3", b"\x1a\x3c", "field a, byte 0: 0x1A is no pair of packed digits"),
        ("PIC S9(3) COMP-3", b"\x12\x34", "field a, byte 1: 0x34 does not end with a packed sign"),
        ("PIC S9(3) COMP-3", b"\x40\x40", "field a, byte 1: 0x40 does not end with a packed sign"),
        ("PIC 9(3) COMP-3", b"\x12\x3d", "field a, byte 1: 0x3D has a minus, and the picture has no sign"),
        ("PIC 9(4) COMP-3", b"\x91\x23\x4f", "field a, byte 0: 0x91 has one digit more than the picture"),
        ("PIC X(3)", b"\xc1", "field a, byte 0: the answer ends too early: bytes needed here 3, left 1"),
        ("PIC X", b"\xc1\xc2", "byte 1: the record ends here, and more bytes follow (1)"),
    ] {
        assert_eq!(field(clauses, Cp037, bytes), expected, "{clauses} {bytes:02x?}");
    }
    assert_eq!(field("PIC X(3)", Utf8, b"ab\xff"), "field a, byte 2: these bytes are no UTF-8");
}

const HISTORY: &str = "01 R. 05 ACCT-NO PIC 9(3). 05 ENTRY-COUNT PIC S9(3) COMP. 05 FILLER PIC X.
    05 HISTORY OCCURS 0 TO 3 DEPENDING ON ENTRY-COUNT. 10 AMOUNT PIC S9(3)V99 COMP-3. 10 TAG PIC X OCCURS 2.
    05 AFTER PIC X.";

#[test]
fn tables_occur_as_often_as_the_record_says() {
    let record = b"\xf0\xf4\xf2\x00\x02\x40\x12\x34\x5c\xc1\xc2\x00\x00\x1d\xc3\xc4\xe9";
    let json = r#"{"acct_no":42,"entry_count":2,"history":[{"amount":123.45,"tag":["A","B"]},{"amount":-0.01,"tag":["C","D"]}],"after":"Z"}"#;
    assert_eq!(decode(HISTORY, Cp037, false, record), Ok(json.to_owned()));
    let none = b"\xf0\xf4\xf2\x00\x00\x40\xe9";
    let none_json = r#"{"acct_no":42,"entry_count":0,"history":[],"after":"Z"}"#;
    assert_eq!(decode(HISTORY, Cp037, false, none), Ok(none_json.to_owned()));
    let both = [&record[..], &none[..]].concat();
    assert_eq!(decode(HISTORY, Cp037, true, &both), Ok(format!(r#"{{"records":[{json},{none_json}]}}"#)));
    assert_eq!(decode(HISTORY, Cp037, true, b""), Ok(r#"{"records":[]}"#.to_owned()));
}

#[test]
fn failures_name_the_field_as_a_path_into_the_json() {
    let of = |many, bytes: &[u8]| decode(HISTORY, Cp037, many, bytes).expect_err("bad data").to_string();
    let record = b"\xf0\xf4\xf2\x00\x02\x40\x12\x34\x5c\xc1\xc2\x00\x00\x15\xc3\xc4\xe9";
    assert_eq!(of(false, record), "field history[1].amount, byte 13: 0x15 does not end with a packed sign");
    let none = b"\xf0\xf4\xf2\x00\x00\x40\xe9";
    assert_eq!(
        of(true, &[&none[..], &record[..]].concat()),
        "field records[1].history[1].amount, byte 20: 0x15 does not end with a packed sign"
    );
    assert_eq!(
        of(false, b"\xf0\xf4\xf2\x00\x04\x40"),
        "field history, byte 6: it occurs 0 to 3 times, and the record says 4"
    );
    assert_eq!(
        of(false, b"\xf0\xf4\xf2\xff\xff\x40"),
        "field history, byte 6: it occurs 0 to 3 times, and the record says -1"
    );
    assert_eq!(
        of(false, b"\xf0\xf4\xf2\x00\x01\x40\x00\x00\x1c\xc1"),
        "field history[0].tag[1], byte 10: the answer ends too early: bytes needed here 1, left 0"
    );
    assert_eq!(of(false, b"\xf0\xf4\xf2\x00\x01"), "byte 5: the answer ends too early: bytes needed here 1, left 0");
}

#[test]
fn the_schema_says_what_comes() {
    let schema = Codec::fixed_width(
        "01 R. 05 STATE PIC X. 88 ACTIVE VALUE 'A'. 88 GONE VALUES 'C' 'D'. 05 N PIC 9 BLANK WHEN ZERO.
         05 FILLER. 10 RATE PIC 9V99. 05 T OCCURS 0 TO 3 DEPENDING ON N. 10 U PIC 99.",
        Cp037,
        true,
    )
    .expect("a copybook")
    .output_schema();
    let record = serde_json::json!({
        "type": "object",
        "properties": {
            "state": { "type": "string", "maxLength": 1, "description": "A: active; C, D: gone" },
            "n": { "type": ["integer", "null"] },
            "rate": { "type": "number" },
            "t": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": { "u": { "type": "integer" } },
                    "required": ["u"],
                    "additionalProperties": false,
                },
                "minItems": 0,
                "maxItems": 3,
            },
        },
        "required": ["state", "n", "rate", "t"],
        "additionalProperties": false,
    });
    let records = serde_json::json!({
        "type": "object",
        "properties": { "records": { "type": "array", "items": record } },
        "required": ["records"],
        "additionalProperties": false,
    });
    assert_eq!(schema, records);
}

#[test]
fn the_example_of_the_documentation_comes_out_as_it_says() {
    let page = include_str!("../../../../../docs/copybook.md");
    let between = |from: &str, to: &str| page.split_once(from)?.1.split_once(to).map(|(text, _)| text);
    let copybook = between("copybook: |\n", "```").expect("a copybook");
    let json = between("```json\n", "\n```").expect("a record");
    let record = [
        &b"\xf0\xf0\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xc1\x00\x00\x00\x12\x05\x0d\x00\x01\x40\x40\x40"[..],
        b"\xf2\xf0\xf2\xf6\xf1\xf1\xf0\xf1\xf0\xf0\xf0\xf0\xf1\xf2\xf0\xf5\xd0",
    ]
    .concat();
    assert_eq!(decode(copybook, Cp037, false, &record).as_deref(), Ok(json));
}
