//! Slack's incoming webhook: the message as blocks, with everything in it escaped.
use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::post::{Post, final_answer, reason};
use crate::adapters::endpoint::{Endpoint, EndpointError};
use crate::domain::markup::slack_within;
use crate::domain::message::{Message, MessageKind};
use crate::ports::{Delivered, Notifier, NotifyError};

/// Slack's limits: characters in one section, and blocks in one message.
const SECTION_CHARS: usize = 3000;
const BLOCKS: usize = 50;
const CUT: &str = " … (cut here)";

/// One incoming webhook, that is: one Slack channel.
#[derive(Debug)]
pub struct Slack {
    channel: String,
    url: Endpoint,
    client: Client,
}

impl Slack {
    /// `channel` is the name in our configuration; `client` must not follow redirects.
    ///
    /// # Errors
    /// When `url` is no http(s) URL.
    pub fn new(channel: &str, url: &SecretString, client: Client) -> Result<Self, EndpointError> {
        Ok(Self { channel: channel.to_string(), url: Endpoint::parse(url.expose_secret())?, client })
    }
}

#[async_trait]
impl Notifier for Slack {
    fn channel(&self) -> &str {
        &self.channel
    }

    /// The end of a page is for pagers: in the channel, the message that ended it stands beside it.
    fn wants(&self, message: &Message) -> bool {
        match message.kind {
            MessageKind::Action
            | MessageKind::Complete
            | MessageKind::Failed
            | MessageKind::Page
            | MessageKind::Ask
            | MessageKind::Note => true,
            MessageKind::Resolve | MessageKind::Trace => false,
        }
    }

    async fn deliver(&self, message: &Message, now: Timestamp) -> Result<Delivered, NotifyError> {
        let request = self.client.post(self.url.url()).json(&body(message));
        let response = Post { channel: &self.channel, request, now }.send(final_answer).await?;
        let status = response.status();
        match reason(response).await.as_deref() {
            Some("ok") if status == StatusCode::OK => Ok(Delivered::Once),
            said => Err(NotifyError::Refused {
                channel: self.channel.clone(),
                why: format!(
                    "HTTP {} without Slack's `ok`{}: check that the URL is an incoming webhook",
                    status.as_u16(),
                    said.map(|word| format!(" ({word})")).unwrap_or_default()
                ),
            }),
        }
    }
}

fn body(message: &Message) -> Value {
    let first = message.lines.first().map_or(String::new(), |line| format!("\n{line}"));
    let text = escape(&format!("{}{first}", message.title), SECTION_CHARS);
    let title = format!("*{}*", escape(&message.title, SECTION_CHARS - 2));
    let mut blocks = vec![section(&title)];
    let sections = sections(&message.lines);
    let room = BLOCKS - 1;
    if sections.len() <= room {
        blocks.extend(sections.iter().map(|s| section(s)));
    } else {
        blocks.extend(sections.iter().take(room - 1).map(|s| section(s)));
        blocks.push(section("… the rest is too long for Slack and was cut: `rollguard show` has all of it"));
    }
    json!({"text": text, "blocks": blocks})
}

/// `verbatim` keeps Slack from turning names and addresses in it into mentions and links.
fn section(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}})
}

/// As many whole lines in each section as fit.
fn sections(lines: &[String]) -> Vec<String> {
    let mut sections: Vec<String> = Vec::new();
    for line in lines.iter().filter(|line| !line.is_empty()) {
        let line = escape(line, SECTION_CHARS);
        let size = line.chars().count();
        match sections.last_mut() {
            Some(last) if last.chars().count() + 1 + size <= SECTION_CHARS => {
                last.push('\n');
                last.push_str(&line);
            }
            Some(_) | None => sections.push(line),
        }
    }
    sections
}

fn escape(text: &str, limit: usize) -> String {
    slack_within(text, limit, CUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_share_sections_up_to_the_limit() {
        let lines: Vec<String> = (0..3).map(|_| "x".repeat(1499)).collect();
        let sizes: Vec<usize> = sections(&lines).iter().map(String::len).collect();
        assert_eq!(sizes, [2999, 1499]);
    }
}
