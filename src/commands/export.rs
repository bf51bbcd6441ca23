//! `portcullis export PLAN --to shell|restore`.

use std::path::Path;

use super::{Failure, print_exact};
use crate::cli::Script;
use crate::host::Host;
use crate::host::live::Live;
use crate::model::Family;
use crate::observe::live::observe;
use crate::plan;
use crate::trial;

/// Writes the change of a plan, for the rules that are loaded here, as a script.
pub fn run(file: &Path, to: Script) -> Result<(), Failure> {
    let host = Live::default();
    if !host.is_root() {
        return Err(trial::Refusal::not_root().into());
    }
    let mut wanted = super::apply::plan_of(file)?;
    trial::resolve(&host, &mut wanted)?;
    let view = observe(&host);
    let change = plan::build(&view, &wanted).map_err(|e| Failure::failed(e.what, e.hint))?;
    super::apply::warn(&plan::still_open(&change, &wanted));
    print_exact(&match to {
        Script::Shell => plan::shell_script(&change),
        Script::Restore => plan::restore_scripts(&change).iter()
            .map(|(family, script)| format!("# {}: {}-restore --noflush\n{script}", family.label(), match family { Family::V4 => "iptables", Family::V6 => "ip6tables" }))
            .collect::<Vec<_>>().concat(),
    })
}
