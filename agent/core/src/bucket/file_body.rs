use super::buffer::READ;
use super::content::Content;
use super::error::Reason;
use super::limiter::Limiter;
use super::memory::Memory;
use super::patience::Patience;
use super::piece::read_bytes;
use super::put::Progress;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

/// With a limit so little is read at a time that others get their turn within a second.
const LEAST_READ: u64 = 4 << 10;

/// A part of a content, sent from memory if it is there, else straight from disk; each attempt of a request begins anew.
#[derive(Clone, Debug)]
pub(super) struct FileRange {
    file: Arc<File>,
    /// All that is sent.
    memory: Option<Memory>,
    offset: u64,
    length: u64,
    limiter: Option<Arc<Limiter>>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Grows with every byte given out, over all attempts.
    moved: AtomicU64,
    left: AtomicU64,
    /// What the caller was told of this range.
    told: AtomicU64,
    progress: Option<Progress>,
    failure: Mutex<Option<io::Error>>,
}

impl State {
    fn begin(&self, length: u64) {
        self.left.store(length, Ordering::Relaxed);
        if let Some(progress) = &self.progress {
            progress.take_back(self.told.swap(0, Ordering::Relaxed));
        }
    }

    fn given_out(&self, bytes: u64, left: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
        self.left.store(left, Ordering::Relaxed);
        if let Some(progress) = &self.progress {
            self.told.fetch_add(bytes, Ordering::Relaxed);
            progress.add(bytes);
        }
    }
}

impl FileRange {
    /// What one request carries.
    pub(super) fn whole(content: &Content) -> Self {
        Self::of_part(content, 0, content.memory().cloned())
    }

    pub(super) fn of_part(content: &Content, index: usize, memory: Option<Memory>) -> Self {
        let (offset, length) = content.part(index);
        Self { file: content.file().clone(), memory, offset, length, limiter: None, state: Arc::default() }
    }

    /// As slow as a limiter says.
    pub(super) fn limited(mut self, limiter: Option<Arc<Limiter>>) -> Self {
        self.limiter = limiter;
        self
    }

    /// Tells `progress` what is sent.
    pub(super) fn watched(mut self, progress: Option<&Progress>) -> Self {
        self.state = Arc::new(State { progress: progress.cloned(), ..State::default() });
        self
    }

    /// The body of one attempt of a request.
    pub(super) fn body(&self) -> Reading {
        self.state.begin(self.length);
        Reading {
            file: self.file.clone(),
            memory: self.memory.clone(),
            offset: self.offset,
            left: self.length,
            limiter: self.limiter.clone(),
            state: self.state.clone(),
            piece: None,
        }
    }

    /// Waits for the request that sends the body, as long as something moves.
    pub(super) async fn sent_by<T>(
        &self,
        patience: &Patience,
        request: impl Future<Output = Result<T, Reason>> + Send,
    ) -> Result<T, Reason> {
        let unanswered = patience.unanswered();
        // Boxed, because the SDK's futures are of several kilobytes.
        let mut request = Box::pin(request);
        let result = loop {
            let before = self.state.moved.load(Ordering::Relaxed);
            let all_sent = before > 0 && self.state.left.load(Ordering::Relaxed) == 0;
            let limit = if all_sent { patience.answer } else { patience.sending };
            tokio::select! {
                result = &mut request => break result.map_err(|reason| self.local_failure().unwrap_or(reason)),
                () = tokio::time::sleep(limit) => {}
            }
            if self.state.moved.load(Ordering::Relaxed) == before {
                break Err(Reason::Stalled { after: limit });
            }
        };
        match result {
            Ok(_) => unanswered.answered(),
            Err(_) => self.state.begin(self.length),
        }
        result
    }

    /// A file that could not be read fails the request with words about the connection: this is the true reason.
    fn local_failure(&self) -> Option<Reason> {
        let failure = self.state.failure.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(Reason::of_reading(failure))
    }
}

type Piece = Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send + Sync>>;

/// The body of a request.
pub(super) struct Reading {
    file: Arc<File>,
    memory: Option<Memory>,
    offset: u64,
    left: u64,
    limiter: Option<Arc<Limiter>>,
    state: Arc<State>,
    piece: Option<Piece>,
}

impl Reading {
    /// What is in memory already and need not wait.
    fn at_hand(&self) -> Option<Bytes> {
        let memory = self.memory.as_ref().filter(|_| self.limiter.is_none())?;
        memory.at(self.offset, self.left)
    }

    fn next_piece(&self) -> Piece {
        let (file, offset, left, limiter) = (self.file.clone(), self.offset, self.left, self.limiter.clone());
        let memory = self.memory.clone();
        Box::pin(async move {
            let mut most = left.min(READ as u64);
            if let Some(rate) = limiter.as_ref().and_then(|limiter| limiter.rate()) {
                most = most.min((rate / 8).max(LEAST_READ));
            }
            let held = memory.and_then(|memory| memory.at(offset, most));
            if let Some(limiter) = limiter {
                limiter.pass(held.as_ref().map_or(most, |held| held.len() as u64)).await;
            }
            if let Some(held) = held {
                return Ok(held);
            }
            tokio::task::spawn_blocking(move || read_bytes(&file, offset, most)).await.map_err(io::Error::other)?
        })
    }
}

impl Body for Reading {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let result = match self.at_hand() {
            Some(bytes) => Ok(bytes),
            None => {
                let mut piece = self.piece.take().unwrap_or_else(|| self.next_piece());
                let Poll::Ready(result) = piece.as_mut().poll(cx) else {
                    self.piece = Some(piece);
                    return Poll::Pending;
                };
                result
            }
        };
        match result {
            Ok(bytes) => {
                let length = bytes.len() as u64;
                self.offset += length;
                self.left -= length;
                self.state.given_out(length, self.left);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Err(error) => {
                let told = io::Error::new(error.kind(), "the file cannot be read");
                *self.state.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Poll::Ready(Some(Err(told)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
