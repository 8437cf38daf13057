//! Slack's blocks: text in sections within its limits, links, and the two buttons.
use serde_json::{Value, json};

use crate::domain::button::Press;
use crate::domain::markup;
use crate::domain::message::{Ask, Link, Spoken};

/// Slack's limits: characters in one section, and blocks in one message.
const SECTION_CHARS: usize = 3000;
const BLOCKS: usize = 50;
const CUT: &str = " … (cut here)";

/// `text` is what notifications and screen readers have; `last` are blocks that come after the lines.
pub(super) fn body(spoken: &Spoken, last: Vec<Value>) -> Value {
    let first = spoken.lines.first().map_or(String::new(), |line| format!("\n{line}"));
    let text = within(&format!("{}{first}", spoken.title), SECTION_CHARS);
    let title = format!("*{}*", within(&spoken.title, SECTION_CHARS - 2));
    let mut blocks = vec![section(&title)];
    let sections = sections(&spoken.lines);
    let room = BLOCKS - 1 - last.len();
    if sections.len() <= room {
        blocks.extend(sections.iter().map(|s| section(s)));
    } else {
        blocks.extend(sections.iter().take(room - 1).map(|s| section(s)));
        blocks.push(section("… the rest is too long for Slack and was cut: `rollguard show` has all of it"));
    }
    blocks.extend(last);
    json!({"text": text, "blocks": blocks})
}

/// One line with all links; none without them.
pub(super) fn links(links: &[Link]) -> Option<Value> {
    let shown = links.iter().map(|link| format!("<{}|{}>", markup::slack(&link.url), link.title));
    let text = shown.collect::<Vec<_>>().join(" · ");
    (!links.is_empty()).then(|| json!({"type": "context", "elements": [{"type": "mrkdwn", "text": text}]}))
}

pub(super) fn buttons(ask: &Ask) -> Value {
    let button = |text: &str, press: Press| {
        json!({
            "type": "button", "text": {"type": "plain_text", "text": text},
            "action_id": press.action_id(), "value": ask.button(press).value(),
        })
    };
    let styled = |mut button: Value, style: &str| {
        button["style"] = style.into();
        button
    };
    let elements = [
        styled(button("Approve", Press::Approve), "primary"),
        styled(button("Deny", Press::Deny), "danger"),
        button("I have it in hand", Press::Acknowledge),
    ];
    json!({"type": "actions", "block_id": "rollguard_ask", "elements": elements})
}

/// `verbatim` keeps Slack from turning names and addresses in it into mentions and links.
fn section(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}})
}

/// As many whole lines in each section as fit.
fn sections(lines: &[String]) -> Vec<String> {
    let mut sections: Vec<String> = Vec::new();
    for line in lines.iter().filter(|line| !line.is_empty()) {
        let line = within(line, SECTION_CHARS);
        let size = line.chars().count();
        match sections.last_mut() {
            Some(last) if last.chars().count() + 1 + size <= SECTION_CHARS => {
                last.push('\n');
                last.push_str(&line);
            }
            Some(_) | None => sections.push(line),
        }
    }
    sections
}

/// Cuts a text that is escaped already, and no escape in two.
fn within(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_string();
    }
    let room = limit.saturating_sub(CUT.chars().count());
    let cut: String = text.chars().take(room).collect();
    let open = |begin: char, end: char| cut.rfind(begin).filter(|at| !cut[*at..].contains(end));
    let whole = [open('&', ';'), open('<', '>')].into_iter().flatten().min().unwrap_or(cut.len());
    format!("{}{CUT}", &cut[..whole])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_share_sections_up_to_the_limit() {
        let lines: Vec<String> = (0..3).map(|_| "x".repeat(1499)).collect();
        let sizes: Vec<usize> = sections(&lines).iter().map(String::len).collect();
        assert_eq!(sizes, [2999, 1499]);
    }

    #[test]
    fn cutting_never_splits_an_escape_or_a_mention() {
        let cut = within(&markup::slack(&"<".repeat(2000)), SECTION_CHARS);
        assert!(cut.chars().count() <= SECTION_CHARS && cut.ends_with(CUT));
        assert!(cut.trim_end_matches(CUT).ends_with("&lt;"));
        let mention = format!("{}<!subteam^S1>{}", "x".repeat(SECTION_CHARS - 20), "y".repeat(40));
        assert_eq!(within(&mention, SECTION_CHARS), format!("{}{CUT}", "x".repeat(SECTION_CHARS - 20)));
    }
}
