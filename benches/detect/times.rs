//! Response times: lognormal, drawn straight into the buckets of a classic or a native histogram.
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::traffic::binomial;

pub(crate) const MEDIAN_SECS: f64 = 0.08;
pub(crate) const SIGMA: f64 = 0.6;
/// Of a tail-only slowdown: the share of requests that are slower, and how much.
pub(crate) const TAIL: (f64, f64) = (0.1, 5.0);
/// The client libraries' default bounds.
const CLASSIC: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Native buckets grow by 2^(1/8) = 1.09.
pub(crate) const SCHEMA: i32 = 3;
const NATIVE_FIRST: i32 = -96;
const NATIVE_LAST: i32 = 48;
/// So few requests are cheaper to draw one by one than bucket by bucket.
const FEW: u64 = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Classic,
    Native,
}

/// How slow requests are: a factor on all of them, and whether the tail is slower still.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Speed {
    pub factor: f64,
    pub tail: bool,
}

impl Speed {
    pub(crate) const USUAL: Speed = Speed { factor: 1.0, tail: false };
    pub(crate) fn times(self, factor: f64) -> Speed {
        Speed { factor: self.factor * factor, ..self }
    }
}

/// The bounds of all buckets; the last bucket has none.
#[derive(Clone, Debug)]
pub(crate) struct Grid {
    pub kind: Kind,
    pub bounds: Vec<f64>,
}

impl Grid {
    pub(crate) fn new(kind: Kind) -> Self {
        let bounds = match kind {
            Kind::Classic => CLASSIC.to_vec(),
            Kind::Native => (NATIVE_FIRST..=NATIVE_LAST).map(native_bound).collect(),
        };
        Self { kind, bounds }
    }
    pub(crate) fn buckets(&self) -> usize {
        self.bounds.len() + 1
    }
    /// The index that a native histogram gives to the bucket at `position`.
    pub(crate) fn native_index(position: usize) -> i32 {
        NATIVE_FIRST + position as i32
    }

    /// The probability of each bucket.
    pub(crate) fn probabilities(&self, speed: Speed) -> Vec<f64> {
        let below = |bound: f64| {
            let at = |factor: f64| normal_cdf((bound / (MEDIAN_SECS * speed.factor * factor)).ln() / SIGMA);
            if speed.tail { (1.0 - TAIL.0) * at(1.0) + TAIL.0 * at(TAIL.1) } else { at(1.0) }
        };
        let mut last = 0.0;
        let mut out: Vec<f64> = Vec::with_capacity(self.buckets());
        for bound in &self.bounds {
            let now = below(*bound);
            out.push((now - last).max(0.0));
            last = now;
        }
        out.push(1.0 - last);
        out
    }

    /// Adds `requests` response times to `counts`.
    pub(crate) fn draw(
        &self,
        rng: &mut impl Rng,
        requests: u64,
        speed: Speed,
        p: &[f64],
        counts: &mut [u64],
    ) {
        if requests <= FEW {
            (0..requests).for_each(|_| counts[self.one(rng, speed)] += 1);
            return;
        }
        let (mut left, mut mass) = (requests, 1.0);
        for (count, p) in counts.iter_mut().zip(p) {
            if left == 0 {
                break;
            }
            let here = if mass > 1e-12 { binomial(rng, left, (p / mass).min(1.0)) } else { left };
            *count += here;
            left -= here;
            mass -= p;
        }
    }

    fn one(&self, rng: &mut impl Rng, speed: Speed) -> usize {
        let z: f64 = StandardNormal.sample(rng);
        let slower = if speed.tail && rng.random_bool(TAIL.0) { TAIL.1 } else { 1.0 };
        let secs = MEDIAN_SECS * speed.factor * slower * (SIGMA * z).exp();
        self.bounds.partition_point(|bound| *bound < secs)
    }
}

fn native_bound(index: i32) -> f64 {
    (f64::from(index) / f64::from(1 << SCHEMA)).exp2()
}

/// `histogram_quantile` of Prometheus for classic buckets; within a native bucket it interpolates exponentially.
pub(crate) fn quantile(grid: &Grid, counts: &[u64], q: f64) -> Option<f64> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return None;
    }
    let rank = q * total as f64;
    let mut below = 0.0;
    for (position, count) in counts.iter().enumerate() {
        let here = *count as f64;
        if below + here >= rank && here > 0.0 {
            let lower = position.checked_sub(1).map_or(0.0, |p| grid.bounds[p]);
            let Some(upper) = grid.bounds.get(position) else { return grid.bounds.last().copied() };
            let share = (rank - below) / here;
            return Some(match grid.kind {
                Kind::Native if lower > 0.0 => lower * (upper / lower).powf(share),
                Kind::Native | Kind::Classic => lower + (upper - lower) * share,
            });
        }
        below += here;
    }
    grid.bounds.last().copied()
}

/// The normal distribution function, to 1e-7 (Abramowitz and Stegun 7.1.26 refined as in Numerical Recipes' erfc).
pub(crate) fn normal_cdf(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * x);
    const C: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let series = C.iter().rev().fold(0.0, |sum, c| sum * t + c);
    let erfc = t * (-x * x + series).exp();
    if z > 0.0 { 1.0 - erfc / 2.0 } else { erfc / 2.0 }
}
