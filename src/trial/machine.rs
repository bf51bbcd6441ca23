//! The transition table of a trial. Pure: [`super::record::Record::advance`] asks this one table, so that everything
//! that acts ([`super::begin`], [`super::end`], [`super::guard`]) agrees.

use thiserror::Error;

use crate::model::trial::State;

/// What happens to a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Both families hold the plan, read back.
    Applied,
    /// A family refused the plan, or the rules read back differ.
    ApplyFailed,
    /// Somebody wants more time.
    Extend,
    /// Somebody wants to keep it, or to finish a keep that was cut short.
    Keep,
    /// Both families hold the plan without dates, read back.
    KeepDone,
    /// The keep failed.
    KeepFailed,
    /// Somebody wants the old rules, the guard was told to end, or the holder of the trial died.
    Revert,
    /// Both families hold the old rules, read back.
    RevertDone,
    /// The time is over.
    Deadline,
    /// The fuse's last second has passed, and no guard is alive.
    FusePassed,
    /// It was given up before the kernel was touched.
    GivenUp,
    /// A plan that a family refused has been removed from both.
    Undone,
    /// There is nothing to try: the plan is in force already, or nothing is left to remove.
    NothingToTry,
    /// The kernel shows its rules, though the file does not say that they were applied.
    FoundLive,
    /// Nothing of it is left, though its end was not recorded.
    FoundOver,
    /// Somebody removed its rules, and also those that were kept before.
    FoundLost,
}

/// An event that does not fit the state of the trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a trial that is {state} cannot go on with {event:?}")]
pub struct OutOfTurn {
    /// The state of the trial.
    pub state: State,
    /// The event that does not fit.
    pub event: Event,
}

/// The next state.
pub fn step(state: State, event: Event) -> Result<State, OutOfTurn> {
    use State::{Armed, Expired, Failed, Keeping, Kept, Lost, Reverted, Reverting, Running};
    Ok(match (state, event) {
        (Armed, Event::Applied) | (Running, Event::Extend) | (Armed | Running, Event::FoundLive) => Running,
        (Running | Keeping, Event::Keep) => Keeping,
        (Keeping, Event::KeepDone) | (Armed, Event::NothingToTry) => Kept,
        (Armed | Running, Event::ApplyFailed)
        | (Keeping, Event::KeepFailed)
        | (Armed | Running | Keeping | Reverting, Event::Deadline)
        | (Armed | Running | Keeping | Reverting | Expired | Lost, Event::Revert) => Reverting,
        (Reverting, Event::RevertDone) => Reverted,
        (Reverting, Event::Undone) | (Armed, Event::GivenUp) => Failed,
        (Armed | Running, Event::FusePassed) => Expired,
        (pending, Event::FoundOver) if pending.is_pending() => Reverted,
        (Running | Expired, Event::FoundLost) => Lost,
        // Kept, reverted and failed are final; other pairs do not fit.
        _ => return Err(OutOfTurn { state, event }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 9] = [
        State::Armed,
        State::Running,
        State::Keeping,
        State::Kept,
        State::Reverting,
        State::Reverted,
        State::Expired,
        State::Failed,
        State::Lost,
    ];
    const EVENTS: [Event; 16] = [
        Event::Applied,
        Event::ApplyFailed,
        Event::Extend,
        Event::Keep,
        Event::KeepDone,
        Event::KeepFailed,
        Event::Revert,
        Event::RevertDone,
        Event::Deadline,
        Event::FusePassed,
        Event::GivenUp,
        Event::Undone,
        Event::NothingToTry,
        Event::FoundLive,
        Event::FoundOver,
        Event::FoundLost,
    ];

    #[test]
    fn from_every_pending_state_a_revert_ends_reverted() {
        for s in STATES.into_iter().filter(|s| s.is_pending()) {
            assert_eq!(step(s, Event::Revert), Ok(State::Reverting), "{s:?}");
            assert_eq!(step(State::Reverting, Event::RevertDone), Ok(State::Reverted));
        }
    }

    #[test]
    fn the_deadline_reverts_whatever_was_going_on() {
        for s in [State::Armed, State::Running, State::Keeping, State::Reverting] {
            assert_eq!(step(s, Event::Deadline), Ok(State::Reverting));
        }
    }

    #[test]
    fn only_a_keep_that_was_read_back_is_kept_or_what_needed_no_trial() {
        for s in STATES {
            for e in EVENTS {
                if step(s, e) == Ok(State::Kept) {
                    assert!(matches!((s, e), (State::Keeping, Event::KeepDone) | (State::Armed, Event::NothingToTry)));
                }
            }
        }
    }

    #[test]
    fn only_what_is_not_in_the_kernel_has_failed() {
        for s in STATES {
            for e in EVENTS {
                if step(s, e) == Ok(State::Failed) {
                    assert!(matches!((s, e), (State::Armed, Event::GivenUp) | (State::Reverting, Event::Undone)));
                }
            }
        }
    }

    #[test]
    fn an_apply_that_cannot_be_recorded_is_undone() {
        let undone = [Event::Applied, Event::ApplyFailed, Event::Undone].into_iter().try_fold(State::Armed, step);
        assert_eq!(undone, Ok(State::Failed));
    }

    #[test]
    fn what_has_ended_stays_ended() {
        for s in [State::Kept, State::Reverted, State::Failed] {
            assert!(EVENTS.into_iter().all(|e| step(s, e).is_err()) && !s.is_pending());
        }
    }

    /// Wherever a sequence of events stops, the state is either pending (the guard acts on it) or final.
    #[test]
    fn no_sequence_gets_stuck() {
        let mut seen = vec![State::Armed];
        let mut at = 0;
        while let Some(&s) = seen.get(at) {
            at += 1;
            for e in EVENTS {
                if let Ok(n) = step(s, e)
                    && !seen.contains(&n)
                {
                    seen.push(n);
                }
            }
        }
        assert!(seen.iter().all(|s| !s.is_pending() || step(*s, Event::Revert).is_ok()));
        assert!(seen.contains(&State::Kept) && seen.contains(&State::Reverted));
    }
}
