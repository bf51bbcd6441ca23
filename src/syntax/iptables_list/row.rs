//! The columns of one row of `iptables -L`.

use std::fmt::Write as _;

use super::matches;
use crate::model::{Family, Hidden, Proto, Rule};

/// Which columns the heading announces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// `num`
    pub number: bool,
    /// `pkts bytes`
    pub counters: bool,
    /// `in out`
    pub interfaces: bool,
}

impl Layout {
    pub(super) fn of_header(line: &str) -> Self {
        let has = |w: &str| line.split_whitespace().any(|x| x == w);
        Self { number: has("num"), counters: has("pkts"), interfaces: has("in") && has("out") }
    }

    /// The layout of a row without a heading, told by what is before target or protocol and after `opt`.
    pub(super) fn guess(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let opt = words.iter().take(7).position(|w| is_opt(w))?;
        let leading = words.iter().take(opt).take_while(|w| counter(w).is_some() && !w.is_empty()).count();
        // The protocol before `opt` may be a number too.
        let leading = leading.min(opt.saturating_sub(1));
        let leading = if leading == 0 { 0 } else { leading };
        let behind = &words[opt + 1..];
        let interfaces = behind.len() >= 4
            && !looks_like_address(behind[0])
            && !looks_like_address(behind[1])
            && looks_like_address(behind[2].trim_start_matches('!'));
        let (number, counters) = match leading {
            0 => (false, false),
            1 => (true, false),
            2 => (false, true),
            _ => (true, true),
        };
        (behind.len() >= 2).then_some(Self { number, counters, interfaces })
    }
}

/// One rule, and what of it was not understood.
pub(super) struct Row {
    pub rule: Rule,
    pub number: Option<usize>,
    pub unread: Option<String>,
    /// Whether nothing follows the addresses.
    pub bare: bool,
}

/// Walks the words of a line; the rest stays unchanged.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest.trim_start();
        if rest.is_empty() {
            return None;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        self.rest = after;
        Some(word)
    }

    /// A word that may be negated by a `!` before it, glued or separate.
    fn negatable(&mut self) -> Option<(bool, &'a str)> {
        let word = self.next()?;
        match word.strip_prefix('!') {
            Some("") => Some((true, self.next()?)),
            Some(w) => Some((true, w)),
            None => Some((false, word)),
        }
    }
}

impl Row {
    /// Reads one row; `None` if it does not have all columns.
    pub(super) fn read(line: &str, layout: Layout, family: Family) -> Option<Self> {
        let mut words = Words { rest: line };
        let number = if layout.number { Some(words.next()?.parse::<usize>().ok()?) } else { None };
        let (packets, bytes) =
            if layout.counters { (counter(words.next()?)?, counter(words.next()?)?) } else { (0, 0) };
        let Head { target, negated, protocol, fragment } = head(&mut words, layout)?;
        let mut text = String::new();
        let mut interfaces = String::new();
        if layout.interfaces {
            for option in ["-i", "-o"] {
                let (not, name) = words.negatable()?;
                // `any` without -n, `*` with it.
                if not || !matches!(name, "*" | "any") {
                    push(&mut interfaces, not, option, name);
                }
            }
        }
        for option in ["-s", "-d"] {
            let (not, address) = words.negatable()?;
            let (address, goto) = match address.strip_suffix("[goto]") {
                Some(a) => (a, true),
                None => (address, false),
            };
            if goto {
                words.rest = line.get(line.len() - words.rest.len() - "[goto]".len()..).unwrap_or_default();
            }
            if let Some(address) = address_argument(address, not, family) {
                push(&mut text, not, option, &address);
            }
        }
        text.push_str(&interfaces);
        let proto = Proto::parse(protocol);
        if !matches!(protocol, "all" | "0" | "ip") {
            let name = proto.map_or_else(|| protocol.to_owned(), |p| p.to_string());
            push(&mut text, negated, "-p", &name);
        }
        match fragment {
            Some(true) => text.push_str(" ! -f"),
            Some(false) => text.push_str(" -f"),
            None => {}
        }
        let found = matches::read(words.rest.trim(), family, target.unwrap_or_default());
        text.push_str(&found.matches);
        if let Some(target) = target {
            let _ = write!(
                text,
                " -{} {}{}",
                if found.goto { 'g' } else { 'j' },
                found.rename.unwrap_or(target),
                found.target_options
            );
        }
        let mut rule = Rule::new(&text);
        (rule.packets, rule.bytes) = (packets, bytes);
        rule.hidden = Hidden::default();
        Some(Self { rule, number, unread: found.unread, bare: words.rest.trim().is_empty() })
    }
}

fn push(text: &mut String, not: bool, option: &str, value: &str) {
    let _ = write!(text, "{} {option} {value}", if not { " !" } else { "" });
}

/// Target, protocol and `opt` of a row.
struct Head<'a> {
    target: Option<&'a str>,
    negated: bool,
    protocol: &'a str,
    /// `-f`: `Some(false)`; `!f`: `Some(true)`.
    fragment: Option<bool>,
}

/// The `opt` column: `--`, `-f`, `!f`, or a dash into which a web page has turned `--`.
fn is_opt(word: &str) -> bool {
    matches!(word, "--" | "-f" | "!f" | "—" | "–" | "―")
}

fn head<'a>(words: &mut Words<'a>, layout: Layout) -> Option<Head<'a>> {
    let mut ahead = Words { rest: words.rest };
    let first = ahead.next()?;
    let second = ahead.next()?;
    let make = |target, word: &'a str, opt: Option<&str>| {
        let (negated, protocol) = word.strip_prefix('!').map_or((false, word), |p| (true, p));
        let fragment = match opt {
            Some("-f") => Some(false),
            Some("!f") => Some(true),
            _ => None,
        };
        is_protocol(protocol).then_some(Head { target, negated, protocol, fragment })
    };
    // The target column of a rule without a target is empty.
    if is_opt(second) {
        words.rest = ahead.rest;
        return make(None, first, Some(second));
    }
    let after_second = ahead.rest;
    let third = ahead.next()?;
    if is_opt(third) {
        words.rest = ahead.rest;
        return make(Some(first), second, Some(third));
    }
    // ip6tables before 1.8.9 prints two spaces for `opt`: one word less.
    let skip = if layout.interfaces { 2 } else { 0 };
    let place_of = |rest: &'a str| Words { rest }.nth_word(skip);
    if is_protocol(second.trim_start_matches('!')) && place_of(after_second).is_some_and(looks_like_address) {
        words.rest = after_second;
        return make(Some(first), second, None);
    }
    let after_first = &words.rest.trim_start()[first.len()..];
    if is_protocol(first.trim_start_matches('!')) && place_of(after_first).is_some_and(looks_like_address) {
        words.rest = after_first;
        return make(None, first, None);
    }
    None
}

impl<'a> Words<'a> {
    fn nth_word(mut self, n: usize) -> Option<&'a str> {
        for _ in 0..n {
            self.next()?;
        }
        self.next().map(|w| w.trim_start_matches('!'))
    }
}

fn is_protocol(word: &str) -> bool {
    matches!(word, "all" | "0" | "ip")
        || Proto::parse(word).is_some()
        || (!word.is_empty()
            && word.len() <= 16
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'))
}

/// An address, a network, or `anywhere`; host names look like any other word.
pub(super) fn looks_like_address(word: &str) -> bool {
    let word = word.strip_suffix("[goto]").unwrap_or(word).trim_start_matches('!');
    word == "anywhere" || word.contains("::") || word.matches('.').count() >= 3 || word.matches(':').count() >= 3
}

/// The argument of `-s` or `-d`; `None` for everything. Host names are kept: they make the rule depend.
fn address_argument(word: &str, not: bool, family: Family) -> Option<String> {
    let any = match family {
        Family::V4 => "0.0.0.0/0",
        Family::V6 => "::/0",
    };
    if word == "anywhere" && not && family == Family::V6 {
        // Without -n, ip6tables prints the same for `::/128` and `::/64`: the name is ambiguous.
        return Some(word.to_owned());
    }
    if word == "anywhere" || word == any {
        return not.then(|| any.to_owned());
    }
    if family == Family::V4 {
        // A name from /etc/networks: the listing shows it for a network, as it shows one from /etc/hosts for a host.
        let (name, length) = word.split_once('/').unwrap_or((word, "32"));
        let network = match name {
            "default" => Some("0.0.0.0"),
            "loopback" => Some("127.0.0.0"),
            "link-local" => Some("169.254.0.0"),
            _ => None,
        };
        if let Some(network) = network {
            return Some(format!("{network}/{length}"));
        }
    }
    let plain = !word.contains('/') && crate::model::Net::parse(word, family).is_some();
    Some(if plain { format!("{word}/{}", family.bits()) } else { word.to_owned() })
}

/// `12`, `4278K`, `24T`: iptables divides by 1000 (xshared.c `xtables_print_num`).
pub(super) fn counter(word: &str) -> Option<u64> {
    let digits = word.trim_end_matches(['K', 'M', 'G', 'T', 'P']);
    let factor = match &word[digits.len()..] {
        "" => 1,
        "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "P" => 1_000_000_000_000_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// Whether a line that could not be read starts like a row, so that it is a truncated one.
pub(super) fn begins_like_a_row(line: &str, layout: Option<Layout>) -> bool {
    const TARGETS: &[&str] =
        &["ACCEPT", "DROP", "REJECT", "LOG", "RETURN", "DNAT", "SNAT", "MASQUERADE", "MARK", "QUEUE", "REDIRECT"];
    let Some(layout) = layout else { return false };
    let words: Vec<&str> = line.split_whitespace().collect();
    let leading = usize::from(layout.number) + 2 * usize::from(layout.counters);
    let numbers = words.iter().take(leading).all(|w| counter(w).is_some()) && (leading > 0);
    let opt = words.iter().take(leading + 3).any(|w| *w == "--");
    numbers || opt || words.first().is_some_and(|w| TARGETS.contains(w))
}
