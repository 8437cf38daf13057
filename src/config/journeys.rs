//! Journeys: their steps, and whether every ${name} in them is known where it is used.
use std::collections::BTreeMap;
use std::time::Duration;

use super::check;
use super::probes::{json_value, texts, too_late, wanted};
use super::problem::Notes;
use super::raw::{Fields, nearest};
use super::secrets::{self, Outside, Secrets};
use super::value::Pointer;
use super::yaml::{Mark, Node, Value};
use crate::domain::answer::{Pattern, Statuses};
use crate::domain::journey::{Body, Capture, Journey, Method, Step};
use crate::domain::template::{Template, UrlTemplate, is_name};

const TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const EVERY: Duration = Duration::from_secs(30);
const STEPS_MAX: usize = 20;
/// What the names of confidential fields hold.
const CONFIDENTIAL: [&str; 7] =
    ["authorization", "cookie", "password", "passwd", "secret", "token", "api_key"];

pub(super) fn read(fields: &Fields<'_>, outside: &Outside<'_>) -> Option<(Journey, Secrets)> {
    let mut names = Names { notes: fields.notes, known: BTreeMap::new() };
    let own = fields.open_free("secrets").map(|own| secrets::named(&own, outside)).unwrap_or_default();
    own.iter().for_each(|(name, at, _)| names.learn(name, *at, "secret"));
    let timeout = fields.read("timeout").unwrap_or(TIMEOUT);
    let all = fields.maps("steps");
    if all.is_empty() && fields.is_empty_list("steps") {
        fields.notes.error(fields.at("steps"), "steps: there is none, so nothing is asked");
    } else if all.len() > STEPS_MAX {
        fields
            .notes
            .error(fields.at("steps"), format!("steps: more than {STEPS_MAX} are too many for one journey"));
    }
    let steps: Vec<Option<Step>> = all.iter().map(|step| read_step(step, &mut names, timeout)).collect();
    names.note_unused();
    let secrets = Secrets::new(own.into_iter().filter_map(|(name, _, secret)| Some((name, secret?))));
    let every = fields.read("every").unwrap_or(EVERY);
    let steps = steps.into_iter().collect::<Option<Vec<Step>>>().filter(|steps| !steps.is_empty())?;
    let journey = Journey { steps, timeout_secs: timeout.as_secs_f64(), every_secs: every.as_secs_f64() };
    Some((journey, secrets))
}

fn read_step(fields: &Fields<'_>, names: &mut Names<'_>, timeout: Duration) -> Option<Step> {
    let method = if fields.has("method") { fields.read("method") } else { Some(Method::Get) };
    let url = fields.read::<UrlTemplate>("url");
    if let Some(url) = &url {
        names.used_in(url.template(), fields.at("url"));
    }
    let headers = templates(fields, "headers", names);
    fields
        .pairs("headers")
        .iter()
        .for_each(|(name, (at, value))| check::header(name, value, *at, fields.notes));
    let body = fields.map("body").map(|body| read_body(&body, names));
    let wanted = wanted(fields, Statuses::SUCCESS, &mut |at, text| {
        names.template(text, at);
    });
    too_late(fields, &wanted, timeout);
    let capture = fields.named("capture").into_iter();
    let capture = capture.filter_map(|(entry, of)| {
        if !is_name(&entry.key) {
            let message = "capture: this is no name: use a-z, 0-9 and _, beginning with a letter";
            fields.notes.error(entry.key_at, message);
            return None;
        }
        names.learn(&entry.key, entry.key_at, "capture");
        Some((entry.key.clone(), read_capture(&of)?))
    });
    let capture = capture.collect();
    let body = match body {
        Some(body) => Some(body?),
        None => None,
    };
    Some(Step { method: method?, url: url?, headers, body, wanted, capture })
}

fn read_body(fields: &Fields<'_>, names: &mut Names<'_>) -> Option<Body> {
    match fields.one_of(&["json", "form", "text"])? {
        "json" => {
            let node = &fields.entry("json")?.node;
            texts(node, &mut |at, text| {
                names.template(text, at);
            });
            in_the_open(node, fields.notes);
            Some(Body::Json(json_value(node)))
        }
        "form" => Some(Body::Form(templates(fields, "form", names))),
        _ => {
            let text = fields.read::<Template>("text")?;
            names.used_in(&text, fields.at("text"));
            Some(Body::Text(text))
        }
    }
}

fn read_capture(fields: &Fields<'_>) -> Option<Capture> {
    match fields.one_of(&["json", "header", "regex"])? {
        "json" => fields.read::<Pointer>("json").map(|pointer| Capture::Json(pointer.0)),
        "header" => fields.read::<String>("header").map(Capture::Header),
        _ => fields.read::<Pattern>("regex").map(Capture::Regex),
    }
}

fn templates(fields: &Fields<'_>, key: &str, names: &mut Names<'_>) -> BTreeMap<String, Template> {
    let pairs = fields.pairs(key).into_iter();
    let read = pairs.filter_map(|(name, (at, text))| {
        open(&name, &text, at, fields.notes);
        Some((name, names.template(&text, at)?))
    });
    read.collect()
}

/// Confidential values that stand in the file itself.
fn in_the_open(node: &Node, notes: &Notes) {
    match &node.value {
        Value::Scalar(_) => {}
        Value::List(items) => items.iter().for_each(|item| in_the_open(item, notes)),
        Value::Map(entries) => {
            for entry in entries {
                texts(&entry.node, &mut |_, text| open(&entry.key, text, entry.key_at, notes));
            }
        }
    }
}

fn open(name: &str, value: &str, at: Mark, notes: &Notes) {
    let name = name.to_ascii_lowercase().replace('-', "_");
    if CONFIDENTIAL.iter().any(|word| name.contains(word)) && !value.contains("${") {
        let message = "what stands in the open here will stand in the journal too: if it is confidential, put it under secrets, and ${its_name} here";
        notes.warning(at, message);
    }
}

/// The names that are known so far, from the first step on.
struct Names<'a> {
    notes: &'a Notes,
    known: BTreeMap<String, Known>,
}

struct Known {
    at: Mark,
    /// A secret or a capture.
    what: &'static str,
    used: bool,
}

impl Names<'_> {
    fn learn(&mut self, name: &str, at: Mark, what: &'static str) {
        if let Some(earlier) = self.known.get(name) {
            let (what_else, line) = (earlier.what, earlier.at.line);
            let message =
                format!("{what}: {name} is a {what_else} already, in line {line}: name it otherwise");
            self.notes.error(at, message);
            return;
        }
        self.known.insert(name.to_string(), Known { at, what, used: false });
    }

    fn template(&mut self, text: &str, at: Mark) -> Option<Template> {
        let template = Template::parse(text).map_err(|e| self.notes.error(at, e.to_string())).ok()?;
        self.used_in(&template, at);
        Some(template)
    }

    fn used_in(&mut self, template: &Template, at: Mark) {
        for name in template.names() {
            if let Some(known) = self.known.get_mut(name) {
                known.used = true;
                continue;
            }
            let all: Vec<String> = self.known.keys().cloned().collect();
            let hint = match (nearest(name, &all), all.is_empty()) {
                (Some(meant), _) => format!("did you mean ${{{meant}}}?"),
                (None, true) => "name it under secrets, or capture it in an earlier step".to_string(),
                (None, false) => format!("known here are {}", all.join(", ")),
            };
            self.notes.error(at, format!("${{{name}}} is not known in this step: {hint}"));
        }
    }

    fn note_unused(&self) {
        for (name, known) in self.known.iter().filter(|(_, known)| !known.used) {
            let what = known.what;
            self.notes.warning(known.at, format!("{what}: ${{{name}}} is not used by any later step"));
        }
    }
}
