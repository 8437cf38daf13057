//! Which parts of the past are read: around each release, in pieces of bounded size.
use std::collections::VecDeque;

use super::super::past::Grid;
use super::STEP_SECS;

/// Read before each release.
pub(super) const BEFORE_SECS: i64 = 3600;
/// Steps per query: five minutes, so that ten thousand series make an answer of a few megabytes.
const STEPS: i64 = 20;
/// Steps after the end of a watch: it ends with the first batch after it.
const AFTER_STEPS: i64 = 2;
/// Steps per query where only sizes of ReplicaSets are read. Prometheus refuses more than 11,000 points per series.
const LONG_STEPS: i64 = 5_000;

/// A release and the length of its watch, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watched {
    pub(super) at: i64,
    pub(super) watch: i64,
}

/// The pieces in the order of time, none twice, where releases are close together, and none after `now`.
pub(super) fn pieces(releases: impl Iterator<Item = Watched>, now: i64) -> VecDeque<Grid> {
    let window = |Watched { at, watch }: Watched| {
        let to = (up(at + watch) + AFTER_STEPS * STEP_SECS).min(down(now));
        (down(at - BEFORE_SECS), to)
    };
    let mut windows: Vec<(i64, i64)> = releases.map(window).collect();
    windows.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (from, to) in windows {
        match merged.last_mut() {
            Some(last) if from <= last.1 + STEP_SECS => last.1 = last.1.max(to),
            Some(_) | None => merged.push((from, to)),
        }
    }
    merged.into_iter().flat_map(|(from, to)| cut(from, to, STEPS)).collect()
}

/// A whole period in long pieces.
pub(super) fn long_pieces(from: i64, to: i64) -> VecDeque<Grid> {
    cut(down(from), down(to), LONG_STEPS).collect()
}

fn cut(from: i64, to: i64, steps: i64) -> impl Iterator<Item = Grid> {
    let length = steps * STEP_SECS;
    let piece = move |index: i64| {
        let from = from + index * length;
        Grid { from, to: (from + length - STEP_SECS).min(to), step: STEP_SECS }
    };
    (0..).map(piece).take_while(move |grid| grid.from <= to)
}

fn down(second: i64) -> i64 {
    second.div_euclid(STEP_SECS) * STEP_SECS
}

fn up(second: i64) -> i64 {
    down(second + STEP_SECS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(pieces: &VecDeque<Grid>) -> Vec<i64> {
        pieces.iter().flat_map(|g| (g.from..=g.to).step_by(STEP_SECS as usize)).collect()
    }

    #[test]
    fn an_hour_before_to_a_watch_after_in_order_and_once() {
        let watched = |at| Watched { at, watch: 1800 };
        let pieces = pieces([watched(100_007), watched(20_000), watched(22_000)].into_iter(), i64::MAX / 2);
        assert!(pieces.iter().all(|g| g.to - g.from < STEPS * STEP_SECS && g.to >= g.from));
        let covered = covered(&pieces);
        assert!(covered.is_sorted_by(|a, b| a < b), "nothing twice, nothing late");
        assert_eq!((covered[0], *covered.last().unwrap()), (16_395, 101_850));
        let gaps: Vec<i64> = covered.windows(2).map(|w| w[1] - w[0]).filter(|gap| *gap != 15).collect();
        assert_eq!(gaps.len(), 1, "one window for the two that overlap");
    }

    #[test]
    fn what_has_not_happened_is_not_read() {
        let pieces = pieces([Watched { at: 20_000, watch: 1800 }].into_iter(), 20_100);
        assert_eq!(pieces.back().map(|g| g.to), Some(20_100));
        assert!(long_pieces(0, 30 * 86_400).iter().all(|g| (g.to - g.from) / g.step < 11_000));
        assert_eq!(covered(&long_pieces(0, 86_400)).len(), 5761);
    }
}
