//! Turns `iptables -L` with any flags, of any version, into the rule texts of `iptables-save` (iptables/iptables.c
//! `print_rule`, iptables/nft-shared.c `print_details`, the `print` functions of extensions/).
//!
//! What the listing hides is marked: interfaces without `-v`, truncated lines, incomplete chains. What is
//! not understood stays in the rule as `-m unlisted --text "..."`, which iptables refuses and the walk
//! treats as undecidable.

mod headers;
mod matches;
mod modules;
mod row;
mod targets;
mod text;

use crate::model::{Chain, Diagnostic, Family, Policy, Ruleset};
use crate::syntax::frame;
use row::{Layout, Row};

/// The start of the diagnostic about hidden interfaces.
pub const NO_INTERFACES: &str = "the listing was made without -v: interfaces are hidden";

/// Reads the listing of one table; the text does not name it, so the table is called `filter`.
pub fn read(text: &str, family: Family) -> (Ruleset, Vec<Diagnostic>) {
    let mut set = Ruleset::new(family);
    let mut reader = Reader {
        family,
        set: &mut set,
        chain: None,
        layout: None,
        after_row: false,
        hidden: false,
        number: 0,
        padded: false,
        bare: false,
        diags: Vec::new(),
    };
    for (n, line) in text.lines().enumerate() {
        reader.line(line, n + 1);
    }
    reader.last_line(text);
    let (hidden, mut diags) = (reader.hidden, reader.diags);
    if hidden {
        diags.push(Diagnostic::whole(format!(
            "{NO_INTERFACES}, so a rule may hold for one interface only; list with `iptables -L -n -v`"
        )));
    }
    (set, diags)
}

struct Reader<'a> {
    family: Family,
    set: &'a mut Ruleset,
    /// Name of the chain to which rows belong now.
    chain: Option<String>,
    layout: Option<Layout>,
    /// The previous line was a rule: what follows without an empty line may continue it.
    after_row: bool,
    /// Whether a row was read from a layout without interfaces.
    hidden: bool,
    /// The last rule number (`--line-numbers`).
    number: usize,
    /// Whether rows without match text end in spaces, as iptables prints them.
    padded: bool,
    /// Whether the last row has no match text.
    bare: bool,
    diags: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn line(&mut self, raw: &str, n: usize) {
        let line = raw.trim().trim_start_matches("**").trim_end_matches("**").trim();
        if line.is_empty() {
            self.after_row = false;
            return;
        }
        if let Some(name) = frame::chain_name(line) {
            self.begin(name, line, n);
            return;
        }
        if frame::is_list_header(line) {
            self.layout = Some(Layout::of_header(line));
            self.after_row = false;
            return;
        }
        if line.starts_with("# Warning:") {
            self.diags
                .push(Diagnostic::at(n, format!("{}: the other variant's rules are not in this text", &line[2..])));
            return;
        }
        let layout = self.layout.or_else(|| Layout::guess(line));
        match layout.and_then(|l| Some((l, Row::read(line, l, self.family)?))) {
            Some((layout, row)) => {
                self.layout = Some(layout);
                self.padded |= raw.ends_with("  ");
                self.row(row, layout, n);
            }
            None => self.foreign(line, n),
        }
    }

    fn begin(&mut self, name: &str, line: &str, n: usize) {
        let mut chain = Chain::user(name);
        let inner = line.split_once('(').map_or("", |(_, r)| r.trim_end_matches(')'));
        if let Some(rest) = inner.strip_prefix("policy ") {
            let mut words = rest.split_whitespace();
            chain.policy = Some(match words.next() {
                Some(w) if w.starts_with("ACCEPT") => Policy::Accept,
                Some(w) if w.starts_with("DROP") => Policy::Drop,
                _ => Policy::Unknown,
            });
            let numbers: Vec<u64> = words.filter_map(row::counter).collect();
            if let [packets, bytes] = numbers[..] {
                chain.counters = (packets, bytes);
            }
        }
        if !line.contains(')') {
            chain.partial = true;
            self.diags.push(Diagnostic::at(n, "the chain's heading is truncated"));
        }
        self.table().add(chain);
        self.chain = Some(name.to_owned());
        self.number = 0;
        self.after_row = false;
    }

    fn table(&mut self) -> &mut crate::model::Table {
        if self.set.table("filter").is_none() {
            self.set.tables.push(crate::model::Table::new("filter"));
        }
        self.set.table_or_new("filter")
    }

    /// The current chain; rows before any heading are attributed to INPUT, but may belong to another chain.
    fn current(&mut self, n: usize) -> &mut Chain {
        let name = self.chain.get_or_insert_with(|| "INPUT".to_owned()).clone();
        if self.table().chain(&name).is_none() {
            self.diags.push(Diagnostic::at(
                n,
                "the heading of this chain is not in the text; taken as INPUT, which is incomplete",
            ));
            let mut chain = Chain::builtin(&name, Policy::Unknown);
            chain.partial = true;
            self.table().add(chain);
        }
        self.table().chain_or_new(&name)
    }

    fn row(&mut self, row: Row, layout: Layout, n: usize) {
        let mut rule = row.rule;
        rule.line = u32::try_from(n).unwrap_or(u32::MAX);
        rule.hidden.interfaces = !layout.interfaces;
        self.hidden |= !layout.interfaces;
        if let Some(unread) = row.unread {
            self.diags.push(Diagnostic::at(n, format!("kept as it is, its meaning is not known: {unread}")));
        }
        if let Some(number) = row.number {
            let expected = self.number + 1;
            if number > expected {
                let what = if number == expected + 1 {
                    format!("rule {expected} is")
                } else {
                    format!("rules {expected} to {} are", number - 1)
                };
                self.current(n).partial = true;
                self.diags.push(Diagnostic::at(n, format!("{what} not in the text; the chain is incomplete")));
            }
            self.number = number;
        }
        self.bare = row.bare;
        self.current(n).rules.push(rule);
        self.after_row = true;
    }

    /// A line that is not a row: a gap left by the author, a wrapped or truncated row, or somebody's remark.
    fn foreign(&mut self, line: &str, n: usize) {
        if is_gap(line) {
            self.diags.push(Diagnostic::at(n, "lines are missing here; the chain is incomplete"));
            self.mark_partial();
        } else if row::begins_like_a_row(line, self.layout) {
            self.diags.push(Diagnostic::at(n, format!("truncated rule, left out; the chain is incomplete: {line}")));
            self.current(n).partial = true;
        } else if self.after_row && !is_prompt(line) {
            self.diags.push(Diagnostic::at(n, format!("may belong to the rule before it: {line}")));
            if let Some(rule) = self.last_rule() {
                rule.hidden.cut = true;
            }
        } else {
            self.diags.push(Diagnostic::at(n, format!("not a line of iptables -L; left out: {line}")));
        }
    }

    fn last_chain(&mut self) -> Option<&mut Chain> {
        let name = self.chain.clone()?;
        self.set.table_mut("filter")?.chain_mut(&name)
    }

    fn last_rule(&mut self) -> Option<&mut crate::model::Rule> {
        self.last_chain()?.rules.last_mut()
    }

    fn mark_partial(&mut self) {
        if let Some(chain) = self.last_chain() {
            chain.partial = true;
        }
    }

    /// Handles a text that ends inside its last row: no newline, and less padding than the rows before.
    fn last_line(&mut self, text: &str) {
        let Some(last) = text.lines().next_back() else { return };
        let blank = last.ends_with([' ', '\t']);
        // `0.0.0.0` alone is a destination that no packet has: more likely the start of `0.0.0.0/0`.
        let zero = last.split_whitespace().next_back().is_some_and(|w| matches!(w, "0.0.0.0" | "::"));
        let short = if self.padded { !blank } else { blank };
        if self.after_row && self.bare && ((!text.ends_with('\n') && (zero || short)) || (short && blank)) {
            let n = text.lines().count();
            self.diags.push(Diagnostic::at(n, "the text seems to end inside this rule"));
            self.mark_partial();
            if let Some(rule) = self.last_rule() {
                rule.hidden.cut = true;
            }
        }
    }
}

/// `...`, `etc etc`, `--*snip*--`, `[ Dozens of lines cut for brevity ]`, and the same in other scripts.
pub(crate) fn is_gap(line: &str) -> bool {
    let dots = line.chars().filter(|c| matches!(c, '.' | '…' | '·')).count();
    let low = line.to_lowercase();
    dots >= 3 && (dots * 2 >= line.chars().count() || line.starts_with(['.', '…']))
        || ["snip", "etc etc", "omitted", "truncated", "cut for brevity", "省略", "중략", "skipped"]
            .iter()
            .any(|w| low.contains(w))
}

/// A prompt, a code fence or a tag after the listing.
fn is_prompt(line: &str) -> bool {
    line.ends_with(['$', '#', '%', '>', ':'])
        || line.starts_with(['$', '#', '[', '`', '<', '~'])
        || line.contains("$ ")
        || line.contains("# ")
        || line.contains('@')
}

#[cfg(test)]
mod tests;
