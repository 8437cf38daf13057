//! The moto server, which stands in for AWS.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::binary;
use super::process::{Process, free_port};

/// A running moto with nothing in it; dropping it kills it.
pub(crate) struct Moto {
    url: String,
    http: reqwest::Client,
    process: Process,
    _dir: TempDir,
}

impl Moto {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = Command::new(binary("moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let mut process = Process::start(dir.path(), &command);
        let url = format!("http://127.0.0.1:{port}");
        process.ready(&format!("{url}/moto-api/")).await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { url, http, process, _dir: dir }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn stop(&mut self) {
        self.process.kill();
    }

    /// One datapoint of the load balancer `shop`, at this second.
    pub(crate) async fn put(&self, metric: &str, second: i64, value: f64) {
        self.put_many(&[(metric, second, value)]).await;
    }

    pub(crate) async fn put_many(&self, points: &[(&str, i64, f64)]) {
        let datum = |(metric, second, value): &(&str, i64, f64)| {
            let dimensions = json!([{ "Name": "LoadBalancer", "Value": "app/shop/1" }]);
            json!({ "MetricName": metric, "Dimensions": dimensions, "Timestamp": second, "Value": value })
        };
        for some in points.chunks(500) {
            let data: Vec<Value> = some.iter().map(datum).collect();
            self.order("PutMetricData", json!({ "Namespace": "AWS/ApplicationELB", "MetricData": data }))
                .await;
        }
    }

    /// Makes the alarm if it is not there.
    pub(crate) async fn set_alarm(&self, name: &str, state: &str) {
        let alarm = json!({
            "AlarmName": name, "Namespace": "AWS/ApplicationELB", "MetricName": "RequestCount", "Statistic": "Sum",
            "Period": 60, "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold",
        });
        self.order("PutMetricAlarm", alarm).await;
        let state = json!({ "AlarmName": name, "StateValue": state, "StateReason": "the test" });
        self.order("SetAlarmState", state).await;
    }

    /// An operation of ECR, and its answer.
    pub(crate) async fn ecr(&self, operation: &str, body: Value) -> Value {
        let target = format!("AmazonEC2ContainerRegistry_V20150921.{operation}");
        let request = self.http.post(&self.url).headers(signed("ecr", target)).body(body.to_string());
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{operation}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// A CloudFront distribution.
    pub(crate) async fn distribution(&self) -> String {
        let origin = "<Items><Origin><Id>o</Id><DomainName>shop.s3.amazonaws.com</DomainName>\
                      <S3OriginConfig><OriginAccessIdentity></OriginAccessIdentity></S3OriginConfig></Origin></Items>";
        let body = format!(
            "<DistributionConfig><CallerReference>test</CallerReference><Origins><Quantity>1</Quantity>{origin}</Origins>\
             <DefaultCacheBehavior><TargetOriginId>o</TargetOriginId><ViewerProtocolPolicy>allow-all</ViewerProtocolPolicy>\
             </DefaultCacheBehavior><Comment></Comment><Enabled>true</Enabled></DistributionConfig>"
        );
        let request = self.http.post(format!("{}/2020-05-31/distribution", self.url));
        let scope = "Credential=test/20261122/eu-central-1/cloudfront/aws4_request";
        let signed = format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=none");
        let answer = request.header("authorization", signed).body(body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{text}");
        let id = text.split_once("<Id>").and_then(|(_, rest)| rest.split_once("</Id>"));
        id.unwrap_or_else(|| panic!("{text}")).0.to_owned()
    }

    async fn order(&self, operation: &str, body: Value) {
        let request = self.http.post(&self.url).headers(headers(operation)).body(body.to_string());
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{operation}: {}", answer.text().await.unwrap());
    }
}

/// Of the older JSON protocol of CloudWatch, which is the one that moto understands.
pub(crate) fn headers(operation: &str) -> reqwest::header::HeaderMap {
    signed("monitoring", format!("GraniteServiceVersion20100801.{operation}"))
}

/// moto tells its services apart by what a request is signed for.
fn signed(service: &str, target: String) -> reqwest::header::HeaderMap {
    let scope = format!("Credential=test/20261122/eu-central-1/{service}/aws4_request");
    let pairs = [
        ("x-amz-target", target),
        ("content-type", "application/x-amz-json-1.0".to_owned()),
        ("authorization", format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=none")),
    ];
    let header = |(name, value): (&str, String)| (name.parse().unwrap(), value.parse().unwrap());
    pairs.map(header).into_iter().collect()
}
