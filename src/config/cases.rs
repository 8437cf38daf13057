//! Cases for policies: a file that says what must happen when, as promtool's tests do for rules.
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::load::{read_file, read_text};
use super::problem::{LoadError, Notes};
use super::raw::Fields;
use super::shape::{Field, Leaf, Need, Shape};
use super::value::{FromText, no_choice};
use super::yaml::Node;
use crate::domain::evidence::{Cause, Strength};
use crate::domain::names::{ServiceName, TargetName};
use crate::domain::policy::Decision;

/// What a file says.
#[derive(Clone, Debug)]
pub struct Cases {
    /// Relative to the file.
    pub config: Option<PathBuf>,
    pub tests: Vec<PolicyCase>,
}

#[derive(Clone, Debug)]
pub struct PolicyCase {
    pub name: String,
    pub line: usize,
    pub service: ServiceName,
    /// All of the service, if it is empty.
    pub targets: Vec<TargetName>,
    pub strength: Strength,
    pub cause: Cause,
    pub evidence: Vec<String>,
    pub at: Timestamp,
    pub expect: Expected,
}

#[derive(Clone, Debug, Default)]
pub struct Expected {
    pub decision: Option<Decision>,
    pub severity: Option<u8>,
    /// What must stand in the reasons.
    pub because: Option<String>,
}

const fn field(name: &'static str, shape: Shape, need: Need, doc: &'static str) -> Field {
    Field { name, shape, need, doc }
}

const FILE: &[Field] = &[
    field("config", Shape::Leaf(Leaf::Path), Need::Optional, "The configuration, relative to this file."),
    field("tests", Shape::Maps(CASE), Need::Here, "What must happen when."),
];

const CASE: &[Field] = &[
    field("name", Shape::Leaf(Leaf::Text), Need::Here, "What is tested."),
    field("service", Shape::Leaf(Leaf::Name), Need::Here, "Whose policy."),
    field("target", Shape::Some(Leaf::Name), Need::Optional, "Which targets together; all unless set."),
    field(
        "verdict",
        Shape::Leaf(VERDICTS),
        Need::Optional,
        "How far the evidence reaches; rollback unless set.",
    ),
    field("cause", Shape::Leaf(CAUSES), Need::Optional, "Who is to blame; the release unless set."),
    field("evidence", Shape::Some(Leaf::Text), Need::Optional, "Rules, or facts such as crash-loop."),
    field("at", Shape::Leaf(Leaf::Text), Need::Here, "When, such as 2026-11-23T03:00:00Z."),
    field("expect", Shape::Map(EXPECT), Need::Here, "What must happen."),
];

const EXPECT: &[Field] = &[
    field("decision", Shape::Leaf(DECISIONS), Need::Optional, "hold, page, ask or rollback."),
    field("severity", Shape::Leaf(Leaf::Count { least: 1, most: 4 }), Need::Optional, "SEV 1 to 4."),
    field("because", Shape::Leaf(Leaf::Text), Need::Optional, "What stands in the reasons."),
];

const VERDICTS: Leaf = Leaf::Choice(&["rollback", "urgent", "page", "minor", "quiet"]);
const CAUSES: Leaf = Leaf::Choice(&["release", "shared", "single_pod", "unknown"]);
const DECISIONS: Leaf = Leaf::Choice(&["hold", "page", "ask", "rollback"]);

/// # Errors
/// All mistakes of the file at once, with line and column.
pub fn load_cases(path: &Path) -> Result<Cases, LoadError> {
    let text = read_file(path)?;
    let dir = path.parent().unwrap_or(Path::new(""));
    read_text(&text, &path.display().to_string(), |root, notes| cases(root, notes, dir))
        .map(|(cases, _)| cases)
}

fn cases(root: &Node, notes: &Notes, dir: &Path) -> Option<Cases> {
    let root = Fields::open(root, "the file", FILE, notes)?;
    if root.is_empty_list("tests") {
        notes.error(root.at("tests"), "tests: there is none");
    }
    let config = root.read::<PathBuf>("config").map(|config| dir.join(config));
    Some(Cases { config, tests: root.maps("tests").iter().filter_map(case).collect() })
}

fn case(fields: &Fields<'_>) -> Option<PolicyCase> {
    let expect = fields.map("expect").map(|expect| expected(&expect));
    Some(PolicyCase {
        line: fields.begin().line,
        name: fields.read("name")?,
        service: fields.read("service")?,
        targets: fields.some::<TargetName>("target").into_iter().map(|(_, name)| name).collect(),
        strength: fields.read("verdict").unwrap_or(Strength::Rollback),
        cause: fields.read("cause").unwrap_or(Cause::Release),
        evidence: fields.some::<String>("evidence").into_iter().map(|(_, name)| name).collect(),
        at: fields.read("at")?,
        expect: expect?,
    })
}

fn expected(fields: &Fields<'_>) -> Expected {
    let severity = fields.read::<usize>("severity").and_then(|severity| u8::try_from(severity).ok());
    let expected = Expected { decision: fields.read("decision"), severity, because: fields.read("because") };
    if !["decision", "severity", "because"].iter().any(|key| fields.has(key)) {
        fields.notes.error(fields.begin(), "expect: it says nothing that could fail: add a decision");
    }
    expected
}

impl FromText for Timestamp {
    fn from_text(text: &str, _: Leaf) -> Result<Self, String> {
        text.parse().map_err(|_| "this is no time: write such as 2026-11-23T03:00:00Z".to_string())
    }
}

/// As JSON names them.
macro_rules! as_in_json {
    ($($type:ty),*) => {
        $(impl FromText for $type {
            fn from_text(text: &str, leaf: Leaf) -> Result<Self, String> {
                serde_json::from_value(text.into()).map_err(|_| no_choice(leaf))
            }
        })*
    };
}

as_in_json!(Strength, Cause, Decision);
