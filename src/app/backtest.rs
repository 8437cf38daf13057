//! Backtests: recordings from disk through the replay of the domain, one line in memory at a time.
mod past;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::build::{judging, runbook};
use crate::adapters::recording::{RecordingReader, read_recording};
use crate::config::Config;
use crate::domain::names::{ServiceName, TargetId, TargetName};
use crate::domain::replay::Replay;
pub use crate::domain::replay::{Judged, LeftOut, Options, Policies, Settings};
use crate::domain::signal::Sample;
pub use past::{GivenRelease, PastFailure, PastSource, paced, run_past};

/// By what it is judged.
#[derive(Clone, Debug)]
pub struct Order {
    pub policies: Policies,
    /// Other policies that the same releases are judged by.
    pub compare: Option<Policies>,
    pub only: Option<ServiceName>,
    pub options: Options,
}

/// What is told while it runs.
#[derive(Debug)]
pub enum News {
    Judged {
        judged: Box<Judged>,
        compared: Option<Box<Judged>>,
    },
    /// A line that is no sample; what is after it is read all the same.
    Broken {
        path: PathBuf,
        why: String,
    },
    /// Targets of which kube-state-metrics has told nothing, so that their releases are not known.
    Unknown(Vec<TargetId>),
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub lines: u64,
    /// Lines that were no samples.
    pub broken: u64,
    /// Lines of kinds that this version does not know.
    pub unknown: u64,
    pub releases: u64,
    pub left_out: LeftOut,
    pub services: BTreeSet<ServiceName>,
}

#[derive(Debug, thiserror::Error)]
#[error("{} cannot be read", path.display())]
pub struct Unreadable {
    pub path: PathBuf,
    pub source: io::Error,
}

/// How a configuration has its services judged.
pub fn policies(config: &Config) -> Policies {
    Policies::new(config.services.iter().map(|service| {
        let settings = Settings {
            policy: service.policy.clone(),
            rules: runbook(config, service),
            judging: judging(config, service),
            watch: service.watch,
            page_after: service.page_after,
            rails: service.rails.clone(),
        };
        (service.name.clone(), settings)
    }))
}

/// Judges every release of the recordings, and tells of each when its watch is over. Each recording is judged by itself,
/// or with guard rails across services all together, in the order of time.
///
/// # Errors
/// When a recording cannot be opened.
pub fn run(recordings: &[PathBuf], order: &Order, tell: &mut dyn FnMut(News)) -> Result<Tally, Unreadable> {
    let open = |path: &PathBuf| Input::open(path);
    let inputs: Vec<Input> = recordings.iter().map(open).collect::<Result<_, _>>()?;
    let mut tally = Tally::default();
    if order.options.fleet {
        Bench::new(order).run(Merged::new(inputs), &mut tally, tell);
    } else {
        inputs.into_iter().for_each(|input| Bench::new(order).run(input, &mut tally, tell));
    }
    Ok(tally)
}

/// Samples in the order in which they are judged.
trait Feed {
    fn next(&mut self, tally: &mut Tally, tell: &mut dyn FnMut(News)) -> Option<Sample>;
}

struct Input {
    path: PathBuf,
    reader: RecordingReader<'static>,
}

impl Input {
    fn open(path: &Path) -> Result<Self, Unreadable> {
        let unreadable = |source| Unreadable { path: path.to_path_buf(), source };
        if path.is_dir() {
            return Err(unreadable(io::Error::other("it is a directory: name the recordings in it")));
        }
        Ok(Self { path: path.to_path_buf(), reader: read_recording(path).map_err(unreadable)? })
    }
}

impl Feed for Input {
    fn next(&mut self, tally: &mut Tally, tell: &mut dyn FnMut(News)) -> Option<Sample> {
        loop {
            let before = (self.reader.lines(), self.reader.skipped());
            let item = self.reader.next();
            tally.lines += self.reader.lines() - before.0;
            tally.unknown += self.reader.skipped() - before.1;
            match item? {
                Ok(sample) => return Some(sample),
                Err(error) => {
                    tally.broken += 1;
                    tell(News::Broken { path: self.path.clone(), why: error.to_string() });
                }
            }
        }
    }
}

/// Several recordings as one. Each is in the order of time by itself.
struct Merged {
    inputs: Vec<Input>,
    heads: Option<BinaryHeap<Reverse<Head>>>,
}

struct Head {
    input: usize,
    sample: Sample,
}

impl Head {
    fn key(&self) -> (Timestamp, usize) {
        (self.sample.at, self.input)
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Merged {
    fn new(inputs: Vec<Input>) -> Self {
        Self { inputs, heads: None }
    }
}

impl Feed for Merged {
    fn next(&mut self, tally: &mut Tally, tell: &mut dyn FnMut(News)) -> Option<Sample> {
        let heads = self.heads.get_or_insert_with(|| {
            let first = |(input, file): (usize, &mut Input)| {
                file.next(tally, tell).map(|sample| Reverse(Head { input, sample }))
            };
            self.inputs.iter_mut().enumerate().filter_map(first).collect()
        });
        let Reverse(Head { input, sample }) = heads.pop()?;
        let next = self.inputs.get_mut(input).and_then(|file| file.next(tally, tell));
        heads.extend(next.map(|sample| Reverse(Head { input, sample })));
        Some(sample)
    }
}

/// What makes a release of one replay that of the other.
type Key = (ServiceName, Option<TargetName>, String, Timestamp);

/// One replay, or two over the same lines.
struct Bench<'a> {
    order: &'a Order,
    replay: Replay,
    other: Option<Replay>,
    /// What one of the two has judged and the other has not yet. No more than there are open watches.
    waiting: BTreeMap<Key, Half>,
}

enum Half {
    Judged(Box<Judged>),
    Compared(Box<Judged>),
}

impl<'a> Bench<'a> {
    fn new(order: &'a Order) -> Self {
        let plain = Options { traced: false, ..order.options };
        let other = order.compare.clone().map(|policies| Replay::new(policies, plain));
        let replay = Replay::new(order.policies.clone(), order.options);
        Self { order, replay, other, waiting: BTreeMap::new() }
    }

    fn run(mut self, mut feed: impl Feed, tally: &mut Tally, tell: &mut dyn FnMut(News)) {
        while let Some(sample) = feed.next(tally, tell) {
            self.take(&sample, tally, tell);
        }
        self.finish(tally, tell);
    }

    fn take(&mut self, sample: &Sample, tally: &mut Tally, tell: &mut dyn FnMut(News)) {
        if self.order.only.as_ref().is_some_and(|only| *only != sample.service) {
            return;
        }
        let judged = self.replay.take(sample);
        let compared = self.other.as_mut().map(|other| other.take(sample));
        if !judged.is_empty() || compared.as_ref().is_some_and(|compared| !compared.is_empty()) {
            self.pair(judged, compared, tally, tell);
        }
    }

    fn finish(mut self, tally: &mut Tally, tell: &mut dyn FnMut(News)) {
        let judged = self.replay.finish();
        let compared = self.other.as_mut().map(Replay::finish);
        self.pair(judged, compared, tally, tell);
        let left = self.replay.left_out();
        tally.left_out.out_of_order += left.out_of_order;
        tally.left_out.nameless += left.nameless;
        tally.left_out.no_room += left.no_room;
        tally.services.extend(self.replay.services().into_iter().cloned());
    }

    fn pair(
        &mut self,
        judged: Vec<Judged>,
        compared: Option<Vec<Judged>>,
        tally: &mut Tally,
        tell: &mut dyn FnMut(News),
    ) {
        tally.releases += judged.len() as u64;
        let Some(compared) = compared else {
            judged.into_iter().for_each(|j| tell(News::Judged { judged: Box::new(j), compared: None }));
            return;
        };
        let judged = judged.into_iter().map(|j| Half::Judged(Box::new(j)));
        for half in judged.chain(compared.into_iter().map(|j| Half::Compared(Box::new(j)))) {
            let key = half.key();
            match (half, self.waiting.remove(&key)) {
                (Half::Judged(judged), Some(Half::Compared(other)))
                | (Half::Compared(other), Some(Half::Judged(judged))) => {
                    tell(News::Judged { judged, compared: Some(other) });
                }
                (half, _) => drop(self.waiting.insert(key, half)),
            }
        }
    }
}

impl Half {
    fn key(&self) -> Key {
        let (Half::Judged(judged) | Half::Compared(judged)) = self;
        (judged.service.clone(), judged.target.clone(), judged.release.clone(), judged.released_at)
    }
}
