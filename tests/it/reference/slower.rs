//! Response times written from the formulas: proportional odds over all thresholds together and over single tails.
use rollguard::domain::detect::latency::Threshold;
use rollguard::domain::detect::mixture::{Bounds, Span};
use rollguard::domain::histogram::Buckets;

use super::constants::*;
use super::process::Process;

/// How many lie above `at`: a real bound, or the next one.
fn above(times: &Buckets, at: f64) -> f64 {
    let (mut within, mut before) = (0.0, 0.0);
    for (le, count) in times.bounds() {
        if before < at {
            within = *count;
        }
        before = *le;
    }
    (times.count() - within).max(0.0)
}

/// How many lie above `at`. Inside a bucket: evenly spread over the logarithm, or with odds of being slower that fall by the
/// same factor for the same factor of time, whichever is more; all of it where the bucket has no width.
fn above_spread(times: &Buckets, at: f64) -> f64 {
    let (bounds, all) = (times.bounds(), times.count());
    let Some(next) = bounds.iter().position(|(le, _)| at < *le) else { return 0.0 };
    let ((lower, before), (upper, within)) =
        (if next == 0 { (0.0, 0.0) } else { bounds[next - 1] }, bounds[next]);
    if lower <= 0.0 || upper.is_infinite() {
        return all - before;
    }
    let passed = (at.ln() - lower.ln()).max(0.0) / (upper.ln() - lower.ln());
    let even = (all - within) * passed + (all - before) * (1.0 - passed);
    let odds = |faster: f64| (all - faster + 0.5) / (faster + 0.5);
    let odds = odds(before).powf(1.0 - passed) * odds(within).powf(passed);
    even.max((all * odds / (1.0 + odds)).min(all - before))
}

fn raised(share: f64, odds: f64) -> f64 {
    1.0 / (1.0 + (1.0 - share) / (share * odds))
}

/// From shares (or counts) above ever later thresholds to those between them, `all` being everything.
fn between(all: f64, above: &[f64]) -> Vec<f64> {
    let mut edges = vec![all];
    edges.extend_from_slice(above);
    edges.push(0.0);
    edges.windows(2).map(|pair| pair[0] - pair[1]).collect()
}

pub(super) struct Slower {
    thresholds: Vec<Threshold>,
    /// The thresholds of each test.
    tests: Vec<(Vec<usize>, Process)>,
    /// Per batch: requests of the old pods, and how many were above each threshold.
    old: Vec<(f64, Vec<f64>)>,
}

impl Slower {
    pub(super) fn new(thresholds: &[Threshold], bounds: Bounds) -> Self {
        let n = thresholds.len();
        let mut groups: Vec<Vec<usize>> = vec![(0..n).collect()];
        if n > 1 {
            groups.extend((0..n).skip(n.saturating_sub(TAILS)).map(|k| vec![k]));
        }
        let bounds = Bounds { together: groups.len() as u32, ..bounds };
        let tests = groups.into_iter().map(|group| (group, Process::new(ODDS.len(), bounds))).collect();
        Self { thresholds: thresholds.to_vec(), tests, old: Vec::new() }
    }

    pub(super) fn update_since_before(&mut self, span: Span, new: &Buckets) {
        let usual: Vec<f64> = self.thresholds.iter().map(|t| t.usual_share).collect();
        let counts: Vec<f64> = self.thresholds.iter().map(|t| above(new, t.above)).collect();
        for (group, process) in &mut self.tests {
            let of = |values: &[f64]| group.iter().map(|k| values[*k]).collect::<Vec<f64>>();
            let (null, served) = (between(1.0, &of(&usual)), between(new.count(), &of(&counts)));
            let log_ratios = ODDS.map(|odds| {
                let raised: Vec<f64> = of(&usual).iter().map(|share| raised(*share, odds)).collect();
                let bins = between(1.0, &raised).into_iter().zip(&null).zip(&served);
                bins.map(|((p, null), n)| n * (p.ln() - null.ln())).sum()
            });
            process.update(span, &log_ratios, of(&counts)[0], new.count());
        }
    }

    /// What is usual of the old pods, from all batches before this one; older ones weigh less.
    fn usual(&self) -> Vec<f64> {
        let n = self.old.len() as i32;
        let faded = |k: usize| KEPT.powi(n - 1 - k as i32);
        let prior = PRIOR_REQUESTS * KEPT.powi(n);
        let requests = prior + self.old.iter().enumerate().map(|(k, (n, _))| faded(k) * n).sum::<f64>();
        let mut shares: Vec<f64> = Vec::new();
        for (t, threshold) in self.thresholds.iter().enumerate() {
            let seen: f64 = self.old.iter().enumerate().map(|(k, (_, above))| faded(k) * above[t]).sum();
            let share = ((prior * threshold.usual_share + seen) / requests).clamp(SHARES.0, SHARES.1);
            shares.push(shares.last().map_or(share, |last| share.min(last * APART)));
        }
        shares
    }

    pub(super) fn update_beside(&mut self, span: Span, new: &Buckets, old: &Buckets) {
        let (n, m) = (new.count(), old.count());
        if n == 0.0 || m == 0.0 {
            return;
        }
        let usual = self.usual();
        let counts: Vec<f64> = self.thresholds.iter().map(|t| above(new, t.above)).collect();
        let olds: Vec<f64> = self.thresholds.iter().map(|t| above_spread(old, t.usual_above)).collect();
        for (group, process) in &mut self.tests {
            let of = |values: &[f64]| group.iter().map(|k| values[*k]).collect::<Vec<f64>>();
            let null = between(1.0, &of(&usual));
            let (served, served_old) = (between(n, &of(&counts)), between(m, &of(&olds)));
            let log_ratios = ODDS.map(|odds| {
                let raised: Vec<f64> = of(&usual).iter().map(|share| raised(*share, odds)).collect();
                let worse = between(1.0, &raised);
                // Both sides alike, at the level that fits them best on the average.
                let pooled = |k: usize| (n * worse[k] + m * null[k]) / (n + m);
                let log = |k: usize| {
                    served[k] * (worse[k] / pooled(k)).ln() + served_old[k] * (null[k] / pooled(k)).ln()
                };
                (0..null.len()).map(log).sum()
            });
            process.update(span, &log_ratios, of(&counts)[0], n);
        }
        self.old.push((m, olds));
    }

    pub(super) fn e_value(&self) -> f64 {
        self.tests.iter().map(|(_, process)| process.e_value()).sum::<f64>() / self.tests.len() as f64
    }

    /// The processes with the greatest evidence; more than one near a tie.
    pub(super) fn loudest(&self) -> impl Iterator<Item = &Process> {
        let most = self.tests.iter().map(|(_, process)| process.e_value()).fold(0.0, f64::max);
        self.tests.iter().map(|(_, process)| process).filter(move |p| p.e_value() >= most * (1.0 - 1e-9))
    }

    pub(super) fn is_huge(&self) -> bool {
        self.tests.iter().any(|(_, process)| process.is_huge())
    }
}

/// Evidence that no more requests lie above the thresholds than a slower release would have there.
pub(super) fn not_slower(thresholds: &[Threshold], batches: &[Buckets]) -> f64 {
    let total: f64 = batches.iter().map(Buckets::count).sum();
    let of = |threshold: &Threshold| {
        let slow: f64 = batches.iter().map(|batch| above(batch, threshold.above)).sum();
        let null = threshold.share_at_least;
        let product = |odds: &f64| {
            let p = raised(null, *odds);
            (slow * (p / null).ln() + (total - slow) * ((1.0 - p) / (1.0 - null)).ln()).exp()
        };
        HEALTHY_ODDS.iter().map(product).sum::<f64>() / HEALTHY_ODDS.len() as f64
    };
    thresholds.iter().map(of).sum::<f64>() / thresholds.len() as f64
}
