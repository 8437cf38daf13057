//! A state of Terraform or OpenTofu: which one it is, and how its backup differs from it.
use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Which state, and which version of it. Every change of the state makes its serial larger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateId {
    pub lineage: String,
    pub serial: u64,
}

impl fmt::Display for StateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lineage = self.lineage.get(..8).unwrap_or(&self.lineage);
        write!(f, "{lineage} serial {}", self.serial)
    }
}

#[derive(Deserialize)]
struct RawState {
    lineage: String,
    serial: u64,
    #[serde(default)]
    resources: Vec<RawResource>,
}

#[derive(Deserialize)]
struct RawResource {
    module: Option<String>,
    #[serde(default)]
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    name: String,
}

/// The state that a document is; `None` if it is none, or an empty one.
pub fn identify(document: &[u8]) -> Option<StateId> {
    let raw: RawState = serde_json::from_slice(document).ok()?;
    (!raw.lineage.is_empty()).then_some(StateId { lineage: raw.lineage, serial: raw.serial })
}

/// Resources that are named in a comparison.
const NAMED_MAX: usize = 10;

/// What a person must know before they put a backup in the place of a state: how the two differ. Nobody else does that.
pub fn compare(backup: &[u8], present: &[u8]) -> Vec<String> {
    let (Ok(backup), Ok(present)) =
        (serde_json::from_slice::<RawState>(backup), serde_json::from_slice::<RawState>(present))
    else {
        return Vec::new();
    };
    let mut lines = vec![format!("the backup has serial {}, the state {}", backup.serial, present.serial)];
    if backup.lineage != present.lineage {
        lines.push("their lineages differ: the backup is that of another state, leave it alone".into());
    }
    let (old, new) = (addresses(&backup), addresses(&present));
    let named = |what: &str, mut only: Vec<String>| {
        let count = only.len();
        only.truncate(NAMED_MAX);
        (count > 0).then(|| format!("{count} resources only in {what}: {}", only.join(", ")))
    };
    lines.extend(named("the backup", old.difference(&new).cloned().collect()));
    lines.extend(named("the state", new.difference(&old).cloned().collect()));
    lines
}

fn addresses(state: &RawState) -> BTreeSet<String> {
    let address = |r: &RawResource| {
        let data = if r.mode == "data" { "data." } else { "" };
        let module = r.module.as_ref().map(|module| format!("{module}.")).unwrap_or_default();
        format!("{module}{data}{}.{}", r.kind, r.name)
    };
    state.resources.iter().map(address).collect()
}
