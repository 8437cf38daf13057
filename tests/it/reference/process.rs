//! The change-point mixture written from its definition: every start and every alternative is a product of its own.
use jiff::Timestamp;
use rollguard::domain::detect::mixture::{Bounds, Onset, Span};

use super::constants::{FIRST_WEIGHT, PLAUSIBLE};

/// The products that began with one batch.
struct Start {
    weight: f64,
    since: Timestamp,
    in_rollout: bool,
    /// Logarithm of each alternative's product.
    logs: Vec<f64>,
    bad: f64,
    total: f64,
}

/// All of them: each batch costs as much as there were batches before it.
pub(super) struct Process {
    bounds: Bounds,
    alternatives: usize,
    starts: Vec<Start>,
}

/// Sums below this may differ by all that they are.
const VANISHING: f64 = 1e-290;

impl Process {
    pub(super) fn new(alternatives: usize, bounds: Bounds) -> Self {
        Self { bounds, alternatives, starts: Vec::new() }
    }

    /// What one batch may add at most, so that an alarm takes several.
    fn clip(&self, secs: f64) -> f64 {
        let bounds = &self.bounds;
        let processes = self.alternatives as f64 * f64::from(bounds.together);
        let needed = (processes / bounds.alpha / FIRST_WEIGHT).ln();
        let lengths = bounds.enough.secs / secs.max(0.5);
        // A tenth of a batch that is missing is forgiven.
        let batches = (lengths - 0.1).ceil().max(f64::from(bounds.enough.batches));
        needed / batches
    }

    fn weight(&self) -> f64 {
        let (start, starts) = (self.starts.len(), self.bounds.batches as usize);
        if start == 0 {
            FIRST_WEIGHT
        } else if start < starts {
            (1.0 - FIRST_WEIGHT) / (starts - 1) as f64
        } else {
            0.0
        }
    }

    pub(super) fn update(&mut self, span: Span, log_ratios: &[f64], bad: f64, total: f64) {
        assert_eq!(log_ratios.len(), self.alternatives);
        self.starts.push(Start {
            weight: self.weight(),
            since: span.since,
            // What was there with the first batch may have begun at any time before it.
            in_rollout: span.in_rollout || self.starts.is_empty(),
            logs: vec![0.0; self.alternatives],
            bad: 0.0,
            total: 0.0,
        });
        let clip = self.clip(span.secs);
        for start in &mut self.starts {
            for (log, ratio) in start.logs.iter_mut().zip(log_ratios) {
                *log += (ratio / self.bounds.dispersion).min(clip);
            }
            (start.bad, start.total) = (start.bad + bad, start.total + total);
        }
    }

    /// The weighted products of one alternative.
    fn sum(&self, alternative: usize) -> f64 {
        self.starts.iter().map(|start| start.weight * start.logs[alternative].exp()).sum()
    }

    pub(super) fn e_value(&self) -> f64 {
        let products: f64 = (0..self.alternatives).map(|g| self.sum(g)).sum();
        let begun: f64 = self.starts.iter().map(|start| start.weight).sum();
        products / self.alternatives as f64 + (1.0 - begun)
    }

    /// The likeliest of some starts under one alternative.
    fn most(&self, alternative: usize, of: impl Fn(&Start) -> bool) -> f64 {
        let logs = self.starts.iter().filter(|start| of(start)).map(|start| start.logs[alternative]);
        logs.fold(f64::NEG_INFINITY, f64::max)
    }

    /// Whether this is an onset that the definition allows: of an alternative with the greatest sum, the likeliest start, the
    /// later one if two are alike; none if no start is likelier than that nothing began. Near ties either will do.
    pub(super) fn allows(&self, found: Option<Onset>) -> bool {
        let sums: Vec<f64> = (0..self.alternatives).map(|g| self.sum(g)).collect();
        let greatest = sums.iter().copied().fold(0.0, f64::max);
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs().max(1.0);
        // Where even the greatest is nearly nothing, numbers have no digits left, and rounding decides.
        let leads = |sum: f64| greatest < VANISHING || sum >= greatest * (1.0 - 1e-9);
        let leading: Vec<usize> = (0..self.alternatives).filter(|&g| leads(sums[g])).collect();
        leading.into_iter().any(|g| {
            let most = self.most(g, |_| true);
            let of = |onset: Onset, start: &Start| {
                start.since == onset.since && (start.bad, start.total) == (onset.bad, onset.total)
            };
            match found {
                Some(onset) => {
                    let start = self.starts.iter().find(|start| of(onset, start));
                    let later =
                        |than: f64| self.starts.iter().any(|s| s.since > onset.since && s.logs[g] >= than);
                    most > -1e-9 && start.is_some_and(|s| near(s.logs[g], most) && !later(s.logs[g]))
                }
                None => most < 1e-9,
            }
        })
    }

    /// `None` where rounding decides.
    pub(super) fn may_have_begun_in_rollout(&self) -> Option<bool> {
        let of = |in_rollout: bool| {
            let each = (0..self.alternatives).map(|g| self.most(g, |s| s.in_rollout || !in_rollout));
            each.fold(f64::NEG_INFINITY, f64::max)
        };
        let (early, any) = (of(true), of(false).max(0.0));
        let clear = early.abs() > 1e-9 && (early - (any - PLAUSIBLE)).abs() > 1e-9;
        clear.then_some(early > 0.0 && early >= any - PLAUSIBLE)
    }

    /// Beyond this the sums are held, as no message shows them.
    pub(super) fn is_huge(&self) -> bool {
        (0..self.alternatives).any(|g| self.sum(g) > 1e240)
    }
}
