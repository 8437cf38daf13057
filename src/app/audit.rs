//! The audit of a journal, beside the daemon that writes it or without one.
use std::path::Path;

use jiff::Timestamp;

use super::{AppError, journal};
use crate::adapters::journal::SqliteAudit;
use crate::adapters::journal::audit::{self, AuditTrail, Broken, PAGE};
use crate::config::Config;
use crate::domain::event::StreamId;
use crate::domain::head::HeadMark;
use crate::ports::Head;

/// A journal to be read.
pub struct Trail(Box<dyn AuditTrail>);

/// Which records are handed out; all of them, unless something is said.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub since: Option<Timestamp>,
    pub run: Option<String>,
}

impl Trail {
    /// The journal that a daemon with this configuration writes.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn of(config: &Config) -> Result<Self, AppError> {
        Ok(Self(journal::audit(config).await?))
    }

    /// The journal of a state directory.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn in_dir(dir: &Path) -> Result<Self, AppError> {
        Ok(Self(Box::new(SqliteAudit::open(dir)?)))
    }

    /// Follows the whole chain: its end, or where it breaks.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn verify(&mut self, kept: Option<&HeadMark>) -> Result<Result<Head, Broken>, AppError> {
        Ok(audit::verify(self.0.as_mut(), kept).await?)
    }

    /// Hands out each record's JSON, byte for byte as its hash was made, until `take` has enough.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn export(
        &mut self,
        wanted: &Wanted,
        mut take: impl FnMut(&str) -> bool,
    ) -> Result<(), AppError> {
        let stream = wanted.run.as_deref().map(StreamId::run);
        let of_stream = |name: &str| stream.as_ref().is_none_or(|wanted| wanted.as_str() == name);
        let recent = |at: &str| match wanted.since {
            // A time that cannot be read is better shown than left out.
            Some(since) => at.parse().map_or(true, |at: Timestamp| at >= since),
            None => true,
        };
        let mut seq = 0;
        loop {
            let page = self.0.after(seq, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            seq = last.seq;
            for line in page.iter().filter(|line| of_stream(&line.stream) && recent(&line.at)) {
                if !take(&line.json()) {
                    return Ok(());
                }
            }
        }
    }
}
