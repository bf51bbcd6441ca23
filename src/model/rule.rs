//! One rule: its argument text word for word, its counters, and what the source could not show.

use super::{Family, Spec};

/// What the text that a rule was read from does not show; the walk turns it into *depends*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hidden {
    /// `iptables -L` without `-v`: the rule may name interfaces.
    pub interfaces: bool,
    /// The line was cut or damaged: it may hold more than is there.
    pub cut: bool,
}

/// A rule **is** its argument text, as `iptables-save` prints it behind `-A CHAIN`; what it means is
/// read on demand ([`Rule::spec`]), so that nothing is lost and a million rules stay small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Arguments behind `-A CHAIN `, e.g. `-p tcp -m tcp --dport 22 -j ACCEPT`.
    pub text: Box<str>,
    /// Packets counted, when the source shows counters.
    pub packets: u64,
    /// Bytes counted.
    pub bytes: u64,
    /// Line in the source, from 1; 0 for rules that we made.
    pub line: u32,
    /// What the source hides.
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

    /// The text of the rule's comment (`-m comment --comment`), if it has one.
    pub fn comment(&self) -> Option<String> {
        let args = super::split_args(&self.text);
        let at = args.iter().position(|a| a == "--comment")?;
        args.get(at + 1).cloned()
    }
}
