//! Texts from rules, hosts and containers were written by others: anything that could control a terminal is removed.

use std::borrow::Cow;

/// Whether a character could control a terminal (control characters) or change the order of the text (the bidirectional
/// formatting characters of Unicode UAX 9, and invisible ones).
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// One line of text without such characters.
pub fn clean(text: &str) -> Cow<'_, str> {
    without(text, is_unsafe)
}

/// The same for several lines: newlines and tabs stay.
pub fn clean_lines(text: &str) -> Cow<'_, str> {
    without(text, |c| is_unsafe(c) && c != '\n' && c != '\t')
}

fn without(text: &str, bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.contains(&bad) { Cow::Owned(text.chars().filter(|c| !bad(*c)).collect()) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_removed() {
        assert_eq!(clean("a\x1b[31mred\x07\u{9b}2J\u{202e}x\n"), "a[31mred2Jx");
        assert_eq!(clean_lines("a\tb\r\n\x1b]0;t\x07c\n"), "a\tb\n]0;tc\n");
        assert!(matches!(clean("plain – ä"), Cow::Borrowed(_)));
    }
}
