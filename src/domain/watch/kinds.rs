//! Kinds of errors in the logs that came with the release: shown beside the numbers, never evidence by themselves.
use std::collections::BTreeSet;

use super::Arm;

/// Kinds that are remembered of each side.
const KINDS_MAX: usize = 200;
const SHOWN: usize = 3;

#[derive(Clone, Debug, Default)]
pub(super) struct Kinds {
    /// Each with an example, where that may be shown.
    new: Vec<(String, Option<String>)>,
    old: BTreeSet<String>,
}

impl Kinds {
    /// The first line is the pattern, a second one the example.
    pub(super) fn take(&mut self, arm: Arm, text: &str) {
        let (pattern, example) = match text.split_once('\n') {
            Some((pattern, example)) => (pattern.to_string(), Some(example.to_string())),
            None => (text.to_string(), None),
        };
        match arm {
            Arm::New if self.new.len() < KINDS_MAX && self.new.iter().all(|(known, _)| *known != pattern) => {
                self.new.push((pattern, example));
            }
            Arm::Old if self.old.len() < KINDS_MAX => {
                self.old.insert(pattern);
            }
            Arm::New | Arm::Old | Arm::Other => {}
        }
    }

    /// What new pods write and old ones do not.
    pub(super) fn sentence(&self) -> Option<String> {
        let novel: Vec<_> = self.new.iter().filter(|(pattern, _)| !self.old.contains(pattern)).collect();
        let shown: Vec<String> = novel.iter().take(SHOWN).map(|kind| shown(kind)).collect();
        let more = novel.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!novel.is_empty()).then(|| format!("error lines of a new kind: {}{more}", shown.join(", ")))
    }
}

fn shown((pattern, example): &(String, Option<String>)) -> String {
    match example {
        Some(example) => format!("`{pattern}` (such as `{example}`)"),
        None => format!("`{pattern}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_old_pods_write_too_is_not_new() {
        let mut kinds = Kinds::default();
        assert_eq!(kinds.sentence(), None);
        kinds.take(Arm::New, "timeout after #");
        kinds.take(Arm::New, "no such column #\nno such column \"carts.v2\"");
        kinds.take(Arm::New, "no such column #");
        kinds.take(Arm::Other, "of a version beside");
        kinds.take(Arm::Old, "timeout after #");
        let expected =
            "error lines of a new kind: `no such column #` (such as `no such column \"carts.v2\"`)";
        assert_eq!(kinds.sentence().as_deref(), Some(expected));
        (0..300).for_each(|n| kinds.take(Arm::New, &format!("kind {}", "x".repeat(n))));
        assert!(kinds.sentence().unwrap().ends_with(" and 196 more"), "{:?}", kinds.sentence());
    }
}
