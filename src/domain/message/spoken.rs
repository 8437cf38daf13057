//! How a message is said in a channel: in our words or the user's, harmless there, with links to more.
use super::Message;
use super::wording::{Markup, Occasion, Template};
use crate::domain::markup;

/// The user's templates, and where people reach rollguard.
#[derive(Clone, Debug, Default)]
pub struct Wording {
    pub action: Option<Template>,
    pub complete: Option<Template>,
    pub failed: Option<Template>,
    /// Without a slash at its end.
    pub external_url: Option<String>,
}

/// A text whose values can take no effect in the channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    pub title: String,
    pub lines: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub title: &'static str,
    pub url: String,
}

impl Wording {
    /// A template that fails at night must not keep anybody from being told: then it is said in our own words.
    pub fn say(&self, message: &Message, markup: Markup) -> Spoken {
        let own = self.template(message).and_then(|template| template.render(message, markup).ok());
        let Some(text) = own else { return ours(message, markup) };
        let mut lines = text.lines().map(str::to_string);
        Spoken { title: lines.next().unwrap_or_default(), lines: lines.collect() }
    }

    fn template(&self, message: &Message) -> Option<&Template> {
        match Occasion::of(message)? {
            Occasion::Action => self.action.as_ref(),
            Occasion::Complete => self.complete.as_ref(),
            Occasion::Failed => self.failed.as_ref(),
        }
    }

    /// Where there is more to see, if people can reach it.
    pub fn links(&self, message: &Message) -> Vec<Link> {
        let Some(base) = &self.external_url else { return Vec::new() };
        let run = message.facts.as_ref().and_then(|facts| facts.run.as_deref());
        let link = |title, path: String| Link { title, url: format!("{base}/api/v1/{path}") };
        match (run, message.targets.as_slice()) {
            (Some(run), _) => vec![
                link("Chart", format!("runs/{run}/chart.svg")),
                link("Report", format!("runs/{run}/report?format=html")),
            ],
            (None, [target, ..]) => vec![link("Chart", format!("targets/{target}/chart.svg"))],
            (None, []) => Vec::new(),
        }
    }
}

fn ours(message: &Message, markup: Markup) -> Spoken {
    let safe = |text: &String| match markup {
        Markup::Plain => text.clone(),
        Markup::Slack => markup::slack(text),
    };
    Spoken { title: safe(&message.title), lines: message.lines.iter().map(safe).collect() }
}
