//! A target that is a folder of Terraform or OpenTofu in a git repository.
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::Secrets;
use super::check::Around;
use super::keys::{DAY, PATH, TEXT, leaf, optional, required, span};
use super::raw::Fields;
use super::secrets;
use super::shape::{Field, Leaf, Shape};
use crate::domain::plan::infrastructure::ruling::PlanTerms;

/// Where infrastructure is written down, and how its plans are made, judged and applied.
#[derive(Clone, Debug, PartialEq)]
pub struct InfrastructureConfig {
    /// A clone that somebody keeps up to date; its own working tree is never touched.
    pub repository: PathBuf,
    /// The folder within it, `.` for its top.
    pub path: PathBuf,
    /// `terraform` or `tofu` as the shell would find it, or a path.
    pub tool: PathBuf,
    pub workspace: Option<String>,
    /// Relative ones are the commit's own, from the folder on.
    pub var_files: Vec<PathBuf>,
    /// Secret variables of the configuration.
    pub variables: Secrets,
    /// Settings of the backend that are not in the repository.
    pub backend: Secrets,
    /// Names of variables of our own environment that the tool may see.
    pub environment: Vec<String>,
    /// The state, where it is a file of this machine.
    pub state_file: Option<PathBuf>,
    pub terms: PlanTerms,
    /// How often the state's serial is looked at.
    pub interval: Duration,
    pub lock_timeout: Duration,
    pub plan_timeout: Duration,
    pub apply_timeout: Duration,
}

impl InfrastructureConfig {
    pub(super) fn place(&self) -> String {
        let workspace = self.workspace.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        format!("the infrastructure {}:{}{workspace}", self.repository.display(), self.path.display())
    }
}

const TEXTS: Shape = Shape::Texts;

pub(super) const INFRASTRUCTURE: &[Field] = &[
    required(
        "repository",
        PATH,
        "A git clone with the history, kept up to date by you; rollguard only reads its commits.",
    ),
    optional("path", TEXT, "The folder within the repository; its top unless said otherwise."),
    optional("tool", PATH, "terraform unless set, or tofu; or the path of one of them."),
    optional("workspace", TEXT, "The workspace, default unless said otherwise."),
    optional("var_files", TEXTS, "Files of variables: relative ones are those of the commit, in its folder."),
    optional("variables", Shape::Secrets, "Secret variables of the configuration, which no text ever shows."),
    optional(
        "backend",
        Shape::Secrets,
        "Settings of the backend that are not in the repository; no text ever shows them.",
    ),
    optional(
        "environment",
        TEXTS,
        "Names of variables of rollguard's own environment that the tool may see.",
    ),
    optional("state_file", PATH, "The state, if it is a file; otherwise it is read with `state pull`."),
    optional(
        "never",
        TEXTS,
        "Types or addresses that a rollback never changes, whoever approves; * stands for any text.",
    ),
    optional("stateful", TEXTS, "Further types or addresses whose change a person must approve."),
    optional(
        "max_changes",
        leaf(Leaf::Count { least: 1, most: 10_000 }),
        "A plan that changes more is not applied; 100 unless set.",
    ),
    optional(
        "max_deletes",
        leaf(Leaf::Count { least: 0, most: 10_000 }),
        "A plan that deletes, replaces or forgets more is not applied; 10 unless set.",
    ),
    optional("interval", span(1_000, DAY), "How often the state's serial is looked at; 1m unless set."),
    optional(
        "lock_timeout",
        span(0, 3600),
        "How long a held state lock is waited for, each time; 1m unless set.",
    ),
    optional("plan_timeout", span(1_000, DAY), "Longest time to make a plan; 10m unless set."),
    optional("apply_timeout", span(1_000, DAY), "Longest time to apply a plan; 1h unless set."),
];

pub(super) fn read(fields: &Fields<'_>, around: &Around<'_>) -> Option<InfrastructureConfig> {
    let file = |path: PathBuf| around.outside.path(path);
    let named = |key: &str| {
        let section = fields.open_free(key);
        let all = section.map(|section| secrets::named(&section, &around.outside)).unwrap_or_default();
        Secrets::new(all.into_iter().filter_map(|(name, _, secret)| Some((name, secret?))))
    };
    let span = |key: &str, usual: u64| fields.read(key).unwrap_or(Duration::from_secs(usual));
    let path = fields.read::<String>("path").map_or_else(|| PathBuf::from("."), PathBuf::from);
    let path = within(fields, path)?;
    let tool = fields.read::<PathBuf>("tool").unwrap_or_else(|| PathBuf::from("terraform"));
    // A bare name is looked for in PATH; whatever has a slash is a file beside the configuration.
    let tool = if tool.components().count() > 1 { file(tool) } else { tool };
    Some(InfrastructureConfig {
        repository: file(fields.read::<PathBuf>("repository")?),
        path,
        tool,
        workspace: fields.read("workspace"),
        var_files: fields.texts("var_files").into_iter().map(PathBuf::from).collect(),
        variables: named("variables"),
        backend: named("backend"),
        environment: environment(fields),
        state_file: fields.read::<PathBuf>("state_file").map(file),
        terms: PlanTerms {
            stateful: fields.texts("stateful"),
            never: fields.texts("never"),
            changes_max: fields.read("max_changes").unwrap_or(100),
            deletes_max: fields.read("max_deletes").unwrap_or(10),
        },
        interval: span("interval", 60),
        lock_timeout: span("lock_timeout", 60),
        plan_timeout: span("plan_timeout", 600),
        apply_timeout: span("apply_timeout", 3600),
    })
}

fn within(fields: &Fields<'_>, path: PathBuf) -> Option<PathBuf> {
    let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if path.components().all(inside) && !path.starts_with(".git") {
        return Some(
            path.components().filter(|part| !matches!(part, Component::CurDir)).collect::<PathBuf>(),
        )
        .map(|path| if path == Path::new("") { PathBuf::from(".") } else { path });
    }
    fields.notes.error(fields.at("path"), "path: write a folder within the repository, such as env/prod");
    None
}

/// What would change what the tool does to the plan is not handed on.
fn environment(fields: &Fields<'_>) -> Vec<String> {
    let names = fields.texts("environment");
    for name in &names {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty();
        if !plain || name.starts_with("TF_CLI_ARGS") || name == "TF_LOG" || name.starts_with("GIT_") {
            let message = "environment: write names such as AWS_PROFILE; TF_CLI_ARGS, TF_LOG and GIT_* are not handed on";
            fields.notes.error(fields.at("environment"), message);
        }
    }
    names
}
