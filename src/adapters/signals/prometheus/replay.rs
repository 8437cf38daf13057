//! The past of a Prometheus as the samples of a recording: its releases, and what was measured around them.
mod measured;
mod pods;
mod rollouts;
mod track;
mod windows;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use self::measured::{Steps, first_seen, steps};
use self::pods::Pods;
use self::rollouts::{Finder, Rollout};
use self::track::{Release, Track, second, unanswered};
use self::windows::{BEFORE_SECS, Watched, long_pieces, pieces};
use super::answer::Unanswered;
use super::past::Grid;
use super::{CONCURRENT, Place, PrometheusSource, query, values};
use crate::adapters::signals::{Group, Query};
use crate::domain::names::{RuleName, ServiceName, TargetId};
use crate::domain::signal::{Reading, Sample};

/// The usual scrape interval: shorter steps would only show its pattern.
pub const STEP_SECS: i64 = 15;
/// A release that is given is the one that kube-state-metrics tells of, if it began no further away.
const SAME_RELEASE_SECS: i64 = 600;
/// The first new pod may have reported so long before the moment that is given, since clocks and people differ.
const EARLY_SECS: i64 = 60;

/// What of the past is wanted.
#[derive(Clone, Debug)]
pub struct PastOrder {
    /// Releases that began in here are looked for, unless some are given.
    pub from: Timestamp,
    pub to: Timestamp,
    /// Nothing is read beyond.
    pub now: Timestamp,
    pub given: Vec<GivenRelease>,
    /// The services that are wanted, and the length of their watches.
    pub watches: BTreeMap<ServiceName, Duration>,
    /// All services in one stream, in the order of time; otherwise one after the other.
    pub together: bool,
}

/// A release that somebody knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenRelease {
    pub target: TargetId,
    pub label: String,
    pub at: Timestamp,
}

/// Why the past cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PastError {
    #[error("the past of {target} cannot be read: {why}")]
    Unanswered { target: TargetId, why: String },
    #[error("{0} is not in the configuration: releases are given as SERVICE/TARGET=LABEL@TIME")]
    Stranger(TargetId),
    #[error(
        "no pods of another version of {target} began to report within {} minutes after {at}: is that when it was released?",
        SAME_RELEASE_SECS / 60
    )]
    NoNewPods { target: TargetId, at: Timestamp },
    #[error(
        "{target} has no rule on its pods that is read from Prometheus, so that its versions cannot be told apart"
    )]
    NoRule { target: TargetId },
}

/// The releases that were found.
pub struct Found<'a> {
    /// Each is in the order of time by itself.
    pub replays: Vec<PastReplay<'a>>,
    /// Of these kube-state-metrics has told nothing.
    pub unknown: Vec<TargetId>,
}

/// A stream of samples.
pub struct PastReplay<'a> {
    source: &'a PrometheusSource,
    tracks: Vec<Track>,
    pieces: VecDeque<Grid>,
}

impl PrometheusSource {
    /// Finds the releases that are wanted.
    ///
    /// # Errors
    /// When Prometheus does not answer in full, or a release that is given cannot be found.
    pub async fn past_releases(&self, order: &PastOrder) -> Result<Found<'_>, PastError> {
        if let Some(stranger) = order.given.iter().find(|given| !self.places.contains_key(&given.target)) {
            return Err(PastError::Stranger(stranger.target.clone()));
        }
        let wanted = self.places.iter().filter(|(target, _)| order.watches.contains_key(&target.service));
        let tracks = wanted.map(|(target, place)| self.track(order, target, place));
        let tracks: Vec<(Track, bool)> =
            futures::stream::iter(tracks.collect::<Vec<_>>()).buffered(CONCURRENT).try_collect().await?;
        let unknown =
            tracks.iter().filter(|(_, known)| !known).map(|(track, _)| track.target.clone()).collect();
        let mut streams: BTreeMap<Option<ServiceName>, Vec<Track>> = BTreeMap::new();
        for (track, _) in tracks {
            let stream = (!order.together).then(|| track.target.service.clone());
            streams.entry(stream).or_default().push(track);
        }
        let replays = streams.into_values().map(|tracks| self.replay(order, tracks));
        Ok(Found { replays: replays.collect(), unknown })
    }

    fn replay(&self, order: &PastOrder, tracks: Vec<Track>) -> PastReplay<'_> {
        let watch =
            |track: &Track| order.watches.get(&track.target.service).map_or(0, |w| w.as_secs() as i64);
        let watched = |track: &Track| {
            let watch = watch(track);
            track.releases.iter().map(move |release| Watched { at: release.at, watch }).collect::<Vec<_>>()
        };
        let pieces = pieces(tracks.iter().flat_map(watched), order.now.as_second());
        PastReplay { source: self, tracks, pieces }
    }

    /// A target with its releases, and whether they could be known without being given.
    async fn track(
        &self,
        order: &PastOrder,
        target: &TargetId,
        place: &Place,
    ) -> Result<(Track, bool), PastError> {
        let mut track = Track {
            target: target.clone(),
            place: place.clone(),
            releases: vec![],
            names: BTreeMap::new(),
            pods: Pods::new(place),
        };
        let given: Vec<&GivenRelease> = order.given.iter().filter(|given| given.target == *target).collect();
        if !order.given.is_empty() {
            self.take_given(&mut track, order, given).await?;
            return Ok((track, true));
        }
        let watch = order.watches.get(&target.service).map_or(0, |watch| watch.as_secs() as i64);
        let (from, to) = (order.from.as_second(), order.to.as_second());
        let until = (to + watch).min(order.now.as_second());
        let finder = self.rollouts(target, place, long_pieces(from - BEFORE_SECS, until)).await?;
        let known = finder.knows_any();
        let found = finder.found().into_iter().filter(|rollout| (from..=to).contains(&rollout.at));
        track.releases = found.map(Release::from).collect();
        Ok((track, known))
    }

    async fn rollouts(
        &self,
        target: &TargetId,
        place: &Place,
        pieces: VecDeque<Grid>,
    ) -> Result<Finder, PastError> {
        let mut finder = Finder::new(place);
        let text = rollouts::query(place);
        for grid in pieces {
            let taken = self.range(text.clone(), grid).await.and_then(|body| finder.take(&body));
            taken.map_err(unanswered(target))?;
        }
        Ok(finder)
    }

    /// The given releases of one target, in the order of time.
    async fn take_given(
        &self,
        track: &mut Track,
        order: &PastOrder,
        mut given: Vec<&GivenRelease>,
    ) -> Result<(), PastError> {
        given.sort_by_key(|given| given.at);
        let now = order.now.as_second();
        for GivenRelease { label, at, .. } in given {
            let at = at.as_second();
            let around = long_pieces(at - BEFORE_SECS, (at + BEFORE_SECS).min(now));
            let found = self.rollouts(&track.target, &track.place, around).await?.found().into_iter();
            let near = found.filter(|rollout| (rollout.at - at).abs() <= SAME_RELEASE_SECS);
            let rollout = match near.min_by_key(|rollout| (rollout.at - at).abs()) {
                Some(rollout) => rollout,
                None => self.appeared(track, at, now).await?,
            };
            let previous = rollout.previous.map(|hash| track.label(&hash));
            track.names.insert(rollout.hash, label.clone());
            track.releases.push(Release { label: label.clone(), previous, at, ended: rollout.ended });
        }
        Ok(())
    }

    /// The release at that time, by the pods that began to report then.
    async fn appeared(&self, track: &Track, at: i64, now: i64) -> Result<Rollout, PastError> {
        let of_pods = |query: &Query| !matches!(query, Query::Value(value) if !value.pods);
        let group = self.groups_of(&track.target).find(|(group, _)| of_pods(&group.query));
        let target = &track.target;
        let (group, _) = group.ok_or_else(|| PastError::NoRule { target: target.clone() })?;
        let text = query::of_workload(&group.query, &self.labels, &track.place);
        let around = long_pieces(at - BEFORE_SECS, (at + SAME_RELEASE_SECS).min(now));
        let (mut seen, mut newest) = (BTreeMap::new(), None);
        for grid in around {
            let body = self.range(format!("group by ({}) ({text})", self.labels.pod), grid).await;
            let pods = body.and_then(|body| first_seen(&self.labels, &body)).map_err(unanswered(target))?;
            for (pod, first) in pods {
                if let Some(hash) = track.pods.hash(&pod) {
                    let known = seen.entry(hash.to_string()).or_insert(first);
                    *known = first.min(*known);
                }
            }
        }
        let new =
            seen.iter().filter(|(_, first)| **first >= at - EARLY_SECS).min_by_key(|(_, first)| **first);
        let new = new.map(|(hash, _)| hash.clone());
        for (hash, first) in &seen {
            if Some(hash) != new.as_ref() && newest.as_ref().is_none_or(|(_, latest)| latest <= first) {
                newest = Some((hash.clone(), *first));
            }
        }
        let hash = new.ok_or_else(|| PastError::NoNewPods { target: target.clone(), at: second(at) })?;
        Ok(Rollout { hash, previous: newest.map(|(hash, _)| hash), at, ended: None })
    }

    fn groups_of<'a>(&'a self, target: &'a TargetId) -> impl Iterator<Item = (&'a Group, Vec<&'a RuleName>)> {
        let of = |group: &'a Group| (group, group.rules_of(&target.service).collect::<Vec<_>>());
        self.groups.iter().map(of).filter(|(_, rules)| !rules.is_empty())
    }

    async fn steps(&self, query: &Query, place: &Place, grid: Grid) -> Result<Steps, Unanswered> {
        let text = match query {
            Query::Value(value) if !value.pods => values::beside(value),
            Query::Errors { .. } | Query::Latency { .. } | Query::Value(_) => {
                query::of_workload(query, &self.labels, place)
            }
        };
        steps(query, &self.labels, &self.range(text, grid).await?)
    }
}

impl PastReplay<'_> {
    /// How many releases are in it.
    pub fn releases(&self) -> usize {
        self.tracks.iter().map(|track| track.releases.len()).sum()
    }

    /// The next samples in the order of time; `None` at the end.
    ///
    /// # Errors
    /// When Prometheus does not answer. An answer in part becomes `NoData`.
    pub async fn next(&mut self) -> Result<Option<Vec<Sample>>, PastError> {
        let Some(grid) = self.pieces.pop_front() else { return Ok(None) };
        let source = self.source;
        let jobs: Vec<_> = self.tracks.iter_mut().map(|track| track.read(source, grid)).collect();
        let read: Vec<Vec<Sample>> = futures::stream::iter(jobs).buffered(CONCURRENT).try_collect().await?;
        let mut samples: Vec<Sample> = read.into_iter().flatten().collect();
        samples.sort_by_key(|sample| (sample.at, rank(&sample.reading)));
        Ok(Some(samples))
    }
}

/// At the same time: what is released, then whose pods there are, then what they measured.
fn rank(reading: &Reading) -> u8 {
    match reading {
        Reading::Release { .. } => 0,
        Reading::Pod(_) => 1,
        Reading::Counts { .. }
        | Reading::Histogram { .. }
        | Reading::Value { .. }
        | Reading::Check { .. }
        | Reading::Alert { .. }
        | Reading::Control { .. }
        | Reading::Remark { .. }
        | Reading::NoData { .. } => 2,
    }
}
