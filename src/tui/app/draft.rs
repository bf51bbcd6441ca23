//! The draft of an earlier session: whether to offer it.

use super::App;
use crate::model::count;
use crate::tui::popups::Popup;
use crate::tui::wishes::{Asked, Open};

impl App {
    /// The question about a stored draft. While a trial runs, the draft may be the very plan on trial.
    pub(super) fn ask_about_draft(&mut self) -> Option<Open> {
        let sh = &self.shared;
        let seen = sh.facts.seen.as_ref()?;
        if sh.facts.trial_runs() || self.typing() || self.popups.iter().any(|p| matches!(p, Popup::Trial(_))) {
            return None;
        }
        let draft = self.draft.take()?;
        let plan = &draft.plan;
        // A plan that was just kept is not part of the last look yet.
        let just_kept = sh
            .facts
            .trial
            .as_ref()
            .filter(|t| t.is_kept() && sh.facts.void_since_kept(&t.id).is_none())
            .and_then(|t| t.plan.as_ref().ok());
        if *plan == sh.staged.plan || *plan == seen.kept || just_kept == Some(plan) {
            return None;
        }
        let kept = plan.rules.iter().filter(|r| seen.kept.rules.contains(r)).count();
        let state = match plan.rules.len() - kept {
            0 => "All its rules are kept, but along with others or in another order.".to_owned(),
            _ if kept == 0 => "None of its rules is kept.".to_owned(),
            rest => format!(
                "Not all of it is live: {kept} of its rules {} kept, {rest} {} not.",
                if kept == 1 { "is" } else { "are" },
                if rest == 1 { "is" } else { "are" }
            ),
        };
        let mut lines =
            vec![format!("A plan of {} was staged earlier. {state}", count(plan.rules.len(), "rule")), draft.whence()];
        let (title, yes) = if draft.origin.is_own() {
            ("A draft from an earlier session", "Stage it again")
        } else {
            lines.push("Others can write to this file: check its rules before you apply it.".into());
            ("A draft that is not your own", "Stage it to look at its rules")
        };
        Some(Open::Ask { title: title.into(), lines, yes: yes.into(), then: Asked::Draft(draft) })
    }
}
