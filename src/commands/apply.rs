//! `portcullis apply PLAN` and `portcullis remove`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::say::show;
use super::{Failure, confirm, note, print, reason};
use crate::cli::TrialArgs;
use crate::host::Host;
use crate::host::live::Live;
use crate::model::Plan;
use crate::observe::live::observe;
use crate::plan;
use crate::syntax;
use crate::trial::{self, Options, Refusal};

/// Reads a plan file.
pub fn plan_of(file: &Path) -> Result<Plan, Failure> {
    let text = std::fs::read_to_string(file).map_err(|e| {
        Failure::failed(
            format!("cannot read the plan {}: {}", file.display(), reason(&e)),
            "name a TOML file; README shows one",
        )
    })?;
    syntax::plan::read(&text).map_err(|d| {
        Failure::failed(
            format!("{}: {}", file.display(), d.message),
            "a plan has version = 1 and [[rule]] with action, from and to",
        )
    })
}

/// Puts a plan on trial and returns when it runs.
pub fn run(file: &Path, args: &TrialArgs) -> Result<(), Failure> {
    let plan = plan_of(file)?;
    if plan.rules.is_empty() {
        return Err(Failure::failed(
            format!("{} holds no rules", file.display()),
            "`portcullis remove` takes everything of ours out",
        ));
    }
    start(plan, args)
}

/// Takes everything of ours out, as a trial.
pub fn remove(args: &TrialArgs) -> Result<(), Failure> {
    start(Plan::default(), &TrialArgs { replace: true, ..*args })
}

/// What a plan leaves undone, beside the answer.
pub fn warn(open: &[String]) {
    for text in open {
        note(format!("warning: {text}"));
    }
}

/// How long a trial lasts by the operator's settings; a file that says so is named.
fn usual_time() -> Duration {
    let config = super::config::config();
    if let Some(file) = &config.trial_from {
        note(format!("note: the trial lasts {} s, as {file} says", config.trial.as_secs()));
    }
    config.trial
}

fn start(mut plan: Plan, args: &TrialArgs) -> Result<(), Failure> {
    let host = Live::default();
    if !host.is_root() {
        return Err(Refusal::not_root(host.rights()).into());
    }
    let confirm_within = args.confirm_within.unwrap_or_else(usual_time);
    let mut options = Options {
        confirm_within,
        replace: args.replace,
        allow_lockout: args.allow_lockout,
        without_fuse: args.without_fuse,
        without_rehearsal: args.without_rehearsal,
        seen: None,
    };
    let mut warned = Vec::new();
    if !args.yes {
        trial::resolve(&host, &mut plan)?;
        let view = observe(&host);
        let change = plan::build(&view, &plan).map_err(|e| Failure::failed(e.what, e.hint))?;
        show(&plan::diff(&change));
        warned = plan::still_open(&change, &plan);
        warn(&warned);
        confirm(&format!("Apply this on trial for {} s?", confirm_within.as_secs()), "--yes")?;
        options.seen = Some(Arc::new(view));
    }
    let record = trial::apply(&host, &plan, &options, &mut |step| note(format!("{step} ...")))?;
    for r in record.remarks.iter().filter(|r| !warned.contains(r)) {
        note(format!("note: {r}"));
    }
    if !record.state.is_pending() {
        return print(&format!("{}\n", record.why.unwrap_or_default()));
    }
    print(&format!(
        "trial {} runs: the old rules come back in {} s\nopen a new SSH login to see that it works, then `portcullis \
            keep`; `portcullis revert` ends it now\n",
        record.id,
        record.left(host.now().boot),
    ))
}
