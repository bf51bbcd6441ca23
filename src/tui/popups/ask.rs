//! A question whose answer has a consequence; it names it.

use super::{After, middle};
use crate::tui::keymap::Action;
use crate::tui::shared::{Asked, Open, Request, Shared};
use crate::tui::theme::Role;
use crate::tui::widgets::{Canvas, Cursor, wrap};

/// State.
#[derive(Debug)]
pub struct Ask {
    title: String,
    lines: Vec<String>,
    answers: Vec<String>,
    then: Asked,
    cursor: Cursor,
}

impl Ask {
    /// A question; the cursor stands on "no" where yes may hurt.
    pub fn new(title: String, lines: Vec<String>, yes: String, then: Asked) -> Self {
        let risky = matches!(then, Asked::Apply { allow_lockout: true, .. } | Asked::Keep);
        Self { title, lines, answers: vec![yes, "No, go back".into()], then, cursor: Cursor::at(usize::from(risky)) }
    }

    /// Something to read, with nothing to decide.
    pub fn tell(title: String, lines: Vec<String>) -> Self {
        Self { title, lines, answers: vec!["Go on".into()], then: Asked::Nothing, cursor: Cursor::default() }
    }

    /// Acts.
    pub fn act(&mut self, action: Action, sh: &mut Shared) -> After {
        if self.cursor.act(action, self.answers.len()) {
            return After::Stay;
        }
        match action {
            Action::Cancel => After::Close,
            Action::Accept | Action::Pick => {
                if self.cursor.at == 0 {
                    self.done(sh);
                }
                After::Close
            }
            _ => After::Stay,
        }
    }

    fn done(&self, sh: &mut Shared) {
        match self.then.clone() {
            Asked::Apply { replace, allow_lockout, without_fuse } => {
                sh.busy = Some("applying".into());
                sh.requests.push(Request::Apply { plan: sh.plan.clone(), replace, allow_lockout, without_fuse });
            }
            Asked::Keep => {
                sh.busy = Some("keeping".into());
                sh.requests.push(Request::Keep { without_proof: true });
            }
            Asked::Draft(plan) => {
                sh.stage(|p| *p = plan);
                sh.go = Some(crate::tui::screens::Tab::Plan);
                sh.say("the draft is staged again");
            }
            Asked::Nothing => {}
            Asked::Plan(plan) => {
                sh.stage(|p| *p = plan);
                sh.go = Some(crate::tui::screens::Tab::Plan);
            }
        }
        sh.opens.retain(|o| !matches!(o, Open::Ask { .. }));
    }

    /// Draws.
    pub fn draw(&mut self, c: &mut Canvas, _: &Shared) {
        let w = c.w().min(70);
        let text: Vec<String> = self.lines.iter().flat_map(|l| wrap(l, usize::from(w - 6))).collect();
        let h = (text.len() + self.answers.len()) as u16 + 4;
        let mut area = middle(c, w, h);
        let mut c = area.frame(&self.title);
        let mut y = 0;
        for l in &text {
            c.put(1, y, Role::Text, l);
            y += 1;
        }
        for (i, answer) in self.answers.iter().enumerate() {
            let y = y + 1 + i as u16;
            let here = i == self.cursor.at;
            if here {
                c.mark(1, y);
            }
            c.put(3, y, if here { Role::Selected } else { Role::Text }, answer);
        }
    }
}
