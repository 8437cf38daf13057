//! Scalars of the configuration as typed values; messages never repeat what could be a secret.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::durations;
use super::selector::{Selector, SelectorError};
use super::shape::Leaf;
use super::{Combine, GitOpsPolicy, SourceName};
use crate::domain::answer::{NoStatus, Pattern, StatusIs};
use crate::domain::guardrails::minimum::MinVersion;
use crate::domain::journey::Method;
use crate::domain::names::{PersonName, RuleName, ServiceName, TargetName};
use crate::domain::policy::Mode;
use crate::domain::runbook::LateOnset;
use crate::domain::template::{Template, UrlTemplate};

/// A value that is written as one scalar. The error says what is wrong and how it is written.
pub(super) trait FromText: Sized {
    fn from_text(text: &str, leaf: Leaf) -> Result<Self, String>;
}

impl FromText for String {
    fn from_text(text: &str, leaf: Leaf) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err(format!("found empty text, expected {}", leaf.expected()));
        }
        Ok(text.to_string())
    }
}

macro_rules! names {
    ($($type:ty),*) => {
        $(impl FromText for $type {
            fn from_text(text: &str, _: Leaf) -> Result<Self, String> {
                <$type>::parse(text).map_err(|e| e.to_string())
            }
        })*
    };
}

names!(ServiceName, TargetName, RuleName, PersonName);

impl FromText for Selector {
    fn from_text(text: &str, _: Leaf) -> Result<Self, String> {
        text.parse().map_err(|e: SelectorError| e.to_string())
    }
}

impl FromText for Duration {
    fn from_text(text: &str, leaf: Leaf) -> Result<Self, String> {
        let value = durations::duration(text)?;
        let Leaf::Duration { least, most } = leaf else { return Ok(value) };
        if (least..=most).contains(&value) {
            return Ok(value);
        }
        let (least, most) = (durations::text(least), durations::text(most));
        Err(format!("{} is out of range: write {least} to {most}", durations::text(value)))
    }
}

/// A ratio, 0.05 for 5 %.
pub(super) struct Share(pub(super) f64);

impl FromText for Share {
    fn from_text(text: &str, leaf: Leaf) -> Result<Self, String> {
        let most = if let Leaf::Share { most } = leaf { most } else { 1.0 };
        durations::ratio(text, most).map(Share)
    }
}

/// A finite number, `2k` for 2000.
pub(super) struct Number(pub(super) f64);

impl FromText for Number {
    fn from_text(text: &str, _: Leaf) -> Result<Self, String> {
        durations::number(text).map(Number)
    }
}

impl FromText for usize {
    fn from_text(text: &str, leaf: Leaf) -> Result<Self, String> {
        let Leaf::Count { least, most } = leaf else { return Err(leaf.expected()) };
        let value = text.parse().ok().filter(|value| (least..=most).contains(value));
        value.ok_or_else(|| format!("this is no whole number from {least} to {most}"))
    }
}

impl FromText for MinVersion {
    fn from_text(text: &str, leaf: Leaf) -> Result<Self, String> {
        let wrong =
            || format!("this is no version that others can be compared with: write {}", leaf.expected());
        MinVersion::parse(text).ok_or_else(wrong)
    }
}

impl FromText for bool {
    fn from_text(text: &str, _: Leaf) -> Result<Self, String> {
        Ok(text == "true")
    }
}

impl FromText for PathBuf {
    fn from_text(text: &str, leaf: Leaf) -> Result<Self, String> {
        String::from_text(text, leaf).map(PathBuf::from)
    }
}

impl FromText for SocketAddr {
    fn from_text(text: &str, _: Leaf) -> Result<Self, String> {
        text.parse().map_err(|_| {
            "this is no address: write IP:PORT such as 127.0.0.1:9095, or 0.0.0.0:9095 for all interfaces"
                .into()
        })
    }
}

impl FromText for Mode {
    fn from_text(text: &str, leaf: Leaf) -> Result<Self, String> {
        match text {
            "auto" => Ok(Mode::Auto),
            "approval" => Ok(Mode::Approval),
            "page" => Ok(Mode::Page),
            "observe" => Ok(Mode::Observe),
            _ => Err(no_choice(leaf)),
        }
    }
}

impl FromText for GitOpsPolicy {
    fn from_text(text: &str, leaf: Leaf) -> Result<Self, String> {
        match text {
            "refuse" => Ok(GitOpsPolicy::Refuse),
            "suspend" => Ok(GitOpsPolicy::Suspend),
            _ => Err(no_choice(leaf)),
        }
    }
}

impl FromText for SourceName {
    fn from_text(text: &str, leaf: Leaf) -> Result<Self, String> {
        let named = SourceName::ALL.into_iter().find(|source| source.as_str() == text);
        named.ok_or_else(|| no_choice(leaf))
    }
}

impl FromText for Combine {
    fn from_text(text: &str, leaf: Leaf) -> Result<Self, String> {
        match text {
            "max" => Ok(Combine::Max),
            "min" => Ok(Combine::Min),
            "sum" => Ok(Combine::Sum),
            "mean" => Ok(Combine::Mean),
            _ => Err(no_choice(leaf)),
        }
    }
}

impl FromText for LateOnset {
    fn from_text(text: &str, leaf: Leaf) -> Result<Self, String> {
        match text {
            "page" => Ok(LateOnset::Page),
            "rollback" => Ok(LateOnset::Rollback),
            _ => Err(no_choice(leaf)),
        }
    }
}

pub(super) fn no_choice(leaf: Leaf) -> String {
    format!("this is none of the choices: write {}", leaf.expected())
}

impl FromText for StatusIs {
    fn from_text(text: &str, _: Leaf) -> Result<Self, String> {
        text.parse().map_err(|e: NoStatus| e.to_string())
    }
}

impl FromText for Pattern {
    fn from_text(text: &str, leaf: Leaf) -> Result<Self, String> {
        let text = String::from_text(text, leaf)?;
        Pattern::try_from(text).map_err(|e| e.to_string())
    }
}

impl FromText for Method {
    fn from_text(text: &str, leaf: Leaf) -> Result<Self, String> {
        let named = Method::ALL.into_iter().find(|method| method.as_str() == text);
        named.ok_or_else(|| no_choice(leaf))
    }
}

impl FromText for Template {
    fn from_text(text: &str, leaf: Leaf) -> Result<Self, String> {
        Template::parse(&String::from_text(text, leaf)?).map_err(|e| e.to_string())
    }
}

impl FromText for UrlTemplate {
    fn from_text(text: &str, _: Leaf) -> Result<Self, String> {
        UrlTemplate::parse(text).map_err(|e| e.to_string())
    }
}

/// The name of an object or of a namespace in Kubernetes.
pub(super) struct KubernetesName(pub(super) String);

impl FromText for KubernetesName {
    fn from_text(text: &str, _: Leaf) -> Result<Self, String> {
        let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let inside = |c: char| edge(c) || c == '-' || c == '.';
        if text.starts_with(edge) && text.ends_with(edge) && text.len() <= 253 && text.chars().all(inside) {
            return Ok(Self(text.to_string()));
        }
        Err("this is no Kubernetes name: use a-z, 0-9, '-' and '.', beginning and ending with a letter or digit".into())
    }
}

/// A JSON pointer (RFC 6901).
pub(super) struct Pointer(pub(super) String);

impl FromText for Pointer {
    fn from_text(text: &str, _: Leaf) -> Result<Self, String> {
        if text.is_empty() || text.starts_with('/') {
            return Ok(Self(text.to_string()));
        }
        Err("a JSON pointer begins with a slash: write one such as /status".into())
    }
}

impl FromText for Url {
    fn from_text(text: &str, _: Leaf) -> Result<Self, String> {
        let url = http_url(text)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("this URL holds credentials: leave them out, and use a token file".into());
        }
        Ok(url)
    }
}

/// An http or https URL. The error does not repeat it: it may be a secret.
pub(super) fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim())
        .map_err(|e| format!("this is no URL ({e}): write one such as http://prometheus:9090"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err("this URL does not begin with http:// or https://".into());
    }
    Ok(url)
}
