//! The verbs that need no daemon, and that nothing that people read names a code or a verb that is not there.
use std::path::Path;
use std::process::{Command, Output};

use clap::CommandFactory;
use regex::Regex;
use rollguard::cli::Cli;
use rollguard::domain::code::Code;
use serde_json::Value;

use crate::http_world::{Doors, SECRET, World};

fn rollguard(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rollguard")).args(line.split(' ')).output().unwrap()
}

fn stdout(line: &str) -> String {
    let output = rollguard(line);
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_code_is_explained_as_messages_write_it() {
    let text = stdout("explain RG203");
    assert!(text.starts_with("RG203 Owned: Another controller owns the workload"), "{text}");
    assert!(text.contains("What to do: "), "{text}");
    for same in ["[RG203]", "rg203", "owned"] {
        assert_eq!(stdout(&format!("explain {same}")), text);
    }
    let unknown = rollguard("explain RG999");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("lists them all"), "{unknown:?}");
    let all: Value = serde_json::from_str(&stdout("explain -o json")).unwrap();
    assert_eq!(all.as_array().unwrap().len(), Code::ALL.len());
    assert_eq!(stdout("explain").lines().count(), Code::ALL.len() + 1);
}

#[test]
fn what_people_read_names_only_codes_and_verbs_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let explained = Code::ALL.iter().map(|code| code.explained()).map(|e| format!("{} {}", e.means, e.todo));
    let texts = ["README.md", "CHANGELOG.md", "deploy/README.md", "config/rollguard.yaml"].map(read);
    let (codes, verbs) = (Regex::new(r"\bRG\d{3}\b").unwrap(), Regex::new(r"`rollguard ([a-z]+)").unwrap());
    let command = Cli::command();
    for text in explained.chain(texts) {
        for code in codes.find_iter(&text) {
            assert!(Code::find(code.as_str()).is_some(), "{}", code.as_str());
        }
        for verb in verbs.captures_iter(&text) {
            assert!(command.find_subcommand(&verb[1]).is_some(), "{} in {text}", &verb[1]);
        }
    }
}

#[test]
fn the_schema_is_that_of_the_configuration() {
    let schema: Value = serde_json::from_str(&stdout("schema")).unwrap();
    assert_eq!(schema, rollguard::config::json_schema());
}

#[test]
fn every_shell_completes_every_verb() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&format!("completion {shell}"));
        for verb in Cli::command().get_subcommands() {
            assert!(script.contains(verb.get_name()), "{} in {shell}", verb.get_name());
        }
    }
}

#[tokio::test]
async fn a_targets_history_has_its_versions_and_what_became_of_them() {
    let world = World::start(Doors { open_reads: true, ..Doors::default() }).await;
    let (status, answer) = world.get("/api/v1/targets/shop/backend/history", None).await;
    assert_eq!(status, 200, "{answer}");
    assert!(!answer.contains(SECRET), "templates stay inside: {answer}");
    let line = format!("history shop/backend --server http://{}", world.address);
    let text = tokio::task::spawn_blocking(move || stdout(&line)).await.unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("REVISION") && lines[1].starts_with("2 "), "{text}");
    assert!(lines[1].contains("v2") && lines[1].contains("current, known bad"), "{text}");
    assert!(lines[2].contains("rolled back by run r-done"), "{text}");
    assert!(text.contains("r-ask") && text.contains("r-stuck"), "its rollbacks: {text}");

    let (status, answer) = world.get("/api/v1/targets/shop/other/history", None).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, &answer["error"]["explain"]), (404, &"RG501".into()), "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.ends_with("[RG501]"), "{message}");
}
