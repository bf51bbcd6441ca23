//! A search: text or a pattern, a port, an address that a network contains, an owner, a verdict.

use regex::{Regex, RegexBuilder, escape};

use crate::model::{Family, Match, Net, Rule, words};

/// A search.
#[derive(Clone, Debug)]
pub struct Search {
    /// The literal text; a number is found only as a whole word: 22 does not match 2200.
    text: Regex,
    /// The text as a regular expression, if it is one.
    pattern: Option<Regex>,
    net: Option<Net>,
    number: Option<u16>,
}

/// What makes a text a pattern; a dot alone does not, because addresses have dots.
const MARKS: [char; 11] = ['*', '+', '?', '(', ')', '[', '{', '|', '^', '$', '\\'];

impl Search {
    /// The search for what was typed; `None` if that is empty.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let number = text.parse().ok();
        let address = number.is_none() && text.contains(['.', ':']);
        let plain = escape(text);
        let plain = if number.is_some() { format!("(?:^|[^0-9A-Za-z.]){plain}(?:$|[^0-9A-Za-z.])") } else { plain };
        let regex = |pattern: &str| RegexBuilder::new(pattern).case_insensitive(true).build().ok();
        Some(Self {
            text: regex(&plain)?,
            pattern: if text.contains(MARKS) { regex(text) } else { None },
            net: if address { Net::parse_any(text) } else { None },
            number,
        })
    }

    /// The port, if it is a number.
    pub fn number(&self) -> Option<u16> {
        self.number
    }

    /// The address or network, if it is one.
    pub fn net(&self) -> Option<Net> {
        self.net
    }

    /// Whether a text matches, ignoring case.
    pub fn in_text(&self, text: &str) -> bool {
        self.text.is_match(text) || self.pattern.as_ref().is_some_and(|p| p.is_match(text))
    }

    /// Whether a rule matches: by its text, as a port inside a range, as an address inside a network.
    pub fn in_rule(&self, rule: &Rule, family: Family) -> bool {
        if self.in_text(&rule.text) {
            return true;
        }
        if let Some(net) = self.net {
            return words(&rule.text)
                .filter(|w| w.contains('/'))
                .filter_map(|w| Net::parse_any(&w))
                .any(|n| n.mask != 0 && n.contains(net.ip()));
        }
        // Only a range can contain a port that is not written out.
        self.number.is_some_and(|port| {
            rule.text.contains(':')
                && rule.spec(family).matches.iter().any(|m| match m {
                    Match::DestinationPorts(false, set)
                    | Match::SourcePorts(false, set)
                    | Match::EitherPorts(false, set) => set.contains(port),
                    Match::CtOrigDstPort(false, range) => range.contains(&port),
                    _ => false,
                })
        })
    }
}

/// The next matching line after `here`, wrapping to the first (or, backwards, to the last).
pub fn next(here: usize, lines: usize, forward: bool, holds: impl Fn(usize) -> bool) -> Option<usize> {
    let hits: Vec<usize> = (0..lines).filter(|i| holds(*i)).collect();
    if forward {
        hits.iter().find(|h| **h > here).or(hits.first()).copied()
    } else {
        hits.iter().rev().find(|h| **h < here).or(hits.last()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(search: &str, rule: &str) -> bool {
        Search::new(search).is_some_and(|n| n.in_rule(&Rule::new(rule), Family::V4))
    }

    #[test]
    fn text_ports_and_addresses() {
        assert!(Search::new("  ").is_none());
        assert!(finds("drop", "-s 10.0.0.0/8 -j DROP"));
        assert!(
            finds("22", "-p tcp -m tcp --dport 22 -j ACCEPT") && !finds("22", "-p tcp -m tcp --dport 2200 -j ACCEPT")
        );
        assert!(!finds("22", "-s 10.22.0.1/32 -j ACCEPT"));
        assert!(finds("9042", "-j DNAT --to-destination 172.17.0.2:9042"));
        assert!(
            finds("9042", "-p tcp -m tcp --dport 9000:9100 -j ACCEPT")
                && !finds("9101", "-p tcp -m tcp --dport 9000:9100 -j ACCEPT")
        );
        assert!(finds("10.1.2.3", "-s 10.0.0.0/8 -j DROP") && !finds("11.1.2.3", "-s 10.0.0.0/8 -j DROP"));
        assert!(!finds("10.1.2.3", "-s 0.0.0.0/0 -j DROP"), "a rule for everybody is no answer to an address");
    }

    #[test]
    fn a_pattern_is_taken_as_one() {
        let rule = "-d 172.17.0.2/32 -i cali1 -p tcp -m tcp --dport 9042 -j ACCEPT";
        assert!(
            finds("dport (22|9042)", rule)
                && finds("^-d 172", rule)
                && finds("ACCEPT$", rule)
                && !finds("^ACCEPT", rule)
        );
        assert!(finds("CALI\\d", rule) && !finds("cali\\d\\d", rule));
        // What is not a valid pattern is plain text: half a pattern, a name with a plus.
        assert!(finds("(", "a (b") && finds("[0:0]", ":INPUT [0:0]") && finds("cali+", "-i cali+ -j DROP"));
    }

    #[test]
    fn next_wraps_round() {
        let at = |here, forward| next(here, 10, forward, |i| i == 3 || i == 7);
        assert_eq!((at(0, true), at(3, true), at(7, true)), (Some(3), Some(7), Some(3)));
        assert_eq!((at(9, false), at(3, false), at(0, false)), (Some(7), Some(7), Some(7)));
        assert_eq!(next(0, 10, true, |_| false), None);
    }
}
