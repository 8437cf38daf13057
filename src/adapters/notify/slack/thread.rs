//! One thread per incident: what was posted and edited already, and what is next.
use serde::{Deserialize, Serialize};

use crate::domain::evidence::clock_time;
use crate::domain::message::{Ask, Message, MessageKind};

/// What is remembered of an incident, one for each effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "did", rename_all = "snake_case")]
pub(super) enum Note {
    Posted(Posted),
    Edited {
        /// The message for which it was edited.
        key: String,
        ts: String,
        /// What it says since then.
        line: String,
        /// It is not edited any more.
        #[serde(default)]
        last: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Posted {
    pub(super) key: String,
    /// Slack's id of the channel, which edits need; the configuration may have its name.
    pub(super) channel: String,
    pub(super) ts: String,
    /// Of those that are edited later: the first one, and what people are asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<Box<Message>>,
}

#[derive(Debug, Default)]
pub(super) struct Thread {
    posts: Vec<Posted>,
    edits: Vec<Edit>,
}

#[derive(Debug)]
struct Edit {
    key: String,
    ts: String,
    line: String,
    last: bool,
}

/// What a message still needs.
#[derive(Debug, PartialEq)]
pub(super) enum Next<'a> {
    /// In the thread, if there is one yet.
    Post {
        root: Option<&'a Posted>,
    },
    Edit {
        post: &'a Posted,
        original: &'a Message,
    },
    Nothing,
}

impl Thread {
    pub(super) fn of(notes: &[String]) -> Self {
        let mut thread = Self::default();
        for note in notes.iter().filter_map(|note| serde_json::from_str(note).ok()) {
            match note {
                Note::Posted(posted) => thread.posts.push(posted),
                Note::Edited { key, ts, line, last } => thread.edits.push(Edit { key, ts, line, last }),
            }
        }
        thread
    }

    pub(super) fn next(&self, message: &Message) -> Next<'_> {
        let posted = self.posts.iter().any(|post| post.key == message.key);
        if !posted && message.kind != MessageKind::Resolve {
            return Next::Post { root: self.posts.first() };
        }
        if is_said_elsewhere(message) {
            return Next::Nothing;
        }
        let open = self.posts.iter().filter(|post| post.key != message.key && self.is_open(post, message));
        let mut editable = open.filter_map(|post| Some((post, post.message.as_deref()?)));
        match editable.next() {
            Some((post, original)) => Next::Edit { post, original },
            None => Next::Nothing,
        }
    }

    /// Whether this message still has to change that post.
    fn is_open(&self, post: &Posted, message: &Message) -> bool {
        let done = |edit: &Edit| edit.ts == post.ts && (edit.last || edit.key == message.key);
        let root = self.posts.first().is_some_and(|root| root.ts == post.ts);
        let answered = post.message.as_deref().and_then(asked).is_some_and(|ask| answers(message, ask));
        (root || answered) && !self.edits.iter().any(done)
    }

    /// The lines that a post has got since, oldest first.
    pub(super) fn since(&self, post: &Posted) -> impl Iterator<Item = &str> {
        self.edits.iter().filter(move |edit| edit.ts == post.ts).map(|edit| edit.line.as_str())
    }

    pub(super) fn is_root(&self, post: &Posted) -> bool {
        self.posts.first() == Some(post)
    }
}

/// The end of a rollback's page comes with a message that says more.
fn is_said_elsewhere(message: &Message) -> bool {
    let ended = message.facts.as_ref().is_some_and(|facts| facts.run.is_some() && !facts.under_way);
    message.kind == MessageKind::Resolve && ended
}

/// What is asked, whether or not somebody has answered since.
fn asked(message: &Message) -> Option<&Ask> {
    message.facts.as_ref()?.ask.as_ref()
}

/// Whether nobody is asked any more about that, once this is said.
fn answers(message: &Message, ask: &Ask) -> bool {
    let facts = message.facts.as_ref();
    facts.is_some_and(|facts| facts.run.as_ref() == Some(&ask.run) && facts.ask.as_ref() != Some(ask))
}

/// What can still be answered in that post, once this is said.
pub(super) fn still_asked<'a>(original: &'a Message, message: &Message) -> Option<&'a Ask> {
    asked(original).filter(|ask| !answers(message, ask))
}

/// A message in one line: with who does it, or for the end of a page and what people said with the first of its lines.
pub(super) fn line_of(message: &Message, now: jiff::Timestamp) -> String {
    let at = clock_time(message.facts.as_ref().map_or(now, |facts| facts.at));
    let first = message.lines.first().map(String::as_str).unwrap_or_default();
    match message.kind {
        MessageKind::Resolve | MessageKind::Note => format!("{at} {}: {first}", message.title),
        MessageKind::Action => {
            let executor = message.facts.as_ref().and_then(|facts| facts.executor.as_deref());
            format!("{at} {}{}", message.title, executor.map(|by| format!(", {by}")).unwrap_or_default())
        }
        MessageKind::Complete
        | MessageKind::Failed
        | MessageKind::Page
        | MessageKind::Ask
        | MessageKind::Trace => format!("{at} {}", message.title),
    }
}
