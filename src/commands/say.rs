//! What is said on standard output and standard error: clean of what could steer a terminal, and no panic when
//! nobody listens any more (a closed pipe, a lost session).

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use serde_json::json;

use super::Failure;
use crate::model::{clean, clean_lines};

/// An answer for people. A reader that has gone (`| head`) is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    write(&clean_lines(text))
}

/// An answer that other programs take as it is (scripts, dumps, JSON); only a terminal gets it cleaned.
pub fn print_exact(text: &str) -> Result<(), Failure> {
    if io::stdout().is_terminal() { print(text) } else { write(text) }
}

fn write(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Failure::failed(format!("the output was not written: {}", reason(&e)), "check the disk or the pipe")),
        _ => Ok(()),
    }
}

/// A line beside the answer, on standard error.
pub fn note(line: impl Display) {
    // Nobody reads it: then nothing is lost.
    let _ = writeln!(io::stderr(), "{}", clean(&line.to_string()));
}

/// Several lines beside the answer, on standard error.
pub fn show(text: &str) {
    let _ = io::stderr().write_all(clean_lines(text).as_bytes());
}

/// A question without line end, on standard error.
pub fn ask(question: &str) {
    let _ = write!(io::stderr(), "{} ", clean(question));
}

/// The error with its hint, as two lines or as JSON.
pub fn failure(f: &Failure, as_json: bool) {
    if as_json {
        let error = json!({"version": 1, "error": {"code": f.word, "message": f.what, "hint": f.hint}});
        let _ = writeln!(io::stderr(), "{error}");
    } else {
        note(format!("error: {}", f.what));
        note(format!("hint: {}", f.hint));
    }
}

/// What the system said, without the number that only programmers know.
pub fn reason(e: &io::Error) -> String {
    let text = e.to_string();
    text.rsplit_once(" (os error ").map_or(text.as_str(), |(words, _)| words).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_plain_words() {
        assert_eq!(reason(&io::Error::from_raw_os_error(2)), "no such file or directory");
        assert_eq!(reason(&io::Error::other("Odd")), "odd");
    }
}
