//! A cursor over the match and target text at the end of a row.

/// The rest of the text.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub rest: &'a str,
}

impl<'a> Text<'a> {
    pub(super) fn new(rest: &'a str) -> Self {
        Self { rest: rest.trim() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.trim_start().is_empty()
    }

    /// The next word, without taking it.
    pub(super) fn peek(&self) -> &'a str {
        self.rest.split_whitespace().next().unwrap_or_default()
    }

    /// Takes the next word; empty at the end.
    pub(super) fn word(&mut self) -> &'a str {
        let rest = self.rest.trim_start();
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        self.rest = after;
        word
    }

    /// Takes the next word, which also ends before a glued-on `stop`.
    pub(super) fn word_until(&mut self, stop: &str) -> &'a str {
        let mut ahead = *self;
        let word = ahead.word();
        if let Some(at) = word.find(stop).filter(|at| *at > 0) {
            self.eat_glued(&word[..at]);
            return &word[..at];
        }
        *self = ahead;
        word
    }

    /// Takes these words if they come next.
    pub(super) fn eat(&mut self, words: &str) -> bool {
        let mut ahead = *self;
        for w in words.split(' ') {
            if ahead.word() != w {
                return false;
            }
        }
        *self = ahead;
        true
    }

    /// Takes this text if it comes next, even if something is glued to it.
    pub(super) fn eat_glued(&mut self, text: &str) -> bool {
        match self.rest.trim_start().strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// A value that may be negated: `!x`, `! x` or `x`. `None` at the end of the text.
    pub(super) fn value(&mut self) -> Option<(bool, &'a str)> {
        let not = self.eat_glued("!");
        let word = self.word();
        (!word.is_empty()).then_some((not, word))
    }

    /// Takes a quoted text up to the quote followed by `end` (or the end of the text).
    pub(super) fn quoted(&mut self, end: &str) -> Option<&'a str> {
        let inner = self.rest.trim_start().strip_prefix('"')?;
        let stop = format!("\"{end}");
        let at = if end.is_empty() { inner.trim_end().rfind('"')? } else { inner.find(&stop)? };
        let (value, after) = inner.split_at(at);
        self.rest = &after[1..];
        Some(value)
    }
}

/// The word, unless it is empty.
pub(super) fn some(word: &str) -> Option<&str> {
    (!word.is_empty()).then_some(word)
}

/// The number of a type of service, whose name listings show without `-n` (libxtables tos_values.c).
pub(super) fn tos_number(name: &str) -> Option<&'static str> {
    Some(match name {
        "Minimize-Delay" => "0x10/0x3f",
        "Maximize-Throughput" => "0x08/0x3f",
        "Maximize-Reliability" => "0x04/0x3f",
        "Minimize-Cost" => "0x02/0x3f",
        "Normal-Service" => "0x00/0x3f",
        _ => return None,
    })
}
