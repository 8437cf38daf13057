//! Slack by a bot's token: one thread per incident, its first message kept up to date, buttons where somebody is asked.
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::Client;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::super::pace::Pace;
use super::api::{Api, Failed};
use super::blocks;
use super::thread::{Next, Note, Posted, Thread, line_of, still_asked};
use crate::adapters::endpoint::{Endpoint, EndpointError};
use crate::domain::markup;
use crate::domain::message::wording::Markup;
use crate::domain::message::{Ask, Message, MessageKind, Spoken, Wording};
use crate::ports::{Delivered, Notifier, NotifyError};

/// Slack takes about one message a second for each channel.
pub const PACE: Duration = Duration::from_secs(1);
/// What happened since, in the first message: the thread has all of it.
const LINES_SINCE: usize = 8;
/// Messages looked through for one of which it is not known whether it arrived.
const LOOKED_THROUGH: &str = "30";
const UNSURE_MAX: usize = 1_000;
const EVENT: &str = "rollguard_message";

#[derive(Debug)]
pub struct SlackBotConfig {
    /// Base of the Web API: `https://slack.com/api`.
    pub url: String,
    pub token: SecretString,
    /// Slack's id of the channel, or its name.
    pub place: String,
    pub pace: Duration,
}

/// One channel that the bot is a member of.
#[derive(Debug)]
pub struct SlackBot {
    api: Api,
    place: String,
    wording: Arc<Wording>,
    /// Messages whose answer was lost: they are looked for before they are sent once more.
    unsure: Mutex<BTreeSet<String>>,
}

impl SlackBot {
    /// `channel` is the name in our configuration; `client` must not follow redirects.
    ///
    /// # Errors
    /// When the URL is no http(s) URL.
    pub fn new(
        channel: &str,
        config: SlackBotConfig,
        wording: Arc<Wording>,
        client: Client,
    ) -> Result<Self, EndpointError> {
        let base = Endpoint::parse(&config.url)?;
        let pace = Pace::new(config.pace);
        let api = Api { channel: channel.to_string(), base, token: config.token, client, pace };
        Ok(Self { api, place: config.place, wording, unsure: Mutex::default() })
    }

    async fn post(&self, message: &Message, root: Option<&Posted>, now: Timestamp) -> Result<Note, Failed> {
        if self.unsure().contains(&message.key)
            && let Some(found) = self.find(message, root, now).await
        {
            self.unsure().remove(&message.key);
            return Ok(posted(message, root, &found));
        }
        let ask = message.facts.as_ref().and_then(|facts| facts.ask.as_ref());
        let mut body = self.body(message, self.wording.say(message, Markup::Slack), ask);
        let place = root.map_or(self.place.as_str(), |root| root.channel.as_str());
        body["channel"] = place.into();
        body["unfurl_links"] = false.into();
        body["metadata"] = json!({"event_type": EVENT, "event_payload": {"key": message.key}});
        if let Some(root) = root {
            body["thread_ts"] = root.ts.as_str().into();
            // Whoever does not follow the thread must still see that somebody is needed.
            body["reply_broadcast"] = message.kind.pages().into();
        }
        let sent = self.api.post("chat.postMessage", &body, now).await;
        if let Err(Failed::Lost(NotifyError::Retry { after: None, .. })) = &sent {
            let mut unsure = self.unsure();
            if unsure.len() < UNSURE_MAX {
                unsure.insert(message.key.clone());
            }
        }
        let answer = sent?;
        self.unsure().remove(&message.key);
        Ok(posted(message, root, &answer))
    }

    /// Looks for a message that may have arrived. Without the scope for it (`channels:history`) it is sent once more.
    async fn find(&self, message: &Message, root: Option<&Posted>, now: Timestamp) -> Option<Value> {
        let place = root.map_or(self.place.clone(), |root| root.channel.clone());
        let all = [
            ("channel", place.clone()),
            ("limit", LOOKED_THROUGH.into()),
            ("include_all_metadata", "true".into()),
        ];
        let (method, query) = match root {
            Some(root) => ("conversations.replies", [all.to_vec(), vec![("ts", root.ts.clone())]].concat()),
            None => ("conversations.history", all.to_vec()),
        };
        let answer = self.api.get(method, query, now).await.ok()?;
        let ours = |said: &&Value| said["metadata"]["event_payload"]["key"] == message.key.as_str();
        let found = answer["messages"].as_array()?.iter().find(ours)?;
        Some(json!({"channel": place, "ts": found["ts"]}))
    }

    async fn edit(
        &self,
        message: &Message,
        (thread, post, original): (&Thread, &Posted, &Message),
        now: Timestamp,
    ) -> Result<Note, Failed> {
        let line = line_of(message, now);
        let ask = still_asked(original, message);
        let spoken = self.since(thread, post, original, &line);
        let mut body = self.body(original, spoken, ask);
        body["channel"] = post.channel.as_str().into();
        body["ts"] = post.ts.as_str().into();
        let note =
            Note::Edited { key: message.key.clone(), ts: post.ts.clone(), last: !thread.is_root(post), line };
        match self.api.post("chat.update", &body, now).await {
            Ok(_) => Ok(note),
            // Somebody deleted it, or Slack lets nobody edit it any more: the thread says the same.
            Err(Failed::Said(word))
                if ["message_not_found", "cant_update_message", "edit_window_closed"]
                    .contains(&word.as_str()) =>
            {
                Ok(note)
            }
            Err(failed) => Err(failed),
        }
    }

    /// A message with what happened since, the latest first.
    fn since(&self, thread: &Thread, post: &Posted, original: &Message, latest: &str) -> Spoken {
        let mut spoken = self.wording.say(original, Markup::Slack);
        let mut lines: Vec<String> = thread.since(post).map(markup::slack).collect();
        let dropped = lines.len().saturating_sub(LINES_SINCE - 1);
        lines.drain(..dropped);
        lines.push(format!("*{}*", markup::slack(latest)));
        lines.reverse();
        lines.append(&mut spoken.lines);
        Spoken { lines, ..spoken }
    }

    fn body(&self, message: &Message, spoken: Spoken, ask: Option<&Ask>) -> Value {
        let links = blocks::links(&self.wording.links(message));
        blocks::body(&spoken, links.into_iter().chain(ask.map(blocks::buttons)).collect())
    }

    fn unsure(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.unsure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Only what is edited later is kept whole.
fn posted(message: &Message, root: Option<&Posted>, answer: &Value) -> Note {
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_string();
    let asks = message.facts.as_ref().is_some_and(|facts| facts.ask.is_some());
    Note::Posted(Posted {
        key: message.key.clone(),
        channel: text("channel"),
        ts: text("ts"),
        message: (root.is_none() || asks).then(|| Box::new(message.clone())),
    })
}

#[async_trait]
impl Notifier for SlackBot {
    fn channel(&self) -> &str {
        &self.api.channel
    }

    /// The end of a page is no message here, but changes the first one.
    fn wants(&self, message: &Message) -> bool {
        message.kind != MessageKind::Trace
    }

    async fn deliver(&self, message: &Message, now: Timestamp) -> Result<Delivered, NotifyError> {
        self.deliver_noted(message, &[], now).await
    }

    fn keeps_notes(&self) -> bool {
        true
    }

    async fn deliver_noted(
        &self,
        message: &Message,
        notes: &[String],
        now: Timestamp,
    ) -> Result<Delivered, NotifyError> {
        let thread = Thread::of(notes);
        let done = match thread.next(message) {
            Next::Nothing => return Ok(Delivered::Once),
            Next::Post { root } => self.post(message, root, now).await,
            Next::Edit { post, original } => self.edit(message, (&thread, post, original), now).await,
        };
        let note = done.map_err(|failed| self.api.verdict(failed))?;
        let text = serde_json::to_string(&note)
            .map_err(|e| NotifyError::Refused { channel: self.api.channel.clone(), why: e.to_string() })?;
        Ok(Delivered::Noted(text))
    }
}
