//! The interval of a failure ratio against a search over a grid, with a gamma function of its own.
use proptest::prelude::*;
use rollguard::domain::detect::errors::Counts;
use rollguard::domain::detect::interval::interval;

/// Γ by Stirling's series, shifted up to where it is exact.
fn ln_gamma(mut x: f64) -> f64 {
    let mut shift = 0.0;
    while x < 30.0 {
        shift += x.ln();
        x += 1.0;
    }
    let series = 1.0 / 12.0 - 1.0 / (360.0 * x * x) + 1.0 / (1260.0 * x.powi(4)) - 1.0 / (1680.0 * x.powi(6));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series / x - shift
}

/// How much better the mixture with Jeffreys' prior explains the counts than `p` does.
fn log_e_value(n: f64, e: f64, p: f64) -> f64 {
    let ln_beta = |a: f64, b: f64| ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b);
    let term = |count: f64, p: f64| if count == 0.0 { 0.0 } else { count * p.ln() };
    ln_beta(e + 0.5, n - e + 0.5) - ln_beta(0.5, 0.5) - term(e, p) - term(n - e, 1.0 - p)
}

/// The outermost point between `inside` and `outside` that the data allow, on ever finer grids.
fn outermost(allowed: impl Fn(f64) -> bool, mut inside: f64, mut outside: f64) -> f64 {
    const POINTS: u32 = 200;
    if allowed(outside) {
        return outside;
    }
    for _ in 0..6 {
        let point = |k: u32| inside + (outside - inside) * f64::from(k) / f64::from(POINTS);
        let last = (0..=POINTS).filter(|k| allowed(point(*k))).max().unwrap_or(0);
        (inside, outside) = (point(last), point(last + 1));
    }
    inside
}

fn check(bad: f64, total: f64, dispersion: f64, alpha: f64) {
    let (n, e) = (total / dispersion, bad / dispersion);
    let allowed = |p: f64| log_e_value(n, e, p) <= -alpha.ln();
    let found = interval(Counts { bad, total }, dispersion, alpha);
    let (low, high) = (outermost(allowed, e / n, 0.0), outermost(allowed, e / n, 1.0));
    let near = (found.low - low).abs() < 1e-9 && (found.high - high).abs() < 1e-9;
    assert!(near, "{bad} of {total}, {dispersion}, {alpha}: {found:?} is not {low} to {high}");
}

#[test]
fn the_gamma_function_is_right_where_it_is_known() {
    assert!((ln_gamma(0.5) - std::f64::consts::PI.sqrt().ln()).abs() < 1e-13);
    assert!((ln_gamma(11.0) - 3_628_800_f64.ln()).abs() < 1e-12);
}

#[test]
fn the_interval_is_what_the_data_allow() {
    for (bad, total) in
        [(0.0, 1.0), (1.0, 1.0), (0.0, 5_000.0), (7.0, 100.0), (6_000.0, 100_000.0), (99.0, 100.0)]
    {
        for (dispersion, alpha) in [(1.0, 0.05), (1.7, 0.05), (4.0, 0.001)] {
            check(bad, total, dispersion, alpha);
        }
    }
}

proptest! {
    #[test]
    fn any_interval_is_what_the_data_allow(total in 1u32..1_000_000, share in 0.0f64..=1.0, dispersion in 1.0f64..4.0) {
        check((f64::from(total) * share).round(), f64::from(total), dispersion, 0.05);
    }
}
