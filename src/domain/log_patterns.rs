//! What a log line looks like without what differs from line to line, so that new kinds of errors can be told from known ones.
use serde_json::Value;

/// Characters of a line that are looked at.
const LINE_CHARS: usize = 400;
/// Characters of a pattern or a shown line.
const SHOWN_CHARS: usize = 160;
/// Longer words are identifiers or secrets, even without digits.
const WORD_CHARS: usize = 24;
/// So many letters from a to f and nothing else are a number.
const HEX_CHARS: usize = 8;
const MASK: &str = "#";
/// Where JSON lines have their message.
const MESSAGES: [&str; 6] = ["msg", "message", "error", "err", "exception", "event"];
/// What follows these words is nobody's business.
const SENSITIVE: [&str; 9] =
    ["password", "passwd", "secret", "token", "authorization", "bearer", "basic", "apikey", "api_key"];

#[derive(Clone, Copy, PartialEq)]
enum Keep {
    Words,
    /// Numbers and quoted text too, but no secrets.
    All,
}

/// The line with numbers, times, identifiers, quoted text and values masked; of a JSON line its message.
pub fn pattern(line: &str) -> String {
    template(&message(line), Keep::Words)
}

/// The line for people: only what may be a secret is masked, and it is cut.
pub fn masked(line: &str) -> String {
    template(&message(line), Keep::All)
}

fn message(line: &str) -> String {
    let trimmed = line.trim();
    let object = trimmed.starts_with('{').then(|| serde_json::from_str::<Value>(trimmed).ok()).flatten();
    let text = |object: &Value| {
        let found = MESSAGES.iter().filter_map(|key| object.get(key)?.as_str()).collect::<Vec<_>>();
        (!found.is_empty()).then(|| found.join(": "))
    };
    let whole = object.as_ref().and_then(text).unwrap_or_else(|| trimmed.to_string());
    whole.chars().take(LINE_CHARS).collect()
}

fn template(text: &str, keep: Keep) -> String {
    let chars: Vec<char> = text.chars().filter(|c| !c.is_control() || c.is_whitespace()).collect();
    let (mut out, mut at, mut sensitive) = (String::new(), 0, false);
    while let Some(c) = chars.get(at).copied() {
        if let Some(end) = quoted(&chars, at).filter(|_| keep == Keep::Words || sensitive) {
            push_mask(&mut out);
            (at, sensitive) = (end, false);
        } else if is_word(&chars, at) {
            let end = (at..chars.len()).find(|i| !is_word(&chars, *i)).unwrap_or(chars.len());
            let word: String = chars.get(at..end).unwrap_or_default().iter().collect();
            let value = out.ends_with('=');
            let secret = sensitive || looks_secret(&word);
            if secret || (keep == Keep::Words && (value || differs(&word))) {
                push_mask(&mut out);
            } else {
                out.push_str(&word);
            }
            sensitive = is_sensitive(&word);
            at = end;
        } else if c.is_whitespace() {
            if !out.ends_with(' ') {
                out.push(' ');
            }
            at += 1;
        } else {
            out.push(c);
            at += 1;
        }
    }
    out.trim().chars().take(SHOWN_CHARS).collect()
}

/// Several in a row are one.
fn push_mask(out: &mut String) {
    if !out.trim_end().ends_with(MASK) {
        out.push_str(MASK);
    }
}

/// Letters and digits, and what joins them within times, addresses and identifiers.
fn is_word(chars: &[char], at: usize) -> bool {
    let alphanumeric = |i: usize| chars.get(i).is_some_and(|c| c.is_alphanumeric());
    let joins = |c: &char| matches!(c, '-' | '_' | '.' | ':' | '+' | '@');
    alphanumeric(at)
        || (chars.get(at).is_some_and(joins) && at > 0 && alphanumeric(at - 1) && alphanumeric(at + 1))
}

/// Where the quoted text ends that begins here. An apostrophe within a word begins none.
fn quoted(chars: &[char], at: usize) -> Option<usize> {
    let quote = chars.get(at).filter(|c| matches!(c, '"' | '\'' | '`'))?;
    if at > 0 && chars.get(at - 1).is_some_and(|c| c.is_alphanumeric()) {
        return None;
    }
    chars.iter().skip(at + 1).position(|c| c == quote).map(|length| at + length + 2)
}

fn differs(word: &str) -> bool {
    let hex = word.len() >= HEX_CHARS && word.chars().all(|c| c.is_ascii_hexdigit());
    word.contains('@') || hex || word.chars().any(|c| c.is_ascii_digit())
}

fn looks_secret(word: &str) -> bool {
    word.chars().count() > WORD_CHARS && !word.contains(['.', '_', '-', ':'])
}

fn is_sensitive(word: &str) -> bool {
    let word = word.to_lowercase();
    SENSITIVE.iter().any(|sensitive| word.ends_with(sensitive))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_line_to_line_is_masked() {
        let same = |lines: &[&str], expected: &str| {
            for line in lines {
                assert_eq!(pattern(line), expected, "{line}");
            }
        };
        same(
            &[
                "2026-11-22T10:00:00.123Z ERROR order 4711 failed: connect 10.0.0.1:5432 refused",
                "2026-11-22T10:00:07Z ERROR order 7 failed: connect 10.8.1.2:5432 refused",
            ],
            "# ERROR order # failed: connect # refused",
        );
        same(&["GET /api/v1/orders/123 500", "GET /api/v2/orders/9 503"], "GET /api/#/orders/#");
        same(
            &[
                "trace 5f0c8a1e-93aa-4a2b-9b57-2f1d7c9e0a11 lost",
                "trace deadbeef lost",
                "trace \"some id\" lost",
            ],
            "trace # lost",
        );
        same(&["user=ann cannot log in", "user=ben cannot log in"], "user=# cannot log in");
    }

    #[test]
    fn json_lines_are_known_by_their_message() {
        let line = |id: u32| {
            format!(
                r#"{{"level":"error","ts":{id},"msg":"payment {id} declined","error":"no such table: carts"}}"#
            )
        };
        assert_eq!(pattern(&line(1)), "payment # declined: no such table: carts");
        assert_eq!(pattern(&line(1)), pattern(&line(22)));
        assert_eq!(pattern("{broken json ERROR"), "{broken json ERROR");
    }

    #[test]
    fn secrets_are_shown_in_neither_form() {
        for line in [
            "login failed, password: hunter",
            "login failed, password=hunter",
            "login failed, Authorization: Bearer hunter",
            "login failed, db_password 'hunter'",
            "login failed, apikey \"hunter\"",
        ] {
            assert!(!pattern(line).contains("hunter"), "{}", pattern(line));
            assert!(!masked(line).contains("hunter"), "{}", masked(line));
        }
        let long = format!("cannot use {}", "Abcd".repeat(10));
        assert_eq!((pattern(&long), masked(&long)), ("cannot use #".into(), "cannot use #".into()));
        assert_eq!(masked("order 4711 of \"ann\" failed"), "order 4711 of \"ann\" failed");
    }

    #[test]
    fn whatever_a_line_holds_its_pattern_is_short() {
        let odd = "\u{1b}[31mERROR\u{1b}[0m ".to_string() + &"ü ".repeat(5_000);
        assert!(pattern(&odd).chars().count() <= SHOWN_CHARS && !pattern(&odd).contains('\u{1b}'));
        assert_eq!(pattern(""), "");
        assert_eq!(pattern("it's over"), "it's over");
    }
}
