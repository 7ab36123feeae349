use super::attempt::Outcome;
use super::book::{Run, State};
use jiff::Timestamp;

/// A run after an attempt.
pub fn record(mut run: Run, outcome: &Outcome) -> Run {
    let state = match outcome {
        Outcome::Ended(state) | Outcome::TimedOut(state, _) => Some(state),
        Outcome::Failed(_) => None,
    };
    run.ended = state.and_then(|state| state.finished).or(Some(Timestamp::now()));
    run.started = state.and_then(|state| state.started).or(run.started);
    run.exit_code = state.map(|state| state.exit_code);
    let why = match outcome {
        Outcome::TimedOut(_, after) => Some(format!("it was stopped after its timeout of {} s", after.as_secs())),
        Outcome::Ended(state) if state.oom => {
            Some(format!("it was killed for lack of memory, exit code {}; raise its memory limit", state.exit_code))
        }
        Outcome::Ended(state) if state.exit_code != 0 => Some(format!("it ended with exit code {}", state.exit_code)),
        Outcome::Ended(_) => None,
        Outcome::Failed(why) => Some(why.clone()),
    };
    run.state = if why.is_some() { State::Failed } else { State::Succeeded };
    run.why = why.or(run.why.filter(|_| run.state == State::Succeeded && run.attempt == 1));
    run
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Run, State, record};
    use crate::containers::engine::JobState;
    use std::time::Duration;

    fn state(exit_code: i64, oom: bool) -> JobState {
        JobState {
            id: "c".into(),
            job_id: "j".into(),
            is_created: false,
            is_running: false,
            exit_code,
            oom,
            started: None,
            finished: None,
        }
    }

    #[test]
    fn each_end_is_told_as_what_it_was() {
        let end = |outcome: &Outcome| {
            let run = record(Run::new("s", "order".into(), "i"), outcome);
            (run.state, run.why.unwrap_or_default())
        };
        assert_eq!(end(&Outcome::Ended(state(0, false))), (State::Succeeded, String::new()));
        assert_eq!(end(&Outcome::Ended(state(3, false))), (State::Failed, "it ended with exit code 3".into()));
        assert!(end(&Outcome::Ended(state(137, true))).1.contains("lack of memory"));
        assert!(end(&Outcome::TimedOut(state(0, false), Duration::from_secs(5))).1.contains("timeout of 5 s"));
        assert_eq!(end(&Outcome::Failed("no image".into())), (State::Failed, "no image".into()));
    }
}
