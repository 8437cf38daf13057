//! Buttons under a question: what each of them says when it is pressed, and how that is read back.
use super::plan::PlanDigest;

/// What a person may press.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Press {
    Approve,
    Deny,
    Acknowledge,
}

impl Press {
    pub const ALL: [Press; 3] = [Press::Approve, Press::Deny, Press::Acknowledge];

    /// The button's `action_id`.
    pub fn action_id(self) -> &'static str {
        match self {
            Press::Approve => "rollguard_approve",
            Press::Deny => "rollguard_deny",
            Press::Acknowledge => "rollguard_acknowledge",
        }
    }
}

/// A button is for one run and one plan: what it was shown with, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Button {
    pub press: Press,
    pub run: String,
    pub digest: PlanDigest,
}

const VERSION: &str = "v1";
/// Longer than any run's name.
const VALUE_CHARS_MAX: usize = 300;

impl Button {
    /// The button's `value`.
    pub fn value(&self) -> String {
        format!("{VERSION} {} {}", self.run, self.digest.as_str())
    }

    /// `None` for what is no button of ours.
    pub fn parse(action_id: &str, value: &str) -> Option<Self> {
        let press = Press::ALL.into_iter().find(|press| press.action_id() == action_id)?;
        if value.len() > VALUE_CHARS_MAX {
            return None;
        }
        let mut parts = value.split(' ');
        let (version, run, digest) = (parts.next()?, parts.next()?, parts.next()?);
        let plain = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
        let hex = digest.chars().all(|c| c.is_ascii_hexdigit());
        let ours = version == VERSION && parts.next().is_none() && plain(run) && !digest.is_empty() && hex;
        ours.then(|| Self { press, run: run.to_string(), digest: PlanDigest::named(digest) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_a_button_says_is_read_back(
            press in prop::sample::select(Press::ALL.to_vec()), run in "[a-z0-9._-]{1,60}-[0-9a-f]{6}", digest in "[0-9a-f]{64}",
        ) {
            let button = Button { press, run, digest: PlanDigest::named(digest) };
            prop_assert_eq!(Button::parse(press.action_id(), &button.value()), Some(button));
        }

        #[test]
        fn anything_else_is_no_button(action in ".{0,40}", value in ".{0,400}") {
            let read = Button::parse(&action, &value);
            prop_assert!(read.is_none_or(|button| button.value() == value));
            prop_assert_eq!(Button::parse("rollguard_skip", "v1 shop-abcdef 0123"), None);
        }
    }
}
