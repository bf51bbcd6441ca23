//! One file per subcommand. Errors become a sentence, a hint and an exit code here.

mod apply;
mod cockpit;
mod config;
mod convert;
mod end;
mod export;
mod generate;
mod guard;
mod input;
mod load;
mod report;
mod save;
mod say;
mod status;
mod trace;
mod usage;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser;
use thiserror::Error;

use crate::cli::{Cli, Command};
use crate::host::live::misplaced;
use crate::model::Code;
use crate::trial::Refusal;
use say::{json_line, note, print, print_exact, reason};

/// What went wrong, and what to do about it. As the context of another error it says what was tried; that error
/// follows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what}")]
pub struct Failure {
    /// The kind of failure; JSON's word and the exit code follow from it (the README lists all).
    pub code: Code,
    /// One sentence.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl Failure {
    /// A failure with this code.
    pub fn new(code: Code, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, what: what.into(), hint: hint.into() }
    }

    /// Failed: unreadable or unknown input, plan error, missing tool.
    pub fn failed(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Code::Failed, what, hint)
    }
}

impl From<&anyhow::Error> for Failure {
    /// One sentence of the error and its causes, with the code and the hint of whoever knew them.
    fn from(e: &anyhow::Error) -> Self {
        let what = e.chain().map(|c| c.downcast_ref().map_or_else(|| c.to_string(), reason));
        let what = what.collect::<Vec<_>>().join(": ");
        match (e.downcast_ref::<Self>(), e.downcast_ref::<Refusal>()) {
            (Some(f), _) => Self::new(f.code, what, &f.hint),
            (None, Some(r)) => Self::new(r.code, what, &r.hint),
            (None, None) => Self::failed(what, "`portcullis --help` lists the commands and their options"),
        }
    }
}

/// Asks on the terminal; without a terminal it refuses and names the option that answers in advance.
fn confirm(question: &str, option: &str) -> anyhow::Result<()> {
    match answer(&format!("{question} [yes/no]"), option)?.as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(declined().into()),
    }
}

/// The operator's answer on the terminal, in lower case.
fn answer(question: &str, option: &str) -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Code::NoTerminal, "there is no terminal to ask on", format!("say {option}")).into());
    }
    say::ask(question);
    let mut answer = String::new();
    // An answer that cannot be read counts as none.
    let _ = std::io::stdin().read_line(&mut answer);
    Ok(answer.trim().to_lowercase())
}

fn declined() -> Failure {
    Failure::new(Code::Declined, "nothing was changed", "answer yes to go on")
}

/// Parses the arguments, runs the command, and prints an error with its hint.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(e) => match usage::failure(&e) {
            Some(f) => return finish(Err(f.into()), usage::wants_json(&args)),
            None => return finish(print(&e.render().to_string()), false),
        },
    };
    let json = cli.command.as_ref().is_some_and(Command::wants_json);
    if let Some((var, path)) = misplaced() {
        let what = format!("{var} is {:?}, which is not an absolute path", path.display().to_string());
        return finish(Err(Failure::failed(what, "set an absolute path, or unset the variable").into()), json);
    }
    let Some(command) = cli.command else { return finish(cockpit::on(&cli.input), false) };
    let done = match command {
        Command::Demo => cockpit::demo(),
        Command::Harden => cockpit::harden(),
        Command::Convert { file, to } => convert::run(file, to),
        Command::Report(args) => report::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Apply { plan, trial } => apply::run(&plan, &trial),
        Command::Remove(trial) => apply::remove(&trial),
        Command::Status { json } => match status::run(json) {
            Ok(code) => return ExitCode::from(code),
            Err(f) => Err(f),
        },
        Command::Keep { without_proof } => end::keep(without_proof),
        Command::Revert => end::revert(),
        Command::Save(args) => save::run(args),
        Command::Export { plan, to } => export::run(&plan, to),
        Command::Man => generate::man(),
        Command::Completions { shell } => generate::completions(shell),
        Command::Guard { id } => guard::run(&id),
        Command::Load { published } => load::run(published),
    };
    finish(done, json)
}

/// Prints the error with its hint on standard error, and returns the exit code.
fn finish(done: anyhow::Result<()>, json: bool) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let failure = Failure::from(&e);
            say::failure(&failure, json);
            ExitCode::from(failure.code.exit())
        }
    }
}
