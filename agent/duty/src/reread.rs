use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// What is made of files, and made anew when one of them changed. What cannot be used changes nothing, and is told.
pub struct Reread<T> {
    who: &'static str,
    load: Load<T>,
    state: Mutex<State<T>>,
    trouble: watch::Sender<Option<String>>,
}

type Load<T> = Box<dyn Fn(Option<&T>) -> Loaded<T> + Send + Sync>;

struct State<T> {
    seen: Vec<Seen>,
    current: Arc<T>,
}

/// What came of reading.
pub struct Loaded<T> {
    /// The files, each as it was before it was read: what changes meanwhile is seen the next time.
    pub seen: Vec<Seen>,
    /// What was made of them.
    pub made: anyhow::Result<T>,
}

/// A file as it was at a moment.
pub struct Seen {
    path: PathBuf,
    identity: Option<Identity>,
}

/// Device, inode, size, times of content and inode: another one is another content.
type Identity = (u64, u64, u64, [i64; 4]);

impl Seen {
    /// The file as it is now, or that there is none.
    pub fn now(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path) }
    }

    fn is_same(&self) -> bool {
        identity(&self.path) == self.identity
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let data = std::fs::metadata(path).ok()?;
    Some((data.dev(), data.ino(), data.size(), [data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec()]))
}

impl<T> Reread<T> {
    /// Reads for the first time. `load` is given what was made before, if anything was.
    ///
    /// # Errors
    /// The files cannot be used.
    pub fn first(
        who: &'static str,
        load: impl Fn(Option<&T>) -> Loaded<T> + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let Loaded { seen, made } = load(None);
        let state = Mutex::new(State { seen, current: Arc::new(made?) });
        Ok(Self { who, load: Box::new(load), state, trouble: watch::Sender::new(None) })
    }

    /// What holds now.
    pub fn current(&self) -> Arc<T> {
        let mut state = self.lock();
        if let Some(changed) = state.seen.iter().find(|seen| !seen.is_same()) {
            let changed = changed.path.clone();
            self.read_again(&mut state, &changed);
        }
        state.current.clone()
    }

    /// What held when it was last asked for.
    pub fn last(&self) -> Arc<T> {
        self.lock().current.clone()
    }

    /// Why the files are not taken as they are, if they are not.
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    fn read_again(&self, state: &mut State<T>, changed: &Path) {
        let Loaded { seen, made } = (self.load)(Some(&state.current));
        state.seen = seen;
        let who = self.who;
        match made {
            Ok(made) => {
                log::info!("{who}: {} changed, and is taken", changed.display());
                state.current = Arc::new(made);
                self.trouble.send_replace(None);
            }
            Err(error) => {
                let error = format!("{error:#}");
                log::error!("{who}: what was read before goes on: {error}");
                self.trouble.send_replace(Some(error));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
