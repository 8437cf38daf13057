//! A document as one HTML page that loads nothing: it can be mailed, archived and printed.
use super::document::Block;
use crate::domain::markup::html as safe;

const STYLE: &str = ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}table{border-collapse:collapse;width:100%}\
td,th{border-bottom:1px solid #8884;padding:.3rem .6rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}\
th{font-weight:600}@media print{body{margin:0}}";

pub(super) fn written(title: &str, blocks: &[Block]) -> String {
    let title = safe(title);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    for block in blocks {
        match block {
            Block::Heading(text) => out += &format!("<h2>{}</h2>\n", safe(text)),
            Block::Text(text) => out += &format!("<p>{}</p>\n", safe(text)),
            Block::List(items) => {
                let items = items.iter().map(|item| format!("<li>{}</li>\n", safe(item)));
                out += &format!("<ul>\n{}</ul>\n", items.collect::<String>());
            }
            Block::Table { head, rows } => out += &table(head, rows),
        }
    }
    out + "</body>\n</html>\n"
}

fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |tag: &str, cells: Vec<String>| {
        let cells = cells.iter().map(|cell| format!("<{tag}>{cell}</{tag}>"));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let named = head.iter().any(|name| !name.is_empty());
    let head = if named { cells("th", head.iter().map(|name| safe(name)).collect()) } else { String::new() };
    let rows = rows.iter().map(|row| cells("td", row.iter().map(|cell| safe(cell)).collect()));
    format!("<table>\n{head}{}</table>\n", rows.collect::<String>())
}
