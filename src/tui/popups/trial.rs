//! The trial: a clock over the full width, what reverts the trial, and the keys that end it.

use super::{After, middle};
use crate::model::trial::State;
use crate::model::{BootFile, Operator, Source, TrialPhase};
use crate::tui::facts::TrialSeen;
use crate::tui::keymap::{Action, Place};
use crate::tui::protocol::{Change, Request};
use crate::tui::shared::Shared;
use crate::tui::theme::{Glyph, Role};
use crate::tui::widgets::{Canvas, width, wrap};
use crate::tui::wishes::{Asked, Open};

/// State.
#[derive(Default, Debug)]
pub struct TrialPopup {
    longest: u64,
}

impl TrialPopup {
    /// Performs an action.
    pub fn act(&mut self, action: Action, sh: &mut Shared) -> After {
        match action {
            Action::Cancel | Action::Accept => return After::Close,
            Action::Keep => keep(sh),
            Action::Revert => sh.ask(Request::Change(Change::Revert)),
            Action::Extend => sh.ask(Request::Change(Change::Extend)),
            Action::Save => sh.open(Open::Save),
            _ => {}
        }
        After::Stay
    }

    /// Draws the popup.
    pub fn draw(&mut self, c: &mut Canvas, sh: &Shared) {
        let (w, h) = (c.w(), c.h().saturating_sub(1));
        let mut area = middle(c, w, h);
        let mut c = area.frame("Trial");
        let Some(t) = &sh.facts.trial else {
            c.put(1, 1, Role::Title, "No trial has been started here yet.");
            return;
        };
        let mut lines: Vec<(Role, String)> = Vec::new();
        if let Some(phase) = t.phase {
            let stands = capital(&t.stands().unwrap_or_default());
            if let Some(left) = phase.left() {
                self.longest = self.longest.max(left).max(1);
                let room = u64::from(c.w().saturating_sub(2));
                let full = (room * left / self.longest) as usize;
                let bar = format!(
                    "{}{}",
                    c.theme.glyph(Glyph::Full).repeat(full),
                    c.theme.glyph(Glyph::Empty).repeat(room as usize - full)
                );
                let unless = " unless you keep the new ones";
                let fits = phase.keeps() && stands.len() + unless.len() + 3 <= usize::from(c.w());
                c.put(1, 1, Role::Title, &format!("{stands}{}.", if fits { unless } else { "" }));
                c.put(1, 2, if left < 15 { Role::Open } else { Role::Partial }, &bar);
            } else {
                let lines = wrap(&format!("{stands}."), usize::from(c.w().saturating_sub(2)));
                for (l, y) in lines.iter().zip(1..3) {
                    c.put(1, y, Role::Title, l);
                }
            }
            lines.extend(phase.keeps().then(|| {
                match &t.proof {
                    Some((user, peer)) if t.proven().is_some() => (
                        Role::Closed,
                        format!(
                            "{} proof of access: {user} logged in from {peer} under these rules",
                            c.theme.glyph(Glyph::Yes)
                        ),
                    ),
                    Some((user, peer)) => (
                        Role::Partial,
                        format!(
                            "{} {user} logged in from {peer} under these rules, but you \
                    come from {}: try from there too",
                            c.theme.glyph(Glyph::Yes),
                            t.operator
                        ),
                    ),
                    None if locks_out(sh, t) => (
                        Role::Error,
                        "This plan shuts you out, as you wanted: this screen stands \
                    still now, and no login gets in. Wait: the old rules come back by themselves."
                            .into(),
                    ),
                    None if !t.needs_proof => {
                        (Role::Text, "Now test from another host that everything still works.".into())
                    }
                    None => (
                        Role::Text,
                        "Now log in from another terminal: this session proves nothing, it was open before. A \
                    new login shows up here."
                            .into(),
                    ),
                }
            }));
            lines.push((Role::Text, String::new()));
            for (action, does) in [
                (Action::Keep, phase.keep_does()),
                (Action::Revert, phase.revert_does()),
                (Action::Extend, "adds a minute"),
            ] {
                if sh.facts.may_end(action).is_ok() {
                    lines.push((Role::Text, format!("{}  {does}", sh.key(Place::Trial, action))));
                }
            }
            lines.push((Role::Text, String::new()));
            // Otherwise whatever ends it is named above or in the remarks.
            let runs = matches!(
                phase,
                TrialPhase::Applying | TrialPhase::Running(_) | TrialPhase::Unrecorded(_) | TrialPhase::Due
            );
            let revert = sh.key(Place::Trial, Action::Revert);
            lines.extend(runs.then(|| {
                if t.guarded {
                    (
                        Role::Closed,
                        format!(
                            "{} the guard, a process of its own, reverts at the deadline; it survives this \
                    program and this session",
                            c.theme.glyph(Glyph::Yes)
                        ),
                    )
                } else {
                    (
                        Role::Error,
                        format!(
                            "{} the guard is gone: {revert} reverts, otherwise the kernel does by its dates",
                            c.theme.glyph(Glyph::No)
                        ),
                    )
                }
            }));
            lines.extend(runs.then(|| {
                if t.fuse {
                    (
                        Role::Closed,
                        format!(
                            "{} the kernel switches back by itself even if every process dies (dated rules)",
                            c.theme.glyph(Glyph::Yes)
                        ),
                    )
                } else {
                    (
                        Role::Error,
                        format!(
                            "{} the rules carry no dates here: if the guard is killed, nothing reverts",
                            c.theme.glyph(Glyph::No)
                        ),
                    )
                }
            }));
            lines.extend(sh.facts.void().into_iter().flat_map(|p| {
                p.force.says().into_iter().map(|why| {
                    (
                        Role::Error,
                        format!("{} the plan is {}: {why}", c.theme.glyph(Glyph::No), p.force.extent().says()),
                    )
                })
            }));
            if sh.facts.enforced.boot_files.is_empty() {
                lines.push((
                    Role::Closed,
                    format!(
                        "{} nothing was written to the boot-time rules: a reboot loads them as before",
                        c.theme.glyph(Glyph::Yes)
                    ),
                ));
            }
            lines.extend(written(sh));
        } else {
            c.put(
                1,
                1,
                Role::Title,
                &format!(
                    "This trial has ended: {}{}.",
                    t.state,
                    t.by.map_or_else(String::new, |b| format!(" by the {b}"))
                ),
            );
            match t.state {
                State::Kept if sh.facts.void_since_kept(&t.id).is_some() => {
                    lines.extend(sh.facts.void_since_kept(&t.id).into_iter().flat_map(|p| {
                        p.force.says().into_iter().map(|why| {
                            (
                                Role::Error,
                                format!(
                                    "{} The plan is {}: {why}.",
                                    sh.theme.glyph(Glyph::No),
                                    p.force.extent().says()
                                ),
                            )
                        })
                    }));
                }
                State::Kept if t.saved.is_some() => {
                    lines.push((Role::Text, "The plan is live, and in the boot-time rules.".into()));
                }
                State::Kept => lines.push((
                    Role::Text,
                    format!(
                        "The plan is live. It is not in the boot-time rules yet: {} saves it.",
                        sh.key(Place::Trial, Action::Save)
                    ),
                )),
                _ if sh.facts.enforced.in_force.as_ref().is_some_and(|p| !p.force.holds()) => lines.push((
                    Role::Partial,
                    format!(
                        "The plan is gone, but what was kept before is not in force: Plan ({}) says why.",
                        sh.key(Place::Services, Action::ToPlan)
                    ),
                )),
                _ if is_staged(sh, t) => lines.push((
                    Role::Text,
                    "The old rules are back. The plan is still staged on the Plan screen: change it and apply it again."
                        .into(),
                )),
                _ => lines.push((
                    Role::Text,
                    format!(
                        "The old rules are back. History ({}) can stage the plan again.",
                        sh.key(Place::Services, Action::ToHistory)
                    ),
                )),
            }
        }
        if t.phase.is_none() {
            lines.extend(written(sh));
        }
        lines.extend(t.remarks.iter().map(|r| (Role::Partial, r.clone())));
        let elsewhere = match t.phase {
            Some(p) if p.keeps() => " From any other login: portcullis status, keep, revert.",
            Some(_) => " From any other login: portcullis status, revert.",
            None => "",
        };
        lines.push((Role::Dim, format!("Trial {} of {}.{elsewhere}", t.id, t.operator)));
        if sh.facts.source() == Some(Source::Demo) {
            lines.push((Role::Dim, "This is the demo: nothing real is touched.".into()));
        }
        let tight = c.h() < 20;
        let mut rows: Vec<(u16, Role, String)> = Vec::new();
        for (role, text) in lines.into_iter().filter(|(_, text)| !(tight && text.is_empty())) {
            // Continuation lines are aligned after the glyph.
            let hang =
                if matches!(role, Role::Closed | Role::Error) { width(c.theme.glyph(Glyph::Yes)) + 1 } else { 0 };
            let wrapped = wrap(&text, usize::from(c.w().saturating_sub(2 + hang))).into_iter().enumerate();
            rows.extend(wrapped.map(|(i, l)| (if i == 0 { 1 } else { 1 + hang }, role, l)));
        }
        let room = usize::from(c.h().saturating_sub(4));
        if rows.len() > room {
            let more = rows.len() + 1 - room;
            rows.truncate(room.saturating_sub(1));
            rows.push((1, Role::Dim, format!("{more} more lines on a taller screen, or: portcullis status")));
        }
        for ((x, role, l), y) in rows.iter().zip(4..) {
            c.put(*x, y, *role, l);
        }
    }
}

/// What somebody wrote to the files that boot loads, and what to do about it.
fn written(sh: &Shared) -> impl Iterator<Item = (Role, String)> {
    let key = sh.key(Place::Trial, Action::Save);
    BootFile::say(&sh.facts.enforced.boot_files).into_iter().map(move |(holds, said)| {
        match (holds.is_bad(), sh.facts.trial_runs()) {
            (false, _) => (Role::Partial, said),
            (true, true) => (Role::Error, format!("{} {said}", sh.theme.glyph(Glyph::No))),
            (true, false) => (Role::Error, format!("{} {said}: {key} does", sh.theme.glyph(Glyph::No))),
        }
    })
}

/// Whether the plan of a trial is the one staged now.
fn is_staged(sh: &Shared, t: &TrialSeen) -> bool {
    t.plan.as_ref() == Ok(&sh.staged.plan)
}

/// Whether the plan is known to lock its own operator out.
fn locks_out(sh: &Shared, t: &TrialSeen) -> bool {
    is_staged(sh, t) && sh.facts.planned.as_ref().is_some_and(|p| p.lockout && p.plan == sh.staged.plan)
}

/// Keeps, but asks first if no new login has proven access yet.
fn keep(sh: &mut Shared) {
    if let Some(t) = sh.facts.trial.as_ref().filter(|t| t.proof.is_none() && t.needs_proof) {
        let from = match t.operator {
            Operator::Ssh(peer) => format!("You came over SSH from {peer}"),
            Operator::Unattended => "A job without a terminal began it".to_owned(),
            Operator::Console | Operator::Unknown => "Where you came from is not known".to_owned(),
        };
        let lines = vec![
            format!(
                "No new login was seen yet. {from}, and a session that is open may go on where a new login is \
                blocked: it proves nothing."
            ),
            "Better: press esc, log in from another terminal, then keep.".into(),
        ];
        sh.open(Open::Ask {
            title: "Keep without proof of access".into(),
            lines,
            yes: "To keep anyway".into(),
            then: Asked::Keep,
        });
        return;
    }
    sh.ask(Request::Change(Change::Keep { without_proof: false }));
}

/// The text with its first letter capitalized.
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |c| c.to_uppercase().chain(letters).collect())
}
