//! Colours and glyphs by role. Only this file names a colour; every role also has a glyph or a word, so that nothing is
//! lost without colours (<https://no-color.org>) or UTF-8.

use ratatui::style::{Color, Modifier, Style};

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Plain text.
    Text,
    /// Less important.
    Dim,
    /// Headings and the selected tab.
    Title,
    /// The row at the cursor.
    Selected,
    /// A key in the footer.
    Key,
    /// Open to strangers, or lost.
    Open,
    /// Open to some, or not certain.
    Partial,
    /// Closed, or done.
    Closed,
    /// Something failed.
    Error,
    /// Who owns a chain.
    Owner,
    /// An added line.
    Added,
    /// A removed line.
    Removed,
    /// A banner across the width.
    Banner,
    /// A text field.
    Field,
    /// A match of the search.
    Found,
}

/// How many colours the terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// None: bold, dim and reverse only.
    Mono,
    /// The sixteen of the terminal's own palette.
    Sixteen,
    /// The 256 of xterm.
    Many,
}

/// The background that colours must be readable on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Not known: colours that are readable on both.
    Either,
    /// Dark.
    Dark,
    /// Light.
    Light,
}

/// Colours and glyphs in use.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    /// Colours.
    pub depth: Depth,
    /// The terminal's background.
    pub ground: Ground,
    /// Whether glyphs outside ASCII are allowed.
    pub unicode: bool,
    /// For a screen reader: no frames or bars, and the terminal's cursor is at the selection.
    pub reader: bool,
}

impl Theme {
    /// From the environment: `NO_COLOR`, `TERM`, `COLORTERM`, `LC_ALL`/`LC_CTYPE`/`LANG`.
    pub fn from_env(var: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name| var(name).filter(|v| !v.is_empty());
        let term = set("TERM").unwrap_or_default();
        let depth = if set("NO_COLOR").is_some() || term == "dumb" || term.starts_with("vt1") || term.starts_with("vt2")
        {
            Depth::Mono
        } else if term.contains("256") || set("COLORTERM").is_some() {
            Depth::Many
        } else {
            Depth::Sixteen
        };
        // rxvt, Konsole and others: `foreground;background` by number; 7 and 15 are light.
        let ground = match set("COLORFGBG").as_deref().and_then(|v| v.rsplit(';').next()) {
            Some("7" | "15") => Ground::Light,
            Some(_) => Ground::Dark,
            None => Ground::Either,
        };
        let locale =
            set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default().to_ascii_uppercase();
        // Almost every terminal shows UTF-8, even if no locale is set (a bare ssh session).
        let unicode = term != "linux" && (locale.is_empty() || locale.contains("UTF-8") || locale.contains("UTF8"));
        Self { depth, ground, unicode, reader: false }
    }

    /// Applies a theme by name: `auto`, `dark`, `light`, `16`, `none`; returns whether the name is known.
    pub fn choose(&mut self, name: &str) -> bool {
        // NO_COLOR overrides a file.
        let coloured = self.depth != Depth::Mono;
        match name {
            "dark" => self.ground = Ground::Dark,
            "light" => self.ground = Ground::Light,
            "auto" => {}
            "16" => self.depth = if coloured { Depth::Sixteen } else { Depth::Mono },
            "none" => self.depth = Depth::Mono,
            _ => return false,
        }
        true
    }

    /// The style of a role. The terminal's own background and text colour are kept, because it may be light.
    pub fn style(&self, role: Role) -> Style {
        let plain = Style::new();
        // From the 256: for either background, for a dark one, for a light one.
        let (sixteen, many) = match role {
            Role::Text | Role::Selected | Role::Title | Role::Dim | Role::Banner => (None, None),
            Role::Open | Role::Error | Role::Removed => (Some(Color::Red), Some([160, 203, 124])),
            Role::Partial => (Some(Color::Yellow), Some([172, 214, 130])),
            Role::Closed | Role::Added => (Some(Color::Green), Some([34, 77, 22])),
            Role::Owner => (Some(Color::Magenta), Some([133, 176, 90])),
            Role::Key | Role::Field | Role::Found => (Some(Color::Cyan), Some([37, 80, 24])),
        };
        let tone = match self.ground {
            Ground::Either => 0,
            Ground::Dark => 1,
            Ground::Light => 2,
        };
        // The palette's yellow and cyan are unreadable on white.
        let sixteen = match sixteen {
            Some(Color::Yellow) if self.ground == Ground::Light => Some(Color::Magenta),
            Some(Color::Cyan | Color::Magenta) if self.ground == Ground::Light => Some(Color::Blue),
            other => other,
        };
        let style = match self.depth {
            Depth::Mono => plain,
            Depth::Sixteen => sixteen.map_or(plain, |c| plain.fg(c)),
            Depth::Many => many.map_or(plain, |c| plain.fg(Color::Indexed(c[tone]))),
        };
        match role {
            Role::Dim => style.add_modifier(Modifier::DIM),
            Role::Title | Role::Key | Role::Selected | Role::Error => style.add_modifier(Modifier::BOLD),
            Role::Banner => style.add_modifier(Modifier::REVERSED),
            Role::Field | Role::Found => style.add_modifier(Modifier::UNDERLINED),
            _ => style,
        }
    }

    /// A glyph, or its ASCII replacement.
    pub fn glyph(&self, glyph: Glyph) -> &'static str {
        let (nice, ascii) = match glyph {
            Glyph::Cursor => ("▸", ">"),
            Glyph::Anyone => ("●", "*"),
            Glyph::Some => ("◐", "o"),
            Glyph::Nobody => ("○", "-"),
            Glyph::Unsure => ("?", "?"),
            Glyph::Yes => ("✓", "+"),
            Glyph::No => ("✗", "x"),
            Glyph::Line => ("─", "-"),
            Glyph::Bar => ("│", "|"),
            Glyph::Corners => ("╭╮╰╯", "++++"),
            Glyph::Arrow => ("→", "->"),
            Glyph::Dot => ("·", "|"),
            Glyph::Enter => ("⏎", "enter"),
            Glyph::Up => ("↑", "^"),
            Glyph::Down => ("↓", "v"),
            Glyph::Cut => ("…", "~"),
            Glyph::Full => ("█", "#"),
            Glyph::Empty => ("░", "."),
            Glyph::Into => ("├─", "+-"),
            Glyph::Last => ("╰─", "+-"),
            Glyph::Step => ("▼", "v"),
            Glyph::Hit => ("◆", "*"),
        };
        match glyph {
            // Purely decorative glyphs would be read aloud.
            Glyph::Line | Glyph::Bar | Glyph::Corners | Glyph::Full | Glyph::Empty if self.reader => "",
            Glyph::Yes if self.reader => "good:",
            Glyph::No if self.reader => "bad:",
            _ if self.unicode => nice,
            _ => ascii,
        }
    }
}

/// The glyphs of the screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table in Theme::glyph shows each")]
pub enum Glyph {
    Cursor,
    Anyone,
    Some,
    Nobody,
    Unsure,
    Yes,
    No,
    Line,
    Bar,
    Corners,
    Arrow,
    Dot,
    Enter,
    Up,
    Down,
    Cut,
    Full,
    Empty,
    Into,
    Last,
    Step,
    Hit,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn theme(vars: &[(&str, &str)]) -> Theme {
        Theme::from_env(|n| vars.iter().find(|(k, _)| *k == n).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn the_environment_decides() {
        let t = theme(&[("TERM", "xterm-256color"), ("LANG", "de_DE.UTF-8")]);
        assert!(t.depth == Depth::Many && t.unicode);
        let t = theme(&[("TERM", "xterm"), ("LANG", "C")]);
        assert!(t.depth == Depth::Sixteen && !t.unicode);
        assert_eq!(theme(&[("TERM", "xterm-256color"), ("NO_COLOR", "1")]).depth, Depth::Mono);
        assert!(theme(&[("TERM", "xterm"), ("NO_COLOR", "")]).depth == Depth::Sixteen);
        assert_eq!(theme(&[("TERM", "rxvt"), ("COLORFGBG", "0;15")]).ground, Ground::Light);
        let light = theme(&[("TERM", "xterm"), ("COLORFGBG", "0;15")]);
        assert_eq!(
            (light.style(Role::Partial).fg, light.style(Role::Key).fg),
            (Some(Color::Magenta), Some(Color::Blue))
        );
        let mut bare = theme(&[("TERM", "xterm-256color"), ("NO_COLOR", "1")]);
        assert!(bare.choose("16") && bare.depth == Depth::Mono && !bare.choose("pink"));
    }
}
