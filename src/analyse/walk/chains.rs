//! The way of packets through the chains of one table, all of them at once: each rule splits the cells in hand
//! into those that it takes and those that go on; a rule that only may match lets them go both ways.
//!
//! Chains are walked with a stack of our own, so that deep nesting cannot end the program.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use super::rewrite;
use crate::analyse::packets::cell::{Cell, Doubt, join, split_all};
use crate::analyse::packets::prefilter::Prefiltered;
use crate::analyse::surroundings::Surroundings;
use crate::analyse::walk::outcomes::{Outcomes, Pass};
use crate::analyse::walk::verdict::{RuleRef, Step, StepResult, Verdict};
use crate::model::{Chain, Policy, Proto, Source, Table, Target};

/// More looks of a rule at a cell (or at a range of one) than this, and this times the number of rules, for one
/// question are given up as *depends*.
const MAX_VISITS: (usize, usize) = (3_000_000, 8);
/// Inputs of a chain that are remembered.
const MAX_REMEMBERED: usize = 4;
/// More cells than this in one chain are given up as *depends*.
const MAX_CELLS: usize = 4_000;
/// Steps of a path that are kept.
const MAX_PATH: usize = 100_000;

/// The rules of a chain, compiled when it is first reached.
type Cache = RefCell<HashMap<(usize, usize, Proto), Rc<Vec<Prefiltered>>>>;

/// Compiled chains, shared by all questions about one family.
#[derive(Default)]
pub struct Compiled {
    chains: Cache,
    /// Whether any rule asks for a mark; where none does, marks need not keep packets apart.
    marks: OnceCell<bool>,
    rules: OnceCell<usize>,
}

/// One question on its way.
pub struct Walk<'w, 'a> {
    pub world: &'w Surroundings<'a>,
    compiled: &'w Compiled,
    proto: Proto,
    /// What has become of packets so far.
    pub out: Outcomes<'w, 'a>,
    /// The rules on the way, when asked for.
    pub path: Option<Vec<Step>>,
    visits: usize,
    max_visits: usize,
    /// What came back from chains of this hook that were reached more than once, by what went in.
    came_back: HashMap<*const Chain, Vec<Remembered>>,
}

/// What went into a chain, and what came back.
type Remembered = (Vec<Cell>, Vec<Cell>);

/// A chain being walked.
struct Frame<'a> {
    chain: &'a Chain,
    rules: Rc<Vec<Prefiltered>>,
    next: usize,
    cells: Vec<Cell>,
    /// Left by RETURN, or by the end of a chain that was gone to.
    returned: Vec<Cell>,
    /// Reached by goto: what comes back goes to where the caller goes back to.
    gone_to: bool,
    /// What went in, when the chain was reached before.
    input: Option<Vec<Cell>>,
}

impl<'w, 'a> Walk<'w, 'a> {
    pub fn new(world: &'w Surroundings<'a>, compiled: &'w Compiled, proto: Proto, record: bool) -> Self {
        let path = record.then(Vec::new);
        let max_visits = MAX_VISITS.0 + MAX_VISITS.1 * compiled.rules.get_or_init(|| world.rules.rule_count());
        Self {
            world,
            compiled,
            proto,
            out: Outcomes::new(world),
            path,
            visits: 0,
            max_visits,
            came_back: HashMap::new(),
        }
    }

    fn at(&self, table: &Table, chain: &Chain, rule: Option<usize>) -> RuleRef {
        RuleRef { family: self.world.family, table: table.name.clone(), chain: chain.name.clone(), rule }
    }

    fn ready(&self, table_at: usize, table: &Table, chain: &Chain) -> Rc<Vec<Prefiltered>> {
        let key = (table_at, table.chain_index(&chain.name).unwrap_or(usize::MAX), self.proto);
        if let Some(known) = self.compiled.chains.borrow().get(&key) {
            return Rc::clone(known);
        }
        let made = Rc::new(chain.rules.iter().map(|r| Prefiltered::new(r, self.world.family, self.proto)).collect());
        self.compiled.chains.borrow_mut().insert(key, Rc::clone(&made));
        made
    }

    /// Sends packets through a built-in chain; those that go on come back.
    pub fn hook(&mut self, table_name: &str, chain_name: &str, cells: Vec<Cell>) -> Vec<Cell> {
        if cells.is_empty() {
            return cells;
        }
        let world = self.world;
        let Some(table_at) = world.rules.tables.iter().position(|t| t.name == table_name) else {
            // On a host a table that is not there is not loaded; a text may only not show it.
            if table_name == "filter" && world.view.source == Source::Capture {
                self.out.may_end(&cells, "the filter table is not in the text", None);
            }
            return cells;
        };
        let table = &world.rules.tables[table_at];
        if table.unreadable {
            self.out.may_end(&cells, &format!("table {table_name} cannot be read by iptables"), None);
            return cells;
        }
        let Some(chain) = table.chain(chain_name) else {
            if table.partial || table_name == "filter" {
                self.out.may_end(&cells, &format!("chain {chain_name} of table {table_name} is not shown"), None);
            }
            return cells;
        };
        let mut accepted = Vec::new();
        self.came_back.clear();
        let back = self.chains(table_at, table, chain, cells, &mut accepted);
        let on = self.policy(table, chain, back);
        for cell in on {
            join(&mut accepted, cell);
        }
        accepted
    }

    /// The policy for packets that no rule decided.
    fn policy(&mut self, table: &Table, chain: &Chain, cells: Vec<Cell>) -> Vec<Cell> {
        if cells.is_empty() {
            return cells;
        }
        let policy = chain.policy.unwrap_or(Policy::Unknown);
        if let Some(path) = &mut self.path {
            path.push(Step {
                table: table.name.clone(),
                chain: chain.name.clone(),
                rule: None,
                text: format!("-P {} {policy}", chain.name),
                result: StepResult::Policy,
            });
        }
        let at = self.at(table, chain, None);
        match policy {
            Policy::Accept => {
                let text = format!("{} policy ACCEPT, no rule matched", chain.name);
                self.pass(&cells, table, &text, &at);
                cells
            }
            Policy::Drop => {
                self.out.end(cells, Verdict::Drop, &format!("{} policy DROP, no rule matched", chain.name), Some(&at));
                Vec::new()
            }
            Policy::Unknown => {
                self.out.may_end(&cells, &format!("the policy of {} is not in the text", chain.name), Some(&at));
                cells
            }
        }
    }

    /// Remembers which rule of the filter table let packets pass.
    fn pass(&mut self, cells: &[Cell], table: &Table, text: &str, at: &RuleRef) {
        if table.name != "filter" {
            return;
        }
        for Cell { src, rest } in cells {
            let (nat, chance) = (rest.orig.is_some(), rest.doubt.chance);
            let alike = |p: &&mut Pass| p.nat == nat && p.chance == chance && p.iif == rest.iif && p.rule == *at;
            match self.out.passes.iter_mut().rev().take(16).find(alike) {
                Some(known) => known.src.add(src),
                None => self.out.passes.push(Pass {
                    src: src.clone(),
                    iif: rest.iif.clone(),
                    nat,
                    chance,
                    text: text.to_owned(),
                    rule: at.clone(),
                }),
            }
        }
    }

    /// Walks a chain and all that it jumps to; what falls off its end comes back.
    fn chains(
        &mut self,
        table_at: usize,
        table: &'a Table,
        first: &'a Chain,
        cells: Vec<Cell>,
        accepted: &mut Vec<Cell>,
    ) -> Vec<Cell> {
        let mut stack = vec![self.frame(table_at, table, first, cells, false)];
        loop {
            let Some(top) = stack.last_mut() else { return Vec::new() };
            if top.next >= top.rules.len() || top.cells.is_empty() {
                let Some(done) = stack.pop() else { return Vec::new() };
                let mut back = done.returned;
                for cell in done.cells {
                    join(&mut back, cell);
                }
                if let Some(input) = done.input {
                    self.remember(done.chain, input, &back);
                }
                let Some(caller) = stack.last_mut() else { return back };
                let into = if done.gone_to { &mut caller.returned } else { &mut caller.cells };
                for cell in back {
                    join(into, cell);
                }
                if into.len() > MAX_CELLS {
                    let cells = std::mem::take(into);
                    self.out.may_end(&cells, "the rules split the packets into too many parts", None);
                }
                continue;
            }
            let at = top.next;
            top.next += 1;
            self.visits += top.cells.len();
            if self.visits > self.max_visits {
                let why = format!("chain {} is reached too often to follow every way", top.chain.name);
                let cells: Vec<Cell> = stack.drain(..).flat_map(|f| f.cells.into_iter().chain(f.returned)).collect();
                self.out.may_end(&cells, &why, None);
                return Vec::new();
            }
            if let Some(next) = self.rule(table_at, table, top, at, accepted) {
                let looped = stack.iter().any(|f| std::ptr::eq(f.chain, next.chain));
                if looped {
                    let why = format!("chain {} is called in a loop", next.chain.name);
                    self.out.may_end(&next.cells, &why, None);
                } else {
                    stack.push(next);
                }
            }
        }
    }

    fn frame(
        &mut self,
        table_at: usize,
        table: &Table,
        chain: &'a Chain,
        cells: Vec<Cell>,
        gone_to: bool,
    ) -> Frame<'a> {
        if chain.partial {
            let at = self.at(table, chain, None);
            self.out.may_end(&cells, &format!("the rules of chain {} are not all shown", chain.name), Some(&at));
        }
        let mut frame = Frame {
            chain,
            rules: self.ready(table_at, table, chain),
            next: 0,
            cells,
            returned: Vec::new(),
            gone_to,
            input: None,
        };
        // Asked for every step, a chain is walked again as the kernel does.
        if self.path.as_ref().is_some_and(|p| p.len() < MAX_PATH) {
            return frame;
        }
        match self.came_back.entry(std::ptr::from_ref(chain)) {
            Entry::Vacant(first) => {
                first.insert(Vec::new());
            }
            Entry::Occupied(known) => match known.get().iter().find(|(input, _)| *input == frame.cells) {
                // Whatever ends in the chain has ended there before.
                Some((_, back)) => (frame.cells, frame.returned, frame.next) = (Vec::new(), back.clone(), usize::MAX),
                None => frame.input = Some(frame.cells.clone()),
            },
        }
        frame
    }

    /// The same packets that come to a chain again fare as the first time: without this, chains that branch at each
    /// level would be walked once for every way.
    fn remember(&mut self, chain: &Chain, input: Vec<Cell>, back: &[Cell]) {
        let known = self.came_back.entry(std::ptr::from_ref(chain)).or_default();
        known.truncate(MAX_REMEMBERED - 1);
        known.insert(0, (input, back.to_vec()));
    }

    /// One rule on the cells of a frame; the chain it leads to, if any.
    fn rule(
        &mut self,
        table_at: usize,
        table: &'a Table,
        top: &mut Frame<'a>,
        at: usize,
        accepted: &mut Vec<Cell>,
    ) -> Option<Frame<'a>> {
        let rules = Rc::clone(&top.rules);
        let lazy = &rules[at];
        if lazy.misses(&top.cells) {
            self.record(table, top.chain, at, StepResult::Passed);
            return None;
        }
        let ready = lazy.ready(self.world, &top.chain.rules[at], self.proto);
        // Cells that it does not concern stay where they are.
        let concerned: Vec<Cell> = top.cells.extract_if(.., |c| !ready.tests.iter().any(|t| c.fails(t))).collect();
        if concerned.is_empty() {
            self.record(table, top.chain, at, StepResult::Passed);
            return None;
        }
        self.visits += ready.weight * concerned.iter().filter(|c| c.src.only().is_none()).count();
        let others = !top.cells.is_empty();
        let split = split_all(concerned, &ready.tests);
        let unsure = ready.maybe.as_deref().or(split.unsure);
        let result = match (split.hit.is_empty(), split.miss.is_empty() && !others && unsure.is_none()) {
            (true, _) => StepResult::Passed,
            (false, true) => StepResult::Matched,
            (false, false) => StepResult::MayMatch,
        };
        self.record(table, top.chain, at, result);
        for cell in split.miss {
            join(&mut top.cells, cell);
        }
        if split.hit.is_empty() {
            return None;
        }
        let mut hit = split.hit;
        if let Some(what) = unsure.filter(|_| !self.matters_not(&ready.target)) {
            let here = self.at(table, top.chain, Some(at + 1));
            let why = self.out.reason(format!("{} rule {}: {what}", top.chain.name, at + 1), Some(here));
            for cell in &mut hit {
                let before = cell.rest.doubt;
                let chance =
                    |unusual: bool, held| Doubt { chance: before.chance || unusual, ..before.behind(why, held) };
                cell.rest.doubt = chance(ready.likely, false);
                join(&mut top.cells, cell.clone());
                cell.rest.doubt = chance(!ready.likely, true);
            }
        }
        self.target(table_at, table, top, at, hit, &ready.target, accepted)
    }

    #[expect(clippy::too_many_arguments, reason = "one step of the walk, with all that it may touch")]
    fn target(
        &mut self,
        table_at: usize,
        table: &'a Table,
        top: &mut Frame<'a>,
        at: usize,
        hit: Vec<Cell>,
        target: &Target,
        accepted: &mut Vec<Cell>,
    ) -> Option<Frame<'a>> {
        let here = self.at(table, top.chain, Some(at + 1));
        let said = |what: &str| format!("{} rule {}: {what}", here.chain, at + 1);
        let mut go_on = |cells: Vec<Cell>| {
            for cell in cells {
                join(&mut top.cells, cell);
            }
        };
        match target {
            Target::Continue(words) if changes_marks(words) => go_on(unknown_marks(hit)),
            Target::Continue(words) if is_ct(words) => {
                go_on(hit.into_iter().map(|c| rewrite::write(c, target)).collect());
            }
            Target::None | Target::Continue(_) => go_on(hit),
            Target::Mark(_) | Target::ConnMark(_) | Target::SaveMark(_) | Target::RestoreMark(_)
                if !self.marks_matter() =>
            {
                go_on(hit);
            }
            Target::Mark(_) | Target::ConnMark(_) | Target::SaveMark(_) | Target::RestoreMark(_) | Target::NoTrack => {
                go_on(hit.into_iter().map(|c| rewrite::write(c, target)).collect());
            }
            Target::Dnat(Some(_)) | Target::Redirect(_) | Target::Netmap(_) => {
                for cell in rewrite::translate(&mut self.out, hit, target) {
                    join(accepted, cell);
                }
            }
            Target::Dnat(None) => {
                self.out.end(hit, Verdict::Depends, &said("where it sends packets is not judged"), Some(&here));
            }
            Target::Accept | Target::Snat => {
                self.pass(&hit, table, &said("ACCEPT"), &here);
                for cell in hit {
                    join(accepted, cell);
                }
            }
            Target::Drop => self.out.end(hit, Verdict::Drop, &said("DROP"), Some(&here)),
            Target::Reject => self.out.end(hit, Verdict::Reject, &said("REJECT"), Some(&here)),
            Target::Return => {
                for cell in hit {
                    join(&mut top.returned, cell);
                }
            }
            Target::Jump(name, words) => {
                if let Some(next) = table.chain(name) {
                    return Some(self.frame(table_at, table, next, hit, false));
                }
                self.out.may_end(
                    &hit,
                    &said(&format!("what {} does is not judged", format!("{name} {words}").trim_end())),
                    Some(&here),
                );
                go_on(unknown_marks(hit));
            }
            Target::Goto(name) => match table.chain(name) {
                Some(next) => return Some(self.frame(table_at, table, next, hit, true)),
                None => self.out.end(hit, Verdict::Depends, &said(&format!("chain {name} is not shown")), Some(&here)),
            },
        }
        None
    }

    /// Whether a rule that may match changes nothing either way.
    fn matters_not(&self, target: &Target) -> bool {
        match target {
            Target::None => true,
            Target::Mark(_) | Target::ConnMark(_) | Target::SaveMark(_) | Target::RestoreMark(_) => {
                !self.marks_matter()
            }
            Target::Continue(words) => !is_ct(words) && (!changes_marks(words) || !self.marks_matter()),
            _ => false,
        }
    }

    fn marks_matter(&self) -> bool {
        *self.compiled.marks.get_or_init(|| {
            self.world.rules.tables.iter().flat_map(|t| &t.chains).flat_map(|c| &c.rules).any(|r| r.has("--mark"))
        })
    }

    fn record(&mut self, table: &Table, chain: &Chain, at: usize, result: StepResult) {
        let Some(path) = self.path.as_mut().filter(|p| p.len() < MAX_PATH) else { return };
        path.push(Step {
            table: table.name.clone(),
            chain: chain.name.clone(),
            rule: Some(at + 1),
            text: chain.rules[at].line_in(&chain.name),
            result,
        });
    }
}

/// `CT` without `--notrack`.
fn is_ct(words: &str) -> bool {
    words.split(' ').next() == Some("CT")
}

/// What writes a mark whose value is not worked out.
fn changes_marks(words: &str) -> bool {
    words.starts_with("MARK") || words.starts_with("CONNMARK") || words.contains("--map-mark")
}

fn unknown_marks(mut cells: Vec<Cell>) -> Vec<Cell> {
    for c in &mut cells {
        c.rest.mark = None;
        c.rest.connmark = None;
    }
    cells
}
