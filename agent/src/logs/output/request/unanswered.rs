/// So many times the same is sent before less is tried: a body may be too large for somebody on the way, who does not say so.
const WHOLE: u32 = 3;
/// A record alone is sent so often before others are tried.
const ALONE: u32 = 3;
/// So many times in a row it was not answered while another was taken right after it: then it is for what is in it. That is
/// long enough for a backend that restarts behind a load balancer.
const WITNESSED: u32 = 3;

/// What is known of a portion that nobody answers.
#[derive(Debug, Default)]
pub struct Unheard {
    /// So many times in a row.
    tries: u32,
    /// Portions were parted already: others are at once.
    is_parting: bool,
    /// So many times in a row, another record was taken right after it.
    witnessed: u32,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    SendAgain,
    Part,
    /// See whether another record is taken.
    TryAnother,
}

impl Unheard {
    /// A portion of so many was not answered.
    pub fn remedy(&mut self, length: usize) -> Remedy {
        self.tries += 1;
        match length {
            1 if self.tries > ALONE => Remedy::TryAnother,
            1 => Remedy::SendAgain,
            _ if self.is_parting || self.tries >= WHOLE => {
                (self.tries, self.is_parting) = (0, true);
                Remedy::Part
            }
            _ => Remedy::SendAgain,
        }
    }

    /// Another record was taken after the one that is not answered, or was not either; whether it is for what is in that one.
    pub fn witness(&mut self, is_taken: bool) -> bool {
        self.witnessed = if is_taken { self.witnessed + 1 } else { 0 };
        self.witnessed >= WITNESSED
    }

    /// Something else is sent now.
    pub fn answered(&mut self) {
        (self.tries, self.witnessed) = (0, 0);
    }

    /// What is said of a record that is given up.
    pub fn why(&self, why: &str) -> String {
        format!(
            "{why}; {} times, and each of the last {WITNESSED} times another line was taken right after it, so it is for what this line says, perhaps by a firewall or proxy on the way: let that one pass it, or leave such lines out with a filter",
            self.tries
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Remedy, Unheard};

    #[test]
    fn a_record_is_given_up_only_while_others_are_taken_time_and_again() {
        let mut unheard = Unheard::default();
        let remedies: Vec<_> = (0..4).map(|_| unheard.remedy(1)).collect();
        assert_eq!(remedies, [Remedy::SendAgain, Remedy::SendAgain, Remedy::SendAgain, Remedy::TryAnother]);
        let given_up = [true, true, false, true, true, true].map(|is_taken| unheard.witness(is_taken));
        assert_eq!(given_up, [false, false, false, false, false, true]);
        assert!(unheard.why("no answer").contains("4 times"));
    }

    #[test]
    fn what_is_many_is_parted_after_a_few_tries_and_then_at_once() {
        let mut unheard = Unheard::default();
        let remedies: Vec<_> = [8, 8, 8, 4, 2, 1].map(|length| unheard.remedy(length)).to_vec();
        let part = Remedy::Part;
        assert_eq!(remedies, [Remedy::SendAgain, Remedy::SendAgain, part, part, part, Remedy::SendAgain]);
    }
}
