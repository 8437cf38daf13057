//! Text of others, made harmless where it is shown: in HTML and SVG, in Markdown, in Slack.

/// For HTML and SVG, also inside of attributes in double quotes.
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// For one line of Markdown, or one cell of a table: no emphasis, code, link, mention, heading or HTML comes of it.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '!' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // GitHub and GitLab would tell whoever is called so.
            '@' => out.push_str("&#64;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    // Addresses would become links that nobody has looked at.
    let out = out.replace("://", ":\\//").replace("www.", "www\\.");
    match out.chars().next() {
        Some('+' | '-' | '=') => format!("\\{out}"),
        Some(_) | None => out,
    }
}

/// For Slack's mrkdwn: without `<` there are no mentions, links or commands.
pub fn slack(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_it_takes_effect() {
        assert_eq!(html("<b a=\"1\">&\n"), "&lt;b a=&quot;1&quot;&gt;&amp; ");
        let evil = "- [x](https://evil) **b** `c` | @ops <img src=x> www.evil # h\nnext";
        let harmless = "\\- \\[x\\](https:\\//evil) \\*\\*b\\*\\* \\`c\\` \\| &#64;ops &lt;img src=x&gt; www\\.evil \\# h next";
        assert_eq!(markdown(evil), harmless);
        assert_eq!(slack("<!channel> & <@U1>"), "&lt;!channel&gt; &amp; &lt;@U1&gt;");
    }
}
