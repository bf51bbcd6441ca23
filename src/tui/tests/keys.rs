//! What keys and clicks lead to on the screens, and a monkey at the keys.

use super::*;
use crate::model::Code;
use crate::tui::protocol::Task;

#[test]
fn what_is_not_known_is_said_before_the_list() {
    let text = "*filter\n:INPUT DROP [0:0]\n:DOCKER - [0:0]\n-A INPUT -p tcp -m tcp --dport 80 -j ACCEPT\n\
        -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 9042 -j ACCEPT\nCOMMIT\n";
    let mut c = captured(text, 80, 24);
    assert!(c.picture().contains("the table nat is not in the text"), "{}", c.picture());
}

#[test]
fn what_is_open_by_one_interface_is_called_open() {
    let mut c = captured(DOCKER, 80, 24);
    let picture = c.picture();
    for said in [
        "1 of 1 published",
        "● anyone, most",
        "0.0.0.0/0  accepted  DOCKER rule 1: ACCEPT (on any",
        "arriving on any interface but docker0",
        "no rule matched",
        "past INPUT",
    ] {
        assert!(picture.contains(said), "{said}:\n{picture}");
    }
    // The rule that decides is the one that lets them in.
    assert!(
        c.press(&["enter"]).picture().contains("172.17.0.2/32 port 80, not arriving on docker0"),
        "{}",
        c.picture()
    );
    // Two interfaces let everybody in together, neither of them alone.
    let text = "*filter\n:INPUT DROP [0:0]\n-A INPUT -s 0.0.0.0/1 -i br0 -p tcp -m tcp --dport 111 -j ACCEPT\n\
        -A INPUT -s 0.0.0.0/1 -i eth0 -j DROP\n-A INPUT -i eth0 -p tcp -m tcp --dport 111 -j ACCEPT\nCOMMIT\n";
    let picture = captured(text, 80, 24).picture();
    for said in ["0 of 1 named ports", "by interface"] {
        assert!(picture.contains(said) && !picture.contains("anyone,"), "{said}:\n{picture}");
    }
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
fn what_is_offered_in_a_field_is_replaced_by_typing() {
    let mut c = Cockpit::demo(80, 24);
    c.press(&["t", "text:198.51.100.9"]);
    assert!(c.picture().contains("from        198.51.100.9 "), "{}", c.picture());
    c.press(&["text:9"]);
    assert!(c.picture().contains("from        198.51.100.99 "), "{}", c.picture());
}

#[test]
fn a_service_on_the_ports_of_a_dropped_one_is_not_dropped_again() {
    let mut c = Cockpit::demo(80, 24);
    c.press(&["/", "text:nfs", "enter", "d"]);
    let rules = c.app.shared.staged.plan.rules.clone();
    assert_eq!(rules.len(), 1, "{rules:?}");
    c.press(&["/", "text:nfs_acl", "enter", "d"]);
    let picture = c.picture();
    assert!(c.app.shared.staged.plan.rules == rules && picture.contains("dropped already"), "{picture}");
}

#[test]
fn the_mouse_reaches_tabs_lists_popups_and_the_footer() {
    let mut c = Cockpit::demo(80, 24);
    c.click("protect")
        .click(".12                 named")
        .click("/26              named")
        .click("/26              named")
        .click("ok");
    assert_eq!(c.app.shared.staged.plan.rules[0].from.len(), 1, "{:?}", c.app.shared.staged.plan);
    c.until(|a| a.shared.facts.planned.as_ref().is_some_and(|p| p.plan == a.shared.staged.plan));
    // What was said goes with the first click.
    c.click("staged: 1 node").click("3 Plan").click("apply on trial").click("No, go back").click("No, go back");
    assert!(!c.app.shared.facts.trial_runs() && c.app.place() == Place::Plan);
    c.press(&["g", "backspace", "backspace"]);
    assert!(c.picture().contains("[x] portmapper"), "{}", c.picture());
    c.click("[x] portmapper");
    assert!(c.picture().contains("[ ] portmapper"));
    c.click("close").click("2 Chains").click("quit");
}

#[test]
fn the_texts_name_the_keys_in_force() {
    let theme = Theme { depth: Depth::Many, ground: Ground::Either, unicode: true, reader: false };
    let config = Config::read(
        theme,
        "[keys]\nprotect = \"P\"\nto-plan = \"f3\"\ntrial = \"f4\"\nkeep = \"f5\"\nguide = \"G\"\nbottom = \"end\"\n",
    );
    assert_eq!(config.remarks, []);
    let mut c = Cockpit::with(Subject::Demo, config, 80, 24, false);
    assert!(c.picture().contains("G guide"), "{}", c.picture());
    c.press(&["P", "text:192.0.2.11", "enter"]);
    c.until(|a| a.shared.facts.planned.as_ref().is_some_and(|p| p.plan == a.shared.staged.plan));
    assert!(c.picture().contains("f3 shows"), "{}", c.picture());
    c.app.act(Action::ToPlan);
    c.press(&["y", "enter"]);
    c.until(|a| a.shared.facts.trial_runs() && a.shared.facts.busy.is_none());
    assert!(c.picture().contains("f5  keeps the plan"), "{}", c.picture());
    c.press(&["esc"]);
    assert!(c.picture().contains("f4 shows it"), "{}", c.picture());
}

#[test]
fn the_way_to_a_port_that_does_not_listen_there_is_not_called_open() {
    let mut c = Cockpit::demo(80, 24);
    let traced = |c: &mut Cockpit, from: &str| {
        while !(c.app.shared.facts.lit.is_some() && c.picture().contains(from) && c.picture().contains("filter INPUT"))
        {
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
fn no_key_panics() {
    let mut c = Cockpit::demo(80, 24);
    let mut dice = Dice(0x5eed_cafe);
    let special = [
        KeyCode::Enter,
        KeyCode::Esc,
        KeyCode::Tab,
        KeyCode::BackTab,
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::Left,
        KeyCode::Right,
        KeyCode::PageUp,
        KeyCode::PageDown,
        KeyCode::Home,
        KeyCode::End,
        KeyCode::Backspace,
        KeyCode::Delete,
        KeyCode::F(1),
    ];
    // The whole run takes a minute and a half in a debug build; it is part of `tests/run --full`.
    let keys = if std::env::var_os("PORTCULLIS_FULL").is_some_and(|v| !v.is_empty()) { 100_000 } else { 5_000 };
    for n in 0..keys {
        match dice.roll(40) {
            0 => c.app.shared.area = Rect::new(0, 0, 1 + dice.roll(220) as u16, 1 + dice.roll(70) as u16),
            1 => {
                c.app.input(Input::Click(dice.roll(220) as u16, dice.roll(70) as u16));
            }
            2 => {
                c.app.input(Input::Wheel(dice.roll(220) as u16, 0, dice.roll(7) as i32 - 3));
            }
            3 => {
                c.app.input(Input::Paste("192.0.2.7 \x1b[31m nfs\n".into()));
            }
            r => {
                let code = if r < 20 {
                    special[dice.roll(special.len() as u64) as usize]
                } else {
                    KeyCode::Char(char::from(b' ' + dice.roll(95) as u8))
                };
                let mods = if dice.roll(12) == 0 { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
                c.app.input(Input::Key(KeyEvent::new(code, mods)));
            }
        }
        // Exports would write files; all else goes to the demo.
        let requests = std::mem::take(&mut c.app.requests);
        for r in requests.into_iter().filter(|r| !matches!(r, Request::Export { .. })) {
            assert!(c.to.send(r));
        }
        while let Ok(r) = c.from.try_recv() {
            assert!(
                !matches!(&r, Reply::Failed { of: Task::Defect, .. } | Reply::Refused { code: Code::Defect, .. }),
                "{r:?}"
            );
            c.app.reply(r);
        }
        c.app.copy = None;
        if n % 5 == 0 {
            c.app.draw();
        }
    }
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
fn what_a_staged_plan_changes_is_marked() {
    let mut c = Cockpit::demo(80, 24);
    assert!(!c.picture().contains("*portmapper"), "{}", c.picture());
    staged(&mut c);
    let picture = c.picture();
    assert!(
        picture.contains("*portmapper") && picture.contains("(* staged: 3 shows it)") && !picture.contains("*nfs"),
        "{picture}"
    );
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
    c.app.shared.facts.changing = Some("applying".into());
    c.app.reply(Reply::Written("written: plan.sh".into()));
    assert!(c.app.shared.facts.changing.is_some());
    c.app.reply(Reply::Done("reverted".into()));
    assert!(c.app.shared.facts.changing.is_none());
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
fn escape_and_a_key_at_once_are_both_taken() {
    let mut c = Cockpit::demo(80, 24);
    let alt = |c: &mut Cockpit, key: char| {
        let turn = c.app.input(Input::Key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::ALT)));
        c.app.draw();
        turn
    };
    c.press(&["?"]);
    assert_eq!((alt(&mut c, '3'), c.app.place()), (Turn::On, Place::Plan));
    // In a field that takes text, too; what would leave does.
    c.press(&["/", "text:nfs"]);
    assert_eq!((alt(&mut c, '1'), c.app.place()), (Turn::On, Place::Services));
    c.press(&["?"]);
    assert_eq!(alt(&mut c, 'q'), Turn::Quit);
    // A key that Alt has is that key.
    c.press(&["3"]);
    assert!(c.app.shared.keys.lookup(Place::Plan, KeyEvent::new(KeyCode::Up, KeyModifiers::ALT)).is_some());
}

#[test]
fn what_others_wrote_on_the_screen_goes_with_a_key_and_with_a_change_of_the_trial() {
    let mut c = Cockpit::demo(80, 24);
    let redraws = |c: &mut Cockpit| c.app.input(Input::Key(KeyEvent::new(KeyCode::Char('l'), KeyModifiers::CONTROL)));
    assert_eq!(redraws(&mut c), Turn::Redraw);
    c.press(&["/", "text:n"]);
    assert_eq!((redraws(&mut c), c.app.place()), (Turn::Redraw, Place::Find));
    c.press(&["esc"]);
    assert_eq!(c.app.redraws, 0);
    c.app.reply(Reply::Done("reverted".into()));
    assert!(c.app.redraws > 1, "a message may come a moment later");
}

#[test]
fn a_line_is_copied_and_a_second_click_is_enter() {
    let mut c = Cockpit::demo(80, 24);
    c.press(&["c"]);
    let line = c.app.copy.take().unwrap();
    assert!(line.contains("111") && line.contains("IPv4: anyone"), "{line}");
    assert!(c.picture().contains("copied: "), "{}", c.picture());
    c.press(&["n"]);
    assert!(c.picture().contains("no search is active: / starts one"), "{}", c.picture());
    c.click("mountd").click("mountd");
    assert_eq!(c.app.place(), Place::Chains, "{}", c.picture());
    c.press(&["c"]);
    assert!(c.app.copy.take().unwrap().starts_with('-'), "{}", c.picture());
    c.press(&["1"]).click("mountd").press(&["down"]).click("mountd");
    assert_eq!(c.app.place(), Place::Services, "something came in between");
}
