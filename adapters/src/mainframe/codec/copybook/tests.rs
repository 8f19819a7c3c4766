use super::{Condition, CopybookError, Entry, Occurs, Reference, Sign, Usage, parse};
use crate::mainframe::codec::picture::{Digits, Picture};

fn entries(copybook: &str) -> Vec<Entry> {
    parse(copybook).unwrap_or_else(|error| panic!("{error}\n{copybook}"))
}

fn refusal(copybook: &str) -> CopybookError {
    match parse(copybook) {
        Ok(_) => panic!("was taken:\n{copybook}"),
        Err(error) => error,
    }
}

/// Level and name of every entry.
fn outline(copybook: &str) -> Vec<String> {
    let name = |entry: &Entry| entry.name.clone().unwrap_or_else(|| "-".to_owned());
    entries(copybook).iter().map(|entry| format!("{:02} {}", entry.level, name(entry))).collect()
}

const OUTLINE: [&str; 4] = ["01 ACCT", "05 ACCT-NO", "05 -", "05 BAL"];

#[test]
fn fixed_format_is_read_without_its_margins() {
    let copybook = "\
000100* ACCOUNT RECORD                                                  00010000
000200 01  ACCT.                                                        00020000
000300     05  ACCT-NO                  PIC 9(10).                      CR123456
000400D    05  DEBUGGING                PIC X.                          00040000
CR1234     05  FILLER                   PIC X(2).
000600/ A NEW PAGE
000700     05  BAL
000800         PIC S9(7)V99
000900         COMP-3.                                                  00090000
";
    assert_eq!(outline(copybook), OUTLINE);
    let entries = entries(copybook);
    assert_eq!(entries[3].usage, Some(Usage::Packed));
    assert_eq!(entries[3].picture, Some(Picture::Number(Digits { count: 9, scale: 2, signed: true })));
    assert_eq!(entries[3].line, 7);
}

#[test]
fn free_format_is_read_wherever_it_stands() {
    for copybook in [
        "01 ACCT. 05 ACCT-NO PIC 9(10). 05 PIC XX. 05 BAL PIC 9.",
        "01  acct.\n  05 acct-no pic is 9(10).\n  05 filler picture x(2).\n*> A comment.\n  05 bal pic 9. *> Another.\n",
        "      01 ACCT.\n        05 ACCT-NO PIC 9(10).\n        05 FILLER PIC X.\n        05 BAL PIC 9.",
        "           01 ACCT.\n           05 ACCT-NO PIC 9(10).\n           05 FILLER PIC X.\n           05 BAL PIC 9.",
        "\t01 ACCT.\n\t\t05 ACCT-NO PIC 9(10).\n\t\t05 FILLER PIC X.\r\n\t\t05 BAL\tPIC 9.\r\n",
        "* ACCOUNT RECORD\n       01  ACCT.\n       SKIP2\n           05  ACCT-NO PIC 9(10).\n       EJECT.\n           05 PIC X.\n           05 BAL PIC 9.",
    ] {
        assert_eq!(outline(copybook), OUTLINE, "{copybook}");
    }
    let wide = format!("       01 ACCT. 05 ACCT-NO PIC 9(10).\n       05 FILLER PIC X.{}05 BAL PIC 9.", " ".repeat(44));
    assert_eq!(outline(&wide), OUTLINE, "an entry that ends behind column 72");
    let long = format!("       01 ACCT. 05 ACCT-NO PIC 9(10). 05 FILLER PIC X.{} 05 BAL PIC 9.", " ".repeat(60));
    assert_eq!(outline(&long), OUTLINE, "a line that is longer than a card");
}

#[test]
fn lines_are_continued_within_words_and_texts() {
    let copybook = format!(
        "       01  ACCT.\n           05  ACCT-\n      -        NO PIC 9(10).\n{}\n      -    'closed'.\n           05 FILLER PIC X.\n           05 BAL PIC 9.",
        format_args!("{:<72}", "           88  A-NAME VALUE 'now"),
    );
    assert_eq!(outline(&copybook), OUTLINE);
    let value = format!("now{}closed", " ".repeat(72 - 32));
    let condition = Condition { name: "A-NAME".to_owned(), values: vec![value] };
    assert_eq!(entries(&copybook)[1].conditions, [condition]);
}

#[test]
fn every_clause_is_understood() {
    let copybook = "
        05 A PIC S9(4) USAGE IS COMPUTATIONAL-5 VALUE IS -1.
        05 B PICTURE IS S9(3) SIGN IS LEADING SEPARATE CHARACTER VALUE ZERO.
        05 C PIC S9(3) TRAILING.
        05 D REDEFINES C PIC X(3) JUSTIFIED RIGHT VALUE ALL 'x'.
        05 E PIC 9(3) BLANK WHEN ZERO DISPLAY.
        05 F OCCURS 12 TIMES ASCENDING KEY IS G, H INDEXED BY I J PIC X.
        05 K OCCURS 0 TO 5 TIMES DEPENDING ON E OF GRP IN REC INDEXED BY L. 10 M PIC X.
        05 N OCCURS 3 DEPENDING E PIC X.
        05 O PIC ZZ9.99. 05 P PIC X(3) VALUE X'00FF00'. 05 Q PIC X, VALUE \"it's\"; JUST.";
    let entries = entries(copybook);
    let named = |name: &str| entries.iter().find(|entry| entry.name.as_deref() == Some(name)).expect(name);
    assert_eq!(named("A").usage, Some(Usage::Binary));
    assert_eq!(named("B").sign, Some(Sign { leading: true, separate: true }));
    assert_eq!(named("C").sign, Some(Sign { leading: false, separate: false }));
    assert_eq!(named("D").redefines.as_deref(), Some("C"));
    assert!(named("D").justified && named("Q").justified && named("E").blank_when_zero);
    assert_eq!(named("F").occurs, Some(Occurs { min: 12, max: 12, depending_on: None }));
    let reference = |groups: &[&str]| {
        Some(Reference { name: "E".to_owned(), groups: groups.iter().map(|&group| group.to_owned()).collect() })
    };
    assert_eq!(named("K").occurs, Some(Occurs { min: 0, max: 5, depending_on: reference(&["GRP", "REC"]) }));
    assert_eq!(named("N").occurs, Some(Occurs { min: 1, max: 3, depending_on: reference(&[]) }));
    assert_eq!(named("O").picture, Some(Picture::Edited { bytes: 6 }));
}

#[test]
fn condition_names_keep_their_values() {
    let copybook = "05 S PIC X.
        88 OPEN-STATE VALUE 'O'. 88 GONE VALUES ARE 'C', 'D' 'it''s'. 88 DIGIT VALUE '0' THRU '9' WHEN SET TO FALSE ' '.
        88 NONE VALUE SPACES LOW-VALUES. 88 N VALUES -1 THROUGH +2.5 ZEROS.";
    let entries = entries(copybook);
    let shown: Vec<_> = entries[0].conditions.iter().map(|it| format!("{}={}", it.name, it.values.join("|"))).collect();
    assert_eq!(shown, ["OPEN-STATE=O", "GONE=C|D|it's", "DIGIT=0 to 9", "NONE=spaces|low-values", "N=-1 to +2.5|0"]);
}

#[test]
fn what_is_not_understood_is_refused_with_its_line_and_a_reason() {
    for (copybook, line, part) in [
        ("01 A.\n 77 B PIC X.", 2, "level 77"),
        ("01 A PIC X.\n66 B RENAMES A.", 2, "RENAMES"),
        ("01 A PIC X.\n50 B PIC X.", 2, "a level is 01 to 49 or 88"),
        ("01 A PIC X.\n COPY OTHER.", 2, "COPY is not carried out"),
        ("01 A PIC X\n05 B PIC X.", 2, "05 is no clause"),
        ("01 A PIC X.\nB PIC X.", 2, "begins with a level number"),
        ("01 A PIC X", 1, "no period"),
        ("88 A VALUE 1.", 1, "behind the field"),
        ("01 A PIC X.\n88 B PIC X.", 2, "VALUE, not with PIC"),
        ("01 A PIC X PIC X.", 1, "PIC stands twice"),
        ("01 A PIC 9 COMP\nUSAGE COMP-3.", 2, "USAGE stands twice"),
        ("01 A COMP-1.", 1, "floating point"),
        ("01 A USAGE IS COMPUTATIONAL-2.", 1, "floating point"),
        ("01 A USAGE INDEX.", 1, "addresses"),
        ("01 A PIC X USAGE NATIONAL.", 1, "double-byte"),
        ("01 A PIC X USAGE WRONG.", 1, "WRONG is no usage"),
        ("01 A PIC 9(4) COMP SYNC.", 1, "SYNC adds bytes"),
        ("01 A PIC N(4).", 1, "PIC N(4): N stands for national"),
        ("01 :PRE:-NAME PIC X.", 1, "placeholder"),
        ("01 NÄME PIC X.", 1, "is no name"),
        ("01 A PIC X VALUE 'x.", 1, "not closed"),
        ("01 A PIC X OCCURS 1 TO 5.", 1, "needs DEPENDING ON"),
        ("01 A PIC X OCCURS 0.", 1, "no number of times"),
        ("01 A PIC X OCCURS 5 TO 2 DEPENDING ON B.", 1, "no number of times"),
        ("01 A PIC X OCCURS 1 TO UNBOUNDED DEPENDING ON B.", 1, "UNBOUNDED is none"),
        ("01 A PIC X OCCURS.", 1, "missing before the period"),
        ("01 A PIC 9 BLANK WHEN SPACE.", 1, "WHEN ZERO"),
        ("      - A.", 1, "continues another"),
        ("01 A PIC X, SIGN IS WRONG.", 1, "LEADING or TRAILING"),
    ] {
        let error = refusal(copybook);
        assert_eq!(error.line, line, "{copybook}: {error}");
        assert!(error.message.contains(part), "{copybook}: {error}");
    }
}

#[test]
fn copybooks_are_bounded() {
    let many = "01 A.\n".to_owned() + &"05 PIC X.\n".repeat(5_000);
    assert_eq!(refusal(&many), CopybookError::new(5_001, "a copybook has at most 5000 entries"));
    let large = "*".repeat(256 * 1024 + 1);
    assert_eq!(refusal(&large).message, "a copybook has at most 256 KiB");
    let name = "A".repeat(61);
    assert!(refusal(&format!("01 {name} PIC X.")).message.contains("is no name"));
}
