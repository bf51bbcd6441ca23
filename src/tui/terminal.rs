//! The terminal: taken over, restored (also after a panic), and updated with few bytes.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::sync::Once;
use std::thread;

use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::app::Picture;

/// Alternate screen, no cursor, bracketed paste (xterm's ctlseqs).
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[0m\x1b[2J";
/// Clicks and wheel; no motion reports.
const MOUSE: &[u8] = b"\x1b[?1000h\x1b[?1006h";
const LEAVE: &[u8] = b"\x1b[0m\x1b[?1006l\x1b[?1000l\x1b[?2004l\x1b[?25h\x1b[?1049l";

/// A terminal that the cockpit has taken over.
pub struct Terminal {
    tty: File,
    before: Termios,
    held: bool,
    mouse: bool,
    shown: Buffer,
    cursor: Option<(u16, u16)>,
    out: Vec<u8>,
}

/// The controlling terminal, for keys: standard input, or /dev/tty when that is a pipe.
pub fn keys() -> io::Result<File> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Ok(File::from(rustix::io::dup(&stdin)?));
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(|_| io::Error::other("there is no terminal to read keys from"))
}

impl Terminal {
    /// Takes over the terminal. A panic on this thread restores it before the message is printed.
    pub fn take(mouse: bool) -> io::Result<Self> {
        let stdout = io::stdout();
        let tty = if stdout.is_terminal() {
            File::from(rustix::io::dup(&stdout)?)
        } else {
            return Err(io::Error::other("standard output is not a terminal"));
        };
        let before = tcgetattr(&tty)?;
        give_back_on_panic(&tty, before.clone())?;
        let mut t =
            Self { tty, before, held: false, mouse, shown: Buffer::empty(Rect::ZERO), cursor: None, out: Vec::new() };
        t.hold()?;
        Ok(t)
    }

    /// Sets raw mode and the alternate screen; also after a suspend.
    pub fn hold(&mut self) -> io::Result<()> {
        let mut raw = self.before.clone();
        raw.make_raw();
        tcsetattr(&self.tty, OptionalActions::Now, &raw)?;
        self.held = true;
        self.forget();
        self.tty.write_all(ENTER)?;
        if self.mouse { self.tty.write_all(MOUSE) } else { Ok(()) }
    }

    /// Restores the terminal.
    pub fn release(&mut self) {
        if std::mem::take(&mut self.held) {
            // The terminal may be gone; then there is nothing to restore.
            let _ = self.tty.write_all(LEAVE);
            let _ = tcsetattr(&self.tty, OptionalActions::Now, &self.before);
        }
    }

    /// The size in cells; 80x24 when the terminal does not report one.
    pub fn area(&self) -> Rect {
        match tcgetwinsize(&self.tty) {
            Ok(s) if s.ws_col > 0 && s.ws_row > 0 => Rect::new(0, 0, s.ws_col, s.ws_row),
            _ => Rect::new(0, 0, 80, 24),
        }
    }

    /// Shows a picture: writes only what differs from the last one, in a single write.
    pub fn show(&mut self, next: Picture) -> io::Result<()> {
        self.out.clear();
        let Picture { cells: next, cursor } = next;
        if self.shown.area != next.area {
            self.out.extend_from_slice(b"\x1b[0m\x1b[2J");
            self.shown = Buffer::empty(next.area);
        }
        write_difference(&self.shown, &next, &mut self.out);
        // Writing the cells moved the cursor.
        if cursor != self.cursor || (cursor.is_some() && !self.out.is_empty()) {
            match cursor {
                Some((x, y)) => self.out.extend_from_slice(
                    format!("\x1b[{};{}H{}", y + 1, x + 1, if self.cursor.is_none() { "\x1b[?25h" } else { "" })
                        .as_bytes(),
                ),
                None => self.out.extend_from_slice(b"\x1b[?25l"),
            }
            self.cursor = cursor;
        }
        self.shown = next;
        if self.out.is_empty() { Ok(()) } else { self.tty.write_all(&self.out) }
    }

    /// Puts text on the clipboard of the operator's terminal (OSC 52).
    pub fn copy(&mut self, text: &str) -> io::Result<()> {
        write!(self.tty, "\x1b]52;c;{}\x07", base64(text.as_bytes()))
    }

    /// Makes the next picture a full redraw.
    pub fn forget(&mut self) {
        self.shown = Buffer::empty(Rect::ZERO);
        self.cursor = None;
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.release();
    }
}

fn give_back_on_panic(tty: &File, before: Termios) -> io::Result<()> {
    static ONCE: Once = Once::new();
    let mut tty = tty.try_clone()?;
    let screen = thread::current().id();
    ONCE.call_once(|| {
        let default = std::panic::take_hook();
        let tty = std::sync::Mutex::new((tty.try_clone(), before));
        std::panic::set_hook(Box::new(move |info| {
            // Panics of worker threads become a message on the screen, so the terminal is not restored for them.
            if thread::current().id() != screen {
                return;
            }
            if let Ok(mut held) = tty.lock() {
                let (tty, before) = &mut *held;
                if let Ok(tty) = tty {
                    let _ = tty.write_all(LEAVE);
                    let _ = tcsetattr(&*tty, OptionalActions::Now, before);
                }
            }
            default(info);
        }));
    });
    tty.flush()
}

/// The pen: the style that the terminal would write with now.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Pen {
    fg: Color,
    bg: Color,
    modifier: Modifier,
}

const PLAIN: Pen = Pen { fg: Color::Reset, bg: Color::Reset, modifier: Modifier::empty() };

/// Writes the cells in which `next` differs. The pen is plain before and after.
pub fn write_difference(shown: &Buffer, next: &Buffer, out: &mut Vec<u8>) {
    let mut pen = PLAIN;
    let mut at: Option<(u16, u16)> = None;
    let mut changes = shown.diff(next).into_iter().peekable();
    while let Some((x, y, cell)) = changes.next() {
        if at != Some((x, y)) {
            move_to(at, (x, y), next, &mut pen, out);
        }
        // The empty rest of a line is one short sequence.
        if is_blank(cell) {
            let right = next.area.right();
            if right - x > 4 && (x..right).all(|c| is_blank(&next[(c, y)])) {
                set_pen(&mut pen, PLAIN, out);
                out.extend_from_slice(b"\x1b[K");
                while changes.next_if(|&(_, ny, _)| ny == y).is_some() {}
                at = Some((x, y));
                continue;
            }
        }
        set_pen(&mut pen, Pen { fg: cell.fg, bg: cell.bg, modifier: cell.modifier }, out);
        out.extend_from_slice(cell.symbol().as_bytes());
        let wide = unicode_width::UnicodeWidthStr::width(cell.symbol()).max(1) as u16;
        // After the last column, terminals differ in where the cursor is.
        at = (x + wide < next.area.right()).then_some((x + wide, y));
    }
    set_pen(&mut pen, PLAIN, out);
}

fn is_blank(cell: &Cell) -> bool {
    cell.symbol() == " "
        && cell.bg == Color::Reset
        && !cell.modifier.intersects(Modifier::REVERSED | Modifier::UNDERLINED)
}

fn move_to(from: Option<(u16, u16)>, to: (u16, u16), next: &Buffer, pen: &mut Pen, out: &mut Vec<u8>) {
    if let Some((fx, fy)) = from
        && fy == to.1
        && to.0 > fx
    {
        let gap = to.0 - fx;
        // Writing a few unchanged plain cells again is shorter than moving the cursor.
        let same = (fx..to.0).all(|x| {
            let c = &next[(x, fy)];
            c.symbol().len() == 1 && Pen { fg: c.fg, bg: c.bg, modifier: c.modifier } == *pen
        });
        if gap <= 3 && same {
            for x in fx..to.0 {
                out.extend_from_slice(next[(x, fy)].symbol().as_bytes());
            }
        } else {
            out.extend_from_slice(format!("\x1b[{gap}C").as_bytes());
        }
        return;
    }
    let (x, y) = (to.0 + 1, to.1 + 1);
    if x == 1 {
        out.extend_from_slice(format!("\x1b[{y}H").as_bytes());
    } else {
        out.extend_from_slice(format!("\x1b[{y};{x}H").as_bytes());
    }
}

/// Selects a graphic rendition (ECMA-48 SGR) with the fewest parameters.
fn set_pen(pen: &mut Pen, want: Pen, out: &mut Vec<u8>) {
    if *pen == want {
        return;
    }
    let mut codes: Vec<String> = Vec::new();
    let gone = pen.modifier - want.modifier;
    if want == PLAIN || !gone.is_empty() {
        codes.push(String::new());
        *pen = PLAIN;
    }
    let on = want.modifier - pen.modifier;
    for (m, code) in [
        (Modifier::BOLD, "1"),
        (Modifier::DIM, "2"),
        (Modifier::ITALIC, "3"),
        (Modifier::UNDERLINED, "4"),
        (Modifier::REVERSED, "7"),
    ] {
        if on.contains(m) {
            codes.push(code.to_owned());
        }
    }
    if want.fg != pen.fg {
        codes.push(colour(want.fg, 30));
    }
    if want.bg != pen.bg {
        codes.push(colour(want.bg, 40));
    }
    out.extend_from_slice(b"\x1b[");
    out.extend_from_slice(codes.join(";").as_bytes());
    out.push(b'm');
    *pen = want;
}

fn colour(c: Color, base: u8) -> String {
    let n = match c {
        Color::Reset => return (base + 9).to_string(),
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::Gray => 7,
        Color::DarkGray => 60,
        Color::LightRed => 61,
        Color::LightGreen => 62,
        Color::LightYellow => 63,
        Color::LightBlue => 64,
        Color::LightMagenta => 65,
        Color::LightCyan => 66,
        Color::White => 67,
        Color::Indexed(i) => return format!("{};5;{i}", base + 8),
        Color::Rgb(r, g, b) => return format!("{};2;{r};{g};{b}", base + 8),
    };
    (base + n).to_string()
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let n = chunk.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            out.push(if i <= chunk.len() { SIGNS[(n >> (18 - 6 * i) & 63) as usize] as char } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use ratatui::style::Style;

    use super::*;

    /// Draws both pictures into a terminal emulator through the difference and compares.
    fn check(first: &Buffer, second: &Buffer) -> usize {
        let area = second.area;
        let mut emulator = vt100::Parser::new(area.height.try_into().unwrap(), area.width.try_into().unwrap(), 0);
        let mut out = Vec::new();
        write_difference(&Buffer::empty(area), first, &mut out);
        emulator.process(&out);
        out.clear();
        write_difference(first, second, &mut out);
        emulator.process(&out);
        let screen = emulator.screen();
        for y in 0..area.height {
            for x in 0..area.width {
                let (want, got) = (&second[(x, y)], screen.cell(y, x).unwrap());
                let shown = if got.has_contents() { got.contents() } else { " " };
                assert_eq!(want.symbol(), shown, "at {x},{y}");
                if shown != " " {
                    assert_eq!(want.modifier.contains(Modifier::BOLD), got.bold());
                }
                assert_eq!(want.modifier.contains(Modifier::REVERSED), got.inverse());
            }
        }
        out.len()
    }

    #[test]
    fn only_what_changed_is_written() {
        let area = Rect::new(0, 0, 80, 24);
        let mut a = Buffer::empty(area);
        for y in 0..24 {
            a.set_string(0, y, format!("  line {y} with some text in it that is long enough to matter"), Style::new());
        }
        let mut b = a.clone();
        b.set_string(0, 5, "▸ line 5", Style::new().add_modifier(Modifier::BOLD));
        assert!(check(&a, &b) < 32);
        b.set_string(10, 7, " ".repeat(70), Style::new());
        b.set_string(70, 8, "at the end", Style::new().fg(Color::Red));
        b.set_string(0, 9, "x", Style::new().add_modifier(Modifier::REVERSED));
        check(&a, &b);
        check(&b, &a);
    }

    #[test]
    fn base64_as_in_the_rfc() {
        for (text, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(text.as_bytes()), coded);
        }
    }
}
