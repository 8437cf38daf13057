//! Asks the signal sources at their own pace, for whatever is worth asking about now.
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::domain::signal::Sample;
use crate::ports::{Ask, AskTarget, Clock, SignalSource};
use crate::telemetry::{Metric, Stopwatch, label};

/// What is worth asking about: targets under watch, and the others, for their history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AskBook {
    pub fresh: Vec<AskTarget>,
    pub idle: Vec<AskTarget>,
}

/// One answer of a source.
#[derive(Debug)]
pub struct Answer {
    pub source: String,
    pub samples: Vec<Sample>,
}

/// Polls one source until `stop`. A slow answer delays the next question; nothing piles up.
pub async fn poll(
    source: Arc<dyn SignalSource>,
    book: watch::Receiver<Arc<AskBook>>,
    answers: mpsc::Sender<Answer>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let (fresh_every, idle_every) = source.intervals();
    let mut ticks = tokio::time::interval(fresh_every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut idle_asked: Option<Stopwatch> = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        let idle_due =
            idle_every.is_some_and(|every| idle_asked.is_none_or(|asked| asked.elapsed() >= every));
        let targets = due(&book.borrow(), idle_due);
        if idle_due {
            idle_asked = Some(Stopwatch::start());
        }
        if targets.is_empty() {
            continue;
        }
        let answer = ask(source.as_ref(), Ask { at: clock.now(), targets }).await;
        if answers.send(answer).await.is_err() {
            return;
        }
    }
}

fn due(book: &AskBook, idle_due: bool) -> Vec<AskTarget> {
    let idle = if idle_due { book.idle.as_slice() } else { &[] };
    book.fresh.iter().chain(idle).cloned().collect()
}

/// An answer that takes longer than this is no answer; sources have tighter limits of their own.
const ANSWER_MAX: Duration = Duration::from_secs(30);

async fn ask(source: &dyn SignalSource, ask: Ask) -> Answer {
    let began = Stopwatch::start();
    let name = || vec![label("source", source.name())];
    let samples = tokio::time::timeout(ANSWER_MAX, source.read(&ask)).await.unwrap_or_default();
    Metric::SourceSeconds.observe(began.elapsed().as_secs_f64(), name());
    Metric::SamplesTotal.add(samples.len() as u64, name());
    Answer { source: source.name().to_string(), samples }
}
