//! A daemon that dies at every point while it watches a bad release: it judges on, and nothing is forgotten or done twice.
//!
//! Every point is a first death by itself, and every second one once more with another death some points later: all pairs
//! would take hours, since a whole daemon lives here.
use futures::FutureExt;
use jiff::Timestamp;
use rollguard::domain::policy::Mode;
use rollguard::domain::run::{End, Phase};
use rollguard::ports::Journal;

use super::Tally;
use crate::simulation::invariants::violations;
use crate::simulation::schedule::Schedule;
use crate::simulation::story::Story;
use crate::simulation::world::{GOOD, PODS, RATE, RELEASED, Trouble, api};

pub(super) const WATCHES: [(Mode, Trouble); 3] =
    [(Mode::Auto, Trouble::Errors), (Mode::Auto, Trouble::CrashLoop), (Mode::Page, Trouble::Errors)];

/// The second deaths are spread over so many points of the second life.
const SPREAD: u64 = 60;

pub(super) fn explore(mode: Mode, trouble: Trouble) -> Tally {
    let mut tally = Tally::default();
    let points = tell(&mut tally, mode, trouble, &[]);
    for first in 0..points {
        tally.points += 1;
        tell(&mut tally, mode, trouble, &[first]);
        if first % 2 == 0 {
            tally.second_points += 1;
            tell(&mut tally, mode, trouble, &[first, first * 13 % SPREAD]);
        }
    }
    tally
}

/// One watch to its end; the points that its daemons passed.
fn tell(tally: &mut Tally, mode: Mode, trouble: Trouble, deaths: &[u64]) -> u64 {
    let schedule = Schedule::calm(mode, trouble);
    let mut story = Story::of(&schedule).with_deaths(deaths);
    let points = story.tell();
    let what = format!("{mode:?}, {trouble:?}, killed after {deaths:?}");
    tally.lives += 1 + deaths.len();
    tally.wrong.extend(violations(&schedule, &story).into_iter().map(|wrong| format!("{what}: {wrong}")));
    let acts = mode == Mode::Auto;
    let effects = story.world.state().workloads.effects();
    let taken_back = format!("api: {GOOD}");
    let wanted: Vec<&str> = acts.then_some(taken_back.as_str()).into_iter().collect();
    tally.compare(effects, &wanted, &[], &what);
    let pages: Vec<String> = {
        let state = story.world.state();
        state.taken.keys().filter_map(|key| Some(key.rsplit_once('/')?.1.to_string())).collect()
    };
    let told: &[&str] = if acts {
        &["action", "closed", "resolve", "resolve-verified", "verified"]
    } else {
        &["page-release"]
    };
    tally.compare(pages, told, &[], &what);
    let ends: Vec<Phase> = story.runs().into_iter().map(|run| run.phase).collect();
    if acts && ends != [Phase::Closed(End::Recovered)] {
        tally.wrong.push(format!("{what}: its runs end {ends:?}"));
    }
    if story.world.image() != if acts { GOOD } else { RELEASED } {
        tally.wrong.push(format!("{what}: {} runs at the end", story.world.image()));
    }
    tally.wrong.extend(minutes(&story).map(|wrong| format!("{what}: {wrong}")));
    points
}

/// What was learned before the release is still there, and nothing was counted twice.
fn minutes(story: &Story<'_>) -> Option<String> {
    let rows =
        story.world.journal.minutes(&api("shop"), Timestamp::UNIX_EPOCH).now_or_never().unwrap().unwrap();
    let most = RATE * f64::from(PODS) * 60.0;
    let doubled = rows.iter().find(|row| row.counts.total > most);
    doubled.map(|row| format!("{} requests in one minute", row.counts.total))
}
