//! The only reader of a rule's words: splits and quotes as `iptables-save` writes and `iptables-restore` reads
//! (iptables/xshared.c `add_param_to_argv`, `xtables_save_string`), and groups the words into options. It borrows from
//! the rule's text; [`super::super::Spec`] knows what the options mean.

use std::borrow::Cow;

/// The words of a rule: spaces separate, double quotes group, a backslash escapes inside quotes.
pub fn words(text: &str) -> Words<'_> {
    Words { rest: text }
}

/// See [`words`].
#[derive(Clone, Debug)]
pub struct Words<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Words<'a> {
    type Item = Cow<'a, str>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest.trim_ascii_start();
        if text.is_empty() {
            self.rest = text;
            return None;
        }
        // isspace(3) in the C locale: other kinds of space are ordinary characters to iptables.
        let end = text.bytes().position(|b| b == b'"' || b.is_ascii_whitespace()).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        if !rest.starts_with('"') {
            self.rest = rest;
            return Some(Cow::Borrowed(word));
        }
        let mut word = word.to_owned();
        let mut quoted = false;
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' if quoted => word.extend(chars.next().map(|(_, c)| c)),
                '"' => quoted = !quoted,
                c if c.is_ascii_whitespace() && !quoted => {
                    self.rest = rest.get(at..).unwrap_or_default();
                    return Some(Cow::Owned(word));
                }
                c => word.push(c),
            }
        }
        self.rest = "";
        Some(Cow::Owned(word))
    }
}

/// Quotes an argument as `iptables-save` does: plain words stay, everything else goes into double quotes.
pub fn quote(arg: &str) -> String {
    let plain = !arg.is_empty() && arg.chars().all(|c| c.is_ascii_alphanumeric() || "_-.,:/+=%@[]!~&^{}".contains(c));
    if plain {
        return arg.to_owned();
    }
    let mut out = String::with_capacity(arg.len() + 2);
    out.push('"');
    for c in arg.chars() {
        if c == '"' || c == '\\' || c == '\'' {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// Options whose value is free text and may itself look like an option (iptables-extensions(8)).
const ANY_TEXT: &[&str] = &[
    "--comment",
    "--log-prefix",
    "--nflog-prefix",
    "--ulog-prefix",
    "--string",
    "--hex-string",
    "--u32",
    "--bytecode",
    "--name",
];

/// Whether the word after this option is always its value, whatever it looks like.
pub fn takes_any_text(option: &str) -> bool {
    ANY_TEXT.contains(&option)
}

/// The canonical spelling of an option: the one that `iptables-save` writes (iptables(8), iptables-extensions(8)).
pub fn canonical(option: &str) -> &str {
    match option {
        "--source" | "--src" => "-s",
        "--destination" | "--dst" => "-d",
        "--in-interface" => "-i",
        "--out-interface" => "-o",
        "--protocol" | "--proto" => "-p",
        "--match" => "-m",
        "--jump" => "-j",
        "--goto" => "-g",
        "--fragment" => "-f",
        "--source-port" => "--sport",
        "--source-ports" => "--sports",
        "--destination-port" => "--dport",
        "--destination-ports" => "--dports",
        "--port" => "--ports",
        "--icmpv6-type" => "--icmp-type",
        usual => usual,
    }
}

/// Whether a text may contain an option with this canonical name. Faster than splitting it into words, and most rules
/// do not have the option.
pub fn may_hold(text: &str, name: &str) -> bool {
    let other = match name {
        "-s" => "--s",
        "-d" | "--dport" | "--dports" => "--d",
        "-i" | "-o" => "-interface",
        "-p" => "--proto",
        "-m" => "--match",
        "-j" => "--jump",
        "-g" => "--goto",
        "-f" => "--fragment",
        "--sport" | "--sports" => "--source",
        "--ports" => "--port",
        "--icmp-type" => "--icmpv6-type",
        _ => return text.contains(name),
    };
    text.contains(name) || text.contains(other)
}

/// One option of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleOption<'a> {
    /// Its [`canonical`] name, e.g. `-s`, `--dport`.
    pub name: Cow<'a, str>,
    /// Whether a `!` precedes it, or its value (iptables before 1.4.3).
    pub negated: bool,
    /// Its first value.
    pub value: Option<Cow<'a, str>>,
}

/// The options of a rule, in order.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    words: std::iter::Peekable<Words<'a>>,
}

/// Groups the words of a rule into options.
pub fn options(text: &str) -> Options<'_> {
    Options { words: words(text).peekable() }
}

impl<'a> Iterator for Options<'a> {
    type Item = RuleOption<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut negated = false;
        loop {
            let word = self.words.next()?;
            if word == "!" {
                negated = true;
                continue;
            }
            if !word.starts_with('-') {
                // One more value of the previous option.
                negated = false;
                continue;
            }
            let name = match word {
                Cow::Borrowed(w) => Cow::Borrowed(canonical(w)),
                Cow::Owned(w) => Cow::Owned(canonical(&w).to_owned()),
            };
            let mut value = None;
            if takes_any_text(&name) {
                value = self.words.next();
            } else if self.words.peek().is_some_and(|w| w == "!") {
                let mut ahead = self.words.clone();
                ahead.next();
                if ahead.peek().is_some_and(|w| !w.starts_with('-')) {
                    negated = !negated;
                    value = ahead.next();
                    self.words = ahead;
                }
            } else {
                value = self.words.next_if(|w| !w.starts_with('-'));
            }
            return Some(RuleOption { name, negated, value });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<String> {
        words(text).map(Cow::into_owned).collect()
    }

    #[test]
    fn quotes_group_and_escape() {
        assert_eq!(split(r#"--comment "a \"b\" c" -j DROP"#), ["--comment", "a \"b\" c", "-j", "DROP"]);
        assert_eq!(quote("a \"b\""), r#""a \"b\"""#);
        assert_eq!(split(&quote("x'y\\ z")), ["x'y\\ z"]);
        assert_eq!(split("a\"b c\"d  \"\" e\\f"), ["ab cd", "", "e\\f"]);
        assert_eq!(split(" \"open"), ["open"]);
        assert!(matches!(words("-s 192.0.2.1").next(), Some(Cow::Borrowed("-s"))));
    }

    #[test]
    fn options_have_their_negation_and_first_value() {
        let shown = |text: &str| {
            options(text)
                .map(|o| format!("{}{}={}", if o.negated { "!" } else { "" }, o.name, o.value.unwrap_or("-".into())))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            shown("-s 10.0.0.0/8 ! -i lo -f ! -d 10.0.0.1 -j DROP"),
            "-s=10.0.0.0/8 !-i=lo -f=- !-d=10.0.0.1 -j=DROP"
        );
        assert_eq!(shown("--source ! 10.0.0.0/8 --jump X"), "!-s=10.0.0.0/8 -j=X");
        assert_eq!(
            shown("-m set ! --match-set s src ! --update-counters ! --update-subcounters"),
            "-m=set !--match-set=s !--update-counters=- !--update-subcounters=-"
        );
        assert_eq!(
            shown("--tcp-flags SYN,ACK SYN -j NFLOG --nflog-prefix -j"),
            "--tcp-flags=SYN,ACK -j=NFLOG --nflog-prefix=-j"
        );
        assert_eq!(
            shown(r#"-m comment --comment "-d 10.0.0.1 -j DROP" -j ACCEPT"#),
            "-m=comment --comment=-d 10.0.0.1 -j DROP -j=ACCEPT"
        );
        assert_eq!(shown("-m comment --comment -j"), "-m=comment --comment=-j");
        assert_eq!(shown("! -f ! "), "!-f=-");
    }
}
