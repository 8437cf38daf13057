//! Backtests: the recorded incidents with their verdicts, and the command as people and scripts use it.
mod command;
mod incidents;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use rollguard::app::backtest::{Judged, News, Options, Order, Policies, run};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings")
}

fn recording(name: &str) -> PathBuf {
    folder().join(format!("{name}.jsonl.gz"))
}

fn judged(recordings: Vec<PathBuf>) -> Vec<Judged> {
    judged_with(recordings, Options::default())
}

fn judged_with(recordings: Vec<PathBuf>, options: Options) -> Vec<Judged> {
    let policies = Policies::new([]);
    let order = Order { policies, compare: None, only: None, options };
    let mut out = Vec::new();
    run(&recordings, &order, &mut |news| match news {
        News::Judged { judged, .. } => out.push(*judged),
        News::Broken { path, why } => panic!("{}: {why}", path.display()),
        News::Unknown(targets) => panic!("{targets:?}"),
    })
    .unwrap();
    out
}

/// `NAME.expected.jsonl` beside a recording holds, for each release, the keys that must be so, and within how many seconds.
#[test]
fn every_recorded_incident_gets_its_verdict() {
    let mut wrong = String::new();
    let mut names: Vec<PathBuf> = fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    let recordings = names.iter().filter(|path| path.extension().is_some_and(|e| e == "gz"));
    let mut seen = 0;
    for path in recordings {
        seen += 1;
        let name = path.file_name().unwrap().to_str().unwrap().trim_end_matches(".jsonl.gz");
        let expected = fs::read_to_string(folder().join(format!("{name}.expected.jsonl"))).unwrap();
        let expected: Vec<Value> = expected.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let judged = judged(vec![path.clone()]);
        if judged.len() != expected.len() {
            wrong += &format!("{name}: {} releases, not {}\n", judged.len(), expected.len());
        }
        for (judged, expected) in judged.iter().zip(&expected) {
            wrong += &difference(name, judged, expected);
        }
    }
    assert_eq!(seen, incidents::all().len());
    assert!(wrong.is_empty(), "\n{wrong}");
}

fn difference(name: &str, judged: &Judged, expected: &Value) -> String {
    let found = serde_json::to_value(judged).unwrap();
    let mut wrong = String::new();
    for (key, wanted) in expected.as_object().unwrap() {
        let met = match key.as_str() {
            "within_seconds" => judged.delay_seconds <= wanted.as_f64().unwrap(),
            "reason_has" => judged.reason.contains(wanted.as_str().unwrap()),
            key => found.get(key) == Some(wanted),
        };
        if !met {
            wrong += &format!("{name}: {key} should be {wanted}: {found}\n");
        }
    }
    wrong
}

/// The recordings are what their generator makes, so that nobody has to trust a compressed file. With `MAKE_RECORDINGS=1` it
/// writes them.
#[test]
fn the_recordings_are_those_of_the_generator() {
    let write = std::env::var_os("MAKE_RECORDINGS").is_some_and(|value| value == "1");
    for (name, wanted) in incidents::all() {
        if write {
            let mut encoder = GzEncoder::new(fs::File::create(recording(name)).unwrap(), Compression::best());
            encoder.write_all(wanted.as_bytes()).unwrap();
            encoder.finish().unwrap();
        }
        let mut found = String::new();
        let file = fs::File::open(recording(name)).unwrap();
        GzDecoder::new(file).read_to_string(&mut found).unwrap();
        assert!(found == wanted, "{name} is not what the generator makes: run this with MAKE_RECORDINGS=1");
    }
}
