//! The audit of a journal by the real command line: every way of tampering is found, and anybody can check an export.
use std::path::Path;
use std::process::{Command, Output, Stdio};

use jiff::Timestamp;
use rollguard::adapters::journal::SqliteJournal;
use rollguard::domain::event::StreamId;
use rollguard::ports::{Commit, Head, Journal, NewRecord};
use rusqlite::Connection;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const RECORDS: usize = 12;

fn at(second: usize) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + i64::try_from(second).unwrap()).unwrap()
}

async fn append(journal: &SqliteJournal, epoch: u64, n: usize) {
    // Numbers and letters that a program which reads and writes JSON again may write in another way.
    let body = json!({ "n": n, "ratio": 1e-7, "reason": "ü ≥ \u{1} \"5 %\"" });
    let record = NewRecord { stream: StreamId::run(&format!("shop-{}", n % 2)), kind: "opened".into(), body };
    let commit = Commit { at: at(n), events: vec![record], ..Commit::default() };
    journal.commit(epoch, commit).await.unwrap();
}

/// A closed journal of [`RECORDS`] records, and its head.
async fn journal() -> (TempDir, Head) {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    let epoch = journal.claim().await.unwrap();
    for n in 1..=RECORDS {
        append(&journal, epoch, n).await;
    }
    let head = journal.head().await.unwrap();
    (dir, head)
}

fn rollguard(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollguard"));
    command.arg("audit").args(args).arg("--state-dir").arg(dir);
    command.output().unwrap()
}

/// Exit code and standard output.
fn verify(dir: &Path, more: &[&str]) -> (i32, String) {
    let output = rollguard(dir, &[&["verify"], more].concat());
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(stderr.is_empty(), "{stderr}");
    (output.status.code().unwrap(), stdout)
}

/// The record that is named as the first broken one, and why.
fn broken(dir: &Path, more: &[&str]) -> (u64, String) {
    let (code, text) = verify(dir, &[&["-o", "json"], more].concat());
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &answer["ok"]), (1, &json!(false)), "{text}");
    let (people_code, people) = verify(dir, more);
    let seq = answer["broken"]["seq"].as_u64().unwrap();
    assert!(people_code == 1 && people.contains(&format!("broken at record {seq}:")), "{people}");
    (seq, answer["broken"]["why"].as_str().unwrap().to_string())
}

fn edit(dir: &Path, sql: &str) {
    Connection::open(dir.join("journal.db")).unwrap().execute_batch(sql).unwrap();
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap())
    };
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(read).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_sound_journal_is_verified_without_a_trace() {
    let (dir, head) = journal().await;
    let before = files(dir.path());
    let said = format!("{RECORDS} records, head {RECORDS}:{}\n", head.hash);
    assert_eq!(verify(dir.path(), &[]), (0, said.clone()));
    let (code, json) = verify(dir.path(), &["-o", "json"]);
    let answer: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &answer["head"]["hash"], &answer["records"]), (0, &json!(head.hash), &json!(RECORDS)));
    let full = format!("{}:{}", head.seq, head.hash);
    assert_eq!(verify(dir.path(), &["--head", &full]), (0, said));
    assert!(files(dir.path()) == before, "the audit has left something behind");
}

#[tokio::test]
async fn an_edited_record_is_named() {
    for (column, value) in [
        ("body", r#"'{"n":5}'"#),
        ("at", "'2026-11-22T00:00:00Z'"),
        ("kind", "'denied'"),
        ("epoch", "9"),
        ("stream", "'run:x'"),
    ] {
        let (dir, _) = journal().await;
        edit(dir.path(), &format!("UPDATE records SET {column} = {value} WHERE seq = 5"));
        let (seq, why) = broken(dir.path(), &[]);
        assert_eq!(seq, 5, "{column}: {why}");
        assert!(why.contains("altered"), "{why}");
    }
    let (dir, _) = journal().await;
    edit(dir.path(), "UPDATE records SET prev_hash = hex(randomblob(32)) WHERE seq = 5");
    assert_eq!(broken(dir.path(), &[]), (5, "its prev_hash was altered".into()));
}

#[tokio::test]
async fn a_record_that_is_taken_out_put_in_or_moved_is_named() {
    let (dir, _) = journal().await;
    edit(dir.path(), "DELETE FROM records WHERE seq = 7");
    assert_eq!(broken(dir.path(), &[]), (7, "it is missing: record 8 comes next".into()));

    let (dir, _) = journal().await;
    edit(dir.path(), "DELETE FROM records WHERE seq < 4");
    assert_eq!(broken(dir.path(), &[]).0, 1);

    // The gap is closed.
    let (dir, _) = journal().await;
    edit(dir.path(), "DELETE FROM records WHERE seq = 7; UPDATE records SET seq = seq - 1 WHERE seq > 7");
    assert_eq!(broken(dir.path(), &[]).0, 7);

    let (dir, _) = journal().await;
    let swap = "UPDATE records SET seq = 99 WHERE seq = 7; UPDATE records SET seq = 7 WHERE seq = 8;
                UPDATE records SET seq = 8 WHERE seq = 99";
    edit(dir.path(), swap);
    assert_eq!(broken(dir.path(), &[]).0, 7);

    let (dir, _) = journal().await;
    let insert = "UPDATE records SET seq = -seq WHERE seq > 6; UPDATE records SET seq = 1 - seq WHERE seq < 0;
                  INSERT INTO records SELECT 7, v, stream, at, epoch, kind, body, prev_hash FROM records WHERE seq = 6";
    edit(dir.path(), insert);
    assert_eq!(broken(dir.path(), &[]).0, 7);

    let (dir, _) = journal().await;
    edit(
        dir.path(),
        &format!(
            "INSERT INTO records SELECT {}, v, stream, at, epoch, kind, body, prev_hash FROM records WHERE seq = 6",
            RECORDS + 1
        ),
    );
    assert_eq!(broken(dir.path(), &[]).0, RECORDS as u64 + 1);
}

#[tokio::test]
async fn a_kept_head_shows_that_the_end_was_cut_off_or_written_anew() {
    let (dir, head) = journal().await;
    let full = format!("{}:{}", head.seq, head.hash);
    let short = &full[..full.len() - 48];
    for kept in [full.as_str(), short] {
        assert_eq!(verify(dir.path(), &["--head", kept]).0, 0);
    }
    // The last record is known to nobody else.
    edit(dir.path(), &format!("UPDATE records SET body = '{{}}' WHERE seq = {RECORDS}"));
    assert_eq!(verify(dir.path(), &[]).0, 0);
    for kept in [full.as_str(), short] {
        let (seq, why) = broken(dir.path(), &["--head", kept]);
        assert_eq!(seq, RECORDS as u64, "{why}");
    }
    edit(dir.path(), "DELETE FROM records WHERE seq > 9");
    assert_eq!(verify(dir.path(), &[]).0, 0);
    for kept in [full.as_str(), short] {
        let (seq, why) = broken(dir.path(), &["--head", kept]);
        assert!(seq == 10 && why.contains("cut off"), "{seq} {why}");
    }
    // Too few digits prove nothing, and are no head.
    assert_eq!(rollguard(dir.path(), &["verify", "--head", "12:ab12"]).status.code(), Some(2));
}

#[tokio::test]
async fn a_journal_is_verified_while_it_is_written() {
    let (dir, head) = journal().await;
    let journal = SqliteJournal::open(dir.path()).unwrap();
    let epoch = journal.claim().await.unwrap();
    let writing = async {
        for n in RECORDS + 1..RECORDS + 400 {
            append(&journal, epoch, n).await;
        }
    };
    let kept = format!("{}:{}", head.seq, head.hash);
    let path = dir.path().to_path_buf();
    let looking = tokio::task::spawn_blocking(move || {
        let records = |_| {
            let (code, text) = verify(&path, &["--head", &kept]);
            assert_eq!(code, 0, "{text}");
            text.split(' ').next().unwrap().parse::<usize>().unwrap()
        };
        (0..5).map(records).collect::<Vec<_>>()
    });
    let ((), seen) = tokio::join!(writing, looking);
    assert!(seen.unwrap().is_sorted());
    assert_eq!(journal.verify().await.unwrap(), RECORDS as u64 + 399);
    assert_eq!(verify(dir.path(), &[]).0, 0);
}

#[tokio::test]
async fn an_export_is_checked_by_anybody() {
    let (dir, head) = journal().await;
    let output = rollguard(dir.path(), &["export"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let mut hash = "0".repeat(64);
    for (n, line) in (1..).zip(text.lines()) {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&record["seq"], &record["prev_hash"]), (&json!(n), &json!(hash)));
        hash = Sha256::digest(line).iter().map(|byte| format!("{byte:02x}")).collect();
    }
    assert_eq!((text.lines().count(), &hash), (RECORDS, &head.hash));

    let only = |args: &[&str]| {
        let output = rollguard(dir.path(), &[&["export"], args].concat());
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_string).collect::<Vec<_>>()
    };
    let of_run: Vec<String> =
        text.lines().filter(|l| l.contains("\"run:shop-1\"")).map(str::to_string).collect();
    assert_eq!(only(&["--run", "shop-1"]), of_run);
    let since = at(9).to_string();
    assert_eq!(only(&["--since", &since]), text.lines().skip(8).collect::<Vec<_>>());
}

/// The program that the README gives to a third party.
#[tokio::test]
async fn the_readme_s_own_check_agrees() {
    let readme = include_str!("../../README.md");
    let (_, program) = readme.split_once("```python\n").expect("the README's check");
    let program = program.split_once("```").unwrap().0;
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: there is no python3");
        return;
    }
    let check = |export: &[u8]| {
        let mut python = Command::new("python3");
        python.args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = python.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), export).unwrap();
        child.wait_with_output().unwrap()
    };
    let (dir, head) = journal().await;
    let sound = check(&rollguard(dir.path(), &["export"]).stdout);
    assert_eq!(String::from_utf8(sound.stdout).unwrap(), format!("{RECORDS}:{}\n", head.hash));
    edit(dir.path(), "UPDATE records SET body = '{}' WHERE seq = 5");
    let altered = check(&rollguard(dir.path(), &["export"]).stdout);
    assert!(!altered.status.success());
    assert!(String::from_utf8(altered.stderr).unwrap().contains("record 6"));
}

#[test]
fn what_is_no_journal_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let said = |dir: &Path| String::from_utf8(rollguard(dir, &["verify"]).stderr).unwrap();
    assert!(said(dir.path()).contains("journal.db"), "{}", said(dir.path()));
    assert_eq!(rollguard(dir.path(), &["verify"]).status.code(), Some(1));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    edit(dir.path(), "CREATE TABLE recipes (name TEXT)");
    assert!(said(dir.path()).contains("is no journal"), "{}", said(dir.path()));
}
