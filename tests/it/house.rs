//! The rules of the house, checked: who may use whom, which crates stay where, and how big a room may grow.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Room → the rooms that it may use (DESIGN §3).
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("ports", &["domain"]),
    ("telemetry", &[]),
    ("config", &["domain"]),
    ("engine", &["domain", "ports", "telemetry"]),
    ("adapters", &["domain", "ports", "config", "telemetry"]),
    ("http", &["domain", "engine", "telemetry"]),
    ("client", &["domain", "http"]),
    ("sandbox", &["domain"]),
    ("app", &["domain", "ports", "telemetry", "config", "engine", "adapters", "http"]),
    ("cli", &["domain", "config", "client", "sandbox", "app", "http"]),
];

/// What is written nowhere but in these places: (text, path prefixes where it is at home).
const AT_HOME: &[(&str, &[&str])] = &[
    ("kube::", &["adapters/kubernetes"]),
    ("k8s_openapi", &["adapters/kubernetes"]),
    ("rusqlite", &["adapters/journal"]),
    (
        "tokio_postgres",
        &["adapters/checks/sql.rs", "adapters/database", "adapters/journal/postgres", "adapters/postgres"],
    ),
    ("aws_sdk", &["adapters"]),
    ("aws_config", &["adapters"]),
    ("reqwest", &["adapters", "client"]),
    (
        "rustls::",
        &[
            "adapters/checks/redis.rs",
            "adapters/kubernetes/keyed_hash.rs",
            "adapters/postgres/tls.rs",
            "adapters/probe",
            "adapters/tls.rs",
        ],
    ),
    ("x509_cert", &["adapters/probe", "adapters/postgres/tls.rs"]),
    ("prometheus_http_query", &["adapters/signals"]),
    ("axum", &["http", "sandbox"]),
    ("Timestamp::now(", &["engine/clock.rs", "sandbox/clock.rs"]),
    ("SystemTime::now(", &["engine/clock.rs", "sandbox/clock.rs"]),
    ("Instant::now(", &["telemetry.rs", "sandbox/clock.rs"]),
    ("println!(", &["cli"]),
];

/// What the pure core never mentions.
const NOT_IN_DOMAIN: &[&str] =
    &["tokio", "async ", "std::fs", "std::net", "std::env", "tracing", "Instant", "rand::"];

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

struct Source {
    /// Below `src`, with slashes.
    path: String,
    text: String,
}

impl Source {
    fn room(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }
    /// The folder below adapters, for the rule that adapters do not use each other.
    fn adapter(&self) -> Option<&str> {
        Some(self.path.strip_prefix("adapters/")?.split('/').next()?.trim_end_matches(".rs"))
    }
    /// The code without its tests and comments: tests may use what they like.
    fn code(&self) -> String {
        let code = self.text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
    }
    fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.contains("/tests/")
    }
}

fn collect(dir: &Path, root: &Path, out: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, root, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            out.push(Source { path: name, text: fs::read_to_string(&path).unwrap() });
        }
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut out = Vec::new();
    collect(&root, &root, &mut out);
    assert!(out.len() > 5, "{folder} was not found");
    out
}

/// Paths below `crate::` that a text uses: `use crate::{a, b::c}` and inline `crate::a::b`.
fn used(code: &str) -> Vec<String> {
    let mut out = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => out.extend(group_members(group)),
            None => out.push(path_of(rest)),
        }
    }
    out
}

fn path_of(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect()
}

fn group_members(group: &str) -> Vec<String> {
    let (mut depth, mut word, mut out) = (0, String::new(), Vec::new());
    for c in group.chars() {
        match (c, depth) {
            ('}', 0) => break,
            (',', 0) => out.push(std::mem::take(&mut word)),
            ('{', _) => depth += 1,
            ('}', _) => depth -= 1,
            (_, 0) => word.push(c),
            (_, _) => {}
        }
    }
    out.push(word);
    out.into_iter().map(|w| path_of(w.trim())).filter(|w| !w.is_empty()).collect()
}

fn first(path: &str) -> &str {
    path.split("::").next().unwrap()
}

#[test]
fn rooms_use_only_the_rooms_below_them() {
    let may: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let mut broken = Vec::new();
    for source in sources("src").iter().filter(|s| !["lib", "main"].contains(&s.room())) {
        let Some(allowed) = may.get(source.room()) else {
            broken.push(format!("{}: there is no room {}", source.path, source.room()));
            continue;
        };
        for path in used(&source.code()) {
            let room = first(&path);
            if room != source.room() && !allowed.contains(&room) {
                broken.push(format!("{}: {} must not use {room}", source.path, source.room()));
            }
            let other = path.strip_prefix("adapters::").map(first);
            if let (Some(own), Some(other)) = (source.adapter(), other)
                && own != other
                && !["aws", "child", "outbound", "endpoint", "mask", "postgres", "probe", "tls"]
                    .contains(&other)
            {
                broken.push(format!("{}: adapter {own} must not use adapter {other}", source.path));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_client_and_the_cli_know_nothing_of_http_but_its_dto() {
    let mut broken = Vec::new();
    for source in sources("src").iter().filter(|s| ["client", "cli"].contains(&s.room())) {
        let paths = used(&source.code());
        let beyond = paths.iter().filter(|p| p.starts_with("http") && !p.starts_with("http::dto"));
        broken.extend(beyond.map(|p| format!("{}: uses {p}", source.path)));
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn crates_and_clocks_stay_at_home() {
    let mut broken = Vec::new();
    for source in sources("src").iter().filter(|s| !s.is_test()) {
        let code = source.code();
        for (text, homes) in AT_HOME {
            // A name that only ends so, such as `my_kube::`, is another one.
            let mentioned = code.match_indices(text).any(|(at, _)| {
                !code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
                    || *text == "println!(" && code[..at].ends_with('e')
            });
            if mentioned && !homes.iter().any(|home| source.path.starts_with(home)) {
                broken.push(format!("{}: {text} belongs to {}", source.path, homes.join(", ")));
            }
        }
        if source.room() == "domain" {
            let found = NOT_IN_DOMAIN.iter().filter(|word| code.contains(*word));
            broken.extend(found.map(|word| format!("{}: the pure core mentions {word:?}", source.path)));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn files_open_with_a_sentence_and_stay_small() {
    let mut broken = Vec::new();
    for folder in ["src", "tests"] {
        for source in sources(folder) {
            let lines = source.text.lines().count();
            if lines > FILE_LINES_MAX {
                broken.push(format!("{folder}/{}: {lines} lines, at most {FILE_LINES_MAX}", source.path));
            }
            let opening = source.text.lines().next().unwrap_or("");
            if !opening.starts_with("//! ") || opening.len() < 20 {
                broken.push(format!("{folder}/{}: must open with a //! sentence", source.path));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn functions_stay_small() {
    let mut broken = Vec::new();
    for source in sources("src").iter().filter(|s| !s.is_test()) {
        for (name, lines) in function_lengths(&source.code()) {
            if lines > FUNCTION_LINES_MAX {
                broken
                    .push(format!("{}: {name} has {lines} lines, at most {FUNCTION_LINES_MAX}", source.path));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Name and length of each function, by the indentation that rustfmt gives.
fn function_lengths(code: &str) -> Vec<(String, usize)> {
    let mut out = Vec::new();
    let lines: Vec<&str> = code.lines().collect();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let Some(name) = function_name(line.trim_start()) else { continue };
        let end = format!("{}}}", " ".repeat(indent));
        if let Some(length) = lines[start..].iter().position(|l| *l == end) {
            out.push((name, length + 1));
        }
    }
    out
}

fn function_name(line: &str) -> Option<String> {
    let words = ["pub ", "pub(crate) ", "pub(super) ", "async ", "const "];
    let mut rest = line;
    while let Some(shorter) = words.iter().find_map(|w| rest.strip_prefix(w)) {
        rest = shorter;
    }
    let name = rest.strip_prefix("fn ")?;
    Some(name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
}

#[test]
fn the_rules_see_what_they_should() {
    assert_eq!(used("use crate::{a, b::{c, d}};\ncrate::e::f()"), ["a", "b::", "e::f"]);
    let lengths = function_lengths("fn a() {\n    x\n}\nimpl B {\n    pub async fn c() {\n    }\n}");
    assert_eq!(lengths, [("a".to_string(), 3), ("c".to_string(), 2)]);
}
