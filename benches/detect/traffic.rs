//! How requests fail when nothing is wrong: by themselves, in clusters, in overdispersed batches, in short bursts.
use rand::Rng;
use rand_distr::{Beta, Binomial, Distribution, Exp1, Geometric};

/// Failures of a cluster or a run, on average.
const CLUSTER_MEAN: f64 = 5.0;
/// Overdispersion of the beta-binomial model, and the length of the batches that share a rate.
const DISPERSION: f64 = 8.0;
pub(crate) const BATCH_SECS: u32 = 5;
const BURST_EVERY_SECS: f64 = 300.0;
const BURST_SECS: (f64, f64) = (2.0, 5.0);
const BURST_RATIO: f64 = 0.5;

/// The failures of healthy traffic; `ratio` is that of failed requests, without the bursts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Healthy {
    Independent {
        ratio: f64,
    },
    /// A client that fails tries again at once: its failures come together, within a second.
    Clusters {
        ratio: f64,
    },
    /// One failed request after the other, however long that takes: at little traffic an outage.
    Runs {
        ratio: f64,
    },
    BetaBinomial {
        ratio: f64,
    },
    Bursts {
        ratio: f64,
    },
}

impl Healthy {
    pub(crate) fn ratio(self) -> f64 {
        match self {
            Healthy::Independent { ratio }
            | Healthy::Clusters { ratio }
            | Healthy::Runs { ratio }
            | Healthy::BetaBinomial { ratio }
            | Healthy::Bursts { ratio } => ratio,
        }
    }
}

/// A number of successes out of `n`.
pub(crate) fn binomial(rng: &mut impl Rng, n: u64, p: f64) -> u64 {
    if n == 0 || p <= 0.0 {
        return 0;
    }
    Binomial::new(n, p.min(1.0)).map_or(0, |d| d.sample(rng))
}

/// Short spells that come at random, five minutes apart on average.
#[derive(Clone, Debug)]
pub(crate) struct Bursts {
    begins: f64,
    ends: f64,
}

impl Bursts {
    pub(crate) fn new(rng: &mut impl Rng) -> Self {
        let mut bursts = Self { begins: 0.0, ends: 0.0 };
        bursts.next(rng);
        bursts
    }
    fn next(&mut self, rng: &mut impl Rng) {
        let gap: f64 = Exp1.sample(rng);
        self.begins = self.ends + gap * BURST_EVERY_SECS;
        self.ends = self.begins + rng.random_range(BURST_SECS.0..BURST_SECS.1);
    }
    /// The share of this span that lies in bursts.
    pub(crate) fn share(&mut self, rng: &mut impl Rng, from_secs: f64, to_secs: f64) -> f64 {
        let mut inside = 0.0;
        while self.begins < to_secs {
            inside += (self.ends.min(to_secs) - self.begins.max(from_secs)).max(0.0);
            if self.ends > to_secs {
                break;
            }
            self.next(rng);
        }
        inside / (to_secs - from_secs)
    }
}

/// The failures of one arm over time.
#[derive(Clone, Debug)]
pub(crate) struct Failures {
    model: Healthy,
    /// Failures of a begun run that are still to come.
    pending: u64,
    /// The beta-binomial rate of the present batch, and which batch that is.
    rate: (u32, f64),
    beta: Option<Beta<f64>>,
    bursts: Bursts,
}

impl Failures {
    /// `rps` of the arm: the beta-binomial model's dispersion is that of its batches.
    pub(crate) fn new(rng: &mut impl Rng, model: Healthy, rps: f64) -> Self {
        let correlation = ((DISPERSION - 1.0) / (rps * f64::from(BATCH_SECS) - 1.0)).clamp(1e-6, 0.9);
        let weight = 1.0 / correlation - 1.0;
        let ratio = model.ratio();
        let beta = Beta::new(ratio * weight, (1.0 - ratio) * weight).ok();
        Self { model, pending: 0, rate: (u32::MAX, 0.0), beta, bursts: Bursts::new(rng) }
    }

    /// How many of `requests` fail in the `secs` from `from_secs` on, which lie in one batch. Clusters can be more than
    /// that: they bring requests of their own, and take the place of [`Failures::replaced`].
    pub(crate) fn draw(&mut self, rng: &mut impl Rng, from_secs: u32, secs: u32, requests: u64) -> u64 {
        match self.model {
            Healthy::Independent { ratio } => binomial(rng, requests, ratio),
            Healthy::Clusters { ratio } => {
                let begun = binomial(rng, requests, ratio / CLUSTER_MEAN);
                lengths(rng, begun)
            }
            Healthy::Runs { ratio } => self.run(rng, ratio, requests),
            Healthy::BetaBinomial { .. } => {
                let batch = from_secs / BATCH_SECS;
                if self.rate.0 != batch {
                    let rate = self.beta.map_or(0.0, |beta| beta.sample(rng));
                    self.rate = (batch, if rate.is_finite() { rate } else { 0.0 });
                }
                binomial(rng, requests, self.rate.1)
            }
            Healthy::Bursts { ratio } => {
                let from = f64::from(from_secs);
                let share = self.bursts.share(rng, from, from + f64::from(secs));
                let inside = binomial(rng, requests, share);
                binomial(rng, inside, ratio + BURST_RATIO) + binomial(rng, requests - inside, ratio)
            }
        }
    }

    /// How many of `requests` are not made because those of clusters are.
    pub(crate) fn replaced(&self, rng: &mut impl Rng, requests: u64) -> Option<u64> {
        match self.model {
            Healthy::Clusters { ratio } => Some(binomial(rng, requests, ratio)),
            Healthy::Independent { .. }
            | Healthy::Runs { .. }
            | Healthy::BetaBinomial { .. }
            | Healthy::Bursts { .. } => None,
        }
    }

    fn run(&mut self, rng: &mut impl Rng, ratio: f64, requests: u64) -> u64 {
        let carried = self.pending.min(requests);
        let begun = binomial(rng, requests - carried, ratio / (CLUSTER_MEAN * (1.0 - ratio)));
        self.pending += lengths(rng, begun);
        let failed = self.pending.min(requests);
        self.pending -= failed;
        failed
    }
}

/// The failures of so many clusters together.
fn lengths(rng: &mut impl Rng, begun: u64) -> u64 {
    let more = Geometric::new(1.0 / CLUSTER_MEAN).ok();
    (0..begun).map(|_| 1 + more.map_or(0, |d| d.sample(rng))).sum()
}

/// Spreads `failed` over pods that served `served` requests, as if each failure had hit any request.
pub(crate) fn spread(rng: &mut impl Rng, mut failed: u64, served: &[u64]) -> Vec<u64> {
    let mut left: u64 = served.iter().sum();
    let mut out = Vec::with_capacity(served.len());
    for n in served {
        let others = left - n;
        let share = *n as f64 / left.max(1) as f64;
        let mine = binomial(rng, failed, share).clamp(failed.saturating_sub(others), failed.min(*n));
        out.push(mine);
        failed -= mine;
        left = others;
    }
    out
}
