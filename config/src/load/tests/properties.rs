//! Whatever is done to a config, what is said of it makes sense.

use proptest::prelude::*;

use crate::parse;

const EXAMPLE: &str = include_str!("../../../weir.yaml");

/// The example with one stretch of lines replaced by another one of its own, and a few characters by others.
fn damaged() -> impl Strategy<Value = String> {
    let lines = EXAMPLE.lines().count();
    let characters = prop::collection::vec((any::<prop::sample::Index>(), "[-:{}\\[\\]'\"&*|#!,\t\n é0a]"), 0..4);
    (0..lines, 0..6_usize, 0..lines, 0..6_usize, characters).prop_map(|(at, gone, from, copied, characters)| {
        let mut lines: Vec<&str> = EXAMPLE.lines().collect();
        let copy: Vec<&str> = lines[from..(from + copied).min(lines.len())].to_vec();
        let end = (at + gone).min(lines.len());
        lines.splice(at..end, copy);
        let mut text: Vec<String> = lines.join("\n").chars().map(String::from).collect();
        for (index, character) in characters {
            let at = index.index(text.len());
            text[at] = character;
        }
        text.concat()
    })
}

proptest! {
    #[test]
    fn whatever_the_text_every_problem_points_into_it(text in prop_oneof![damaged(), ".{0,200}"]) {
        let found = match parse(&text, "weir.yaml", std::path::Path::new("")) {
            Ok(loaded) => loaded.warnings,
            Err(problems) => problems.iter().cloned().collect(),
        };
        for problem in found {
            prop_assert!(problem.line.is_none_or(|line| line >= 1 && line <= text.split(['\n', '\r']).count() + 1), "{problem}");
        }
    }
}
