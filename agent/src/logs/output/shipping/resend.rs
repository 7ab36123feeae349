use super::Shipping;
use crate::logs::output::flight::Mark;
use crate::logs::output::replay::Replay;
use crate::logs::output::resend::{Resend, Resent, What};
use crate::logs::status::Hindrance;
use tokio::task::block_in_place;

impl Shipping {
    pub(super) fn resend(&mut self, order: Resend) {
        let resent = match &order.what {
            What::Since { since, source } => {
                self.is_dirty = true;
                let resent = block_in_place(|| self.lanes.go_back_to(*since, source.as_deref()));
                self.lanes.give_up_decoders();
                Ok(resent)
            }
            What::DeadLetters => block_in_place(|| self.put_letters_aside()),
        };
        if let Ok(resent) = resent {
            log::info!(output = self.task.name; "logs: {} bytes are sent again, of {} files", resent.bytes, resent.files);
        }
        // Whoever asked may be gone.
        let _ = order.answer.send(resent);
    }

    fn put_letters_aside(&mut self) -> Result<Resent, String> {
        let name = self.task.name.clone();
        let refused = |error| format!("cannot send the dead letters of {name} again: {error}");
        if !self.dead_letters.put_aside().map_err(refused)? {
            return Ok(Resent::default());
        }
        self.open_replay();
        let bytes = self.dead_letters.replay_path().metadata().map_err(refused)?.len();
        Ok(Resent { files: 1, bytes })
    }

    /// Begins to send again the letters that were put aside, now or before a restart.
    pub(super) fn open_replay(&mut self) {
        self.replay = Replay::open(&self.dead_letters.replay_path()).unwrap_or_else(|error| {
            self.replay_failed(&error);
            None
        });
    }

    /// Encodes the next letters; whether there were any.
    pub(super) fn read_letters(&mut self, now: &str) -> bool {
        let Some(replay) = &mut self.replay else { return false };
        if replay.is_read() {
            return false;
        }
        let letters = match replay.next(super::PIECE) {
            Ok(letters) => letters,
            Err(error) => {
                self.replay = None;
                self.replay_failed(&error);
                return false;
            }
        };
        let before = self.out.bytes.len();
        for letter in letters {
            let source = self.task.sources.iter().find(|source| source.name == letter.facts.source);
            self.lanes.read_letter(letter, source.map(|source| &**source), now, &mut self.out);
        }
        for refused in self.out.refused.drain(..) {
            self.dead_letters.add(&refused);
        }
        self.flight.sent(Mark::of_letters((self.out.bytes.len() - before) as u64));
        true
    }

    /// All that was sent is acknowledged: so are the letters, if all of them were.
    pub(super) fn letters_acknowledged(&mut self) {
        if self.flight.is_empty()
            && self.replay.as_ref().is_some_and(Replay::is_read)
            && self.flush_dead_letters()
            && let Some(replay) = self.replay.take()
            && let Err(error) = replay.finish()
        {
            self.replay_failed(&error);
        }
    }

    fn replay_failed(&self, error: &std::io::Error) {
        let why = format!("cannot send {} again: {error}", self.dead_letters.replay_path().display());
        self.task.health.hindered(Hindrance::DeadLetters, &self.task.name, why);
    }
}
