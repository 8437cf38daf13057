//! Events appended per second, by one writer and by many at once.
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use jiff::Timestamp;
use rollguard::adapters::journal::SqliteJournal;
use rollguard::domain::event::StreamId;
use rollguard::ports::{Commit, Journal, NewRecord};
use serde_json::json;

use super::{Outcome, millis, quantile};

const LASTS: Duration = Duration::from_secs(3);

pub(crate) async fn measure(dir: &Path, writers: usize) -> Outcome<()> {
    let journal = Arc::new(SqliteJournal::open(dir)?);
    let epoch = journal.claim().await?;
    let began = Instant::now();
    let writing = (0..writers).map(|n| tokio::spawn(write(journal.clone(), epoch, n, began + LASTS)));
    let mut times = Vec::new();
    for written in try_join_all(writing).await? {
        times.extend(written?);
    }
    let took = began.elapsed().as_secs_f64();
    times.sort_unstable();
    println!(
        "appends, {writers} at once: {:.0} per second; half within {}, 99 % within {}",
        times.len() as f64 / took,
        millis(quantile(&times, 0.5)),
        millis(quantile(&times, 0.99))
    );
    assert_eq!(journal.verify().await?, times.len() as u64);
    Ok(())
}

async fn write(journal: Arc<SqliteJournal>, epoch: u64, n: usize, until: Instant) -> Outcome<Vec<Duration>> {
    let mut times = Vec::new();
    while Instant::now() < until {
        let body =
            json!({ "step": 0, "finding": { "finding": "not_yet", "detail": "2 of 3 pods are ready" } });
        let record = NewRecord { stream: StreamId::run(&format!("shop-{n}")), kind: "observed".into(), body };
        let commit = Commit { at: Timestamp::UNIX_EPOCH, events: vec![record], ..Commit::default() };
        let began = Instant::now();
        journal.commit(epoch, commit).await?;
        times.push(began.elapsed());
    }
    Ok(times)
}
