//! What every journal promises, run against each adapter (Postgres: in `postgres`).
use std::time::Duration;

use jiff::Timestamp;
use rollguard::adapters::journal::{MemoryJournal, SqliteJournal};
use rollguard::domain::detect::errors::Counts;
use rollguard::domain::event::{RECORD_VERSION, StreamId};
use rollguard::domain::histogram::Histogram;
use rollguard::domain::message::MessageKind::{Action, Note, Page, Resolve};
use rollguard::domain::names::{RuleName, ServiceName, TargetId, TargetName};
use rollguard::ports::{
    Commit, Delivery, Head, Journal, JournalError, MinuteRow, NewRecord, Published, Received,
};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{at, days, event, events, item, message, messages};

/// The promises, for a macro that makes tests of them.
macro_rules! promises {
    ($tests:ident) => {
        $tests!(
            a_new_epoch_ends_all_earlier_ones,
            a_refused_commit_leaves_nothing_behind,
            records_are_chained_in_the_order_of_commits,
            streams_are_found_by_prefix_taken_literally,
            what_comes_twice_is_received_once,
            a_message_goes_once_to_each_channel,
            messages_of_an_incident_keep_their_order,
            a_failed_delivery_waits_for_its_time,
            a_page_repeats_until_its_incident_is_resolved,
            a_newer_page_ends_the_older_ones_of_its_incident,
            what_was_refused_for_good_is_over,
            what_is_done_is_forgotten_after_a_week,
            minutes_add_up_and_go_after_a_day,
            minutes_keep_response_times,
            what_is_published_takes_the_place_of_what_was,
        );
    };
}
pub(crate) use promises;

macro_rules! in_this_process {
    ($($promise:ident),* $(,)?) => {$(
        mod $promise {
            use super::*;
            #[tokio::test]
            async fn in_memory() {
                super::$promise(&MemoryJournal::default()).await;
            }
            #[tokio::test]
            async fn in_sqlite() {
                let dir = tempfile::tempdir().unwrap();
                let journal = SqliteJournal::open(dir.path()).unwrap();
                super::$promise(&journal).await;
                journal.verify().await.unwrap();
            }
        }
    )*};
}

promises!(in_this_process);

/// Titles of what is due, in order.
async fn due(journal: &dyn Journal, now: Timestamp) -> Vec<String> {
    let rows = journal.outbox(now, 100).await.unwrap();
    rows.into_iter().map(|row| format!("{} {}", row.channel, row.message.key)).collect()
}

async fn settle(journal: &dyn Journal, epoch: u64, now: Timestamp, which: &str, delivery: Delivery) {
    let rows = journal.outbox(now, 100).await.unwrap();
    let row = rows.iter().find(|row| format!("{} {}", row.channel, row.message.key) == which);
    let id = row.unwrap_or_else(|| panic!("{which} is not due")).id;
    journal.settle(epoch, id, now, delivery).await.unwrap();
}

pub(crate) async fn a_new_epoch_ends_all_earlier_ones(journal: &dyn Journal) {
    let commit = || events(vec![event("r", json!({}))]);
    assert_eq!(journal.commit(1, commit()).await, Err(JournalError::Stale { ours: 1, current: 0 }));
    let (first, second) = (journal.claim().await.unwrap(), journal.claim().await.unwrap());
    assert!(second > first);
    let stale = JournalError::Stale { ours: first, current: second };
    assert_eq!(journal.commit(first, commit()).await, Err(stale.clone()));
    assert_eq!(journal.settle(first, 1, at(0), Delivery::Done).await, Err(stale.clone()));
    let target =
        TargetId { service: ServiceName::parse("shop").unwrap(), target: TargetName::parse("web").unwrap() };
    assert_eq!(journal.save_minutes(first, &target, vec![]).await, Err(stale));
    journal.commit(second, commit()).await.unwrap();
    assert_eq!(journal.read(&StreamId::run("r")).await.unwrap().len(), 1);
}

pub(crate) async fn a_refused_commit_leaves_nothing_behind(journal: &dyn Journal) {
    let stale = journal.claim().await.unwrap();
    let epoch = journal.claim().await.unwrap();
    journal.receive(item("a")).await.unwrap();
    let folded = vec![journal.inbox(10).await.unwrap()[0].id];
    let commit = Commit {
        at: at(0),
        events: vec![event("r", json!({}))],
        messages: vec![message("slack", "i", "page", Page)],
        folded,
    };
    journal.commit(stale, commit.clone()).await.unwrap_err();
    assert_eq!(journal.streams("").await, Ok(vec![]));
    assert_eq!(journal.outbox_depth().await, Ok(0));
    assert_eq!(journal.inbox(10).await.unwrap().len(), 1);

    journal.commit(epoch, commit).await.unwrap();
    assert_eq!(journal.streams("").await, Ok(vec![StreamId::run("r")]));
    assert_eq!(journal.outbox_depth().await, Ok(1));
    assert_eq!(journal.inbox(10).await, Ok(vec![]));
}

pub(crate) async fn records_are_chained_in_the_order_of_commits(journal: &dyn Journal) {
    assert_eq!(journal.head().await, Ok(Head::default()));
    let epoch = journal.claim().await.unwrap();
    let odd =
        json!({"text": "ü \"\\\u{1}\n", "numbers": [0.1, 1e300, -7, 0.30000000000000004], "none": null});
    let first = vec![event("a", odd.clone()), event("b", json!(1)), event("a", json!(2))];
    let later: Timestamp = "2026-11-22T10:00:01.123456789Z".parse().unwrap();
    journal.commit(epoch, events(first)).await.unwrap();
    let second = Commit { at: later, events: vec![event("a", json!(null))], ..Commit::default() };
    journal.commit(epoch, second).await.unwrap();

    let a = journal.read(&StreamId::run("a")).await.unwrap();
    let b = journal.read(&StreamId::run("b")).await.unwrap();
    assert_eq!(a.iter().map(|r| r.seq).collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!((&a[0].body, &a[1].body, a[2].at), (&odd, &json!(2), later));
    assert_eq!((a[0].v, a[0].epoch, a[0].kind.as_str(), a[0].at), (RECORD_VERSION, epoch, "opened", at(0)));

    let mut hash = "0".repeat(64);
    for record in [&a[0], &b[0], &a[1], &a[2]] {
        assert_eq!(record.prev_hash, hash, "record {}", record.seq);
        let json = serde_json::to_string(record).unwrap();
        hash = Sha256::digest(json).iter().map(|byte| format!("{byte:02x}")).collect();
    }
    assert_eq!(journal.head().await, Ok(Head { seq: 4, hash }));
    assert_eq!(journal.read(&StreamId::run("none")).await, Ok(vec![]));
}

pub(crate) async fn streams_are_found_by_prefix_taken_literally(journal: &dyn Journal) {
    let epoch = journal.claim().await.unwrap();
    let named = |name: &str| NewRecord { stream: StreamId::stored(name), ..event("", json!({})) };
    let names = ["run:a_b", "run:acb", "run:a%", "target:shop/backend", "run:ä", "run:a_b", "RUN:a"];
    journal.commit(epoch, events(names.map(named).to_vec())).await.unwrap();
    let found = async |prefix: &str| {
        let streams = journal.streams(prefix).await.unwrap();
        streams.iter().map(|s| s.as_str().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(found("run:").await, ["run:a%", "run:a_b", "run:acb", "run:ä"]);
    assert_eq!(found("run:a_").await, ["run:a_b"]);
    assert_eq!(found("run:a%").await, ["run:a%"]);
    assert_eq!(found("target:").await, ["target:shop/backend"]);
    assert_eq!(found("").await.len(), 6);
}

pub(crate) async fn what_comes_twice_is_received_once(journal: &dyn Journal) {
    let epoch = journal.claim().await.unwrap();
    let Ok(Received::New(a)) = journal.receive(item("a")).await else { panic!("a is new") };
    assert!(matches!(journal.receive(item("b")).await, Ok(Received::New(_))));
    assert_eq!(journal.receive(item("a")).await, Ok(Received::Duplicate));
    let rows = journal.inbox(1).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].id, &rows[0].body, rows[0].at), (a, &json!({"key": "a"}), at(0)));

    let fold = Commit { at: at(1), folded: vec![a], ..Commit::default() };
    journal.commit(epoch, fold).await.unwrap();
    assert_eq!(journal.receive(item("a")).await, Ok(Received::Duplicate));
    let left = journal.inbox(10).await.unwrap();
    assert_eq!(left.iter().map(|row| &row.body).collect::<Vec<_>>(), [&json!({"key": "b"})]);
}

pub(crate) async fn a_message_goes_once_to_each_channel(journal: &dyn Journal) {
    let epoch = journal.claim().await.unwrap();
    let page = |channel| message(channel, "i", "page", Page);
    journal.commit(epoch, messages(vec![page("slack"), page("pager")])).await.unwrap();
    journal.commit(epoch, messages(vec![page("slack")])).await.unwrap();
    assert_eq!(due(journal, at(0)).await, ["slack i/page", "pager i/page"]);
    settle(journal, epoch, at(0), "slack i/page", Delivery::Done).await;
    journal.commit(epoch, messages(vec![page("slack")])).await.unwrap();
    assert_eq!(due(journal, at(9)).await, ["pager i/page"]);
    assert_eq!(journal.outbox_depth().await, Ok(1));
    let row = &journal.outbox(at(9), 1).await.unwrap()[0];
    assert_eq!((&row.message, row.attempts), (&page("pager").message, 0));
}

pub(crate) async fn messages_of_an_incident_keep_their_order(journal: &dyn Journal) {
    let epoch = journal.claim().await.unwrap();
    let all = vec![
        message("slack", "i", "page", Page),
        message("slack", "i", "resolve", Resolve),
        message("slack", "other", "page", Page),
        message("pager", "i", "resolve", Resolve),
    ];
    journal.commit(epoch, messages(all)).await.unwrap();
    assert_eq!(due(journal, at(0)).await, ["slack i/page", "slack other/page", "pager i/resolve"]);
    assert_eq!(journal.outbox(at(0), 2).await.unwrap().len(), 2);
    let retry = Delivery::Retry { at: at(60), why: "503".into() };
    settle(journal, epoch, at(0), "slack i/page", retry).await;
    assert_eq!(due(journal, at(30)).await, ["slack other/page", "pager i/resolve"]);
    assert_eq!(due(journal, at(60)).await, ["slack i/page", "slack other/page", "pager i/resolve"]);
    settle(journal, epoch, at(60), "slack i/page", Delivery::Done).await;
    assert_eq!(due(journal, at(60)).await, ["slack i/resolve", "slack other/page", "pager i/resolve"]);
}

pub(crate) async fn a_failed_delivery_waits_for_its_time(journal: &dyn Journal) {
    let epoch = journal.claim().await.unwrap();
    journal.commit(epoch, messages(vec![message("slack", "i", "note", Note)])).await.unwrap();
    assert_eq!(due(journal, at(-1)).await, Vec::<String>::new());
    let retry = |at| Delivery::Retry { at, why: "connection refused".into() };
    // Half a second sorts after the whole one, also as text.
    let soon = at(5) + Duration::from_millis(500);
    settle(journal, epoch, at(0), "slack i/note", retry(soon)).await;
    assert_eq!(due(journal, at(5)).await, Vec::<String>::new());
    settle(journal, epoch, at(6), "slack i/note", retry(at(10))).await;
    assert_eq!(journal.outbox(at(10), 9).await.unwrap()[0].attempts, 2);
    settle(journal, epoch, at(10), "slack i/note", Delivery::Repeat { at: at(70) }).await;
    assert_eq!(due(journal, at(69)).await, Vec::<String>::new());
    assert_eq!(journal.outbox(at(70), 9).await.unwrap()[0].attempts, 0);
    journal.settle(epoch, 12345, at(70), Delivery::Done).await.unwrap();
}

pub(crate) async fn a_page_repeats_until_its_incident_is_resolved(journal: &dyn Journal) {
    let epoch = journal.claim().await.unwrap();
    let page = |channel, incident| message(channel, incident, "page", Page);
    let pages = vec![page("am", "i"), page("am", "other"), page("am2", "i")];
    journal.commit(epoch, messages(pages)).await.unwrap();
    for row in journal.outbox(at(0), 9).await.unwrap() {
        journal.settle(epoch, row.id, at(0), Delivery::Repeat { at: at(60) }).await.unwrap();
    }
    assert_eq!(journal.outbox_depth().await, Ok(0));
    let repeats = journal.outbox(at(60), 9).await.unwrap();
    assert_eq!(repeats.len(), 3);
    // A repetition that fails is tried again, and is not what waits.
    journal
        .settle(epoch, repeats[0].id, at(60), Delivery::Retry { at: at(61), why: "503".into() })
        .await
        .unwrap();
    assert_eq!(journal.outbox_depth().await, Ok(0));
    assert_eq!(due(journal, at(61)).await.len(), 3);

    journal.commit(epoch, messages(vec![message("am", "i", "resolve", Resolve)])).await.unwrap();
    assert_eq!(due(journal, at(61)).await, ["am other/page", "am2 i/page", "am i/resolve"]);
    settle(journal, epoch, at(61), "am i/resolve", Delivery::Done).await;
    // An answer that was under way when the incident ended does not start it again.
    journal.settle(epoch, repeats[0].id, at(62), Delivery::Repeat { at: at(63) }).await.unwrap();
    assert_eq!(due(journal, at(99)).await, ["am other/page", "am2 i/page"]);
}

pub(crate) async fn a_newer_page_ends_the_older_ones_of_its_incident(journal: &dyn Journal) {
    let epoch = journal.claim().await.unwrap();
    let first = vec![message("am", "i", "first", Page), message("am", "other", "page", Page)];
    journal
        .commit(epoch, messages([first, vec![message("am2", "i", "first", Page)]].concat()))
        .await
        .unwrap();
    for which in ["am i/first", "am other/page", "am2 i/first"] {
        settle(journal, epoch, at(0), which, Delivery::Repeat { at: at(60) }).await;
    }
    journal.commit(epoch, messages(vec![message("am", "i", "second", Page)])).await.unwrap();
    let retry = Delivery::Retry { at: at(60), why: "503".into() };
    settle(journal, epoch, at(1), "am i/second", retry).await;
    let all = ["am i/first", "am other/page", "am2 i/first", "am i/second"];
    assert_eq!(due(journal, at(60)).await, all, "the older one goes on until the newer one is there");
    settle(journal, epoch, at(60), "am i/second", Delivery::Repeat { at: at(120) }).await;
    assert_eq!(due(journal, at(120)).await, ["am other/page", "am2 i/first", "am i/second"]);
}

pub(crate) async fn what_was_refused_for_good_is_over(journal: &dyn Journal) {
    let epoch = journal.claim().await.unwrap();
    let both = vec![message("slack", "i", "action", Action), message("slack", "i", "note", Note)];
    journal.commit(epoch, messages(both)).await.unwrap();
    let dropped = Delivery::Dropped { why: "channel_not_found".into() };
    settle(journal, epoch, at(0), "slack i/action", dropped).await;
    assert_eq!(due(journal, at(0)).await, ["slack i/note"]);
    assert_eq!(journal.outbox_depth().await, Ok(1));
}

pub(crate) async fn what_is_done_is_forgotten_after_a_week(journal: &dyn Journal) {
    let epoch = journal.claim().await.unwrap();
    let note = |what| message("slack", what, what, Note);
    let Ok(Received::New(id)) = journal.receive(item("a")).await else { panic!("a is new") };
    let done =
        Commit { folded: vec![id], ..messages(vec![note("done"), note("waiting"), note("repeating")]) };
    journal.commit(epoch, done).await.unwrap();
    journal.receive(item("open")).await.unwrap();
    settle(journal, epoch, at(0), "slack done/done", Delivery::Done).await;
    settle(journal, epoch, at(0), "slack repeating/repeating", Delivery::Repeat { at: at(days(8)) }).await;

    assert_eq!(due(journal, at(days(6))).await, ["slack waiting/waiting"]);
    assert_eq!(journal.receive(item("a")).await, Ok(Received::Duplicate));
    // By then nobody needs the message that still waits; what repeats goes on until it is resolved.
    assert_eq!(due(journal, at(days(8))).await, ["slack repeating/repeating"]);
    let Ok(Received::New(again)) = journal.receive(item("a")).await else { panic!("a is forgotten") };
    assert!(again > id);
    assert_eq!(journal.inbox(9).await.unwrap().len(), 2);
    let again = Commit { at: at(days(8)), ..messages(vec![note("done"), note("waiting")]) };
    journal.commit(epoch, again).await.unwrap();
    assert_eq!(due(journal, at(days(8))).await, ["slack repeating/repeating", "slack done/done"]);
}

pub(crate) async fn minutes_keep_response_times(journal: &dyn Journal) {
    let epoch = journal.claim().await.unwrap();
    let target =
        TargetId { service: ServiceName::parse("shop").unwrap(), target: TargetName::parse("web").unwrap() };
    let times = |value: serde_json::Value| Some(serde_json::from_value::<Histogram>(value).unwrap());
    let row = |minute: i64, times: Option<Histogram>| MinuteRow {
        rule: RuleName::parse("latency").unwrap(),
        minute: at(60 * minute),
        counts: Counts::default(),
        times,
    };
    let classic = |fast: u32, all: u32| times(json!({"buckets": {"0.1": fast, "+Inf": all}}));
    let native =
        |counts: [u32; 2]| times(json!({"native": {"schema": 3, "spans": [[-9, 2]], "counts": counts}}));
    let rows = vec![row(0, classic(1, 2)), row(1, native([1, 2])), row(2, None)];
    journal.save_minutes(epoch, &target, rows.clone()).await.unwrap();
    assert_eq!(journal.minutes(&target, at(0)).await.unwrap(), rows);
    let more = vec![row(0, classic(3, 3)), row(1, native([4, 4])), row(2, classic(1, 1))];
    journal.save_minutes(epoch, &target, more).await.unwrap();
    let sums = vec![row(0, classic(4, 5)), row(1, native([5, 6])), row(2, classic(1, 1))];
    assert_eq!(journal.minutes(&target, at(0)).await.unwrap(), sums);
}

pub(crate) async fn minutes_add_up_and_go_after_a_day(journal: &dyn Journal) {
    let epoch = journal.claim().await.unwrap();
    let target = |name: &str| TargetId {
        service: ServiceName::parse("shop").unwrap(),
        target: TargetName::parse(name).unwrap(),
    };
    let row = |rule: &str, minute: i64, bad: f64, total: f64| MinuteRow {
        rule: RuleName::parse(rule).unwrap(),
        minute: at(60 * minute),
        counts: Counts { bad, total },
        times: None,
    };
    let (web, api) = (target("web"), target("api"));
    let first = vec![row("errors", 0, 1.0, 10.0), row("errors", 1, 0.5, 20.0), row("other", 0, 0.0, 5.0)];
    journal.save_minutes(epoch, &web, first).await.unwrap();
    journal.save_minutes(epoch, &web, vec![row("errors", 0, 2.0, 30.0)]).await.unwrap();
    journal.save_minutes(epoch, &api, vec![row("errors", 0, 9.0, 9.0)]).await.unwrap();
    journal.save_minutes(epoch, &web, vec![]).await.unwrap();
    let expected = [row("errors", 0, 3.0, 40.0), row("other", 0, 0.0, 5.0), row("errors", 1, 0.5, 20.0)];
    assert_eq!(journal.minutes(&web, at(0)).await.unwrap(), expected);
    assert_eq!(journal.minutes(&web, at(1)).await.unwrap(), expected[2..]);

    let day = 24 * 60;
    journal.save_minutes(epoch, &web, vec![row("errors", day + 1, 0.0, 1.0)]).await.unwrap();
    let left = [row("errors", 1, 0.5, 20.0), row("errors", day + 1, 0.0, 1.0)];
    assert_eq!(journal.minutes(&web, at(0)).await.unwrap(), left);
    assert_eq!(journal.minutes(&api, at(0)).await.unwrap().len(), 1);
    journal.outbox(at(days(3)), 1).await.unwrap();
    assert_eq!(journal.minutes(&api, at(0)).await, Ok(vec![]));
}

pub(crate) async fn what_is_published_takes_the_place_of_what_was(journal: &dyn Journal) {
    assert_eq!(journal.epoch().await, Ok(0));
    assert_eq!(journal.published().await, Ok(None));
    let (stale, epoch) = (journal.claim().await.unwrap(), journal.claim().await.unwrap());
    assert_eq!(journal.epoch().await, Ok(epoch));
    let shown = |at, n: u32| Published { at, picture: json!({ "services": [{ "n": n, "big": 1e300 }] }) };
    journal.publish(epoch, shown(at(0), 1)).await.unwrap();
    journal.publish(epoch, shown(at(5), 2)).await.unwrap();
    let refused = journal.publish(stale, shown(at(6), 3)).await;
    assert_eq!(refused, Err(JournalError::Stale { ours: stale, current: epoch }));
    assert_eq!(journal.published().await, Ok(Some(shown(at(5), 2))));
    assert_eq!(journal.head().await, Ok(Head::default()));
}
