//! An interval for a failure ratio that holds however often one looks: the beta-binomial confidence sequence.
use super::errors::Counts;

/// Ratios that the data do not contradict, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// Halvings of the search: closer than any message shows.
const STEPS: usize = 40;

/// The ratios `p` for which the mixture likelihood ratio `B(½+e, ½+n−e) / (B(½,½) pᵉ (1−p)ⁿ⁻ᵉ)` stays under `1/alpha`.
/// By Ville's inequality the true ratio leaves it at any time with a chance of at most `alpha` (Robbins 1970; the prior is
/// Jeffreys'). `dispersion` shrinks the counts, as requests that fail together are fewer than they look.
pub fn interval(counts: Counts, dispersion: f64, alpha: f64) -> Interval {
    let (n, e) = (counts.total / dispersion.max(1.0), counts.bad / dispersion.max(1.0));
    if n <= 0.0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let mixture = ln_beta(0.5 + e, 0.5 + n - e) - ln_beta(0.5, 0.5);
    let likelihood = |p: f64| e * p.max(1e-300).ln() + (n - e) * (1.0 - p).max(1e-300).ln();
    let inside = |p: f64| mixture - likelihood(p) <= (1.0 / alpha).ln();
    let estimate = (e / n).clamp(0.0, 1.0);
    let edge = |outside: f64| {
        let (mut outer, mut inner) = (outside, estimate);
        for _ in 0..STEPS {
            let middle = (outer + inner) / 2.0;
            if inside(middle) { inner = middle } else { outer = middle }
        }
        inner
    };
    let low = if inside(0.0) { 0.0 } else { edge(0.0) };
    let high = if inside(1.0) { 1.0 } else { edge(1.0) };
    Interval { low, high }
}

fn ln_beta(a: f64, b: f64) -> f64 {
    libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    #[test]
    fn it_narrows_with_traffic_and_is_everything_without() {
        assert_eq!(interval(Counts::default(), 1.0, 0.05), Interval { low: 0.0, high: 1.0 });
        let wide = interval(Counts { bad: 6.0, total: 100.0 }, 1.0, 0.05);
        let narrow = interval(Counts { bad: 600.0, total: 10_000.0 }, 1.0, 0.05);
        assert!(wide.low < narrow.low && narrow.high < wide.high, "{wide:?} {narrow:?}");
        assert!(narrow.low > 0.05 && narrow.high < 0.07, "{narrow:?}");
    }

    #[test]
    fn the_truth_stays_inside_at_every_look() {
        let mut left = 0;
        for seed in 0..400 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut counts = Counts::default();
            let out = (0..300).any(|_| {
                counts.add(Counts { bad: f64::from(u8::from(rng.random_bool(0.06))), total: 1.0 });
                let found = interval(counts, 1.0, 0.05);
                !(found.low..=found.high).contains(&0.06)
            });
            left += usize::from(out);
        }
        assert!(left <= 20, "{left} of 400 at 5 %");
    }

    proptest! {
        #[test]
        fn it_holds_the_estimate(total in 1u32..100_000, share in 0.0f64..=1.0, dispersion in 1.0f64..4.0) {
            let counts = Counts { bad: (f64::from(total) * share).floor(), total: f64::from(total) };
            let found = interval(counts, dispersion, 0.05);
            let estimate = counts.bad / counts.total;
            prop_assert!(0.0 <= found.low && found.low <= estimate + 1e-9);
            prop_assert!(estimate <= found.high + 1e-9 && found.high <= 1.0);
        }
    }
}
