//! Draws the guide: the text of each step, and its list.

use super::{Guide, STEPS, Step, open};
use crate::analyse::Judged;
use crate::model::trial::State;
use crate::model::{Family, Node, Source, TrialPhase, clock};
use crate::tui::applying::{all_checks, current};
use crate::tui::facts::{Planned, TrialSeen};
use crate::tui::keymap::{Action, Place};
use crate::tui::popups::trial::capital;
use crate::tui::screens::plan;
use crate::tui::screens::services::summary;
use crate::tui::shared::Shared;
use crate::tui::theme::{Glyph, Role};
use crate::tui::widgets::{Canvas, beyond, width, wrap};

impl Guide {
    /// Draws the popup.
    pub fn draw(&mut self, c: &mut Canvas, sh: &Shared) {
        let (w, h) = (c.w(), c.h().saturating_sub(2));
        let mut area = c.part(0, 1, w, h);
        let at = STEPS.iter().position(|s| *s == self.step).unwrap_or(0);
        let mut c = area.frame(&format!("Guided hardening: step {} of {}", at + 1, STEPS.len()));
        let (title, text, mut enter) = words(self.step, sh);
        if self.step == Step::Who && self.nodes(sh).is_empty() {
            enter = "enter the nodes".to_owned();
        }
        let esc = match self.step {
            Step::Done => String::new(),
            Step::Trial if sh.facts.phase().is_some_and(|p| p.left().is_some()) => {
                "   esc: leave, the clock runs on".to_owned()
            }
            Step::Who | Step::Change if sh.plan_is_new() => {
                format!("   esc: leave, the plan stays staged; {} comes back", sh.key(Place::Services, Action::Guide))
            }
            _ => format!("   esc: leave, {} comes back", sh.key(Place::Services, Action::Guide)),
        };
        c.put(0, 0, Role::Title, &title);
        let mut y = 1;
        for l in wrap(&text, usize::from(c.w())) {
            c.put(0, y, Role::Text, &l);
            y += 1;
        }
        let (cw, ch) = (c.w(), c.h());
        let mut beyond = None;
        let mut body = c.part(0, y + 1, cw, ch.saturating_sub(y + 3));
        match self.step {
            Step::Open => beyond = self.open_list(&mut body, sh),
            Step::Which => beyond = self.which(&mut body),
            Step::Who => beyond = self.who(&mut body, sh),
            Step::Change => changes(&mut body, sh),
            Step::Trial | Step::Save | Step::Done => {}
        }
        if let Some(text) = beyond {
            c.right(1, y, Role::Dim, &text);
        }
        let key = c.theme.glyph(Glyph::Enter);
        self.enter_at = Some(c.area().y + ch.saturating_sub(1));
        c.row(0, ch.saturating_sub(1), &[(Role::Key, key), (Role::Text, " "), (Role::Text, &enter), (Role::Dim, &esc)]);
    }

    /// Draws what is open; returns what lies outside the window.
    fn open_list(&mut self, c: &mut Canvas, sh: &Shared) -> Option<String> {
        let theme = c.theme;
        let side = |j: &Judged, family: Family| {
            let (g, role, text) = summary(&j.endpoint, j.exposure[family.index()].as_ref());
            (role, format!("{} {} {text}", family.label(), theme.glyph(g)))
        };
        let rows: Vec<[(Role, String); 3]> =
            open(sh).map(|j| [(Role::Text, j.endpoint.label()), side(j, Family::V4), side(j, Family::V6)]).collect();
        if rows.is_empty() {
            // Unknown is not closed.
            let unknown = sh.facts.seen.as_ref().is_none_or(|s| s.view.unread.iter().any(Option::is_some));
            let (role, text) = if unknown {
                (Role::Partial, "The rules could not be read: who gets in is not known.")
            } else {
                (Role::Closed, "Nothing that was found can be reached by others.")
            };
            c.put(2, 0, role, text);
        }
        // Each column is as wide as it needs; if that is too much, the widest is cut.
        let mut columns = [0, 1, 2].map(|i| rows.iter().map(|r| width(&r[i].1)).max().unwrap_or(0) + 2);
        while columns.iter().sum::<u16>() > c.w()
            && let Some(widest) = columns.iter_mut().max()
            && *widest > 4
        {
            *widest -= 1;
        }
        self.cursor.stands(c.area().y);
        let window = self.cursor.window(rows.len(), usize::from(c.h()));
        for (y, at) in window.clone().enumerate() {
            if at == self.cursor.at {
                c.mark(0, y as u16);
            }
            let mut x = 2;
            for ((role, text), column) in rows[at].iter().zip(columns) {
                c.put_within(x, y as u16, x + column - 2, *role, text);
                x += column;
            }
        }
        beyond(&window, rows.len())
    }

    /// Draws the services; returns what lies outside the window.
    fn which(&mut self, c: &mut Canvas) -> Option<String> {
        self.cursor.stands(c.area().y);
        let window = self.cursor.window(self.goals.len(), usize::from(c.h()));
        for (y, at) in window.clone().enumerate() {
            let (g, y) = (&self.goals[at], y as u16);
            let here = at == self.cursor.at;
            if here {
                c.mark(0, y);
            }
            c.put(2, y, Role::Key, if g.ticked { "[x]" } else { "[ ]" });
            c.put_within(
                6,
                y,
                27,
                if here { Role::Selected } else { Role::Text },
                &g.all().iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            );
            c.put(28, y, Role::Dim, g.why);
        }
        if self.goals.is_empty() {
            c.put(2, 0, Role::Text, "Nothing is open to others here but SSH.");
        }
        beyond(&window, self.goals.len())
    }

    /// Draws the nodes; returns what lies outside the window.
    fn who(&mut self, c: &mut Canvas, sh: &Shared) -> Option<String> {
        let nodes = self.nodes(sh);
        if nodes.is_empty() {
            c.put(2, 0, Role::Dim, "Nobody yet.");
        }
        let room = usize::from(c.h().saturating_sub(2));
        self.cursor.stands(c.area().y);
        let window = self.cursor.window(nodes.len(), room);
        for (y, at) in window.clone().enumerate() {
            let n = &nodes[at];
            if at == self.cursor.at {
                c.mark(0, y as u16);
            }
            let addrs = match n {
                Node::Name(_, a) if !a.is_empty() => {
                    format!("  ({})", a.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
                }
                _ => String::new(),
            };
            let yes = c.theme.glyph(Glyph::Yes);
            c.row(
                2,
                y as u16,
                &[(Role::Closed, yes), (Role::Text, " "), (Role::Text, &n.to_string()), (Role::Dim, &addrs)],
            );
        }
        let (add, remove) = (sh.key(Place::Guide, Action::AllowNode), sh.key(Place::Guide, Action::Remove));
        let y = nodes.len().min(room) as u16 + 1;
        let x = c.row(2, y, &[(Role::Key, &add), (Role::Text, " adds nodes")]);
        if !nodes.is_empty() {
            c.row(x, y, &[(Role::Text, ", "), (Role::Key, &remove), (Role::Text, " removes the one at the cursor")]);
        }
        beyond(&window, nodes.len())
    }
}

fn words(step: Step, sh: &Shared) -> (String, String, String) {
    let s = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    match step {
        Step::Open if !sh.plan_is_new() && !sh.staged.plan.rules.is_empty() => s(
            "What is open now?",
            "Each line is something that others can reach over the network, and who gets in. A plan is kept here \
            already: the guide begins with it, and what it protects is ticked.",
            "which of them to protect",
        ),
        Step::Open => s(
            "What is open now?",
            "Each line is something that others can reach over the network, and who gets in. Anyone means the whole \
                Internet, if this host is on it.",
            "which of them to protect",
        ),
        Step::Which => s(
            "Which services should only some nodes reach?",
            "Ticked are those that strangers have no business with. Space ticks and unticks. SSH is left alone: it is \
            your way in.",
            "who may still use them",
        ),
        Step::Who => s(
            "Who may still use them?",
            "Usually: your NFS clients, the nodes of the cluster, the monitoring. Everybody who is not listed is \
                dropped.",
            "what will change",
        ),
        Step::Change if sh.facts.source() == Some(Source::Capture) => s(
            "What would change?",
            "This is captured text, not a host. Below: who gets in before and after, then the checks. The preview has \
            the commands; e there writes them to a script for the host.",
            "see the commands",
        ),
        Step::Change => s(
            "What will change?",
            "Nothing is live yet. Below: who gets in before and after, then the checks. Look at every line with a \
                cross.",
            "apply on trial",
        ),
        Step::Trial if sh.facts.trial_runs() => {
            let trial = sh.facts.trial.as_ref();
            let stands = trial.and_then(TrialSeen::stands).unwrap_or_default();
            let now = match trial.map(|t| (t.proven(), t.needs_proof)) {
                Some((Some((user, peer)), _)) => {
                    format!("{user} logged in from {peer} under them: the way in is open, so keep the trial.")
                }
                Some((_, false)) => {
                    "Test from another host that everything still works, then keep the trial.".to_owned()
                }
                _ => "Open another login now: if it gets in, keep the trial.".to_owned(),
            };
            match sh.facts.phase() {
                _ if sh.facts.void().is_some() => {
                    let why = sh
                        .facts
                        .void()
                        .map(|p| format!("The plan is {}: {}.", p.force.extent().says(), p.force.says().join("; ")))
                        .unwrap_or_default();
                    (
                        capital(&stands),
                        format!("{why} Keeping it is no use: revert it, and apply it again once that is fixed."),
                        "see what ends it".to_owned(),
                    )
                }
                Some(p @ TrialPhase::Running(left)) if p.keeps() => (
                    format!("The trial runs: {} left", clock(left)),
                    format!("The new rules are live. {now} If nobody keeps it, the old rules come back by themselves."),
                    "keep, revert or more time".to_owned(),
                ),
                Some(p @ TrialPhase::Unwatched(_)) if p.keeps() => (
                    capital(&stands),
                    format!(
                        "The new rules are live. {now} If you do not want them, revert the trial: nothing else will."
                    ),
                    "see what ends it".to_owned(),
                ),
                _ => (
                    capital(&stands),
                    "The screen of the trial says what ends it.".to_owned(),
                    "see what ends it".to_owned(),
                ),
            }
        }
        Step::Trial | Step::Save | Step::Done if void_words(sh).is_some() => {
            let enter = match step {
                Step::Done => "close",
                Step::Save => "save it anyway",
                _ => "go on",
            };
            s("Kept, but not in force.", &void_words(sh).unwrap_or_default(), enter)
        }
        Step::Trial => match sh.facts.trial.as_ref().map(|t| t.state) {
            Some(State::Kept) => s(
                "Kept.",
                "The new rules stay as long as the machine runs. A reboot would still bring the old ones.",
                "save them for the next boot",
            ),
            _ => s(
                "The old rules are back.",
                "Nobody kept the trial, or you reverted it. The plan is still staged.",
                "look at the plan again",
            ),
        },
        Step::Save => s(
            "Save for the next boot?",
            "The rules that were kept are written to files that are loaded at boot, in the way that fits this host. \
            Old files stay beside them.",
            "see what boot does with them, then save",
        ),
        Step::Done => {
            let key = |a| sh.key(Place::Services, a);
            let saved =
                sh.facts.boot_to_do.as_ref().map_or("The rules are live, kept and saved.".to_owned(), |to_do| {
                    format!("The rules are live, kept and written. Before the next boot: {to_do}")
                });
            let text = format!(
                "{saved} Services ({}) shows who gets in now, History ({}) what was done. {} comes back here. To \
                change the plan that is kept, {} goes to the first step with it.",
                key(Action::ToServices),
                key(Action::ToHistory),
                key(Action::Guide),
                sh.key(Place::Guide, Action::Back)
            );
            s(if sh.facts.boot_to_do.is_none() { "Done." } else { "Done, except for the next boot." }, &text, "close")
        }
    }
}

/// Why what was kept is not in force, and how to go on.
fn void_words(sh: &Shared) -> Option<String> {
    let void = sh.facts.trial.as_ref().and_then(|t| sh.facts.void_since_kept(&t.id))?;
    let key = |a| sh.key(Place::Services, a);
    Some(format!(
        "It is {}: {}. Saved as it is now, it would not be in force after a boot either. Plan ({}) says what to do, \
            History ({}) stages the plan again.",
        void.force.extent().says(),
        void.force.says().join("; "),
        key(Action::ToPlan),
        key(Action::ToHistory)
    ))
}

fn changes(c: &mut Canvas, sh: &Shared) {
    let (w, h) = (c.w(), c.h());
    // The checks get the lines they need, the changes the rest.
    let lines = |p: &Planned| {
        all_checks(sh, p).iter().map(|k| wrap(&k.text, usize::from(w.saturating_sub(6))).len()).sum::<usize>() as u16
    };
    let top = (h / 3).max(2).max(h.saturating_sub(current(sh).map_or(h, lines) + 1));
    // On a tall screen both fit.
    let top = current(sh).map_or(top, |p| top.min(plan::changed_lines(sh, p) + 2));
    plan::before_after(&mut c.part(0, 0, w, top), sh, current(sh));
    plan::checks(&mut c.part(0, top, w, h - top), sh, current(sh));
}
