//! Every metric name, in one enum: what is measured about rollguard itself.
use std::time::{Duration, Instant};

use metrics::{Label, counter, gauge, histogram};

/// Metrics of the daemon. Labels are bounded: service, target, channel, source and outcomes, never ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    ReleasesTotal,
    WatchesOpen,
    DecisionsTotal,
    RunsOpen,
    RunsTotal,
    RunSeconds,
    SourceUp,
    SourceSeconds,
    SamplesTotal,
    NotificationsTotal,
    NotificationsFailedTotal,
    OutboxWaiting,
    AlertsReceivedTotal,
    JournalSeconds,
    JournalErrorsTotal,
    Leader,
    FeedUp,
    RecordingBytes,
    RecordingDroppedTotal,
    CloudWatchMetricsRequestedTotal,
    KillSwitch,
    RollbackReady,
    RollbackObstacle,
    OwnersHeld,
    ConfigLastReloadSuccessful,
    ConfigLastReloadSuccessTimestamp,
}

impl Metric {
    pub const ALL: [Metric; 26] = [
        Metric::ReleasesTotal,
        Metric::WatchesOpen,
        Metric::DecisionsTotal,
        Metric::RunsOpen,
        Metric::RunsTotal,
        Metric::RunSeconds,
        Metric::SourceUp,
        Metric::SourceSeconds,
        Metric::SamplesTotal,
        Metric::NotificationsTotal,
        Metric::NotificationsFailedTotal,
        Metric::OutboxWaiting,
        Metric::AlertsReceivedTotal,
        Metric::JournalSeconds,
        Metric::JournalErrorsTotal,
        Metric::Leader,
        Metric::FeedUp,
        Metric::RecordingBytes,
        Metric::RecordingDroppedTotal,
        Metric::CloudWatchMetricsRequestedTotal,
        Metric::KillSwitch,
        Metric::RollbackReady,
        Metric::RollbackObstacle,
        Metric::OwnersHeld,
        Metric::ConfigLastReloadSuccessful,
        Metric::ConfigLastReloadSuccessTimestamp,
    ];

    pub fn name(self) -> &'static str {
        self.describe().0
    }

    /// Name and help text.
    pub fn describe(self) -> (&'static str, &'static str) {
        match self {
            Metric::KillSwitch => {
                ("rollguard_kill_switch", "1 while the kill switch is on: nothing is changed.")
            }
            Metric::ReleasesTotal => ("rollguard_releases_total", "Releases noticed, by service."),
            Metric::WatchesOpen => ("rollguard_watches_open", "Watches that are open now."),
            Metric::DecisionsTotal => ("rollguard_decisions_total", "Decisions, by service and decision."),
            Metric::RunsOpen => ("rollguard_runs_open", "Rollbacks that are under way."),
            Metric::RunsTotal => ("rollguard_runs_total", "Rollbacks that ended, by service and outcome."),
            Metric::RunSeconds => ("rollguard_run_seconds", "From the decision to the verified rollback."),
            Metric::SourceUp => ("rollguard_source_up", "1 if the source answered when it was last asked."),
            Metric::SourceSeconds => ("rollguard_source_seconds", "How long a source took to answer."),
            Metric::SamplesTotal => ("rollguard_samples_total", "Samples read, by source."),
            Metric::NotificationsTotal => {
                ("rollguard_notifications_total", "Messages delivered, by channel.")
            }
            Metric::NotificationsFailedTotal => {
                ("rollguard_notifications_failed_total", "Attempts to deliver that failed, by channel.")
            }
            Metric::OutboxWaiting => ("rollguard_outbox_waiting", "Messages that wait to be delivered."),
            Metric::AlertsReceivedTotal => ("rollguard_alerts_received_total", "Alerts received, by result."),
            Metric::JournalSeconds => ("rollguard_journal_seconds", "How long a durable write took."),
            Metric::JournalErrorsTotal => {
                ("rollguard_journal_errors_total", "Writes to the journal that failed.")
            }
            Metric::Leader => ("rollguard_leader", "1 on the replica that leads."),
            Metric::FeedUp => ("rollguard_feed_up", "1 while the watches on the orchestrator are connected."),
            Metric::RecordingBytes => ("rollguard_recording_bytes", "Size of all recordings."),
            Metric::RecordingDroppedTotal => (
                "rollguard_recording_dropped_total",
                "Batches that were not recorded because a limit was reached.",
            ),
            Metric::CloudWatchMetricsRequestedTotal => (
                "rollguard_cloudwatch_metrics_requested_total",
                "Metrics that CloudWatch was asked for, page by page: it bills each.",
            ),
            Metric::RollbackReady => (
                "rollguard_rollback_ready",
                "1 if the target could be rolled back when it was last looked at.",
            ),
            Metric::RollbackObstacle => {
                ("rollguard_rollback_obstacle", "1 for what keeps a target from being rolled back, by code.")
            }
            Metric::OwnersHeld => (
                "rollguard_owners_held",
                "GitOps owners that a rollback suspended and nobody resumed yet, by target.",
            ),
            Metric::ConfigLastReloadSuccessful => (
                "rollguard_config_last_reload_successful",
                "0 if the configuration that was read last could not be put in force.",
            ),
            Metric::ConfigLastReloadSuccessTimestamp => (
                "rollguard_config_last_reload_success_timestamp_seconds",
                "When the configuration in force was read, in seconds since 1970.",
            ),
        }
    }

    pub fn add(self, n: u64, labels: Vec<Label>) {
        counter!(self.name(), labels).increment(n);
    }
    pub fn set(self, value: f64, labels: Vec<Label>) {
        gauge!(self.name(), labels).set(value);
    }
    pub fn observe(self, value: f64, labels: Vec<Label>) {
        histogram!(self.name(), labels).record(value);
    }
}

/// A label for the calls above.
pub fn label(key: &'static str, value: impl ToString) -> Label {
    Label::new(key, value.to_string())
}

/// Measures how long something takes, by the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    pub fn start() -> Self {
        Self(Instant::now())
    }
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
