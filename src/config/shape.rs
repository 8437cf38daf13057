//! What a key of the configuration may hold: one description for reading, for messages and for the JSON Schema.
use std::time::Duration;

/// One key of a mapping.
pub(super) struct Field {
    /// For a secret the stem: `token` stands for `token_file`, `token_env` and `token`.
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) need: Need,
    /// One sentence for editors.
    pub(super) doc: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Optional,
    Here,
    /// In the service or in the defaults, where it is optional itself.
    HereOrDefault,
}

#[derive(Clone, Copy)]
pub(super) enum Shape {
    Leaf(Leaf),
    Secret,
    /// Label names to values.
    Labels,
    /// Names of dimensions to values.
    Dimensions,
    /// Header names to values, which may be secrets.
    Headers,
    /// Names of fields to values.
    Form,
    /// Names that the author chose to secrets, each as `NAME_file`, `NAME_env` or `NAME`.
    Secrets,
    Texts,
    /// One of these, or a list of them.
    Some(Leaf),
    SomeMaps(&'static [Field]),
    /// What each named value is, by its own mapping.
    Named(&'static [Field]),
    Map(&'static [Field]),
    Maps(&'static [Field]),
    /// One of these words, or a mapping.
    WordOrMap(Leaf, &'static [Field]),
    /// Any YAML value, such as the one a JSON pointer must find.
    Any,
}

#[derive(Clone, Copy)]
pub(super) enum Leaf {
    Text,
    Name,
    KubernetesName,
    Duration {
        least: Duration,
        most: Duration,
    },
    /// More than zero and less than `most`, a ratio.
    Share {
        most: f64,
    },
    Number,
    /// A whole number.
    Count {
        least: usize,
        most: usize,
    },
    Version,
    Url,
    Path,
    Bool,
    Status,
    Address,
    Choice(&'static [&'static str]),
    Selector,
    Pointer,
    Pattern,
}

impl Leaf {
    /// For messages: what is expected, with an example.
    pub(super) fn expected(self) -> String {
        match self {
            Leaf::Text => "text, in quotes if it looks like a number or true/false".into(),
            Leaf::Name => "a name such as shop".into(),
            Leaf::KubernetesName => "a Kubernetes name such as blockchain-backend".into(),
            Leaf::Duration { .. } => "a duration such as 30m".into(),
            Leaf::Share { .. } => "a share such as 5% or 0.05".into(),
            Leaf::Number => "a number such as 0.5, 2k or 900Mi".into(),
            Leaf::Count { .. } => "a whole number such as 3".into(),
            Leaf::Version => "a version such as v1.4.2".into(),
            Leaf::Url => "a URL such as http://prometheus:9090".into(),
            Leaf::Path => "a path such as /etc/rollguard/token".into(),
            Leaf::Bool => "true or false".into(),
            Leaf::Status => "an HTTP status such as 200 or 2xx".into(),
            Leaf::Address => "an address such as 127.0.0.1:9095".into(),
            Leaf::Choice(choices) => format!("one of {}", choices.join(", ")),
            Leaf::Selector => "a selector such as http_requests_total".into(),
            Leaf::Pointer => "a JSON pointer such as /status".into(),
            Leaf::Pattern => "a regular expression such as '^ok'".into(),
        }
    }

    /// Whether YAML numbers and booleans are taken as they are written.
    pub(super) fn takes_numbers(self) -> bool {
        match self {
            Leaf::Duration { .. }
            | Leaf::Share { .. }
            | Leaf::Number
            | Leaf::Count { .. }
            | Leaf::Version
            | Leaf::Status => true,
            Leaf::Text
            | Leaf::Name
            | Leaf::KubernetesName
            | Leaf::Url
            | Leaf::Path
            | Leaf::Bool
            | Leaf::Address
            | Leaf::Choice(_)
            | Leaf::Selector
            | Leaf::Pointer
            | Leaf::Pattern => false,
        }
    }
}

impl Shape {
    pub(super) fn expected(self) -> String {
        match self {
            Shape::Leaf(leaf) => leaf.expected(),
            Shape::Secret => "text".into(),
            Shape::Labels => "a mapping of labels such as {service: shop}".into(),
            Shape::Dimensions => "a mapping of dimensions such as {LoadBalancer: app/shop/50dc6c49}".into(),
            Shape::Headers => "a mapping of headers such as {X-Scope-OrgID: shop}".into(),
            Shape::Form => "a mapping of fields such as {user: ann}".into(),
            Shape::Secrets => "a mapping of secrets such as {password_env: SHOP_PASSWORD}".into(),
            Shape::Texts => "a list such as [critical]".into(),
            Shape::Some(leaf) => format!("{}, or a list of such", leaf.expected()),
            Shape::SomeMaps(_) => "a mapping (indented lines of key: value), or a list of such".into(),
            Shape::Named(_) => "a mapping of names such as {token: {json: /access_token}}".into(),
            Shape::Map(_) => "a mapping (indented lines of key: value)".into(),
            Shape::Maps(_) => "a list (lines beginning with -)".into(),
            Shape::WordOrMap(leaf, _) => format!("{}, or a mapping", leaf.expected()),
            Shape::Any => "a value".into(),
        }
    }
}

impl Field {
    /// The keys that stand for this field in the file.
    pub(super) fn keys(&self) -> Vec<String> {
        match self.shape {
            Shape::Secret => ["_file", "_env", ""].iter().map(|end| format!("{}{end}", self.name)).collect(),
            Shape::Leaf(_)
            | Shape::Labels
            | Shape::Dimensions
            | Shape::Headers
            | Shape::Form
            | Shape::Secrets
            | Shape::Texts
            | Shape::Some(_)
            | Shape::SomeMaps(_)
            | Shape::Named(_)
            | Shape::Map(_)
            | Shape::Maps(_)
            | Shape::WordOrMap(..)
            | Shape::Any => vec![self.name.to_string()],
        }
    }
}
