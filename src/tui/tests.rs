//! The whole cockpit on the demo host: pictures of every screen and popup, and a monkey at the keys.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::app::{App, Turn};
use super::input::Input;
use super::keymap::{Action, Place};
use super::planned;
use super::shared::{Change, Reply, Request, Seen, TrialSeen};
use crate::model::{Plan, TrialPhase};
use super::config::Config;
use super::theme::{Depth, Ground, Theme};
use super::worker::{Subject, Worker};

/// A cockpit with its worker, driven by keys.
struct Cockpit {
    app: App,
    to: Worker,
    from: Receiver<Reply>,
}

impl Cockpit {
    fn on(subject: Subject, w: u16, h: u16, guide: bool) -> Self {
        let theme = Theme { depth: Depth::Many, ground: Ground::Either, unicode: true, reader: false };
        Self::with(subject, Config::usual(theme), w, h, guide)
    }

    fn with(subject: Subject, config: Config, w: u16, h: u16, guide: bool) -> Self {
        let (out, from) = channel();
        let to = Worker::start_without_drafts(subject, out).unwrap();
        let mut c = Self { app: App::new(config, Rect::new(0, 0, w, h), guide), to, from };
        c.until(|a| a.shared.planned.is_some());
        c.app.draw();
        c
    }

    fn demo(w: u16, h: u16) -> Self {
        Self::on(Subject::Demo, w, h, false)
    }

    /// Takes answers of the worker until something holds; a test that hangs says on which screen.
    fn until(&mut self, holds: impl Fn(&App) -> bool) {
        loop {
            for r in std::mem::take(&mut self.app.shared.requests) {
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
        self.until(|a| a.shared.requests.is_empty());
        self
    }

    /// Clicks on a text of the screen.
    fn click(&mut self, on: &str) -> &mut Self {
        let picture = text(&self.app.draw().cells);
        let (y, line) = picture.lines().enumerate().find(|(_, l)| l.contains(on)).unwrap_or_else(|| panic!("{on} is not on\n{picture}"));
        let x = line[..line.find(on).unwrap()].chars().count();
        self.app.input(Input::Click(x as u16, y as u16));
        self.app.draw();
        self.until(|a| a.shared.requests.is_empty());
        self
    }

    /// Takes answers of the worker until a text is on the screen.
    fn until_shown(&mut self, what: &str) {
        self.until(|a| a.shared.requests.is_empty());
        while !text(&self.app.draw().cells).contains(what) {
            let r = self.from.recv_timeout(Duration::from_secs(20)).unwrap();
            self.app.reply(r);
        }
    }

    fn picture(&mut self) -> String {
        self.until(|a| a.shared.requests.is_empty());
        text(&self.app.draw().cells)
    }
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
    let mut mask = |pattern: &str, with: &str| out = regex::Regex::new(pattern).unwrap().replace_all(&out, with).into_owned();
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
    c.until(|a| a.shared.planned.as_ref().is_some_and(|p| p.plan == a.shared.plan));
}

fn on_trial(c: &mut Cockpit) {
    staged(c);
    c.press(&["3", "y", "enter"]);
    c.until(|a| a.shared.trial_runs() && a.shared.busy.is_none());
}

/// A new login was seen, as the demo host's operator tries one.
fn proven(a: &App) -> bool {
    a.shared.trial.as_ref().is_some_and(|t| t.proof.is_some())
}

/// What was kept is seen, and nothing is under way.
fn at_rest(a: &App) -> bool {
    a.shared.changing.is_none() && a.shared.busy.is_none() && !a.shared.plan_is_new()
}

fn kept(c: &mut Cockpit) {
    on_trial(c);
    c.until(proven);
    c.press(&["k"]);
    c.until(|a| a.shared.trial.as_ref().is_some_and(|t| t.state == "kept") && !a.shared.past.is_empty() && at_rest(a));
}

/// The guide up to the keep, on the screen of the trial.
fn kept_by_the_guide() -> Cockpit {
    let mut c = Cockpit::on(Subject::Demo, 80, 24, true);
    c.press(&["enter", "enter", "enter", "text:192.0.2.11", "enter", "enter"]);
    c.until(|a| a.shared.planned.as_ref().is_some_and(|p| p.plan == a.shared.plan));
    c.press(&["enter", "enter"]);
    c.until(|a| a.shared.trial_runs() && a.shared.busy.is_none());
    c.until(proven);
    c.press(&["k"]);
    c.until(|a| a.shared.trial.as_ref().is_some_and(|t| t.state == "kept") && at_rest(a));
    c
}

#[test]
fn services() {
    pictures("services", |_| {});
}

#[test]
fn notes() {
    pictures("notes", |c| { c.press(&["i"]); });
}

#[test]
fn what_is_not_known_is_said_before_the_list() {
    let text = "*filter\n:INPUT DROP [0:0]\n:DOCKER - [0:0]\n-A INPUT -p tcp -m tcp --dport 80 -j ACCEPT\n\
        -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 9042 -j ACCEPT\nCOMMIT\n";
    let mut c = captured(text, 80, 24);
    assert!(c.picture().contains("the table nat is not in the text"), "{}", c.picture());
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
fn what_is_open_by_one_interface_is_called_open() {
    let mut c = captured(DOCKER, 80, 24);
    let picture = c.picture();
    for said in ["1 of 1 published", "● anyone, most", "0.0.0.0/0  accepted  DOCKER rule 1: ACCEPT (on any", "arriving on any interface but docker0", "no rule matched", "past INPUT"] {
        assert!(picture.contains(said), "{said}:\n{picture}");
    }
    // The rule that decides is the one that lets them in.
    assert!(c.press(&["enter"]).picture().contains("172.17.0.2/32 port 80, not arriving on docker0"), "{}", c.picture());
    // Two interfaces let everybody in together, neither of them alone.
    let text = "*filter\n:INPUT DROP [0:0]\n-A INPUT -s 10.0.0.0/8 -i br0 -p tcp -m tcp --dport 111 -j ACCEPT\n\
        -A INPUT -s 10.0.0.0/8 -i eth0 -j DROP\n-A INPUT -i eth0 -p tcp -m tcp --dport 111 -j ACCEPT\nCOMMIT\n";
    let picture = captured(text, 80, 24).picture();
    for said in ["0 of 1 named ports", "by interface"] {
        assert!(picture.contains(said) && !picture.contains("anyone,"), "{said}:\n{picture}");
    }
}

#[test]
fn services_found() {
    pictures("services_found", |c| { c.press(&["/", "text:9042", "enter"]); });
    // What was searched for gives way, what was found does not.
    let mut c = Cockpit::demo(80, 24);
    staged(&mut c);
    assert!(c.press(&["1", "/", "text:9042", "enter"]).picture().contains(" 1 found, 20 hidden"), "{}", c.picture());
}

#[test]
fn chains() {
    pictures("chains", |c| { c.press(&["2", "j", "enter", "enter"]); });
}

#[test]
fn nodes_with_a_mistake() {
    pictures("nodes", |c| { c.press(&["p", "text:192.0.2.300 ", "enter"]); });
}

#[test]
fn plan() {
    pictures("plan", |c| { staged(c); c.press(&["3"]); });
}

#[test]
fn preview() {
    pictures("preview", |c| { staged(c); c.press(&["v"]); });
}

#[test]
fn trace_and_way() {
    let traced = |c: &mut Cockpit| c.until(|a| a.shared.lit.is_some());
    pictures("trace", |c| { c.press(&["t"]); traced(c); });
    pictures("way", |c| { c.press(&["w"]); traced(c); });
}

#[test]
fn help_palette_and_question() {
    pictures("help", |c| { c.press(&["?"]); });
    pictures("palette", |c| { c.press(&[":", "text:rule"]); });
    pictures("question", |c| { staged(c); c.press(&["3", "y"]); });
}

#[test]
fn trial_and_history() {
    pictures("trial", on_trial);
    pictures("history", |c| { kept(c); c.press(&["esc", "4"]); });
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
        c.until(|a| a.shared.planned.as_ref().is_some_and(|p| p.plan == a.shared.plan));
        shot(&mut c, 4);
        c.press(&["enter", "enter"]);
        c.until(|a| a.shared.trial_runs() && a.shared.busy.is_none());
        c.until(proven);
        c.press(&["k"]);
        c.until(|a| a.shared.trial.as_ref().is_some_and(|t| t.state == "kept") && at_rest(a));
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
fn what_is_saved_on_another_screen_ends_the_guide_and_is_in_the_history() {
    let mut c = kept_by_the_guide();
    c.press(&["esc", "esc", "4"]);
    assert!(c.picture().contains("not saved it for the next boot: s does"), "{}", c.picture());
    c.press(&["s"]);
    c.until_shown("rules.v4");
    c.press(&["enter"]);
    c.until(|a| a.shared.note.as_ref().is_some_and(|n| n.text.starts_with("saved")));
    c.press(&["down"]);
    assert!(c.picture().contains("saved for the next boot at 2026"), "{}", c.picture());
    c.press(&["g"]);
    assert!(c.picture().contains("step 7 of 7"), "{}", c.picture());
}

#[test]
fn what_a_trial_that_runs_or_has_ended_says_of_its_plan_is_true() {
    let mut c = Cockpit::demo(80, 24);
    on_trial(&mut c);
    c.press(&["esc", "4"]);
    assert!(c.picture().contains("No trial has ended yet."), "{}", c.picture());
    // What was staged is taken back meanwhile.
    c.press(&["3", "u", "T", "r"]);
    c.until(|a| a.shared.trial.as_ref().is_some_and(|t| t.state == "reverted") && at_rest(a));
    assert!(c.picture().contains("History (4) takes the plan up again"), "{}", c.picture());
}

#[test]
fn a_search_in_a_popup_leaves_the_screen_below_alone() {
    let mut c = Cockpit::demo(80, 24);
    c.press(&["/", "text:nfs", "enter", "?", "/", "text:trial"]);
    assert!(c.picture().contains("text, port, address, owner"), "{}", c.picture());
    c.press(&["enter", "esc"]);
    assert!(c.picture().contains("/nfs") && c.picture().contains("2 found"), "{}", c.picture());
}

#[test]
fn reading_the_difference_does_not_change_what_is_saved() {
    let mut c = Cockpit::demo(80, 24);
    kept(&mut c);
    c.press(&["esc", "4", "s"]);
    c.until_shown("rules.v4");
    c.press(&["down", "down", "pgdn", "up"]);
    assert!(c.picture().contains("● all but what managers"), "{}", c.picture());
    c.press(&["tab"]);
    assert!(c.picture().contains("● everything that is loaded"), "{}", c.picture());
}

#[test]
fn what_is_offered_in_a_field_is_replaced_by_typing() {
    let mut c = Cockpit::demo(80, 24);
    c.press(&["t", "text:198.51.100.9"]);
    assert!(c.picture().contains("from        198.51.100.9 "), "{}", c.picture());
    c.press(&["text:9"]);
    assert!(c.picture().contains("from        198.51.100.99 "), "{}", c.picture());
}

#[test]
fn a_trial_that_has_expired_is_stuck_or_unwatched_is_not_shown_as_running() {
    let mut c = Cockpit::demo(80, 24);
    on_trial(&mut c);
    let running = c.app.shared.trial.clone().unwrap();
    for (state, phase, says) in [
        ("expired", TrialPhase::Expired, "xpired: the kernel went back to the old rules"),
        ("reverting", TrialPhase::RevertCut, "everting: stuck half-way, the revert was cut short"),
        ("running", TrialPhase::Unwatched(0), "unning: nothing brings the old rules back"),
    ] {
        c.app.reply(Reply::Trial(Some(TrialSeen { state: state.into(), phase: Some(phase), guarded: false, fuse: false, ..running.clone() })));
        let shown = c.press(&["esc", "esc", "1"]).picture();
        let guided = c.press(&["g"]).picture();
        let popup = c.press(&["enter"]).picture();
        for p in [&shown, &guided, &popup] {
            assert!(p.contains(says) && !p.contains("come back in") && !p.contains("The trial runs"), "{p}");
        }
        assert!(popup.contains("r  ") && !popup.contains("k  keeps") && !popup.contains("+  adds") && !popup.contains("the kernel does"), "{popup}");
        c.press(&["k"]);
        assert!(c.app.shared.requests.is_empty() && c.picture().contains("not now: "), "{}", c.picture());
    }
}

#[test]
fn a_plan_that_is_not_loaded_is_offered_and_not_called_kept() {
    let mut c = Cockpit::demo(80, 24);
    let view = c.app.shared.seen.as_ref().unwrap().view.clone();
    kept(&mut c);
    c.press(&["esc", "3"]);
    assert!(c.picture().contains("this is what is kept"), "{}", c.picture());
    let lost = c.app.shared.trial.as_ref().map(|t| t.id.clone());
    c.app.reply(Reply::Seen(std::sync::Arc::new(Seen { lost, ..planned::seen(view, Plan::default()) })));
    c.until(|a| a.shared.planned.as_ref().is_some_and(|p| p.plan.rules.is_empty()));
    assert!(c.picture().contains("A plan was kept that is not loaded now"), "{}", c.picture());
    c.press(&["4"]);
    assert!(c.picture().contains("its rules are not loaded now") && !c.picture().contains("has not saved"), "{}", c.picture());
}

#[test]
fn a_service_on_the_ports_of_a_dropped_one_is_not_dropped_again() {
    let mut c = Cockpit::demo(80, 24);
    c.press(&["/", "text:nfs", "enter", "d"]);
    let rules = c.app.shared.plan.rules.clone();
    assert_eq!(rules.len(), 1, "{rules:?}");
    c.press(&["/", "text:nfs_acl", "enter", "d"]);
    let picture = c.picture();
    assert!(c.app.shared.plan.rules == rules && picture.contains("dropped already"), "{picture}");
}

#[test]
fn the_mouse_reaches_tabs_lists_popups_and_the_footer() {
    let mut c = Cockpit::demo(80, 24);
    c.click("protect").click(".12                 named").click("/26              named").click("/26              named").click("ok");
    assert_eq!(c.app.shared.plan.rules[0].from.len(), 1, "{:?}", c.app.shared.plan);
    c.until(|a| a.shared.planned.as_ref().is_some_and(|p| p.plan == a.shared.plan));
    // What was said goes with the first click.
    c.click("staged: 1 node").click("3 Plan").click("apply on trial").click("No, go back").click("No, go back");
    assert!(!c.app.shared.trial_runs() && c.app.place() == Place::Plan);
    c.press(&["g", "backspace", "backspace"]);
    assert!(c.picture().contains("[x] portmapper"), "{}", c.picture());
    c.click("[x] portmapper");
    assert!(c.picture().contains("[ ] portmapper"));
    c.click("close").click("2 Chains").click("quit");
}

#[test]
fn the_texts_name_the_keys_in_force() {
    let theme = Theme { depth: Depth::Many, ground: Ground::Either, unicode: true, reader: false };
    let config = Config::read(theme, "[keys]\nprotect = \"P\"\nto-plan = \"f3\"\ntrial = \"f4\"\nkeep = \"f5\"\nguide = \"G\"\nbottom = \"end\"\n");
    assert_eq!(config.remarks, []);
    let mut c = Cockpit::with(Subject::Demo, config, 80, 24, false);
    assert!(c.picture().contains("G guide"), "{}", c.picture());
    c.press(&["P", "text:192.0.2.11", "enter"]);
    c.until(|a| a.shared.planned.as_ref().is_some_and(|p| p.plan == a.shared.plan));
    assert!(c.picture().contains("f3 shows"), "{}", c.picture());
    c.app.act(Action::ToPlan);
    c.press(&["y", "enter"]);
    c.until(|a| a.shared.trial_runs() && a.shared.busy.is_none());
    assert!(c.picture().contains("f5  keeps the plan"), "{}", c.picture());
    c.press(&["esc"]);
    assert!(c.picture().contains("f4 shows it"), "{}", c.picture());
}

#[test]
fn a_wrong_node_is_taken_out_in_the_guide() {
    let mut c = Cockpit::on(Subject::Demo, 80, 24, true);
    c.press(&["enter", "enter", "enter", "text:192.0.2.11 192.0.2.99", "enter"]);
    assert!(c.picture().contains("192.0.2.99"), "{}", c.picture());
    c.press(&["down", "x", "up"]);
    let nodes: Vec<String> = c.app.shared.plan.rules.iter().flat_map(|r| r.from.iter().map(ToString::to_string)).collect();
    assert!(nodes.contains(&"192.0.2.11".into()) && !nodes.contains(&"192.0.2.99".into()), "{nodes:?}");
    c.press(&["x"]);
    assert!(c.picture().contains("Nobody yet"), "{}", c.picture());
    // What is protected stays so for everybody.
    assert!(c.app.shared.plan.rules.iter().all(|r| r.action == crate::model::Action::Drop), "{:?}", c.app.shared.plan);
}

#[test]
fn the_way_to_a_port_that_does_not_listen_there_is_not_called_open() {
    let mut c = Cockpit::demo(80, 24);
    let traced = |c: &mut Cockpit, from: &str| {
        while !(c.app.shared.lit.is_some() && c.picture().contains(from) && c.picture().contains("filter INPUT")) {
            let r = c.from.recv_timeout(Duration::from_secs(20)).unwrap();
            c.app.reply(r);
        }
        c.picture()
    };
    // It listens over IPv6 only; that is where the way begins.
    c.press(&["/", "text:33861", "enter", "w"]);
    let open = traced(&mut c, "2001:db8::7 (a stranger)");
    assert!(open.contains("accepted, it reaches mountd 33861/udp"), "{open}");
    c.press(&["tab"]);
    let closed = traced(&mut c, "203.0.113.7 (a stranger over IPv4)");
    assert!(closed.contains("the rules let it through, but it does not listen on IPv4"), "{closed}");
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
    c.until(|a| a.shared.planned.as_ref().is_some_and(|p| p.plan == a.shared.plan));
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

#[test]
fn no_key_panics() {
    let mut c = Cockpit::demo(80, 24);
    let mut dice = Dice(0x5eed_cafe);
    let special = [KeyCode::Enter, KeyCode::Esc, KeyCode::Tab, KeyCode::BackTab, KeyCode::Up, KeyCode::Down, KeyCode::Left, KeyCode::Right,
        KeyCode::PageUp, KeyCode::PageDown, KeyCode::Home, KeyCode::End, KeyCode::Backspace, KeyCode::Delete, KeyCode::F(1)];
    // The whole run takes a minute and a half in a debug build; it is part of `tests/run --full`.
    let keys = if std::env::var_os("PORTCULLIS_FULL").is_some_and(|v| !v.is_empty()) { 100_000 } else { 5_000 };
    for n in 0..keys {
        match dice.roll(40) {
            0 => c.app.shared.area = Rect::new(0, 0, 1 + dice.roll(220) as u16, 1 + dice.roll(70) as u16),
            1 => { c.app.input(Input::Click(dice.roll(220) as u16, dice.roll(70) as u16)); }
            2 => { c.app.input(Input::Wheel(dice.roll(220) as u16, 0, dice.roll(7) as i32 - 3)); }
            3 => { c.app.input(Input::Paste("192.0.2.7 \x1b[31m nfs\n".into())); }
            r => {
                let code = if r < 20 { special[dice.roll(special.len() as u64) as usize] } else { KeyCode::Char(char::from(b' ' + dice.roll(95) as u8)) };
                let mods = if dice.roll(12) == 0 { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
                c.app.input(Input::Key(KeyEvent::new(code, mods)));
            }
        }
        // Exports would write files; all else goes to the demo.
        let requests = std::mem::take(&mut c.app.shared.requests);
        for r in requests.into_iter().filter(|r| !matches!(r, Request::Export { .. })) {
            assert!(c.to.send(r));
        }
        while let Ok(r) = c.from.try_recv() {
            assert!(!matches!(&r, Reply::Failed { code: "defect", .. } | Reply::Refused { code: "defect", .. }), "{r:?}");
            c.app.reply(r);
        }
        c.app.shared.copy = None;
        if n % 5 == 0 {
            c.app.draw();
        }
    }
}

#[test]
fn the_guide_comes_back_where_it_was_left() {
    let mut c = Cockpit::demo(80, 24);
    c.press(&["g", "enter", "down", " ", "esc"]);
    assert!(!c.picture().contains("step 2"));
    let again = c.press(&["g"]).picture();
    assert!(again.contains("step 2 of 7") && again.contains("[ ] nfs, nfs_acl ") && again.contains("[x] mountd"), "{again}");
}

#[test]
fn the_guide_is_done_when_it_was_saved_on_the_trial_screen() {
    let mut c = kept_by_the_guide();
    c.press(&["s"]);
    c.until_shown("rules.v4");
    c.press(&["enter"]);
    c.until(|a| a.shared.note.as_ref().is_some_and(|n| n.text.starts_with("saved")));
    assert!(c.picture().contains("live, and in the boot-time rules"), "{}", c.picture());
    assert!(c.press(&["esc"]).picture().contains("step 7 of 7"), "{}", c.picture());
    c.press(&["enter", "T"]);
    assert!(c.picture().contains("live, and in the boot-time rules"), "{}", c.picture());
    c.press(&["enter"]);
    assert!(c.press(&["g"]).picture().contains("step 7 of 7"), "{}", c.picture());
    assert!(c.press(&["backspace"]).picture().contains("A plan is kept here already"), "{}", c.picture());
}

#[test]
fn what_the_guide_recommends_has_no_dead_rules() {
    let mut c = Cockpit::on(Subject::Demo, 80, 24, true);
    assert!(c.press(&["enter"]).picture().contains("[x] nfs, nfs_acl "), "{}", c.picture());
    c.press(&["enter", "enter", "text:192.0.2.11", "enter", "enter"]);
    c.until(|a| a.shared.planned.as_ref().is_some_and(|p| p.plan == a.shared.plan));
    let dead = |a: &App| a.shared.planned.as_ref().unwrap().after.as_ref().unwrap().shadowed.iter().filter(|s| s.at.chain.starts_with("PORTCULLIS")).count();
    assert_eq!(dead(&c.app), 0);
    assert!(c.picture().contains("nfs_acl 2049/tcp       IPv4   ● anyone     → ◐ 1 address"), "{}", c.picture());
    // And what is protected alone later joins the rules that are there.
    c.press(&["esc", "1", "/", "text:nfs_acl", "enter", "p", "text:192.0.2.12", "enter"]);
    c.until(|a| a.shared.planned.as_ref().is_some_and(|p| p.plan == a.shared.plan));
    assert_eq!(dead(&c.app), 0);
    let rules: Vec<String> = c.app.shared.plan.rules.iter().map(|r| super::screens::plan::rule_words(r, "to")).filter(|r| r.contains("nfs")).collect();
    assert_eq!(rules, ["allow 192.0.2.11, 192.0.2.12 to nfs", "drop any to nfs"]);
}

#[test]
fn the_save_popup_says_that_a_staged_plan_is_not_in_it() {
    let mut c = Cockpit::demo(80, 24);
    staged(&mut c);
    c.press(&["3", "s"]);
    assert!(c.picture().contains("nothing was kept here"), "{}", c.picture());
    c.press(&["4", "s"]);
    assert!(c.picture().contains("nothing was kept here"), "{}", c.picture());
    let mut c = Cockpit::demo(80, 24);
    kept(&mut c);
    c.press(&["esc", "1", "/", "text:cassandra", "enter", "d", "3", "s"]);
    assert!(c.picture().contains("The staged plan is not live and is not saved: apply it first (y)"), "{}", c.picture());
}

#[test]
fn the_question_names_who_is_cut() {
    let mut c = Cockpit::demo(80, 24);
    c.press(&["/", "text:2049", "enter", "p", "text:192.0.2.11", "enter", "3"]);
    c.until(|a| a.shared.planned.as_ref().is_some_and(|p| p.plan == a.shared.plan));
    assert!(c.press(&["y"]).picture().contains("✗ connected now and blocked after: 192.0.2.12"), "{}", c.picture());
}

#[test]
fn all_that_is_wrong_with_nodes_is_said_and_everybody_is_called_so() {
    let mut c = Cockpit::demo(80, 24);
    c.press(&["p", "text:0.0.0.0/0"]);
    assert!(c.picture().contains("0.0.0.0/0 is everybody over IPv4"), "{}", c.picture());
    c.press(&["esc", "p", "text:foo.invalid bar.invalid 300.1.1.1", "enter"]);
    c.until_shown("300.1.1.1 is neither");
    let picture = c.picture();
    assert!(["✗ foo.invalid", "✗ bar.invalid", "✗ 300.1.1.1"].iter().all(|e| picture.contains(e)), "{picture}");
}

#[test]
fn an_empty_screen_says_what_to_do_next() {
    let mut c = Cockpit::demo(80, 24);
    assert!(c.press(&[":"]).picture().contains("type to filter"), "{}", c.picture());
    assert!(c.press(&["esc", "3"]).picture().contains("Or press g here"), "{}", c.picture());
    c.press(&["s"]);
    assert!(c.picture().contains("there is nothing to save"), "{}", c.picture());
}

#[test]
fn no_key_is_silent_on_the_trial() {
    let mut c = Cockpit::demo(80, 24);
    on_trial(&mut c);
    c.until(proven);
    assert!(c.press(&["enter"]).picture().contains("k keeps, r reverts"), "{}", c.picture());
    assert!(c.press(&["esc", "g", "k"]).picture().contains("there k keeps it"), "{}", c.picture());
    assert!(c.picture().contains("root logged in from 10.0.0.5"), "{}", c.picture());
    c.press(&["enter", "r"]);
    c.until(|a| !a.shared.trial_runs() && a.shared.changing.is_none());
    c.app.shared.note = None;
    let ended = c.picture();
    assert!(ended.contains("This trial has ended") && !ended.lines().last().unwrap().contains("keep"), "{ended}");
    assert!(!c.press(&["enter"]).picture().contains("This trial has ended"), "{}", c.picture());
}

#[test]
fn on_captured_text_the_guide_ends_with_the_script() {
    let texts = [("rules", include_str!("../../assets/demo/iptables-save.txt")), ("rpc", include_str!("../../assets/demo/rpcinfo-p.txt"))];
    let inputs = texts.map(|(name, text)| crate::observe::capture::Input { name: name.into(), text: text.into(), family: None });
    let view = crate::observe::capture::captured(&inputs);
    let mut c = Cockpit::on(Subject::Captured(Box::new(view)), 80, 24, true);
    c.press(&["enter", "enter", "enter", "text:192.0.2.9", "enter", "enter"]);
    assert!(c.picture().contains("This is captured text, not a host."), "{}", c.picture());
    assert!(c.press(&["enter"]).picture().contains("Preview: what the plan"), "{}", c.picture());
}

#[test]
fn what_a_staged_plan_changes_is_marked() {
    let mut c = Cockpit::demo(80, 24);
    assert!(!c.picture().contains("*portmapper"), "{}", c.picture());
    staged(&mut c);
    let picture = c.picture();
    assert!(picture.contains("*portmapper") && picture.contains("(* staged: 3 shows it)") && !picture.contains("*nfs"), "{picture}");
}

#[test]
fn a_key_of_another_screen_says_so() {
    let mut c = Cockpit::demo(80, 24);
    c.press(&["3", "w"]);
    assert!(c.picture().contains("w does nothing here; it is a key of Services, Chains"), "{}", c.picture());
}

#[test]
fn a_file_that_is_written_ends_no_change() {
    let mut c = Cockpit::demo(80, 24);
    c.app.shared.changing = Some("applying".into());
    c.app.reply(Reply::Written("written: plan.sh".into()));
    assert!(c.app.shared.changing.is_some());
    c.app.reply(Reply::Done("reverted".into()));
    assert!(c.app.shared.changing.is_none());
}

#[test]
fn what_was_kept_before_is_not_called_reverted() {
    let mut c = Cockpit::demo(80, 24);
    on_trial(&mut c);
    // As if another login had kept it before the answer to the key.
    for change in [Change::Keep { without_proof: true }, Change::Revert] {
        c.app.shared.requests.push(Request::Change(change));
    }
    let said = |a: &App| a.shared.note.as_ref().is_some_and(|n| n.bad && n.text.contains("was kept before; nothing was reverted now"));
    c.until(|a| a.shared.trial.as_ref().is_some_and(|t| t.state == "kept") && said(a));
}

#[test]
fn a_trial_that_begins_takes_no_keys_from_somebody_who_types() {
    let mut c = Cockpit::demo(80, 24);
    staged(&mut c);
    c.press(&["3", "y", "enter", "1", "p", "text:192.0."]);
    c.until(|a| a.shared.trial_runs() && a.shared.busy.is_none());
    let picture = c.picture();
    assert!(c.app.place() == Place::Nodes && picture.contains("192.0.") && picture.contains("the trial runs: T shows it"), "{picture}");
    // Neither does it come up under the next keys.
    c.press(&["text:rk", "esc", "r", "k"]);
    assert!(c.app.shared.trial_runs() && c.app.shared.changing.is_none() && c.app.place() == Place::Services, "{}", c.picture());
    assert_eq!(c.press(&["T"]).app.place(), Place::Trial);
}

#[test]
fn a_trial_that_begins_takes_no_keys_from_a_list() {
    let mut c = Cockpit::demo(80, 24);
    staged(&mut c);
    c.press(&["3", "y", "enter", "v", "j"]);
    c.until(|a| a.shared.trial_runs() && a.shared.busy.is_none());
    assert_eq!(c.press(&["k"]).app.place(), Place::Preview);
    assert!(c.app.shared.changing.is_none());
}

#[test]
fn questions_wait_until_nobody_types() {
    let mut c = Cockpit::demo(80, 24);
    staged(&mut c);
    c.press(&["3", "y"]);
    c.app.act(Action::Accept);
    c.app.shared.requests.clear();
    c.press(&["1", "p", "text:nfs"]);
    c.app.reply(Reply::Refused { what: "kept rules go".into(), hint: "look".into(), code: "replace" });
    assert!(c.picture().contains("The change was refused; nothing was changed: more when this is closed"), "{}", c.picture());
    c.app.reply(Reply::Draft(a_draft()));
    assert!(c.app.place() == Place::Nodes && c.picture().contains("nfs"), "{}", c.picture());
    c.press(&["esc"]);
    assert!(c.picture().contains("A draft from before"), "{}", c.picture());
    c.press(&["esc"]);
    assert!(c.picture().contains("kept rules go"), "{}", c.picture());
    assert_eq!(c.press(&["esc"]).app.place(), Place::Services);
}

#[test]
fn the_guide_shows_a_trial_that_another_login_began() {
    let mut other = Cockpit::demo(80, 24);
    on_trial(&mut other);
    let trial = other.app.shared.trial.clone();
    let mut c = Cockpit::on(Subject::Demo, 80, 24, true);
    assert!(c.picture().contains("step 1 of 7"), "{}", c.picture());
    c.app.reply(Reply::Trial(trial));
    let picture = c.picture();
    assert!(picture.contains("step 5 of 7") && picture.contains("The trial runs:"), "{picture}");
}

#[test]
fn a_plan_worked_out_for_an_older_look_is_not_shown_and_not_applied() {
    let mut c = Cockpit::demo(80, 24);
    staged(&mut c);
    let seen = c.app.shared.seen.clone().unwrap();
    let view = std::sync::Arc::new((*seen.view).clone());
    c.app.reply(Reply::Seen(std::sync::Arc::new(planned::seen(view, seen.kept.clone()))));
    assert!(c.press(&["v"]).picture().contains("working it out"), "{}", c.picture());
    assert!(c.press(&["y"]).picture().contains("still being worked out"), "{}", c.picture());
}

#[test]
fn the_question_applies_what_it_was_asked_about() {
    let mut c = Cockpit::demo(80, 24);
    staged(&mut c);
    let (plan, view) = (c.app.shared.plan.clone(), c.app.shared.seen.as_ref().unwrap().view.clone());
    let applies = |c: &mut Cockpit| {
        c.app.act(Action::Accept);
        let found = c.app.shared.requests.drain(..).find_map(|r| if let Request::Change(Change::Apply { what, .. }) = r { Some(what) } else { None }).unwrap();
        assert!(found.plan == plan && std::sync::Arc::ptr_eq(&found.seen, &view), "{:?}", found.plan);
    };
    c.press(&["3", "y"]);
    applies(&mut c);
    // More is staged and the host looked at again before the answer is there, a question.
    c.app.shared.stage(|p| p.rules.truncate(1));
    c.press(&["R"]);
    c.until(|a| !std::sync::Arc::ptr_eq(&a.shared.seen.as_ref().unwrap().view, &view));
    c.app.reply(Reply::Refused { what: "kept rules go".into(), hint: "look".into(), code: "replace" });
    assert!(c.picture().contains("What was staged since is not part of it"), "{}", c.picture());
    applies(&mut c);
}

fn a_draft() -> Plan {
    let rule = |from: &str, to: &str| format!("[[rule]]\naction = \"allow\"\nfrom = [\"{from}\"]\nto = [\"{to}\"]\n");
    crate::syntax::plan::read(&format!("version = 1\n{}{}", rule("192.0.2.11", "portmapper"), rule("192.0.2.12", "nfs"))).unwrap()
}

#[test]
fn the_plan_on_trial_is_no_draft_from_before() {
    let mut other = Cockpit::demo(80, 24);
    on_trial(&mut other);
    let trial = other.app.shared.trial.clone().unwrap();
    let plan = crate::syntax::plan::read(&trial.plan).unwrap();
    let ended = |state: &str| Reply::Trial(Some(TrialSeen { pending: false, phase: None, state: state.into(), ..trial.clone() }));
    let asks = |c: &mut Cockpit, draft: &Plan, then: &str| {
        c.app.reply(Reply::Trial(Some(trial.clone())));
        c.app.reply(Reply::Draft(draft.clone()));
        let during = c.picture();
        assert!(c.app.place() == Place::Trial && during.contains("comes back") | during.contains("come back"), "{during}");
        c.app.reply(ended(then));
        assert_eq!(c.app.place(), Place::Trial, "a question lies over the trial's screen");
        c.press(&["esc"]);
        c.app.place() == Place::Choice
    };
    assert!(!asks(&mut Cockpit::demo(80, 24), &plan, "kept"));
    let mut c = Cockpit::demo(80, 24);
    assert!(asks(&mut c, &plan, "reverted"));
    assert!(c.picture().contains("None of its rules is kept."), "{}", c.picture());
    assert!(asks(&mut Cockpit::demo(80, 24), &a_draft(), "kept"));
}

#[test]
fn a_draft_can_be_discarded_and_says_what_of_it_is_live() {
    let asked = |c: &mut Cockpit| c.app.shared.requests.iter().any(|r| matches!(r, Request::StoreDraft(_)));
    let mut c = Cockpit::demo(80, 24);
    kept(&mut c);
    c.press(&["esc"]);
    let mut draft = c.app.shared.plan.clone();
    let kept = draft.rules.len();
    draft.rules.extend(a_draft().rules);
    c.app.reply(Reply::Draft(draft.clone()));
    let said = c.picture().replace(['│', '\n'], " ").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains(&format!("Not all of it is live: {kept} of its rules are kept, 2 are not.")), "{said}");
    c.app.act(Action::Cancel);
    assert!(!asked(&mut c), "later: the draft stays");
    c.app.reply(Reply::Draft(draft));
    c.press(&["down"]);
    c.app.act(Action::Accept);
    assert!(asked(&mut c) && c.app.shared.note.as_ref().unwrap().text.contains("discarded"));
    // What is kept is no draft: the worker removes the file.
    assert!(!c.app.shared.plan_is_new());
    assert_eq!(c.app.place(), Place::Plan);
}

#[test]
fn the_way_on_from_a_lock_out_is_at_the_cursor() {
    let mut c = Cockpit::demo(80, 24);
    staged(&mut c);
    c.press(&["/", "text:22/tcp", "enter", "d", "3"]);
    c.until(|a| a.shared.planned.as_ref().is_some_and(|p| p.plan == a.shared.plan));
    let asked = c.press(&["y"]).picture();
    assert!(asked.contains("a on the Plan screen allows"), "{asked}");
    c.press(&["esc", "a"]);
    assert!(c.picture().contains("Who may use 22/tcp"), "{}", c.picture());
    c.press(&["tab", "enter"]);
    c.until(|a| a.shared.planned.as_ref().is_some_and(|p| p.plan == a.shared.plan));
    assert!(!c.press(&["y"]).picture().contains("lock me out"), "{}", c.picture());
}

#[test]
fn the_rule_that_shuts_the_operator_out() {
    let view = crate::observe::live::observe(&crate::host::demo::Demo::new());
    let at = |rules: &[(&str, &str, &str)]| {
        let text: String = rules.iter().map(|(a, from, to)| format!("[[rule]]\naction = \"{a}\"\nfrom = [\"{from}\"]\nto = [\"{to}\"]\n")).collect();
        planned::shuts_out(&view, &crate::syntax::plan::read(&format!("version = 1\n{text}")).unwrap())
    };
    assert_eq!(at(&[("drop", "any", "nfs"), ("allow", "192.0.2.11", "22"), ("drop", "10.0.0.0/8", "22")]), Some(2));
    assert_eq!(at(&[("drop", "any", "nfs"), ("allow", "10.0.0.5", "22"), ("drop", "any", "22/tcp")]), None);
    assert_eq!(at(&[("drop", "any", "22/udp"), ("drop", "2001:db8::/32", "22/tcp")]), None);
}

#[test]
fn what_was_kept_and_not_saved_is_said_at_the_start() {
    let mut other = Cockpit::demo(80, 24);
    kept(&mut other);
    let trial = other.app.shared.trial.clone().unwrap();
    let said = |trial: &TrialSeen, lost: Option<String>| {
        let config = Config::usual(Theme { depth: Depth::Many, ground: Ground::Either, unicode: true, reader: false });
        let mut app = App::new(config, Rect::new(0, 0, 80, 24), false);
        let seen = other.app.shared.seen.as_ref().unwrap();
        app.reply(Reply::Seen(std::sync::Arc::new(Seen { lost, ..planned::seen(seen.view.clone(), seen.kept.clone()) })));
        app.reply(Reply::Trial(Some(trial.clone())));
        let note = app.shared.note.unwrap();
        (note.bad, note.text)
    };
    let (bad, text) = said(&trial, None);
    assert!(bad && text.contains("kept by the operator, but not saved for the next boot; 4 shows it, and s there saves it"), "{text}");
    let (bad, text) = said(&trial, Some(trial.id.clone()));
    assert!(bad && text.contains("not loaded now"), "{text}");
    let (bad, text) = said(&TrialSeen { saved: Some("2026".into()), ..trial }, None);
    assert!(!bad && text.ends_with("shows it"), "{text}");
}

#[test]
fn the_guide_does_not_end_before_boot_loads_the_rules() {
    let mut c = Cockpit::on(Subject::Demo, 80, 24, true);
    c.press(&["enter", "enter", "enter", "text:192.0.2.11", "enter", "enter"]);
    c.until(|a| a.shared.planned.as_ref().is_some_and(|p| p.plan == a.shared.plan));
    c.press(&["enter", "enter"]);
    c.until(|a| a.shared.trial_runs() && a.shared.busy.is_none());
    c.app.reply(Reply::Saved("saved all but what managers rebuild: wrote it".into(), Some("Nothing loads these files at boot: install it.".into())));
    let note = c.app.shared.note.take().unwrap();
    assert!(note.bad, "a tick: {}", note.text);
    let picture = c.press(&["esc"]).picture();
    assert!(picture.contains("step 7 of 7") && picture.contains("these files at boot: install it."), "{picture}");
    assert!(!picture.contains("kept and saved"), "{picture}");
}

#[test]
fn the_guide_shows_all_that_is_open_and_cuts_nothing() {
    let mut c = Cockpit::on(Subject::Demo, 80, 24, true);
    let first = c.picture();
    assert!(first.contains("below") && !first.contains("Services (1) shows all") && !first.contains('…'), "{first}");
    let seen = c.app.shared.seen.clone().unwrap();
    let mut all = first;
    for _ in 0..seen.report.endpoints.len() {
        all.push_str(&c.press(&["down"]).picture());
    }
    assert!(all.contains("above") && !all.contains('…'), "{all}");
    for j in seen.report.endpoints.iter().filter(|j| j.exposure.iter().flatten().any(|x| !x.reach.accepted.is_empty())) {
        assert!(all.contains(&j.endpoint.label()), "{} is not in\n{all}", j.endpoint.label());
    }
}

#[test]
fn the_mouse_reaches_the_header_and_the_line_that_leads_on() {
    let mut c = Cockpit::demo(80, 24);
    for (on, place) in [("notes", Place::Text), ("? help", Place::Help), ("guide", Place::Guide)] {
        assert_eq!(c.click(on).app.place(), place, "{on}");
        if place != Place::Guide {
            assert_eq!(c.press(&["esc"]).app.place(), Place::Services);
        }
    }
    assert!(c.click("which of them to protect").picture().contains("step 2 of 7"), "{}", c.picture());
    c.click("who may still use them");
    assert!(c.picture().contains("step 3 of 7"), "{}", c.picture());
}

#[test]
fn a_drop_of_ones_own_way_in_is_warned_of() {
    let mut c = Cockpit::demo(80, 24);
    let mut said = |keys: &[&str]| {
        c.press(keys);
        let note = c.app.shared.note.take().unwrap();
        (note.bad, note.text)
    };
    assert!(!said(&["d"]).0, "the portmapper");
    let (bad, text) = said(&["/", "text:22/tcp", "enter", "d"]);
    assert!(bad && text.ends_with("also your own SSH session from 10.0.0.5: a allows 10.0.0.5 first"), "{text}");
    said(&["3", "u"]);
    said(&["1", "a", "text:10.0.0.0/8", "enter"]);
    let (bad, text) = said(&["d"]);
    assert!(!bad && text.contains("staged: drop everybody else"), "{text}");
}

#[test]
fn what_was_typed_before_a_refusal_is_not_asked_again() {
    let mut c = Cockpit::demo(120, 40);
    c.press(&["/", "text:22/tcp", "enter", "d", "3"]);
    c.until(|a| a.shared.planned.as_ref().is_some_and(|p| p.plan == a.shared.plan));
    let applies = |c: &mut Cockpit| {
        c.app.act(Action::Accept);
        c.app.shared.requests.drain(..).any(|r| matches!(r, Request::Change(Change::Apply { .. })))
    };
    c.press(&["y", "text:lock me out"]);
    assert!(applies(&mut c));
    c.app.reply(Reply::Refused { what: "no dates".into(), hint: "look".into(), code: "no-fuse" });
    let asked = c.picture();
    assert!(asked.contains("\"without fuse\"") && !asked.contains("\"lock me out\""), "{asked}");
    c.press(&["text:without fuse"]);
    assert!(applies(&mut c));
    c.app.reply(Reply::Refused { what: "kept rules go".into(), hint: "look".into(), code: "replace" });
    assert!(applies(&mut c), "a plain yes: {}", c.picture());
}
