use nix::sys::statfs::statfs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a caller waits, and how many threads may hang for it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// After this, what has not answered is given up for this time.
    pub deadline: Duration,
    /// When nothing has answered for this long, another thread goes on with the rest.
    pub patience: Duration,
    /// With the ones that hang.
    pub threads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // Well below Prometheus' scrape timeout of 10 s, so that a scrape with a mount that just hung still arrives.
        Self { deadline: Duration::from_secs(2), patience: Duration::from_millis(20), threads: 64 }
    }
}

/// What statfs(2) says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    pub block_size: u64,
    pub blocks: u64,
    pub blocks_free: u64,
    pub blocks_available: u64,
    pub files: u64,
    pub files_free: u64,
}

impl Space {
    /// Asks the kernel, which may take for ever.
    pub fn of(path: &Path) -> io::Result<Self> {
        let answer = statfs(path)?;
        Ok(Self {
            block_size: u64::try_from(answer.block_size()).unwrap_or_default(),
            blocks: answer.blocks(),
            blocks_free: answer.blocks_free(),
            blocks_available: answer.blocks_available(),
            files: answer.files(),
            files_free: answer.files_free(),
        })
    }
}

/// What a place answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing within the deadline, now or since an earlier time.
    Silence,
    /// An error of the system, by its number.
    Refusal(i32),
    /// Its space.
    Space(Space),
}

impl Answer {
    /// What the system said.
    pub fn of(asked: io::Result<Space>) -> Self {
        asked.map_or_else(|error| Self::Refusal(error.raw_os_error().unwrap_or_default()), Self::Space)
    }
}

type Question = Arc<dyn Fn(&Path) -> io::Result<Space> + Send + Sync>;

/// Threads that ask places in the caller's stead. One suffices until a place hangs: then its thread is left to it, and
/// that place is not asked again before it has answered, so that at most one thread hangs for a place.
pub struct StatfsPool {
    limits: Limits,
    question: Question,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    finished: Condvar,
}

#[derive(Default)]
struct State {
    /// Counts the calls, to tell late answers from those of now.
    round: u64,
    places: Arc<[Arc<Path>]>,
    next: usize,
    answers: Vec<Answer>,
    unanswered: usize,
    asking: Vec<(u64, Arc<Path>)>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl StatfsPool {
    /// A pool without threads; they come with the first question.
    pub fn new(limits: Limits, question: impl Fn(&Path) -> io::Result<Space> + Send + Sync + 'static) -> Self {
        Self { limits, question: Arc::new(question), shared: Arc::default() }
    }

    /// Asks all places and returns within the deadline, with an answer for each.
    pub fn ask(&self, places: &Arc<[Arc<Path>]>, answers: &mut Vec<Answer>) {
        if places.is_empty() {
            return answers.clear();
        }
        let began = Instant::now();
        let mut state = self.shared.lock();
        state.begin(places, std::mem::take(answers));
        self.call_a_hand(&mut state);
        while state.unanswered > 0 && state.has_hands(self.limits.threads) {
            let Some(left) = self.limits.deadline.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) else {
                break;
            };
            let before = state.unanswered;
            let pause = left.min(self.limits.patience);
            let waited = self.shared.finished.wait_timeout(state, pause);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.unanswered == before && state.next < state.places.len() {
                self.call_a_hand(&mut state);
            }
        }
        *answers = state.end(self.limits.deadline);
    }

    fn call_a_hand(&self, state: &mut State) {
        if state.idle > 0 {
            self.shared.work.notify_one();
        } else if state.threads < self.limits.threads {
            let (shared, question) = (self.shared.clone(), self.question.clone());
            let thread = std::thread::Builder::new().name("statfs".into()).stack_size(128 << 10);
            match thread.spawn(move || shared.answer(&question)) {
                Ok(_) => state.threads += 1,
                Err(error) => log::warn!(
                    "metrics: cannot start a thread for statfs(2): {error}; filesystems are shown as in error"
                ),
            }
        }
    }
}

impl Drop for StatfsPool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread's life: it ends when another one is idle already.
    fn answer(&self, question: &Question) {
        let mut state = self.lock();
        loop {
            let next = state.take();
            if state.unanswered == 0 {
                self.finished.notify_one();
            }
            if let Some((at, round, place)) = next {
                drop(state);
                let answer = Answer::of(question(&place));
                state = self.lock();
                state.put(at, round, &place, answer);
            } else if state.closed || state.idle > 0 {
                state.threads -= 1;
                return;
            } else {
                state.idle += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }
}

impl State {
    fn begin(&mut self, places: &Arc<[Arc<Path>]>, mut buffer: Vec<Answer>) {
        buffer.clear();
        buffer.resize(places.len(), Answer::Silence);
        self.round += 1;
        self.places = places.clone();
        (self.next, self.unanswered, self.answers) = (0, places.len(), buffer);
    }

    /// The next place of this round; those that still hang since an earlier one stay silent.
    fn take(&mut self) -> Option<(usize, u64, Arc<Path>)> {
        while let Some(place) = self.places.get(self.next).cloned() {
            let at = self.next;
            self.next += 1;
            if self.asking.iter().any(|(_, asked)| *asked == place) {
                self.unanswered -= 1;
                continue;
            }
            self.asking.push((self.round, place.clone()));
            return Some((at, self.round, place));
        }
        None
    }

    fn put(&mut self, at: usize, round: u64, place: &Arc<Path>, answer: Answer) {
        self.asking.retain(|(_, asked)| asked != place);
        if round == self.round && self.unanswered > 0 {
            self.answers[at] = answer;
            self.unanswered -= 1;
        } else {
            log::info!("metrics: {} answers statfs(2) again", place.display());
        }
    }

    /// Whether anyone can still answer: not when all threads hang since earlier rounds.
    fn has_hands(&self, most: usize) -> bool {
        self.threads < most || self.idle > 0 || self.asking.iter().any(|(round, _)| *round == self.round)
    }

    fn end(&mut self, deadline: Duration) -> Vec<Answer> {
        for (_, place) in self.asking.iter().filter(|(round, _)| *round == self.round) {
            log::warn!(
                "metrics: {} does not answer statfs(2) within {} s; it is shown as in error until it does",
                place.display(),
                deadline.as_secs_f32()
            );
        }
        (self.next, self.unanswered) = (self.places.len(), 0);
        std::mem::take(&mut self.answers)
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Limits, Space, StatfsPool};
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};
    use std::time::{Duration, Instant};

    const SPACE: Space =
        Space { block_size: 1, blocks: 2, blocks_free: 3, blocks_available: 4, files: 5, files_free: 6 };

    fn places(names: &[&str]) -> Arc<[Arc<Path>]> {
        names.iter().map(|name| Arc::from(Path::new(name))).collect()
    }

    fn ask(pool: &StatfsPool, names: &[&str]) -> (Vec<Answer>, Duration) {
        let (began, mut answers) = (Instant::now(), Vec::new());
        pool.ask(&places(names), &mut answers);
        (answers, began.elapsed())
    }

    #[test]
    fn places_that_hang_delay_once_up_to_the_deadline_hold_one_thread_each_and_come_back_when_they_answer() {
        let limits = Limits { deadline: Duration::from_millis(300), patience: Duration::from_millis(5), threads: 8 };
        let (release, hanging) = mpsc::channel::<()>();
        let hanging = std::sync::Mutex::new(hanging);
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        let pool = StatfsPool::new(limits, move |path| {
            if path.starts_with("hung") {
                counter.fetch_add(1, Ordering::SeqCst);
                let _ = hanging.lock().expect("not poisoned").recv();
            }
            Ok(SPACE)
        });
        let names = ["hung/1", "a", "hung/2", "b"];
        let want = [Answer::Silence, Answer::Space(SPACE), Answer::Silence, Answer::Space(SPACE)];
        let (answers, took) = ask(&pool, &names);
        assert_eq!(answers, want);
        assert!(took >= limits.deadline && took < limits.deadline * 4, "{took:?}");
        for _ in 0..20 {
            let (answers, took) = ask(&pool, &names);
            assert_eq!(answers, want);
            assert!(took < limits.deadline, "a place known to hang delays nothing, but it took {took:?}");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2, "each was asked once");
        drop(release);
        let until = Instant::now() + Duration::from_secs(10);
        while ask(&pool, &names).0.contains(&Answer::Silence) {
            assert!(Instant::now() < until, "never came back");
        }
        assert!(pool.shared.lock().threads <= 3, "threads that are not needed end");
    }

    #[test]
    fn when_every_thread_hangs_nothing_waits() {
        let limits = Limits { deadline: Duration::from_millis(200), patience: Duration::from_millis(5), threads: 2 };
        let pool = StatfsPool::new(limits, |_| {
            loop {
                std::thread::park();
            }
        });
        assert_eq!(ask(&pool, &["1", "2", "3"]).0, vec![Answer::Silence; 3]);
        let (answers, took) = ask(&pool, &["1", "2", "3"]);
        assert_eq!(answers, vec![Answer::Silence; 3]);
        assert!(took < limits.deadline, "{took:?}");
    }

    #[test]
    fn errors_are_told_from_silence_and_no_places_need_no_thread() {
        let pool = StatfsPool::new(Limits::default(), |_| Err(std::io::Error::from_raw_os_error(2)));
        assert_eq!(ask(&pool, &[]).0, vec![]);
        assert_eq!(ask(&pool, &["x"]).0, vec![Answer::Refusal(2)]);
    }
}
