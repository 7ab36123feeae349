use super::folder::digest;
use super::letter::Letter;
use super::manifest::Manifest;
use super::notice::Notifier;
use hostwright_core::atomic_file;
use hostwright_core::backoff::Backoff;
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// A notice that somebody does not take is tried again at least so often.
const SLOWEST: Duration = Duration::from_secs(60);
const UNFINISHED: &str = ".json";

/// Letters that wait: each a file in a folder, so that a restart loses none.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    folder: Arc<PathBuf>,
    to: Arc<Vec<String>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<VecDeque<Held>>,
    trouble: Mutex<Option<String>>,
    arrived: Notify,
}

#[derive(Debug)]
enum Held {
    /// In a file of this name.
    File(String),
    /// No file could be written.
    Memory(Box<Letter>),
}

impl Outbox {
    /// Opens or makes the folder and finds what waits in it.
    ///
    /// # Errors
    /// It cannot be made or read.
    pub(super) fn open(folder: PathBuf, to: Vec<String>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        if !to.is_empty() {
            fs::create_dir_all(&folder)?;
        }
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(UNFINISHED) && !name.starts_with('.') {
                found.push((entry.metadata()?.modified()?, name));
            }
        }
        found.sort();
        lock(&shared.waiting).extend(found.into_iter().map(|(_, name)| Held::File(name)));
        Ok(Self { folder: Arc::new(folder), to: Arc::new(to), shared })
    }

    /// Takes a product that the bucket has confirmed; durable when this returns, if the disk allows.
    pub(super) async fn put(&self, manifest: &Manifest) {
        if self.to.is_empty() {
            return;
        }
        let letter = Letter { id: id(manifest), to: self.to.to_vec(), manifest: manifest.clone() };
        let name = format!("{}{UNFINISHED}", letter.id);
        let (path, bytes) = (self.folder.join(&name), serde_json::to_vec(&letter).unwrap_or_default());
        let written = tokio::task::spawn_blocking(move || {
            let is_new = !path.exists();
            atomic_file::replace(&path, &bytes, 0o600).map(|()| is_new)
        });
        match written.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(true) => lock(&self.shared.waiting).push_back(Held::File(name)),
            Ok(false) => {}
            Err(error) => {
                log::warn!("a notice cannot be written to {}: {error}; it is kept in memory", self.folder.display());
                lock(&self.shared.waiting).push_back(Held::Memory(Box::new(letter)));
            }
        }
        self.shared.arrived.notify_one();
    }

    /// How many wait, and why the last one was not taken.
    pub(super) fn state(&self) -> (usize, Option<String>) {
        (lock(&self.shared.waiting).len(), lock(&self.shared.trouble).clone())
    }

    /// Delivers until told to stop. One letter at a time, each to everybody, the refused ones again and again.
    pub(super) async fn deliver(self, mut notifier: Notifier, stop: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_secs(1), SLOWEST);
        loop {
            let pause = match self.next().await {
                None => None,
                Some(letter) => match self.tell(&mut notifier, letter).await {
                    Ok(()) => {
                        backoff.reset();
                        *lock(&self.shared.trouble) = None;
                        Some(Duration::ZERO)
                    }
                    Err(why) => {
                        *lock(&self.shared.trouble) = Some(why);
                        Some(backoff.next_delay())
                    }
                },
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.shared.arrived.notified(), if pause.is_none() => {}
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
        }
    }

    /// The first that waits, which stays where it is.
    async fn next(&self) -> Option<Letter> {
        loop {
            let name = match lock(&self.shared.waiting).front()? {
                Held::Memory(letter) => return Some((**letter).clone()),
                Held::File(name) => name.clone(),
            };
            let path = self.folder.join(&name);
            let read =
                tokio::task::spawn_blocking(move || fs::read(path)).await.unwrap_or_else(|e| Err(io::Error::other(e)));
            match read.map(|bytes| serde_json::from_slice(&bytes)) {
                Ok(Ok(letter)) => return Some(letter),
                Ok(Err(error)) => {
                    log::error!("{}/{name} is no notice: {error}; it is left there", self.folder.display());
                }
                Err(error) => log::error!("{}/{name} cannot be read: {error}; it is left there", self.folder.display()),
            }
            lock(&self.shared.waiting).pop_front();
        }
    }

    async fn tell(&self, notifier: &mut Notifier, mut letter: Letter) -> Result<(), String> {
        let mut refusal = None;
        let mut left = Vec::new();
        for name in std::mem::take(&mut letter.to) {
            if let Err(why) = notifier.tell(&name, &letter).await {
                refusal.get_or_insert(why);
                left.push(name);
            }
        }
        letter.to = left;
        let file = format!("{}{UNFINISHED}", letter.id);
        let first = lock(&self.shared.waiting).pop_front();
        let path = self.folder.join(&file);
        let Some(why) = refusal else {
            if matches!(first, Some(Held::File(_))) {
                remove(&path).await;
            }
            return Ok(());
        };
        // Those who have heard of it do not hear of it again, even after a restart.
        let bytes = serde_json::to_vec(&letter).unwrap_or_default();
        let kept = match first {
            Some(Held::File(_)) => {
                let written = tokio::task::spawn_blocking(move || atomic_file::replace(&path, &bytes, 0o600)).await;
                if written.is_ok_and(|written| written.is_ok()) {
                    Held::File(file)
                } else {
                    Held::Memory(Box::new(letter))
                }
            }
            _ => Held::Memory(Box::new(letter)),
        };
        lock(&self.shared.waiting).push_back(kept);
        Err(why)
    }
}

async fn remove(path: &Path) {
    let path = path.to_owned();
    let removed = tokio::task::spawn_blocking(move || fs::remove_file(&path).map_err(|error| (path, error))).await;
    if let Ok(Err((path, error))) = removed {
        log::warn!("{} cannot be removed: {error}; its product may be told once more", path.display());
    }
}

fn id(manifest: &Manifest) -> String {
    let mut text = format!("{}\0{}\0", manifest.bucket, manifest.key);
    for file in &manifest.files {
        text.push_str(&file.sha256);
        text.push_str(&file.key);
        text.push_str(&format!("{:?}", file.modified));
    }
    format!("{:016x}", digest(text.as_bytes()))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
