//! Where a walk through a value stands with regard to the paths of the rules.

use config::masking::{JsonPath, Selector};

/// The paths of some rules, each with the number of its rule.
#[derive(Debug, Default)]
pub(super) struct Paths(Vec<(u32, JsonPath)>);

/// What is known of a place: the steps that may come next, and the first rule whose path led here or above.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Path and step, in order. Few, and mostly the same ones all the way down.
    pub(super) open: Vec<(u32, u32)>,
    /// The rule that masks all that is here.
    pub(super) rule: Option<u32>,
}

impl Paths {
    pub(super) fn new(paths: Vec<(u32, JsonPath)>) -> Self {
        Self(paths)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The top of a value.
    pub(super) fn top(&self) -> Place {
        Place { open: (0..self.0.len() as u32).map(|path| (path, 0)).collect(), rule: None }
    }

    pub(super) fn member(&self, parent: &Place, key: &str) -> Place {
        self.down(parent, |selector| selector.has_member(key))
    }

    pub(super) fn item(&self, parent: &Place, index: usize) -> Place {
        self.down(parent, |selector| selector.has_item(index))
    }

    fn down(&self, parent: &Place, leads_here: impl Fn(&Selector) -> bool) -> Place {
        let mut place = Place { open: Vec::with_capacity(parent.open.len()), rule: parent.rule };
        let add = |place: &mut Place, open: (u32, u32)| {
            if !place.open.contains(&open) {
                place.open.push(open);
            }
        };
        for &(path, at) in &parent.open {
            let (rule, steps) = &self.0[path as usize];
            let steps = &steps.steps;
            let step = &steps[at as usize];
            if step.is_deep {
                add(&mut place, (path, at));
            }
            if step.to.iter().any(&leads_here) {
                if at as usize + 1 == steps.len() {
                    place.rule = Some(place.rule.map_or(*rule, |other| other.min(*rule)));
                } else {
                    add(&mut place, (path, at + 1));
                }
            }
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use config::masking::JsonPath;
    use serde_json::{Value, json};

    use super::{Paths, Place};

    /// The values that a path leads to, each once, in the order of the text.
    fn led_to(path: &str, value: &Value) -> Vec<Value> {
        fn walk(paths: &Paths, place: &Place, value: &Value, out: &mut Vec<Value>) {
            if place.rule.is_some() {
                out.push(value.clone());
                return;
            }
            match value {
                Value::Object(members) => {
                    members.iter().for_each(|(key, value)| walk(paths, &paths.member(place, key), value, out));
                }
                Value::Array(items) => {
                    items.iter().enumerate().for_each(|(at, value)| walk(paths, &paths.item(place, at), value, out));
                }
                _ => {}
            }
        }
        let paths = Paths::new(vec![(0, JsonPath::parse(path).expect("a path"))]);
        let mut out = Vec::new();
        walk(&paths, &paths.top(), value, &mut out);
        out
    }

    #[test]
    fn a_path_leads_where_the_rfc_says() {
        let value = json!({ "a": { "b": [1, { "b": 2 }, 3] }, "b": 4, "c": { "a": { "b": 5 } } });
        for (path, expected) in [
            ("$.b", json!([4])),
            ("$.a.b[1].b", json!([2])),
            ("$.a.b[0:2]", json!([1, { "b": 2 }])),
            ("$.*.b", json!([[1, { "b": 2 }, 3]])),
            ("$..b", json!([[1, { "b": 2 }, 3], 4, 5])),
            ("$..a..b", json!([[1, { "b": 2 }, 3], 5])),
            ("$..a.b[*].b", json!([2])),
            ("$['b', 'c'].a", json!([{ "b": 5 }])),
            ("$..[2]", json!([3])),
            ("$.d", json!([])),
        ] {
            assert_eq!(json!(led_to(path, &value)), expected, "{path}");
        }
    }
}
