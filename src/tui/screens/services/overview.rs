//! Above the list of services: the whole host in one line, and what makes the list incomplete.

use crate::analyse::{EndpointKind, Exposure, Judged};
use crate::model::Source;
use crate::tui::facts::Seen;
use crate::tui::keymap::{Action, Place};
use crate::tui::notes;
use crate::tui::shared::Shared;
use crate::tui::theme::{Glyph, Role};
use crate::tui::widgets::{Canvas, wrap};

/// How many endpoints of a kind are open, and to whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    name: &'static str,
    brief: &'static str,
    all: usize,
    anyone: usize,
    unsure: usize,
    unknown: usize,
}

/// Counts a host once; a large one has many thousand endpoints.
pub(super) fn tallies(seen: &Seen) -> Vec<Tally> {
    let kinds = [
        (EndpointKind::Rpc, "RPC services", "RPC"),
        (EndpointKind::Published, "published", "published"),
        (EndpointKind::Socket, "sockets", "sockets"),
        (EndpointKind::Rule, "named ports", "ports"),
    ];
    let count = |(kind, name, brief)| {
        let of_kind = || seen.report.endpoints.iter().filter(move |j| j.endpoint.kind == kind && j.endpoint.listening);
        let open = |j: &&Judged| j.exposure.iter().flatten().any(Exposure::lets_all_in);
        // Named ports that are too many to judge are there all the same.
        let left_out = if kind == EndpointKind::Rule { seen.report.left_out } else { 0 };
        Tally {
            name,
            brief,
            all: of_kind().count() + left_out,
            anyone: of_kind().filter(open).count(),
            unsure: of_kind()
                .filter(|j| !open(j) && j.exposure.iter().flatten().any(|e| !e.widest().depends.is_empty()))
                .count(),
            unknown: of_kind().filter(|j| j.exposure.iter().all(Option::is_none)).count() + left_out,
        }
    };
    kinds.into_iter().map(count).filter(|t| t.all > 0).collect()
}

/// Draws how many endpoints of each kind are open to anyone.
pub(super) fn overview(c: &mut Canvas, tallies: &[Tally]) {
    let dot = format!(" {} ", c.theme.glyph(Glyph::Dot));
    let mut x = c.put(1, 0, Role::Title, "Open to anyone:") + 1;
    if tallies.is_empty() {
        c.put(x, 0, Role::Dim, "nothing listens");
    }
    for (i, t) in tallies.iter().enumerate() {
        if i > 0 {
            x = c.put(x, 0, Role::Dim, &dot);
        }
        let text = if c.w() < 76 {
            format!("{}/{} {}", t.anyone, t.all, t.brief)
        } else {
            format!("{} of {} {}", t.anyone, t.all, t.name)
        };
        x = c.put(
            x,
            0,
            if t.anyone > 0 {
                Role::Open
            } else if t.unsure + t.unknown == 0 {
                Role::Closed
            } else {
                Role::Text
            },
            &text,
        );
        if t.unsure > 0 {
            x = c.put(
                x + 1,
                0,
                Role::Partial,
                &format!("({} depend{})", t.unsure, if t.unsure == 1 { "s" } else { "" }),
            );
        }
        // Unknown is not closed.
        if t.unknown > 0 {
            x = c.put(x + 1, 0, Role::Partial, &format!("({} not known)", t.unknown));
        }
    }
}

/// Draws what must be known before the list can be trusted; returns the number of lines used.
pub(super) fn alert(c: &mut Canvas, sh: &Shared, seen: &Seen) -> u16 {
    let gaps = notes::gaps(seen);
    let Some(first) = gaps.first() else { return 0 };
    let more = if gaps.len() > 1 {
        format!(" ({} more: {})", gaps.len() - 1, sh.key(Place::Services, Action::Notes))
    } else {
        String::new()
    };
    let lines = wrap(&format!("{first}{more}"), usize::from(c.w().saturating_sub(5)));
    c.put(1, 0, Role::Partial, "!");
    for (y, l) in (0..2).zip(&lines) {
        let cut = y == 1 && lines.len() > 2;
        let line = if cut {
            format!("{l} {} {}", c.theme.glyph(Glyph::Cut), sh.key(Place::Services, Action::Notes))
        } else {
            l.clone()
        };
        c.put(3, y, Role::Text, &line);
    }
    lines.len().min(2) as u16
}

/// Draws what an empty list means, and where to go from there.
pub(super) fn empty(c: &mut Canvas, sh: &Shared, seen: &Seen) {
    c.put(2, 1, Role::Title, "No service is known here.");
    let mut lines: Vec<(Role, String)> =
        seen.view.diagnostics.iter().map(|d| (Role::Text, d.message.clone())).collect();
    if seen.view.source == Source::Capture {
        lines.push((
            Role::Text,
            "The rules name no port of this host, and no list of what listens came with them: that \
            nothing is shown does not mean that nothing gets in."
                .into(),
        ));
        lines.push((
            Role::Text,
            "Name a capture of `ss -tulpn`, `rpcinfo -p` or `docker ps` on the command line beside the rules.".into(),
        ));
    } else if seen.view.sockets.is_none() || seen.view.v4.is_none() && seen.view.v6.is_none() {
        lines.push((
            Role::Text,
            "What listens here, or who gets in, could not be read: that nothing is shown does not mean \
            that nothing is open."
                .into(),
        ));
    } else {
        lines.push((Role::Text, "Nothing listens, and no container port is published.".into()));
    }
    let key = |a| sh.key(Place::Services, a);
    lines.push((
        Role::Dim,
        format!("{} shows the chains; {} asks what happens to any packet.", key(Action::ToChains), key(Action::Trace)),
    ));
    let mut y = 3;
    for (role, text) in lines {
        for line in wrap(&text, usize::from(c.w().saturating_sub(4))) {
            c.put(2, y, role, &line);
            y += 1;
        }
        y += 1;
    }
}
