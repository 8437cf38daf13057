//! Recordings are read whatever happened to them, and written within their limits.
use std::fs;
use std::io::Write;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::domain::names::{RuleName, ServiceName};
use crate::domain::signal::Reading;

const WATCH: &str = "shop/backend.3f2a.1700000000";
const ROOMY: RecordingLimits = RecordingLimits {
    max_file_bytes: 1 << 20,
    max_total_bytes: 1 << 30,
    max_age: Duration::from_secs(7 * 24 * 3600),
};

fn start() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

fn sample(second: i64) -> Sample {
    Sample {
        at: start() + SignedDuration::from_secs(second),
        service: ServiceName::parse("shop").unwrap(),
        target: None,
        release: Some("v2".into()),
        pod: None,
        reading: Reading::Counts { rule: RuleName::parse("error-rate").unwrap(), bad: 1.5, total: 340.0 },
    }
}

fn line(second: i64) -> String {
    serde_json::to_string(&sample(second)).unwrap() + "\n"
}

fn read(bytes: &[u8]) -> (Vec<Sample>, Vec<LineError>, u64) {
    let mut reader = RecordingReader::new(bytes).unwrap();
    let (mut samples, mut errors) = (Vec::new(), Vec::new());
    for item in &mut reader {
        match item {
            Ok(sample) => samples.push(sample),
            Err(error) => errors.push(error),
        }
    }
    (samples, errors, reader.skipped())
}

fn recorder(dir: &TempDir, limits: RecordingLimits) -> FileRecorder {
    FileRecorder::new(dir.path(), limits).unwrap()
}

#[test]
fn plain_and_compressed_recordings_read_the_same() {
    let text: String = (0..100).map(line).collect();
    let wanted: Vec<Sample> = (0..100).map(sample).collect();
    let (front, back) = (files::encode(&wanted[..30]).unwrap(), files::encode(&wanted[30..]).unwrap());
    assert_eq!(read(text.as_bytes()), (wanted.clone(), vec![], 0));
    assert_eq!(read(&[front, back].concat()), (wanted.clone(), vec![], 0));
    assert_eq!(read(text.trim_end().as_bytes()), (wanted, vec![], 0));
    assert_eq!(read(b""), (vec![], vec![], 0));
}

#[test]
fn bad_lines_are_named_and_unknown_kinds_are_counted() {
    let unknown = r#"{"at":"2026-11-22T10:00:00Z","kind":"weather","service":"shop","rain":true}"#;
    let bad_status =
        r#"{"at":"2026-11-22T10:00:00Z","kind":"alert","service":"shop","alert":"A","status":"x"}"#;
    let text = format!("{}\n{unknown}\nnot json\n{bad_status}\n{{}}\n{}", line(0), line(1));
    let (samples, errors, skipped) = read(text.as_bytes());
    assert_eq!(samples, [sample(0), sample(1)]);
    assert_eq!(errors.iter().map(|e| e.line).collect::<Vec<_>>(), [4, 5, 6]);
    assert!(errors[1].why.contains("unknown variant `x`"), "{}", errors[1]);
    assert_eq!(skipped, 1);
}

#[test]
fn a_huge_line_is_an_error_of_that_line_only() {
    let huge = "x".repeat(5 << 20);
    let (samples, errors, _) = read(format!("{}{huge}\n{}", line(0), line(1)).as_bytes());
    assert_eq!(samples, [sample(0), sample(1)]);
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].line, 2);
}

#[test]
fn a_truncated_recording_gives_what_is_before_the_cut() {
    let members: Vec<Vec<u8>> =
        (0..3).map(|i| files::encode(&[sample(2 * i), sample(2 * i + 1)]).unwrap()).collect();
    let whole = members.concat();
    let safe = members[0].len() + members[1].len();
    for cut in safe + 1..whole.len() {
        let (samples, errors, _) = read(&whole[..cut]);
        assert!(samples.len() >= 4, "cut at {cut}: {} samples", samples.len());
        assert_eq!(samples, (0..samples.len() as i64).map(sample).collect::<Vec<_>>());
        assert_eq!(errors.len(), 1, "cut at {cut}: {errors:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000), gzip in any::<bool>()) {
        let head: &[u8] = if gzip { &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3] } else { &[] };
        read(&[head, &bytes].concat());
    }

    #[test]
    fn a_damaged_recording_never_panics(at in 0usize..400, byte in any::<u8>()) {
        let mut bytes = files::encode(&(0..50).map(sample).collect::<Vec<_>>()).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        let (samples, _, _) = read(&bytes);
        prop_assert!(samples.len() <= 50);
    }

    #[test]
    fn no_two_watches_share_a_file(a in ".{1,300}", b in ".{1,300}") {
        let (x, y) = (files::name_of(&a), files::name_of(&b));
        prop_assert_eq!(x == y, a == b);
        prop_assert!(x.len() <= 255 && !x.contains('/') && !x.starts_with('.'));
    }
}

#[tokio::test]
async fn a_recording_outlives_its_process_and_goes_on_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let first = recorder(&dir, ROOMY);
    first.record(WATCH, vec![sample(0), sample(1)]).await;
    first.record(WATCH, vec![sample(2)]).await;
    assert_eq!(first.replay(WATCH).await, [sample(0), sample(1), sample(2)]);
    let path = first.path(WATCH);
    drop(first);

    // Killed in the middle of the next batch.
    let half = files::encode(&[sample(3)]).unwrap();
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(&half[..half.len() - 7]).unwrap();

    let second = recorder(&dir, ROOMY);
    second.record(WATCH, vec![sample(4)]).await;
    assert_eq!(second.replay(WATCH).await, [0, 1, 2, 4].map(sample));
    assert_eq!(second.replay("another").await, []);
}

#[tokio::test]
async fn a_full_recording_takes_no_more_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let size = files::encode(&[sample(0)]).unwrap().len() as u64;
    let recorder = recorder(&dir, RecordingLimits { max_file_bytes: 3 * size + size / 2, ..ROOMY });
    for second in 0..10 {
        recorder.record(WATCH, vec![sample(second)]).await;
    }
    assert_eq!(recorder.replay(WATCH).await, [0, 1, 2].map(sample));
    assert!(fs::metadata(recorder.path(WATCH)).unwrap().len() <= 3 * size + size / 2);
}

#[tokio::test]
async fn the_oldest_closed_recordings_make_room_and_open_ones_never_do() {
    let dir = tempfile::tempdir().unwrap();
    let size = files::encode(&[sample(0)]).unwrap().len() as u64;
    let recorder = recorder(&dir, RecordingLimits { max_total_bytes: 2 * size + size / 2, ..ROOMY });
    recorder.record("open", vec![sample(0)]).await;
    recorder.record("first", vec![sample(1)]).await;
    recorder.close("first").await;
    recorder.record("second", vec![sample(2)]).await;
    assert_eq!(recorder.replay("open").await, [sample(0)]);
    assert_eq!(recorder.replay("first").await, []);
    assert_eq!(recorder.replay("second").await, [sample(2)]);
    // Both are open: nothing can go, so the newcomer is dropped.
    recorder.record("third", vec![sample(3)]).await;
    assert_eq!(recorder.replay("third").await, []);
    assert_eq!(recorder.replay("second").await, [sample(2)]);
}

#[tokio::test]
async fn recordings_of_earlier_lives_go_when_they_are_too_old() {
    let dir = tempfile::tempdir().unwrap();
    let first = recorder(&dir, ROOMY);
    first.record("old", vec![sample(0)]).await;
    drop(first);
    let second = recorder(&dir, RecordingLimits { max_age: Duration::from_secs(100), ..ROOMY });
    second.record("new", vec![sample(99)]).await;
    assert_eq!(second.replay("old").await, [sample(0)]);
    second.record("new", vec![sample(200)]).await;
    second.close("new").await;
    assert_eq!(second.replay("new").await.len(), 2);
    assert!(!second.path("old").exists());
}

#[tokio::test]
async fn a_file_that_is_no_recording_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorder(&dir, ROOMY);
    fs::write(recorder.path(WATCH), "somebody's notes").unwrap();
    recorder.record(WATCH, vec![sample(0)]).await;
    assert_eq!(recorder.replay(WATCH).await, []);
    assert_eq!(fs::read_to_string(recorder.path(WATCH)).unwrap(), "somebody's notes");
}

#[tokio::test]
async fn a_lost_directory_stops_no_watch() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorder(&dir, ROOMY);
    fs::remove_dir(dir.path()).unwrap();
    recorder.record(WATCH, vec![sample(0)]).await;
    assert_eq!(recorder.replay(WATCH).await, []);
    fs::create_dir(dir.path()).unwrap();
    recorder.record(WATCH, vec![sample(1)]).await;
    assert_eq!(recorder.replay(WATCH).await, [sample(1)]);
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = FileRecorder::new(file.path(), ROOMY).err().unwrap();
    assert!(error.to_string().contains(file.path().to_str().unwrap()), "{error}");
}
