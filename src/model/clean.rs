//! Texts from rules, hosts and containers are strangers' texts: what could steer a terminal is taken out of them.

use std::borrow::Cow;

/// Whether a sign could steer a terminal (control characters) or turn the order of signs (the bidirectional formatting
/// characters of Unicode UAX 9, and invisible ones).
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// One line of text without what could steer a terminal.
pub fn clean(text: &str) -> Cow<'_, str> {
    without(text, steers)
}

/// The same for a text of several lines: line ends and tabs stay.
pub fn clean_lines(text: &str) -> Cow<'_, str> {
    without(text, |c| steers(c) && c != '\n' && c != '\t')
}

fn without(text: &str, bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.contains(&bad) { Cow::Owned(text.chars().filter(|c| !bad(*c)).collect()) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_a_terminal() {
        assert_eq!(clean("a\x1b[31mred\x07\u{9b}2J\u{202e}x\n"), "a[31mred2Jx");
        assert_eq!(clean_lines("a\tb\r\n\x1b]0;t\x07c\n"), "a\tb\n]0;tc\n");
        assert!(matches!(clean("plain – ä"), Cow::Borrowed(_)));
    }
}
