//! Interfaces as a finite set of classes: one for each name that the rules or the host know, and one for all other
//! names that a pattern such as `eth+` covers, so that splitting by interface is exact.

use range_set_blaze::RangeSetBlaze;

use crate::analyse::surroundings::bridges::bridges;
use crate::model::{IfaceMatch, Rule, Ruleset, View};

/// A set of interface classes, by index.
pub type InterfaceSet = RangeSetBlaze<u16>;

/// Label of the class of all interfaces that nothing names.
pub const OTHERS: &str = "any other";

/// Interface names in words: `eth0, eth1`, or `any interface but docker0`; `rest` are the other interfaces.
pub fn in_words(some: &[&str], rest: &[&str]) -> String {
    let list = |of: &[&str]| {
        let mut names: Vec<String> = of
            .iter()
            .take(4)
            .map(|n| {
                let narrower = |stem: &str| some.iter().chain(rest).any(|o| o.starts_with(stem) && o != n);
                if n.strip_suffix('+').is_some_and(narrower) { format!("other {n}") } else { (*n).to_owned() }
            })
            .collect();
        if of.len() > 4 {
            names[3] = format!("{} more", of.len() - 3);
        }
        names.join(", ")
    };
    let most = some.contains(&OTHERS) || (some.len() > rest.len() && !rest.contains(&OTHERS));
    match rest {
        [] if most => "any interface".to_owned(),
        _ if most => format!("any interface but {}", list(rest)),
        _ => list(some),
    }
}

/// The classes.
#[derive(Clone, Debug)]
pub struct Interfaces {
    /// The name that patterns are matched against, and the name to show.
    names: Vec<(String, String)>,
}

/// No interface can have this name (`/` is refused by the kernel, `dev_valid_name`), so no rule names it.
const OTHER: &str = "/";

impl Interfaces {
    /// The host's interfaces if they are known; otherwise those that rules name, and one class for all others.
    pub fn new(view: &View, rules: Option<&Ruleset>, extra: &[&str]) -> Self {
        let mut names = vec![("lo".to_owned(), "lo".to_owned())];
        let mut add = |test: String, show: String| {
            if u16::try_from(names.len()).is_ok() && !names.iter().any(|(n, _)| *n == test) {
                names.push((test, show));
            }
        };
        for name in extra {
            add((*name).to_owned(), (*name).to_owned());
        }
        let family = rules.map(|r| r.family);
        let known = view.addrs.as_ref().filter(|_| family.is_none_or(|f| view.local_addrs(f).is_some()));
        if let Some(addrs) = known {
            for name in addrs.iter().map(|a| &a.interface).chain(view.routes.iter().flatten().map(|r| &r.interface)) {
                add(name.clone(), name.clone());
            }
        } else {
            let mut found = Vec::new();
            for chain in rules.iter().flat_map(|r| &r.tables).flat_map(|t| &t.chains) {
                for rule in &chain.rules {
                    patterns(rule, &mut found);
                }
            }
            for name in view
                .addrs
                .iter()
                .flatten()
                .map(|a| &a.interface)
                .chain(view.routes.iter().flatten().map(|r| &r.interface))
            {
                add(name.clone(), name.clone());
            }
            for (_, name) in bridges(rules) {
                add(name.clone(), name);
            }
            for p in found {
                match p.strip_suffix('+') {
                    None => add(p.clone(), p),
                    Some("") => {}
                    Some(stem) => add(format!("{stem}{OTHER}"), p),
                }
            }
            add(OTHER.to_owned(), OTHERS.to_owned());
        }
        Self { names }
    }

    /// Every interface but `lo`.
    pub fn outside(&self) -> InterfaceSet {
        (0..self.len()).filter(|i| self.names[usize::from(*i)].0 != "lo").collect()
    }

    /// Every interface.
    pub fn all(&self) -> InterfaceSet {
        (0..self.len()).collect()
    }

    fn len(&self) -> u16 {
        u16::try_from(self.names.len()).unwrap_or(u16::MAX)
    }

    /// The classes that a pattern covers.
    pub fn matching(&self, pattern: &IfaceMatch) -> InterfaceSet {
        (0..self.len()).filter(|i| pattern.matches(&self.names[usize::from(*i)].0)).collect()
    }

    /// The class of one interface name.
    pub fn named(&self, name: &str) -> InterfaceSet {
        (0..self.len()).filter(|i| self.names[usize::from(*i)].0 == name).collect()
    }

    /// The class of all interfaces that nothing names, if there is one.
    pub fn others(&self) -> Option<u16> {
        self.names.last().filter(|(name, _)| name == OTHER).and(self.len().checked_sub(1))
    }

    /// Interfaces in words; `rest` are the other interfaces.
    pub fn in_words(&self, some: &InterfaceSet, rest: &InterfaceSet) -> String {
        let names = |of: &InterfaceSet| of.iter().map(|i| self.show(i)).collect::<Vec<_>>();
        in_words(&names(some), &names(rest))
    }

    /// The name to show.
    pub fn show(&self, index: u16) -> &str {
        self.names.get(usize::from(index)).map_or("?", |n| &n.1)
    }
}

/// Collects the interface names that a rule asks for.
fn patterns(rule: &Rule, out: &mut Vec<String>) {
    for option in rule.all(&["-i", "-o"]) {
        if let Some(name) = option.value.filter(|n| !out.iter().any(|o| o == n)) {
            out.push(name.into_owned());
        }
    }
}
