//! Which objects a list or a watch asks for: kind, namespace, equality on labels, and the name as the only field.

use serde_json::Value;

use super::object::{self, Kind};
use super::refusal::Refusal;

#[derive(Clone, Debug)]
pub(super) struct Filter {
    pub(super) kind: Kind,
    pub(super) namespace: Option<String>,
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq)]
struct Requirement {
    subject: Subject,
    equal: bool,
    value: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Subject {
    Label(String),
    Name,
    Namespace,
}

impl Filter {
    /// Reads the two selectors of a request; what is not understood is refused, never ignored.
    pub(super) fn parse(
        kind: Kind,
        namespace: Option<String>,
        labels: &str,
        fields: &str,
    ) -> Result<Self, Refusal> {
        let mut requirements = Vec::new();
        for term in terms(labels) {
            requirements.push(requirement(term, "label", |key| Some(Subject::Label(key.to_owned())))?);
        }
        for term in terms(fields) {
            requirements.push(requirement(term, "field", field)?);
        }
        Ok(Self { kind, namespace, requirements })
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        self.namespace
            .as_deref()
            .is_none_or(|namespace| object::text(object, "/metadata/namespace") == namespace)
            && self.requirements.iter().all(|wanted| wanted.holds_for(object))
    }
}

impl Requirement {
    fn holds_for(&self, object: &Value) -> bool {
        let metadata = &object["metadata"];
        let found = match &self.subject {
            Subject::Label(key) => metadata["labels"].get(key),
            Subject::Name => metadata.get("name"),
            Subject::Namespace => metadata.get("namespace"),
        };
        (found.and_then(Value::as_str) == Some(self.value.as_str())) == self.equal
    }
}

fn terms(selector: &str) -> impl Iterator<Item = &str> {
    selector.split(',').map(str::trim).filter(|term| !term.is_empty())
}

fn field(key: &str) -> Option<Subject> {
    match key {
        "metadata.name" => Some(Subject::Name),
        "metadata.namespace" => Some(Subject::Namespace),
        _ => None,
    }
}

fn requirement(
    term: &str,
    what: &str,
    subject: impl FnOnce(&str) -> Option<Subject>,
) -> Result<Requirement, Refusal> {
    let refused = || {
        Refusal::BadRequest(format!(
            "{what} selector {term:?} is not supported: the sandbox knows key=value, key==value and key!=value"
        ))
    };
    let (key, equal, value) = if let Some((key, value)) = term.split_once("!=") {
        (key, false, value)
    } else if let Some((key, value)) = term.split_once("==") {
        (key, true, value)
    } else {
        let (key, value) = term.split_once('=').ok_or_else(refused)?;
        (key, true, value)
    };
    if key.contains(['(', '!', ' ']) || value.contains(['(', ')', ' ']) {
        return Err(refused());
    }
    Ok(Requirement { subject: subject(key).ok_or_else(refused)?, equal, value: value.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(labels: &str, fields: &str) -> Result<bool, Refusal> {
        let pod = json!({"metadata": {"namespace": "shop", "name": "web-1", "labels": {"app": "web", "tier": "front"}}});
        let filter = Filter::parse(Kind::Pod, Some("shop".into()), labels, fields)?;
        Ok(filter.matches(&pod))
    }

    #[test]
    fn equality_on_labels_and_the_name() {
        for (labels, fields, expected) in [
            ("", "", true),
            ("app=web", "", true),
            ("app==web,tier=front", "", true),
            ("app=web,tier=back", "", false),
            ("app!=db", "", true),
            ("absent=x", "", false),
            ("absent!=x", "", true),
            ("", "metadata.name=web-1", true),
            ("app=web", "metadata.name=web-2", false),
        ] {
            assert_eq!(matches(labels, fields), Ok(expected), "{labels} {fields}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (labels, fields) in [("app in (web,db)", ""), ("app", ""), ("!app", ""), ("", "spec.nodeName=a")]
        {
            let refused = matches(labels, fields).unwrap_err();
            assert_eq!(refused.code().as_u16(), 400, "{labels} {fields}");
        }
    }
}
