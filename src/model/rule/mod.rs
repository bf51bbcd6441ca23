//! One rule: its arguments word for word, its counters, and what the source did not show.

mod words;

use std::borrow::Cow;

use super::{Family, Spec};

use words::may_hold;
pub use words::{Options, RuleOption, Words, canonical, options, quote, takes_any_text, words};

/// What the source of a rule may have hidden; the walk answers *depends* for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hidden {
    /// `iptables -L` without `-v`: the rule may name interfaces.
    pub interfaces: bool,
    /// The line is truncated or damaged: the rule may have more matches than it shows.
    pub cut: bool,
}

/// A rule **is** its argument text, as `iptables-save` prints it after `-A CHAIN`. Its meaning is read on demand,
/// so that nothing is lost and a million rules stay small. [`Rule::spec`] gives the whole meaning; [`Rule::option`]
/// and its siblings only look at the words, for questions asked of every rule of a large ruleset. Nothing else
/// reads the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Arguments after `-A CHAIN `, e.g. `-p tcp -m tcp --dport 22 -j ACCEPT`.
    pub text: Box<str>,
    /// Packets counted, if the source shows counters.
    pub packets: u64,
    /// Bytes counted.
    pub bytes: u64,
    /// Line in the source, counted from 1; 0 for rules that we made.
    pub line: u32,
    /// What the source may have hidden.
    pub hidden: Hidden,
}

impl Rule {
    /// A rule from its argument text.
    pub fn new(text: &str) -> Self {
        Self { text: text.trim().into(), packets: 0, bytes: 0, line: 0, hidden: Hidden::default() }
    }

    /// What the rule means.
    pub fn spec(&self, family: Family) -> Spec {
        Spec::parse(&self.text, family)
    }

    /// The whole line as `iptables-save` prints it, without counters.
    pub fn line_in(&self, chain: &str) -> String {
        if self.text.is_empty() { format!("-A {chain}") } else { format!("-A {chain} {}", self.text) }
    }

    /// The options of the rule, in order, by their canonical names (`-s`, not `--source`).
    pub fn options(&self) -> Options<'_> {
        options(&self.text)
    }

    /// The first option with this canonical name (`-s`, `--dport`, `-j`).
    pub fn option(&self, name: &str) -> Option<RuleOption<'_>> {
        may_hold(&self.text, name).then(|| self.options().find(|o| o.name == name))?
    }

    /// All options with these canonical names, in order.
    pub fn all<'r>(&'r self, names: &'r [&str]) -> impl Iterator<Item = RuleOption<'r>> {
        let some = names.iter().any(|n| may_hold(&self.text, n));
        some.then(|| self.options().filter(|o| names.contains(&&*o.name))).into_iter().flatten()
    }

    /// Whether the rule has an option.
    pub fn has(&self, name: &str) -> bool {
        self.option(name).is_some()
    }

    /// The first value of an option, negated or not.
    pub fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        self.option(name)?.value
    }

    /// The chain or target after `-j` or `-g`.
    pub fn jumps_to(&self) -> Option<Cow<'_, str>> {
        self.options().find(|o| matches!(&*o.name, "-j" | "-g"))?.value
    }

    /// Redirects a jump to `from` to the chain's new name `to`.
    pub fn rename_jump(&mut self, from: &str, to: &str) {
        if !self.text.contains(from) || self.jumps_to().as_deref() != Some(from) {
            return;
        }
        // The jump is the last `-j` or `-g`: the text of a comment before it may contain one too.
        for option in ["-j", "-g"] {
            let jump = format!("{option} {from}");
            if let Some((before, rest)) =
                self.text.rsplit_once(&jump).filter(|(_, rest)| rest.is_empty() || rest.starts_with(' '))
            {
                self.text = format!("{before}{option} {to}{rest}").into();
                return;
            }
        }
    }

    /// The match modules that the rule names (`-m`).
    pub fn modules(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.options().filter(|o| o.name == "-m").filter_map(|o| o.value)
    }

    /// The text of the rule's comment (`-m comment --comment`), if it has one.
    pub fn comment(&self) -> Option<Cow<'_, str>> {
        self.value("--comment")
    }
}
