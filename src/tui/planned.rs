//! Works out a staged plan for the host as it was seen: the change, exposure after it, checks. Pure.

use std::sync::Arc;

use super::facts::{ChainRow, Planned, Seen};
use crate::analyse::{self, Access, Analysis, Report, WayIn, owner, ways_in};
use crate::model::{Family, Plan, Source, View};
use crate::plan::{self, Change, Check};

/// A view with everything derived from it, for the screens.
pub fn seen(view: Arc<View>, kept: Plan) -> Seen {
    let report = Arc::new(Analysis::new(&view).report());
    shown(view, kept, report, false)
}

/// The same before anything is judged: shown first for a large host.
pub fn outlined(view: Arc<View>, kept: Plan) -> Seen {
    let report = Arc::new(Analysis::new(&view).outline());
    shown(view, kept, report, true)
}

fn shown(view: Arc<View>, kept: Plan, report: Arc<Report>, judging: bool) -> Seen {
    let chains = Family::BOTH.map(|f| {
        view.rules(f)
            .map(|set| {
                let mut rows: Vec<ChainRow> = set
                    .tables
                    .iter()
                    .flat_map(|t| {
                        t.chains.iter().map(move |c| ChainRow {
                            table: t.name.clone(),
                            chain: c.name.clone(),
                            owner: owner(&c.name),
                            rules: c.rules.len(),
                        })
                    })
                    .collect();
                // filter comes first, because people look there first; then built-in chains, then by owner, each in the
                // order of the source.
                let order =
                    |t: &str| ["filter", "nat", "mangle", "raw", "security"].iter().position(|n| *n == t).unwrap_or(9);
                let built_in = |r: &ChainRow| crate::model::Table::builtin_chains(&r.table).contains(&r.chain.as_str());
                rows.sort_by_key(|r| (order(&r.table), !built_in(r), r.owner.map_or("", analyse::Manager::label)));
                rows
            })
            .unwrap_or_default()
    });
    let shadowed = report
        .shadowed
        .iter()
        .filter_map(|s| Some(((s.at.family, s.at.table.clone(), s.at.chain.clone(), s.at.rule?), s.by.first()?.rule?)))
        .collect();
    // A live host is read with counters. Captured text always shows them for policies, but for rules only if taken with
    // -c.
    let counted = Family::BOTH.map(|f| {
        view.rules(f).is_some_and(|set| {
            view.source != Source::Capture
                || set.tables.iter().flat_map(|t| &t.chains).any(|c| c.rules.iter().any(|r| r.packets > 0))
        })
    });
    Seen { view, report, judging, chains, shadowed, kept, kept_by: None, counted }
}

/// Works out a plan; `checks` supplies the checks. A plan that changes nothing is not judged again.
pub fn work(seen: &Seen, plan: &Plan, checks: impl FnOnce(&Change, &[WayIn]) -> Vec<Check>) -> Planned {
    let view: &View = &seen.view;
    let empty = Planned {
        plan: plan.clone(),
        view: seen.view.clone(),
        error: None,
        after: None,
        checks: Vec::new(),
        commands: Vec::new(),
        scripts: String::new(),
        diff: String::new(),
        shell: String::new(),
        takes_away: false,
        nothing: false,
        lockout: false,
        families: Vec::new(),
    };
    match plan::build(view, plan) {
        Err(e) => Planned { error: Some((e.what, e.hint)), ..empty },
        Ok(change) => {
            let nothing = change.is_nothing();
            let after = if nothing { seen.report.clone() } else { Arc::new(Analysis::new(&change.after).report()) };
            let scripts = plan::restore_texts(&change).into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n");
            let ways = ways_in(&change.before, &change.after);
            Planned {
                checks: checks(&change, &ways),
                commands: plan::commands(&change),
                scripts,
                diff: plan::diff(&change),
                shell: plan::shell_script(&change),
                takes_away: !change.taken_away.is_empty(),
                nothing,
                lockout: matches!(ways.first(), Some(WayIn { access: Access::Worse { .. }, .. })),
                after: Some(after),
                families: change.families,
                ..empty
            }
        }
    }
}
