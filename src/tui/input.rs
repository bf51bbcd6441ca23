//! Decodes bytes from the terminal into keys, pastes and mouse events.
//!
//! Answers of the terminal (also to questions of earlier programs) arrive in the same stream as keys, and a slow link
//! cuts sequences anywhere. So the decoder keeps what is incomplete and drops unknown sequences as a whole (ECMA-48
//! section 5.4: a control sequence ends with a byte from 0x40 to 0x7e).

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::mpsc::Sender;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What the operator did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A key.
    Key(KeyEvent),
    /// Pasted text (bracketed paste).
    Paste(String),
    /// The wheel at a cell: lines down, negative up.
    Wheel(u16, u16, i32),
    /// A click on a cell (column, row from 0).
    Click(u16, u16),
    /// The terminal is gone.
    Gone,
}

/// A lone escape byte is the Escape key if nothing follows within this many milliseconds.
const ESCAPE_WAIT_MS: i64 = 60;

/// Pastes longer than this are cut.
const MAX_PASTE: usize = 64 * 1024;

/// Reads a terminal until it is gone; sleeps in the kernel while nothing happens.
pub fn pump<E: From<Input>>(mut tty: impl Read + AsFd, to: &Sender<E>) {
    let mut decoder = Decoder::default();
    let mut bytes = [0u8; 4096];
    loop {
        let wait = decoder.waits_for_escape().then_some(Timespec { tv_sec: 0, tv_nsec: ESCAPE_WAIT_MS * 1_000_000 });
        let ready = poll(&mut [PollFd::from_borrowed_fd(tty.as_fd(), PollFlags::IN)], wait.as_ref());
        let events = match ready {
            Ok(0) => decoder.rest(),
            Ok(_) => match tty.read(&mut bytes) {
                Ok(0) => vec![Input::Gone],
                Ok(n) => decoder.feed(&bytes[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => vec![Input::Gone],
            },
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => vec![Input::Gone],
        };
        for e in events {
            let gone = e == Input::Gone;
            if to.send(E::from(e)).is_err() || gone {
                return;
            }
        }
    }
}

/// Turns bytes into events, however the bytes are split.
#[derive(Default)]
pub struct Decoder {
    held: Vec<u8>,
    paste: Option<Vec<u8>>,
    /// The last event was an Escape key from a lone byte: a control sequence may have been split there.
    after_escape: bool,
}

/// How the pending bytes start.
enum Front {
    /// An incomplete sequence.
    More,
    /// The length of a sequence, and its meaning.
    Done(usize, Option<Input>),
}

impl Decoder {
    /// Takes bytes and returns the events that are complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Input> {
        if std::mem::take(&mut self.after_escape)
            && bytes.len() > 1
            && matches!(bytes[0], b'[' | b'O' | b']' | b'P' | b'_' | b'^')
        {
            self.held.push(0x1b);
        }
        self.held.extend_from_slice(bytes);
        let mut out = Vec::new();
        loop {
            if self.paste.is_some() {
                match self.take_paste() {
                    Some(text) => out.push(Input::Paste(text)),
                    None => return out,
                }
            }
            if self.held.is_empty() {
                return out;
            }
            match front(&self.held) {
                Front::More => return out,
                Front::Done(n, event) => {
                    let begin = self.held.starts_with(b"\x1b[200~");
                    self.held.drain(..n.min(self.held.len()));
                    if begin {
                        self.paste = Some(Vec::new());
                    }
                    out.extend(event);
                }
            }
        }
    }

    /// Whether a lone escape byte is pending: the caller waits a moment, then calls [`Decoder::rest`].
    pub fn waits_for_escape(&self) -> bool {
        self.paste.is_none() && self.held == [0x1b]
    }

    /// Nothing followed the escape byte, so it was the key.
    pub fn rest(&mut self) -> Vec<Input> {
        if !self.waits_for_escape() {
            return Vec::new();
        }
        self.held.clear();
        self.after_escape = true;
        vec![key(KeyCode::Esc, KeyModifiers::NONE)]
    }

    fn take_paste(&mut self) -> Option<String> {
        const END: &[u8] = b"\x1b[201~";
        let text = self.paste.as_mut()?;
        text.append(&mut self.held);
        let at = text.windows(END.len()).position(|w| w == END)?;
        self.held = text.split_off(at + END.len());
        text.truncate(at.min(MAX_PASTE));
        self.paste.take().map(|t| String::from_utf8_lossy(&t).into_owned())
    }
}

fn key(code: KeyCode, mods: KeyModifiers) -> Input {
    Input::Key(KeyEvent::new(code, mods))
}

fn front(b: &[u8]) -> Front {
    match b[0] {
        0x1b => escape(b),
        0x00 => Front::Done(1, Some(key(KeyCode::Char(' '), KeyModifiers::CONTROL))),
        b'\r' | b'\n' => Front::Done(1, Some(key(KeyCode::Enter, KeyModifiers::NONE))),
        b'\t' => Front::Done(1, Some(key(KeyCode::Tab, KeyModifiers::NONE))),
        0x7f | 0x08 => Front::Done(1, Some(key(KeyCode::Backspace, KeyModifiers::NONE))),
        c @ 1..=0x1a => Front::Done(1, Some(key(KeyCode::Char((c - 1 + b'a') as char), KeyModifiers::CONTROL))),
        0x1c..=0x1f => Front::Done(1, None),
        _ => character(b),
    }
}

fn character(b: &[u8]) -> Front {
    let len = match b[0] {
        0..=0x7f => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Front::Done(1, None),
    };
    let good = b[1..].iter().take(len - 1).take_while(|&&c| c & 0xc0 == 0x80).count();
    if good < len - 1 {
        return if b.len() > good + 1 { Front::Done(good + 1, None) } else { Front::More };
    }
    let event = std::str::from_utf8(&b[..len])
        .ok()
        .and_then(|s| s.chars().next())
        .filter(|c| !c.is_control())
        .map(|c| key(KeyCode::Char(c), if c.is_uppercase() { KeyModifiers::SHIFT } else { KeyModifiers::NONE }));
    Front::Done(len, event)
}

fn escape(b: &[u8]) -> Front {
    match b.get(1) {
        None => Front::More,
        Some(b'[') => control_sequence(b),
        Some(b'O') => match b.get(2) {
            None => Front::More,
            Some(&c) => Front::Done(3, letter(c).map(|k| key(k, KeyModifiers::NONE))),
        },
        // Operating system command, device control, privacy message, application command: up to BEL or ST.
        Some(b']' | b'P' | b'^' | b'_' | b'X') => {
            let end = b
                .iter()
                .position(|&c| c == 0x07)
                .map(|n| n + 1)
                .or_else(|| b.windows(2).skip(1).position(|w| w == b"\x1b\\").map(|n| n + 3));
            end.map_or(Front::More, |n| Front::Done(n, None))
        }
        Some(0x1b) => Front::Done(1, Some(key(KeyCode::Esc, KeyModifiers::NONE))),
        Some(_) => match front(&b[1..]) {
            Front::More => Front::More,
            Front::Done(n, Some(Input::Key(k))) => {
                Front::Done(n + 1, Some(key(k.code, k.modifiers | KeyModifiers::ALT)))
            }
            Front::Done(n, other) => Front::Done(n + 1, other),
        },
    }
}

fn control_sequence(b: &[u8]) -> Front {
    // The Linux console's F1 to F5: ESC [ [ A to E
    if b.get(2) == Some(&b'[') {
        let function = |c: u8| c.is_ascii_uppercase().then(|| key(KeyCode::F(c - b'A' + 1), KeyModifiers::NONE));
        return b.get(3).map_or(Front::More, |&c| Front::Done(4, function(c)));
    }
    let Some(end) = b[2..].iter().position(|c| (0x40..=0x7e).contains(c)).map(|n| n + 2) else {
        // No terminal sends a sequence this long, so this is something else.
        return if b.len() > 512 { Front::Done(b.len(), None) } else { Front::More };
    };
    let body = &b[2..end];
    if let Some(bad) = body.iter().position(|c| !(0x20..=0x3f).contains(c)) {
        return Front::Done(bad + 2, None);
    }
    let params: Vec<u16> =
        String::from_utf8_lossy(body).trim_start_matches('<').split(';').map(|p| p.parse().unwrap_or(0)).collect();
    let first = params.first().copied().unwrap_or(0);
    let event = match b[end] {
        _ if body.first() == Some(&b'<') => mouse(&params, b[end]),
        // Answers (`?`, `>`, `=`) and reports are never keys.
        _ if body.first().is_some_and(|c| (0x3c..=0x3f).contains(c)) => None,
        b'~' => numbered(first).map(|k| key(k, modifiers(&params))),
        b'Z' => Some(key(KeyCode::BackTab, KeyModifiers::SHIFT)),
        // `R` with two numbers is a cursor position report.
        b'R' => None,
        c if body.is_empty() || (params.len() == 2 && first == 1) => letter(c).map(|k| key(k, modifiers(&params))),
        _ => None,
    };
    Front::Done(end + 1, event)
}

fn mouse(p: &[u16], kind: u8) -> Option<Input> {
    let [button, x, y] = *p else { return None };
    let (x, y) = (x.checked_sub(1)?, y.checked_sub(1)?);
    match button {
        64 => Some(Input::Wheel(x, y, -3)),
        65 => Some(Input::Wheel(x, y, 3)),
        0 if kind == b'M' => Some(Input::Click(x, y)),
        _ => None,
    }
}

fn letter(c: u8) -> Option<KeyCode> {
    Some(match c {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'H' => KeyCode::Home,
        b'F' => KeyCode::End,
        b'P'..=b'S' => KeyCode::F(c - b'P' + 1),
        b'M' => KeyCode::Enter,
        _ => return None,
    })
}

fn numbered(n: u16) -> Option<KeyCode> {
    Some(match n {
        1 | 7 => KeyCode::Home,
        3 => KeyCode::Delete,
        4 | 8 => KeyCode::End,
        5 => KeyCode::PageUp,
        6 => KeyCode::PageDown,
        // xterm leaves out 16 and 22, where the VT220's keyboard had gaps.
        11..=15 => KeyCode::F(n as u8 - 10),
        17..=21 => KeyCode::F(n as u8 - 11),
        23 | 24 => KeyCode::F(n as u8 - 12),
        _ => return None,
    })
}

/// xterm's modifier parameter: 1 + shift 1, alt 2, control 4.
fn modifiers(params: &[u16]) -> KeyModifiers {
    let bits = params.get(1).copied().unwrap_or(1).saturating_sub(1);
    let mut m = KeyModifiers::NONE;
    m.set(KeyModifiers::SHIFT, bits & 1 != 0);
    m.set(KeyModifiers::ALT, bits & 2 != 0);
    m.set(KeyModifiers::CONTROL, bits & 4 != 0);
    m
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(bytes: &[u8]) -> Vec<KeyCode> {
        Decoder::default()
            .feed(bytes)
            .into_iter()
            .filter_map(|e| if let Input::Key(k) = e { Some(k.code) } else { None })
            .collect()
    }

    #[test]
    fn keys_mouse_and_paste() {
        assert_eq!(
            codes(b"a\x1b[A\x1bOB\x1b[5~\r\x7f"),
            [KeyCode::Char('a'), KeyCode::Up, KeyCode::Down, KeyCode::PageUp, KeyCode::Enter, KeyCode::Backspace]
        );
        assert_eq!(codes(b"\x1bOP\x1bOS\x1b[15~\x1b[17~\x1b[24~\x1b[[A"), [1, 4, 5, 6, 12, 1].map(KeyCode::F));
        assert_eq!(codes("ä€".as_bytes()), [KeyCode::Char('ä'), KeyCode::Char('€')]);
        let mut d = Decoder::default();
        assert_eq!(d.feed(b"\x1b[<65;3;4M\x1b[<0;1;1M\x1b[<0;1;1m"), [Input::Wheel(2, 3, 3), Input::Click(0, 0)]);
        assert_eq!(d.feed(b"\x1b[200~192.0.2.1\nq\x1b[201~"), [Input::Paste("192.0.2.1\nq".into())]);
        assert_eq!(d.feed(b"\x10"), [key(KeyCode::Char('p'), KeyModifiers::CONTROL)]);
    }

    #[test]
    fn answers_of_the_terminal_are_never_input() {
        for answer in [
            &b"\x1b[?62;22c"[..],
            b"\x1b[>0;276;0c",
            b"\x1b[24;80R",
            b"\x1b]11;rgb:0000/0000/0000\x07",
            b"\x1bP1+r544e\x1b\\",
            b"\x1b[?2026;2$y",
        ] {
            for cut in 0..answer.len() {
                let mut d = Decoder::default();
                let mut seen = d.feed(&answer[..cut]);
                // The link stalls here for longer than the escape wait.
                seen.extend(d.rest());
                seen.extend(d.feed(&answer[cut..]));
                seen.retain(|e| !matches!(e, Input::Key(k) if k.code == KeyCode::Esc));
                assert_eq!(seen, [], "{answer:?} cut at {cut}");
                assert_eq!(d.feed(b"x"), [key(KeyCode::Char('x'), KeyModifiers::NONE)]);
            }
        }
    }

    #[test]
    fn a_cut_arrow_is_still_an_arrow() {
        let mut d = Decoder::default();
        assert_eq!(d.feed(b"\x1b"), []);
        assert!(d.waits_for_escape());
        assert_eq!(d.feed(b"[B"), [key(KeyCode::Down, KeyModifiers::NONE)]);
        d.feed(b"\x1b");
        assert_eq!(d.rest(), [key(KeyCode::Esc, KeyModifiers::NONE)]);
        assert_eq!(d.feed(b"["), [key(KeyCode::Char('['), KeyModifiers::NONE)]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_in_any_pieces(bytes: Vec<u8>, at: usize) {
            let mut d = Decoder::default();
            let at = at % (bytes.len() + 1);
            d.feed(&bytes[..at]);
            d.feed(&bytes[at..]);
            d.rest();
        }
    }
}
