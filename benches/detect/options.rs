//! The command line: `cargo bench --bench detect -- [OPTIONS]`.
use std::path::PathBuf;

use clap::Parser;

/// How soon bad releases are found, and how often healthy ones are rolled back: rollguard and its peers over the same
/// simulated traffic. Prints markdown tables.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench detect --")]
pub(crate) struct Options {
    /// Few watches per cell: seconds instead of an hour
    #[arg(long)]
    pub quick: bool,
    /// Only the cells whose name or table matches this regular expression
    #[arg(long, value_name = "REGEX")]
    pub cells: Option<regex::Regex>,
    /// Watches per cell [default: 20000 healthy ones at 1 and 10 requests per second, 4000 elsewhere]
    #[arg(long, value_name = "N")]
    pub watches: Option<u64>,
    /// Leave out the peers
    #[arg(long)]
    pub ours_only: bool,
    /// Threads [default: all cores]; the result does not depend on it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Write all rows as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Say of up to so many watches per cell what was decided and why: wrong rollbacks, and trouble that was missed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub explain: usize,
    /// Only measure what judging costs
    #[arg(long)]
    pub cost: bool,
    /// List the cells and stop
    #[arg(long)]
    pub list: bool,
    /// Cargo says so
    #[arg(long, hide = true)]
    pub bench: bool,
}
