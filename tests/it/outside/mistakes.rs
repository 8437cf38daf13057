//! What a configuration has wrong about checks from outside, told with line and column.
use std::path::Path;

use rollguard::config::{Severity, parse};

use super::{configured, env, load};

/// Errors and warnings, as `rollguard check` lists them.
fn problems(section: &str, check: &str) -> String {
    let text = configured(section, check);
    let lines = match parse(&text, "config.yaml", Path::new(""), &env) {
        Ok(loaded) => loaded.warnings,
        Err(error) => error.problems,
    };
    lines.iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn mistakes_in_journeys_are_told() {
    insta::assert_snapshot!(problems("rules", include_str!("journey.yaml")));
}

#[test]
fn mistakes_in_what_is_expected_are_told() {
    let check = r#"        http:
          url: http://shop/health
          status: [200, ok, 2xy]
          text: [healthy, 5]
          matches: "a("
          json: [{pointer: status, equals: 1}, {pointer: /a}, {pointer: /b, equals: 1, matches: x}]
          header: {name: x-id}
          within: 5s
"#;
    insta::assert_snapshot!(problems("checks", check));
    for (tls, wrong) in [
        ("{url: \"http://shop\"}", "url: only https:// shows a certificate"),
        ("{valid_for: 2w}", "url is missing"),
        ("{url: \"https://shop\", every: 1m}", "unknown key \"every\""),
    ] {
        let told = problems("rules", &format!("        tls: {tls}\n"));
        assert!(told.contains(wrong), "{told}");
    }
    let seldom = problems("rules", "        http: {url: \"http://shop\", every: 3m, failing_for: 10m}\n");
    assert!(seldom.contains("every: longer than judging.blind_after"), "{seldom}");
}

#[test]
fn one_of_everything_may_stand_alone_or_in_a_list() {
    let one = "        http: {url: \"http://shop\", status: 2xx, text: a, matches: b, json: {pointer: /c, equals: 1}}\n";
    let list = "        http: {url: \"http://shop\", status: [2xx], text: [a], matches: [b], json: [{pointer: /c, equals: 1}]}\n";
    let checks = |text| load("checks", text).config.services[0].checks.clone();
    assert_eq!(checks(one), checks(list));
}

#[test]
fn no_mistake_shows_a_secret() {
    for secrets in
        ["password: sesame-open", "password_env: \"sesame open\"", "Password: sesame", "\"sesame!\": x"]
    {
        let journey = format!(
            "        journey: {{secrets: {{{secrets}}}, steps: [{{url: \"http://shop/${{password}}\", within: 1m}}]}}\n"
        );
        let text = configured("rules", &journey);
        let error = parse(&text, "config.yaml", Path::new(""), &env).unwrap_err();
        assert!(error.problems.iter().any(|p| p.severity == Severity::Error));
        assert!(!format!("{error} {error:?}").contains("sesame"), "{error}");
    }
}
