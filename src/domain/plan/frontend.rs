//! The way back for a frontend: earlier versions of its objects become the current ones again, and caches are told.
//!
//! A plan does not hold thousands of objects: they are lines of a [`Sheet`], which lies beside the journal and is named by
//! its hash, so that an approval covers each of them. What is shown of them is part of the plan.
mod comparing;
mod generations;
mod listing;
mod manifest;
mod sheet;
mod site;
#[cfg(test)]
mod tests;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Action, Change as VersionChange, Goal, Plan, Step};
use crate::domain::evidence::count_of;
use crate::domain::names::TargetId;
use crate::domain::release::Version;

pub use comparing::{Aim, Compared, Comparing, Lost, Tally};
pub use generations::{EntryContent, EntryVersion, Era, eras, history};
pub use listing::{Gathering, KeyHistory, Marker, Now, ObjectVersion, Page};
pub use manifest::{Manifest, Recorded};
pub use sheet::{Change, Found, Line, Rest, Sheet, Slice, Standing};
pub use site::{Pattern, Site, Stage};

/// What an adapter found out about a frontend target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrontendSurvey {
    pub target: TargetId,
    pub site: Site,
    /// What is served now.
    pub version: Version,
    /// The bucket's versioning, as S3 says it: only `Enabled` keeps what is overwritten.
    pub versioning: String,
    /// To each version to which there may be a way back.
    pub ways: Vec<Way>,
    /// Why the distribution cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
}

impl FrontendSurvey {
    pub fn target(&self) -> &TargetId {
        &self.target
    }

    pub fn version(&self) -> &Version {
        &self.version
    }
}

/// What it takes to serve a version again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Way {
    pub to: Version,
    pub from: Origin,
    /// The sheet's digest.
    pub sheet: String,
    pub tally: Tally,
    /// Named up to a few.
    pub lost: Vec<Lost>,
    pub lost_count: u64,
    pub slices: Vec<ShownSlice>,
}

/// How it is known what a version consisted of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It was recorded.
    Manifest { recorded_at: Timestamp },
    /// By the times of all versions.
    Time { at: Timestamp },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |at: &Timestamp| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        match self {
            Origin::Manifest { recorded_at } => write!(f, "as recorded at {}", time(recorded_at)),
            Origin::Time { at } => write!(f, "as they were at {}, by the times of all versions", time(at)),
        }
    }
}

/// One step's lines, with the first of them as people are shown them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownSlice {
    #[serde(flatten)]
    pub slice: Slice,
    pub shown: Vec<String>,
}

/// Lines shown of a step.
const SHOWN: usize = 20;

impl Way {
    pub fn new(to: Version, from: Origin, compared: &Compared, sheet: String) -> Self {
        let shown = |slice: Slice| {
            let lines = compared.sheet.lines.get(slice.lines.clone()).unwrap_or_default();
            let more = lines.len().saturating_sub(SHOWN);
            let more = (more > 0).then(|| format!("and {more} more"));
            let shown = lines.iter().take(SHOWN).map(Line::told).chain(more).collect();
            ShownSlice { slice, shown }
        };
        let slices = compared.sheet.slices().into_iter().map(shown).collect();
        let (tally, lost) = (compared.tally.clone(), compared.lost.clone());
        Self { to, from, sheet, tally, lost, lost_count: compared.lost_count, slices }
    }
}

/// A step of its way back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum FrontendAction {
    Restore(Restore),
    Invalidate(Invalidate),
    AwaitInvalidation(AwaitInvalidation),
}

impl FrontendAction {
    pub fn mutates(&self) -> bool {
        match self {
            FrontendAction::Restore(_) | FrontendAction::Invalidate(_) => true,
            FrontendAction::AwaitInvalidation(_) => false,
        }
    }

    /// What it is about, line by line.
    pub fn details(&self) -> &[String] {
        match self {
            FrontendAction::Restore(restore) => &restore.shown.shown,
            FrontendAction::Invalidate(_) | FrontendAction::AwaitInvalidation(_) => &[],
        }
    }
}

/// Carry out some lines of a sheet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restore {
    pub site: Site,
    /// The sheet's digest.
    pub sheet: String,
    #[serde(flatten)]
    pub shown: ShownSlice,
}

/// Let the distribution forget what it has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invalidate {
    pub distribution: String,
    /// The same for every attempt: CloudFront makes one invalidation of it.
    pub reference: String,
    pub paths: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AwaitInvalidation {
    pub distribution: String,
    pub reference: String,
}

/// Why no plan is drafted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrontendRefusal {
    /// Overwritten objects are lost.
    NotVersioned {
        bucket: String,
        versioning: String,
    },
    AlreadyThere {
        place: String,
        version: String,
    },
    /// A revision or an image was named.
    NotAVersion {
        place: String,
    },
    /// Nothing shows any more what this version consisted of.
    Forgotten {
        place: String,
        version: String,
    },
    Lost {
        version: String,
        named: Vec<Lost>,
        count: u64,
    },
    NoIndex {
        index: String,
        version: String,
    },
    /// The site would be much smaller than it is.
    Shrinks {
        version: String,
        now: u64,
        then: u64,
        limit_percent: u32,
    },
    Distribution {
        id: String,
        why: String,
    },
}

impl fmt::Display for FrontendRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrontendRefusal::NotVersioned { bucket, versioning } => write!(
                f,
                "versioning of bucket {bucket} is {versioning}, so what a deploy overwrites is lost"
            ),
            FrontendRefusal::AlreadyThere { place, version } => write!(f, "{place} already serves {version}"),
            FrontendRefusal::NotAVersion { place } => {
                write!(f, "{place} has neither revisions nor images to name")
            }
            FrontendRefusal::Forgotten { place, version } => {
                write!(f, "neither a manifest nor the versions in {place} show what {version} was made of")
            }
            FrontendRefusal::Lost { version, named, count } => {
                let key = |lost: &Lost| match &lost.archive {
                    Some(archive) => format!("{} (archived in {archive})", lost.key),
                    None => format!("{} (gone)", lost.key),
                };
                let named: Vec<String> = named.iter().map(key).collect();
                let objects = if *count == 1 { "object" } else { "objects" };
                write!(f, "{count} {objects} of {version} cannot be read any more: {}", named.join(", "))?;
                if *count > named.len() as u64 { f.write_str(", …") } else { Ok(()) }
            }
            FrontendRefusal::NoIndex { index, version } => {
                write!(f, "{version} has no {index}, so it would serve nothing")
            }
            FrontendRefusal::Shrinks { version, now, then, limit_percent } => write!(
                f,
                "{now} objects are there now, and only {then} would be with {version}: more than {limit_percent} % less"
            ),
            FrontendRefusal::Distribution { id, why } => {
                write!(f, "CloudFront distribution {id} cannot be told to forget what it has: {why}")
            }
        }
    }
}

impl FrontendRefusal {
    /// What a person can do about it.
    pub fn advice(&self) -> String {
        match self {
            FrontendRefusal::NotVersioned { bucket, .. } => format!(
                "turn it on with `aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled`, and deploy the earlier build again now"
            ),
            FrontendRefusal::AlreadyThere { .. } => "nothing needs to be done".into(),
            FrontendRefusal::NotAVersion { .. } => "name none: it goes back to the known good version".into(),
            FrontendRefusal::Forgotten { .. } => "deploy the earlier build again by hand".into(),
            FrontendRefusal::Lost { .. } => {
                "deploy the earlier build again by hand, and let the bucket's lifecycle rules keep earlier versions for longer".into()
            }
            FrontendRefusal::NoIndex { index, .. } => {
                format!("see what was deployed then, and whether {index} is the page's name (frontend.index)")
            }
            FrontendRefusal::Shrinks { .. } => {
                "see with `rollguard plan` what would go, and raise frontend.max_shrink if it should".into()
            }
            FrontendRefusal::Distribution { .. } => {
                "check frontend.distribution, and the rights in deploy/aws/frontend.json".into()
            }
        }
    }
}

/// Of a step that copies; each further thousand objects is a step of its own.
const RESTORE_SECS: u64 = 900;
const INVALIDATE_SECS: u64 = 300;
/// Usually a minute or two.
const INVALIDATED_SECS: u64 = 1800;

/// Drafts the steps: restore in the order of the sheet, invalidate, await.
///
/// # Errors
/// Why this target cannot be rolled back safely.
pub fn draft(survey: &FrontendSurvey, goal: &Goal, run: &str) -> Result<Plan, FrontendRefusal> {
    let way = way(survey, goal)?;
    safe(survey, way)?;
    let step =
        |title, deadline_secs, action| Step { target: survey.target.clone(), title, deadline_secs, action };
    let restore = |shown: &ShownSlice| {
        let (site, sheet, mut shown) = (survey.site.clone(), way.sheet.clone(), shown.clone());
        if shown.slice.lines.start == 0 {
            shown.shown.insert(0, format!("in all: {}", way.tally));
        }
        let title = title(way, &shown.slice, &survey.site);
        let action = FrontendAction::Restore(Restore { site, sheet, shown });
        step(title, RESTORE_SECS, Action::Frontend(action))
    };
    let mut steps: Vec<Step> = way.slices.iter().map(restore).collect();
    if let Some(distribution) = &survey.site.distribution {
        let reference = format!("rollguard-{run}-{}", steps.len());
        let paths = survey.site.paths.clone();
        let title = format!("invalidate {} in CloudFront distribution {distribution}", paths.join(" "));
        let (distribution, same) = (distribution.clone(), reference.clone());
        let action = Invalidate { distribution: distribution.clone(), reference, paths };
        steps.push(step(title, INVALIDATE_SECS, Action::Frontend(FrontendAction::Invalidate(action))));
        let action = AwaitInvalidation { distribution, reference: same };
        let action = Action::Frontend(FrontendAction::AwaitInvalidation(action));
        steps.push(step("await the end of the invalidation".into(), INVALIDATED_SECS, action));
    }
    let (target, from) = (survey.target.clone(), survey.version.clone());
    let change = VersionChange { target, from, to: way.to.clone() };
    Ok(Plan { service: survey.target.service.clone(), changes: vec![change], steps })
}

fn way<'a>(survey: &'a FrontendSurvey, goal: &Goal) -> Result<&'a Way, FrontendRefusal> {
    let place = survey.site.place();
    let Goal::Version(wanted) = goal else { return Err(FrontendRefusal::NotAVersion { place }) };
    let version = wanted.label.clone();
    if wanted.fingerprint == survey.version.fingerprint {
        return Err(FrontendRefusal::AlreadyThere { place, version });
    }
    let found = survey.ways.iter().find(|way| way.to.fingerprint == wanted.fingerprint);
    found.ok_or(FrontendRefusal::Forgotten { place, version })
}

fn safe(survey: &FrontendSurvey, way: &Way) -> Result<(), FrontendRefusal> {
    let (site, tally, version) = (&survey.site, &way.tally, way.to.label.clone());
    if survey.versioning != "Enabled" {
        let (bucket, versioning) = (site.bucket.clone(), survey.versioning.clone());
        return Err(FrontendRefusal::NotVersioned { bucket, versioning });
    }
    if way.lost_count > 0 {
        return Err(FrontendRefusal::Lost { version, named: way.lost.clone(), count: way.lost_count });
    }
    if !tally.index {
        return Err(FrontendRefusal::NoIndex { index: site.index.clone(), version });
    }
    // Hashed names come and go with every build: what counts is how much less there is afterwards.
    let then = (tally.now + tally.brought_back).saturating_sub(tally.marked_deleted);
    let least = u128::from(tally.now) * u128::from(100u32.saturating_sub(site.max_shrink_percent));
    if u128::from(then) * 100 < least {
        let limit_percent = site.max_shrink_percent;
        return Err(FrontendRefusal::Shrinks { version, now: tally.now, then, limit_percent });
    }
    match (&survey.distribution, &site.distribution) {
        (Some(why), Some(id)) => Err(FrontendRefusal::Distribution { id: id.clone(), why: why.clone() }),
        (Some(_) | None, _) => Ok(()),
    }
}

fn title(way: &Way, slice: &Slice, site: &Site) -> String {
    let (count, place) = (slice.lines.len(), site.place());
    let noun = slice.stage.noun(count);
    match slice.stage {
        Stage::Deletions => {
            format!("mark {count} {noun} that {} did not have as deleted in {place}", way.to.label)
        }
        Stage::Index => format!("put back {} of {} last", site.index, way.to.label),
        Stage::Assets | Stage::Others | Stage::EntryPoints => {
            let size = size(slice.bytes);
            format!("put back {count} {noun} of {} ({size}) in {place}, {}", way.to.label, way.from)
        }
    }
}

/// `1.4 MB`.
fn size(bytes: u64) -> String {
    let units = ["B", "KB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let objects = count_of(usize::try_from(self.copied).unwrap_or(usize::MAX), "object");
        let (marked, unchanged) = (self.marked_deleted, self.unchanged);
        write!(
            f,
            "{objects} put back ({}), {marked} marked as deleted, {unchanged} unchanged",
            size(self.bytes)
        )
    }
}
