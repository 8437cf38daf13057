//! Plain values from Prometheus: their queries, the answers for what belongs to no pod, and their past.
use jiff::Timestamp;

use super::answer::{self, Data, Unanswered};
use super::past::Grid;
use super::query::{self, Labels, Wanted};
use super::{Place, PrometheusSource};
use crate::adapters::signals::values::ValueQuery;
use crate::adapters::signals::{Query, no_data, sample};
use crate::config::Combine;
use crate::domain::signal::{Reading, Sample};

fn operator(combine: Combine) -> &'static str {
    match combine {
        Combine::Max => "max",
        Combine::Min => "min",
        Combine::Sum => "sum",
        Combine::Mean => "avg",
    }
}

/// The value of each pod. Prometheus works out the rates: it has seen every scrape of every series, so that no restart
/// between two of our questions is missed, and there is one from the first question on.
pub(super) fn per_pod(value: &ValueQuery, Labels { namespace, pod }: &Labels, series: &str) -> String {
    format!("{} by ({namespace},{pod}) ({})", operator(value.combine), grown(value, series))
}

/// The value of what belongs to no pod.
pub(super) fn beside(value: &ValueQuery) -> String {
    format!("{}({})", operator(value.combine), grown(value, &value.series.narrowed(&[])))
}

fn grown(value: &ValueQuery, series: &str) -> String {
    match value.rate {
        Some(window) => format!("rate({series}[{}s])", window.as_secs().max(1)),
        None => series.to_string(),
    }
}

impl PrometheusSource {
    /// One answer for all targets of the services that ask.
    pub(super) async fn read_beside(
        &self,
        at: Timestamp,
        value: &ValueQuery,
        wanted: &[Wanted<'_>],
    ) -> Vec<Sample> {
        let answered = self.ask(&beside(value)).await.and_then(|body| answer::single(&body));
        let read = match answered {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err("no series".to_string()),
            Err(why) => Err(why.to_string()),
        };
        let each = wanted.iter().map(|Wanted { about, rule, .. }| match &read {
            Ok(value) => sample(at, about, None, Reading::Value { rule: (*rule).clone(), value: *value }),
            Err(why) => no_data(at, about, None, rule, why),
        });
        each.collect()
    }

    /// The mean of the pods at each moment, whatever becomes one value within a pod: a release is held against what is
    /// usual, not against the worst pod of an hour.
    pub(super) async fn past_values(
        &self,
        value: &ValueQuery,
        place: &Place,
        grid: Grid,
    ) -> Result<Vec<f64>, Unanswered> {
        let text = if value.pods {
            format!("avg({})", query::of_workload(&Query::Value(value.clone()), &self.labels, place))
        } else {
            beside(value)
        };
        let Data::Matrix(series) = answer::data(&self.range(text, grid).await?)? else {
            return Err(Unanswered::NotNumbers);
        };
        let values = series.iter().flat_map(|one| &one.values).map(answer::Point::value);
        Ok(values.filter(|value| value.is_finite()).collect())
    }
}
