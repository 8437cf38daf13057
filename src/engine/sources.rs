//! Asks the signal sources at their own pace, for whatever is worth asking about now.
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::domain::signal::Sample;
use crate::ports::{Ask, AskTarget, Clock, SignalSource};
use crate::telemetry::{Metric, Stopwatch, label};

/// What is worth asking about: targets under watch, the others, for their history, and those that serve as controls.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AskBook {
    pub fresh: Vec<AskTarget>,
    pub idle: Vec<AskTarget>,
    pub controls: Vec<AskTarget>,
}

/// Controls are asked so often while something is under watch, and otherwise just to know what is usual for them.
const CONTROLS_EVERY: Duration = Duration::from_secs(5);
const CONTROLS_AT_REST: Duration = Duration::from_secs(60);

/// One answer of a source.
#[derive(Debug)]
pub struct Answer {
    pub source: String,
    pub samples: Vec<Sample>,
}

/// The sources with the book that tells them what to ask about.
pub struct Sensing {
    pub sources: Vec<Arc<dyn SignalSource>>,
    pub book: watch::Sender<Arc<AskBook>>,
}

/// Polls one source until `stop`, or until nobody keeps its book any more. A slow answer delays the next question; nothing piles up.
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
    let (mut idle, mut controls) = (Pace::default(), Pace::default());
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        if book.has_changed().is_err() {
            return;
        }
        let book = book.borrow().clone();
        let at_rest = if book.fresh.is_empty() { CONTROLS_AT_REST } else { CONTROLS_EVERY };
        let idle = idle_every.is_some_and(|every| idle.is_due(every));
        let controls = source.serves_controls() && controls.is_due(at_rest);
        let targets = due(&book, idle, controls);
        if targets.is_empty() {
            continue;
        }
        let answer = ask(source.as_ref(), Ask { at: clock.now(), targets }).await;
        if answers.send(answer).await.is_err() {
            return;
        }
    }
}

/// A tick that comes this little too early is on time, or every other one would be left out.
const PUNCTUAL: f64 = 0.9;

/// How long ago something was asked.
#[derive(Default)]
struct Pace {
    asked: Option<Stopwatch>,
}

impl Pace {
    fn is_due(&mut self, every: Duration) -> bool {
        let due = self.asked.as_ref().is_none_or(|asked| asked.elapsed() >= every.mul_f64(PUNCTUAL));
        if due {
            self.asked = Some(Stopwatch::start());
        }
        due
    }
}

/// Each target once, even if it is both a control and due for its history.
fn due(book: &AskBook, idle: bool, controls: bool) -> Vec<AskTarget> {
    let idle = if idle { book.idle.as_slice() } else { &[] };
    let controls = if controls { book.controls.as_slice() } else { &[] };
    let more = controls.iter().filter(|control| !idle.iter().any(|other| other.target == control.target));
    book.fresh.iter().chain(idle).chain(more).cloned().collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::names::{ServiceName, TargetId, TargetName};
    use crate::engine::clock::SystemClock;
    use crate::ports::History;
    use async_trait::async_trait;
    use jiff::Timestamp;

    /// Asked every ten milliseconds; tells whom it was asked about.
    struct Source {
        serves_controls: bool,
        asked: mpsc::UnboundedSender<String>,
    }

    #[async_trait]
    impl SignalSource for Source {
        fn name(&self) -> &str {
            "source"
        }
        fn intervals(&self) -> (Duration, Option<Duration>) {
            (Duration::from_millis(10), None)
        }
        fn serves_controls(&self) -> bool {
            self.serves_controls
        }
        async fn read(&self, ask: &Ask) -> Vec<Sample> {
            let names: Vec<String> = ask.targets.iter().map(|t| t.target.to_string()).collect();
            self.asked.send(names.join(" ")).unwrap();
            vec![]
        }
        async fn history(&self, _: &AskTarget, _: Timestamp, _: Timestamp) -> History {
            History::default()
        }
    }

    fn about(service: &str) -> AskTarget {
        let (service, target) = (ServiceName::parse(service).unwrap(), TargetName::parse("api").unwrap());
        AskTarget { target: TargetId { service, target }, pods: vec![] }
    }

    /// Whom the first question is about.
    async fn first_asked(serves_controls: bool) -> String {
        let (asked, mut questions) = mpsc::unbounded_channel();
        let source = Arc::new(Source { serves_controls, asked });
        let others = vec![about("pay"), about("cart")];
        let book = AskBook { fresh: vec![about("shop")], idle: others.clone(), controls: others };
        let (_book, book) = watch::channel(Arc::new(book));
        // Nobody takes its answer, so it stops after the first.
        let (answers, _) = mpsc::channel(1);
        poll(source, book, answers, Arc::new(SystemClock), CancellationToken::new()).await;
        questions.recv().await.unwrap()
    }

    #[tokio::test]
    async fn a_source_that_serves_no_controls_is_asked_about_releases_only() {
        assert_eq!(first_asked(true).await, "shop/api pay/api cart/api");
        assert_eq!(first_asked(false).await, "shop/api");
    }
}
