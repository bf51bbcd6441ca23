//! The cockpit. Reading order: [`app`] (state and update), [`keymap`] (the one table of keys), [`shared`] (what all
//! screens see: [`facts`], what is [`staged`], and the queue of [`wishes`]), `screens`, `popups`, [`protocol`] (the
//! words between screen and worker), [`worker`] (threads, channels; the only room that touches the host), [`terminal`]
//! and [`input`] (bytes).
//!
//! One loop, blocked on one channel: keys, answers of the worker and signals are events. All events that are
//! there are taken before one picture is drawn, so that held keys never queue up.

pub mod app;
mod applying;
pub mod config;
pub mod facts;
mod guided;
pub mod input;
pub mod keymap;
mod notes;
mod planned;
mod popups;
pub mod protocol;
mod screens;
mod search;
mod sentence;
pub mod shared;
pub mod staged;
pub mod terminal;
#[cfg(test)]
mod tests;
pub mod theme;
mod widgets;
pub mod wishes;
pub mod worker;

use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::Signals;

use app::{App, Turn};
pub use config::Config;
use input::Input;
use protocol::Reply;
use terminal::Terminal;
pub use worker::Subject;
use worker::Worker;

/// Who leaves waits at most so long for a change that is under way, and for a draft that is written.
const CHANGE_WAIT: Duration = Duration::from_secs(20);
const WRITE_WAIT: Duration = Duration::from_secs(2);
/// What takes no longer than this is not said.
const UNSEEN: Duration = Duration::from_millis(100);

/// What there is to say when the cockpit was left.
#[derive(Debug, Default)]
pub struct Left {
    /// What is not as one would think.
    pub notes: Vec<String>,
}

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

/// Runs the cockpit until the operator leaves. `guide`: opened on the guided steps.
pub fn run(subject: Subject, guide: bool, config: Config) -> io::Result<Left> {
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
    let left = leave(&mut app, &mut terminal, worker, lives_on);
    done.map(|()| left)
}

/// Hands over what was asked for last and waits until it is done: the guard takes back a keep that dies half-way, and a
/// draft would be lost. However the cockpit is left, also by a terminal that is gone.
fn leave(app: &mut App, terminal: &mut Terminal, worker: Worker, lives_on: bool) -> Left {
    for r in std::mem::take(&mut app.requests) {
        // A worker that is gone has said so.
        let _ = worker.send(r);
    }
    let mut left = Left::default();
    let ending = worker.leave();
    let changed = ending.changed(UNSEEN);
    if !changed || !ending.written(UNSEEN) {
        let what = if changed {
            "storing the plan as a draft"
        } else {
            app.shared.facts.changing.as_deref().unwrap_or("changing")
        };
        app.shared.say(format!("leaving as soon as this is done: {what}"));
        let picture = app.draw();
        // Nobody may be there to see it.
        let _ = terminal.show(picture);
    }
    if !ending.changed(CHANGE_WAIT) {
        left.notes.push("a change was still under way and was cut off: `portcullis status` says what holds now".into());
    } else if lives_on
        && (app.shared.facts.trial_runs() || app.shared.facts.changing.is_some())
        && let Some(t) = ending.trial().filter(|t| t.pending)
    {
        left.notes.extend(t.phase.map(|p| {
            let how = if p.left().is_some() { "goes on".to_owned() } else { format!("is {}", t.state) };
            format!("the trial {how}: {}; {}", p.says(), p.commands())
        }));
    }
    if !ending.written(WRITE_WAIT) {
        left.notes.push("the host was still being looked at: the plan may not be stored as a draft".into());
    }
    left
}

fn turn(app: &mut App, terminal: &mut Terminal, events: &Receiver<Event>, worker: &Worker) -> io::Result<()> {
    loop {
        for r in std::mem::take(&mut app.requests) {
            if !worker.send(r) {
                app.shared.complain("the worker is gone: leave with q and start again");
            }
        }
        if let Some(text) = app.copy.take() {
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
                    Turn::Redraw => terminal.forget(),
                },
                Event::Reply(r) => {
                    app.reply(*r);
                    if app.redraws > 0 {
                        app.redraws -= 1;
                        terminal.forget();
                    }
                }
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
