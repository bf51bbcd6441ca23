//! The loaded rules of both families for one question about a trial: first our own chains, which are cheap to read
//! however many rules others have, and everything only if those do not settle it. Each is read at most once.

use std::cell::OnceCell;

use crate::host::Host;
use crate::model::{Family, Ruleset, View};
use crate::observe::{firewall, live, ours};

type Both = [Option<Ruleset>; 2];

/// The rules, read when they are first needed, or by an earlier look.
pub(super) enum Loaded<'a> {
    Fresh(Fresh<'a>),
    Seen(&'a View),
}

pub(super) struct Fresh<'a> {
    host: &'a dyn Host,
    ours: OnceCell<Both>,
    all: OnceCell<Both>,
}

impl<'a> Loaded<'a> {
    pub(super) fn fresh(host: &'a dyn Host) -> Self {
        Self::Fresh(Fresh { host, ours: OnceCell::new(), all: OnceCell::new() })
    }

    /// The same if our own chains cannot answer: one of them may have another name, with no jump to it.
    pub(super) fn whole(host: &'a dyn Host) -> Self {
        Self::Fresh(Fresh { host, ours: OnceCell::from([None, None]), all: OnceCell::new() })
    }

    /// Everything that is loaded.
    pub(super) fn all(&self) -> [Option<&Ruleset>; 2] {
        match self {
            Self::Fresh(fresh) => fresh.all().each_ref().map(Option::as_ref),
            Self::Seen(view) => Family::BOTH.map(|f| view.rules(f)),
        }
    }

    /// Our own chains and the jumps to them; for a family in which these could not be read separately, everything.
    pub(super) fn ours(&self) -> [Option<&Ruleset>; 2] {
        let Self::Fresh(fresh) = self else { return self.all() };
        let ours = fresh.ours();
        Family::BOTH.map(|f| {
            let of = f.index();
            ours[of].as_ref().or_else(|| fresh.is_there(f).then(|| self.all()[of]).flatten())
        })
    }
}

impl<'a> Fresh<'a> {
    pub(super) fn host(&self) -> &'a dyn Host {
        self.host
    }

    fn is_there(&self, family: Family) -> bool {
        family == Family::V4 || live::has_ipv6(self.host)
    }

    /// Our own chains, for each family in which they could be read separately.
    pub(super) fn ours(&self) -> &Both {
        let read = |f| self.is_there(f).then(|| ours::read(self.host, f, firewall::READING)).flatten();
        self.ours.get_or_init(|| Family::BOTH.map(read))
    }

    fn all(&self) -> &Both {
        // Not by name: where our chains are, the table is loaded, and with legacy, naming a table would load it.
        let read = |f| firewall::rules(self.host, f, None, false).ok().map(|r| r.1);
        self.all.get_or_init(|| Family::BOTH.map(read))
    }

    pub(super) fn into_all(self) -> Both {
        self.all();
        self.all.into_inner().unwrap_or_default()
    }
}
