//! The cockpit. Reading order: [`app`] (state and update), [`keymap`] (the one table of keys), `screens`, `popups`,
//! [`worker`] (threads, channels; the only room that touches the host), [`terminal`] and [`input`] (bytes).
//!
//! One loop, blocked on one channel: keys, answers of the worker and signals are events. All events that are
//! there are taken before one picture is drawn, so that held keys never queue up.

pub mod app;
pub mod config;
pub mod input;
pub mod keymap;
mod needle;
mod notes;
mod planned;
mod popups;
mod screens;
mod sentence;
pub mod shared;
pub mod terminal;
pub mod theme;
#[cfg(test)]
mod tests;
mod widgets;
pub mod worker;

use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::Signals;

use app::{App, Turn};
pub use config::Config;
use input::Input;
use shared::{Reply, Request};
use terminal::Terminal;
use worker::Worker;
pub use worker::Subject;

/// Everything that can happen.
enum Event {
    Input(Input),
    Reply(Box<Reply>),
    Signal(i32),
}

impl From<Input> for Event {
    fn from(i: Input) -> Self {
        Self::Input(i)
    }
}

impl From<Reply> for Event {
    fn from(r: Reply) -> Self {
        Self::Reply(Box::new(r))
    }
}

/// Runs the cockpit until the operator leaves. `guide`: opened on the guided steps. In how many seconds a trial ends that
/// goes on without him.
pub fn run(subject: Subject, guide: bool, config: Config) -> io::Result<Option<u64>> {
    let keys = terminal::keys()?;
    let mut terminal = Terminal::take(config.mouse)?;
    let (out, events) = channel();
    let to_input = out.clone();
    thread::Builder::new().name("keys".into()).spawn(move || input::pump(keys, &to_input))?;
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGCONT, SIGWINCH])?;
    let to_signals = out.clone();
    thread::Builder::new().name("signals".into()).spawn(move || {
        for s in signals.forever() {
            if to_signals.send(Event::Signal(s)).is_err() {
                return;
            }
        }
    })?;
    let lives_on = matches!(subject, Subject::Live);
    let worker = Worker::start(subject, out)?;
    let mut app = App::new(config, terminal.area(), guide);
    let done = turn(&mut app, &mut terminal, &events, &worker);
    worker.send(Request::Stop);
    done.map(|()| app.shared.trial.filter(|t| lives_on && t.pending).map(|t| t.left))
}

fn turn(app: &mut App, terminal: &mut Terminal, events: &Receiver<Event>, worker: &Worker) -> io::Result<()> {
    loop {
        for r in std::mem::take(&mut app.shared.requests) {
            if !worker.send(r) {
                app.shared.complain("the worker is gone: leave with q and start again");
            }
        }
        if let Some(text) = app.shared.copy.take() {
            terminal.copy(&text)?;
        }
        let picture = app.draw();
        terminal.show(picture)?;
        let Ok(first) = events.recv() else { return Ok(()) };
        let mut next = Some(first);
        while let Some(event) = next {
            match event {
                Event::Input(i) => match app.input(i) {
                    Turn::On => {}
                    Turn::Quit => return Ok(()),
                    Turn::Suspend => suspend(terminal)?,
                },
                Event::Reply(r) => app.reply(*r),
                Event::Signal(SIGWINCH) => app.shared.area = terminal.area(),
                Event::Signal(SIGTSTP) => suspend(terminal)?,
                Event::Signal(SIGCONT) => {
                    terminal.forget();
                    app.shared.area = terminal.area();
                }
                Event::Signal(_) => return Ok(()),
            }
            next = events.try_recv().ok();
        }
    }
}

/// Gives the terminal back, stops, and takes it again when the shell lets us go on.
fn suspend(terminal: &mut Terminal) -> io::Result<()> {
    terminal.release();
    signal_hook::low_level::emulate_default_handler(SIGTSTP)?;
    terminal.hold()
}
