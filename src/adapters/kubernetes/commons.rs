//! What the workloads of a namespace share, read once for many looks: with thousands of workloads these were most of all calls.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authorization::v1::SubjectRulesReviewStatus;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use tokio::sync::Mutex as AsyncMutex;

use super::target::Trouble;
use crate::ports::Clock;

/// How old an answer may be: whoever raises a quota sees it in `rollguard doctor` so much later.
const FRESH: SignedDuration = SignedDuration::from_secs(20);

/// By namespace. Shared by all clones of its owner.
#[derive(Clone)]
pub(super) struct Commons {
    clock: Arc<dyn Clock>,
    namespaces: Arc<Mutex<BTreeMap<String, Arc<Common>>>>,
}

/// Of one namespace.
#[derive(Default)]
pub(super) struct Common {
    pub(super) rules: Kept<SubjectRulesReviewStatus>,
    pub(super) quotas: Kept<Vec<ResourceQuota>>,
    pub(super) budgets: Kept<Vec<PodDisruptionBudget>>,
    pub(super) autoscalers: Kept<Vec<HorizontalPodAutoscaler>>,
}

/// One answer of the API server. Whoever comes while it is being asked waits for that answer.
pub(super) struct Kept<T>(AsyncMutex<Option<(Timestamp, Arc<T>)>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(AsyncMutex::default())
    }
}

impl<T> Kept<T> {
    /// The next to come asks anew.
    pub(super) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

impl Commons {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, namespaces: Arc::default() }
    }

    pub(super) fn of(&self, namespace: &str) -> Arc<Common> {
        let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        namespaces.entry(namespace.to_string()).or_default().clone()
    }

    /// What is kept if it is fresh, otherwise what `ask` answers. Failures are not kept.
    pub(super) async fn get<T>(
        &self,
        kept: &Kept<T>,
        ask: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<Arc<T>, Trouble> {
        let mut kept = kept.0.lock().await;
        let now = self.clock.now();
        if let Some((at, known)) = kept.as_ref()
            && now.duration_since(*at).abs() < FRESH
        {
            return Ok(known.clone());
        }
        let answer = Arc::new(ask.await?);
        *kept = Some((now, answer.clone()));
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use async_trait::async_trait;

    use super::*;

    #[derive(Default)]
    struct Hands(AtomicI64);

    #[async_trait]
    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
        }
        async fn sleep_until(&self, _: Timestamp) {}
    }

    #[tokio::test]
    async fn an_answer_is_kept_for_a_while_and_a_failure_is_not() {
        let clock = Arc::new(Hands::default());
        let commons = Commons::new(clock.clone());
        let kept = Kept::<u32>::default();
        let failed = commons.get(&kept, async { Err(Trouble::Missing) }).await;
        assert!(failed.is_err());
        for (second, answer, expected) in [(0, 1, 1), (19, 2, 1), (20, 3, 3), (5, 4, 3), (-20, 5, 5)] {
            clock.0.store(second, Ordering::SeqCst);
            let got = commons.get(&kept, async { Ok(answer) }).await;
            assert_eq!(*got.unwrap_or_else(|_| panic!("second {second}")), expected, "second {second}");
        }
        kept.forget().await;
        let got = commons.get(&kept, async { Ok(6) }).await;
        assert_eq!(got.ok().as_deref(), Some(&6));
    }

    #[tokio::test]
    async fn namespaces_share_nothing_and_clones_share_all() {
        let commons = Commons::new(Arc::new(Hands::default()));
        let other = commons.clone();
        assert!(Arc::ptr_eq(&commons.of("shop"), &other.of("shop")));
        assert!(!Arc::ptr_eq(&commons.of("shop"), &commons.of("bank")));
    }
}
