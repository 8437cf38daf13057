//! The states of a Deployment's pods as kube-state-metrics has told them, moment by moment.
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::super::Place;
use super::super::answer::{self, Data, Unanswered};
use super::super::query::{PART, pods_of};
use super::{STEP_SECS, second};
use crate::domain::signal::PodReading;

const CREATED: &str = "created";
const READY: &str = "ready";
const RESTARTS: &str = "restarts";
const WAITING: &str = "waiting";
const TERMINATED: &str = "terminated";
const UNSCHEDULABLE: &str = "unschedulable";
const OWNER: &str = "owner";

/// Asks for everything about the pods of a Deployment. Several kube-state-metrics count once.
pub(super) fn query(place: &Place) -> String {
    let pods = pods_of(place).replace('\\', "\\\\");
    let of = |more: &str| format!(r#"{{namespace="{}",pod=~"{pods}"{more}}}"#, place.namespace);
    let part = |series: String, part: &str| format!(r#"label_replace({series}, "{PART}", "{part}", "", "")"#);
    let (all, is_true, by_replica_set) =
        (of(""), of(r#",condition="true""#), of(r#",owner_kind="ReplicaSet""#));
    let reason =
        |metric: &str| format!("max by (pod,reason) (kube_pod_container_status_{metric}_reason{all}) > 0");
    let restarts = format!("max by (pod,container) (kube_pod_container_status_restarts_total{all})");
    let parts = [
        part(format!("max by (pod) (kube_pod_created{all})"), CREATED),
        part(format!("max by (pod) (kube_pod_status_ready{is_true})"), READY),
        part(format!("sum by (pod) ({restarts})"), RESTARTS),
        part(reason("waiting"), WAITING),
        part(reason("last_terminated"), TERMINATED),
        part(format!("max by (pod) (kube_pod_status_unschedulable{all}) > 0"), UNSCHEDULABLE),
        part(format!("max by (pod,owner_name) (kube_pod_owner{by_replica_set})"), OWNER),
    ];
    parts.join(" or ")
}

/// What is known of one pod at one moment.
#[derive(Debug, Default)]
struct Row {
    created: Option<f64>,
    ready: Option<bool>,
    restarts: f64,
    waiting: Option<String>,
    terminated: Option<String>,
    unschedulable: bool,
}

/// One pod at one moment.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    pub(super) at: i64,
    pub(super) pod: String,
    pub(super) reading: PodReading,
}

/// Remembers of each pod since when it is ready, and which ReplicaSet owns it.
#[derive(Debug)]
pub(super) struct Pods {
    prefix: String,
    ready_since: BTreeMap<String, Option<Timestamp>>,
    hashes: BTreeMap<String, String>,
}

impl Pods {
    pub(super) fn new(place: &Place) -> Self {
        let prefix = format!("{}-", place.workload);
        Self { prefix, ready_since: BTreeMap::new(), hashes: BTreeMap::new() }
    }

    /// The hash of the pod's version: of its ReplicaSet, else by its name, which is WORKLOAD-HASH-RANDOM.
    pub(super) fn hash<'a>(&'a self, pod: &'a str) -> Option<&'a str> {
        if let Some(hash) = self.hashes.get(pod) {
            return Some(hash);
        }
        pod.strip_prefix(&self.prefix)?.rsplit_once('-').map(|(hash, _)| hash)
    }

    /// Takes the next answer to [`query`]; answers the states in it in the order of time.
    pub(super) fn take(&mut self, body: &[u8]) -> Result<Vec<State>, Unanswered> {
        let mut states = Vec::new();
        for (at, rows) in self.rows(body)? {
            let gone: BTreeSet<String> =
                self.ready_since.keys().filter(|pod| !rows.contains_key(*pod)).cloned().collect();
            states.extend(rows.into_iter().filter_map(|(pod, row)| self.state(at, pod, row)));
            states.extend(gone.into_iter().map(|pod| self.gone(at, pod)));
        }
        Ok(states)
    }

    fn rows(&mut self, body: &[u8]) -> Result<BTreeMap<i64, BTreeMap<String, Row>>, Unanswered> {
        let Data::Matrix(series) = answer::data(body)? else { return Err(Unanswered::NotNumbers) };
        let mut moments: BTreeMap<i64, BTreeMap<String, Row>> = BTreeMap::new();
        for mut one in series {
            let Some(pod) = one.metric.remove("pod") else { continue };
            let part = one.metric.remove(PART);
            if part.as_deref() == Some(OWNER) {
                let owner = one.metric.remove("owner_name");
                let hash = owner.as_deref().and_then(|owner| owner.strip_prefix(&self.prefix));
                self.hashes.extend(hash.map(|hash| (pod, hash.to_string())));
                continue;
            }
            let reason = one.metric.remove("reason");
            for point in &one.values {
                let row = moments.entry(point.0.round() as i64).or_default().entry(pod.clone()).or_default();
                match part.as_deref() {
                    Some(CREATED) => row.created = Some(point.value()),
                    Some(READY) => row.ready = Some(point.value() > 0.0),
                    Some(RESTARTS) => row.restarts = point.value(),
                    Some(WAITING) => row.waiting.clone_from(&reason),
                    Some(TERMINATED) => row.terminated.clone_from(&reason),
                    Some(UNSCHEDULABLE) => row.unschedulable = true,
                    Some(_) | None => return Err(Unanswered::NotNumbers),
                }
            }
        }
        Ok(moments)
    }

    /// `None` for a pod of which it is not told whether it is ready.
    fn state(&mut self, at: i64, pod: String, row: Row) -> Option<State> {
        let ready = row.ready?;
        let created_at = row.created.filter(|at| at.is_finite()).map(|at| second(at.round() as i64));
        let known = self.ready_since.get(&pod).copied();
        let ready_since = ready.then(|| match known {
            Some(since) => since.unwrap_or(second(at)),
            // It became ready between two looks, or long ago.
            None => second(at - STEP_SECS).max(created_at.unwrap_or(Timestamp::MIN)),
        });
        self.ready_since.insert(pod.clone(), ready_since);
        let unschedulable = || row.unschedulable.then(|| "Unschedulable".to_string());
        let reason = row.waiting.or(row.terminated).or_else(unschedulable);
        let restarts = row.restarts.max(0.0) as u32;
        let reading =
            PodReading { ready, created_at, ready_since, restarts, reason, ..PodReading::default() };
        Some(State { at, pod, reading })
    }

    fn gone(&mut self, at: i64, pod: String) -> State {
        self.ready_since.remove(&pod);
        let (created_at, ready_since, reason) = (None, None, None);
        let reading = PodReading { created_at, ready_since, reason, gone: true, ..PodReading::default() };
        State { at, pod, reading }
    }

    /// What is not needed any more once the states of a piece were handed on.
    pub(super) fn forget_gone(&mut self) {
        let known = &self.ready_since;
        self.hashes.retain(|pod, _| known.contains_key(pod));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn series(part: &str, pod: &str, more: &[(&str, &str)], values: &[(i64, f64)]) -> Value {
        let mut metric = json!({"pod": pod, "rg": part});
        more.iter().for_each(|(name, value)| metric[*name] = (*value).into());
        let values: Vec<Value> = values.iter().map(|(at, value)| json!([at, value.to_string()])).collect();
        json!({"metric": metric, "values": values})
    }

    fn take(pods: &mut Pods, result: &[Value]) -> Vec<(i64, String, String)> {
        let body = json!({"status": "success", "data": {"resultType": "matrix", "result": result}});
        let short = |state: State| {
            let reading = state.reading;
            let since = reading.ready_since.map_or("-".into(), |since| since.as_second().to_string());
            let reason = reading.reason.unwrap_or_default();
            let text =
                if reading.gone { "gone".into() } else { format!("{since} {} {reason}", reading.restarts) };
            (state.at, state.pod, text.trim().to_string())
        };
        pods.take(body.to_string().as_bytes()).unwrap().into_iter().map(short).collect()
    }

    fn told(states: &[(i64, &str, &str)]) -> Vec<(i64, String, String)> {
        states.iter().map(|(at, pod, text)| (*at, pod.to_string(), text.to_string())).collect()
    }

    #[test]
    fn pods_become_ready_crash_and_go() {
        let mut pods = Pods::new(&Place { namespace: "shop".into(), workload: "web".into() });
        let first = [
            series("created", "web-a-1", &[], &[(1000, 100.0), (1015, 100.0)]),
            series("ready", "web-a-1", &[], &[(1000, 1.0), (1015, 1.0)]),
            series("created", "web-b-1", &[], &[(1000, 995.0), (1015, 995.0), (1030, 995.0)]),
            series("ready", "web-b-1", &[], &[(1000, 0.0), (1015, 1.0), (1030, 0.0)]),
            series("restarts", "web-b-1", &[], &[(1000, 0.0), (1015, 0.0), (1030, 2.0)]),
            series("terminated", "web-b-1", &[("reason", "OOMKilled")], &[(1030, 1.0)]),
        ];
        let expected = told(&[
            (1000, "web-a-1", "985 0"),
            (1000, "web-b-1", "- 0"),
            (1015, "web-a-1", "985 0"),
            (1015, "web-b-1", "1015 0"),
            (1030, "web-b-1", "- 2 OOMKilled"),
            (1030, "web-a-1", "gone"),
        ]);
        assert_eq!(take(&mut pods, &first), expected);
        assert_eq!(take(&mut pods, &[]), [], "kube-state-metrics was away: nobody is gone");
        let back = [
            series("ready", "web-b-1", &[], &[(1060, 0.0)]),
            series("waiting", "web-b-1", &[("reason", "CrashLoopBackOff")], &[(1060, 1.0)]),
            series("terminated", "web-b-1", &[("reason", "Error")], &[(1060, 1.0)]),
        ];
        assert_eq!(take(&mut pods, &back), told(&[(1060, "web-b-1", "- 0 CrashLoopBackOff")]));
    }

    #[test]
    fn the_version_is_that_of_the_owner_or_of_the_name() {
        let mut pods = Pods::new(&Place { namespace: "shop".into(), workload: "web".into() });
        assert_eq!(pods.hash("web-5d8f7c9b4-bbbbb"), Some("5d8f7c9b4"));
        assert_eq!((pods.hash("web-bbbbb"), pods.hash("api-5d8f7c9b4-bbbbb")), (None, None));
        let owner = [series("owner", "web-bbbbb", &[("owner_name", "web-5d8f7c9b4")], &[(1000, 1.0)])];
        take(&mut pods, &owner);
        assert_eq!(pods.hash("web-bbbbb"), Some("5d8f7c9b4"));
        pods.forget_gone();
        assert_eq!(pods.hash("web-bbbbb"), None);
    }
}
