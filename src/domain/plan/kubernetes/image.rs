//! `kubectl set image` as a goal: a container's image is another one, and everything else of the template stays.
use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::release::{Fingerprint, Version};
use crate::domain::survey::KubernetesSurvey;

/// An image for the containers of one name, the init containers among them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageChange {
    /// May be left out where there is only one container.
    pub container: Option<String>,
    pub image: String,
}

/// Why a text names no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no image: write [CONTAINER=]IMAGE, such as app=registry.example.com/shop:v7")]
pub struct ImageError(String);

/// Longer than any registry's names and a digest together.
const CHARS_MAX: usize = 600;

impl ImageChange {
    /// Reads `[CONTAINER=]IMAGE`. An image has no `=` in its name.
    ///
    /// # Errors
    /// A text with an empty part, or with characters that neither name has.
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        let error = || ImageError(text.chars().take(80).collect());
        let (container, image) = match text.split_once('=') {
            Some((container, image)) => (Some(container), image),
            None => (None, text),
        };
        let named = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._/:@".contains(c);
        let whole = image.starts_with(|c: char| c.is_ascii_alphanumeric())
            && image.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && image.chars().all(plain);
        if text.len() > CHARS_MAX || !whole || !container.is_none_or(named) {
            return Err(error());
        }
        Ok(Self { container: container.map(str::to_string), image: image.to_string() })
    }

    pub(super) fn title(&self) -> String {
        match &self.container {
            Some(container) => format!("set the image of container {container} to {}", self.image),
            None => format!("set the image to {}", self.image),
        }
    }

    /// The template as it is now with the other image. The error lists the names that there are.
    pub(super) fn template(&self, survey: &KubernetesSurvey) -> Result<Value, Vec<String>> {
        let mut template = survey.template.clone();
        let containers = texts(&template, CONTAINERS, "name");
        let init = texts(&template, INIT_CONTAINERS, "name");
        let wanted = match (&self.container, containers.as_slice()) {
            (Some(name), _) => Some(name.clone()),
            (None, [only]) => Some(only.clone()),
            (None, _) => None,
        };
        let known: BTreeSet<String> = containers.into_iter().chain(init).collect();
        let Some(wanted) = wanted.filter(|name| known.contains(name)) else {
            return Err(known.into_iter().collect());
        };
        for list in [CONTAINERS, INIT_CONTAINERS] {
            let containers = template.pointer_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten().filter(|c| c["name"] == *wanted) {
                container["image"] = self.image.as_str().into();
            }
        }
        Ok(template)
    }
}

const CONTAINERS: &str = "/spec/containers";
const INIT_CONTAINERS: &str = "/spec/initContainers";

fn texts(template: &Value, list: &str, key: &str) -> Vec<String> {
    let containers = template.pointer(list).and_then(Value::as_array);
    let text = |container: &Value| container.get(key)?.as_str().map(str::to_string);
    containers.into_iter().flatten().filter_map(text).collect()
}

/// The version that a template is.
pub(super) fn version(template: &Value) -> Version {
    Version::of_workload(Fingerprint::of_template(template), texts(template, CONTAINERS, "image"))
}

impl fmt::Display for ImageChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.container {
            Some(container) => write!(f, "{container}={}", self.image),
            None => f.write_str(&self.image),
        }
    }
}

impl TryFrom<String> for ImageChange {
    type Error = ImageError;

    fn try_from(text: String) -> Result<Self, ImageError> {
        Self::parse(&text)
    }
}

impl From<ImageChange> for String {
    fn from(change: ImageChange) -> Self {
        change.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_may_name_its_container() {
        let parts = |text: &str| ImageChange::parse(text).map(|c| (c.container, c.image));
        assert_eq!(parts("shop:v7"), Ok((None, "shop:v7".into())));
        let digest = "reg:5000/team/shop@sha256:0123";
        assert_eq!(parts(&format!("app={digest}")), Ok((Some("app".into()), digest.into())));
        for wrong in ["", "app=", "=shop:v7", "App=shop", "shop v7", "a=b=c", "shop:", "-shop"] {
            let error = parts(wrong).unwrap_err().to_string();
            assert!(error.contains("[CONTAINER=]IMAGE"), "{wrong:?}: {error}");
        }
        let text = serde_json::to_string(&ImageChange::parse("app=shop:v7").unwrap()).unwrap();
        assert_eq!(text, r#""app=shop:v7""#);
        assert!(serde_json::from_str::<ImageChange>(r#""two words""#).is_err());
    }
}
