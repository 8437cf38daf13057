//! Health is a verdict of its own, with its own test: is the failure ratio surely below what would be minor trouble?
use super::errors::Counts;
use super::mixture::bernoulli_ratio;

/// Failure ratios that a healthy service may have.
const GRID: [f64; 4] = [0.0002, 0.001, 0.003, 0.006];
/// Evidence needed: a service above the limit passes in fewer than 1 of 100 watches.
const NEEDED: f64 = 100.0;
const MINOR: f64 = 0.01;

/// E-process against "the failure ratio is at least 1 % above what the service had before".
#[derive(Clone, Debug)]
pub struct Healthy {
    limit: f64,
    logs: [f64; 4],
    counts: Counts,
}

impl Healthy {
    /// `usual` is the failure ratio before the release, 0 when unknown.
    pub fn new(usual: f64) -> Self {
        Self { limit: (MINOR + usual).min(0.5), logs: [0.0; 4], counts: Counts::default() }
    }

    pub fn update(&mut self, counts: Counts) {
        self.counts.add(counts);
        let scale = self.limit / MINOR;
        for (log, p) in self.logs.iter_mut().zip(GRID) {
            *log += bernoulli_ratio(counts.bad, counts.total, p * scale, self.limit);
        }
    }

    pub fn proven(&self) -> bool {
        self.logs.iter().map(|log| log.min(500.0).exp()).sum::<f64>() / GRID.len() as f64 >= NEEDED
    }
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_needs_traffic_and_few_errors() {
        let after = |bad: f64, total: f64| {
            let mut healthy = Healthy::new(0.0);
            healthy.update(Counts { bad, total });
            healthy.proven()
        };
        assert!(!after(0.0, 100.0), "a hundred good requests prove little");
        assert!(after(1.0, 1500.0));
        assert!(!after(15.0, 1500.0));
    }
}
