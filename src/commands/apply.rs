//! `portcullis apply PLAN` and `portcullis remove`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use anyhow::Context as _;

use super::say::show;
use super::{Failure, confirm, note, print};
use crate::cli::TrialArgs;
use crate::host::Host;
use crate::host::live::Live;
use crate::model::Plan;
use crate::model::trial::Allowed;
use crate::observe::live::observe;
use crate::plan::{self, Check, Grade};
use crate::syntax;
use crate::trial::{self, Options, Refusal};

/// The text of a plan file; `-` is standard input.
fn plan_text(file: &Path) -> io::Result<String> {
    if file == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) }
}

/// Reads a plan file.
pub fn plan_of(file: &Path) -> anyhow::Result<Plan> {
    let text = plan_text(file).with_context(|| {
        Failure::failed(
            format!("cannot read the plan {}", file.display()),
            "name a TOML file like the one in the README, or - for standard input",
        )
    })?;
    syntax::plan::read(&text).with_context(|| {
        Failure::failed(
            file.display().to_string(),
            "a plan has version = 1 and [[rule]] entries with action, from and to",
        )
    })
}

/// Applies a plan on trial; returns once the trial runs.
pub fn run(file: &Path, args: &TrialArgs) -> anyhow::Result<()> {
    let plan = plan_of(file)?;
    if plan.rules.is_empty() {
        return Err(Failure::failed(
            format!("the plan {} contains no rules", file.display()),
            "`portcullis remove` removes everything of portcullis from the firewall",
        )
        .into());
    }
    start(plan, args)
}

/// Removes everything of ours, as a trial.
pub fn remove(args: &TrialArgs) -> anyhow::Result<()> {
    start(Plan::default(), &TrialArgs { replace: true, ..*args })
}

/// Prints warnings on standard error, beside the answer.
pub fn warn(open: &[String]) {
    for text in open {
        note(format!("warning: {text}"));
    }
}

/// Prints the checks of a plan: warnings, notes, and one line for those that passed.
fn tell(checks: &[Check]) {
    let of = |grade| checks.iter().filter(move |c| c.grade == grade).map(|c| c.text.as_str());
    of(Grade::Bad).for_each(|text| note(format!("warning: {text}")));
    of(Grade::Note).for_each(|text| note(format!("note: {text}")));
    let good = of(Grade::Good).collect::<Vec<_>>().join("; ");
    if !good.is_empty() {
        note(format!("checked: {good}"));
    }
}

/// The duration of a trial in the operator's settings; if a file sets it, a note names that file.
fn usual_time() -> Duration {
    let config = super::config::config();
    if let Some(file) = &config.trial_from {
        note(format!("note: the trial lasts {} s, as {file} says", config.trial.as_secs()));
    }
    config.trial
}

fn start(mut plan: Plan, args: &TrialArgs) -> anyhow::Result<()> {
    let host = Live::default();
    if !host.is_root() {
        return Err(Refusal::not_root(host.rights()).into());
    }
    let confirm_within = args.confirm_within.unwrap_or_else(usual_time);
    let allowed = Allowed {
        replace: args.replace,
        lockout: args.allow_lockout,
        without_fuse: args.without_fuse,
        without_rehearsal: args.without_rehearsal,
    };
    let mut options = Options { confirm_within, allowed, seen: None };
    let mut told: Vec<String> = Vec::new();
    let mut hear = |checks: &[Check]| {
        tell(checks);
        told.extend(checks.iter().map(|c| c.text.clone()));
    };
    if !args.yes {
        trial::resolve(&host, &mut plan)?;
        let view = observe(&host);
        let change = plan::build(&view, &plan).map_err(|e| Failure::failed(e.what, e.hint))?;
        show(&plan::diff(&change));
        hear(&trial::all_checks(&host, &plan, &change));
        confirm(&format!("Apply this on trial for {} s?", confirm_within.as_secs()), "--yes")?;
        options.seen = Some(Arc::new(view));
    }
    let mut step = |step: &str| note(format!("{step} ..."));
    let record = if args.yes {
        trial::apply_telling(&host, &plan, &options, &mut step, &mut hear)?
    } else {
        trial::apply(&host, &plan, &options, &mut step)?
    };
    for r in record.remarks.iter().filter(|r| !told.contains(r)) {
        note(format!("note: {r}"));
    }
    if !record.state().is_pending() {
        return print(&format!("{}\n", record.why.unwrap_or_default()));
    }
    print(&format!(
        "trial {} runs: the old rules come back in {} s\nopen a new SSH login to see that it works, then `portcullis \
            keep`; `portcullis revert` ends it now\n",
        record.id,
        record.left(host.now().boot),
    ))
}
