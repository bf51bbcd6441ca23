//! The thread that changes the host, in the order of the keys: keep and revert never wait for a look or a plan.

use std::sync::mpsc::{Receiver, Sender};

use super::Token;
use super::told::{Machine, Teller, shown};
use crate::host::Host;
use crate::model::Code;
use crate::trial::{self, Options, Refusal, Reverted, save};
use crate::tui::protocol::{Change, Proposal, Reply, Request};
use crate::tui::widgets::wrap;

/// Sentences in the save popup are wrapped at this width, to fit 80 columns.
const BOOT_WIDTH: usize = 74;

struct Changer<E> {
    host: Option<Machine>,
    looks: Sender<(Request, Token)>,
    teller: Teller<E>,
    /// The preview that the save popup shows.
    save_shown: Option<save::Preview>,
}

/// Runs until the screen is gone. After each change it asks the other thread to look at the host.
pub fn run<E: From<Reply> + Send + 'static>(
    host: Option<Machine>,
    changes: &Receiver<(Change, Token)>,
    looks: Sender<(Request, Token)>,
    teller: Teller<E>,
) {
    let mut w = Changer { host, looks, teller, save_shown: None };
    while let Ok((change, _token)) = changes.recv() {
        if !super::survives(|| w.serve(change)) {
            w.refuse(super::defect());
        }
    }
}

impl<E: From<Reply> + Send + 'static> Changer<E> {
    fn serve(&mut self, change: Change) {
        let Some(host) = self.host.clone() else {
            self.refuse(Refusal::new(
                Code::Capture,
                "this is captured text, not a host",
                "run portcullis on the host itself, as root",
            ));
            return;
        };
        let ends = matches!(change, Change::Keep { .. } | Change::Revert);
        match self.change(host.as_ref(), change) {
            Ok(reply @ (Reply::Done(_) | Reply::Saved(..))) => {
                self.teller.tell_trial(&host);
                self.teller.tell(reply);
                self.look();
            }
            Ok(reply) => {
                let began = matches!(reply, Reply::Began(_));
                self.teller.tell(reply);
                if began {
                    self.teller.tell_trial(&host);
                    self.look();
                }
            }
            Err(r) => {
                // A trial that could not be ended may have ended by itself.
                let looks = ends || r.code == Code::Moved;
                self.teller.tell_trial(&host);
                self.refuse(r);
                if looks {
                    self.look();
                }
            }
        }
    }

    fn look(&self) {
        // That thread ends only when the screen does.
        let _ = self.looks.send((Request::Look, None));
    }

    fn refuse(&self, r: Refusal) {
        self.teller.tell(Reply::Refused { what: r.what, hint: r.hint, code: r.code });
    }

    fn change(&mut self, host: &dyn Host, change: Change) -> Result<Reply, Refusal> {
        match change {
            Change::Apply { what: Proposal { plan, seen, allowed, .. }, within } => {
                let options = Options { confirm_within: within, allowed, seen: Some(seen) };
                let mut progress = |what: &str| self.teller.tell(Reply::Changing(what.to_owned()));
                trial::apply(host, &plan, &options, &mut progress)
                    .map(|r| Reply::Began(shown(&r, &trial::status(host))))
            }
            Change::Keep { without_proof } => trial::keep(host, without_proof)
                .map(|_| Reply::Done("kept: the plan stays; s on the Plan screen saves it for the next boot".into())),
            Change::Revert => {
                trial::revert_telling(host, &mut |what| self.teller.tell(Reply::Changing(what.to_owned()))).and_then(
                    |found| match found {
                        Reverted::Trial(r) => Ok(Reply::Done(r.reverted().into())),
                        Reverted::Unrecorded(_) => {
                            Ok(Reply::Done("a trial without a state file was found in the kernel and reverted".into()))
                        }
                        Reverted::EndedBefore(r) => {
                            let what = format!("no trial is pending; trial {} was {} before", r.id, r.state().word());
                            Err(Refusal::new(Code::NoTrial, what, "nothing was reverted now"))
                        }
                    },
                )
            }
            Change::Extend => trial::extend(host).map(|r| Reply::Trial(Some(shown(&r, &trial::status(host))))),
            Change::SavePreview { mode } => {
                save::prepare(host, mode.unwrap_or_else(|| trial::usual_mode(host))).map(|p| {
                    let (mode, text) = (p.mode, preview_text(&p));
                    self.save_shown = Some(p);
                    Reply::SavePreview { mode, text }
                })
            }
            // Exactly what was shown is written: save compares the two.
            Change::Save { mode } => {
                self.save_shown
                    .take()
                    .filter(|p| p.mode == mode)
                    .map_or_else(|| save::preview(host, mode), Ok)
                    .and_then(|p| {
                        save::save(host, &p).map(|done| {
                            let (what, done, to_do) = (mode.what(), done.join("; "), p.to_do());
                            // What is left to do comes first, because the rest may not fit into the message.
                            let text = to_do.as_ref().map_or_else(
                                || format!("saved {what}: {done}"),
                                |t| format!("saved {what}. Before the next boot: {t} Done: {done}"),
                            );
                            Reply::Saved(text, to_do)
                        })
                    })
            }
        }
    }
}

/// What the next boot does with the files, then the difference for each file.
fn preview_text(p: &save::Preview) -> String {
    let refused = p.refused.as_ref().map(|r| format!("This is refused: {}; {}.", r.what, r.hint));
    let mut out: String = refused
        .iter()
        .map(String::as_str)
        .chain(p.boot.lines())
        .flat_map(|l| wrap(l, BOOT_WIDTH))
        .flat_map(|l| [l, "\n".into()])
        .collect();
    for f in &p.files {
        if f.diff.is_empty() {
            out.push_str(&format!("{}: no difference\n", f.path.display()));
        } else {
            out.push_str(&f.diff);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::model::Code;
    use crate::observe::capture::Input;
    use crate::tui::protocol::{Change, Reply, Request};
    use crate::tui::worker::{Subject, Worker};

    #[test]
    fn a_change_does_not_wait_for_a_look() {
        let rules: String = (0..20_000)
            .map(|n| {
                format!("-A INPUT -s 10.{}.{}.0/24 -p tcp --dport {} -j ACCEPT\n", n / 250, n % 250, n % 60_000 + 1)
            })
            .collect();
        let text = format!("*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n{rules}COMMIT\n");
        let (out, replies) = std::sync::mpsc::channel::<Reply>();
        let worker =
            Worker::start_without_drafts(Subject::Texts(vec![Input { name: "rules".into(), text, family: None }]), out)
                .unwrap();
        assert!(worker.send(Request::Change(Change::Revert)));
        let mut looked = false;
        for r in replies {
            match r {
                Reply::Seen(seen) => looked |= !seen.judging,
                Reply::Refused { code, .. } => {
                    assert_eq!((code, looked), (Code::Capture, false));
                    return;
                }
                _ => {}
            }
        }
        panic!("no answer");
    }
}
