//! What a person may do here.
use std::fmt;

/// Reading needs none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Say what was released, as deploy tools do.
    Release,
    /// Order rollbacks, and see those through that are under way.
    Operate,
    Approve,
    /// Approve alone in an emergency, with a reason that pages.
    BreakGlass,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Release, Role::Operate, Role::Approve, Role::BreakGlass];
    /// Of a person about whom nothing else is written.
    pub const USUAL: [Role; 3] = [Role::Release, Role::Operate, Role::Approve];

    /// As configurations write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Release => "release",
            Role::Operate => "operate",
            Role::Approve => "approve",
            Role::BreakGlass => "break_glass",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
