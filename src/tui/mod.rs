//! The cockpit. Reading order: [`app`] (state and update), [`keymap`] (the one table of keys), [`shared`] (what all
//! screens see: [`facts`], what is [`staged`], and the queue of [`wishes`]), `screens`, `popups`, [`protocol`]
//! (messages between screen and worker), [`worker`] (threads and channels; the only part that touches the host),
//! [`terminal`] and [`input`] (bytes).
//!
//! One loop blocks on one channel: keys, answers of the worker and signals are events. All pending events are handled
//! before the screen is drawn, so that held keys never queue up.

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

/// The longest wait on exit for a change in progress and for the draft to be written.
const CHANGE_WAIT: Duration = Duration::from_secs(20);
const WRITE_WAIT: Duration = Duration::from_secs(2);
/// Waits up to this long are not announced.
const UNSEEN: Duration = Duration::from_millis(100);

/// What to report after the cockpit was left.
#[derive(Debug, Default)]
pub struct Left {
    /// What may not be as expected.
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

/// Sends the last requests and waits until they are done, however the cockpit was left, even when the terminal is gone:
/// the guard reverts a keep that was cut off, and a draft would be lost.
fn leave(app: &mut App, terminal: &mut Terminal, worker: Worker, lives_on: bool) -> Left {
    for r in std::mem::take(&mut app.requests) {
        // The answers already report a worker that is gone.
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
        // The terminal may be gone.
        let _ = terminal.show(picture);
    }
    if !ending.changed(CHANGE_WAIT) {
        left.notes
            .push("a change was still under way and was cut off: `portcullis status` shows the current state".into());
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

/// Gives the terminal back, suspends, and takes it again when the shell resumes us.
fn suspend(terminal: &mut Terminal) -> io::Result<()> {
    terminal.release();
    signal_hook::low_level::emulate_default_handler(SIGTSTP)?;
    terminal.hold()
}
