//! What one workload has served so far, and how it says so in the Prometheus text format.

use std::fmt::Write;

use jiff::Timestamp;

/// Finer than the defaults of the Prometheus client libraries where this service answers: times within one bucket cannot be
/// told apart.
const BOUNDS_SECS: [f64; 19] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0,
    10.0,
];

/// The counters of one process; they begin at zero with it.
#[derive(Debug, Default)]
pub(super) struct Served {
    ok: u64,
    failed: u64,
    /// Not cumulative; the last one is beyond all bounds.
    buckets: [u64; BOUNDS_SECS.len() + 1],
    duration_sum_secs: f64,
}

impl Served {
    pub(super) fn record(&mut self, failed: bool, duration_secs: f64) {
        if failed {
            self.failed += 1;
        } else {
            self.ok += 1;
        }
        let bucket = BOUNDS_SECS.partition_point(|bound| *bound < duration_secs);
        self.buckets[bucket] += 1;
        self.duration_sum_secs += duration_secs;
    }

    pub(super) fn total(&self) -> u64 {
        self.ok + self.failed
    }

    /// The text format. A code that was never answered has no series, as with the client libraries.
    pub(super) fn exposition(&self, started_at: Timestamp) -> String {
        let mut text = String::new();
        family(&mut text, "http_requests_total", "counter", "Requests answered.");
        for (code, count) in [(200, self.ok), (500, self.failed)] {
            if count > 0 {
                line(&mut text, format_args!("http_requests_total{{code=\"{code}\"}} {count}"));
            }
        }
        self.write_histogram(&mut text);
        let name = "process_start_time_seconds";
        let started_secs = started_at.as_millisecond() as f64 / 1000.0;
        family(&mut text, name, "gauge", "Start of the process since the epoch.");
        line(&mut text, format_args!("{name} {started_secs}"));
        text
    }

    fn write_histogram(&self, text: &mut String) {
        let name = "http_request_duration_seconds";
        family(text, name, "histogram", "Time to answer.");
        let mut below = 0;
        for (bound, count) in BOUNDS_SECS.iter().zip(self.buckets) {
            below += count;
            line(text, format_args!("{name}_bucket{{le=\"{bound}\"}} {below}"));
        }
        let total = self.total();
        line(text, format_args!("{name}_bucket{{le=\"+Inf\"}} {total}"));
        line(text, format_args!("{name}_sum {}", self.duration_sum_secs));
        line(text, format_args!("{name}_count {total}"));
    }
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    line(text, format_args!("# HELP {name} {help}"));
    line(text, format_args!("# TYPE {name} {kind}"));
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    text.write_fmt(content).unwrap_or_default();
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_codes_apart() {
        let mut served = Served::default();
        for (failed, secs) in [(false, 0.08), (false, 0.1), (true, 0.3), (false, 60.0)] {
            served.record(failed, secs);
        }
        let text = served.exposition(Timestamp::from_millisecond(1500).unwrap());
        for expected in [
            "http_requests_total{code=\"200\"} 3",
            "http_requests_total{code=\"500\"} 1",
            "http_request_duration_seconds_bucket{le=\"0.05\"} 0",
            "http_request_duration_seconds_bucket{le=\"0.1\"} 2",
            "http_request_duration_seconds_bucket{le=\"1\"} 3",
            "http_request_duration_seconds_bucket{le=\"10\"} 3",
            "http_request_duration_seconds_bucket{le=\"+Inf\"} 4",
            "http_request_duration_seconds_count 4",
            "process_start_time_seconds 1.5",
        ] {
            assert!(text.lines().any(|line| line == expected), "{expected} is not in\n{text}");
        }
    }

    #[test]
    fn a_code_that_was_never_answered_has_no_series() {
        assert!(!Served::default().exposition(Timestamp::UNIX_EPOCH).contains("code="));
    }
}
