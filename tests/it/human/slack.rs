//! Slack by a bot: one thread per incident, kept up to date over restarts, rate limits and answers that are lost.
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollguard::adapters::notify::slack::bot::{SlackBot, SlackBotConfig};
use rollguard::domain::button::{Button, Press};
use rollguard::domain::event::RunEvent;
use rollguard::domain::evidence::Cause;
use rollguard::domain::message::{Message, Wording, of_target};
use rollguard::domain::policy::Decision;
use rollguard::ports::{Notifier, NotifyError};
use serde_json::{Value, json};

use super::world::{Asked, Mood, Office, SECRET, Server, secret, story};
use crate::messages::{
    all_passed, approved, asking, at, decided, ended, executed, opened, paging, verified, version, watched,
};
use crate::recorder::{client, nobody};

/// Messages as Slack holds them.
type Held = Arc<Mutex<Vec<Value>>>;

/// Slack's Web API as far as we use it: channel names become ids, edits need an id.
async fn slack() -> (Server, Held) {
    let held = Held::default();
    let store = held.clone();
    let server = Server::start(move |asked| (200, answer(&mut store.lock().unwrap(), asked))).await;
    (server, held)
}

fn answer(held: &mut Vec<Value>, asked: &Asked) -> Value {
    if asked.authorization != format!("Bearer {SECRET}") {
        return json!({"ok": false, "error": "invalid_auth"});
    }
    match asked.path.as_str() {
        "/api/chat.postMessage" => {
            let ts = format!("1795341600.{:06}", held.len() + 1);
            let mut message = asked.body.clone();
            message["ts"] = json!(ts);
            held.push(message);
            json!({"ok": true, "channel": "C1", "ts": ts})
        }
        "/api/chat.update" => {
            let wanted = |held: &&mut Value| held["ts"] == asked.body["ts"] && asked.body["channel"] == "C1";
            let Some(message) = held.iter_mut().find(wanted) else {
                return json!({"ok": false, "error": "message_not_found"});
            };
            message["text"] = asked.body["text"].clone();
            message["blocks"] = asked.body["blocks"].clone();
            json!({"ok": true, "channel": "C1", "ts": asked.body["ts"]})
        }
        "/api/conversations.history" | "/api/conversations.replies" => json!({"ok": true, "messages": held}),
        _ => json!({"ok": false, "error": "unknown_method"}),
    }
}

fn bot(url: &str) -> Arc<SlackBot> {
    let config = SlackBotConfig {
        url: format!("{url}/api"),
        token: secret(),
        place: "deployments".into(),
        pace: Duration::ZERO,
    };
    let wording =
        Wording { external_url: Some("https://rollguard.example.com".into()), ..Wording::default() };
    Arc::new(SlackBot::new("slack", config, Arc::new(wording), client()).unwrap())
}

/// Each message as a person sees it, replies indented.
fn seen(held: &Held) -> String {
    let mut text = String::new();
    for message in held.lock().unwrap().iter() {
        let mut shown = String::new();
        for block in message["blocks"].as_array().unwrap() {
            match block["type"].as_str().unwrap() {
                "section" => writeln!(shown, "{}", block["text"]["text"].as_str().unwrap()).unwrap(),
                "context" => writeln!(shown, "{}", block["elements"][0]["text"].as_str().unwrap()).unwrap(),
                _ => {
                    for button in block["elements"].as_array().unwrap() {
                        writeln!(shown, "[{}] {}", button["text"]["text"].as_str().unwrap(), button["value"])
                            .unwrap();
                    }
                }
            }
        }
        let indent = if message["thread_ts"].is_null() { "" } else { "    " };
        let broadcast = if message["reply_broadcast"] == true { " (also in the channel)" } else { "" };
        writeln!(text, "{indent}──{broadcast}").unwrap();
        shown.lines().for_each(|line| writeln!(text, "{indent}{line}").unwrap());
    }
    text
}

fn buttons(message: &Value) -> Vec<Button> {
    let blocks = message["blocks"].as_array().unwrap().iter();
    let elements = blocks.filter(|b| b["type"] == "actions").flat_map(|b| b["elements"].as_array().unwrap());
    let text = |button: &Value, key: &str| button[key].as_str().unwrap().to_string();
    elements.map(|b| Button::parse(&text(b, "action_id"), &text(b, "value")).unwrap()).collect()
}

async fn told(messages: Vec<Message>) -> (Server, Held) {
    let (server, held) = slack().await;
    let office = Office::new();
    let life = office.begin(bot(&server.url)).await;
    life.enqueue(messages).await;
    assert_eq!(life.deliver(3).await, 0);
    (server, held)
}

#[tokio::test]
async fn a_rollback_is_one_thread_whose_first_message_says_how_it_stands() {
    let end = ended(true, "nothing is wrong on 12345 requests of the new pods");
    let events = [executed(), all_passed(), vec![verified(true), end]].concat();
    let (server, held) = told(story(opened(), events)).await;
    insta::assert_snapshot!(seen(&held));
    let first = &server.asked()[0];
    assert_eq!(
        (first.path.as_str(), &first.body["channel"]),
        ("/api/chat.postMessage", &json!("deployments"))
    );
    assert!(first.body["text"].as_str().unwrap().starts_with("[ACTION]"));
}

#[tokio::test]
async fn a_question_has_buttons_until_it_is_answered() {
    let (_, held) = told(story(asking(), vec![])).await;
    let asked = buttons(&held.lock().unwrap()[0]);
    let expected = |press| Button { press, run: asking().run, digest: asking().digest };
    assert_eq!(asked, Press::ALL.map(expected));
    let (_, held) = told(story(asking(), vec![approved()])).await;
    insta::assert_snapshot!(seen(&held));
    let denied = RunEvent::Denied { by: "bob".into(), reason: "the fix is <!here> on its way".into() };
    let (_, held) = told(story(asking(), vec![denied])).await;
    let text = seen(&held);
    assert!(held.lock().unwrap().iter().all(|message| buttons(message).is_empty()), "{text}");
    assert!(text.contains("Denied by bob: the fix is &lt;!here&gt; on its way"), "{text}");
}

#[tokio::test]
async fn a_question_after_a_page_is_asked_in_its_thread_and_in_the_channel() {
    let page =
        of_target(&paging(Cause::Unknown, decided(Decision::Page, &[])), &watched(Some(version("v1")), None));
    let mut question = story(asking(), vec![approved()]);
    question.iter_mut().for_each(|message| message.incident = page[0].incident.clone());
    let (_, held) = told([page, question].concat()).await;
    let held = held.lock().unwrap();
    assert_eq!(held[1]["reply_broadcast"], true);
    assert!(held.iter().skip(1).all(|message| message["thread_ts"] == held[0]["ts"]));
    assert!(buttons(&held[1]).is_empty(), "answered: {}", held[1]);
    assert!(held[1]["text"].as_str().unwrap().contains("approved by bob"), "{}", held[1]["text"]);
}

#[tokio::test]
async fn another_life_goes_on_in_the_same_thread() {
    let (server, held) = slack().await;
    let (office, all) = (Office::new(), story(asking(), [vec![approved()], executed()].concat()));
    let (before, after) = all.split_at(1);
    let life = office.begin(bot(&server.url)).await;
    life.enqueue(before.to_vec()).await;
    assert_eq!(life.deliver(1).await, 0);
    let life = office.begin(bot(&server.url)).await;
    life.enqueue(after.to_vec()).await;
    assert_eq!(life.deliver(1).await, 0);
    let held = held.lock().unwrap();
    assert_eq!(held.len(), 2);
    assert_eq!(held[1]["thread_ts"], held[0]["ts"]);
    assert!(held[0]["text"].as_str().unwrap().contains("bob approved"), "{}", held[0]["text"]);
}

#[tokio::test]
async fn nothing_is_said_twice_when_an_answer_is_lost() {
    let (server, held) = slack().await;
    let office = Office::new();
    let life = office.begin(bot(&server.url)).await;
    server.then([Mood::LoseAnswer]);
    life.enqueue(story(opened(), executed())).await;
    assert_eq!(life.deliver(3).await, 0);
    assert_eq!(held.lock().unwrap().len(), 1, "{}", seen(&held));
    assert!(server.asked().iter().any(|asked| asked.path.ends_with("conversations.history")));
}

#[tokio::test]
async fn a_limit_is_waited_for_and_a_slack_that_is_down_tried_again() {
    let (server, held) = slack().await;
    let office = Office::new();
    let life = office.begin(bot(&server.url)).await;
    server.then([
        Mood::Refuse(429, "30", json!({"ok": false, "error": "ratelimited"}).to_string()),
        Mood::Refuse(200, "", json!({"ok": false, "error": "internal_error"}).to_string()),
        Mood::Refuse(503, "", String::new()),
    ]);
    life.enqueue(story(opened(), vec![])).await;
    assert_eq!(life.deliver(1).await, 1, "it is not asked again before its time");
    assert_eq!(server.asked().len(), 1);
    assert_eq!(life.deliver(8).await, 0);
    assert_eq!(held.lock().unwrap().len(), 1);
    let down = bot(&nobody()).deliver(&story(opened(), vec![])[0], at(0)).await;
    assert!(matches!(down, Err(NotifyError::Retry { .. })), "{down:?}");
}

#[tokio::test]
async fn an_error_in_an_answer_of_status_200_is_one_and_says_what_to_do() {
    let (server, _) = slack().await;
    let message = &story(opened(), vec![])[0];
    for (word, advice) in [("not_in_channel", "/invite"), ("invalid_auth", "bot_token"), ("msg_too_long", "")]
    {
        server.then([Mood::Refuse(200, "", json!({"ok": false, "error": word}).to_string())]);
        let error = bot(&server.url).deliver(message, at(0)).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(matches!(error, NotifyError::Refused { .. }), "{text}");
        assert!(text.contains(word) && text.contains(advice) && !text.contains(SECRET), "{text}");
    }
}

#[tokio::test]
async fn a_first_message_that_somebody_deleted_holds_up_nothing() {
    let (server, held) = slack().await;
    let (office, all) =
        (Office::new(), story(opened(), [executed(), all_passed(), vec![verified(true)]].concat()));
    let life = office.begin(bot(&server.url)).await;
    life.enqueue(all[..1].to_vec()).await;
    assert_eq!(life.deliver(1).await, 0);
    held.lock().unwrap().clear();
    life.enqueue(all[1..].to_vec()).await;
    assert_eq!(life.deliver(2).await, 0);
    assert_eq!(held.lock().unwrap().len(), 1, "{}", seen(&held));
}
