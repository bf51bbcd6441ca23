//! The interactive commands: the cockpit on the live host, on captured text, on the demo host, or on the guided steps.

use anyhow::Context as _;

use super::{Failure, input, note};
use crate::cli::{Cli, Input};
use crate::host::live::Live;
use crate::host::{Host, Rights};
use crate::model::{Code, closest};
use crate::observe::capture;
use crate::trial::Refusal;
use crate::tui::{self, Subject};

/// Opens the cockpit on the named files; without any, on the live host.
pub fn on(named: &Input) -> anyhow::Result<()> {
    if named.files.is_empty() && named.ipv4.is_empty() && named.ipv6.is_empty() {
        return open(live()?, false);
    }
    if let [word, ..] = named.files.as_slice()
        && let Some(failure) = misspelt_command(&word.to_string_lossy())
    {
        return Err(failure.into());
    }
    let texts = input::texts(&named.files, &named.ipv4, &named.ipv6)?;
    // A long text is parsed while the screen is already open. A short one is parsed first, and so is one that does not
    // begin like a listing, so that a wrong file gives an error without flashing a screen.
    let long = texts.iter().map(|t| t.text.len()).sum::<usize>() > SHORT
        && texts.iter().any(|t| capture::begins_like_a_listing(&t.text));
    let subject = if long { Subject::Texts(texts) } else { Subject::Captured(Box::new(input::view_of(&texts)?)) };
    open(subject, false)
}

/// Bytes that are parsed in a few milliseconds.
const SHORT: usize = 256 * 1024;

/// Opens the cockpit on the built-in host.
pub fn demo() -> anyhow::Result<()> {
    open(Subject::Demo, false)
}

/// Opens the guided steps on the live host.
pub fn harden() -> anyhow::Result<()> {
    open(live()?, true)
}

fn live() -> anyhow::Result<Subject> {
    match Live::default().rights() {
        Rights::Root => return Ok(Subject::Live),
        rights @ Rights::RootElsewhere => return Err(Refusal::not_root(rights).into()),
        Rights::User => {}
    }
    Err(Failure::new(
        Code::NotRoot,
        "only root can read and change this host's firewall",
        "run it with sudo; `portcullis demo` needs no root, `portcullis FILE...` shows captured output of \
            iptables-save and rpcinfo",
    )
    .into())
}

fn open(subject: Subject, guide: bool) -> anyhow::Result<()> {
    let config = super::config::config();
    if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        return Err(Failure::failed(
            "this terminal cannot be drawn on: TERM is dumb",
            "`portcullis report` and `portcullis trace` answer in text; in a real terminal set TERM, e.g. to xterm",
        )
        .into());
    }
    let left = tui::run(subject, guide, config).context(Failure::failed(
        "the terminal cannot be used",
        "run it in a terminal; without one, `portcullis report` and `portcullis trace` answer in text or JSON",
    ))?;
    left.notes.iter().for_each(note);
    Ok(())
}

/// The failure for a word that is neither a file nor a command; suggests a similar command.
fn misspelt_command(word: &str) -> Option<Failure> {
    use clap::CommandFactory;
    if word == "-" || word.contains(['/', '.']) || std::path::Path::new(word).exists() {
        return None;
    }
    let cli = Cli::command();
    let names = cli.get_subcommands().filter(|c| !c.is_hide_set()).map(clap::Command::get_name);
    let hint = match closest(word, names) {
        Some(c) => format!("did you mean `portcullis {c}`?"),
        None => "`portcullis --help` lists the commands; check that the file exists".into(),
    };
    Some(Failure::new(Code::Usage, format!("{word} is neither a file nor a command"), hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_answered_with_the_command() {
        let hint = |w: &str| misspelt_command(w).map(|f| f.hint).unwrap_or_default();
        assert_eq!(hint("staus"), "did you mean `portcullis status`?");
        assert_eq!(hint("demoo"), "did you mean `portcullis demo`?");
        assert!(hint("zzzzzzzz").contains("--help"));
        assert!(misspelt_command("Cargo.toml").is_none() && misspelt_command("-").is_none());
    }
}
