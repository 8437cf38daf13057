//! Kayenta (MannWhitneyClassifier): high when the confidence interval of the shift lies above a quarter of the shift itself.

/// NetflixACAJudge's settings.
const TOLERANCE: f64 = 0.25;
/// The normal quantile of its 98 % confidence level.
const QUANTILE: f64 = 2.326_347_874_040_841;
/// Its root finder's absolute accuracy.
const ACCURACY: f64 = 1e-6;

/// Whether an increasing metric of the canary is classified `High`. Looks are independent of each other.
pub(crate) fn is_high(control: &[f64], experiment: &[f64]) -> bool {
    let (mut x, mut y) = (experiment.to_vec(), control.to_vec());
    x.sort_by(f64::total_cmp);
    y.sort_by(f64::total_cmp);
    let (Some(x_min), Some(x_max), Some(y_min), Some(y_max)) = (x.first(), x.last(), y.first(), y.last())
    else {
        return false;
    };
    let all_tied = x_min == x_max && y_min == y_max && x_min == y_min;
    // The interval is monotone in the shift: when no shift at all is inside it, it is not above a quarter of one either.
    if x == y || all_tied || statistic(&x, &y, 0.0) <= QUANTILE {
        return false;
    }
    let range = (x_min - y_max, x_max - y_min);
    let lower = root(&x, &y, QUANTILE, range);
    let estimate = root(&x, &y, 0.0, range);
    lower > TOLERANCE * estimate.abs()
}

/// Where the statistic of the shifted canary falls to `quantile`: the end of the range if it never does.
fn root(x: &[f64], y: &[f64], quantile: f64, (mut low, mut high): (f64, f64)) -> f64 {
    if statistic(x, y, low) <= quantile {
        return low;
    }
    if statistic(x, y, high) >= quantile {
        return high;
    }
    while high - low > ACCURACY {
        let middle = (low + high) / 2.0;
        if statistic(x, y, middle) > quantile { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// The standardized rank sum of `x − shift` against `y`, corrected for ties and continuity (as in R's `wilcox.test`).
pub(crate) fn statistic(x: &[f64], y: &[f64], shift: f64) -> f64 {
    let (nx, ny) = (x.len() as f64, y.len() as f64);
    let mut all: Vec<(f64, bool)> =
        x.iter().map(|v| (v - shift, true)).chain(y.iter().map(|v| (*v, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut rank_sum, mut ties, mut begin) = (0.0, 0.0, 0);
    while begin < all.len() {
        let end = begin + all[begin..].iter().take_while(|v| v.0 == all[begin].0).count();
        let (size, mine) = ((end - begin) as f64, all[begin..end].iter().filter(|v| v.1).count());
        rank_sum += mine as f64 * (begin as f64 + (size + 1.0) / 2.0);
        ties += size.powi(3) - size;
        begin = end;
    }
    let distance = rank_sum - nx * (nx + 1.0) / 2.0 - nx * ny / 2.0;
    let correction = if distance == 0.0 { 0.0 } else { distance.signum() * 0.5 };
    let variance = nx * ny / 12.0 * ((nx + ny + 1.0) - ties / ((nx + ny) * (nx + ny - 1.0)));
    if variance <= 0.0 { 0.0 } else { (distance - correction) / variance.sqrt() }
}
