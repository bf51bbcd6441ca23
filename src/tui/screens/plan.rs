//! Plan: what is staged, what it changes, and whether it is safe.
//!
//! ```text
//!  The plan: 2 rules                      before → after
//!  ▸ 1 allow 192.0.2.11 → portmapper      portmapper 111/tcp  ● anyone → ◐ 1 address
//!    2 drop  any → portmapper
//!  ─ checks ──────────────────────────────────────────────────────────────────────
//!   ✓ your SSH session (10.0.0.5 to port 22): a new login still gets in
//! ```

mod comparison;

pub use comparison::{before_after, changed_lines, in_words};

use crate::model::{Action as Does, Goal, Node, PlanRule, count};
use crate::plan::{Check, Extent, Grade};
use crate::tui::applying::{all_checks, apply, can_apply, can_save, current};
use crate::tui::facts::Planned;
use crate::tui::keymap::{Action, Place};
use crate::tui::search::{Search, next};
use crate::tui::shared::Shared;
use crate::tui::theme::{Glyph, Role};
use crate::tui::widgets::{Canvas, Cursor, width, wrap};
use crate::tui::wishes::Open;

/// State of the screen.
#[derive(Default, Debug)]
pub struct PlanScreen {
    cursor: Cursor,
    first_line: u16,
}

/// A rule of the plan in words.
pub fn rule_words(r: &PlanRule, arrow: &str) -> String {
    let list = |items: Vec<String>| items.join(", ");
    format!(
        "{} {} {arrow} {}",
        r.action.word(),
        list(r.from.iter().map(Node::to_string).collect()),
        list(r.to.iter().map(Goal::to_string).collect())
    )
}

/// The warning when the rules of a kept plan are not loaded, or only some of them.
fn lost(sh: &Shared) -> Option<String> {
    let key = sh.key(Place::Plan, Action::ToHistory);
    let void = sh.facts.void().filter(|p| !p.on_trial && p.force.is_lost())?;
    Some(format!(
        "A plan was kept that is {} now: {}. Something else was loaded since, as at a boot that it was not saved for. \
            History ({key}) stages it again.",
        void.force.extent().says(),
        void.force.says().join("; ")
    ))
}

impl PlanScreen {
    /// Why an action does not work now.
    pub fn available(&self, action: Action, sh: &Shared) -> Result<(), String> {
        let empty = || {
            if sh.staged.plan.rules.is_empty() {
                Err(format!("the plan is empty: press {} on a service", sh.key(Place::Services, Action::Protect)))
            } else {
                Ok(())
            }
        };
        match action {
            Action::Apply => can_apply(sh),
            Action::Preview => {
                if sh.plan_is_new() {
                    Ok(())
                } else {
                    empty()
                }
            }
            Action::Edit
            | Action::Remove
            | Action::Cycle
            | Action::AllowNode
            | Action::DropAll
            | Action::MoveUp
            | Action::MoveDown => empty(),
            Action::Save => can_save(sh),
            _ => Ok(()),
        }
    }

    /// Performs an action.
    pub fn act(&mut self, action: Action, sh: &mut Shared) {
        let n = sh.staged.plan.rules.len();
        if self.cursor.act(action, n) {
            return;
        }
        let at = self.cursor.at.min(n.saturating_sub(1));
        let rule = sh.staged.plan.rules.get(at).cloned();
        match (action, rule) {
            (Action::NextMatch | Action::PreviousMatch, _) => {
                let Some(search) = Search::new(&sh.search) else { return };
                let found = next(at, n, action == Action::NextMatch, |i| {
                    search.in_text(&rule_words(&sh.staged.plan.rules[i], "to"))
                });
                self.cursor.at = found.unwrap_or(at);
            }
            (Action::Apply, _) => apply(sh),
            (Action::Save, _) => sh.open(Open::Save),
            (Action::Remove, Some(r)) => {
                sh.stage(|p| {
                    p.rules.remove(at);
                });
                let undo = sh.key(Place::Plan, Action::Undo);
                sh.say(format!("removed: {}; {undo} brings it back", rule_words(&r, "to")));
            }
            (Action::MoveUp, Some(_)) if at > 0 => {
                sh.stage(|p| p.rules.swap(at, at - 1));
                self.cursor.at = at - 1;
            }
            (Action::MoveDown, Some(_)) if at + 1 < n => {
                sh.stage(|p| p.rules.swap(at, at + 1));
                self.cursor.at = at + 1;
            }
            (Action::Cycle, Some(r)) => {
                let next = match r.action {
                    Does::Allow => Does::Drop,
                    Does::Drop => Does::Reject,
                    Does::Reject => Does::Allow,
                };
                sh.stage(|p| p.rules[at].action = next);
            }
            (Action::Edit, Some(r)) => {
                if let Some(goal) = r.to.first() {
                    sh.open(Open::Nodes {
                        goals: vec![goal.clone()],
                        what: goal.to_string(),
                        drop_rest: false,
                        rule: Some(at),
                    });
                }
            }
            (Action::AllowNode, Some(r)) => {
                let what = r.to.iter().map(Goal::to_string).collect::<Vec<_>>().join(", ");
                sh.open(Open::Nodes { goals: r.to, what, drop_rest: false, rule: None });
            }
            (Action::DropAll, Some(r)) => {
                sh.stage(|p| {
                    if !p.rules.iter().any(|o| o.action == Does::Drop && o.to == r.to && o.from == [Node::Any]) {
                        p.rules.push(PlanRule { action: Does::Drop, from: vec![Node::Any], to: r.to.clone() });
                    }
                });
            }
            _ => {}
        }
    }

    /// Moves the cursor to a rule.
    pub fn show(&mut self, at: usize) {
        self.cursor = Cursor::at(at);
    }

    /// Handles a click.
    pub fn click(&mut self, y: u16, sh: &Shared) {
        if y >= self.first_line && usize::from(y - self.first_line) < sh.staged.plan.rules.len() {
            self.cursor.at = usize::from(y - self.first_line);
        }
    }

    /// Handles the wheel.
    pub fn wheel(&mut self, lines: i32, sh: &Shared) {
        self.cursor.wheel(lines, sh.staged.plan.rules.len());
    }

    /// Draws the screen.
    pub fn draw(&mut self, c: &mut Canvas, sh: &Shared) {
        let arrow = c.theme.glyph(Glyph::Arrow);
        if let Some(search) = Search::new(&sh.search) {
            // A search hides no rules here, because their order matters.
            sh.counts.set((sh.staged.plan.rules.iter().filter(|r| search.in_text(&rule_words(r, "to"))).count(), 0));
        }
        let wide = c.w() >= 110;
        let left = if wide { c.w() / 2 } else { c.w() };
        let nothing = current(sh).is_none_or(|p| p.nothing);
        let mut said = 0;
        if sh.staged.plan.rules.is_empty() {
            let key = |place, action| sh.key(place, action);
            let (title, text) = if sh.plan_is_new() && sh.facts.seen.is_some() {
                (
                    "The plan is empty: applying it removes all our rules.",
                    format!(
                        "{} brings the last rules back; {} shows what would change.",
                        key(Place::Plan, Action::Undo),
                        key(Place::Plan, Action::Preview)
                    ),
                )
            } else {
                (
                    "The plan is empty.",
                    format!(
                        "On Services ({}), press {} on a service: name the nodes that may use it; everybody else is \
                            dropped. Or press {} here: the guide leads through it step by step.",
                        key(Place::Plan, Action::ToServices),
                        key(Place::Services, Action::Protect),
                        key(Place::Plan, Action::Guide)
                    ),
                )
            };
            c.put(2, 1, Role::Title, title);
            let text = lost(sh).map_or(text.clone(), |lost| format!("{lost} {text}"));
            // The changes are shown beside the rules or below them.
            let cells = if nothing { c.w() } else { left };
            let lines = wrap(&text, usize::from(cells.saturating_sub(4)));
            for (l, y) in lines.iter().zip(3..) {
                c.put(2, y, Role::Text, l);
            }
            if nothing {
                return;
            }
            said = lines.len() as u16 + 4;
        }
        let checks_height = (c.h() * 2 / 5).max(4);
        let top = c.h().saturating_sub(checks_height);
        let rules_height =
            if wide { top } else { (sh.staged.plan.rules.len() as u16 + 1).min(top * 3 / 5).max(3).max(said).min(top) };
        if !sh.staged.plan.rules.is_empty() {
            let state = if sh.facts.trial_runs() {
                "a trial is pending"
            } else if sh.plan_is_new() {
                "staged, not live"
            } else {
                kept_words(sh)
            };
            c.row(
                1,
                0,
                &[
                    (Role::Title, &format!("{} in this order", count(sh.staged.plan.rules.len(), "rule"))),
                    (Role::Dim, &format!("  ({state})")),
                ],
            );
            self.first_line = c.area().y + 1;
            for (y, at) in self.cursor.window(sh.staged.plan.rules.len(), usize::from(rules_height - 1)).enumerate() {
                let r = &sh.staged.plan.rules[at];
                let here = at == self.cursor.at;
                let y = y as u16 + 1;
                if here {
                    c.mark(1, y);
                }
                let role = match r.action {
                    Does::Allow => Role::Open,
                    Does::Drop | Does::Reject => Role::Closed,
                };
                let words = rule_words(r, arrow);
                let rest = words.strip_prefix(r.action.word()).unwrap_or_default();
                c.put(3, y, Role::Dim, &format!("{:>2}", at + 1));
                let x = c.put(6, y, role, &format!("{:<6}", r.action.word()));
                c.put_within(
                    x,
                    y,
                    left.saturating_sub(1),
                    if here { Role::Selected } else { Role::Text },
                    rest.trim_start(),
                );
            }
        }
        let planned = current(sh);
        let (w, h) = (c.w(), c.h());
        if wide {
            let mut right = c.part(left, 0, w - left, top);
            before_after(&mut right, sh, planned);
        } else {
            let mut middle = c.part(0, rules_height, w, top.saturating_sub(rules_height));
            before_after(&mut middle, sh, planned);
        }
        let mut below = c.part(0, top, w, h - top);
        checks(&mut below, sh, planned);
    }
}

/// The state of the staged plan when it is the kept one.
fn kept_words(sh: &Shared) -> &'static str {
    match sh.facts.void().filter(|p| !p.on_trial) {
        Some(p) if p.force.is_lost() => "this plan is kept; the one kept later is not in force",
        Some(p) => match p.force.extent() {
            Extent::Whole | Extent::Part => "kept, but only partly in force",
            Extent::None => "kept, but not in force",
            Extent::Unknown => "kept, but perhaps not in force",
        },
        None => "this plan is kept",
    }
}

/// Failed checks come first.
fn sorted(checks: &[Check]) -> Vec<&Check> {
    let mut out: Vec<_> = checks.iter().collect();
    out.sort_by_key(|k| match k.grade {
        Grade::Bad => 0,
        Grade::Good => 1,
        Grade::Note => 2,
    });
    out
}

/// The checks, one line each where they fit.
pub fn checks(c: &mut Canvas, sh: &Shared, planned: Option<&Planned>) {
    c.rule(0, "checks");
    let Some(p) = planned else { return };
    if let Some((what, hint)) = &p.error {
        let no = c.theme.glyph(Glyph::No);
        c.put(2, 1, Role::Error, no);
        for (y, l) in (1..).zip(wrap(&format!("{what}. {hint}"), usize::from(c.w().saturating_sub(6)))) {
            c.put(4, y, Role::Text, &l);
        }
        return;
    }
    // For a screen reader the glyphs are words.
    let x = 3 + [Glyph::Yes, Glyph::No, Glyph::Dot].map(|g| width(c.theme.glyph(g))).into_iter().max().unwrap_or(1);
    let room = usize::from(c.w().saturating_sub(x + 2));
    let all = all_checks(sh, p);
    let lines: Vec<(&Check, usize, String)> = sorted(&all)
        .into_iter()
        .flat_map(|k| wrap(&k.text, room).into_iter().enumerate().map(move |(i, l)| (k, i, l)))
        .collect();
    let room = usize::from(c.h().saturating_sub(1));
    let shown = if lines.len() > room { room.saturating_sub(1) } else { room };
    for ((k, i, l), y) in lines.iter().take(shown).zip(1..) {
        let (glyph, role) = match k.grade {
            Grade::Good => (Glyph::Yes, Role::Closed),
            Grade::Bad => (Glyph::No, Role::Error),
            Grade::Note => (Glyph::Dot, Role::Dim),
        };
        let glyph = c.theme.glyph(glyph);
        if *i == 0 {
            c.put(2, y, role, glyph);
        }
        c.put(x, y, Role::Text, l);
    }
    if lines.len() > room {
        let key = sh.key(Place::Plan, Action::Preview);
        c.put(4, room as u16, Role::Dim, &format!("{} more lines: {key} shows all", lines.len() - shown));
    }
}
