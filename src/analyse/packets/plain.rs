//! Matches that look at what a plain new packet never has, or always: decided although nothing else is known of them.

/// Whether the condition holds for every plain new packet, or for none; `None` where it is not decided so
/// (iptables-extensions(8)). The words are those of one module, as [`crate::model::Match::Unknown`] keeps them.
pub fn decided(text: &str) -> Option<bool> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = |option: &str| words.iter().position(|w| *w == option);
    let value = |option: &str| at(option).and_then(|i| words.get(i + 1)).copied();
    let not = |option: &str| at(option).and_then(|i| i.checked_sub(1)).is_some_and(|i| words[i] == "!");
    let module = if words.first() == Some(&"-m") { words.get(1).copied().unwrap_or_default() } else { "" };
    // Headers that IPv6 packets have only where somebody asks for them; without one the rule misses, also negated.
    if matches!(module, "rt" | "frag" | "hbh")
        || words.iter().any(|w| w.starts_with("--rt-") || w.starts_with("--hbh-"))
    {
        return Some(false);
    }
    if module == "recent" && at("--set").is_some() {
        return Some(!not("--set"));
    }
    // A packet that came without IPsec has no policy behind it (xt_policy, match_policy_in).
    if module == "policy" && value("--dir") == Some("in") {
        return match value("--pol") {
            Some("none") => Some(true),
            Some("ipsec") => Some(false),
            _ => None,
        };
    }
    // Who is routed back by the way he came; others are not judged, as rp_filter is not.
    if module == "rpfilter" {
        return Some(at("--invert").is_none());
    }
    if let Some(length) = value("--length").filter(|_| words.len() <= 3) {
        return matches!(length, "0:65535" | "0:" | ":65535" | ":").then(|| !not("--length"));
    }
    if let Some(probability) = value("--probability") {
        let chance: f64 = probability.parse().ok()?;
        let sure = if chance <= 0.0 {
            false
        } else if chance >= 1.0 {
            true
        } else {
            return None;
        };
        return Some(sure != not("--probability"));
    }
    // Nothing has become of the connection yet: no bit of its status is set.
    if module == "conntrack" && at("--ctstatus").is_some() && words.iter().filter(|w| w.starts_with("--")).count() == 1
    {
        return Some(not("--ctstatus"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plain_packet_decides() {
        for (text, expected) in [
            ("--rt-type 0", Some(false)),
            ("! --rt-type 0 --rt-segsleft 0", Some(false)),
            ("-m rpfilter", Some(true)),
            ("-m rpfilter --loose --invert", Some(false)),
            ("-m policy --dir in --pol ipsec", Some(false)),
            ("-m policy --dir in --pol none", Some(true)),
            ("-m policy --dir out --pol ipsec", None),
            ("-m recent --set --name ssh --mask 255.255.255.255 --rsource", Some(true)),
            ("-m recent --update --seconds 60 --name ssh", None),
            ("--length 0:65535", Some(true)),
            ("! --length 0:65535", Some(false)),
            ("--length 40:60", None),
            ("-m statistic --mode random --probability 1.00000000000", Some(true)),
            ("-m statistic --mode random ! --probability 0.00000000000", Some(true)),
            ("-m statistic --mode random --probability 0.50000000000", None),
            ("-m conntrack --ctstatus CONFIRMED", Some(false)),
            ("-m conntrack ! --ctstatus ASSURED", Some(true)),
            ("--hashlimit-above 5/min --hashlimit-name x", None),
        ] {
            assert_eq!(decided(text), expected, "{text}");
        }
    }
}
