//! Names that people give to things: short, lower-case, safe in URLs, labels and file names.
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{value:?} is not a valid name: use 1 to 63 of a-z, 0-9, '-', '_' and '.', beginning with a letter or digit"
)]
pub struct NameError {
    pub value: String,
}

fn check(value: &str) -> Result<(), NameError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    let begins_well = value.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if begins_well && value.len() <= 63 && value.chars().all(allowed) {
        return Ok(());
    }
    Err(NameError { value: value.chars().take(80).collect() })
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            pub fn parse(value: impl Into<String>) -> Result<Self, NameError> {
                let value = value.into();
                check(&value)?;
                Ok(Self(value.into()))
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(value: String) -> Result<Self, NameError> {
                Self::parse(value)
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_string()
            }
        }
        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// What one team owns: targets, a runbook and a policy.
    ServiceName
);
name!(
    /// One thing of a service that can be rolled back.
    TargetName
);
name!(
    /// A rule of the runbook, such as `error-rate`.
    RuleName
);
name!(
    /// Somebody who may approve, deny or order.
    PersonName
);

/// A target within its service, written `shop/backend`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TargetId {
    pub service: ServiceName,
    pub target: TargetName,
}

impl ServiceName {
    /// Whom messages are about that are about rollguard itself.
    pub fn of_house() -> Self {
        Self("rollguard".into())
    }
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.target)
    }
}

/// What a rollback of this target touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    Kubernetes,
    Frontend,
    Database,
    Infrastructure,
}

impl TargetKind {
    pub const ALL: [TargetKind; 4] =
        [TargetKind::Kubernetes, TargetKind::Frontend, TargetKind::Database, TargetKind::Infrastructure];

    /// As configurations write it.
    pub fn as_str(self) -> &'static str {
        match self {
            TargetKind::Kubernetes => "kubernetes",
            TargetKind::Frontend => "frontend",
            TargetKind::Database => "database",
            TargetKind::Infrastructure => "infrastructure",
        }
    }
}

impl fmt::Display for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_everywhere() {
        for good in ["shop", "error-rate", "a", "9lives", "db.main_1"] {
            assert!(ServiceName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "Shop", "-x", "a b", "a/b", "é", &"x".repeat(64)] {
            assert!(ServiceName::parse(bad).is_err(), "{bad}");
        }
    }
}
