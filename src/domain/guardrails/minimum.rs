//! The oldest version that automation may go back to: a security fix is not undone by a machine.
use std::cmp::Ordering;

/// A version that can be compared, such as `v1.4.2`, `2026.11.22` or `1.4.0-rc.1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinVersion {
    text: String,
    parts: Parts,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    numbers: Vec<u64>,
    /// Empty for a release, which is newer than its pre-releases.
    before: Vec<String>,
}

impl MinVersion {
    /// `None` if the text is no version: numbers with dots between them, perhaps with a `v` before and a `-rc.1` after.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self { text: text.to_string(), parts: Parts::parse(text)? })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a version with this label is old enough to be kept from. What cannot be compared may be older.
    pub fn allows(&self, label: &str) -> bool {
        Parts::parse(label).is_some_and(|parts| parts.compare(&self.parts) != Ordering::Less)
    }
}

impl Parts {
    fn parse(label: &str) -> Option<Self> {
        // Labels of versions that share an image are told apart by what follows a space.
        let word = label.split_whitespace().next()?;
        let word = word.strip_prefix(['v', 'V']).unwrap_or(word);
        let word = word.split('+').next()?;
        let (numbers, before) = word.split_once('-').unwrap_or((word, ""));
        let numbers: Option<Vec<u64>> = numbers.split('.').map(|part| part.parse().ok()).collect();
        let before = before.split('.').filter(|part| !part.is_empty()).map(str::to_string).collect();
        Some(Self { numbers: numbers?, before })
    }

    /// As semantic versioning 2.0 orders them (§11), with any number of numbers; missing ones are 0.
    fn compare(&self, other: &Self) -> Ordering {
        let length = self.numbers.len().max(other.numbers.len());
        let padded = |parts: &Self| -> Vec<u64> {
            parts.numbers.iter().copied().chain(std::iter::repeat(0)).take(length).collect()
        };
        padded(self).cmp(&padded(other)).then_with(|| {
            match (self.before.is_empty(), other.before.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => pre_releases(&self.before, &other.before),
            }
        })
    }
}

fn pre_releases(one: &[String], other: &[String]) -> Ordering {
    let differs = one.iter().zip(other).map(|(a, b)| match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => a.cmp(b),
    });
    differs.fold(Ordering::Equal, Ordering::then).then(one.len().cmp(&other.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_people_mean_them() {
        let minimum = MinVersion::parse("v1.4.2").unwrap();
        for newer in ["1.4.2", "v1.4.2", "v1.4.10", "1.5", "2", "v2.0.0-rc.1", "1.4.2+build7", "v1.4.2 (2)"] {
            assert!(minimum.allows(newer), "{newer}");
        }
        for older in ["1.4.1", "v1.4", "1.4.2-rc.9", "0.99"] {
            assert!(!minimum.allows(older), "{older}");
        }
        for unclear in ["latest", "sha-4f1d2e", "4f1d2e", ""] {
            assert!(!minimum.allows(unclear), "what cannot be compared may be older: {unclear}");
        }
        assert_eq!(MinVersion::parse("latest"), None);
    }

    #[test]
    fn pre_releases_have_an_order() {
        let order = [
            "1.0-alpha",
            "1.0-alpha.1",
            "1.0-alpha.beta",
            "1.0-beta",
            "1.0-beta.2",
            "1.0-beta.11",
            "1.0-rc.1",
            "1.0",
        ];
        for (index, older) in order.iter().enumerate() {
            let minimum = MinVersion::parse(older).unwrap();
            for (other, label) in order.iter().enumerate() {
                assert_eq!(minimum.allows(label), other >= index, "{label} against {older}");
            }
        }
    }
}
