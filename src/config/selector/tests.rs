//! What selectors accept, print and match.
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> Selector {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn matches(selector: &str, name: &str, labels: &[(&str, &str)]) -> bool {
    let labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
    parsed(selector).matches(name, |label| Cow::Borrowed(labels.get(label).copied().unwrap_or_default()))
}

#[test]
fn forms_that_prometheus_takes() {
    for (text, printed) in [
        ("up", "up"),
        ("job:errors:rate5m{}", "job:errors:rate5m"),
        (" up { b != 'x' , a =~ `\\d+` , } ", r#"up{a=~"\\d+",b!="x"}"#),
        (r#"{__name__="up",a!~"b|c"}"#, r#"up{a!~"b|c"}"#),
        (r#"up{a="q\"\\\n\x41\101\u00e9\U0001F600"}"#, "up{a=\"q\\\"\\\\\\nAAé😀\"}"),
        (r#"up{a="\xc3\xa9"}"#, r#"up{a="é"}"#),
    ] {
        assert_eq!(parsed(text).to_string(), printed);
    }
    assert_eq!(parsed(r#"a{x="1",y="2"}"#), parsed(r#"a{y="2",x="1"}"#));
}

#[test]
fn errors_say_where() {
    for (text, position) in [
        ("", 1),
        ("9up", 1),
        ("up[5m]", 3),
        ("rate(up[5m])", 5),
        ("up offset 5m", 4),
        ("up{a}", 5),
        ("up{a=b}", 6),
        ("up{a=\"b}", 6),
        ("up{a=\"b\" c=\"d\"}", 10),
        ("up{é=\"b\"}", 4),
        ("up{a=\"é\\q\"}", 8),
        ("up{a=\"\\xff\"}", 6),
        ("up{a=~\"(\"}", 7),
        ("up{a=~\"a)(b\"}", 7),
        ("up{", 4),
        ("{a=\"b\"}", 8),
        ("up{__name__=\"up\"}", 18),
        ("{__name__=~\"up\"}", 17),
    ] {
        let error = text.parse::<Selector>().expect_err(text);
        assert_eq!(error.position, position, "{text}: {error}");
    }
}

#[test]
fn patterns_match_the_whole_value_and_absent_labels_are_empty() {
    let series = [("code", "500"), ("path", "/a\nb")];
    assert!(matches(r#"x{code=~"5.."}"#, "x", &series));
    assert!(!matches(r#"x{code=~"5."}"#, "x", &series));
    assert!(!matches(r#"x{code=~"50|40"}"#, "x", &series), "alternatives are anchored too");
    assert!(matches(r#"x{path=~"/.*b"}"#, "x", &series), "a dot is any character");
    assert!(matches(r#"x{job="",code!="200",job!~"web"}"#, "x", &series));
    assert!(!matches(r#"x{job!=""}"#, "x", &series));
    assert!(!matches("x", "xy", &[]));
}

#[test]
fn narrowing_quotes_what_it_adds() {
    let pods = format!("(?:{}-).*", literal("web.v1"));
    assert_eq!(parsed(r#"x{a="b"}"#).narrowed(&[("pod", &pods)]), r#"x{a="b",pod=~"(?:web\\.v1-).*"}"#);
    assert_eq!(parsed("x").narrowed(&[("ns", "a")]), r#"x{ns=~"a"}"#);
    assert_eq!(parsed("h").buckets(), parsed("h_bucket").buckets());
}

fn any_test() -> impl Strategy<Value = Test> {
    let pattern = |text: String| Pattern::new(literal(&text)).expect("a literal is a pattern");
    prop_oneof![
        any::<String>().prop_map(Test::Is),
        any::<String>().prop_map(Test::IsNot),
        any::<String>().prop_map(move |text| Test::Like(pattern(text))),
        any::<String>().prop_map(move |text| Test::Unlike(pattern(text))),
    ]
}

proptest! {
    #[test]
    fn printed_and_read_again_is_the_same(
        name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,20}",
        matchers in proptest::collection::vec(("[a-zA-Z][a-zA-Z0-9_]{0,9}", any_test()), 0..5),
    ) {
        let mut matchers: Vec<Matcher> =
            matchers.into_iter().map(|(label, test)| Matcher { label, test }).collect();
        matchers.sort();
        matchers.dedup();
        let selector = Selector { name, matchers };
        prop_assert_eq!(parsed(&selector.to_string()), selector);
    }

    #[test]
    fn a_literal_matches_itself_only(text in any::<String>(), other in any::<String>()) {
        let pattern = Pattern::new(literal(&text)).expect("a literal is a pattern");
        prop_assert!(pattern.regex.is_match(&text));
        prop_assert_eq!(pattern.regex.is_match(&other), text == other);
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        drop(format!("up{{{text}}}").parse::<Selector>());
        drop(text.parse::<Selector>());
    }
}
