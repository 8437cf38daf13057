//! Plain values: per pod, and of what belongs to no pod.
use super::*;
use rollguard::adapters::signals::Query;
use rollguard::adapters::signals::values::ValueQuery;
use rollguard::config::Combine;

fn value(service: &str, name: &str, combine: Combine, rate: Option<u64>, pods: bool) -> SourceRule {
    let (series, rate) = ("jobs".parse().unwrap(), rate.map(Duration::from_secs));
    SourceRule {
        service: service.to_string().try_into().unwrap(),
        rule: name.to_string().try_into().unwrap(),
        query: Query::Value(ValueQuery { series, combine, rate, pods }),
    }
}

fn plain(pod: &str, value: &str) -> Value {
    json!({"metric": {"namespace": "shop", "pod": pod}, "value": [1700000001.5, value]})
}

#[tokio::test]
async fn one_query_reads_the_values_of_all_pods() {
    let fake = Fake::answering(|_| {
        vector(json!([
            plain("web-1", "2.5"),
            plain("web-2", "NaN"),
            plain("web-3", "+Inf"),
            plain("pay-1", "-7"),
            plain("web-admin-1", "999"),
        ]))
    })
    .await;
    let jobs = |service| value(service, "jobs", Combine::Mean, Some(60), true);
    let source = source(&fake.url, vec![jobs("shop"), jobs("pay")]);
    let web = ["web-1", "web-2", "web-3", "web-4"].map(|name| pod(name, None)).to_vec();
    let asking = ask(vec![
        ("shop/web", web),
        ("shop/api", vec![pod("api-1", None)]),
        ("pay/pay", vec![pod("pay-1", None)]),
    ]);
    let samples = soon(source.read(&asking)).await;
    let expected = ["pay/pay pay-1 jobs -7", "shop/api - jobs: no series", "shop/web web-1 jobs 2.5"];
    assert_eq!(lines(&samples), expected);
    let asked = fake.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        asked[0].query(),
        r#"avg by (namespace,pod) (rate(jobs{namespace=~"shop",pod=~"(?:api-|pay-|web-).*"}[60s]))"#
    );
}

#[tokio::test]
async fn what_belongs_to_no_pod_is_read_for_every_target() {
    let fake = Fake::answering(|asked| match asked.query() {
        "max(jobs)" => vector(json!([{"metric": {}, "value": [1700000001.5, "3"]}])),
        _ => vector(json!([{"metric": {}, "value": [1700000001.5, "NaN"]}])),
    })
    .await;
    let rules = vec![
        value("shop", "jobs", Combine::Max, None, false),
        value("shop", "growth", Combine::Min, Some(60), false),
    ];
    let source = source(&fake.url, rules);
    let asking = ask(vec![("shop/web", vec![pod("web-1", None)]), ("shop/unplaced", vec![])]);
    let samples = soon(source.read(&asking)).await;
    let expected = [
        "shop/unplaced - growth: no series",
        "shop/unplaced - jobs 3",
        "shop/web - growth: no series",
        "shop/web - jobs 3",
    ];
    assert_eq!(lines(&samples), expected);
    let queries: Vec<String> = fake.asked().iter().map(|asked| asked.query().to_string()).collect();
    assert!(queries.contains(&"min(rate(jobs[60s]))".to_string()), "{queries:?}");
}

#[tokio::test]
async fn the_level_before_is_the_mean_of_the_pods() {
    let fake = Fake::answering(|_| {
        let values = json!([[1700000000, "4"], [1700000015, "NaN"], [1700000030, "6"]]);
        let result = json!([{"metric": {}, "values": values}]);
        let answer = json!({"status": "success", "data": {"resultType": "matrix", "result": result}});
        (StatusCode::OK, answer.to_string())
    })
    .await;
    let rules = vec![
        value("shop", "jobs", Combine::Max, None, true),
        value("shop", "beside", Combine::Sum, None, false),
    ];
    let past = soon(past_of(&source(&fake.url, rules))).await;
    let of = |name: &str| past.values[name].clone();
    assert_eq!((of("jobs"), of("beside")), (vec![4.0, 6.0], vec![4.0, 6.0]));
    let asked = fake.asked();
    assert!(asked[0].query().starts_with("avg(max by (namespace,pod) (jobs{"), "{}", asked[0].query());
    assert_eq!((asked[1].query(), asked[1].field("step")), ("sum(jobs)", Some("15")));
}
