//! The states of a trial and what may follow what. Pure: the programs that act ([`super::begin`], [`super::end`],
//! [`super::guard`]) ask here, so that all of them agree.

use crate::model::trial::State;

/// What happens to a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Both families hold the plan, read back.
    Applied,
    /// A family refused the plan, or the reading differs.
    ApplyFailed,
    /// Somebody wants more time.
    Extend,
    /// Somebody wants to keep it, also again after a keep that was cut short.
    Keep,
    /// Both families hold the plan without dates, read back.
    KeepDone,
    /// That failed.
    KeepFailed,
    /// Somebody wants the old rules, the guard was told to end, or the holder of the trial died.
    Revert,
    /// Both families hold the old rules, read back.
    RevertDone,
    /// The time is over.
    Deadline,
    /// The fuse's second is over and no guard lives.
    FusePassed,
}

/// What has to be done next; the act ends in one of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Nothing: wait for the next event.
    Wait,
    /// Move the fuses, then the guard's deadline.
    MoveFuse,
    /// Refill both families without dates and read back.
    TakeDatesOut,
    /// Refill both families with the old rules and read back; again until it holds.
    PutOldBack,
    /// Write it down; the guard may go.
    Finish,
}

/// The next state and what to do; `None`: not possible in this state.
pub fn step(state: State, event: Event) -> Option<(State, Act)> {
    use Act::{Finish, MoveFuse, PutOldBack, TakeDatesOut, Wait};
    use State::{Armed, Expired, Keeping, Kept, Lost, Reverted, Reverting, Running};
    Some(match (state, event) {
        (Armed, Event::Applied) => (Running, Wait),
        (Running, Event::Extend) => (Running, MoveFuse),
        (Running | Keeping, Event::Keep) => (Keeping, TakeDatesOut),
        (Keeping, Event::KeepDone) => (Kept, Finish),
        (Armed, Event::ApplyFailed)
        | (Keeping, Event::KeepFailed)
        | (Armed | Running | Keeping | Reverting, Event::Deadline)
        | (Armed | Running | Keeping | Reverting | Expired | Lost, Event::Revert) => (Reverting, PutOldBack),
        (Reverting, Event::RevertDone) => (Reverted, Finish),
        (Armed | Running, Event::FusePassed) => (Expired, Wait),
        // Kept, reverted and failed are ends; the rest does not fit the state.
        _ => return None,
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
    const EVENTS: [Event; 10] = [
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
    ];

    #[test]
    fn from_every_pending_state_a_revert_ends_reverted() {
        for s in STATES.into_iter().filter(|s| s.is_pending()) {
            let (next, act) = step(s, Event::Revert).unwrap();
            assert_eq!((next, act), (State::Reverting, Act::PutOldBack), "{s:?}");
            assert_eq!(step(next, Event::RevertDone), Some((State::Reverted, Act::Finish)));
        }
    }

    #[test]
    fn the_deadline_reverts_whatever_was_going_on() {
        for s in [State::Armed, State::Running, State::Keeping, State::Reverting] {
            assert_eq!(step(s, Event::Deadline).unwrap().0, State::Reverting);
        }
    }

    #[test]
    fn only_a_keep_that_was_read_back_is_kept() {
        for s in STATES {
            for e in EVENTS {
                if let Some((State::Kept, _)) = step(s, e) {
                    assert_eq!((s, e), (State::Keeping, Event::KeepDone));
                }
            }
        }
    }

    #[test]
    fn what_has_ended_stays_ended() {
        for s in [State::Kept, State::Reverted, State::Failed] {
            assert!(EVENTS.into_iter().all(|e| step(s, e).is_none()) && !s.is_pending());
        }
    }

    /// Wherever a sequence of events stops, the state is pending (the guard acts on it) or ended.
    #[test]
    fn no_sequence_gets_stuck() {
        let mut seen = vec![State::Armed];
        let mut at = 0;
        while let Some(&s) = seen.get(at) {
            at += 1;
            for e in EVENTS {
                if let Some((n, _)) = step(s, e)
                    && !seen.contains(&n)
                {
                    seen.push(n);
                }
            }
        }
        assert!(seen.iter().all(|s| !s.is_pending() || step(*s, Event::Revert).is_some()));
        assert!(seen.contains(&State::Kept) && seen.contains(&State::Reverted));
    }
}
