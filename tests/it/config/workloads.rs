//! Which workload a target is: exactly one of three kinds.
use rollguard::config::TargetKindConfig;

use super::{example, minimal, problems, read};

fn target(workload: &str) -> String {
    minimal("", "").replace("{deployment: api}", workload)
}

#[test]
#[cfg_attr(not(feature = "aws"), ignore = "the example names CloudWatch")]
fn the_examples_targets_are_one_of_each() {
    let config = example();
    let shop = &config.services[0];
    let argument = |kind: &TargetKindConfig| match kind {
        TargetKindConfig::Kubernetes(workload) => workload.argument(),
        other => other.place(),
    };
    let targets: Vec<String> = shop.targets.iter().map(|target| argument(&target.kind)).collect();
    let expected = [
        "deployment/blockchain-backend -n default",
        "statefulset/ledger -n default",
        "daemonset/collector -n default",
        "the database shop on shop-db.example.com:5432",
        "what a query tells of the database shop on shop-db.example.com:5432",
        "the frontend s3://blockchain-web/app/",
    ];
    assert_eq!(targets, expected);
    assert!(shop.together);
}

#[test]
fn a_target_is_exactly_one_workload() {
    for kind in ["deployment", "statefulset", "daemonset"] {
        assert!(read(&target(&format!("{{{kind}: api}}"))).is_ok(), "{kind}");
    }
    let told = problems(&target("{namespace: shop}"));
    assert!(told.contains(":4:39: error: one of deployment, statefulset, daemonset is missing"), "{told}");
    let told = problems(&target("{deployment: api, statefulset: db}"));
    assert!(told.contains("deployment and statefulset exclude each other: keep one"), "{told}");
    let told = problems(&target("{deploymnt: api}"));
    assert!(told.contains("did you mean \"deployment\""), "{told}");
}

#[test]
fn a_stateful_set_may_have_the_name_of_a_deployment() {
    let two = |second: &str| {
        let targets = format!("{{deployment: api}}}}, {{name: other, kubernetes: {second}");
        problems(&target(&targets))
    };
    assert!(!two("{statefulset: api}").contains("error"), "{}", two("{statefulset: api}"));
    let told = two("{deployment: api}");
    assert!(told.contains("the Deployment default/api is a target already"), "{told}");
}

/// The target of [`target`] as a frontend.
#[cfg(feature = "aws")]
fn frontend(fields: &str) -> String {
    minimal("", "").replace("kubernetes: {deployment: api}", &format!("frontend: {fields}"))
}

#[cfg(feature = "aws")]
#[test]
fn a_frontend_lies_below_a_prefix_and_its_mistakes_are_told() {
    let read =
        read(&frontend("{bucket: web, region: eu-central-1, prefix: /app, url: 'https://shop/x'}")).unwrap();
    let read = read.config;
    let frontend_of = read.services[0].targets[0].kind.frontend().unwrap();
    assert_eq!(frontend_of.site.place(), "s3://web/app/");
    assert_eq!(frontend_of.site.entry_keys(), ["app/index.html"]);
    assert_eq!(frontend_of.url.as_ref().unwrap().as_str(), "https://shop/x/");
    let checks: Vec<&str> = read.services[0].checks.iter().map(|check| check.name.as_str()).collect();
    assert!(checks.contains(&"frontend served") && !checks.contains(&"pods ready"), "{checks:?}");
    for (fields, told) in [
        ("{region: eu-central-1}", "bucket is missing"),
        ("{bucket: web}", "region is missing"),
        ("{bucket: web, region: eu-central-1, ignore: ['*']}", "ignore: this would match every object"),
        ("{bucket: web, region: eu-central-1, invalidate: [app]}", "is no path: it begins with /"),
        ("{bucket: web, region: eu-central-1, distributon: E1}", "did you mean \"distribution\""),
    ] {
        let problems = problems(&frontend(fields));
        assert!(problems.contains(told), "{fields}: {problems}");
    }
}
