//! `portcullis load`: what boot runs.

use super::note;
use crate::host::live::Live;
use crate::trial::load::{load, published};

/// Loads what `save --ours` wrote. What was done is reported on standard error, for the journal.
pub fn run(wait_for_docker: bool) -> anyhow::Result<()> {
    let host = Live::default();
    let said = if wait_for_docker { published(&host) } else { load(&host) }?;
    for line in said {
        note(line);
    }
    Ok(())
}
