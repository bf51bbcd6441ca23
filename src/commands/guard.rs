//! `portcullis guard ID`: the guard process, detached from everything that may die.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM};

use anyhow::Context as _;

use super::Failure;
use crate::host::home::detach;
use crate::host::live::Live;
use crate::model::Code;
use crate::trial::guard::watch;

/// Guards a trial until it ends.
pub fn run(id: &str) -> anyhow::Result<()> {
    detach();
    let stop = Arc::new(AtomicBool::new(false));
    let unheard = Arc::new(AtomicBool::new(false));
    let listen = |signal, flag: &Arc<AtomicBool>| signal_hook::flag::register(signal, Arc::clone(flag)).map(|_| ());
    [SIGHUP, SIGINT, SIGQUIT, SIGPIPE]
        .into_iter()
        .try_for_each(|s| listen(s, &unheard))
        .and_then(|()| listen(SIGTERM, &stop))
        .context(Failure::failed("the guard cannot handle signals", "nothing is applied without a guard"))?;
    // Exit status 3 tells systemd not to restart the guard: there is nothing to guard.
    watch(&Live::default(), id, &stop).map_err(|e| {
        Failure::new(Code::NotGuarding, e.to_string(), "the guard is started by `portcullis apply`").into()
    })
}
