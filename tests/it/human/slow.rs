//! A channel that never answers holds up nobody but itself.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rollguard::domain::message::Message;
use rollguard::ports::{Delivered, Notifier, NotifyError};
use tokio_util::sync::CancellationToken;

use super::world::{Office, story};
use crate::messages::{all_passed, executed, opened, verified};

struct Chat {
    name: &'static str,
    answers: bool,
    taken: AtomicUsize,
}

#[async_trait]
impl Notifier for Chat {
    fn channel(&self) -> &str {
        self.name
    }
    fn wants(&self, _: &Message) -> bool {
        true
    }
    async fn deliver(&self, _: &Message, _: Timestamp) -> Result<Delivered, NotifyError> {
        self.taken.fetch_add(1, Ordering::SeqCst);
        if !self.answers {
            std::future::pending::<()>().await;
        }
        Ok(Delivered::Once)
    }
}

#[tokio::test]
async fn a_channel_that_never_answers_holds_up_no_other_one() {
    let chat = |name, answers| Arc::new(Chat { name, answers, taken: AtomicUsize::new(0) });
    let (slow, quick) = (chat("a-slow-one", false), chat("quick", true));
    let (office, stop) = (Office::new(), CancellationToken::new());
    let life = office.begin_with(vec![slow.clone(), quick.clone()]).await;
    let running = tokio::spawn(life.outbox().run(stop.clone()));
    let all = story(opened(), [executed(), all_passed(), vec![verified(true)]].concat());
    let expected = all.len();
    for message in all {
        life.enqueue(vec![message]).await;
        tokio::task::yield_now().await;
    }
    let everything = async {
        while quick.taken.load(Ordering::SeqCst) < expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), everything)
        .await
        .expect("the quick one waits for the slow one");
    assert_eq!(slow.taken.load(Ordering::SeqCst), 1);
    stop.cancel();
    running.await.unwrap();
}
