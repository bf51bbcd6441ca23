//! The real program on captured rules.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs `portcullis convert - --to FORMAT` with the text on standard input.
fn convert(text: &[u8], to: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["convert", "-", "--to", to])
        .stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped())
        .spawn().unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    child.wait_with_output().unwrap()
}

const RULES: &str = "*filter\n:INPUT DROP [3:4]\n-A INPUT -m comment --comment \"a -j DROP\" -m unheard-of --of 1 -j ACCEPT\nCOMMIT\n";

#[test]
fn rules_come_back_word_for_word() {
    let out = convert(RULES.as_bytes(), "save");
    assert!(out.status.success());
    assert_eq!(String::from_utf8(out.stdout).unwrap(), RULES);
}

#[test]
fn json_holds_every_rule() {
    let v: serde_json::Value = serde_json::from_slice(&convert(RULES.as_bytes(), "json").stdout).unwrap();
    assert_eq!(v["tables"][0]["chains"][0]["policy"], "DROP");
    assert_eq!(v["tables"][0]["chains"][0]["rules"][0]["line"], 3);
}

#[test]
fn foreign_input_gets_a_sentence_and_a_hint() {
    for text in [&b""[..], b"hello\n", b"\x7fELF\0\0"] {
        let out = convert(text, "save");
        let err = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(1), "{err}");
        assert!(out.stdout.is_empty());
        assert!(err.contains("error: ") && err.contains("\nhint: "), "{err}");
    }
}
