//! The one primitive of the judge: a clipped, tempered change-point mixture e-process ("SR-mixture").
//!
//! For alternatives `g = 1..G` with log-likelihood increment `l_g` of a batch, `v_g = min(l_g / dispersion, clip)`,
//! `S_g ← exp(v_g) · (S_g + w_k)` and `E = mean_g S_g + (1 − Σ w)`. Each product of `exp(v_g)` is a non-negative
//! supermartingale under the null (E[LR] ≤ 1; a power ≤ 1 and a minimum only lower it), and `E` is their mixture with
//! total weight 1, so by Ville's inequality `P(sup E ≥ 1/α) ≤ α` over the whole watch, however often it is looked at.
//! The clip makes a decision rest on several batches: one burst is never enough.
use jiff::Timestamp;

/// What bounds one process: its share of false alarms and how much a decision needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Chance of a false alarm in one watch.
    pub alpha: f64,
    pub enough: Enough,
    /// Batches in a watch, over which the starting weight is spread.
    pub batches: u32,
    /// Variance of counts over what independent requests would give, at least 1.
    pub dispersion: f64,
    /// Processes that are averaged with this one, itself included.
    pub together: u32,
}

/// An alarm needs evidence from at least so many batches, and from so long a time. Longer batches are fewer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Enough {
    pub batches: u32,
    pub secs: f64,
}

impl Enough {
    /// A single batch may be enough: for facts, which are no samples.
    pub const AT_ONCE: Enough = Enough { batches: 1, secs: 0.0 };

    /// How many batches like one of `secs` are needed.
    fn of_length(self, secs: f64) -> f64 {
        // A batch that is short by a little counts as whole.
        let by_time = (self.secs / secs.max(0.5) - 0.1).ceil();
        f64::from(self.batches.max(1)).max(by_time)
    }
}

/// The time that a batch covers, and whether what begins in it counts as the release's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub since: Timestamp,
    pub secs: f64,
    pub in_rollout: bool,
}

/// Where the evidence of the leading alternative begins, and what was counted from there on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Onset {
    pub since: Timestamp,
    pub bad: f64,
    pub total: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Alternative {
    /// Shiryaev–Roberts sum, weighted by the starting weights.
    sum: f64,
    /// CUSUM of the same increments: the likeliest onset is where it was 0 last.
    cusum: f64,
    /// The same, with starts inside the rollout only; what was there at the first batch may have begun in it.
    early: f64,
    /// Counted since then; there is none while the CUSUM is 0.
    onset: Onset,
}

/// The process over a grid of `G` alternatives.
#[derive(Clone, Debug)]
pub struct Mixture<const G: usize> {
    bounds: Bounds,
    /// What an alarm takes, as a logarithm.
    needed: f64,
    batch: u32,
    spent: f64,
    alternatives: [Alternative; G],
}

/// The weight of "it began with the first batch"; the rest is spread evenly over the later ones.
const FIRST_WEIGHT: f64 = 0.5;
/// Sums are held below this, far beyond any threshold, so that a long watch cannot overflow.
const SUM_MAX: f64 = 1e250;
/// An onset that explains the data up to 20 times worse than the likeliest one is still possible.
const PLAUSIBLE: f64 = 3.0;

impl<const G: usize> Mixture<G> {
    pub fn new(bounds: Bounds) -> Self {
        let alternatives = G as f64 * f64::from(bounds.together.max(1));
        let needed = (1.0 / bounds.alpha).ln() + (1.0 / FIRST_WEIGHT).ln() + alternatives.ln();
        Self { bounds, needed, batch: 0, spent: 0.0, alternatives: [Alternative::default(); G] }
    }

    /// Folds one batch: a log-likelihood ratio per alternative, and the counts behind it.
    pub fn update(&mut self, span: Span, log_ratios: &[f64; G], bad: f64, total: f64) {
        let weight = self.next_weight();
        // What a batch may add depends on its length only, never on what was counted in it.
        let clip = self.needed / self.bounds.enough.of_length(span.secs);
        let batch = Onset { since: span.since, bad, total };
        for (alternative, ratio) in self.alternatives.iter_mut().zip(log_ratios) {
            let step = (ratio / self.bounds.dispersion).min(clip);
            alternative.sum = (step.exp() * (alternative.sum + weight)).min(SUM_MAX);
            alternative.follow_onset(step, batch, span.in_rollout);
        }
    }

    fn next_weight(&mut self) -> f64 {
        let weight = match (self.batch, self.bounds.batches) {
            (0, _) => FIRST_WEIGHT,
            (batch, batches) if batch < batches => (1.0 - FIRST_WEIGHT) / f64::from(batches - 1),
            _ => 0.0,
        };
        self.batch = self.batch.saturating_add(1);
        self.spent += weight;
        weight
    }

    /// Evidence against the null: under it, this exceeds `1/α` in fewer than `α` of all watches.
    pub fn e_value(&self) -> f64 {
        let mean = self.alternatives.iter().map(|a| a.sum).sum::<f64>() / G as f64;
        mean + (1.0 - self.spent).max(0.0)
    }

    pub fn threshold(&self) -> f64 {
        1.0 / self.bounds.alpha
    }

    pub fn alarmed(&self) -> bool {
        self.e_value() >= self.threshold()
    }

    /// Onset and counts of the alternative that explains the data best.
    pub fn onset(&self) -> Option<Onset> {
        self.best().filter(|a| a.cusum > 0.0).map(|a| a.onset)
    }

    /// Whether the trouble may have begun inside the rollout. With little traffic the likeliest onset is off by minutes,
    /// so this asks what the data allow, not what they point at.
    pub fn may_have_begun_in_rollout(&self) -> bool {
        let most = |value: fn(&Alternative) -> f64| {
            self.alternatives.iter().map(value).fold(f64::NEG_INFINITY, f64::max)
        };
        let early = most(|a| a.early);
        early > 0.0 && early >= most(|a| a.cusum) - PLAUSIBLE
    }

    fn best(&self) -> Option<&Alternative> {
        self.alternatives.iter().max_by(|a, b| a.sum.total_cmp(&b.sum))
    }
}

impl Alternative {
    fn follow_onset(&mut self, step: f64, batch: Onset, in_rollout: bool) {
        let start = if in_rollout { self.early.max(0.0) } else { self.early };
        self.early = start + step;
        let since = if self.cusum > 0.0 { self.onset } else { Onset { bad: 0.0, total: 0.0, ..batch } };
        self.cusum = (self.cusum + step).max(0.0);
        self.onset = Onset { bad: since.bad + batch.bad, total: since.total + batch.total, ..since };
    }
}

/// Log-likelihood ratio of `bad` failures among `total` requests: failure ratio `p` against `p0`.
pub fn bernoulli_ratio(bad: f64, total: f64, p: f64, p0: f64) -> f64 {
    bad * (p / p0).ln() + (total - bad) * ((1.0 - p) / (1.0 - p0)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(batches: u32) -> Bounds {
        let enough = Enough { batches, secs: 0.0 };
        Bounds { alpha: 1e-3, enough, batches: 360, dispersion: 1.0, together: 1 }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn span(second: i64) -> Span {
        Span { since: at(second), secs: 5.0, in_rollout: second < 60 }
    }

    #[test]
    fn no_number_of_errors_in_fewer_batches_than_the_minimum_alarms() {
        let mut mixture = Mixture::<2>::new(bounds(4));
        for batch in 0..3 {
            mixture.update(span(batch * 5), &[1e6, 1e6], 500.0, 500.0);
            assert!(!mixture.alarmed(), "batch {batch}: {}", mixture.e_value());
        }
        mixture.update(span(15), &[1e6, 1e6], 500.0, 500.0);
        assert!(mixture.alarmed());
    }

    #[test]
    fn it_starts_at_one_and_never_overflows() {
        let mut mixture = Mixture::<3>::new(bounds(4));
        assert_eq!(mixture.e_value(), 1.0);
        for batch in 0..2000 {
            mixture.update(span(batch), &[1e9, 1.0, -1e9], 1.0, 1.0);
        }
        assert!(mixture.e_value().is_finite());
    }

    #[test]
    fn the_onset_is_where_the_evidence_begins() {
        let mut mixture = Mixture::<1>::new(bounds(4));
        for batch in 0..10 {
            mixture.update(span(batch * 5), &[-0.5], 0.0, 20.0);
        }
        for batch in 10..13 {
            mixture.update(span(batch * 5), &[2.0], 4.0, 20.0);
        }
        assert_eq!(mixture.onset(), Some(Onset { since: at(50), bad: 12.0, total: 60.0 }));
    }

    #[test]
    fn longer_batches_are_fewer_but_never_less_than_the_minimum() {
        let enough = Enough { batches: 3, secs: 20.0 };
        let needed = [1.0, 4.9, 5.0, 5.1, 15.0, 60.0].map(|secs| enough.of_length(secs));
        assert_eq!(needed, [20.0, 4.0, 4.0, 4.0, 3.0, 3.0]);
    }

    #[test]
    fn a_late_onset_is_not_taken_for_one_of_the_rollout() {
        let run = |healthy: i64| {
            let mut mixture = Mixture::<1>::new(bounds(4));
            for batch in 0..healthy {
                mixture.update(span(batch * 5), &[-0.5], 0.0, 20.0);
            }
            for batch in healthy..healthy + 10 {
                mixture.update(span(batch * 5), &[2.0], 4.0, 20.0);
            }
            mixture.may_have_begun_in_rollout()
        };
        assert!(run(0) && run(5) && run(12));
        assert!(run(14), "two batches past the rollout are within what chance explains");
        assert!(!run(40));
    }
}
