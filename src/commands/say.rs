//! Prints to standard output and standard error, without characters that could control a terminal, and without
//! panicking when nobody reads any more (a closed pipe, a lost session).

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use anyhow::Context as _;
use rustix::termios::tcgetwinsize;
use serde_json::{Value, json};
use textwrap::{WordSeparator, WordSplitter};

use super::Failure;
use crate::model::{clean, clean_lines};

/// Prints an answer for people, wrapped to their terminal. A reader that has gone away (`| head`) is not an error.
pub fn print(text: &str) -> anyhow::Result<()> {
    write(&wrapped(clean_lines(text), io::stdout()))
}

/// Wraps lines between words, so that the terminal does not break them inside one; continuation lines are indented.
fn wrapped(text: Cow<'_, str>, out: impl AsFd + IsTerminal) -> Cow<'_, str> {
    match tcgetwinsize(&out) {
        Ok(size) if size.ws_col >= NARROWEST && out.is_terminal() => wrap(&text, usize::from(size.ws_col)).into(),
        _ => text,
    }
}

/// Text is not wrapped for terminals with fewer columns.
const NARROWEST: u16 = 20;

fn wrap(text: &str, columns: usize) -> String {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let words = line.trim_start_matches(' ');
        let below = " ".repeat(line.len() - words.len() + 2);
        let options = textwrap::Options::new(columns)
            .break_words(false)
            .word_separator(WordSeparator::AsciiSpace)
            .word_splitter(WordSplitter::NoHyphenation)
            .subsequent_indent(&below);
        out.push_str(&textwrap::fill(line, options));
    }
    out
}

/// Prints an answer that other programs read as it is (scripts, dumps, JSON); it is only cleaned for a terminal.
pub fn print_exact(text: &str) -> anyhow::Result<()> {
    if io::stdout().is_terminal() { print(text) } else { write(text) }
}

/// JSON on one line; control characters are escaped, so that the value stays the same.
pub fn json_line(value: &Value) -> String {
    let text = value.to_string();
    // Nearly all answers are clean, and some are long.
    if clean(&text) == text {
        return text + "\n";
    }
    let mut out = String::new();
    for c in text.chars() {
        if clean(c.encode_utf8(&mut [0; 4])).is_empty() {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out.push('\n');
    out
}

fn write(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(e).context(Failure::failed("the output could not be written", "check the disk or the pipe"))
        }
        _ => Ok(()),
    }
}

/// Prints a line on standard error, beside the answer.
pub fn note(line: impl Display) {
    // If nobody reads it, nothing is lost.
    let _ = writeln!(io::stderr(), "{}", wrapped(clean(&line.to_string()), io::stderr()));
}

/// Prints several lines on standard error, beside the answer.
pub fn show(text: &str) {
    let _ = io::stderr().write_all(wrapped(clean_lines(text), io::stderr()).as_bytes());
}

/// Prints a question without a newline on standard error.
pub fn ask(question: &str) {
    let _ = write!(io::stderr(), "{} ", clean(question));
}

/// Prints the error with its hint, as two lines or as JSON.
pub fn failure(f: &Failure, as_json: bool) {
    if as_json {
        let _ = io::stderr().write_all(json_line(&error_json(f)).as_bytes());
    } else {
        note(format!("error: {}", f.what));
        note(format!("hint: {}", f.hint));
    }
}

fn error_json(f: &Failure) -> Value {
    json!({"version": 1, "error": {"code": f.code.as_str(), "message": f.what, "hint": f.hint}})
}

/// The system's message, without the error number.
pub fn reason(e: &io::Error) -> String {
    let text = e.to_string();
    text.rsplit_once(" (os error ").map_or(text.as_str(), |(words, _)| words).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Code;
    use crate::trial::Refusal;

    #[test]
    fn json_says_the_same_and_steers_no_terminal() {
        let value = json!({"message": "a\u{1b}[2J\u{7f}\u{9b}2J\u{202e}x\u{feff}\n", "\u{200b}key": "plain – ä 🦀"});
        let line = json_line(&value);
        assert_eq!(clean_lines(&line), line);
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
        assert!(line.contains("\\u202ex") && line.contains("plain – ä 🦀"), "{line}");
    }

    #[test]
    fn an_error_in_json_has_the_word_of_its_code() {
        for &code in Code::ALL {
            let said = error_json(&Failure::new(code, "what", "hint"));
            assert_eq!(
                said,
                json!({"version": 1, "error": {"code": code.as_str(), "message": "what", "hint": "hint"}})
            );
        }
        let refusal = Refusal::new(Code::Lockout, "what", "hint");
        assert_eq!(error_json(&Failure::from(&refusal.into()))["error"]["code"], "lockout");
    }

    #[test]
    fn lines_are_broken_between_words_and_go_on_indented() {
        let text = "short\n  warning: the port 111/tcp is open\nhttps://example.org/a/path/that/is/longer\n\n";
        let said = wrap(text, 24);
        assert_eq!(
            said,
            "short\n  warning: the port\n    111/tcp is open\nhttps://example.org/a/path/that/is/longer\n\n"
        );
        assert_eq!(wrap(text, 80), text);
    }

    #[test]
    fn what_was_tried_comes_before_its_cause_and_keeps_code_and_hint() {
        let lost = io::Error::from_raw_os_error(2);
        let failed = Err::<(), _>(lost).context(Failure::new(Code::Unreadable, "cannot read it", "name a file"));
        let said = Failure::from(&failed.unwrap_err());
        assert_eq!(said, Failure::new(Code::Unreadable, "cannot read it: no such file or directory", "name a file"));
        let deep = Err::<(), _>(Refusal::new(Code::Pending, "a trial is pending", "end it")).context("not saved");
        let said = Failure::from(&deep.unwrap_err());
        assert_eq!(said, Failure::new(Code::Pending, "not saved: a trial is pending", "end it"));
    }

    #[test]
    fn a_reason_is_plain_words() {
        assert_eq!(reason(&io::Error::from_raw_os_error(2)), "no such file or directory");
        assert_eq!(reason(&io::Error::other("Odd")), "odd");
    }
}
