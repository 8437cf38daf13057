//! Guard rails: what the example says, what holds where nothing is said, and what is wrong.
use std::time::Duration;

use super::{example, minimal, problems, read};

#[test]
#[cfg_attr(not(feature = "aws"), ignore = "the example names CloudWatch")]
fn the_examples_guard_rails_are_typed() {
    let config = example();
    let shop = &config.services[0];
    assert_eq!((config.rollbacks_at_once, shop.rails.max_per_day), (2, 3));
    assert_eq!(shop.targets[0].min_version.as_ref().map(|minimum| minimum.as_str()), Some("v1.4.2"));
    let frozen = |at: &str| shop.rails.frozen(at.parse().unwrap());
    let weekend = frozen("2026-11-21T12:00:00Z").unwrap();
    assert_eq!(
        (weekend.until.to_string().as_str(), weekend.why.as_str()),
        ("2026-11-23T07:00:00Z", "weekend")
    );
    assert_eq!(frozen("2026-11-23T12:00:00Z"), None);
}

#[test]
fn without_a_word_there_are_limits_and_no_freeze() {
    let config = read(&minimal("", "")).unwrap().config;
    let shop = &config.services[0];
    assert_eq!((config.rollbacks_at_once, shop.rails.max_per_day), (2, 3));
    assert_eq!((shop.rails.cool_down, shop.rails.freezes.len()), (Duration::from_secs(3600), 0));
    assert_eq!(shop.targets[0].min_version, None);
}

#[test]
fn a_version_may_look_like_a_number() {
    let text = minimal("", "").replace("{name: api,", "{name: api, min_version: 1.10,");
    let config = read(&text).unwrap().config;
    let minimum = config.services[0].targets[0].min_version.clone().unwrap();
    assert!(minimum.allows("v1.10.0") && !minimum.allows("1.9"), "1.10 is not 1.1");
}

#[test]
fn mistakes_are_told_with_what_to_write() {
    let of = |service: &str, top: &str| problems(&minimal(service, top));
    let told = of("", "rollbacks_at_once: 0\n");
    assert!(told.contains("rollbacks_at_once: this is no whole number from 1 to 1000"), "{told}");
    let told = of("    max_per_day: many\n", "");
    assert!(told.contains("max_per_day: this is no whole number from 1 to 1000"), "{told}");
    let told = of("    freeze: [{cron: 0 18 * Fri, duration: 62h}]\n", "");
    assert!(told.contains("cron: this is no cron expression of five fields"), "{told}");
    let told = of("    freeze: [{cron: 0 18 * * Fri, duration: 62h, time_zone: Mars/Base}]\n", "");
    assert!(told.contains("time_zone: \"Mars/Base\" is no time zone: write such as Europe/Berlin"), "{told}");
    let text = minimal("", "").replace("{name: api,", "{name: api, min_version: latest,");
    let told = problems(&text.replace("deployment: api", "deploymnt: api"));
    assert!(told.contains("min_version: this is no version that others can be compared with"), "{told}");
}
