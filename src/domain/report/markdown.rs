//! A document as Markdown, for a wiki or a pull request.
use super::document::Block;
use crate::domain::markup::markdown as safe;

pub(super) fn written(title: &str, blocks: &[Block]) -> String {
    let mut out = format!("# {}\n", safe(title));
    for block in blocks {
        out.push('\n');
        match block {
            Block::Heading(text) => out += &format!("## {}\n", safe(text)),
            Block::Text(text) => out += &format!("{}\n", safe(text)),
            Block::List(items) => {
                items.iter().for_each(|item| out += &format!("- {}\n", safe(item.trim_start())));
            }
            Block::Table { head, rows } => {
                out += &row(head.iter().map(|cell| safe(cell)));
                out += &row(head.iter().map(|_| "---".to_string()));
                rows.iter().for_each(|cells| out += &row(cells.iter().map(|cell| safe(cell))));
            }
        }
    }
    out
}

fn row(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}
