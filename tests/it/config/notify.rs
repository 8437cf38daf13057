//! The section `notify`: what contradicts itself, and templates that would fail at night.
use super::{minimal, problems, read};

fn wrong(notify: &str) -> String {
    problems(&minimal("", &format!("notify:\n{notify}")))
}

#[test]
fn slack_is_a_bot_with_a_channel_or_a_webhook() {
    let slack = |keys: &str| wrong(&format!("  slack: {{{keys}}}\n"));
    assert!(slack("").contains("slack: webhook_url or bot_token is missing"), "{}", slack(""));
    let both = "webhook_url_env: SLACK_WEBHOOK_URL, bot_token_env: SLACK_BOT_TOKEN, channel: C1";
    assert!(slack(both).contains("webhook_url and bot_token exclude each other"), "{}", slack(both));
    assert!(slack("bot_token_env: SLACK_BOT_TOKEN").contains("channel is missing"));
    let right = slack("bot_token_env: SLACK_BOT_TOKEN, channel: C1");
    assert!(!right.contains("error"), "{right}");
}

#[test]
fn a_template_is_refused_with_its_place_and_what_was_probably_meant() {
    let text = wrong("  templates:\n    action: \"{{ reson }}\"\n    failed: \"{% if %}\"\n");
    assert!(
        text.contains("error: action: there is no \"reson\", did you mean \"reason\": known are"),
        "{text}"
    );
    assert!(text.contains("error: failed: syntax error"), "{text}");
    let line = |what: &str| text.lines().find(|line| line.contains(what)).unwrap().to_string();
    assert!(line("reson").starts_with("config.yaml:"), "{text}");
}

#[test]
fn repositories_are_named_by_owner_and_name() {
    let text = wrong("  github: {token_env: GITHUB_TOKEN, repositories: {shop: shop, other: a/b/c}}\n");
    assert_eq!(text.matches("write it as OWNER/NAME").count(), 2, "{text}");
}

#[test]
fn a_page_must_reach_somebody() {
    let text = |top: &str| minimal("", top).replace("observe", "page");
    assert!(problems(&text("")).contains("a page about shop reaches nobody"));
    let slack = "notify: {slack: {webhook_url_env: SLACK_WEBHOOK_URL}}\n";
    let webhook = "notify: {webhook: {url_env: HOOK_URL, secret_env: HOOK_SECRET}}\n";
    for top in ["alertmanager: {url: http://alertmanager:9093}\n", slack, webhook] {
        assert!(read(&text(top)).is_ok(), "{top}: {}", problems(&text(top)));
    }
    let silent = "alertmanager: {url: http://alertmanager:9093, page: false}\n";
    assert!(problems(&text(silent)).contains("reaches nobody"));
    let policy_by_default = minimal("", "defaults: {policy: page}\n").replace("    policy: observe\n", "");
    assert!(problems(&policy_by_default).contains("config.yaml:4:20: error: policy: a page about shop"));
}
