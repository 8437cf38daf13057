//! What the peers' queries see: totals of both arms over time, and sums over the windows of their `rate()`.
use super::times::{Grid, quantile};
use super::world::{Arm, Totals};

/// Sums since the release, one entry per unit of time.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    unit_secs: u32,
    new: Vec<Totals>,
    old: Vec<Totals>,
}

impl Track {
    pub(crate) fn new(unit_secs: u32) -> Self {
        Self { unit_secs, new: vec![Totals::default()], old: vec![Totals::default()] }
    }

    pub(crate) fn push(&mut self, new: &Totals, old: &Totals) {
        self.new.push(new.clone());
        self.old.push(old.clone());
    }

    fn ends(&self, arm: Arm, now_secs: u32, window_secs: u32) -> Option<(&Totals, &Totals)> {
        let of = match arm {
            Arm::New => &self.new,
            Arm::Old => &self.old,
            // The peers do not ask about services that were not released.
            Arm::Control => return None,
        };
        let at = |secs: u32| of.get((secs / self.unit_secs) as usize);
        Some((at(now_secs)?, at(now_secs.saturating_sub(window_secs))?))
    }

    /// Failed requests over all requests of the window; `None` without requests.
    pub(crate) fn error_ratio(&self, arm: Arm, now_secs: u32, window_secs: u32) -> Option<f64> {
        let (now, then) = self.ends(arm, now_secs, window_secs)?;
        let requests = now.requests - then.requests;
        (requests > 0).then(|| (now.failed - then.failed) as f64 / requests as f64)
    }

    /// `histogram_quantile` over the window, in seconds.
    pub(crate) fn quantile(
        &self,
        grid: &Grid,
        arm: Arm,
        now_secs: u32,
        window_secs: u32,
        q: f64,
    ) -> Option<f64> {
        let (now, then) = self.ends(arm, now_secs, window_secs)?;
        let before = then.times.iter().copied().chain(std::iter::repeat(0));
        let counts: Vec<u64> = now.times.iter().zip(before).map(|(now, then)| now - then).collect();
        quantile(grid, &counts, q)
    }
}
