//! Announcements in the user's own words: the runbook's texts, what is wrong with a template, and what cannot take effect.
use std::sync::Arc;

use rollguard::domain::message::Wording;
use rollguard::domain::message::wording::{Markup, Occasion, Template, sample};

use super::world::story;
use crate::messages::{all_passed, executed, opened, verified};

const ACTION: &str = "\
[ACTION] Initiating Rollback - Backend Deployment

Reason: {{ reason }}
Target: Rollback to version {{ to }} (previous stable)
Impact: {{ impact }}
Executor: {{ executor }}
Time: Starting immediately
{% if status_page %}

Status page updated: {{ status_page }}
{% endif %}
";

const COMPLETE: &str = "\
[COMPLETE] Rollback Successful

Rollback completed: {{ time }} UTC
Duration: {{ duration }}
Current version: {{ to }} (stable)

Verification:
{% for check in checks %}
{{ check.mark }} {{ check.name }}: {{ check.detail }}
{% endfor %}

Monitoring for {{ monitoring }}. Post-incident review scheduled.
";

fn template(source: &str, occasion: Occasion) -> Option<Template> {
    Some(Template::parse(source, occasion).unwrap_or_else(|error| panic!("{error}")))
}

#[test]
fn the_runbooks_texts_are_templates() {
    let wording = Wording {
        action: template(ACTION, Occasion::Action),
        complete: template(COMPLETE, Occasion::Complete),
        ..Wording::default()
    };
    let all = story(opened(), [executed(), all_passed(), vec![verified(true)]].concat());
    let said = |message| {
        let spoken = wording.say(message, Markup::Plain);
        format!("{}\n{}", spoken.title, spoken.lines.join("\n"))
    };
    insta::assert_snapshot!(all.iter().map(said).collect::<Vec<_>>().join("\n\n──\n"));
}

#[test]
fn what_is_wrong_with_a_template_is_said() {
    let wrong = |source: &str| match Template::parse(source, Occasion::Action) {
        Ok(template) => panic!("{template:?} is right"),
        Err(error) => error.to_string(),
    };
    assert!(wrong("{{ reson }}").contains("\"reson\", did you mean \"reason\": known are"));
    assert!(wrong("line\n{% if reason %}").contains("syntax error"), "{}", wrong("line\n{% if reason %}"));
    assert!(
        wrong("line\n{{ checks[0].nmae }}").contains("line 2"),
        "{}",
        wrong("line\n{{ checks[0].nmae }}")
    );
    assert!(wrong("{{ reason | shout }}").contains("unknown filter"));
    assert_eq!(wrong("  {# nothing #}\n"), "it renders to nothing");
    assert!(wrong(&"x".repeat(20_000)).contains("longer than 16 KiB"));
}

#[test]
fn values_take_no_effect_and_the_users_own_text_does() {
    let source = "<!subteam^S1> {{ reason }} {{ checks[0].detail }}";
    let own = Wording { action: template(source, Occasion::Action), ..Wording::default() };
    let mut message = sample(Occasion::Action);
    let facts = message.facts.as_mut().unwrap();
    facts.reason = "<!channel> & <https://evil|here> {{ run }}".into();
    facts.checks[0].detail = "{% raw %}<@U1>".into();
    let said = own.say(&message, Markup::Slack).title;
    let harmless = "&lt;!channel&gt; &amp; &lt;https://evil|here&gt; {{ run }} {% raw %}&lt;@U1&gt;";
    assert_eq!(said, format!("<!subteam^S1> {harmless}"));
    let ours = Wording::default().say(&message, Markup::Slack);
    assert!(!ours.lines.join("\n").contains('<'), "{ours:?}");
}

#[test]
fn a_template_that_fails_for_a_message_is_replaced_by_our_words() {
    let own = Wording { action: template("{{ checks[1].name }}", Occasion::Action), ..Wording::default() };
    let mut message = sample(Occasion::Action);
    message.facts.as_mut().unwrap().checks.clear();
    assert_eq!(own.say(&message, Markup::Plain).title, message.title);
    let quiet = Arc::new(own);
    assert!(quiet.links(&message).is_empty(), "nobody can be sent where nobody gets");
}
