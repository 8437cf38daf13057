//! Announcements in the user's own words: templates over a message's facts, checked before they are needed.
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, context};

use super::facts::{Facts, Versions};
use super::{Message, MessageKind, duration};
use crate::domain::code::Code;
use crate::domain::evidence::clock_time;
use crate::domain::markup;
use crate::domain::names::{ServiceName, TargetId, TargetName};
use crate::domain::runbook::{ChecklistItem, Item};
use crate::domain::verification::{CheckOutcome, CheckStatus};

/// Longer texts are no announcements.
const SOURCE_MAX: usize = 16 * 1024;
const NAME: &str = "template";

/// How values are written, so that nothing in them takes effect. The template's own text is the user's, and stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Markup {
    Plain,
    Slack,
}

/// Which announcement a template is for: the runbook's two, and their twin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    Action,
    Complete,
    Failed,
}

impl Occasion {
    pub const ALL: [Occasion; 3] = [Occasion::Action, Occasion::Complete, Occasion::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            Occasion::Action => "action",
            Occasion::Complete => "complete",
            Occasion::Failed => "failed",
        }
    }

    pub fn of(message: &Message) -> Option<Self> {
        if message.kind == MessageKind::Resolve {
            return None;
        }
        let failed = [Code::RollbackFailed, Code::RollbackUnverified, Code::RollbackStuck, Code::StillBad];
        let code = message.code?;
        match () {
            () if code == Code::RollbackStarted => Some(Occasion::Action),
            () if code == Code::RollbackVerified => Some(Occasion::Complete),
            () if failed.contains(&code) => Some(Occasion::Failed),
            () => None,
        }
    }
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("longer than {} KiB", SOURCE_MAX / 1024)]
    TooLong,
    #[error("{what}{}", in_line(*line))]
    Wrong { what: String, line: Option<usize> },
    #[error("there is no {name:?}{}: known are {known}", meant.as_ref().map(|m| format!(", did you mean {m:?}")).unwrap_or_default())]
    Unknown { name: String, meant: Option<String>, known: String },
    #[error("it renders to nothing")]
    Empty,
}

fn in_line(line: Option<usize>) -> String {
    line.map(|line| format!(" (line {line} of the template)")).unwrap_or_default()
}

/// A template that has been rendered with sample data once.
#[derive(Clone, Debug)]
pub struct Template {
    source: String,
}

impl Template {
    /// Reads a template, and renders it with sample data: what would fail then fails now.
    ///
    /// # Errors
    /// A template that is none, that uses what there is not, or that says nothing.
    pub fn parse(source: &str, occasion: Occasion) -> Result<Self, TemplateError> {
        if source.len() > SOURCE_MAX {
            return Err(TemplateError::TooLong);
        }
        let template = Self { source: source.to_string() };
        template.known_names()?;
        template.render(&sample(occasion), Markup::Plain)?;
        Ok(template)
    }

    /// The text for a message, its values escaped.
    ///
    /// # Errors
    /// Only for facts that its sample did not have.
    pub fn render(&self, message: &Message, markup: Markup) -> Result<String, TemplateError> {
        let environment = self.environment(markup).map_err(told)?;
        let template = environment.get_template(NAME).map_err(told)?;
        let text = template.render(variables(message)).map_err(told)?;
        if text.trim().is_empty() { Err(TemplateError::Empty) } else { Ok(text.trim().to_string()) }
    }

    /// For what `rollguard check` shows.
    pub fn sample(&self, occasion: Occasion) -> String {
        self.render(&sample(occasion), Markup::Plain).unwrap_or_default()
    }

    fn environment(&self, markup: Markup) -> Result<Environment<'_>, Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_formatter(move |out, _, value| {
            let text = value.to_string();
            let text = match markup {
                Markup::Slack if !value.is_safe() => markup::slack(&text),
                Markup::Slack | Markup::Plain => text,
            };
            out.write_str(&text).map_err(Error::from)
        });
        environment.add_template(NAME, &self.source)?;
        Ok(environment)
    }

    fn known_names(&self) -> Result<(), TemplateError> {
        let environment = self.environment(Markup::Plain).map_err(told)?;
        let template = environment.get_template(NAME).map_err(told)?;
        let variables = variables(&sample(Occasion::Action));
        let known: Vec<String> = variables
            .try_iter()
            .map(|names| names.map(|name| name.to_string()).collect())
            .unwrap_or_default();
        let mut used: Vec<String> = template.undeclared_variables(false).into_iter().collect();
        used.sort();
        let functions = ["range", "dict", "namespace", "debug"];
        match used.into_iter().find(|name| !known.contains(name) && !functions.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let near = |known: &&String| strsim::damerau_levenshtein(known, &name);
                let meant = known.iter().min_by_key(near).filter(|known| near(known) <= 3).cloned();
                Err(TemplateError::Unknown { name, meant, known: known.join(", ") })
            }
        }
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

fn told(error: Error) -> TemplateError {
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    TemplateError::Wrong { what: format!("{}{detail}", error.kind()), line: error.line() }
}

/// All that a template may use; each is there in every message, if need be empty.
fn variables(message: &Message) -> Value {
    let facts = message.facts.as_deref();
    let text = |of: fn(&Facts) -> Option<String>| facts.and_then(of).unwrap_or_default();
    let versions = |of: fn(&Versions) -> Option<&String>| {
        let all = facts.iter().flat_map(|f| f.versions.iter());
        let several = facts.is_some_and(|f| f.versions.len() > 1);
        let one = |versions: &Versions| {
            let label = of(versions)?;
            Some(if several { format!("{} {label}", versions.target.target) } else { label.clone() })
        };
        all.filter_map(one).collect::<Vec<_>>().join(", ")
    };
    let checks = facts.iter().flat_map(|f| f.checks.iter()).map(|check| {
        let passed = check.outcome == Some(CheckOutcome::Passed);
        context! { name => &check.name, passed => passed, mark => check.mark(), detail => &check.detail }
    });
    let checklist = facts.iter().flat_map(|f| f.checklist.iter()).map(|item| {
        context! { item => item.item.title(), met => item.met, mark => item.mark(), detail => &item.detail }
    });
    context! {
        kind => message.kind.as_str(),
        code => message.code.map(|code| code.id()).unwrap_or_default(),
        title => &message.title,
        lines => &message.lines,
        service => message.service.as_str(),
        targets => message.targets.iter().map(ToString::to_string).collect::<Vec<_>>(),
        incident => &message.incident,
        run => text(|f| f.run.clone()),
        severity => text(|f| f.severity.map(|sev| sev.to_string())),
        reason => text(|f| Some(f.reason.clone())),
        from => versions(|v| Some(&v.from)),
        to => versions(|v| v.to.as_ref()),
        executor => text(|f| f.executor.clone()),
        impact => text(|f| f.impact.clone()),
        status_page => text(|f| f.status_page.clone()),
        released => text(|f| f.released_at.map(clock_time)),
        time => text(|f| Some(clock_time(f.at))),
        until => text(|f| f.until.map(clock_time)),
        duration => text(|f| Some(duration(f.at.duration_since(f.began_at?).as_secs().unsigned_abs()))),
        monitoring => text(|f| Some(duration(f.until?.duration_since(f.at).as_secs().unsigned_abs()))),
        checks => checks.collect::<Vec<_>>(),
        checklist => checklist.collect::<Vec<_>>(),
        steps => facts.map(|f| f.steps.clone()).unwrap_or_default(),
        changed => facts.map(|f| f.changed.clone()).unwrap_or_default(),
    }
}

/// A message such as one in production, for a look at a template.
pub fn sample(occasion: Occasion) -> Message {
    let at = |secs: i64| jiff::Timestamp::from_second(1_795_341_600 + secs).unwrap_or_default();
    let (kind, code, title) = match occasion {
        Occasion::Action => (MessageKind::Action, Code::RollbackStarted, "[ACTION] Initiating rollback"),
        Occasion::Complete => {
            (MessageKind::Complete, Code::RollbackVerified, "[COMPLETE] Rollback successful")
        }
        Occasion::Failed => {
            (MessageKind::Failed, Code::RollbackFailed, "[FAILED] The rollback did not restore the service")
        }
    };
    let (service, targets) = sample_targets();
    let check =
        |name: &str, outcome, detail: &str| CheckStatus { name: name.into(), outcome, detail: detail.into() };
    let item = |item, met, detail: &str| ChecklistItem { item, met, detail: detail.into() };
    let reason =
        "15.2 % errors on 412 requests of 3 new pods since 10:01:20, threshold 5.0 %, old pods 0.3 %";
    let facts = Facts {
        at: at(300),
        reason: reason.to_string(),
        run: Some("shop-1a2b3c".into()),
        ask: None,
        under_way: false,
        severity: Some(2),
        versions: targets
            .iter()
            .map(|t| Versions { target: t.clone(), from: "v2".into(), to: Some("v1".into()) })
            .collect(),
        released_at: Some(at(0)),
        began_at: Some(at(120)),
        executor: Some("rollguard, by policy".into()),
        impact: Some("pods are replaced as in any rollout".into()),
        status_page: Some("https://status.example.com".into()),
        until: Some(at(2100)),
        checks: vec![
            check("API health", Some(CheckOutcome::Passed), "200 in 12 ms"),
            check("error rate", Some(CheckOutcome::Failed), "1.4 %, not below 1.0 %"),
        ],
        checklist: vec![
            item(Item::Severity, true, "SEV 2"),
            item(Item::StatusPage, false, "no status page is configured"),
        ],
        steps: vec!["restore the pod template of backend-7f (v1)".into(), "await the rollout of v1".into()],
        changed: vec!["container app: image shop:v1 → shop:v2".into()],
    };
    Message {
        key: "shop-1a2b3c/sample".into(),
        incident: "shop/backend.0123456789ab.1795341600".into(),
        kind,
        service,
        title: format!("{title} - shop (backend v2 → v1)"),
        lines: vec![format!("Reason: {reason}")],
        targets,
        code: Some(code),
        facts: Some(Box::new(facts)),
        level: 0,
    }
}

fn sample_targets() -> (ServiceName, Vec<TargetId>) {
    let service = ServiceName::of_house();
    let named = ServiceName::parse("shop").unwrap_or(service);
    let target = TargetName::parse("backend").ok();
    let targets = target.map(|target| TargetId { service: named.clone(), target });
    (named, targets.into_iter().collect())
}
