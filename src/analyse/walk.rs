//! The way of packets through the chains of one table, all of them at once: each rule splits the cells in hand
//! into those that it takes and those that go on; a rule that only may match lets them go both ways.
//!
//! Chains are walked with a stack of our own, so that deep nesting cannot end the program.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::cell::{Cell, join, split_all};
use super::lazy::Lazy;
use super::trace::{Step, StepResult, Verdict};
use super::world::World;
use crate::model::{Chain, Family, Policy, Proto, Source, Table, Target};

/// Which rule, or the policy of which chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleRef {
    /// Family.
    pub family: Family,
    /// Table.
    pub table: String,
    /// Chain.
    pub chain: String,
    /// Number in the chain from 1; `None` for its policy.
    pub rule: Option<usize>,
}

/// An end of some packets.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// The packets.
    pub(super) cell: Cell,
    /// What becomes of them.
    pub(super) verdict: Verdict,
    /// Why.
    pub(super) text: String,
    /// What decided.
    pub(super) rule: Option<RuleRef>,
}

/// A rule visited more often than this for one question is given up as *depends*.
const MAX_VISITS: usize = 3_000_000;
/// More cells than this in one chain are given up as *depends*.
const MAX_CELLS: usize = 4_000;
/// Steps of a path that are kept.
const MAX_PATH: usize = 100_000;

/// The rules of a chain, compiled when it is first reached.
type Cache = RefCell<HashMap<(usize, usize, Proto), Rc<Vec<Lazy>>>>;

/// Compiled chains, shared by all questions about one family.
#[derive(Default)]
pub(super) struct Compiled {
    chains: Cache,
}

/// One question on its way.
pub(super) struct Walk<'w, 'a> {
    pub(super) world: &'w World<'a>,
    compiled: &'w Compiled,
    proto: Proto,
    /// Ends so far.
    pub(super) ends: Vec<End>,
    /// Where the filter table let packets pass.
    pub(super) passes: Vec<End>,
    /// Reasons of doubt, by number.
    pub(super) reasons: Vec<String>,
    /// The rules on the way, when asked for.
    pub(super) path: Option<Vec<Step>>,
    visits: usize,
}

/// A chain being walked.
struct Frame<'a> {
    chain: &'a Chain,
    rules: Rc<Vec<Lazy>>,
    next: usize,
    cells: Vec<Cell>,
    /// Left by RETURN, or by the end of a chain that was gone to.
    returned: Vec<Cell>,
    /// Reached by goto: what comes back goes to where the caller goes back to.
    gone_to: bool,
}

impl<'w, 'a> Walk<'w, 'a> {
    pub(super) fn new(world: &'w World<'a>, compiled: &'w Compiled, proto: Proto, record: bool) -> Self {
        let path = record.then(Vec::new);
        Self { world, compiled, proto, ends: Vec::new(), passes: Vec::new(), reasons: Vec::new(), path, visits: 0 }
    }

    /// The number of a reason.
    pub(super) fn reason(&mut self, why: String) -> u32 {
        let at = self.reasons.iter().position(|r| *r == why).unwrap_or_else(|| {
            self.reasons.push(why);
            self.reasons.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// Ends packets.
    pub(super) fn end(&mut self, cells: Vec<Cell>, verdict: Verdict, text: &str, rule: Option<&RuleRef>) {
        for cell in cells {
            self.ends.push(End { cell, verdict, text: text.to_owned(), rule: rule.cloned() });
        }
    }

    /// Packets that may end here, for a reason, and may go on.
    pub(super) fn may_end(&mut self, cells: &[Cell], why: &str, rule: Option<&RuleRef>) {
        self.end(cells.to_vec(), Verdict::Depends, why, rule);
    }

    fn at(&self, table: &Table, chain: &Chain, rule: Option<usize>) -> RuleRef {
        RuleRef { family: self.world.family, table: table.name.clone(), chain: chain.name.clone(), rule }
    }

    fn ready(&self, table_at: usize, table: &Table, chain: &Chain) -> Rc<Vec<Lazy>> {
        let key = (table_at, table.chain_index(&chain.name).unwrap_or(usize::MAX), self.proto);
        if let Some(known) = self.compiled.chains.borrow().get(&key) {
            return Rc::clone(known);
        }
        let made = Rc::new(chain.rules.iter().map(|r| Lazy::new(r, self.world.family, self.proto)).collect());
        self.compiled.chains.borrow_mut().insert(key, Rc::clone(&made));
        made
    }

    /// Sends packets through a built-in chain; those that go on come back.
    pub(super) fn hook(&mut self, table_name: &str, chain_name: &str, cells: Vec<Cell>) -> Vec<Cell> {
        if cells.is_empty() {
            return cells;
        }
        let world = self.world;
        let Some(table_at) = world.rules.tables.iter().position(|t| t.name == table_name) else {
            // `iptables-save -t nat` shows one table; what shows several shows all that are loaded.
            let may_hide = world.view.source != Source::Live && world.rules.tables.len() == 1;
            if table_name == "filter" && may_hide {
                self.may_end(&cells, "the filter table is not in the text", None);
            }
            return cells;
        };
        let table = &world.rules.tables[table_at];
        if table.unreadable {
            self.may_end(&cells, &format!("table {table_name} cannot be read by iptables"), None);
            return cells;
        }
        let Some(chain) = table.chain(chain_name) else {
            if table.partial || table_name == "filter" {
                self.may_end(&cells, &format!("chain {chain_name} of table {table_name} is not shown"), None);
            }
            return cells;
        };
        let mut accepted = Vec::new();
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
                table: table.name.clone(), chain: chain.name.clone(), rule: None, text: format!("-P {} {policy}", chain.name), result: StepResult::Policy,
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
                self.end(cells, Verdict::Drop, &format!("{} policy DROP, no rule matched", chain.name), Some(&at));
                Vec::new()
            }
            Policy::Unknown => {
                self.may_end(&cells, &format!("the policy of {} is not in the text", chain.name), Some(&at));
                cells
            }
        }
    }

    /// Remembers which rule of the filter table let packets pass.
    fn pass(&mut self, cells: &[Cell], table: &Table, text: &str, at: &RuleRef) {
        if table.name != "filter" {
            return;
        }
        for cell in cells {
            match self.passes.last_mut() {
                Some(last) if last.rule.as_ref() == Some(at) => last.cell.src.add(&cell.src),
                _ => self.passes.push(End { cell: cell.clone(), verdict: Verdict::Accept, text: text.to_owned(), rule: Some(at.clone()) }),
            }
        }
    }

    /// Walks a chain and all that it jumps to; what falls off its end comes back.
    fn chains(&mut self, table_at: usize, table: &'a Table, first: &'a Chain, cells: Vec<Cell>, accepted: &mut Vec<Cell>) -> Vec<Cell> {
        let mut stack = vec![self.frame(table_at, table, first, cells, false)];
        loop {
            let Some(top) = stack.last_mut() else { return Vec::new() };
            if top.next >= top.rules.len() || top.cells.is_empty() {
                let Some(done) = stack.pop() else { return Vec::new() };
                let mut back = done.returned;
                for cell in done.cells {
                    join(&mut back, cell);
                }
                let Some(caller) = stack.last_mut() else { return back };
                let into = if done.gone_to { &mut caller.returned } else { &mut caller.cells };
                for cell in back {
                    join(into, cell);
                }
                if into.len() > MAX_CELLS {
                    let cells = std::mem::take(into);
                    self.may_end(&cells, "the rules split the packets into too many parts", None);
                }
                continue;
            }
            let at = top.next;
            top.next += 1;
            self.visits += 1;
            if self.visits > MAX_VISITS {
                let why = format!("chain {} is reached too often to follow every way", top.chain.name);
                let cells: Vec<Cell> = stack.drain(..).flat_map(|f| f.cells.into_iter().chain(f.returned)).collect();
                self.may_end(&cells, &why, None);
                return Vec::new();
            }
            if let Some(next) = self.rule(table_at, table, top, at, accepted) {
                let looped = stack.iter().any(|f| std::ptr::eq(f.chain, next.chain));
                if looped {
                    let why = format!("chain {} is called in a loop", next.chain.name);
                    self.may_end(&next.cells, &why, None);
                } else {
                    stack.push(next);
                }
            }
        }
    }

    fn frame(&mut self, table_at: usize, table: &Table, chain: &'a Chain, cells: Vec<Cell>, gone_to: bool) -> Frame<'a> {
        if chain.partial {
            let at = self.at(table, chain, None);
            self.may_end(&cells, &format!("the rules of chain {} are not all shown", chain.name), Some(&at));
        }
        Frame { chain, rules: self.ready(table_at, table, chain), next: 0, cells, returned: Vec::new(), gone_to }
    }

    /// One rule on the cells of a frame; the chain it leads to, if any.
    fn rule(&mut self, table_at: usize, table: &'a Table, top: &mut Frame<'a>, at: usize, accepted: &mut Vec<Cell>) -> Option<Frame<'a>> {
        let rules = Rc::clone(&top.rules);
        let lazy = &rules[at];
        if lazy.misses(&top.cells) {
            self.record(table, top.chain, at, StepResult::Passed);
            return None;
        }
        let ready = lazy.ready(self.world, &top.chain.rules[at], self.proto);
        let missed = top.cells.iter().all(|c| ready.tests.iter().any(|t| c.fails(t)));
        if missed {
            self.record(table, top.chain, at, StepResult::Passed);
            return None;
        }
        let split = split_all(std::mem::take(&mut top.cells), &ready.tests);
        let unsure = ready.maybe.as_deref().or(split.unsure);
        let result = match (split.hit.is_empty(), split.miss.is_empty() && unsure.is_none()) {
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
        if let Some(what) = unsure.filter(|_| !matters_not(&ready.target)) {
            let why = self.reason(format!("{} rule {}: {what}", top.chain.name, at + 1));
            for cell in &mut hit {
                cell.rest.doubt.get_or_insert(why);
                join(&mut top.cells, cell.clone());
            }
        }
        self.target(table_at, table, top, at, hit, &ready.target, accepted)
    }

    #[expect(clippy::too_many_arguments, reason = "one step of the walk, with all that it may touch")]
    fn target(
        &mut self, table_at: usize, table: &'a Table, top: &mut Frame<'a>, at: usize, hit: Vec<Cell>, target: &Target, accepted: &mut Vec<Cell>,
    ) -> Option<Frame<'a>> {
        let here = self.at(table, top.chain, Some(at + 1));
        let said = |what: &str| format!("{} rule {}: {what}", here.chain, at + 1);
        let mut go_on = |cells: Vec<Cell>| {
            for cell in cells {
                join(&mut top.cells, cell);
            }
        };
        match target {
            Target::None => go_on(hit),
            Target::Continue(words) => go_on(unknown_marks(hit, words)),
            Target::Mark(_) | Target::ConnMark(_) | Target::SaveMark(_) | Target::RestoreMark(_) | Target::NoTrack => {
                go_on(hit.into_iter().map(|c| super::rewrite::write(c, target)).collect());
            }
            Target::Dnat(Some(_)) | Target::Redirect(_) | Target::Netmap(_) => {
                for cell in super::rewrite::translate(self, hit, target) {
                    join(accepted, cell);
                }
            }
            Target::Dnat(None) => self.end(hit, Verdict::Depends, &said("where it sends packets is not judged"), Some(&here)),
            Target::Accept | Target::Snat => {
                self.pass(&hit, table, &said("ACCEPT"), &here);
                for cell in hit {
                    join(accepted, cell);
                }
            }
            Target::Drop => self.end(hit, Verdict::Drop, &said("DROP"), Some(&here)),
            Target::Reject => self.end(hit, Verdict::Reject, &said("REJECT"), Some(&here)),
            Target::Return => {
                for cell in hit {
                    join(&mut top.returned, cell);
                }
            }
            Target::Jump(name, words) => {
                if let Some(next) = table.chain(name) {
                    return Some(self.frame(table_at, table, next, hit, false));
                }
                self.may_end(&hit, &said(&format!("what {} does is not judged", format!("{name} {words}").trim_end())), Some(&here));
                go_on(hit);
            }
            Target::Goto(name) => match table.chain(name) {
                Some(next) => return Some(self.frame(table_at, table, next, hit, true)),
                None => self.end(hit, Verdict::Depends, &said(&format!("chain {name} is not shown")), Some(&here)),
            },
        }
        None
    }

    fn record(&mut self, table: &Table, chain: &Chain, at: usize, result: StepResult) {
        let Some(path) = self.path.as_mut().filter(|p| p.len() < MAX_PATH) else { return };
        path.push(Step {
            table: table.name.clone(), chain: chain.name.clone(), rule: Some(at + 1),
            text: chain.rules[at].line_in(&chain.name), result,
        });
    }
}

/// Whether a rule that may match changes nothing either way.
fn matters_not(target: &Target) -> bool {
    match target {
        Target::None => true,
        Target::Continue(words) => !changes_marks(words),
        _ => false,
    }
}

fn changes_marks(words: &str) -> bool {
    words.starts_with("MARK") || words.starts_with("CONNMARK")
}

/// A change of the mark that is not understood leaves it unknown.
fn unknown_marks(mut cells: Vec<Cell>, words: &str) -> Vec<Cell> {
    if changes_marks(words) {
        for c in &mut cells {
            c.rest.mark = None;
            c.rest.connmark = None;
        }
    }
    cells
}
