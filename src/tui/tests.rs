//! The whole cockpit on the demo host: pictures of every screen and popup, and stories.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod checks;
mod guide;
mod keys;
mod trials;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::app::{App, Turn};
use super::config::Config;
use super::facts::TrialSeen;
use super::input::Input;
use super::keymap::{Action, Place};
use super::planned;
use super::protocol::{Change, Draft, Reply, Request};
use super::theme::{Depth, Ground, Theme};
use super::worker::{Subject, Worker};
use crate::model::{FileOrigin, Plan, TrialPhase, Whose};

/// A cockpit with its worker, driven by keys.
struct Cockpit {
    app: App,
    to: Worker,
    from: Receiver<Reply>,
}

impl Cockpit {
    fn on(subject: Subject, w: u16, h: u16, guide: bool) -> Self {
        Self::with(subject, usual(), w, h, guide)
    }

    fn with(subject: Subject, config: Config, w: u16, h: u16, guide: bool) -> Self {
        Self::of(|out| Worker::start_without_drafts(subject, out).unwrap(), config, w, h, guide)
    }

    fn of(worker: impl FnOnce(Sender<Reply>) -> Worker, config: Config, w: u16, h: u16, guide: bool) -> Self {
        let (out, from) = channel();
        let to = worker(out);
        let mut c = Self { app: App::new(config, Rect::new(0, 0, w, h), guide), to, from };
        c.until(|a| a.shared.facts.planned.is_some());
        c.app.draw();
        c
    }

    fn demo(w: u16, h: u16) -> Self {
        Self::on(Subject::Demo, w, h, false)
    }

    /// Takes answers of the worker until something holds; a test that hangs says on which screen.
    fn until(&mut self, holds: impl Fn(&App) -> bool) {
        loop {
            self.app.settle();
            for r in std::mem::take(&mut self.app.requests) {
                assert!(self.to.send(r));
            }
            if holds(&self.app) {
                return;
            }
            match self.from.recv_timeout(Duration::from_secs(20)) {
                Ok(r) => self.app.reply(r),
                Err(e) => panic!("{e}; the screen:\n{}", text(&self.app.draw().cells)),
            }
        }
    }

    /// Presses keys by name: `"p"`, `"enter"`, `"text:192.0.2.11"`.
    fn press(&mut self, keys: &[&str]) -> &mut Self {
        for k in keys {
            if let Some(t) = k.strip_prefix("text:") {
                for c in t.chars() {
                    self.app.input(Input::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)));
                }
                continue;
            }
            let code = match *k {
                "enter" => KeyCode::Enter,
                "esc" => KeyCode::Esc,
                "tab" => KeyCode::Tab,
                "down" => KeyCode::Down,
                "up" => KeyCode::Up,
                "backspace" => KeyCode::Backspace,
                c => KeyCode::Char(c.chars().next().unwrap()),
            };
            self.app.input(Input::Key(KeyEvent::new(code, KeyModifiers::NONE)));
            // As the loop does: draws after each key.
            self.app.draw();
        }
        self.until(|a| a.requests.is_empty());
        self
    }

    /// Clicks on a text of the screen.
    fn click(&mut self, on: &str) -> &mut Self {
        let picture = text(&self.app.draw().cells);
        let (y, line) = picture
            .lines()
            .enumerate()
            .find(|(_, l)| l.contains(on))
            .unwrap_or_else(|| panic!("{on} is not on\n{picture}"));
        let x = line[..line.find(on).unwrap()].chars().count();
        self.app.input(Input::Click(x as u16, y as u16));
        self.app.draw();
        self.until(|a| a.requests.is_empty());
        self
    }

    /// Takes answers of the worker until a text is on the screen.
    fn until_shown(&mut self, what: &str) {
        self.until(|a| a.requests.is_empty());
        while !text(&self.app.draw().cells).contains(what) {
            let r = self.from.recv_timeout(Duration::from_secs(20)).unwrap();
            self.app.reply(r);
        }
    }

    fn picture(&mut self) -> String {
        self.until(|a| a.requests.is_empty());
        text(&self.app.draw().cells)
    }
}

fn usual() -> Config {
    Config::usual(Theme { depth: Depth::Many, ground: Ground::Either, unicode: true, reader: false })
}

/// A picture as text, what differs from run to run made the same.
fn text(buf: &Buffer) -> String {
    let mut out = String::new();
    for y in 0..buf.area.height {
        let mut line = String::new();
        for x in 0..buf.area.width {
            line.push_str(buf[(x, y)].symbol());
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    let mut mask =
        |pattern: &str, with: &str| out = regex::Regex::new(pattern).unwrap().replace_all(&out, with).into_owned();
    mask(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "2026-01-01 00:00:00 UTC");
    mask(r"\b1[5-9]\d{8}-\d+", "TRIAL");
    mask(r"(come back in|runs:) \d+ s", "$1 59 s");
    // How much of the bar is left tells how busy the machine is.
    mask("░", "█");
    out
}

/// Pictures of one state at both sizes, beside each other in one file.
fn pictures(name: &str, way: impl Fn(&mut Cockpit)) {
    for (w, h) in [(80, 24), (120, 40)] {
        let mut c = Cockpit::demo(w, h);
        way(&mut c);
        let picture = c.picture();
        assert!(!picture.lines().next().unwrap().contains('…'), "the title is clipped:\n{picture}");
        insta::assert_snapshot!(format!("{name}_{w}x{h}"), picture);
    }
}

const STAGE: &[&str] = &["p", "text:192.0.2.11 2001:db8::11", "enter"];

fn staged(c: &mut Cockpit) {
    c.press(STAGE);
    c.until(|a| a.shared.facts.planned.as_ref().is_some_and(|p| p.plan == a.shared.staged.plan));
}

fn on_trial(c: &mut Cockpit) {
    staged(c);
    c.press(&["3", "y", "enter"]);
    c.until(|a| a.shared.facts.trial_runs() && a.shared.facts.busy.is_none());
}

/// A new login was seen, as the demo host's operator tries one.
fn proven(a: &App) -> bool {
    a.shared.facts.trial.as_ref().is_some_and(|t| t.proof.is_some())
}

/// What was kept is seen, and nothing is under way.
fn at_rest(a: &App) -> bool {
    a.shared.facts.changing.is_none() && a.shared.facts.busy.is_none() && !a.shared.plan_is_new()
}

fn kept(c: &mut Cockpit) {
    on_trial(c);
    c.until(proven);
    c.press(&["k"]);
    c.until(|a| {
        a.shared.facts.trial.as_ref().is_some_and(TrialSeen::is_kept) && !a.shared.facts.past.is_empty() && at_rest(a)
    });
}

/// The guide up to the keep, on the screen of the trial.
fn kept_by_the_guide() -> Cockpit {
    let mut c = Cockpit::on(Subject::Demo, 80, 24, true);
    c.press(&["enter", "enter", "enter", "text:192.0.2.11", "enter", "enter"]);
    c.until(|a| a.shared.facts.planned.as_ref().is_some_and(|p| p.plan == a.shared.staged.plan));
    c.press(&["enter", "enter"]);
    c.until(|a| a.shared.facts.trial_runs() && a.shared.facts.busy.is_none());
    c.until(proven);
    c.press(&["k"]);
    c.until(|a| a.shared.facts.trial.as_ref().is_some_and(TrialSeen::is_kept) && at_rest(a));
    c
}

#[test]
fn services() {
    pictures("services", |_| {});
}

#[test]
fn notes() {
    pictures("notes", |c| {
        c.press(&["i"]);
    });
}

/// Docker behind a closed INPUT: the world gets in, only the bridges do not.
const DOCKER: &str = "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n\
    -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n\
    -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80\nCOMMIT\n\
    *filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:DOCKER - [0:0]\n-A FORWARD -o docker0 -j DOCKER\n\
    -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT\nCOMMIT\n";

fn captured(text: &str, w: u16, h: u16) -> Cockpit {
    let input = crate::observe::capture::Input { name: "rules".into(), text: text.into(), family: None };
    Cockpit::on(Subject::Captured(Box::new(crate::observe::capture::captured(&[input]))), w, h, false)
}

#[test]
fn services_found() {
    pictures("services_found", |c| {
        c.press(&["/", "text:9042", "enter"]);
    });
    // What was searched for gives way, what was found does not.
    let mut c = Cockpit::demo(80, 24);
    staged(&mut c);
    assert!(c.press(&["1", "/", "text:9042", "enter"]).picture().contains(" 1 found, 20 hidden"), "{}", c.picture());
}

#[test]
fn chains() {
    pictures("chains", |c| {
        c.press(&["2", "j", "enter", "enter"]);
    });
}

#[test]
fn nodes_with_a_mistake() {
    pictures("nodes", |c| {
        c.press(&["p", "text:192.0.2.300 ", "enter"]);
    });
}

#[test]
fn plan() {
    pictures("plan", |c| {
        staged(c);
        c.press(&["3"]);
    });
}

#[test]
fn preview() {
    pictures("preview", |c| {
        staged(c);
        c.press(&["v"]);
    });
}

#[test]
fn trace_and_way() {
    let traced = |c: &mut Cockpit| c.until(|a| a.shared.facts.lit.is_some());
    pictures("trace", |c| {
        c.press(&["t"]);
        traced(c);
    });
    pictures("way", |c| {
        c.press(&["w"]);
        traced(c);
    });
}

#[test]
fn help_palette_and_question() {
    pictures("help", |c| {
        c.press(&["?"]);
    });
    pictures("palette", |c| {
        c.press(&[":", "text:rule"]);
    });
    pictures("question", |c| {
        staged(c);
        c.press(&["3", "y"]);
    });
}

#[test]
fn trial_and_history() {
    pictures("trial", on_trial);
    pictures("history", |c| {
        kept(c);
        c.press(&["esc", "4"]);
    });
}

#[test]
fn save() {
    pictures("save", |c| {
        kept(c);
        c.press(&["esc", "3", "s"]);
        c.until_shown("rules.v4");
    });
}

#[test]
fn the_ways_to_save_come_one_after_the_other() {
    let mut c = Cockpit::demo(80, 24);
    kept(&mut c);
    c.press(&["esc", "3", "s"]);
    c.until_shown("rules.v4");
    assert!(c.picture().contains("● all but what managers like Docker rebuild (usual here)"), "{}", c.picture());
    c.press(&["tab"]);
    c.until_shown("● everything that is loaded");
    c.press(&["tab"]);
    c.until_shown("portcullis-rules.service will be written");
    assert!(c.picture().contains("● only portcullis' own chains"), "{}", c.picture());
    c.press(&["enter"]);
    c.until(|a| {
        a.shared
            .note
            .as_ref()
            .is_some_and(|n| n.text.starts_with("saved portcullis' own chains alone: wrote /etc/portcullis/rules.v4"))
    });
}

#[test]
fn guided_steps() {
    for (w, h) in [(80, 24), (120, 40)] {
        let mut c = Cockpit::on(Subject::Demo, w, h, true);
        let shot = |c: &mut Cockpit, n: u8| insta::assert_snapshot!(format!("guide{n}_{w}x{h}"), c.picture());
        shot(&mut c, 1);
        c.press(&["enter"]);
        shot(&mut c, 2);
        c.press(&["enter", "enter", "text:192.0.2.11 2001:db8::11", "enter"]);
        shot(&mut c, 3);
        c.press(&["enter"]);
        c.until(|a| a.shared.facts.planned.as_ref().is_some_and(|p| p.plan == a.shared.staged.plan));
        shot(&mut c, 4);
        c.press(&["enter", "enter"]);
        c.until(|a| a.shared.facts.trial_runs() && a.shared.facts.busy.is_none());
        c.until(proven);
        c.press(&["k"]);
        c.until(|a| a.shared.facts.trial.as_ref().is_some_and(TrialSeen::is_kept) && at_rest(a));
        c.press(&["esc", "enter"]);
        shot(&mut c, 6);
        c.press(&["enter"]);
        c.until_shown("rules.v4");
        c.press(&["enter"]);
        c.until(|a| a.shared.note.as_ref().is_some_and(|n| n.text.starts_with("saved")));
        shot(&mut c, 7);
    }
}

#[test]
fn small_screens() {
    let mut c = Cockpit::demo(60, 15);
    insta::assert_snapshot!("services_60x15", c.picture());
    staged(&mut c);
    c.press(&["3"]);
    insta::assert_snapshot!("plan_60x15", c.picture());
    c.press(&["1"]);
    let line = c.picture().lines().find(|l| l.contains("staged: 3")).unwrap_or_default().to_owned();
    assert!(line.contains("(* staged: 3 shows it)") && line.contains(" more below"), "{line}");
    c.press(&["2", "enter"]);
    insta::assert_snapshot!("chains_60x15", c.picture());
    // What has to be typed is there, too.
    c.press(&["1", "/", "text:22/tcp", "enter", "d", "3"]);
    c.until(|a| a.shared.facts.planned.as_ref().is_some_and(|p| p.plan == a.shared.staged.plan));
    c.press(&["y"]);
    assert!(c.picture().contains("\"lock me out\""), "{}", c.picture());
    c.app.shared.area = Rect::new(0, 0, 59, 14);
    assert!(c.picture().contains("needs 60x15"));
    assert_eq!(c.app.input(Input::Key(KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE))), Turn::Quit);
}

/// A small generator of its own, so that a run can be had again from its seed (xorshift, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// The reply that a plan is the draft of before, in a file of the operator's own.
fn drafted(plan: Plan) -> Reply {
    let origin =
        FileOrigin { path: "/root/.local/share/portcullis/draft-host-nfs1.toml".into(), whose: Whose::Own, changed: 0 };
    Reply::Draft(Draft { plan, origin, age: 7200 })
}

fn a_draft() -> Plan {
    let rule = |from: &str, to: &str| format!("[[rule]]\naction = \"allow\"\nfrom = [\"{from}\"]\nto = [\"{to}\"]\n");
    crate::syntax::plan::read(&format!(
        "version = 1\n{}{}",
        rule("192.0.2.11", "portmapper"),
        rule("192.0.2.12", "nfs")
    ))
    .unwrap()
}
