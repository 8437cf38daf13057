//! The past is an hour long, apart by version, and without what came during a watch.
use super::*;
use crate::domain::names::ServiceName;
use crate::domain::runbook::standard_rules;

fn sample(second: i64, release: &str, pod: &str, bad: f64, total: f64) -> Sample {
    Sample {
        at: Timestamp::from_second(second).unwrap(),
        service: ServiceName::parse("shop").unwrap(),
        target: None,
        release: Some(release.into()),
        pod: Some(pod.into()),
        reading: Reading::Counts { rule: standard_rules()[0].name.clone(), bad, total },
    }
}

fn error_rate(past: &Past, label: &str) -> Option<Baseline> {
    past.baselines(None, |l| l == label).get(&standard_rules()[0].name).cloned()
}

#[test]
fn pods_add_up_versions_stay_apart_and_an_hour_is_kept() {
    let mut past = Past::new(&standard_rules(), 5.0);
    for batch in 0..2000 {
        let (second, n) = (batch * 5, batch as f64);
        past.take(&sample(second, "v1", "a", n, n * 100.0));
        past.take(&sample(second, "v1", "b", 0.0, n * 100.0));
        past.take(&sample(second, "v2", "c", n * 50.0, n * 100.0));
        past.close(Timestamp::from_second(second).unwrap());
    }
    let v1 = error_rate(&past, "v1").unwrap();
    assert_eq!(v1.counts().ratio(), Some(0.005));
    assert!((v1.seconds - 3600.0).abs() < 20.0, "{}", v1.seconds);
    assert!((v1.per_second().unwrap() - 40.0).abs() < 1.0, "{:?}", v1.per_second());
    assert_eq!(error_rate(&past, "v2").unwrap().counts().ratio(), Some(0.5));
    assert_eq!(error_rate(&past, "v3"), None);
}

#[test]
fn what_came_while_a_watch_was_open_is_not_learned_from() {
    let mut past = Past::new(&standard_rules(), 5.0);
    let batch = |past: &mut Past, second, bad, total| {
        past.take(&sample(second, "v1", "a", bad, total));
        past.close(Timestamp::from_second(second).unwrap());
    };
    (0..20).for_each(|i| batch(&mut past, i * 5, 0.0, i as f64 * 100.0));
    past.interrupt(None);
    (0..20).for_each(|i| batch(&mut past, 2000 + i * 5, 9000.0, 90_000.0 + i as f64 * 100.0));
    let learned = error_rate(&past, "v1").unwrap();
    assert_eq!(learned.counts(), Counts { bad: 0.0, total: 3800.0 });
}

#[test]
fn pods_that_are_gone_are_forgotten() {
    let mut past = Past::new(&standard_rules(), 5.0);
    for pod in 0..20_000 {
        let second = pod * 10;
        past.take(&sample(second, "v1", &format!("pod-{pod}"), 0.0, 1.0));
        past.close(Timestamp::from_second(second).unwrap());
    }
    assert!(past.streams[0].pods.len() < 1000, "{}", past.streams[0].pods.len());
}
