//! The verbs that need no daemon: `explain`, `schema` and `completion`.
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde::Serialize;

use super::output::{Table, Tone};
use super::{Cli, Exit, Failure, Output};
use crate::config::json_schema;
use crate::domain::code::{Code, Explained};

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Such as RG203, or its name, such as Owned; all of them without one
    pub code: Option<String>,
}

#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// The shell that you use
    #[arg(value_enum)]
    pub shell: Shell,
}

#[derive(Serialize)]
struct Told {
    code: Code,
    name: &'static str,
    #[serde(flatten)]
    explained: Explained,
}

impl Told {
    fn of(code: Code) -> Self {
        Self { code, name: code.name(), explained: code.explained() }
    }
}

pub(super) fn explain(args: &ExplainArgs, out: &Output) -> Result<Exit, Failure> {
    let Some(text) = &args.code else {
        let all: Vec<Told> = Code::ALL.iter().copied().map(Told::of).collect();
        out.result(&all, || listed(&all).render(out.color()))?;
        return Ok(Exit::Ok);
    };
    let unknown = || {
        let message = format!("there is no code {text:?}: `rollguard explain` lists them all");
        Failure::new(Exit::Usage, message)
    };
    // As messages write it, in brackets.
    let told = Told::of(Code::find(text.trim_matches(['[', ']'])).ok_or_else(unknown)?);
    out.result(&told, || {
        let Explained { title, means, todo } = told.explained;
        format!("{} {}: {title}\n\n{means}\n\nWhat to do: {todo}\n", told.code, told.name)
    })?;
    Ok(Exit::Ok)
}

fn listed(all: &[Told]) -> Table {
    let mut table = Table::new(&["CODE", "NAME", "MEANING"]);
    for told in all {
        let cells = [told.code.id(), told.name, told.explained.title];
        table.row(cells.map(|cell| (cell.to_string(), Tone::Plain)).to_vec(), vec![]);
    }
    table
}

/// For editors: `# yaml-language-server: $schema=FILE`.
pub(super) fn schema(out: &Output) -> Result<Exit, Failure> {
    let schema = json_schema();
    out.result(&schema, || format!("{schema:#}\n"))?;
    Ok(Exit::Ok)
}

/// The script is what the shell reads, whatever `-o` says.
pub(super) fn completion(args: &CompletionArgs) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rollguard", &mut script);
    // A closed stdout (`| head`) is no reason to fail.
    std::io::Write::write_all(&mut std::io::stdout(), &script).ok();
    Exit::Ok
}
