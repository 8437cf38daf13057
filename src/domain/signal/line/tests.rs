//! The quick way reads what serde reads, and nonsense is refused whatever it looks like.
use proptest::prelude::*;

use super::*;

fn serde(text: &[u8]) -> Result<Sample, String> {
    let line: Line<'_> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    line.sample(&mut Names::default())
}

fn quick(text: &[u8]) -> Option<Sample> {
    scan::sample(text, &mut Names::default())
}

const COUNTS: &str = r#"{"at":"2026-11-22T10:00:05Z","kind":"counts","service":"shop","target":"backend","rule":"error-rate","release":"v2","pod":"backend-7f-x1","bad":12,"total":340.5}"#;
const TIMES: &str = r#"{"at": "2026-11-22T10:00:05.25Z", "kind": "histogram", "service": "shop", "rule": "latency", "release": "v2", "buckets": {"0.1": 100, "0.25": 190, "+Inf": 200}}"#;
const VALUE: &str =
    r#"{"at":"2026-11-22T10:00:05Z","kind":"value","service":"shop","rule":"deadlocks","value":0.125}"#;

fn read(text: &str) -> Result<Sample, Refusal> {
    LineReader::default().read(text.as_bytes())
}

#[test]
fn plain_lines_go_the_quick_way() {
    for text in [COUNTS, TIMES, VALUE] {
        assert!(quick(text.as_bytes()).is_some(), "{text}");
        assert_eq!(read(text).unwrap(), serde(text.as_bytes()).unwrap());
    }
}

#[test]
fn unusual_lines_go_the_other_way_and_read_the_same() {
    for (plain, unusual) in [
        (r#""bad":12"#, r#""bad":1.2e1"#),
        (r#""pod":"backend-7f-x1""#, r#""pod":"backend\u002d7f-x1""#),
        (r#""rule":"#, r#""note":[1,{"a":"b"}],"rule":"#),
        (r#""rule":"#, r#""gone":null,"rule":"#),
    ] {
        let text = COUNTS.replace(plain, unusual);
        assert!(quick(text.as_bytes()).is_none(), "{text}");
        assert_eq!(read(&text).unwrap(), read(COUNTS).unwrap());
    }
}

#[test]
fn nonsense_is_refused_in_words() {
    let broken = |from: &str, to: &str| match read(&COUNTS.replace(from, to)) {
        Err(Refusal::Broken(why)) => why,
        other => panic!("{from} → {to}: {other:?}"),
    };
    assert_eq!(broken(r#","bad":12"#, ""), "missing field `bad`");
    assert!(broken(r#""bad":12"#, r#""bad":012"#).contains("invalid number"));
    assert!(broken(r#""bad":12"#, r#""bad":12,"bad":13"#).contains("duplicate field `bad`"));
    assert!(broken(r#""bad":12"#, r#""bad":"12""#).contains("invalid type: string"));
    assert!(broken("error-rate", "Error Rate").contains("is not a valid name"));
    assert!(broken("10:00:05Z", "25:00:05Z").starts_with("`at`: "));
    assert!(broken("340.5}", "340.5} x").contains("trailing characters"));
    assert!(broken("340.5}", "340.").contains("EOF"));
    assert_eq!(read(&COUNTS.replace("counts", "weather")), Err(Refusal::UnknownKind));
    let strange = read(r#"{"kind":"weather","value":"sunny"}"#);
    assert_eq!(strange, Err(Refusal::UnknownKind), "even if it uses our keys in its own way");
    let both = TIMES.replace(r#""buckets""#, r#""native":{"schema":3},"buckets""#);
    assert!(matches!(read(&both), Err(Refusal::Broken(why)) if why.contains("not both")));
    let times = |to: &str| match read(&TIMES.replace(r#""+Inf": 200"#, to)) {
        Err(Refusal::Broken(why)) => why,
        other => panic!("{to}: {other:?}"),
    };
    assert!(times(r#""1": 200"#).contains("\"+Inf\" is missing"));
    assert!(times(r#""+Inf": -1"#).contains("count is not a finite number"));
    assert!(times(r#""slow": 200"#).contains("\"slow\" is not a bucket bound"));
}

#[test]
fn every_reading_is_a_known_kind() {
    for (kind, keys) in KINDS.into_iter().zip([
        "",
        r#","rule":"r","bad":1,"total":2"#,
        r#","rule":"r","buckets":{}"#,
        r#","rule":"r","value":1"#,
        r#","ready":true"#,
        r#","rule":"r","ok":true"#,
        r#","rule":"r","detail":"timeout after #\nof cart""#,
        r#","alert":"a","status":"firing""#,
        r#","other":"cart/web""#,
        r#","rule":"r","reason":"down""#,
    ]) {
        let text = format!(r#"{{"at":"2026-11-22T10:00:05Z","service":"s","kind":"{kind}"{keys}}}"#);
        let sample = read(&text).unwrap();
        let written = serde_json::to_value(&sample).unwrap();
        assert_eq!(written["kind"], kind);
        assert_eq!(read(&written.to_string()), Ok(sample), "what is written can be read");
    }
}

proptest! {
    #[test]
    fn damaged_lines_read_as_serde_reads_them(
        line in prop::sample::select(vec![COUNTS, TIMES, VALUE]),
        damage in prop::collection::vec((0usize..300, prop::sample::select(b"\"\\{}[]:,. 0159-+eEn\x00\xff\n".to_vec())), 0..4),
        cut in 0usize..300,
    ) {
        let mut text = line.as_bytes().to_vec();
        for (at, byte) in damage {
            let at = at % text.len();
            text[at] = byte;
        }
        text.truncate(cut.max(20));
        if let Some(quick) = quick(&text) {
            prop_assert_eq!(Ok(quick), serde(&text));
        }
        let read = LineReader::default().read(&text);
        prop_assert_eq!(read.ok(), serde(&text).ok());
    }

    #[test]
    fn numbers_read_as_serde_reads_them(number in "[0-9]{1,17}(\\.[0-9]{1,17})?([eE][+-]?[0-9]{1,3})?") {
        let text = VALUE.replace("0.125", &number);
        prop_assert_eq!(read(&text).ok(), serde(text.as_bytes()).ok());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut reader = LineReader::default();
        prop_assert!(reader.read(&bytes).is_err());
        prop_assert!(reader.read(COUNTS.as_bytes()).is_ok());
    }
}

#[test]
fn names_without_end_do_not_fill_the_memory() {
    let mut reader = LineReader::default();
    for n in 0..50_000 {
        let text = COUNTS.replace("shop", &format!("shop-{n}"));
        reader.read(text.as_bytes()).unwrap();
    }
    assert!(reader.names.services.all.len() <= NAMES_MAX);
}
