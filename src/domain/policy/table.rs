//! A service's policy as people mean it: lines that are read from top to bottom, and exactly one answer for every case.
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use super::asking::{Approvals, Unanswered};
use super::hours::Hours;
use super::matter::{About, Seen, any_of};
use super::{Mode, severity};
use crate::domain::names::{TargetKind, TargetName};
use crate::domain::verdict::Verdict;

/// The runbook rolls back from this severity on; 1 is the worst.
pub const ROLLBACK_FROM: u8 = 2;

/// What is done about evidence that is enough for a rollback, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// Roll back, then tell.
    Auto,
    /// Draft the plan and wait for people.
    Approval,
    /// Wake somebody.
    Page,
}

impl Act {
    pub const ALL: [Act; 3] = [Act::Auto, Act::Approval, Act::Page];

    pub fn as_str(self) -> &'static str {
        match self {
            Act::Auto => "auto",
            Act::Approval => "approval",
            Act::Page => "page",
        }
    }
}

impl From<Act> for Mode {
    fn from(act: Act) -> Self {
        match act {
            Act::Auto => Mode::Auto,
            Act::Approval => Mode::Approval,
            Act::Page => Mode::Page,
        }
    }
}

/// What the owner of a service lets rollguard do.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The first one that fits decides.
    pub lines: Vec<Line>,
    /// Where none fits.
    pub otherwise: Act,
    /// What would be done is only recorded.
    pub observe: bool,
    pub hours: Option<Hours>,
    /// How bad evidence is; the first one that fits counts, or else the runbook's own table.
    pub severities: Vec<SeverityLine>,
    /// What its targets are, and what is written about them.
    pub targets: BTreeMap<TargetName, TargetTerms>,
    pub approvals: Approvals,
    /// In the order of time.
    pub unanswered: Vec<Unanswered>,
    /// A page that nobody acknowledged by then is sent once more, at a higher level.
    pub escalate_after: Option<Duration>,
}

/// Conditions that must all be met, and what is done then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Any of them; empty for any evidence.
    pub evidence: Vec<About>,
    /// Empty for those from which the runbook rolls back.
    pub severity: Vec<u8>,
    /// Empty for all kinds.
    pub kinds: Vec<TargetKind>,
    pub hours: Option<When>,
    pub then: Act,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Inside,
    Outside,
}

impl When {
    pub const ALL: [When; 2] = [When::Inside, When::Outside];

    /// As configurations write it.
    pub fn as_str(self) -> &'static str {
        match self {
            When::Inside => "inside",
            When::Outside => "outside",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeverityLine {
    /// Any of them.
    pub evidence: Vec<About>,
    pub severity: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetTerms {
    pub kind: TargetKind,
    /// What is written about this target alone.
    pub own: Option<Mode>,
}

/// What a policy is asked.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    pub verdict: &'a Verdict,
    /// The evidence that is enough for a rollback.
    pub seen: &'a [Seen],
    pub at: Timestamp,
    /// All that would be rolled back together.
    pub targets: &'a [TargetName],
}

/// The one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    pub act: Act,
    pub observe: bool,
    pub severity: u8,
    /// Which part of the policy says so; none where it has only one part.
    pub because: Option<String>,
    /// Whether anything may be done here without a person, were it not for this case.
    pub alone: bool,
}

impl Ruling {
    /// Of a policy without conditions.
    pub fn plain(mode: Mode) -> Self {
        let (act, observe) = parts(mode);
        Self { act, observe, severity: ROLLBACK_FROM, because: None, alone: act == Act::Auto }
    }
}

/// The strictest that a kind of target is left to, unless it is written otherwise.
fn usual(kind: TargetKind) -> Act {
    match kind {
        TargetKind::Kubernetes | TargetKind::Frontend => Act::Auto,
        TargetKind::Database | TargetKind::Infrastructure => Act::Approval,
    }
}

fn parts(mode: Mode) -> (Act, bool) {
    match mode {
        Mode::Auto => (Act::Auto, false),
        Mode::Approval => (Act::Approval, false),
        Mode::Page => (Act::Page, false),
        Mode::Observe => (Act::Auto, true),
    }
}

impl From<Mode> for Policy {
    /// The same in every case.
    fn from(mode: Mode) -> Self {
        let (otherwise, observe) = parts(mode);
        Self {
            lines: Vec::new(),
            otherwise,
            observe,
            hours: None,
            severities: Vec::new(),
            targets: BTreeMap::new(),
            approvals: Approvals::default(),
            unanswered: Vec::new(),
            escalate_after: None,
        }
    }
}

impl Policy {
    /// What is done in this case, and why. The strictest answer of all its targets counts.
    pub fn rule(&self, case: Case<'_>) -> Ruling {
        let severity = self.severity(case.verdict, case.seen);
        let one = |target: &TargetName| self.rule_target(case, severity, target);
        let strictest = |a: Ruling, b: Ruling| {
            let (observe, alone) = (a.observe || b.observe, a.alone && b.alone);
            Ruling { observe, alone, ..if b.act > a.act { b } else { a } }
        };
        let nobody = || Ruling { observe: self.observe, severity, ..Ruling::plain(self.otherwise.into()) };
        case.targets.iter().map(one).reduce(strictest).unwrap_or_else(nobody)
    }

    fn rule_target(&self, case: Case<'_>, severity: u8, target: &TargetName) -> Ruling {
        let terms = self.terms(target);
        let fits = |(_, line): &(usize, &Line)| self.fits(line, case, severity, terms.kind);
        // Only what is enough for a rollback is decided by lines.
        let line = self.lines.iter().enumerate().find(fits).filter(|_| case.verdict.trips());
        let (act, because) = match line {
            Some((n, line)) => (line.then, Some(format!("line {} of the policy ({line})", n + 1))),
            None if case.verdict.trips() && severity > ROLLBACK_FROM && self.otherwise < Act::Page => (
                Act::Page,
                Some(format!("SEV {severity}: the runbook rolls back from SEV {ROLLBACK_FROM} on")),
            ),
            None if self.lines.is_empty() => (self.otherwise, None),
            None => (self.otherwise, Some(format!("no line fits: otherwise {}", self.otherwise.as_str()))),
        };
        let named = line.is_some_and(|(_, line)| line.kinds.contains(&terms.kind));
        let (limit, limited) = limit(terms, named);
        let observe = self.observe || terms.own == Some(Mode::Observe);
        let alone = limit == Act::Auto;
        if limit > act {
            let because = Some(format!("{target}: {limited}"));
            return Ruling { act: limit, observe, severity, because, alone };
        }
        Ruling { act, observe, severity, because, alone }
    }

    fn fits(&self, line: &Line, case: Case<'_>, severity: u8, kind: TargetKind) -> bool {
        let severe = match line.severity.as_slice() {
            [] => severity <= ROLLBACK_FROM,
            named => named.contains(&severity),
        };
        let inside = self.hours.as_ref().is_some_and(|hours| hours.contain(case.at));
        let timely = line.hours.is_none_or(|when| (when == When::Inside) == inside);
        let kinds = line.kinds.is_empty() || line.kinds.contains(&kind);
        severe && timely && kinds && any_of(&line.evidence, case.seen)
    }

    /// The runbook's severity of this evidence: SEV 1 is the worst.
    pub fn severity(&self, verdict: &Verdict, seen: &[Seen]) -> u8 {
        let line = self.severities.iter().find(|line| any_of(&line.evidence, seen));
        line.filter(|_| verdict.trips()).map_or_else(|| severity(verdict), |line| line.severity)
    }

    /// Whether people may be asked, in some case.
    pub fn asks(&self) -> bool {
        let acts = self.lines.iter().map(|line| line.then).chain([self.otherwise]);
        let limits = self.targets.values().map(|terms| limit(*terms, false).0);
        acts.chain(limits).any(|act| act == Act::Approval)
    }

    pub fn terms(&self, target: &TargetName) -> TargetTerms {
        let usual = TargetTerms { kind: TargetKind::Kubernetes, own: None };
        self.targets.get(target).copied().unwrap_or(usual)
    }

    /// What a target is left to in one word, where no line says otherwise.
    pub fn mode_of(&self, target: &TargetName) -> Mode {
        let terms = self.terms(target);
        if self.observe || terms.own == Some(Mode::Observe) {
            return Mode::Observe;
        }
        self.otherwise.max(limit(terms, false).0).into()
    }
}

/// The least that is asked for this target, and who says so.
fn limit(terms: TargetTerms, named: bool) -> (Act, String) {
    let kind = terms.kind.as_str();
    match terms.own {
        Some(mode) => (parts(mode).0, format!("its own policy is {}", mode.as_str())),
        None if named => (Act::Auto, String::new()),
        None => (
            usual(terms.kind),
            format!("a target of kind {kind} asks a person unless it is written otherwise"),
        ),
    }
}

impl Line {
    /// Its conditions, for people.
    pub fn when(&self) -> String {
        let joined = |parts: Vec<String>| parts.join(" or ");
        let evidence = joined(self.evidence.iter().map(ToString::to_string).collect());
        let severity = joined(self.severity.iter().map(|s| format!("SEV {s}")).collect());
        let kinds = joined(self.kinds.iter().map(|kind| kind.as_str().to_string()).collect());
        let hours = self.hours.map(|when| format!("{} business hours", when.as_str())).unwrap_or_default();
        let parts = [evidence, severity, kinds, hours];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        if parts.is_empty() { "anything".to_string() } else { parts.join(", ") }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.when(), self.then.as_str())
    }
}
