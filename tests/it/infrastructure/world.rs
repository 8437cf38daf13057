//! A git repository with a history of infrastructure, a pipeline that applies its commits, and the adapter that takes them back.
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rollguard::adapters::infrastructure::Infrastructure;
use rollguard::config::{InfrastructureConfig, Secrets};
use rollguard::domain::names::TargetId;
use rollguard::domain::outcome::{Finding, Outcome};
use rollguard::domain::plan::infrastructure::ruling::PlanTerms;
use rollguard::domain::plan::{Goal, Plan, Refusal, draft};
use rollguard::domain::release::{Fingerprint, Version};
use rollguard::domain::survey::Survey;
use rollguard::engine::clock::SystemClock;
use rollguard::ports::Target;
use secrecy::SecretString;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::workloads::target;
use crate::support::{binary, until};

pub(super) const TOOLS: [&str; 2] = ["terraform", "tofu"];
/// Never to be seen anywhere.
pub(super) const PASSWORD: &str = "hunter2-is-the-password";

pub(super) struct World {
    dir: TempDir,
    pub(super) config: InfrastructureConfig,
}

/// The variables and the backend of every commit.
const HEAD: &str = r#"
terraform {
  required_version = ">= 1.5"
  backend "local" {}
}
variable "password" {
  type      = string
  sensitive = true
}
variable "region" { type = string }
"#;

const NODE: &str = r#"
variable "size" { type = string }
resource "terraform_data" "node" { input = var.size }
"#;

pub(super) const V1: &str = r#"
resource "terraform_data" "web" { input = { size = "small", image = "v1", region = var.region } }
resource "terraform_data" "login" { input = { user = "ann", password = "${var.password}-of-v1" } }
resource "terraform_data" "removed" { input = "was there before" }
resource "terraform_data" "name" { input = "same" }
module "nodes" {
  source = "../../modules/node"
  size   = "2"
}
output "size" { value = "small" }
"#;

pub(super) const V2: &str = r#"
resource "terraform_data" "web" { input = { size = "large", image = "v2", region = var.region } }
resource "terraform_data" "login" { input = { user = "ann", password = "${var.password}-of-v2" } }
resource "terraform_data" "other_name" { input = "same" }
moved {
  from = terraform_data.name
  to   = terraform_data.other_name
}
module "nodes" {
  source = "../../modules/node"
  size   = "8"
}
output "size" { value = "large" }
"#;

pub(super) const ADDED: &str = r#"resource "terraform_data" "added" { input = "later" }"#;

pub(super) const MAIN: &str = "env/prod/main.tf";

impl World {
    pub(super) fn new(tool: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let secret = |name: &str, value: &str| {
            Secrets::new([(name.to_string(), SecretString::from(value.to_string()))])
        };
        let config = InfrastructureConfig {
            repository: path("repository"),
            path: PathBuf::from("env/prod"),
            tool: binary(tool),
            workspace: None,
            var_files: vec![PathBuf::from("prod.tfvars")],
            variables: secret("password", PASSWORD),
            backend: secret("path", path("prod.tfstate").to_str().unwrap()),
            environment: vec![],
            state_file: None,
            terms: PlanTerms { stateful: vec![], never: vec![], changes_max: 100, deletes_max: 10 },
            interval: Duration::from_millis(300),
            lock_timeout: Duration::ZERO,
            plan_timeout: Duration::from_secs(60),
            apply_timeout: Duration::from_secs(60),
        };
        let world = Self { dir, config };
        std::fs::create_dir(&world.config.repository).unwrap();
        world.git(&["init", "--quiet", "--initial-branch=main"]);
        world
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where the adapter keeps what is its own.
    pub(super) fn private(&self) -> PathBuf {
        self.dir.path().join("state/infrastructure")
    }

    fn git(&self, args: &[&str]) -> String {
        let identity = ["-c", "user.name=ann", "-c", "user.email=ann@example.com"];
        let mut git = Command::new("git");
        git.arg("-C").arg(&self.config.repository).args(identity).args(args);
        git.env("GIT_COMMITTER_DATE", "2026-11-20T10:00:00Z");
        text(&ended(git.output().unwrap(), "git"))
    }

    /// Writes files, or removes those without content, and answers with the commit.
    pub(super) fn commit(&self, files: &[(&str, Option<&str>)]) -> String {
        for (name, content) in files {
            let path = self.config.repository.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            match content {
                Some(content) if *name == MAIN => std::fs::write(path, format!("{HEAD}{content}")).unwrap(),
                Some(content) => std::fs::write(path, content).unwrap(),
                None => std::fs::remove_file(path).unwrap(),
            }
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message=a change"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// The first commit, applied.
    pub(super) fn first(&self, main: &str) -> String {
        let vars = Some("region = \"eu\"\n");
        let node = ("modules/node/main.tf", Some(NODE));
        let commit = self.commit(&[(MAIN, Some(main)), ("env/prod/prod.tfvars", vars), node]);
        self.deploy(&commit);
        commit
    }

    /// The pipeline applies a commit in a folder of its own.
    pub(super) fn deploy(&self, commit: &str) {
        let mut apply = self.pipeline(commit);
        ended(apply.output().unwrap(), "the pipeline");
    }

    pub(super) fn pipeline(&self, commit: &str) -> Command {
        let tree = self.dir.path().join(format!("pipeline-{commit}"));
        self.git(&["worktree", "add", "--quiet", "--force", "--detach", tree.to_str().unwrap(), commit]);
        let folder = tree.join(&self.config.path);
        let state = self.dir.path().join("prod.tfstate");
        let mut init = self.tool(&folder);
        init.args(["init", "-input=false", "-no-color"])
            .arg(format!("-backend-config=path={}", state.display()));
        ended(init.output().unwrap(), "init");
        let mut apply = self.tool(&folder);
        apply.args(["apply", "-input=false", "-no-color", "-auto-approve", "-var-file=prod.tfvars"]);
        apply
    }

    fn tool(&self, folder: &Path) -> Command {
        let mut tool = Command::new(&self.config.tool);
        tool.current_dir(folder).env("TF_VAR_password", PASSWORD).env("CHECKPOINT_DISABLE", "1");
        tool.env_remove("TF_CLI_CONFIG_FILE");
        tool
    }

    /// Resources in the state with what they were made of.
    pub(super) fn inputs(&self) -> Vec<(String, Value)> {
        let text = std::fs::read(self.dir.path().join("prod.tfstate")).unwrap();
        let state: Value = serde_json::from_slice(&text).unwrap();
        let resource = |r: &Value| {
            let module = r["module"].as_str().map(|m| format!("{m}.")).unwrap_or_default();
            let input = r["instances"][0]["attributes"]["input"].clone();
            let value = if input.get("value").is_some() { input["value"].clone() } else { input };
            (format!("{module}{}", r["name"].as_str().unwrap()), value)
        };
        let mut all: Vec<_> = state["resources"].as_array().unwrap().iter().map(resource).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// A new life of the adapter.
    pub(super) fn begin(&self) -> Infrastructure {
        let targets = [(id(), self.config.clone())];
        Infrastructure::new(targets, &self.private(), Arc::new(SystemClock)).unwrap()
    }

    /// All files below the private folder.
    pub(super) fn private_files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.private()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    found.push(entry.path());
                }
            }
        }
        found
    }
}

pub(super) fn id() -> TargetId {
    target("shop", "infra")
}

fn ended(output: Output, what: &str) -> Output {
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

pub(super) fn version(commit: &str) -> Version {
    let label = commit.chars().take(10).collect();
    Version { fingerprint: Fingerprint::named(commit), label, images: vec![] }
}

/// What is drafted to go back to `good`, once there is a plan or none can be made.
pub(super) async fn way_back(infra: &Infrastructure, good: &str) -> Result<Plan, Refusal> {
    let goal = Goal::Version(version(good));
    until("a plan is made", Duration::from_secs(60), async || {
        let survey = infra.survey(&id()).await.unwrap();
        infra.surroundings(&id(), Some(&survey), &[version(good)]).await;
        let drafted = draft(&infra.survey(&id()).await.unwrap(), &goal, "run", 600);
        let waits = drafted.as_ref().is_err_and(|refusal| {
            let told = refusal.to_string();
            told.contains("there is no plan yet") || told.contains("is being made")
        });
        (!waits).then_some(drafted)
    })
    .await
}

/// Carries the plan out as the driver does.
pub(super) async fn carry_out(infra: &Infrastructure, plan: &Plan) -> Result<(), String> {
    for step in &plan.steps {
        let mut applied = None;
        loop {
            match infra.observe(step).await {
                Finding::Satisfied { .. } => break,
                Finding::NotYet { .. } if step.action.mutates() && applied.is_none() => {
                    applied = Some(infra.apply(step).await);
                }
                Finding::NotYet { detail, .. } => return Err(format!("{detail}, {applied:?}")),
                Finding::Unseen { why } | Finding::Conflict { why } => return Err(why),
            }
        }
    }
    Ok(())
}

pub(super) async fn announce(infra: &Infrastructure, release: &str) {
    assert!(infra.announced(&id(), release, Timestamp::now()).await);
}

pub(super) fn refused(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Refused { why } => why,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn deployed(infra: &Infrastructure) -> String {
    match infra.survey(&id()).await.unwrap() {
        Survey::Infrastructure(found) => found.version.fingerprint.as_str().to_string(),
        other => panic!("{other:?}"),
    }
}
