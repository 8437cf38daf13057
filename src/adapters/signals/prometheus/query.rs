//! Writes the PromQL: sums of raw counters per pod, for many workloads in one query.
use super::{Place, values};
use crate::adapters::signals::Query;
use crate::config::selector::{Selector, literal};
use crate::domain::names::RuleName;
use crate::ports::AskTarget;

/// The label names of this Prometheus.
pub(super) struct Labels {
    pub(super) namespace: String,
    pub(super) pod: String,
}

/// One target and rule that a query is to answer.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) about: &'a AskTarget,
    pub(super) rule: &'a RuleName,
    pub(super) place: Option<&'a Place>,
}

impl<'a> Wanted<'a> {
    /// Where to look, or why there is nothing to look for.
    pub(super) fn place_of_pods(&self) -> Result<&'a Place, &'static str> {
        let place = self.place.ok_or("the namespace and workload of the target are not configured")?;
        if self.about.pods.is_empty() { Err("the target has no pods") } else { Ok(place) }
    }
}

/// Tells the two halves of an error query apart. No label of the user's: sums keep only those they are grouped by.
pub(super) const PART: &str = "rg";
pub(super) const TOTAL: &str = "total";
pub(super) const BAD: &str = "bad";

/// A query that names so many workloads is cut in two: proxies and Prometheus' own query log bear about this much.
const NAMES_BYTES_MAX: usize = 8 * 1024;

/// Kubernetes cuts the name that it derives a pod's from to this length, before it adds five random letters.
const GENERATED_BASE_MAX: usize = 58;
/// The letters of Kubernetes' random names and template hashes.
const RANDOM: &str = "[bcdfghjklmnpqrstvwxz2456789]";

/// Parts of which each is short enough for one query.
pub(super) fn split<'a>(query: &Query, wanted: Vec<Wanted<'a>>) -> Vec<Vec<Wanted<'a>>> {
    let repeats = match query {
        Query::Errors { .. } | Query::Latency { .. } => 2,
        Query::Value(value) => usize::from(value.pods),
    };
    let mut parts: Vec<Vec<Wanted<'a>>> = Vec::new();
    let mut used = usize::MAX;
    for one in wanted {
        let bytes = one.place.map_or(0, |place| repeats * (place.workload.len() + place.namespace.len() + 3));
        used = used.saturating_add(bytes);
        match parts.last_mut() {
            Some(part) if used <= NAMES_BYTES_MAX => part.push(one),
            Some(_) | None => {
                parts.push(vec![one]);
                used = bytes;
            }
        }
    }
    parts
}

/// The present values of all pods of these workloads. What else the patterns match is left out by exact name later.
pub(super) fn instant(query: &Query, labels: &Labels, places: &[&Place]) -> String {
    let namespaces = alternatives(places.iter().map(|place| literal(&place.namespace)));
    let workloads = alternatives(places.iter().map(|place| literal(&base(&place.workload))));
    sums(query, labels, &namespaces, &format!("{workloads}.*"))
}

/// The values of every pod that this workload has or had: no list of past pods exists, so the pattern is exact.
pub(super) fn of_workload(query: &Query, labels: &Labels, place: &Place) -> String {
    sums(query, labels, &literal(&place.namespace), &pods_of(place))
}

/// The growth of a histogram in the last `seconds`, over all pods of this workload: of each classic bucket, and of native ones.
pub(super) fn growth(histogram: &Selector, labels: &Labels, place: &Place, seconds: i64) -> String {
    let (namespace, pods) = (literal(&place.namespace), pods_of(place));
    let narrowed = |s: Selector| s.narrowed(&[(&labels.namespace, &namespace), (&labels.pod, &pods)]);
    let (classic, native) = (narrowed(histogram.buckets()), narrowed(histogram.histogram()));
    format!("sum by (le) (increase({classic}[{seconds}s])) or sum(increase({native}[{seconds}s]))")
}

fn sums(query: &Query, labels: &Labels, namespaces: &str, pods: &str) -> String {
    let Labels { namespace, pod } = labels;
    let narrowed = |selector: &Selector| selector.narrowed(&[(namespace, namespaces), (pod, pods)]);
    match query {
        Query::Errors { total, bad } => {
            let part = |selector: &Selector, part: &str| {
                let series = narrowed(selector);
                format!(r#"label_replace(sum by ({namespace},{pod}) ({series}), "{PART}", "{part}", "", "")"#)
            };
            format!("{} or {}", part(total, TOTAL), part(bad, BAD))
        }
        Query::Latency { histogram } => {
            let (classic, native) = (narrowed(&histogram.buckets()), narrowed(&histogram.histogram()));
            format!("sum by ({namespace},{pod},le) ({classic}) or sum by ({namespace},{pod}) ({native})")
        }
        Query::Value(value) => values::per_pod(value, labels, &narrowed(&value.series)),
    }
}

/// What the names of a workload's pods begin with.
fn base(workload: &str) -> String {
    let name = format!("{workload}-");
    name.chars().take(GENERATED_BASE_MAX).collect()
}

/// Names that Kubernetes gives to pods of this workload (NAME-HASH-RANDOM, NAME-RANDOM or NAME-ORDINAL), and not to those
/// of another whose name begins alike.
pub(super) fn pods_of(place: &Place) -> String {
    format!("{}(?:[0-9]+|(?:{RANDOM}+-)?{RANDOM}{{5,}})", literal(&base(&place.workload)))
}

fn alternatives(patterns: impl Iterator<Item = String>) -> String {
    let mut patterns: Vec<String> = patterns.collect();
    patterns.sort();
    patterns.dedup();
    match patterns.as_slice() {
        [one] => one.clone(),
        several => format!("(?:{})", several.join("|")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    fn place(workload: &str) -> Place {
        Place { namespace: "shop".into(), workload: workload.into() }
    }

    fn labels() -> Labels {
        Labels { namespace: "namespace".into(), pod: "pod".into() }
    }

    #[test]
    fn one_query_names_every_workload_once() {
        let query = Query::Errors { total: "r".parse().unwrap(), bad: r#"r{c=~"5.."}"#.parse().unwrap() };
        let other = Place { namespace: "a.b".into(), ..place("api") };
        let (web, api) = (place("web"), place("api"));
        assert_eq!(
            instant(&query, &labels(), &[&web, &api, &other, &web]),
            concat!(
                r#"label_replace(sum by (namespace,pod) (r{namespace=~"(?:a\\.b|shop)",pod=~"(?:api-|web-).*"}), "rg", "total", "", "")"#,
                r#" or label_replace(sum by (namespace,pod) (r{c=~"5..",namespace=~"(?:a\\.b|shop)",pod=~"(?:api-|web-).*"}), "rg", "bad", "", "")"#
            )
        );
        let latency = Query::Latency { histogram: "h".parse().unwrap() };
        assert_eq!(
            instant(&latency, &labels(), &[&web]),
            concat!(
                r#"sum by (namespace,pod,le) (h_bucket{namespace=~"shop",pod=~"web-.*"})"#,
                r#" or sum by (namespace,pod) (h{namespace=~"shop",pod=~"web-.*"})"#
            )
        );
    }

    #[test]
    fn past_pods_are_known_by_their_names() {
        let matches = |workload: &str, pod: &str| {
            Regex::new(&format!("^(?s:{})$", pods_of(&place(workload)))).unwrap().is_match(pod)
        };
        for pod in ["web-5d8f7c9b4-x7k2p", "web-x7k2p", "web-0", "web-12"] {
            assert!(matches("web", pod), "{pod}");
        }
        for pod in ["web-admin-5d8f7c9b4-x7k2p", "web-admin-x7k2p", "web-admin-0", "web", "api-0", "aweb-0"] {
            assert!(!matches("web", pod), "{pod}");
        }
        let long = "w".repeat(60);
        assert!(matches(&long, &format!("{}x7k2p", "w".repeat(58))));
    }

    #[test]
    fn long_queries_are_split_and_lose_nobody() {
        let query = Query::Latency { histogram: "h".parse().unwrap() };
        let about = AskTarget {
            target: crate::domain::names::TargetId {
                service: "shop".to_string().try_into().unwrap(),
                target: "web".to_string().try_into().unwrap(),
            },
            pods: vec![],
        };
        let rule = RuleName::parse("latency").unwrap();
        let places: Vec<Place> = (0..1000).map(|i| place(&format!("workload-{i}"))).collect();
        let wanted: Vec<Wanted<'_>> =
            places.iter().map(|place| Wanted { about: &about, rule: &rule, place: Some(place) }).collect();
        let parts = split(&query, wanted);
        assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), 1000);
        assert!((2..=6).contains(&parts.len()), "{} parts", parts.len());
        for part in &parts {
            let places: Vec<&Place> = part.iter().filter_map(|w| w.place).collect();
            assert!(instant(&query, &labels(), &places).len() < 9_000);
        }
        assert!(split(&query, vec![]).is_empty());
    }
}
