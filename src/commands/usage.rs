//! Usage errors in the same form as all others: one sentence and a hint.

use crate::model::Code;
use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Failure;

/// Turns a usage error into a failure; `None` for help and version, which are answers.
pub fn failure(e: &clap::Error) -> Option<Failure> {
    if !e.use_stderr() {
        return None;
    }
    let text = e.render().to_string();
    let usage: Vec<&str> =
        text.lines().skip_while(|l| !l.starts_with("Usage: ")).take_while(|l| !l.is_empty()).map(str::trim).collect();
    let tip = text.lines().find_map(|l| l.trim().strip_prefix("tip: ")).filter(|t| !t.starts_with("to pass "));
    let hint = match (choices(e), tip) {
        (Some(choices), _) => format!("use one of {choices}"),
        (None, Some(tip)) => tip.to_owned(),
        (None, None) if usage.is_empty() => "see --help for what is available".to_owned(),
        (None, None) => format!("{}; see --help for more", usage.join(" or ").replacen("Usage: ", "usage: ", 1)),
    };
    let what = match e.kind() {
        ErrorKind::MissingRequiredArgument => missing(e),
        _ => sentence(&text),
    };
    Some(Failure::new(Code::Usage, what, hint))
}

fn choices(e: &clap::Error) -> Option<String> {
    match e.get(ContextKind::ValidValue)? {
        ContextValue::Strings(all) if !all.is_empty() => Some(all.join(", ")),
        _ => None,
    }
}

fn missing(e: &clap::Error) -> String {
    match e.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(all)) if all.len() > 1 => format!("{} are missing", all.join(" and ")),
        Some(ContextValue::Strings(all)) => format!("{} is missing", all.concat()),
        Some(ContextValue::String(one)) => format!("{one} is missing"),
        _ => "an argument is missing".to_owned(),
    }
}

/// The first paragraph on one line.
fn sentence(text: &str) -> String {
    let first: Vec<&str> =
        text.lines().take_while(|l| !l.trim().is_empty()).map(str::trim).filter(|l| !l.starts_with('[')).collect();
    first.join(" ").trim_start_matches("error: ").to_owned()
}

/// Whether a command line that could not be parsed asked for JSON.
pub fn wants_json(args: &[OsString]) -> bool {
    args.iter().take_while(|a| *a != OsStr::new("--")).any(|a| a == OsStr::new("--json"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn a_usage_error_is_a_sentence_and_a_hint() {
        let said = |args: &[&str]| {
            let e = Cli::try_parse_from(std::iter::once("portcullis").chain(args.iter().copied())).unwrap_err();
            failure(&e).map(|f| (f.what, f.hint, f.code)).unwrap()
        };
        assert_eq!(said(&["trace", "f", "--proto", "tcp"]).0, "--src <SRC> is missing");
        assert_eq!(said(&["trace", "f"]).0, "--proto <PROTO> and --src <SRC> are missing");
        let port = |port: &str| said(&["trace", "f", "--proto", "tcp", "--src", "192.0.2.1", "--dport", port]).0;
        assert!(port("sssh").contains("sssh is not a port; did you mean ssh?"), "{}", port("sssh"));
        assert!(port("70000").contains("a port is a number from 0 to 65535"), "{}", port("70000"));
        assert_eq!(said(&["convert", "f", "--to", "xml"]).1, "use one of save, json");
        let (what, hint, code) = said(&["report", "--jsno"]);
        assert!(what.contains("--jsno") && hint.contains("--json") && code == Code::Usage, "{what} / {hint}");
        let (what, hint, _) = said(&["apply", "p", "--confirm-within", "5s"]);
        assert!(what.contains("10s to 1h") && !what.contains('\n') && hint.contains("--help"), "{what} / {hint}");
        assert!(failure(&Cli::try_parse_from(["portcullis", "--help"]).unwrap_err()).is_none());
    }
}
