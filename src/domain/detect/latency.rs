//! Are requests slower? The e-process on "slower than a bucket bound", against old pods beside or against the time before.
//!
//! The null is every distribution that is stochastically no slower than the usual one slowed by a ratio: at each threshold no
//! more requests lie above it. Alternatives raise the odds of being slow by a factor at every threshold (the whole service
//! is slower) or at one threshold only (a tail is). Their likelihood ratio never falls as a request gets slower, and so its
//! mean is greatest, namely 1, for the slowest member of the null: it is an e-value for all of them.
use super::mixture::{Bounds, Mixture, Onset, Span, bernoulli_ratio};
use crate::domain::histogram::Buckets;

/// Slow requests are looked for where this share of the usual ones is: from the middle to the far tail.
const SHARES: [f64; 7] = [0.6, 0.4, 0.25, 0.1, 0.05, 0.02, 0.005];
/// So many thresholds, the slowest ones, are looked at alone too.
const TAILS: usize = 3;
/// Neighbouring thresholds have shares that differ at least by this factor.
const APART: f64 = 0.9;
/// Alternatives: the odds of being slow are so many times the usual ones.
const ODDS: [f64; 4] = [1.6, 2.5, 5.0, 20.0];
/// The usual share is known to be no nearer to 0 or 1 than this.
const SHARE_MIN: f64 = 1e-4;
const SHARE_MAX: f64 = 0.8;
/// Requests that the share of the time before weighs as, beside what the old pods show.
const PRIOR_REQUESTS: f64 = 200.0;
/// What the old pods showed fades by this much per batch, so that a drifting level is followed.
const DECAY: f64 = 0.98;

/// Where to look for slow requests: new ones above `above` seconds, usual ones above `usual_above`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// A real bucket bound: what the new pods do is never interpolated.
    pub above: f64,
    /// `above` divided by the ratio that is tested against.
    pub usual_above: f64,
    /// Share of the usual requests above `usual_above`, with a margin for how little was seen.
    pub usual_share: f64,
    /// The same with the margin on the other side: at least so many are that slow.
    pub share_at_least: f64,
}

/// Up to seven thresholds for a null ratio (1.35 for "35 % slower"), from usual times, fastest first. None if they lie in one
/// bucket.
pub fn thresholds(usual: &Buckets, ratio: f64) -> Vec<Threshold> {
    let count = usual.count();
    let of_bound = |above: f64| {
        let usual_above = above / ratio;
        let share = above_interpolated(usual, usual_above) / count;
        let margin = 2.0 * (share * (1.0 - share) / count).sqrt() + 2.0 / count;
        let usual_share = (share + margin).max(SHARE_MIN);
        let at_least = above_at_least(usual, usual_above) / count;
        Threshold { above, usual_above, usual_share, share_at_least: (at_least - margin).max(SHARE_MIN) }
    };
    let finite = usual.bounds().iter().map(|(le, _)| *le).filter(|le| le.is_finite() && *le > 0.0);
    let candidates: Vec<Threshold> =
        finite.map(of_bound).filter(|t| count > 0.0 && t.usual_share <= SHARE_MAX).collect();
    let mut chosen: Vec<Threshold> = Vec::new();
    for wanted in SHARES {
        let distance = |t: &&Threshold| (t.usual_share / wanted).ln().abs();
        let nearest = candidates.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
        let apart =
            |t: &&Threshold| chosen.last().is_none_or(|last| t.usual_share < last.usual_share * APART);
        chosen.extend(nearest.filter(apart));
    }
    chosen
}

/// How many are slower than `bound` seconds; where that is no bucket's bound, than the next one, which is fewer.
pub fn above(times: &Buckets, bound: f64) -> f64 {
    let within = times.bounds().iter().find(|(le, _)| *le >= bound).map_or(0.0, |(_, count)| *count);
    (times.count() - within).max(0.0)
}

/// The same where `bound` may lie inside a bucket, rather too many: spread evenly over its logarithm, or with odds that rise
/// evenly, whichever takes more for slower. The first overstates the times above the usual ones, the second those below.
pub fn above_interpolated(times: &Buckets, bound: f64) -> f64 {
    let count = times.count();
    let log_odds = |within: f64| ((within + 0.5) / (count - within + 0.5)).ln();
    let (mut lower, mut before) = (0.0_f64, 0.0);
    for (le, within) in times.bounds() {
        if bound < *le {
            // The first and the last bucket have no width in logarithms: all of it counts as slower.
            if lower <= 0.0 || le.is_infinite() {
                return count - before;
            }
            let share = ((bound / lower).ln() / (le / lower).ln()).clamp(0.0, 1.0);
            let between = |from: f64, to: f64| from + (to - from) * share;
            let by_odds = count / (1.0 + (-between(log_odds(before), log_odds(*within))).exp());
            return count - between(before, *within).min(by_odds.max(before));
        }
        (lower, before) = (*le, *within);
    }
    0.0
}

/// The same, rather too few: the logarithm of the share is taken to fall evenly over the logarithm of the time, as in the
/// heaviest tails. Response times have lighter ones, which lie above that line.
fn above_at_least(times: &Buckets, bound: f64) -> f64 {
    let (mut lower, mut slower) = (0.0_f64, times.count());
    for (le, within) in times.bounds() {
        let above = times.count() - within;
        if bound < *le {
            let inside = lower > 0.0 && le.is_finite() && above > 0.0;
            let share = if inside { (bound / lower).ln() / (le / lower).ln() } else { return above };
            return slower * (above / slower).powf(share);
        }
        (lower, slower) = (*le, above);
    }
    0.0
}

/// The e-process: the average over its alternatives is one e-value, so its bound holds for all of them together.
#[derive(Clone, Debug)]
pub struct Slower {
    alpha: f64,
    thresholds: Vec<Threshold>,
    /// Requests of the old pods, and how many of them were above each threshold; both fade.
    old: (f64, Vec<f64>),
    tests: Vec<Test>,
    /// Of the batch under way: above each threshold, and what was usual there before it.
    above: Vec<f64>,
    old_above: Vec<f64>,
    usual: Vec<f64>,
}

/// All thresholds together, or one alone.
#[derive(Clone, Debug)]
struct Test {
    from: usize,
    to: usize,
    mixture: Mixture<4>,
}

impl Slower {
    pub fn new(thresholds: &[Threshold], bounds: Bounds) -> Self {
        let count = thresholds.len();
        let alone = (count.saturating_sub(TAILS)..count).filter(|_| count > 1).map(|k| (k, k + 1));
        let spans: Vec<(usize, usize)> =
            std::iter::once((0, count)).chain(alone).filter(|(f, t)| f < t).collect();
        let together = u32::try_from(spans.len()).unwrap_or(1);
        let test = |&(from, to): &(usize, usize)| Test {
            from,
            to,
            mixture: Mixture::new(Bounds { together, ..bounds }),
        };
        Self {
            alpha: bounds.alpha,
            thresholds: thresholds.to_vec(),
            old: (PRIOR_REQUESTS, thresholds.iter().map(|t| PRIOR_REQUESTS * t.usual_share).collect()),
            tests: spans.iter().map(test).collect(),
            above: vec![0.0; count],
            old_above: vec![0.0; count],
            usual: vec![0.0; count],
        }
    }

    /// A batch of new pods against the time before, whose shares the thresholds hold.
    pub fn update_since_before(&mut self, span: Span, new: &Buckets) {
        let total = new.count();
        self.count_new(new);
        for test in &mut self.tests {
            let (usual, above) = (&self.thresholds[test.from..test.to], &self.above[test.from..test.to]);
            let ratios = ODDS.map(|odds| {
                bins(total, above)
                    .map(|(k, n)| {
                        let theirs = bin(k, usual.len(), |k| times_odds(usual[k].usual_share, odds));
                        let ours = bin(k, usual.len(), |k| usual[k].usual_share);
                        n * (theirs / ours).ln()
                    })
                    .sum()
            });
            test.mixture.update(span, &ratios, above.first().copied().unwrap_or(0.0), total);
        }
    }

    /// A batch of new pods against the old ones that served in the same time: a level that they share cancels.
    pub fn update_beside(&mut self, span: Span, new: &Buckets, old: &Buckets) {
        let (total, old_total) = (new.count(), old.count());
        if total <= 0.0 || old_total <= 0.0 {
            return;
        }
        self.count_new(new);
        for (above, threshold) in self.old_above.iter_mut().zip(&self.thresholds) {
            *above = above_interpolated(old, threshold.usual_above);
        }
        usual_shares(&self.old, &mut self.usual);
        for test in &mut self.tests {
            let range = test.from..test.to;
            let (usual, above, old_above) =
                (&self.usual[range.clone()], &self.above[range.clone()], &self.old_above[range]);
            let ratios = ODDS.map(|odds| {
                bins(total, above)
                    .zip(bins(old_total, old_above))
                    .map(|((k, n), (_, old_n))| {
                        let theirs = bin(k, usual.len(), |k| times_odds(usual[k], odds));
                        let ours = bin(k, usual.len(), |k| usual[k]);
                        let pooled = (total * theirs + old_total * ours) / (total + old_total);
                        n * (theirs / pooled).ln() + old_n * (ours / pooled).ln()
                    })
                    .sum()
            });
            test.mixture.update(span, &ratios, above.first().copied().unwrap_or(0.0), total);
        }
        self.old.0 = self.old.0 * DECAY + old_total;
        for (sum, above) in self.old.1.iter_mut().zip(&self.old_above) {
            *sum = *sum * DECAY + above;
        }
    }

    fn count_new(&mut self, new: &Buckets) {
        for (count, threshold) in self.above.iter_mut().zip(&self.thresholds) {
            *count = above(new, threshold.above);
        }
    }

    pub fn e_value(&self) -> f64 {
        let sum: f64 = self.tests.iter().map(|test| test.mixture.e_value()).sum();
        sum / self.tests.len().max(1) as f64
    }
    pub fn threshold(&self) -> f64 {
        1.0 / self.alpha
    }
    pub fn alarmed(&self) -> bool {
        self.is_at(self.alpha)
    }
    /// Whether the evidence would do for another chance of a false alarm.
    pub fn is_at(&self, alpha: f64) -> bool {
        !self.tests.is_empty() && self.e_value() * alpha >= 1.0
    }
    /// Of the alternatives that speak loudest; `bad` are the requests above their first threshold.
    pub fn onset(&self) -> Option<Onset> {
        self.loudest()?.mixture.onset()
    }
    pub fn may_have_begun_in_rollout(&self) -> bool {
        self.loudest().is_some_and(|test| test.mixture.may_have_begun_in_rollout())
    }

    fn loudest(&self) -> Option<&Test> {
        self.tests.iter().max_by(|a, b| a.mixture.e_value().total_cmp(&b.mixture.e_value()))
    }
}

/// What the old pods showed so far: known before the batch at hand, as an e-process needs it. Falls along the thresholds.
fn usual_shares((total, above): &(f64, Vec<f64>), shares: &mut [f64]) {
    let mut least = SHARE_MAX / APART;
    for (share, above) in shares.iter_mut().zip(above) {
        least = (above / total).clamp(SHARE_MIN, SHARE_MAX).min(least * APART);
        *share = least;
    }
}

/// Requests per bin: up to the first threshold, between neighbours, and above the last.
fn bins(total: f64, above: &[f64]) -> impl Iterator<Item = (usize, f64)> {
    (0..=above.len()).map(move |k| {
        let more_than = if k == 0 { total } else { above[k - 1] };
        (k, (more_than - above.get(k).copied().unwrap_or(0.0)).max(0.0))
    })
}

/// The probability of a bin, from the shares above each of `count` thresholds.
fn bin(k: usize, count: usize, share: impl Fn(usize) -> f64) -> f64 {
    let more_than = if k == 0 { 1.0 } else { share(k - 1) };
    let less = if k < count { share(k) } else { 0.0 };
    (more_than - less).max(1e-9)
}

/// Evidence needed: a release slower by the ratio tested passes for healthy in fewer than 1 of 100 watches.
const HEALTHY_NEEDED: f64 = 100.0;
/// Alternatives for health: the odds of being slow are so much smaller than they would be for a slower release.
const HEALTHY_ODDS: [f64; 3] = [1.0 / 1.3, 1.0 / 1.6, 1.0 / 2.5];

/// E-process against "new requests are slower by the ratio of the thresholds": its alarm is good news.
#[derive(Clone, Debug)]
pub struct NotSlower {
    tests: Vec<(Threshold, [f64; 3])>,
}

impl NotSlower {
    pub fn new(thresholds: &[Threshold]) -> Self {
        Self { tests: thresholds.iter().map(|t| (*t, [0.0; 3])).collect() }
    }

    pub fn update(&mut self, new: &Buckets) {
        let total = new.count();
        for (threshold, logs) in &mut self.tests {
            let (slower, slow) = (threshold.share_at_least, above(new, threshold.above));
            for (log, odds) in logs.iter_mut().zip(HEALTHY_ODDS) {
                *log += bernoulli_ratio(slow, total, times_odds(slower, odds), slower);
            }
        }
    }

    pub fn proven(&self) -> bool {
        let e_value = |logs: &[f64; 3]| logs.iter().map(|l| l.min(500.0).exp()).sum::<f64>() / 3.0;
        let sum: f64 = self.tests.iter().map(|(_, logs)| e_value(logs)).sum();
        !self.tests.is_empty() && sum / self.tests.len() as f64 >= HEALTHY_NEEDED
    }
}

fn times_odds(share: f64, times: f64) -> f64 {
    let odds = share / (1.0 - share) * times;
    odds / (1.0 + odds)
}

#[cfg(test)]
mod tests;
