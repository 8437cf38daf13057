//! The one primitive of the judge: a clipped, tempered change-point mixture e-process ("SR-mixture").
//!
//! For alternatives `g = 1..G` with log-likelihood increment `l_g` of a batch, `v_g = min(l_g / dispersion, clip)`,
//! `S_g ← exp(v_g) · (S_g + w_k)` and `E = mean_g S_g + (1 − Σ w)`. Each product of `exp(v_g)` is a non-negative
//! supermartingale under the null (E[LR] ≤ 1; a power ≤ 1 and a minimum only lower it), and `E` is their mixture with
//! total weight 1, so by Ville's inequality `P(sup E ≥ 1/α) ≤ α` over the whole watch, however often it is looked at.
//! The clip makes a decision rest on at least `min_batches` batches: one burst is never enough.
use jiff::Timestamp;

/// What bounds one process: its share of false alarms and how many batches a decision needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Chance of a false alarm in one watch.
    pub alpha: f64,
    /// An alarm needs at least so many batches of evidence.
    pub min_batches: u32,
    /// Batches in a watch, over which the starting weight is spread.
    pub batches: u32,
    /// Variance of counts over what independent requests would give, in [1, 4].
    pub dispersion: f64,
}

/// Where the evidence of the leading alternative begins, and what was counted from there on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Onset {
    pub since: Timestamp,
    pub bad: f64,
    pub total: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Alternative {
    /// Shiryaev–Roberts sum, weighted by the starting weights.
    sum: f64,
    /// CUSUM of the same increments; it only keeps the onset.
    cusum: f64,
    onset: Option<Onset>,
}

/// The process over a grid of `G` alternatives.
#[derive(Clone, Debug)]
pub struct Mixture<const G: usize> {
    bounds: Bounds,
    clip: f64,
    batch: u32,
    spent: f64,
    alternatives: [Alternative; G],
}

/// The weight of "it began with the first batch"; the rest is spread evenly over the later ones.
const FIRST_WEIGHT: f64 = 0.5;
/// Sums are held below this, far beyond any threshold, so that a long watch cannot overflow.
const SUM_MAX: f64 = 1e250;

impl<const G: usize> Mixture<G> {
    pub fn new(bounds: Bounds) -> Self {
        let needed = (1.0 / bounds.alpha).ln() + (1.0 / FIRST_WEIGHT).ln() + (G as f64).ln();
        let clip = needed / f64::from(bounds.min_batches.max(1));
        Self { bounds, clip, batch: 0, spent: 0.0, alternatives: [Alternative::default(); G] }
    }

    /// Folds one batch that began at `since`: a log-likelihood ratio per alternative, and the counts behind it.
    pub fn update(&mut self, since: Timestamp, log_ratios: &[f64; G], bad: f64, total: f64) {
        let weight = self.next_weight();
        let batch = Onset { since, bad, total };
        for (alternative, ratio) in self.alternatives.iter_mut().zip(log_ratios) {
            let step = (ratio / self.bounds.dispersion).min(self.clip);
            alternative.sum = (step.exp() * (alternative.sum + weight)).min(SUM_MAX);
            alternative.follow_onset(step, batch);
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
        let best = self.alternatives.iter().max_by(|a, b| a.sum.total_cmp(&b.sum))?;
        best.onset
    }
}

impl Alternative {
    fn follow_onset(&mut self, step: f64, batch: Onset) {
        if self.cusum <= 0.0 {
            self.onset = None;
        }
        self.cusum = (self.cusum + step).max(0.0);
        if self.cusum > 0.0 {
            self.onset = Some(match self.onset {
                None => batch,
                Some(o) => Onset { bad: o.bad + batch.bad, total: o.total + batch.total, ..o },
            });
        }
    }
}

/// Log-likelihood ratio of `bad` failures among `total` requests: failure ratio `p` against `p0`.
pub fn bernoulli_ratio(bad: f64, total: f64, p: f64, p0: f64) -> f64 {
    bad * (p / p0).ln() + (total - bad) * ((1.0 - p) / (1.0 - p0)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(min_batches: u32) -> Bounds {
        Bounds { alpha: 1e-3, min_batches, batches: 360, dispersion: 1.0 }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn no_number_of_errors_in_fewer_batches_than_the_minimum_alarms() {
        let mut mixture = Mixture::<2>::new(bounds(4));
        for batch in 0..3 {
            mixture.update(at(batch * 5), &[1e6, 1e6], 500.0, 500.0);
            assert!(!mixture.alarmed(), "batch {batch}: {}", mixture.e_value());
        }
        mixture.update(at(15), &[1e6, 1e6], 500.0, 500.0);
        assert!(mixture.alarmed());
    }

    #[test]
    fn it_starts_at_one_and_never_overflows() {
        let mut mixture = Mixture::<3>::new(bounds(4));
        assert_eq!(mixture.e_value(), 1.0);
        for batch in 0..2000 {
            mixture.update(at(batch), &[1e9, 1.0, -1e9], 1.0, 1.0);
        }
        assert!(mixture.e_value().is_finite());
    }

    #[test]
    fn the_onset_is_where_the_evidence_begins() {
        let mut mixture = Mixture::<1>::new(bounds(4));
        for batch in 0..10 {
            mixture.update(at(batch * 5), &[-0.5], 0.0, 20.0);
        }
        for batch in 10..13 {
            mixture.update(at(batch * 5), &[2.0], 4.0, 20.0);
        }
        assert_eq!(mixture.onset(), Some(Onset { since: at(50), bad: 12.0, total: 60.0 }));
    }
}
