//! What an index page refers to, as far as its markup says.

/// The values of `src` and `href` of elements that browsers load by themselves, and the page's `base`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct References {
    pub(super) base: Option<String>,
    pub(super) links: Vec<String>,
}

/// Of `link` elements, the relations that are loaded with the page.
const LOADED: [&str; 8] = [
    "stylesheet",
    "modulepreload",
    "preload",
    "icon",
    "manifest",
    "apple-touch-icon",
    "mask-icon",
    "prefetch",
];

/// Reads start tags; scripts and comments are skipped, since what looks like a tag there is none.
pub(super) fn references(html: &str) -> References {
    let mut found = References::default();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        let Some((tag, after)) = tag(rest) else { continue };
        rest = after;
        found.take(&tag);
        if ["script", "style"].contains(&tag.name.as_str()) {
            let end = format!("</{}", tag.name);
            rest = rest.to_ascii_lowercase().find(&end).map_or("", |at| &rest[at..]);
        }
    }
    found
}

impl References {
    fn take(&mut self, tag: &Tag) {
        let loads = |relations: &str| relations.split_ascii_whitespace().any(|r| LOADED.contains(&r));
        let link = match tag.name.as_str() {
            "base" => {
                self.base = self.base.take().or_else(|| tag.value("href"));
                None
            }
            "script" | "img" => tag.value("src"),
            "link" if tag.value("rel").is_some_and(|rel| loads(&rel.to_ascii_lowercase())) => {
                tag.value("href")
            }
            _ => None,
        };
        let link = link.map(|link| link.trim().to_string()).filter(|link| !link.is_empty());
        self.links.extend(link.filter(|link| !self.links.contains(link)));
    }
}

struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn value(&self, name: &str) -> Option<String> {
        self.attributes.iter().find(|(attribute, _)| attribute == name).map(|(_, value)| value.clone())
    }
}

/// A start tag after its `<`, and what follows it.
fn tag(text: &str) -> Option<(Tag, &str)> {
    let name: String = text.chars().take_while(char::is_ascii_alphanumeric).collect();
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let (mut rest, mut attributes) = (&text[name.len()..], Vec::new());
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if let Some(after) = rest.strip_prefix('>') {
            return Some((Tag { name: name.to_ascii_lowercase(), attributes }, after));
        }
        let end = rest.find(|c: char| c.is_ascii_whitespace() || "=/>".contains(c))?;
        let (attribute, after) = rest.split_at(end.max(1).min(rest.len()));
        rest = after.trim_start();
        let mut value = "";
        if let Some(after) = rest.strip_prefix('=') {
            (value, rest) = quoted(after.trim_start())?;
        }
        attributes.push((attribute.to_ascii_lowercase(), value.replace("&amp;", "&")));
    }
}

fn quoted(text: &str) -> Option<(&str, &str)> {
    for quote in ['"', '\''] {
        if let Some(inside) = text.strip_prefix(quote) {
            return inside.split_once(quote);
        }
    }
    let end = text.find(|c: char| c.is_ascii_whitespace() || c == '>')?;
    Some(text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_loads_with_a_page_is_found() {
        let html = r#"<!doctype html><html><head><base href="/app/"><!-- <script src=old.js> -->
            <link rel="icon" href=/favicon.ico><LINK REL='stylesheet' crossorigin HREF='assets/a b.css?x=1&amp;y=2'/>
            <link rel="canonical" href="https://shop.example.com/"><script>if (a<b) "<img src='no.png'>"</script>
            <script type="module" defer src="/assets/index-BxT3k9Qa.js"></script>
            <script src="/assets/index-BxT3k9Qa.js"></script></head><body><img alt="1 > 0" src="i.svg"><a href="x"></body>"#;
        let found = references(html);
        assert_eq!(found.base.as_deref(), Some("/app/"));
        assert_eq!(
            found.links,
            ["/favicon.ico", "assets/a b.css?x=1&y=2", "/assets/index-BxT3k9Qa.js", "i.svg"]
        );
        for broken in ["<script src=", "<", "<img src=\"a", "<link rel=icon href", "<\u{e9}>", "<a =>"] {
            references(broken);
        }
    }
}
