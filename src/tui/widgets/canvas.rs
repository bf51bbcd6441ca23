//! Where screens draw: the only way for text to reach the terminal.

use std::cell::Cell;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use unicode_width::UnicodeWidthStr;

pub use crate::model::clean;
use crate::tui::theme::{Glyph, Role, Theme};

/// Width of a text in cells.
pub fn width(text: &str) -> u16 {
    u16::try_from(UnicodeWidthStr::width(clean(text).as_ref())).unwrap_or(u16::MAX)
}

/// The text cut to a width, marked where it was cut.
pub fn fit(text: &str, cells: usize, theme: &Theme) -> String {
    let text = clean(text);
    if UnicodeWidthStr::width(text.as_ref()) <= cells {
        return text.into_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let w = unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
        if used + w + 1 > cells {
            break;
        }
        out.push(c);
        used += w;
    }
    if cells > 0 {
        out.push_str(theme.glyph(Glyph::Cut));
    }
    out
}

/// The text cut in the middle: when names begin alike (`ufw-after-logging-input`), their ends tell them apart.
pub fn fit_middle(text: &str, cells: usize, theme: &Theme) -> String {
    let text = clean(text);
    let chars: Vec<char> = text.chars().collect();
    // Names of chains and files are mostly narrow; wide ones are cut at the end.
    if UnicodeWidthStr::width(text.as_ref()) <= cells
        || chars.len() != UnicodeWidthStr::width(text.as_ref())
        || cells < 8
    {
        return fit(&text, cells, theme);
    }
    let tail = (cells - 1) * 3 / 5;
    let head: String = chars[..cells - 1 - tail].iter().collect();
    let tail: String = chars[chars.len() - tail..].iter().collect();
    format!("{head}{}{tail}", theme.glyph(Glyph::Cut))
}

/// The text in lines of at most a given width, broken at spaces where possible.
pub fn wrap(text: &str, cells: usize) -> Vec<String> {
    let cells = cells.max(4);
    let mut out = Vec::new();
    if text.is_empty() {
        return vec![String::new()];
    }
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in clean(paragraph).split(' ') {
            let mut word = word.to_owned();
            if !line.is_empty()
                && UnicodeWidthStr::width(line.as_str()) + 1 + UnicodeWidthStr::width(word.as_str()) > cells
            {
                out.push(std::mem::take(&mut line));
            }
            while UnicodeWidthStr::width(word.as_str()) > cells {
                let head: String = word.chars().take(cells / 2).collect();
                word = word.chars().skip(cells / 2).collect();
                if !line.is_empty() {
                    out.push(std::mem::take(&mut line));
                }
                out.push(head);
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word);
        }
        out.push(line);
    }
    out
}

/// A part of the screen, with coordinates relative to its own corner; nothing is drawn outside it.
pub struct Canvas<'a> {
    buf: &'a mut Buffer,
    area: Rect,
    /// Position of the terminal's cursor: the selection or caret drawn last.
    spot: &'a Cell<Option<(u16, u16)>>,
    /// Colours and glyphs.
    pub theme: Theme,
}

impl<'a> Canvas<'a> {
    /// The whole of a buffer.
    pub fn new(buf: &'a mut Buffer, spot: &'a Cell<Option<(u16, u16)>>, theme: Theme) -> Self {
        let area = buf.area;
        Self { buf, area, spot, theme }
    }

    /// A part of this one.
    pub fn part(&mut self, x: u16, y: u16, w: u16, h: u16) -> Canvas<'_> {
        let want = Rect::new(self.area.x.saturating_add(x), self.area.y.saturating_add(y), w, h);
        let area = want.intersection(self.area);
        Canvas { buf: self.buf, area, spot: self.spot, theme: self.theme }
    }

    /// Width in cells.
    pub fn w(&self) -> u16 {
        self.area.width
    }

    /// Height in cells.
    pub fn h(&self) -> u16 {
        self.area.height
    }

    /// Its position on the screen, for clicks.
    pub fn area(&self) -> Rect {
        self.area
    }

    /// Writes text and returns the column after it. What does not fit is cut with a mark.
    pub fn put(&mut self, x: u16, y: u16, role: Role, text: &str) -> u16 {
        self.put_within(x, y, self.area.width, role, text)
    }

    /// Writes text that ends before column `end`.
    pub fn put_within(&mut self, x: u16, y: u16, end: u16, role: Role, text: &str) -> u16 {
        let end = end.min(self.area.width);
        if y >= self.area.height || x >= end {
            return x;
        }
        let text = fit(text, usize::from(end - x), &self.theme);
        self.buf.set_stringn(self.area.x + x, self.area.y + y, &text, usize::from(end - x), self.theme.style(role));
        x.saturating_add(width(&text))
    }

    /// Marks the line of the selection.
    pub fn mark(&mut self, x: u16, y: u16) {
        let glyph = self.theme.glyph(Glyph::Cursor);
        self.put(x, y, Role::Title, glyph);
        self.point(x, y);
    }

    fn point(&self, x: u16, y: u16) {
        if x < self.area.width && y < self.area.height {
            self.spot.set(Some((self.area.x + x, self.area.y + y)));
        }
    }

    /// Writes pieces one after another.
    pub fn row(&mut self, x: u16, y: u16, pieces: &[(Role, &str)]) -> u16 {
        pieces.iter().fold(x, |x, (role, text)| self.put(x, y, *role, text))
    }

    /// Writes text that ends at the right edge, if there is room after column `from`.
    pub fn right(&mut self, from: u16, y: u16, role: Role, text: &str) {
        let w = width(text);
        if from + w < self.area.width {
            self.put(self.area.width - w, y, role, text);
        }
    }

    /// A line across the width, with a title in it.
    pub fn rule(&mut self, y: u16, title: &str) {
        let line = self.theme.glyph(Glyph::Line).repeat(usize::from(self.area.width));
        self.put(0, y, Role::Dim, &line);
        if !title.is_empty() {
            let title = fit(&format!(" {title} "), usize::from(self.area.width.saturating_sub(2)), &self.theme);
            self.put(1, y, Role::Title, &title);
        }
    }

    /// Underlines cells, for the current tab.
    pub fn underline(&mut self, x: u16, y: u16, cells: u16) {
        for cx in x..x.saturating_add(cells).min(self.area.width) {
            if let Some(cell) = self.buf.cell_mut((self.area.x + cx, self.area.y + y)) {
                cell.modifier |= Modifier::UNDERLINED;
            }
        }
    }

    /// Shows where typed text goes.
    pub fn caret(&mut self, x: u16, y: u16) {
        if x < self.area.width
            && y < self.area.height
            && let Some(cell) = self.buf.cell_mut((self.area.x + x, self.area.y + y))
        {
            cell.modifier |= Modifier::REVERSED;
        }
        self.point(x, y);
    }

    /// Clears the part.
    pub fn clear(&mut self) {
        for at in self.area.positions() {
            if let Some(cell) = self.buf.cell_mut(at) {
                cell.reset();
            }
        }
    }

    /// Clears the part and draws a frame with a title; returns the inside.
    pub fn frame(&mut self, title: &str) -> Canvas<'_> {
        let (w, h) = (self.area.width, self.area.height);
        self.clear();
        self.spot.set(None);
        if self.theme.reader {
            self.put(0, 0, Role::Title, title);
            return self.part(1, 1, w.saturating_sub(1), h.saturating_sub(1));
        }
        let corners: Vec<char> = self.theme.glyph(Glyph::Corners).chars().collect();
        let line = self.theme.glyph(Glyph::Line).repeat(usize::from(w.saturating_sub(2)));
        let bar = self.theme.glyph(Glyph::Bar);
        let at = |i: usize| corners.get(i).copied().unwrap_or('+');
        self.put(0, 0, Role::Dim, &format!("{}{line}{}", at(0), at(1)));
        for y in 1..h.saturating_sub(1) {
            self.put(0, y, Role::Dim, bar);
            self.put(w.saturating_sub(1), y, Role::Dim, bar);
        }
        self.put(0, h.saturating_sub(1), Role::Dim, &format!("{}{line}{}", at(2), at(3)));
        let title = fit(&format!(" {title} "), usize::from(w.saturating_sub(4)), &self.theme);
        self.put(2, 0, Role::Title, &title);
        self.part(2, 1, w.saturating_sub(4), h.saturating_sub(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_texts_cannot_steer_the_terminal() {
        assert_eq!(clean("a\x1b[31mb\u{202e}c\u{9b}d\te"), "a[31mbcde");
        assert_eq!(clean("plain ä"), "plain ä");
    }

    #[test]
    fn long_names_keep_their_end() {
        let theme = Theme {
            depth: crate::tui::theme::Depth::Mono,
            ground: crate::tui::theme::Ground::Either,
            unicode: true,
            reader: false,
        };
        assert_eq!(fit_middle("ufw-after-logging-input", 17, &theme), "ufw-aft…ing-input");
        assert_eq!(fit_middle("INPUT", 17, &theme), "INPUT");
        assert_eq!(fit_middle("ufw-after", 5, &theme), "ufw-…");
    }

    #[test]
    fn words_wrap() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("a\nb", 8), ["a", "b"]);
        assert!(wrap(&"x".repeat(50), 10).iter().all(|l| l.len() <= 10));
    }
}
