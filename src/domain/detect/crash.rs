//! Restarts of the new pods against the rate that any pod has: a Poisson e-process.
use super::mixture::{Bounds, Enough, Mixture, Onset, Span};

/// A healthy pod restarts at most once in six hours.
const USUAL_PER_SECOND: f64 = 1.0 / (6.0 * 3600.0);
/// A crash every ten, five and two minutes, and every 45 seconds.
const GRID_PER_SECOND: [f64; 4] = [1.0 / 600.0, 1.0 / 300.0, 1.0 / 120.0, 1.0 / 45.0];

/// Fires on the second or third crash. Not clipped over batches: a crash is a fact, not a sample.
#[derive(Clone, Debug)]
pub struct Restarts {
    mixture: Mixture<4>,
}

impl Restarts {
    /// `alpha` is the chance of a false alarm in a watch of `batches`.
    pub fn new(alpha: f64, batches: u32) -> Self {
        Self {
            mixture: Mixture::new(Bounds {
                alpha,
                enough: Enough::AT_ONCE,
                batches,
                dispersion: 1.0,
                together: 1,
            }),
        }
    }

    /// `restarts` of `pods` pods in a batch.
    pub fn update(&mut self, span: Span, restarts: f64, pods: usize) {
        let exposure = pods as f64 * span.secs;
        let ratios = GRID_PER_SECOND
            .map(|rate| restarts * (rate / USUAL_PER_SECOND).ln() - (rate - USUAL_PER_SECOND) * exposure);
        self.mixture.update(span, &ratios, restarts, exposure);
    }
    pub fn e_value(&self) -> f64 {
        self.mixture.e_value()
    }
    pub fn alarmed(&self) -> bool {
        self.mixture.alarmed()
    }
    pub fn onset(&self) -> Option<Onset> {
        self.mixture.onset()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn span(batch: i64) -> Span {
        Span { since: Timestamp::from_second(batch * 5).unwrap(), secs: 5.0, in_rollout: true }
    }

    #[test]
    fn the_second_or_third_crash_alarms_and_one_does_not() {
        let mut restarts = Restarts::new(3e-4, 360);
        let mut alarm = None;
        for batch in 0..24_i64 {
            let crashed = if batch % 4 == 3 { 1.0 } else { 0.0 };
            restarts.update(span(batch), crashed, 3);
            if restarts.alarmed() && alarm.is_none() {
                alarm = Some((batch + 1) / 4);
            }
        }
        assert!(matches!(alarm, Some(2 | 3)), "{alarm:?}");
    }

    #[test]
    fn one_restart_in_half_an_hour_is_nothing() {
        let mut restarts = Restarts::new(3e-4, 360);
        for batch in 0..360_i64 {
            let crashed = if batch == 100 { 1.0 } else { 0.0 };
            restarts.update(span(batch), crashed, 3);
            assert!(!restarts.alarmed());
        }
    }
}
