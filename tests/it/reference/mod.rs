//! The judge's statistics, proved: against slow programs written from the formulas, under the null, and by their properties.
mod alike;
mod alike_latency;
mod constants;
mod intervals;
mod invariance;
mod monotone;
mod null;
mod null_latency;
mod process;
mod ratios;
mod slower;
mod traffic;
mod unreadable;
mod world;

/// Equal to nine digits. Below a thousandth an e-value says nothing, and only its distance counts.
fn same(ours: f64, theirs: f64) -> bool {
    (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1e-3)
}
