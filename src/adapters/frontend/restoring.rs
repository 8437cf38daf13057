//! Carries out the lines of a sheet: looks at all of them in one pass, then copies what is still open.
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;

use super::{Place, Trouble};
use crate::domain::evidence::count_of;
use crate::domain::outcome::{Finding, Outcome};
use crate::domain::plan::frontend::{Change, KeyHistory, Line, Rest, Restore, Sheet, Stage, Standing};

/// A sheet that is being carried out.
pub(super) struct Work {
    digest: String,
    sheet: Sheet,
    by_key: HashMap<String, usize>,
    /// Versions that this life has made, by line: their content needs no comparing.
    made: Mutex<HashMap<usize, String>>,
    /// Lines that were open when they were last looked at.
    open: Mutex<Vec<usize>>,
}

/// What became of a line.
pub(super) enum Carried {
    /// With the version that was made, unless it was a deletion.
    Done(Option<String>),
    /// Somebody else was there.
    Conflict(String),
    Failed(String),
}

/// Unclear lines that are compared at once.
const COMPARED_AT_ONCE: usize = 8;
/// Of changed objects, so many are named.
const NAMED: usize = 3;

impl Work {
    fn new(digest: String, sheet: Sheet) -> Self {
        let by_key = sheet.lines.iter().enumerate().map(|(at, line)| (line.key.clone(), at)).collect();
        Self { digest, sheet, by_key, made: Mutex::default(), open: Mutex::default() }
    }

    fn has_made(&self, line: usize, version: &str) -> bool {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.get(&line).is_some_and(|made| made == version)
    }

    fn make(&self, line: usize, version: String) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(line, version);
    }

    fn leave_open(&self, lines: Vec<usize>) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = lines;
    }

    fn still_open(&self) -> Vec<usize> {
        std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a pass over the listing found.
#[derive(Default)]
struct Sight {
    standings: BTreeMap<usize, Standing>,
    rest: Rest,
}

impl Sight {
    fn take(&mut self, place: &Place, work: &Work, history: &KeyHistory) {
        match work.by_key.get(&history.key).and_then(|at| Some((*at, work.sheet.lines.get(*at)?))) {
            None => self.rest.take(&place.is.site, history),
            Some((at, line)) => {
                let standing = match line.standing(Some(history)) {
                    Standing::Unclear { version } if work.has_made(at, &version) => Standing::Done,
                    standing => standing,
                };
                self.standings.insert(at, standing);
            }
        }
    }
}

impl Place {
    /// A plan's sheet; it may be gone with its state directory.
    async fn work(&self, step: &Restore) -> Result<Option<Arc<Work>>, Trouble> {
        let mut held = self.work.lock().await;
        if let Some(work) = held.as_ref().filter(|work| work.digest == step.sheet) {
            return Ok(Some(work.clone()));
        }
        let Some(sheet) = self.shelf.sheet(&step.sheet).await? else { return Ok(None) };
        let work = Arc::new(Work::new(step.sheet.clone(), sheet));
        *held = Some(work.clone());
        Ok(Some(work))
    }

    pub(super) async fn observe_restore(&self, step: &Restore) -> Result<Finding, Trouble> {
        if step.site.bucket != self.is.site.bucket || step.site.prefix != self.is.site.prefix {
            let why = format!(
                "the plan is about {}, and the target is {} now",
                step.site.place(),
                self.is.site.place()
            );
            return Ok(Finding::Conflict { why });
        }
        let Some(work) = self.work(step).await? else {
            let why = "the plan's list of objects is not in this state directory: abort it and order the rollback again";
            return Ok(Finding::Conflict { why: why.into() });
        };
        let mut sight = Sight::default();
        self.scan(|history| sight.take(self, &work, history)).await?;
        let Sight { mut standings, rest } = sight;
        if rest.finish() != work.sheet.rest {
            let why = "objects that the plan leaves alone were changed since it was made: somebody deploys";
            return Ok(Finding::Conflict { why: why.into() });
        }
        for (at, line) in work.sheet.lines.iter().enumerate() {
            standings.entry(at).or_insert_with(|| line.standing(None));
        }
        self.clear_up(&work, &mut standings).await?;
        Ok(assess(step, &work, &standings))
    }

    /// Reads what listings do not tell: whether another version has the content of the restored one.
    async fn clear_up(&self, work: &Work, standings: &mut BTreeMap<usize, Standing>) -> Result<(), Trouble> {
        let mut compared = Vec::new();
        for (at, standing) in standings.iter() {
            if let (Standing::Unclear { version }, Some(line)) = (standing, work.sheet.lines.get(*at)) {
                compared.push(self.clear_one(work, *at, line, version.clone()));
            }
        }
        // Named futures and no closures, or the compiler cannot see that all of this may move between threads.
        let compared: Vec<_> =
            futures::stream::iter(compared).buffer_unordered(COMPARED_AT_ONCE).collect().await;
        for result in compared {
            let (at, standing) = result?;
            standings.insert(at, standing);
        }
        Ok(())
    }

    async fn clear_one(
        &self,
        work: &Work,
        at: usize,
        line: &Line,
        version: String,
    ) -> Result<(usize, Standing), Trouble> {
        let same = match &line.change {
            Change::Copy { version: wanted, .. } => self.same_content(&line.key, wanted, &version).await?,
            Change::MarkDeleted => false,
        };
        if same {
            work.make(at, version);
        }
        Ok((at, if same { Standing::Done } else { Standing::Foreign }))
    }

    pub(super) async fn restore(&self, step: &Restore) -> Outcome {
        let work = match self.work(step).await {
            Ok(Some(work)) => work,
            Ok(None) => return Outcome::Refused { why: "the plan's list of objects is gone".into() },
            Err(trouble) => return Outcome::Unknown { why: trouble.reason() },
        };
        let range = &step.shown.slice.lines;
        let mut open: Vec<usize> = work.still_open().into_iter().filter(|at| range.contains(at)).collect();
        if open.is_empty() {
            open = range.clone().collect();
        }
        let at_once = match step.shown.slice.stage {
            // What others begin with changes in one order.
            Stage::EntryPoints | Stage::Index => 1,
            Stage::Assets | Stage::Others | Stage::Deletions => self.at_once,
        };
        self.carry_out(&work, &open, at_once).await
    }

    /// What has begun is finished; after the first failure nothing more is begun.
    async fn carry_out(&self, work: &Work, open: &[usize], at_once: usize) -> Outcome {
        let keeps_acls = match self.keeps_acls().await {
            Ok(keeps) => keeps,
            Err(trouble) => return Outcome::Unknown { why: trouble.reason() },
        };
        let going = Going { keeps_acls, stopped: AtomicBool::new(false), noted: AtomicUsize::new(0) };
        let mut carried = Vec::with_capacity(open.len());
        for at in open {
            if let Some(line) = work.sheet.lines.get(*at) {
                carried.push(self.carry_one(work, *at, line, &going));
            }
        }
        let carried: Vec<Option<Carried>> =
            futures::stream::iter(carried).buffer_unordered(at_once).collect().await;
        summed(carried.into_iter().flatten())
    }

    /// `None` if it was not begun.
    async fn carry_one(&self, work: &Work, at: usize, line: &Line, going: &Going) -> Option<Carried> {
        if going.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let carried = self.carry(line, going.keeps_acls, &going.noted).await;
        match &carried {
            Carried::Done(version) => version.iter().for_each(|v| work.make(at, v.clone())),
            Carried::Conflict(_) | Carried::Failed(_) => going.stopped.store(true, Ordering::Relaxed),
        }
        Some(carried)
    }
}

/// What the objects of one step share.
struct Going {
    keeps_acls: bool,
    stopped: AtomicBool,
    /// Calls that were noted.
    noted: AtomicUsize,
}

fn summed(carried: impl Iterator<Item = Carried>) -> Outcome {
    let (mut done, mut conflict, mut failed) = (0, None, None);
    for one in carried {
        match one {
            Carried::Done(_) => done += 1,
            Carried::Conflict(why) => conflict = Some(why),
            Carried::Failed(why) => failed = Some(why),
        }
    }
    let so_far = count_of(done, "object");
    match (conflict, failed) {
        (Some(why), _) => Outcome::Refused { why: format!("stopped after {so_far}: {why}") },
        (None, Some(why)) => Outcome::Unknown { why: format!("stopped after {so_far}: {why}") },
        (None, None) => Outcome::Done { detail: format!("{so_far} restored") },
    }
}

fn assess(step: &Restore, work: &Work, standings: &BTreeMap<usize, Standing>) -> Finding {
    let line = |at: &usize| work.sheet.lines.get(*at);
    let foreign = standings.iter().filter(|(_, standing)| **standing == Standing::Foreign);
    let foreign: Vec<&Line> = foreign.filter_map(|(at, _)| line(at)).collect();
    if !foreign.is_empty() {
        let named: Vec<&str> = foreign.iter().take(NAMED).map(|line| line.key.as_str()).collect();
        let more = foreign.len() - named.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let why = format!("somebody changed {}{more} since the plan was made", named.join(", "));
        return Finding::Conflict { why };
    }
    let range = &step.shown.slice.lines;
    let open = standings.range(range.clone()).filter(|(_, standing)| **standing == Standing::Open);
    let open: Vec<usize> = open.map(|(at, _)| *at).collect();
    let (done, all) = (range.len() - open.len(), range.len());
    if open.is_empty() {
        return Finding::Satisfied { detail: format!("{} as planned", count_of(all, "object")) };
    }
    work.leave_open(open);
    Finding::not_yet(format!("{done} of {} as planned", count_of(all, "object")))
}
