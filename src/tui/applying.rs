//! Whether the staged plan can be applied and a kept one saved, and the questions before that.

use std::sync::Arc;

use super::facts::{Planned, TrialSeen};
use super::keymap::{Action, Place};
use super::protocol::Proposal;
use super::shared::Shared;
use super::theme::Glyph;
use super::wishes::{Asked, Open, Wish};
use crate::model::trial::Allowed;
use crate::model::{Source, clock};
use crate::plan::{Check, CheckKind, Grade, in_force_checks, shuts_out};

/// The result for the plan staged now on the host as it was seen last, if it is ready.
pub fn current(sh: &Shared) -> Option<&Planned> {
    sh.facts
        .planned
        .as_deref()
        .filter(|p| p.plan == sh.staged.plan && sh.facts.seen.as_ref().is_some_and(|s| Arc::ptr_eq(&s.view, &p.view)))
}

/// Why the plan cannot be applied now.
pub fn can_apply(sh: &Shared) -> Result<(), String> {
    if sh.facts.source() == Some(Source::Capture) {
        let (v, e) = (sh.key(Place::Plan, Action::Preview), sh.key(Place::Preview, Action::Export));
        return Err(format!(
            "this is captured text, not a host: look at the preview ({v}) and export the script with {e}"
        ));
    }
    if sh.facts.trial_runs() {
        return Err(format!("a trial is pending: {} shows it and what ends it", sh.key(Place::Plan, Action::Trial)));
    }
    let Some(p) = current(sh) else { return Err("the plan is still being worked out".into()) };
    if let Some((what, hint)) = &p.error {
        return Err(format!("{what}; {hint}"));
    }
    if p.nothing {
        return Err("this plan is already kept: nothing would change".into());
    }
    Ok(())
}

/// Why nothing can be saved now.
pub fn can_save(sh: &Shared) -> Result<(), String> {
    match sh.facts.source() {
        Some(Source::Capture) => Err("this is captured text, not a host: there is nothing to save".into()),
        _ if sh.facts.trial_runs() => Err("a trial is pending: only what is kept is saved".into()),
        None => Err("the host is still being looked at".into()),
        // If somebody saved rules of a trial, the files have to be written again.
        _ if sh.facts.boot_holds_a_trial() => Ok(()),
        _ if sh.facts.seen.as_ref().is_some_and(|s| s.kept.rules.is_empty())
            && !sh.facts.past.iter().chain(&sh.facts.trial).any(TrialSeen::is_kept) =>
        {
            Err("nothing was kept here: there is nothing to save".into())
        }
        _ => Ok(()),
    }
}

/// The checks of a plan, preceded by the reasons why the plan kept or on trial is not in force.
pub fn all_checks(sh: &Shared, p: &Planned) -> Vec<Check> {
    let kept = sh.facts.seen.as_ref().map(|s| &s.kept);
    let in_force = kept.map(|kept| in_force_checks(&sh.facts.enforced, &sh.staged.plan, kept, sh.facts.trial_runs()));
    in_force.into_iter().flatten().chain(p.checks.iter().cloned()).collect()
}

/// Advice when a plan locks its operator out; the Plan screen then selects the rule that does.
pub fn allow_first(sh: &mut Shared) -> String {
    let rule = sh.facts.seen.as_ref().and_then(|s| shuts_out(&s.view, &sh.staged.plan));
    if let Some(at) = rule {
        sh.wishes.push(Wish::PlanRule(at));
    }
    let key = sh.key(Place::Plan, Action::AllowNode);
    let view = sh.facts.seen.as_ref().map(|s| &s.view);
    let own = view.and_then(|v| v.ssh_peer).map(|(a, _)| format!("your own address {a}"));
    let maybe = || Some(format!("{}, which may be your own address,", view?.logins.as_ref()?.found.first()?.peer));
    let peer = own.or_else(maybe).unwrap_or_else(|| "your own address".to_owned());
    format!("Better: esc goes back; {key} on the Plan screen allows {peer} first.")
}

/// Asks what must be asked, then applies.
pub fn apply(sh: &mut Shared) {
    let Some(p) = current(sh) else { return };
    let (lockout, takes_away) = (p.lockout, p.takes_away);
    let cut = p.checks.iter().find(|k| (k.kind, k.grade) == (CheckKind::Clients, Grade::Bad)).map(|k| k.text.clone());
    let allowed = Allowed { replace: takes_away, lockout, ..Allowed::default() };
    let then = Asked::Apply(Proposal { plan: p.plan.clone(), seen: p.view.clone(), allowed, said: Allowed::default() });
    let time = clock(sh.trial_time.as_secs());
    let mut lines = vec![format!(
        "The new rules become live at once, in IPv4 and IPv6. After {time} the old rules come back by themselves, \
        whatever happens to this session, unless you keep the trial."
    )];
    if lockout {
        lines.push(
            "This would cut you off: this session freezes and no new SSH login from where you are gets in until the \
            trial ends."
                .into(),
        );
        lines.push(allow_first(sh));
    }
    lines.extend(cut.map(|k| format!("{} {k}", sh.theme.glyph(Glyph::No))));
    if takes_away {
        lines.push("Rules of the plan loaded now will be removed.".into());
    }
    if sh.facts.source() == Some(Source::Demo) {
        lines.push("This is the demo: nothing real is touched.".into());
    }
    let yes =
        if lockout { "To apply even though it locks you out".to_owned() } else { format!("Apply on trial for {time}") };
    sh.open(Open::Ask { title: "Apply on trial".into(), lines, yes, then });
}
