use super::{super::copybook, Content, CopybookError, Item, Layout, Repeat};

fn build(copybook: &str) -> Result<Layout, CopybookError> {
    Layout::build(&copybook::parse(copybook)?)
}

/// Keys with their sizes, groups with what is in them: `a:3 b*2{c:1}`.
fn outline(items: &[Item]) -> String {
    let show = |item: &Item| {
        let key = item.key.as_deref().unwrap_or("-");
        let times = match item.repeat {
            Repeat::Once => String::new(),
            Repeat::Times(times) => format!("*{times}"),
            Repeat::Depending { min, max, counter } => format!("*{min}..{max}#{counter}"),
        };
        let counter = item.counter.map_or_else(String::new, |counter| format!("#{counter}"));
        match &item.content {
            Content::Group(items) => format!("{key}{times}{{{}}}", outline(items)),
            content => format!("{key}{counter}{times}:{}", content.bytes()),
        }
    };
    items.iter().map(show).collect::<Vec<_>>().join(" ")
}

#[test]
fn levels_make_groups() {
    for (copybook, expected) in [
        (
            "01 R. 05 A PIC X(3). 05 B. 10 C PIC 99. 10 D OCCURS 2 PIC S9(5) COMP-3. 05 E PIC 9(4) COMP.",
            "a:3 b{c:2 d*2:3} e:2",
        ),
        ("05 A PIC X. 05 B PIC X.", "a:1 b:1"),
        ("01 R PIC X(80).", "r:80"),
        ("05 G. 10 A PIC X.", "g{a:1}"),
        ("01 R. 05 FILLER. 10 A PIC X. 05 A PIC X. 05 PIC X(4).", "-{a:1} a_2:1 -:4"),
        ("01 R. 05 FILLER OCCURS 2. 10 A PIC X. 05 FILLER OCCURS 3. 10 PIC X.", "filler*2{a:1} -*3{-:1}"),
    ] {
        assert_eq!(outline(&build(copybook).expect(copybook).items), expected, "{copybook}");
    }
}

#[test]
fn sizes_follow_usage_sign_and_digits() {
    for (field, bytes) in [
        ("PIC 9(4)", 4),
        ("PIC S9(4)", 4),
        ("PIC S9(4) SIGN TRAILING SEPARATE", 5),
        ("PIC S9(4)V99 LEADING", 6),
        ("PIC 9(4)P(3)", 4),
        ("PIC S9 COMP", 2),
        ("PIC 9(4) COMP-5", 2),
        ("PIC 9(5) BINARY", 4),
        ("PIC S9(7)V99 COMP-4", 4),
        ("PIC S9(8)V99 COMP", 8),
        ("PIC 9(18) COMP", 8),
        ("PIC 9 COMP-3", 1),
        ("PIC 99 COMP-3", 2),
        ("PIC S9(7)V99 PACKED-DECIMAL", 5),
        ("PIC 9(31) COMP-3", 16),
        ("PIC ZZ9.99-", 7),
    ] {
        assert_eq!(outline(&build(&format!("01 A {field}.")).expect(field).items), format!("a:{bytes}"), "{field}");
    }
    let group = "01 R. 05 G COMP-3 SIGN LEADING SEPARATE. 10 A PIC S9(3). 10 B PIC S9(3) DISPLAY. 05 C PIC S9(3).";
    assert_eq!(outline(&build(group).expect(group).items), "g{a:2 b:4} c:3");
}

#[test]
fn of_redefinitions_the_first_counts() {
    for (copybook, expected) in [
        (
            "01 R. 05 A PIC X(4). 05 B REDEFINES A. 10 C PIC 99. 10 D PIC 99. 05 E REDEFINES A PIC 9(4). 05 F PIC X.",
            "a:4 f:1",
        ),
        ("01 R. 05 A PIC X(2). 05 B REDEFINES A PIC X(6). 05 C REDEFINES A PIC X(5). 05 F PIC X.", "a:2 -:4 f:1"),
        ("01 R. 05 A OCCURS 2. 10 B PIC X. 10 C REDEFINES B PIC 9. 05 B PIC X.", "a*2{b:1} b:1"),
    ] {
        assert_eq!(outline(&build(copybook).expect(copybook).items), expected, "{copybook}");
    }
}

#[test]
fn tables_find_the_field_that_counts_them() {
    for (copybook, expected) in [
        ("01 R. 05 N PIC 99. 05 T OCCURS 0 TO 5 DEPENDING ON N PIC X.", "n#0:2 t*0..5#0:1"),
        (
            "01 R. 05 A. 10 N PIC 9. 05 B. 10 N PIC 9. 05 T OCCURS 1 TO 2 DEPENDING ON N OF A PIC X. \
             05 U OCCURS 1 TO 2 DEPENDING ON N IN B OF R PIC X.",
            "a{n#0:1} b{n#1:1} t*1..2#0:1 u*1..2#1:1",
        ),
        ("01 R. 05 N PIC 9. 05 T OCCURS 2. 10 U OCCURS 1 TO 3 DEPENDING ON N PIC X.", "n#0:1 t*2{u*1..3#0:1}"),
    ] {
        assert_eq!(outline(&build(copybook).expect(copybook).items), expected, "{copybook}");
    }
}

#[test]
fn layouts_that_make_no_sense_are_refused_with_line_and_reason() {
    for (copybook, line, part) in [
        ("", 1, "no field"),
        ("01 R.\n05 A.", 2, "A: it has neither a PIC nor fields"),
        ("01 R PIC X.\n05 A PIC X.", 1, "R: what has a PIC has no fields of its own"),
        ("01 R.\n10 A PIC X.\n05 B PIC X.", 3, "level 05 stands in one group with level 10"),
        ("01 R.\n05 A PIC X.\n01 S.\n05 B PIC X.", 3, "a second record"),
        ("01 R OCCURS 2.\n05 A PIC X.", 1, "many: true"),
        ("05 A PIC X COMP.", 1, "only numbers"),
        ("05 G COMP.\n10 A PIC X.", 2, "only numbers"),
        ("05 A PIC 9(19) COMP.", 1, "at most 18 digits"),
        ("05 A PIC 9 SIGN LEADING.", 1, "SIGN is for numbers with S"),
        ("05 A PIC S9 COMP-3 SIGN LEADING.", 1, "SIGN is for numbers with S"),
        ("05 A PIC 9 COMP BLANK WHEN ZERO.", 1, "usage DISPLAY"),
        ("05 A PIC X BLANK WHEN ZERO.", 1, "for numbers"),
        ("05 A PIC 9 JUST.", 1, "JUSTIFIED is for text"),
        ("05 G JUST.\n10 A PIC X.", 1, "single fields"),
        ("05 A PIC X. 05 B PIC X.\n05 C REDEFINES A PIC X.", 2, "must follow A at once"),
        ("01 R. 05 A PIC X. 05 G.\n10 C REDEFINES A PIC X.", 2, "must follow A at once"),
        (
            "05 N PIC 9. 05 A. 10 T OCCURS 1 TO 3 DEPENDING ON N PIC X.\n05 B REDEFINES A PIC X(3).",
            2,
            "do not go together",
        ),
        ("05 N PIC 9. 05 A PIC X(3).\n05 B REDEFINES A OCCURS 1 TO 3 DEPENDING ON N PIC X.", 2, "do not go together"),
        ("05 A OCCURS 1 TO 3 DEPENDING ON N PIC X.\n05 N PIC 9.", 1, "before this table"),
        ("05 N PIC X.\n05 A OCCURS 1 TO 3 DEPENDING ON N PIC X.", 2, "a whole number"),
        ("05 N PIC 9V9.\n05 A OCCURS 1 TO 3 DEPENDING ON N PIC X.", 2, "a whole number"),
        ("05 T OCCURS 2. 10 N PIC 9.\n10 A OCCURS 1 TO 3 DEPENDING ON N PIC X.", 2, "in no table"),
        ("05 X PIC 9. 05 N REDEFINES X PIC 9.\n05 A OCCURS 1 TO 3 DEPENDING ON N PIC X.", 2, "not redefining"),
        ("01 R. 05 A. 10 N PIC 9. 05 B. 10 N PIC 9.\n05 T OCCURS 1 TO 2 DEPENDING ON N PIC X.", 2, "say which with OF"),
        ("05 A PIC X(1000000).\n05 B PIC X(48577).", 2, "larger than 1048576"),
        ("05 A OCCURS 99999999999 PIC X(999999).", 1, "larger than 1048576"),
    ] {
        let error = build(copybook).expect_err(copybook);
        assert_eq!(error.line, line, "{copybook}: {error}");
        assert!(error.message.contains(part), "{copybook}: {error}");
    }
}

#[test]
fn groups_and_tables_nest_as_deep_as_cobol_allows() {
    let groups: String = (1..49).map(|level| format!("{level:02} G{level}. ")).collect();
    assert!(build(&format!("{groups} 49 A PIC X.")).is_ok());
    let tables =
        |count: u32| -> String { (2..2 + count).map(|level| format!("{level:02} T{level} OCCURS 2. ")).collect() };
    assert!(build(&format!("01 R. {} 49 A PIC X.", tables(7))).is_ok());
    let error = build(&format!("01 R. {} 49 A PIC X.", tables(8))).expect_err("one too deep");
    assert!(error.message.contains("7 deep"), "{error}");
}
