//! The real program on captured rules.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking and runs the program from outside"
)]

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn convert(text: &[u8], to: &str) -> Output {
    portcullis(text, &["convert", "-", "--to", to])
}

/// Runs the program with the text on standard input.
fn portcullis(text: &[u8], args: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    child.wait_with_output().unwrap()
}

const RULES: &str =
    "*filter\n:INPUT DROP [3:4]\n-A INPUT -m comment --comment \"a -j DROP\" -m unheard-of --of 1 -j ACCEPT\nCOMMIT\n";

#[test]
fn a_place_for_our_files_is_named_from_the_root_on() {
    for var in ["PORTCULLIS_RUN_DIR", "PORTCULLIS_STATE_DIR", "PORTCULLIS_RULES_V4", "PORTCULLIS_RULES_V6"] {
        for place in ["state", "./state", ""] {
            for args in [&["status"][..], &["report", "-"], &["guard", "1"]] {
                let out = Command::new(env!("CARGO_BIN_EXE_portcullis"))
                    .args(args)
                    .env(var, place)
                    .stdin(Stdio::null())
                    .output()
                    .unwrap();
                let said = String::from_utf8(out.stderr).unwrap();
                assert_eq!(out.status.code(), Some(1), "{said}");
                assert!(
                    said.starts_with(&format!("error: {var} is \"{place}\", which is not an absolute path")),
                    "{said}"
                );
            }
        }
    }
}

#[test]
fn rules_come_back_word_for_word() {
    let out = convert(RULES.as_bytes(), "save");
    assert!(out.status.success());
    assert_eq!(String::from_utf8(out.stdout).unwrap(), RULES);
}

#[test]
fn a_table_that_could_not_be_read_is_no_empty_one() {
    let text = "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n# Table `filter' is incompatible, use 'nft' tool.\n";
    let out = convert(text.as_bytes(), "save");
    assert_eq!(String::from_utf8(out.stdout).unwrap(), text);
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

#[test]
fn trace_answers_with_the_rules_on_the_way() {
    let rules = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -s 192.0.2.11/32 -p tcp -m tcp --dport 111 -j ACCEPT\n-A \
        INPUT -p tcp -m tcp --dport 111 -j DROP\nCOMMIT\n";
    for (src, verdict) in [("192.0.2.11", "accept"), ("192.0.2.12", "drop")] {
        let out =
            portcullis(rules.as_bytes(), &["trace", "-", "--proto", "tcp", "--src", src, "--dport", "111", "--json"]);
        let v: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(v["verdict"], verdict);
    }
    assert_eq!(portcullis(rules.as_bytes(), &["trace", "-", "--proto", "tcp", "--src", "::1"]).status.code(), Some(1));
}

#[test]
fn a_remark_about_a_whole_text_names_no_line() {
    let list = b"Chain INPUT (policy ACCEPT)\ntarget     prot opt source               destination\nDROP       tcp  \
        --  anywhere             anywhere             tcp dpt:sunrpc\n";
    let out = portcullis(list, &["report", "-"]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(text.contains("interfaces are hidden"), "{text}");
    assert!(!text.contains(":0:"), "{text}");
}
