//! Adds up the series of one metrics page that a target's rules are about.
use std::time::Duration;

use crate::adapters::signals::exposition::protobuf::Listener;
use crate::adapters::signals::exposition::{Broken, Labels, Series};
use crate::adapters::signals::values::{self, Counters, Rates, Reading, SERIES_MAX, ValueQuery};
use crate::adapters::signals::{Measured, Query, SourceRule};
use crate::config::Selector;
use crate::domain::histogram::{Histogram, Native};
use crate::domain::names::RuleName;

/// What a page says about a rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    Measured(Measured),
    Absent,
    Unreadable(String),
}

pub(super) struct Page<'a> {
    rules: Vec<(&'a RuleName, Sums)>,
}

struct Sums {
    kind: Kind,
    /// A line about this rule could not be read: the sum lacks something, and is no evidence.
    broken: bool,
}

enum Kind {
    Errors { total: Sum, bad: Sum },
    Latency { buckets: Selector, pairs: Vec<(f64, f64)>, whole: Selector, native: Option<Native> },
    Value { query: ValueQuery, series: Counters },
}

struct Sum {
    series: Selector,
    value: Option<f64>,
}

impl<'a> Page<'a> {
    pub(super) fn new(rules: &[&'a SourceRule]) -> Self {
        let sum = |series: &Selector| Sum { series: series.clone(), value: None };
        let kind = |query: &Query| match query {
            Query::Errors { total, bad } => Kind::Errors { total: sum(total), bad: sum(bad) },
            Query::Latency { histogram } => Kind::Latency {
                buckets: histogram.buckets(),
                pairs: Vec::new(),
                whole: histogram.histogram(),
                native: None,
            },
            Query::Value(query) => Kind::Value { query: query.clone(), series: Counters::new() },
        };
        let sums = |rule: &&'a SourceRule| (&rule.rule, Sums { kind: kind(&rule.query), broken: false });
        Self { rules: rules.iter().map(sums).collect() }
    }

    /// `of` and `rates` are for counters, which say nothing by themselves.
    pub(super) fn found(self, of: Reading<'_>, rates: &Rates) -> Vec<(&'a RuleName, Found)> {
        let growth = |rule, window, counters| rates.advance(of, rule, window, counters);
        self.rules.into_iter().map(|(rule, sums)| (rule, sums.found(|w, c| growth(rule, w, c)))).collect()
    }
}

impl Listener for Page<'_> {
    fn wants(&self, family: &str) -> bool {
        self.rules.iter().any(|(_, sums)| sums.kind.names(family))
    }

    fn take(&mut self, line: Result<Series<'_>, Broken<'_>>) {
        for (_, sums) in &mut self.rules {
            match &line {
                Ok(series) => sums.add(series),
                Err(line) => sums.broken |= line.name.is_some_and(|name| sums.kind.names(name)),
            }
        }
    }

    fn take_native(&mut self, family: &str, labels: Labels<'_>, times: Native) {
        for (_, sums) in &mut self.rules {
            if let Kind::Latency { whole, native, .. } = &mut sums.kind
                && whole.matches(family, |label| labels.get(label))
            {
                native.get_or_insert_default().add(&times);
            }
        }
    }
}

impl Sums {
    fn add(&mut self, line: &Series<'_>) {
        let meant = |selector: &Selector| selector.matches(line.name, |label| line.labels.get(label));
        match &mut self.kind {
            Kind::Errors { total, bad } => {
                for sum in [total, bad] {
                    if meant(&sum.series) {
                        sum.value = Some(sum.value.unwrap_or(0.0) + line.value);
                    }
                }
            }
            Kind::Latency { buckets, pairs, .. } if meant(buckets) => match line.labels.get("le").parse() {
                Ok(le) => pairs.push((le, line.value)),
                Err(_) => self.broken = true,
            },
            Kind::Value { query, series } if meant(&query.series) => {
                series.insert(line.labels.identity(), line.value);
            }
            Kind::Latency { .. } | Kind::Value { .. } => {}
        }
    }

    fn found(self, growth: impl Fn(Duration, Counters) -> Option<Vec<f64>>) -> Found {
        if self.broken {
            return Found::Unreadable("a line of its metrics that matters here cannot be read".into());
        }
        let (there, measured) = match self.kind {
            Kind::Errors { total, bad } => (total.value.is_some(), Measured::counts(total.value, bad.value)),
            // A page may show both: the native one says more.
            Kind::Latency { native: Some(times), .. } => {
                (true, Some(Measured::Times(Histogram::Native(times))))
            }
            Kind::Latency { pairs, native: None, .. } => (!pairs.is_empty(), Measured::buckets(pairs)),
            Kind::Value { query, series } => return value(&query, series, growth),
        };
        match measured {
            Some(measured) => Found::Measured(measured),
            None if there => {
                Found::Unreadable("its counters are not numbers, or its buckets lack +Inf".into())
            }
            None => Found::Absent,
        }
    }
}

fn value(
    query: &ValueQuery,
    series: Counters,
    growth: impl Fn(Duration, Counters) -> Option<Vec<f64>>,
) -> Found {
    if series.is_empty() {
        return Found::Absent;
    }
    if series.len() > SERIES_MAX {
        return Found::Unreadable(format!("more than {SERIES_MAX} series make up this value"));
    }
    let values = match query.rate {
        None => series.into_values().collect(),
        Some(window) => match growth(window, series) {
            Some(rates) => rates,
            None => return Found::Unreadable("a rate needs another reading".into()),
        },
    };
    match values::combined(query.combine, values.into_iter()) {
        Some(value) => Found::Measured(Measured::Value(value)),
        None => Found::Unreadable("its value is not a number".into()),
    }
}

impl Kind {
    /// Whether it is about this series, or about one of this family.
    fn names(&self, metric: &str) -> bool {
        let of_family = |series: &Selector| {
            let suffix = series.name().strip_prefix(metric);
            suffix.is_some_and(|suffix| ["", "_bucket", "_count", "_sum"].contains(&suffix))
        };
        match self {
            Kind::Errors { total, bad } => [total, bad].iter().any(|sum| of_family(&sum.series)),
            Kind::Latency { buckets, .. } => of_family(buckets),
            Kind::Value { query, .. } => of_family(&query.series),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::signals::exposition::Reader;
    use crate::config::Combine;
    use crate::domain::detect::errors::Counts;
    use crate::domain::names::TargetId;
    use jiff::Timestamp;

    fn found(query: Query, body: &str) -> Found {
        let name = |text: &str| text.to_string();
        let rule = SourceRule {
            service: name("shop").try_into().unwrap(),
            rule: name("rule").try_into().unwrap(),
            query,
        };
        let mut page = Page::new(&[&rule]);
        let mut reader = Reader::default();
        reader.feed(body.as_bytes(), &mut |line| page.take(line)).unwrap();
        reader.finish(&mut |line| page.take(line)).unwrap();
        let target = TargetId { service: rule.service.clone(), target: name("web").try_into().unwrap() };
        page.found(Reading { at: Timestamp::UNIX_EPOCH, target: &target, pod: "a" }, &Rates::default())
            .remove(0)
            .1
    }

    fn errors(body: &str) -> Found {
        found(Query::Errors { total: "r".parse().unwrap(), bad: r#"r{c=~"5.."}"#.parse().unwrap() }, body)
    }

    fn counted(bad: f64, total: f64) -> Found {
        Found::Measured(Measured::Counts(Counts { bad, total }))
    }

    #[test]
    fn matching_series_are_added_up() {
        assert_eq!(errors("r{c=\"200\"} 7\nr{c=\"500\"} 2\nr{c=\"503\"} 1\nother 9\n"), counted(3.0, 10.0));
        assert_eq!(errors("r{c=\"200\"} 7\n"), counted(0.0, 7.0));
        assert_eq!(errors("other 9\n"), Found::Absent);
    }

    #[test]
    fn half_a_sum_is_no_reading() {
        assert!(matches!(errors("r{c=\"200\"} 7\nr{c=\"500\"} oops\n"), Found::Unreadable(_)));
        assert!(matches!(errors("r{c=\"200\"} 7\nr{c=\"500\"} NaN\n"), Found::Unreadable(_)));
        assert_eq!(errors("r{c=\"200\"} 7\nother oops\n"), counted(0.0, 7.0));
    }

    #[test]
    fn buckets_are_added_by_bound() {
        let query = || Query::Latency { histogram: r#"h{path!="/metrics"}"#.parse().unwrap() };
        let body = "h_bucket{path=\"/a\",le=\"0.1\"} 1\nh_bucket{path=\"/b\",le=\"0.10\"} 2\n\
                    h_bucket{path=\"/metrics\",le=\"0.1\"} 9\nh_bucket{path=\"/a\",le=\"+Inf\"} 4\nh_count 4\n";
        let Found::Measured(Measured::Times(buckets)) = found(query(), body) else { panic!("no buckets") };
        assert_eq!(buckets.cumulative().bounds(), [(0.1, 3.0), (f64::INFINITY, 4.0)]);
        assert!(matches!(found(query(), "h_bucket{le=\"x\"} 1\n"), Found::Unreadable(_)));
        assert!(matches!(found(query(), "h_bucket{le=\"1\"} 1\n"), Found::Unreadable(_)));
    }

    #[test]
    fn values_are_combined_and_counters_wait_for_a_second_reading() {
        let query = |combine, rate| {
            let series = r#"m{kind!="cache"}"#.parse().unwrap();
            Query::Value(ValueQuery { series, combine, rate, pods: true })
        };
        let body = "m{kind=\"heap\"} 7\nm{kind=\"cache\"} 100\nm{kind=\"stack\"} 2\n";
        assert_eq!(found(query(Combine::Sum, None), body), Found::Measured(Measured::Value(9.0)));
        assert_eq!(found(query(Combine::Max, None), body), Found::Measured(Measured::Value(7.0)));
        assert_eq!(found(query(Combine::Max, None), "other 1\n"), Found::Absent);
        let unreadable = |query, body| matches!(found(query, body), Found::Unreadable(_));
        assert!(unreadable(query(Combine::Max, None), "m NaN\n"));
        assert!(unreadable(query(Combine::Max, None), "m 1\nm{kind=\"heap\"} oops\n"));
        assert!(unreadable(query(Combine::Max, Some(Duration::from_secs(60))), body));
    }
}
