//! What the protobuf reader takes, skips and refuses, whatever the bytes and wherever they are cut.
use proptest::prelude::*;

use super::messages::{Bucket, Number, Quantile, Span, Summary};
use super::*;
use crate::domain::histogram::Zero;

/// A family with every metric it has, as a whole page of its own: a small `MetricFamily` for writing.
#[derive(Clone, PartialEq, prost::Message)]
struct Family {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

fn page(families: &[Family]) -> Vec<u8> {
    families.iter().flat_map(|family| family.encode_length_delimited_to_vec()).collect()
}

fn pair(name: &str, value: &str) -> LabelPair {
    LabelPair { name: Some(name.into()), value: Some(value.into()) }
}

fn family(name: &str, metric: Vec<Metric>) -> Family {
    Family { name: Some(name.into()), kind: Some(0), metric }
}

fn histogram(histogram: Histogram) -> Metric {
    Metric { label: vec![pair("path", "/a")], histogram: Some(histogram), ..Metric::default() }
}

/// Everything that was told, as text.
#[derive(Default)]
struct Heard {
    only: Option<&'static str>,
    lines: Vec<String>,
    natives: Vec<Native>,
}

impl Listener for Heard {
    fn wants(&self, family: &str) -> bool {
        self.only.is_none_or(|only| only == family)
    }
    fn take(&mut self, series: Result<Series<'_>, Broken<'_>>) {
        self.lines.push(match series {
            Ok(one) => {
                let [path, le, quantile] = ["path", "le", "quantile"].map(|label| one.labels.get(label));
                format!("{} {path}{le}{quantile} {}", one.name, one.value)
            }
            Err(broken) => format!("broken {}", broken.name.unwrap_or_default()),
        });
    }
    fn take_native(&mut self, family: &str, labels: Labels<'_>, times: Native) {
        self.lines.push(format!("native {family} {}", labels.get("path")));
        self.natives.push(times);
    }
}

fn read(body: &[u8], chunk: usize, heard: &mut Heard) -> Result<(), Unread> {
    let mut reader = Reader::default();
    for piece in body.chunks(chunk) {
        reader.feed(piece, heard)?;
    }
    reader.finish()
}

fn heard(body: &[u8]) -> Heard {
    let mut heard = Heard::default();
    read(body, body.len().max(1), &mut heard).unwrap();
    heard
}

fn everything() -> Vec<Family> {
    let number = |value| Some(Number { value: Some(value) });
    let span = |offset, length| Span { offset: Some(offset), length: Some(length) };
    let bucket =
        |le, count| Bucket { cumulative_count: Some(count), upper_bound: Some(le), ..Bucket::default() };
    let quantile = vec![Quantile { quantile: Some(0.99), value: Some(0.25) }];
    let summary = Summary { sample_count: Some(6), sample_sum: Some(0.5), quantile };
    let classic = Histogram {
        sample_count: Some(4),
        sample_sum: Some(1.5),
        bucket: vec![bucket(0.1, 1), bucket(0.25, 3)],
        ..Histogram::default()
    };
    let whole = Histogram {
        sample_count: Some(9),
        schema: Some(3),
        zero_threshold: Some(0.001),
        zero_count: Some(2),
        negative_span: vec![span(0, 1)],
        negative_delta: vec![1],
        positive_span: vec![span(-9, 2), span(3, 1)],
        positive_delta: vec![1, 2, -1],
        ..classic.clone()
    };
    let floats = Histogram {
        sample_count_float: Some(2.5),
        schema: Some(-2),
        positive_span: vec![span(1, 1)],
        positive_count: vec![2.5],
        ..Histogram::default()
    };
    vec![
        family("requests_total", vec![Metric { counter: number(7.0), ..Metric::default() }]),
        family(
            "up",
            vec![Metric { gauge: number(1.0), label: vec![pair("path", "/g")], ..Metric::default() }],
        ),
        family("old", vec![Metric { summary: Some(summary), ..Metric::default() }]),
        family("classic", vec![histogram(classic)]),
        family("native", vec![histogram(whole), histogram(floats)]),
    ]
}

#[test]
fn a_page_says_what_its_text_would_and_shows_native_histograms() {
    let heard = heard(&page(&everything()));
    let expected = [
        "requests_total  7",
        "up /g 1",
        "old 0.99 0.25",
        "old_count  6",
        "old_sum  0.5",
        "classic_count /a 4",
        "classic_sum /a 1.5",
        "classic_bucket /a0.1 1",
        "classic_bucket /a0.25 3",
        "classic_bucket /a+Inf 4",
        "native_count /a 9",
        "native_sum /a 1.5",
        "native_bucket /a0.1 1",
        "native_bucket /a0.25 3",
        "native_bucket /a+Inf 9",
        "native native /a",
        "native_count /a 2.5",
        "native_sum /a 0",
        "native native /a",
    ];
    assert_eq!(heard.lines, expected);
    let zero = Zero { threshold: 0.001, count: 3.0 };
    let whole = Native::new(3, zero, vec![(-9, 1.0), (-8, 3.0), (-4, 2.0)]).unwrap();
    let floats = Native::new(-2, Zero::default(), vec![(1, 2.5)]).unwrap();
    assert_eq!(heard.natives, [whole, floats]);
}

#[test]
fn numbers_that_make_no_histogram_break_their_family_only() {
    let span = |length| vec![Span { offset: Some(0), length: Some(length) }];
    let bad = |positive_delta: Vec<i64>, schema, length| {
        let positive_span = span(length);
        histogram(Histogram { positive_delta, schema: Some(schema), positive_span, ..Histogram::default() })
    };
    let good = Metric { counter: Some(Number { value: None }), ..Metric::default() };
    let body = page(&[
        family(
            "h",
            vec![bad(vec![1, -2], 0, 2), bad(vec![1], 9, 1), bad(vec![1], 0, u32::MAX), Metric::default()],
        ),
        family("g", vec![good]),
    ]);
    let lines = heard(&body).lines;
    let told: Vec<&str> =
        lines.iter().filter(|l| !l.contains("_sum") && !l.contains("_count")).map(String::as_str).collect();
    assert_eq!(told, ["broken h", "broken h", "broken h", "broken h", "g  0"]);
}

#[test]
fn what_nobody_wants_is_not_decoded_and_limits_hold() {
    let mut only = Heard { only: Some("up"), ..Heard::default() };
    read(&page(&everything()), 3, &mut only).unwrap();
    assert_eq!(only.lines, ["up /g 1"]);

    let long = vec![0u8; BODY_BYTES_MAX + 1];
    assert_eq!(read(&long, long.len(), &mut Heard::default()), Err(TooLong::Body.into()));
    let endless = [0xff, 0xff, 0xff, 0xff, 0x07];
    assert_eq!(
        read(&endless, 5, &mut Heard::default()),
        Err(TooLong::Body.into()),
        "it only says it is long"
    );
    let many = page(&[family("h", vec![Metric::default(); LINES_MAX + 1])]);
    assert_eq!(read(&many, 4096, &mut Heard::default()), Err(TooLong::Lines.into()));
    let label = LabelPair { name: Some("x".repeat(METRIC_BYTES_MAX)), value: None };
    let large = Metric { label: vec![label], ..Metric::default() };
    assert_eq!(heard(&page(&[family("h", vec![large])])).lines, ["broken h"]);
    let whole = page(&everything());
    assert_eq!(read(&whole[..whole.len() - 1], 100, &mut Heard::default()), Err(Unread::Malformed));
    assert_eq!(read(b"# TYPE up gauge\nup 1\n", 100, &mut Heard::default()), Err(Unread::Malformed));
}

#[test]
fn the_format_is_known_by_its_content_type() {
    assert!(is_protobuf(CONTENT_TYPE));
    assert!(is_protobuf(
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
    ));
    for other in ["text/plain; version=0.0.4", "application/vnd.google.protobuf; encoding=text", ""] {
        assert!(!is_protobuf(other), "{other}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..400), chunk in 1usize..50) {
        read(&body, chunk, &mut Heard::default()).ok();
    }

    #[test]
    fn no_change_of_a_page_makes_it_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<proptest::sample::Index>(),
        chunk in 1usize..200,
    ) {
        let mut body = page(&everything());
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        body.truncate(cut.index(body.len()) + 1);
        let (mut heard, mut again) = (Heard::default(), Heard::default());
        let read_once = read(&body, chunk, &mut heard);
        prop_assert_eq!(read_once, read(&body, body.len(), &mut again));
        if read_once.is_ok() {
            prop_assert_eq!(heard.lines, again.lines);
        }
        prop_assert!(heard.natives.iter().all(|native| native.count().is_finite() && native.count() >= 0.0));
    }

    #[test]
    fn what_is_written_is_read_however_it_is_cut(
        counts in proptest::collection::vec(0u32..1000, 1..60),
        offset in -100i32..100,
        schema in -4i32..=8,
        chunk in 1usize..50,
    ) {
        let counts: Vec<f64> = counts.into_iter().map(f64::from).collect();
        let positive_span = vec![Span { offset: Some(offset / 8), length: Some(counts.len() as u32) }];
        let mut last = 0.0;
        let positive_delta = counts.iter().map(|count| (count - std::mem::replace(&mut last, *count)) as i64).collect();
        let sent = Histogram { schema: Some(schema), positive_span, positive_delta, ..Histogram::default() };
        let mut heard = Heard::default();
        read(&page(&[family("h", vec![histogram(sent)])]), chunk, &mut heard).unwrap();
        // Buckets that lie beyond all numbers are refused there, and so they are here.
        let expected = Native::from_spans(schema, Zero::default(), &[(offset / 8, counts.len() as u32)], &counts);
        prop_assert_eq!(heard.natives, Vec::from_iter(expected));
    }
}

#[test]
fn series_are_told_apart_by_their_labels() {
    let (a, b) = ([pair("path", "/a")], [pair("path", "/b")]);
    let identity = |pairs, added| Labels(Form::Pairs(pairs, added)).identity();
    let different = [
        identity(&a, None),
        identity(&b, None),
        identity(&a, Some(("quantile", 0.5))),
        identity(&a, Some(("quantile", 0.99))),
    ];
    for (nth, one) in different.iter().enumerate() {
        assert!(!different[..nth].contains(one), "{nth}");
    }
    assert_eq!(identity(&[pair("path", "/a")], None), different[0], "on another page");
}
