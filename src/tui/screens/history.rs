//! History: the trials of this host and what became of them.

use crate::model::Source;
use crate::tui::keymap::Action;
use crate::tui::planned::count;
use crate::tui::screens::plan::rule_words;
use crate::tui::shared::{Asked, Open, Shared, TrialSeen};
use crate::tui::theme::{Glyph, Role};
use crate::tui::widgets::{Canvas, Cursor, wrap};

/// State of the screen.
#[derive(Default, Debug)]
pub struct History {
    cursor: Cursor,
    first_line: u16,
}

/// Why nothing can be saved now.
pub fn can_save(sh: &Shared) -> Result<(), String> {
    match sh.source() {
        Some(Source::Capture) => Err("this is captured text, not a host: there is nothing to save".into()),
        _ if sh.trial_runs() => Err("a trial runs: keep it first, only what is kept is saved".into()),
        None => Err("the host is still being looked at".into()),
        _ => Ok(()),
    }
}

impl History {
    /// Why an action does not work now.
    pub fn available(&self, action: Action, sh: &Shared) -> Result<(), String> {
        match action {
            Action::Save => can_save(sh),
            Action::Again if sh.past.is_empty() => Err("there is no trial yet".into()),
            _ => Ok(()),
        }
    }

    /// Acts.
    pub fn act(&mut self, action: Action, sh: &mut Shared) {
        if self.cursor.act(action, sh.past.len()) {
            return;
        }
        match action {
            Action::Save => sh.opens.push(Open::Save),
            Action::Again => {
                let Some(t) = sh.past.get(self.cursor.at) else { return };
                match crate::syntax::plan::read(&t.plan) {
                    Ok(plan) => {
                        let lines = vec![format!("The plan of {} has {}. It replaces what is staged; u brings that back. Nothing becomes live before you apply it on trial.", t.began, count(plan.rules.len(), "rule"))];
                        sh.opens.push(Open::Ask { title: "Take this plan up again".into(), lines, yes: "Stage this plan".into(), then: Asked::Plan(plan) });
                    }
                    Err(d) => sh.complain(format!("the plan of this trial cannot be read: {}", d.message)),
                }
            }
            _ => {}
        }
    }

    /// A click.
    pub fn click(&mut self, y: u16, sh: &Shared) {
        if y >= self.first_line && usize::from(y - self.first_line) < sh.past.len() {
            self.cursor.at = usize::from(y - self.first_line);
        }
    }

    /// The wheel.
    pub fn wheel(&mut self, lines: i32, sh: &Shared) {
        self.cursor.wheel(lines, sh.past.len());
    }

    /// Draws.
    pub fn draw(&mut self, c: &mut Canvas, sh: &Shared) {
        if sh.past.is_empty() {
            c.put(2, 1, Role::Title, "No trial yet.");
            c.put(2, 3, Role::Text, "Stage a plan on Services (1, then p) and apply it from Plan (3, then y).");
            return;
        }
        let list = c.h() / 2;
        c.put(3, 0, Role::Dim, "began                    what became of it     by          plan");
        self.first_line = c.area().y + 1;
        for (y, at) in self.cursor.window(sh.past.len(), usize::from(list.saturating_sub(1))).enumerate() {
            let (t, y) = (&sh.past[at], y as u16 + 1);
            let here = at == self.cursor.at;
            if here {
                c.mark(1, y);
            }
            c.put(3, y, if here { Role::Selected } else { Role::Text }, &t.began);
            let role = match t.state.as_str() { "kept" => Role::Closed, "failed" => Role::Error, _ => Role::Partial };
            c.put(28, y, role, &t.state);
            c.put(50, y, Role::Dim, t.by.unwrap_or(""));
            let rules = crate::syntax::plan::read(&t.plan).map_or(0, |p| p.rules.len());
            c.put(62, y, Role::Text, &count(rules, "rule"));
        }
        let (w, h) = (c.w(), c.h());
        let mut below = c.part(0, list, w, h - list);
        if let Some(t) = sh.past.get(self.cursor.at) {
            detail(&mut below, t);
        }
    }
}

fn detail(c: &mut Canvas, t: &TrialSeen) {
    c.rule(0, &format!("trial {} {}", t.id, t.state));
    let arrow = c.theme.glyph(Glyph::Arrow);
    let mut lines: Vec<(Role, String)> = vec![(Role::Dim, format!("begun by {} at {}", t.operator, t.began))];
    if let Ok(p) = crate::syntax::plan::read(&t.plan) {
        lines.extend(p.rules.iter().map(|r| (Role::Text, rule_words(r, arrow))));
    }
    lines.extend(t.remarks.iter().map(|r| (Role::Partial, r.clone())));
    let mut y = 1;
    for (role, text) in lines {
        for l in wrap(&text, usize::from(c.w().saturating_sub(4))) {
            c.put(2, y, role, &l);
            y += 1;
        }
    }
}
