//! The cells of the tables: which traffic, which trouble, how often it is scraped, and how many watches are simulated.
use rollguard::domain::runbook::LateOnset;

use super::times::Kind;
use super::traffic::Healthy;

pub(crate) const WATCH_SECS: u32 = 1800;
pub(crate) const LATE_SECS: u32 = 600;

/// What becomes of the old pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Old {
    /// They serve three times the new pods' traffic until the watch ends.
    Stay,
    /// A rolling update of 60 to 120 s: new pods come one by one and old ones leave.
    Leave,
}

/// What is measured, as it is when nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Signal {
    Errors(Healthy),
    Latency { kind: Kind, quirk: Quirk },
}

/// What makes healthy response times hard to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quirk {
    None,
    /// Speeds of pods differ with a standard deviation of 8 %.
    UnevenPods,
    /// All new pods share one such difference, and all old ones another.
    UnevenArms,
    /// New pods are three times as slow at first, and get warm with a time constant of 20 s.
    WarmUp,
    /// For 2 to 5 s every five minutes everything is five times as slow.
    Bursts,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Trouble {
    None,
    /// New pods fail this share of requests from the onset on.
    Errors(f64),
    /// New pods are slower by this factor.
    Slower(f64),
    /// A tenth of the new pods' requests is five times as slow.
    Tail,
    /// Everything fails this share, the unreleased service too, from a random moment in the first ten minutes on.
    SharedErrors(f64),
    SharedSlower(f64),
}

/// What the issue asks of a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// Median and 95th percentile in multiples of the bound, plus batches, plus the warm-up.
    Found { median: f64, p95: Option<f64>, batches: f64, warm_up_secs: f64 },
    /// The median in seconds.
    FoundWithin { median_secs: f64 },
    /// At most this share of watches rolled back, and the upper limit at most that.
    Rare { share: f64, upper: Option<f64> },
    /// No rollback at all.
    Never,
    /// Shown for comparison.
    Info,
}

/// The table that a cell belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    Errors,
    ErrorsLate,
    ErrorsOverNoise,
    Latency,
    LatencyLate,
    HealthyErrors,
    HealthyLatency,
    MustNot,
}

impl Table {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Table::Errors => "Errors from the release on",
            Table::ErrorsLate => "Errors that begin 10 minutes after the release",
            Table::ErrorsOverNoise => "Errors over clustered or bursty background",
            Table::Latency => "Slower from the release on",
            Table::LatencyLate => "Slower from 10 minutes after the release",
            Table::HealthyErrors => "False rollbacks per healthy 30-minute watch: errors",
            Table::HealthyLatency => "False rollbacks per healthy 30-minute watch: response times",
            Table::MustNot => "Must not be rolled back: shared incidents, 2 % errors, +20 % response time",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub table: Table,
    pub name: String,
    pub signal: Signal,
    pub trouble: Trouble,
    pub old: Old,
    pub rps: f64,
    pub scrape_secs: u32,
    pub onset_secs: u32,
    pub late_onset: LateOnset,
    pub watches: u64,
    pub goal: Goal,
}

impl Cell {
    pub(crate) fn batch_secs(&self) -> f64 {
        f64::from(self.scrape_secs.max(5))
    }
    /// Whether it is about finding trouble, and not about leaving a release alone.
    pub(crate) fn is_power(&self) -> bool {
        match self.table {
            Table::Errors
            | Table::ErrorsLate
            | Table::ErrorsOverNoise
            | Table::Latency
            | Table::LatencyLate => true,
            Table::HealthyErrors | Table::HealthyLatency | Table::MustNot => false,
        }
    }
}

const WATCHES: u64 = 4_000;
/// Healthy watches at 1 and 10 requests per second.
const WATCHES_MANY: u64 = 20_000;
const RATES: [f64; 4] = [1.0, 10.0, 100.0, 1000.0];
const BOTH: [Old; 2] = [Old::Stay, Old::Leave];
const USUAL: Healthy = Healthy::Independent { ratio: 0.001 };

fn cell(table: Table, what: &str, signal: Signal, trouble: Trouble, old: Old, rps: f64) -> Cell {
    let pods = match old {
        Old::Stay => "old pods stay",
        Old::Leave => "rolling",
    };
    let late = matches!(table, Table::ErrorsLate | Table::LatencyLate);
    let name = format!("{what}{}, {rps} rps, {pods}", if late { " late" } else { "" });
    Cell {
        table,
        name,
        signal,
        trouble,
        old,
        rps,
        scrape_secs: 5,
        onset_secs: if late { LATE_SECS } else { 0 },
        late_onset: LateOnset::Page,
        watches: WATCHES,
        goal: Goal::Info,
    }
}

/// The same scraped at another interval; the name says so.
fn scraped(mut cell: Cell, secs: u32) -> Cell {
    cell.scrape_secs = secs;
    cell.name += &format!(", {secs} s scrape");
    cell
}

/// The same for a service that chose `late_onset: rollback`; the name says so.
fn willing(mut cell: Cell) -> Cell {
    cell.late_onset = LateOnset::Rollback;
    cell.name += ", late_onset: rollback";
    cell
}

pub(crate) fn all() -> Vec<Cell> {
    let mut cells = errors();
    cells.extend(errors_over_noise());
    cells.extend(latency());
    cells.extend(healthy_errors());
    cells.extend(healthy_latency());
    cells.extend(must_not());
    cells.sort_by_key(|cell| cell.table);
    cells
}

fn errors() -> Vec<Cell> {
    let mut cells = Vec::new();
    for old in BOTH {
        for ratio in [0.06, 0.15, 0.5] {
            for rps in RATES {
                let what = format!("{:.0} %", ratio * 100.0);
                let of = |table| cell(table, &what, Signal::Errors(USUAL), Trouble::Errors(ratio), old, rps);
                let goal = Goal::Found { median: 1.5, p95: Some(3.0), batches: 4.0, warm_up_secs: 0.0 };
                let at_once = Cell { goal, ..of(Table::Errors) };
                cells.extend([1, 15].map(|secs| scraped(at_once.clone(), secs)));
                cells.push(at_once);
                let goal = Goal::Found { median: 2.5, p95: None, batches: 8.0, warm_up_secs: 0.0 };
                // Without old pods a late onset pages, unless the service wants it otherwise: no goal is set for that.
                let late = of(Table::ErrorsLate);
                cells.push(if old == Old::Leave { willing(late) } else { Cell { goal, ..late } });
            }
        }
    }
    cells
}

fn errors_over_noise() -> Vec<Cell> {
    let noises = [
        ("clusters", Healthy::Clusters { ratio: 0.01 }),
        ("beta-binomial", Healthy::BetaBinomial { ratio: 0.01 }),
        ("bursts", Healthy::Bursts { ratio: 0.001 }),
    ];
    let mut cells = Vec::new();
    for (noise, healthy) in noises {
        for (ratio, old) in [(0.06, Old::Stay), (0.06, Old::Leave), (0.15, Old::Stay), (0.15, Old::Leave)] {
            for rps in RATES {
                let what = format!("{:.0} % over {noise}", ratio * 100.0);
                let (signal, trouble) = (Signal::Errors(healthy), Trouble::Errors(ratio));
                let mut of = cell(Table::ErrorsOverNoise, &what, signal, trouble, old, rps);
                // The prototype needed 225 to 285 s here.
                if noise == "clusters" && ratio == 0.06 && rps == 10.0 {
                    of.goal = Goal::FoundWithin { median_secs: 225.0 };
                }
                cells.push(of);
            }
        }
    }
    cells
}

fn latency() -> Vec<Cell> {
    let troubles =
        [("+60 %", Trouble::Slower(1.6)), ("+200 %", Trouble::Slower(3.0)), ("tail", Trouble::Tail)];
    let mut cells = Vec::new();
    for (what, trouble) in troubles {
        for (kind, label) in [(Kind::Native, "native"), (Kind::Classic, "classic")] {
            for old in BOTH {
                for rps in RATES {
                    let what = format!("{what} {label}");
                    let signal = Signal::Latency { kind, quirk: Quirk::None };
                    let of = |table| cell(table, &what, signal, trouble, old, rps);
                    let goal =
                        |warm_up_secs| Goal::Found { median: 3.0, p95: None, batches: 4.0, warm_up_secs };
                    cells.push(Cell { goal: goal(60.0), ..of(Table::Latency) });
                    if kind == Kind::Native && old == Old::Stay {
                        cells.push(Cell { goal: goal(0.0), ..of(Table::LatencyLate) });
                    }
                }
            }
        }
    }
    cells
}

fn healthy_errors() -> Vec<Cell> {
    let models = [
        ("independent 0.1 %", USUAL),
        ("independent 1 %", Healthy::Independent { ratio: 0.01 }),
        ("clusters 1 %", Healthy::Clusters { ratio: 0.01 }),
        ("runs 1 %", Healthy::Runs { ratio: 0.01 }),
        ("beta-binomial 1 %", Healthy::BetaBinomial { ratio: 0.01 }),
        ("bursts 0.68 %", Healthy::Bursts { ratio: 0.001 }),
    ];
    let mut cells = Vec::new();
    for (what, healthy) in models {
        for old in BOTH {
            for rps in RATES {
                let mut of =
                    cell(Table::HealthyErrors, what, Signal::Errors(healthy), Trouble::None, old, rps);
                of.watches = if rps <= 10.0 { WATCHES_MANY } else { WATCHES };
                of.goal = match healthy {
                    // Nothing that the issue asks for, and at little traffic no release should do it.
                    Healthy::Runs { .. } => Goal::Info,
                    Healthy::Independent { .. }
                    | Healthy::Clusters { .. }
                    | Healthy::BetaBinomial { .. }
                    | Healthy::Bursts { .. } => Goal::Rare { share: 0.0015, upper: Some(0.003) },
                };
                if what.starts_with("clusters") || what.starts_with("bursts") {
                    cells.extend([1, 15].map(|secs| scraped(of.clone(), secs)));
                    cells.extend((old == Old::Leave).then(|| willing(of.clone())));
                }
                cells.push(of);
            }
        }
    }
    cells
}

fn healthy_latency() -> Vec<Cell> {
    let quirks = [
        ("even", Quirk::None),
        ("uneven pods", Quirk::UnevenPods),
        ("uneven arms", Quirk::UnevenArms),
        ("warm-up", Quirk::WarmUp),
        ("bursts", Quirk::Bursts),
    ];
    let mut cells = Vec::new();
    for (what, quirk) in quirks {
        for (kind, label) in [(Kind::Native, "native"), (Kind::Classic, "classic")] {
            for old in BOTH {
                for rps in RATES {
                    let what = format!("{what} {label}");
                    let signal = Signal::Latency { kind, quirk };
                    let goal = Goal::Rare { share: 0.002, upper: None };
                    let of = cell(Table::HealthyLatency, &what, signal, Trouble::None, old, rps);
                    let of = Cell { goal, ..of };
                    cells.extend((old == Old::Leave && quirk == Quirk::Bursts).then(|| willing(of.clone())));
                    cells.push(of);
                }
            }
        }
    }
    cells
}

fn must_not() -> Vec<Cell> {
    let errors = Signal::Errors(USUAL);
    let times = Signal::Latency { kind: Kind::Native, quirk: Quirk::None };
    let rows = [
        ("shared 20 % errors", errors, Trouble::SharedErrors(0.2)),
        ("2 % errors", errors, Trouble::Errors(0.02)),
        ("shared, all twice as slow", times, Trouble::SharedSlower(2.0)),
        ("+20 % response time", times, Trouble::Slower(1.2)),
    ];
    let mut cells = Vec::new();
    for (what, signal, trouble) in rows {
        for (old, rps) in BOTH.into_iter().flat_map(|old| RATES.map(|rps| (old, rps))) {
            cells.push(Cell { goal: Goal::Never, ..cell(Table::MustNot, what, signal, trouble, old, rps) });
        }
    }
    cells
}
