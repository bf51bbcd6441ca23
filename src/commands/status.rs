//! `portcullis status`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Failure, print};
use crate::host::live::Live;
use crate::trial::{self, By, Status};

/// Shows the pending trial, or what became of the last one.
pub fn run(as_json: bool) -> Result<(), Failure> {
    let status = trial::status(&Live::default());
    print(&if as_json { format!("{}\n", json_of(&status)) } else { text_of(&status) })
}

fn instant(second: i64) -> String {
    jiff::Timestamp::from_second(second).map(|t| t.to_string()).unwrap_or_default()
}

fn json_of(s: &Status) -> Value {
    let trial = s.trial.as_ref().map(|r| {
        let deadline = r.began + i64::try_from(r.left(std::time::Duration::ZERO)).unwrap_or(0) - (r.began - r.offset);
        json!({
            "id": r.id, "state": r.state.word(), "by": r.by.map(By::word), "began": instant(r.began),
            "deadline": instant(deadline), "seconds_left": s.left, "operator": r.operator,
            "proof": null, "remarks": r.remarks,
        })
    });
    json!({"version": 1, "trial": trial, "unrecorded_until": s.unrecorded.map(instant)})
}

fn text_of(s: &Status) -> String {
    let mut out = String::new();
    if let Some(until) = s.unrecorded {
        let _ = writeln!(out, "the kernel holds a trial that no file tells of, until {}; `portcullis revert` ends it", instant(until));
    }
    match &s.trial {
        None if s.unrecorded.is_none() => out.push_str("no trial was ever begun here\n"),
        None => {}
        Some(r) if r.state.is_pending() => { let _ = write!(out, 
            "trial {} is {}: the old rules come back in {} s (begun {} by {})\n`portcullis keep` keeps it, `portcullis revert` ends it\n",
            r.id, r.state.word(), s.left, instant(r.began), r.operator); }
        Some(r) => { let _ = writeln!(out, "no trial is pending; the last one, {}, was {}{}{}", r.id, r.state.word(),
            r.by.map_or_else(String::new, |b| format!(" by the {}", b.word())),
            r.ended.map_or_else(String::new, |t| format!(" at {}", instant(t)))); }
    }
    for r in s.trial.iter().flat_map(|r| &r.remarks) {
        let _ = writeln!(out, "note: {r}");
    }
    out
}
