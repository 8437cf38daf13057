//! The golden journal: records as version 1 wrote them must be read and folded for ever.
//!
//! `tests/fixtures/journal-v1.jsonl` is frozen: its lines are never changed. A new kind of event gets a line of its own at the
//! end: add it to the end of [`all_events`] and run `the_golden_journal_reads_as_it_was_meant` alone, once, with
//! `ROLLGUARD_EXTEND_GOLDEN=1`.
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;
use rollguard::adapters::journal::MemoryJournal;
use rollguard::domain::event::{
    RECORD_VERSION, Record, RunEvent, StreamId, TargetEvent, from_record, to_parts,
};
use rollguard::domain::memory::TargetMemory;
use rollguard::domain::policy::Decision;
use rollguard::domain::run::{End, Phase, Run, evolve};
use rollguard::ports::{Commit, Journal, NewRecord};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::at;

fn golden_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/journal-v{RECORD_VERSION}.jsonl"))
}

fn golden() -> Vec<Record> {
    let text = fs::read_to_string(golden_file()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the next line's `prev_hash` is.
fn hash_of(line: &str) -> String {
    Sha256::digest(line).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Clone, Debug, PartialEq)]
enum Event {
    Run(RunEvent),
    Target(TargetEvent),
}

const TARGET: &str = "target:shop/backend";

/// Every kind of event, as a story. The fixture's lines are these, in this order.
fn all_events() -> Vec<Event> {
    let target = super::story::target_events().into_iter().map(Event::Target);
    let run = super::story::run_events().into_iter().map(Event::Run);
    let later = super::story::later_target_events().into_iter().map(Event::Target);
    let later_run = super::story::later_run_events().into_iter().map(Event::Run);
    let (kept, compared) = super::story::kept_events();
    let kept = [Event::Target(kept), Event::Run(compared)];
    let (asked, answered) = super::story::asked_events();
    let asked = asked.into_iter().map(Event::Target).chain(answered.into_iter().map(Event::Run));
    target.chain(run).chain(later).chain(later_run).chain(kept).chain(asked).collect()
}

fn record_of(event: &Event) -> NewRecord {
    let (stream, (kind, body)) = match event {
        Event::Run(event) => (StreamId::run("shop-1"), to_parts(event).unwrap()),
        Event::Target(event) => (StreamId::stored(TARGET), to_parts(event).unwrap()),
    };
    NewRecord { stream, kind, body }
}

fn event_of(record: &Record) -> Event {
    let read = if record.stream.as_run().is_some() {
        from_record(record).map(Event::Run)
    } else {
        from_record(record).map(Event::Target)
    };
    read.unwrap_or_else(|e| panic!("record {} ({}) can no longer be read: {e}", record.seq, record.kind))
}

/// Appends what the fixture lacks. The lines that are there stay as they are.
async fn extend(events: &[Event]) {
    let mut text = fs::read_to_string(golden_file()).unwrap_or_default();
    let known = text.lines().count();
    let journal = MemoryJournal::default();
    let epoch = journal.claim().await.unwrap();
    for (second, event) in (0..).zip(events) {
        let commit = Commit { at: at(second), events: vec![record_of(event)], ..Commit::default() };
        journal.commit(epoch, commit).await.unwrap();
    }
    for mut record in journal.records().into_iter().skip(known) {
        record.prev_hash = text.lines().next_back().map_or(record.prev_hash, hash_of);
        text += &(serde_json::to_string(&record).unwrap() + "\n");
    }
    fs::write(golden_file(), text).unwrap();
}

#[test]
fn no_line_of_the_golden_journal_was_altered() {
    let mut hash = "0".repeat(64);
    for line in fs::read_to_string(golden_file()).unwrap().lines() {
        let record: Record = serde_json::from_str(line).unwrap();
        assert_eq!(record.prev_hash, hash, "record {} does not follow from the one before it", record.seq);
        hash = hash_of(line);
    }
}

#[tokio::test]
async fn the_golden_journal_reads_as_it_was_meant() {
    let events = all_events();
    if std::env::var_os("ROLLGUARD_EXTEND_GOLDEN").is_some() {
        extend(&events).await;
    }
    let records = golden();
    assert_eq!(records.len(), events.len(), "a kind of event has no line in the golden journal, see the top");
    for (record, event) in records.iter().zip(&events) {
        assert_eq!(record.v, RECORD_VERSION);
        assert_eq!(event_of(record), *event, "record {} means something else now", record.seq);
    }
}

#[test]
fn every_kind_of_event_is_in_the_golden_journal() {
    let records = golden();
    let kinds = |run: bool| -> BTreeSet<String> {
        let of = records.iter().filter(|r| r.stream.as_run().is_some() == run);
        of.map(|r| r.kind.clone()).collect()
    };
    assert_eq!(kinds(true), variants::<RunEvent>());
    assert_eq!(kinds(false), variants::<TargetEvent>());
}

/// The kinds that a type knows, from what serde says about one that it does not know.
fn variants<E: for<'de> Deserialize<'de>>() -> BTreeSet<String> {
    let unknown = serde_json::from_value::<E>(json!({"kind": "?", "body": null})).err().unwrap().to_string();
    unknown.split('`').skip(3).step_by(2).map(str::to_string).collect()
}

#[test]
fn an_unknown_kind_is_an_error() {
    let record = Record { kind: "teleported".into(), ..golden().remove(0) };
    assert!(from_record::<TargetEvent>(&record).is_err());
    assert!(from_record::<RunEvent>(&record).is_err());
}

fn fold_until(last: &str) -> Run {
    let mut run = Run::default();
    for record in golden().iter().filter(|r| r.stream.as_run().is_some()) {
        let Event::Run(event) = event_of(record) else { unreachable!("a run's stream") };
        run = evolve(run, &event, record.at);
        if record.kind == last {
            return run;
        }
    }
    panic!("no {last} in the golden journal")
}

#[test]
fn the_golden_run_folds_to_what_it_was() {
    assert!(matches!(fold_until("opened").phase, Phase::AwaitingApproval { .. }));
    assert_eq!(fold_until("adopted").epoch, 1);
    assert_eq!(fold_until("approved").approved_by.as_deref(), Some("ana"));
    assert!(matches!(fold_until("step_started").phase, Phase::Executing { step: 0, started: Some(_) }));
    assert!(matches!(fold_until("stuck").phase, Phase::Stuck { step: 0, .. }));
    assert!(matches!(fold_until("resumed").phase, Phase::Executing { step: 0, started: None }));
    assert!(matches!(fold_until("step_done").phase, Phase::Executing { step: 1, started: None }));
    assert!(matches!(fold_until("skipped").phase, Phase::Verifying { .. }));
    assert_eq!(fold_until("verified").verified, Some(true));
    assert_eq!(fold_until("relapsed").relapsed.as_deref(), Some("errors at 9.0 %"));
    assert_eq!(fold_until("watch_ended").phase, Phase::Closed(End::StillBad));
    assert_eq!(fold_until("superseded").phase, Phase::Closed(End::Superseded));
    assert_eq!(fold_until("denied").phase, Phase::Closed(End::Denied));
    assert_eq!(fold_until("approval_expired").phase, Phase::Closed(End::Expired));
    assert_eq!(fold_until("compared").compared[0].differences.len(), 4);
    assert_eq!(fold_until("unanswered").asked.reminded, 1);
    assert_eq!(fold_until("acknowledged").asked.acknowledged.as_deref(), Some("ana"));
    assert_eq!(fold_until("aborted").phase, Phase::Closed(End::Aborted));
}

#[test]
fn the_golden_target_folds_to_what_it_was() {
    let mut memories: Vec<(String, TargetMemory)> = Vec::new();
    for record in golden().iter().filter(|r| r.stream.as_str() == TARGET) {
        let Event::Target(event) = event_of(record) else { unreachable!("a target's stream") };
        let memory = memories.last().map(|(_, memory)| memory.clone()).unwrap_or_default();
        memories.push((record.kind.clone(), memory.fold(&event, record.at)));
    }
    let after = |kind: &str| &memories.iter().find(|(k, _)| k == kind).unwrap().1;
    let label = |version: &Option<rollguard::domain::release::Version>| version.clone().unwrap().label;
    assert_eq!(label(&after("known_good").known_good), "v1");
    assert_eq!(label(&after("watch_opened").current), "v2");
    let watch = |kind: &str| after(kind).watch.clone().unwrap();
    assert_eq!(watch("watch_opened").spec.judging.batch_secs, 5.0);
    assert!(watch("rollout_ended").rollout_ended.is_some());
    assert_eq!(watch("minor_trouble").told_minor, [None]);
    assert_eq!(watch("decided").reached, Decision::Ask);
    assert_eq!(after("rolled_back").known_bad.len(), 1);
    assert!(after("rolled_back").last_rollback().is_some());
    assert_eq!(after("watch_closed").watch, None);
    assert_eq!(after("kept").kept.len(), 1);
    let page = |kind: &str| after(kind).page.clone().unwrap();
    assert_eq!(page("acknowledged").acknowledged.as_deref(), Some("ana"));
    assert_eq!(page("escalated").level, 1);
    assert_eq!(after("paging").paging.as_deref(), Some("shop/backend.v2.1"));
}

/// A field that today's code does not know is one that a later version added: bodies only grow.
#[test]
fn a_body_that_grew_is_still_read() {
    for record in golden() {
        let before = event_of(&record);
        let mut grown = record;
        if let Some(body) = grown.body.as_object_mut() {
            body.insert("added_later".into(), json!({"by": "a newer version"}));
        }
        assert_eq!(event_of(&grown), before);
    }
}

/// What is written is read back as the same, for every kind.
#[test]
fn what_is_written_today_is_read_back() {
    fn round<E: Serialize + for<'de> Deserialize<'de>>(event: &E, at: Timestamp) -> E {
        let (kind, body) = to_parts(event).unwrap();
        let stream = StreamId::run("r");
        from_record(&Record { v: 1, seq: 1, stream, at, epoch: 1, kind, body, prev_hash: String::new() })
            .unwrap()
    }
    for event in all_events() {
        match event {
            Event::Run(event) => assert_eq!(round(&event, at(0)), event),
            Event::Target(event) => assert_eq!(round(&event, at(0)), event),
        }
    }
}
