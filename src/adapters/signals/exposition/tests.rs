//! What the text formats' parser takes, skips and refuses.
use proptest::prelude::*;

use super::*;

type Read = (String, Vec<(String, String)>, f64);

/// All series with the labels asked for, and the names of the broken lines.
fn read(body: &[u8], chunk: usize, labels: &[&str]) -> (Vec<Read>, Vec<Option<String>>) {
    let (mut good, mut broken) = (Vec::new(), Vec::new());
    let mut each = |line: Result<Series<'_>, Broken<'_>>| match line {
        Ok(series) => {
            let labels = labels.iter().map(|l| (l.to_string(), series.labels.get(l).into_owned())).collect();
            good.push((series.name.to_string(), labels, series.value));
        }
        Err(line) => broken.push(line.name.map(str::to_string)),
    };
    let mut reader = Reader::default();
    for piece in body.chunks(chunk) {
        reader.feed(piece, &mut each).unwrap();
    }
    reader.finish(&mut each).unwrap();
    assert_eq!(reader.broken(), broken.len());
    (good, broken)
}

const PAGE: &str = "# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{code=\"200\",path=\"/a\\\"b\\\\c\\nd\\q}\"} 1027 1395066363000
http_requests_total { code = \"500\" , } 3
\tup 1e+00\r
nothing_yet NaN
latency_bucket{le=\"+Inf\"} +Inf # {trace_id=\"x # y\"} 0.7 1.5
om_total{} 5 1700000000.123

metric_without_value
bad{a=\"b} 1
bad{a=b} 1
bad{9=\"b\"} 1
bad 1 2 3
bad one
{\"utf8.name\",a=\"b\"} 1
9bad 1
bad{a=\"b\"c=\"d\"} 1
# EOF";

#[test]
fn a_page_of_both_formats() {
    for chunk in [1, 7, PAGE.len()] {
        let (good, broken) = read(PAGE.as_bytes(), chunk, &["code", "path"]);
        let names: Vec<&str> = good.iter().map(|(name, _, _)| name.as_str()).collect();
        let requests = "http_requests_total";
        assert_eq!(names, [requests, requests, "up", "nothing_yet", "latency_bucket", "om_total"]);
        assert_eq!(good[0].1[0].1, "200");
        assert_eq!(good[0].1[1].1, "/a\"b\\c\nd\\q}");
        assert_eq!(good[1].1, [("code".into(), "500".into()), ("path".into(), String::new())]);
        let values: Vec<f64> = good.iter().map(|(_, _, value)| *value).collect();
        assert_eq!(values[..3], [1027.0, 3.0, 1.0]);
        assert!(values[3].is_nan() && values[4] == f64::INFINITY && values[5] == 5.0);
        assert_eq!(broken.len(), 9);
        assert_eq!(broken[0].as_deref(), Some("metric_without_value"));
        assert_eq!(broken.iter().filter(|name| name.is_none()).count(), 2);
    }
}

#[test]
fn limits_hold() {
    let mut nobody = |_: Result<Series<'_>, Broken<'_>>| {};
    let mut reader = Reader::default();
    assert_eq!(reader.feed(&vec![b'a'; BODY_BYTES_MAX + 1], &mut nobody), Err(TooLong::Body));
    assert_eq!(Reader::default().feed(&vec![b'\n'; LINES_MAX + 1], &mut nobody), Err(TooLong::Lines));

    let long = format!("a{{x=\"{}\"}} 1\nb 2\n", "x".repeat(LINE_BYTES_MAX));
    for chunk in [1000, long.len()] {
        let (good, broken) = read(long.as_bytes(), chunk, &[]);
        assert_eq!((good.len(), broken.len()), (1, 1), "only the long line is skipped");
    }
    let label = format!("a{{x=\"{}\"}} 1\n", "x".repeat(LABEL_BYTES_MAX + 1));
    assert_eq!(read(label.as_bytes(), 512, &[]).1, [Some("a".to_string())]);
    assert_eq!(read(b"a 1\n\xff\xfe 2\nb 3", 4, &[]).0.len(), 2);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..400), chunk in 1usize..50) {
        read(&body, chunk, &["a"]);
    }

    #[test]
    fn no_line_makes_it_panic(body in "[a{}=\"\\\\, #\n0-9.e+-]{0,80}", chunk in 1usize..50) {
        prop_assert_eq!(read(body.as_bytes(), chunk, &["a"]).1, read(body.as_bytes(), body.len().max(1), &["a"]).1);
    }

    #[test]
    fn no_change_of_a_page_makes_it_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<proptest::sample::Index>(),
        chunk in 1usize..50,
    ) {
        let mut body = PAGE.as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        body.truncate(cut.index(body.len()) + 1);
        let (good, broken) = read(&body, chunk, &["a"]);
        let whole = read(&body, body.len(), &["a"]);
        prop_assert_eq!((good.len(), broken), (whole.0.len(), whole.1));
    }

    #[test]
    fn what_is_written_is_read(value in any::<f64>(), label in "[^\r]{0,40}", chunk in 1usize..50) {
        let escaped = label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let body = format!("# TYPE m gauge\nm{{a=\"{escaped}\",b=\"\"}} {value:?} 17\n");
        let (good, broken) = read(body.as_bytes(), chunk, &["a"]);
        prop_assert!(broken.is_empty());
        prop_assert_eq!(&good[0].1[0].1, &label);
        prop_assert!(good[0].2 == value || (good[0].2.is_nan() && value.is_nan()));
    }
}
