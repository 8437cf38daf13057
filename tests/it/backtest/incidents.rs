//! The incidents of `tests/recordings`, made anew from fixed seeds: traffic, pods and releases as lines of a recording.
use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::{SignedDuration, Timestamp};

/// Seconds between batches, and before the release.
const STEP: i64 = 10;
const BEFORE: i64 = -900;
const WATCH: i64 = 1800;
const BOUNDS: [f64; 8] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// Small and the same for ever (SplitMix64), so that a recording never changes by itself.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// How many of `n` happen.
    fn of(&mut self, n: u32, ratio: f64) -> u32 {
        (0..n).filter(|_| self.next() < ratio).count() as u32
    }

    /// A response time in seconds: log-normal around 80 ms, `slower` times as long.
    fn seconds(&mut self, slower: f64) -> f64 {
        let (u, v) = (self.next().max(1e-12), self.next());
        let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        0.08 * slower * (0.6 * normal).exp()
    }
}

/// One pod while it serves.
#[derive(Clone, Copy)]
struct Pod {
    name: &'static str,
    label: &'static str,
    from: i64,
    until: i64,
    rps: f64,
    errors: f64,
    slower: f64,
}

/// A pod of `label` that serves 20 requests per second from the beginning to the end, one in a thousand of them badly.
fn pod(name: &'static str, label: &'static str) -> Pod {
    Pod { name, label, from: BEFORE, until: WATCH, rps: 20.0, errors: 0.001, slower: 1.0 }
}

struct Recording {
    random: Random,
    lines: Vec<(i64, u8, String)>,
    times: bool,
}

impl Recording {
    fn new(seed: u64) -> Self {
        Self { random: Random(seed), lines: Vec::new(), times: false }
    }

    fn line(&mut self, second: i64, order: u8, rest: &str) {
        let start: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let at = start + SignedDuration::from_secs(second);
        let text = format!(r#"{{"at":"{at}","service":"shop","target":"backend",{rest}}}"#);
        self.lines.push((second, order, text));
    }

    fn release(&mut self, ended: Option<i64>) {
        self.line(0, 0, r#""kind":"release","release":"v2","previous":"v1""#);
        if let Some(ended) = ended {
            let start: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
            let at = start + SignedDuration::from_secs(ended);
            self.line(ended, 0, &format!(r#""kind":"release","release":"v2","rollout_ended":"{at}""#));
        }
    }

    fn serve(&mut self, pod: Pod) {
        self.serve_with(pod, |_| pod.errors);
    }

    /// Errors by the second; counters begin at zero with the pod.
    fn serve_with(&mut self, pod: Pod, errors: impl Fn(i64) -> f64) {
        let (mut bad, mut total) = (0, 0);
        let mut slower_than = [0_u32; BOUNDS.len() + 1];
        for second in (pod.from..pod.until).step_by(STEP as usize) {
            let most = pod.rps * STEP as f64;
            let requests = most as u32 + self.random.of(1, most.fract());
            total += requests;
            bad += self.random.of(requests, errors(second));
            let of = format!(r#""release":"{}","pod":"{}""#, pod.label, pod.name);
            let counts = format!(r#""kind":"counts","rule":"error-rate",{of},"bad":{bad},"total":{total}"#);
            self.line(second, 2, &counts);
            if self.times {
                for _ in 0..requests {
                    let seconds = self.random.seconds(pod.slower);
                    let bucket = BOUNDS.iter().position(|le| seconds <= *le).unwrap_or(BOUNDS.len());
                    slower_than[bucket..].iter_mut().for_each(|count| *count += 1);
                }
                let mut buckets = String::new();
                for (le, count) in BOUNDS.iter().zip(slower_than) {
                    write!(buckets, r#""{le}":{count},"#).unwrap();
                }
                let buckets = format!(r#"{{{buckets}"+Inf":{}}}"#, slower_than[BOUNDS.len()]);
                self.line(
                    second,
                    2,
                    &format!(r#""kind":"histogram","rule":"latency",{of},"buckets":{buckets}"#),
                );
            }
        }
    }

    fn text(mut self) -> String {
        self.lines.sort_by_key(|(second, order, _)| (*second, *order));
        self.lines.iter().map(|(_, _, line)| format!("{line}\n")).collect()
    }
}

/// A rolling update: `old` pods of v1 until `until`, and two of v2 from then on, made by `change`.
fn rolling(seed: u64, old_until: i64, change: impl Fn(Pod) -> Pod) -> Recording {
    let mut recording = Recording::new(seed);
    recording.release(Some(60));
    recording.serve(Pod { until: 0, ..pod("v1-a", "v1") });
    recording.serve(Pod { until: old_until, ..pod("v1-b", "v1") });
    for name in ["v2-a", "v2-b"] {
        recording.serve(change(Pod { from: 10, ..pod(name, "v2") }));
    }
    recording
}

fn shared() -> Recording {
    let mut recording = Recording::new(3);
    recording.release(None);
    let errors = |second| if second < 120 { 0.001 } else { 0.15 };
    recording.serve_with(pod("v1-a", "v1"), errors);
    recording.serve_with(pod("v1-b", "v1"), errors);
    recording.serve_with(Pod { from: 10, ..pod("v2-a", "v2") }, errors);
    recording.serve_with(Pod { from: 10, ..pod("v2-b", "v2") }, errors);
    recording
}

fn single_pod() -> Recording {
    let mut recording = rolling(4, 300, |pod| pod);
    recording.serve(Pod { from: 10, ..pod("v2-c", "v2") });
    recording.serve(Pod { from: 10, errors: 0.6, ..pod("v2-d", "v2") });
    recording
}

fn unlucky() -> Recording {
    let mut recording = Recording::new(5);
    recording.release(Some(60));
    let slow = |name, label| Pod { rps: 0.1, errors: 0.0, ..pod(name, label) };
    recording.serve(Pod { until: 30, ..slow("v1-a", "v1") });
    let failing = Pod { from: 10, ..slow("v2-a", "v2") };
    recording.serve_with(failing, |second| if second == 40 { 1.0 } else { 0.0 });
    recording
}

fn blind() -> Recording {
    let mut recording = rolling(6, 60, |pod| pod);
    let down = 300..900;
    recording.lines.retain(|(second, _, _)| !down.contains(second));
    for second in down.step_by(STEP as usize) {
        let why = r#""kind":"nodata","rule":"error-rate","reason":"Prometheus: connection refused""#;
        recording.line(second, 2, why);
    }
    recording
}

/// Pods that restart or are replaced: their counters begin at zero again.
fn coming_and_going() -> Recording {
    let mut recording = Recording::new(7);
    recording.release(Some(60));
    recording.serve(Pod { until: 60, ..pod("v1-a", "v1") });
    for from in (10..WATCH).step_by(300) {
        let until = (from + 300).min(WATCH);
        recording.serve(Pod { from, until, ..pod("v2-a", "v2") });
    }
    let names = ["v2-b", "v2-c", "v2-d", "v2-e", "v2-f", "v2-g"];
    for (name, from) in names.into_iter().zip((10..WATCH).step_by(300)) {
        recording.serve(Pod { from, until: (from + 300).min(WATCH), ..pod(name, "v2") });
    }
    recording
}

fn crash_loop() -> Recording {
    let mut recording = Recording::new(8);
    recording.release(None);
    recording.serve(pod("v1-a", "v1"));
    recording.serve(pod("v1-b", "v1"));
    for name in ["v2-a", "v2-b"] {
        for (second, restarts, reason) in
            [(5, 0, "ContainerCreating"), (15, 1, "Error"), (32, 2, "CrashLoopBackOff")]
        {
            let state = format!(r#""ready":false,"restarts":{restarts},"reason":"{reason}""#);
            recording.line(second, 1, &format!(r#""kind":"pod","release":"v2","pod":"{name}",{state}"#));
        }
    }
    recording
}

fn late() -> Recording {
    let mut recording = Recording::new(9);
    recording.release(Some(60));
    recording.serve(Pod { until: 60, ..pod("v1-a", "v1") });
    let errors = |second| if second < 900 { 0.001 } else { 0.15 };
    recording.serve_with(Pod { from: 10, ..pod("v2-a", "v2") }, errors);
    recording.serve_with(Pod { from: 10, ..pod("v2-b", "v2") }, errors);
    recording
}

fn slower(factor: f64) -> Recording {
    let mut recording = Recording { times: true, ..Recording::new(11) };
    recording.release(Some(60));
    let of = |name, label| Pod { rps: 5.0, ..pod(name, label) };
    recording.serve(of("v1-a", "v1"));
    recording.serve(Pod { from: 10, slower: factor, ..of("v2-a", "v2") });
    recording
}

/// All incidents by name.
pub(super) fn all() -> BTreeMap<&'static str, String> {
    let bad = |pod| Pod { errors: 0.15, ..pod };
    BTreeMap::from([
        ("bad-release", rolling(1, 600, bad).text()),
        ("old-pods-gone", rolling(2, 60, bad).text()),
        ("shared-incident", shared().text()),
        ("single-bad-pod", single_pod().text()),
        ("low-traffic-one-error", unlucky().text()),
        ("prometheus-down", blind().text()),
        ("pods-come-and-go", coming_and_going().text()),
        ("crash-loop", crash_loop().text()),
        ("late-onset", late().text()),
        ("minor", rolling(10, 600, |pod| Pod { errors: 0.006, rps: 60.0, ..pod }).text()),
        ("slower", slower(1.6).text()),
        ("healthy", rolling(12, 300, |pod| pod).text()),
    ])
}
