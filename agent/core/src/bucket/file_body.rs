use super::content::read_bytes;
use super::error::Reason;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long a request may go without anything moving.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// While the body is sent.
    pub(super) sending: Duration,
    /// When all of it is sent: stores write it to several disks, and put parts together, before they answer.
    pub(super) answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { sending: Duration::from_secs(60), answer: Duration::from_secs(300) }
    }
}

/// A range of a file, sent straight from disk; each attempt of a request reads it anew.
#[derive(Debug)]
pub(super) struct FileRange {
    file: Arc<File>,
    offset: u64,
    length: u64,
    progress: Arc<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// Grows with every byte given out, over all attempts.
    moved: AtomicU64,
    left: AtomicU64,
    failure: Mutex<Option<io::Error>>,
}

impl FileRange {
    pub(super) fn new(file: Arc<File>, offset: u64, length: u64) -> Self {
        Self { file, offset, length, progress: Arc::default() }
    }

    /// The body of a request.
    pub(super) fn body(&self) -> ByteStream {
        let (file, offset, length, progress) = (self.file.clone(), self.offset, self.length, self.progress.clone());
        ByteStream::new(SdkBody::retryable(move || {
            progress.left.store(length, Ordering::Relaxed);
            SdkBody::from_body_1_x(Reading {
                file: file.clone(),
                offset,
                left: length,
                progress: progress.clone(),
                piece: None,
            })
        }))
    }

    /// Waits for the request that sends the body, as long as something moves.
    pub(super) async fn sent_by<T>(
        &self,
        patience: Patience,
        request: impl Future<Output = Result<T, Reason>>,
    ) -> Result<T, Reason> {
        // Boxed, because the SDK's futures are of several kilobytes.
        let mut request = Box::pin(request);
        loop {
            let before = self.progress.moved.load(Ordering::Relaxed);
            let all_sent = before > 0 && self.progress.left.load(Ordering::Relaxed) == 0;
            let limit = if all_sent { patience.answer } else { patience.sending };
            tokio::select! {
                result = &mut request => return result.map_err(|reason| self.local_failure().unwrap_or(reason)),
                () = tokio::time::sleep(limit) => {}
            }
            if self.progress.moved.load(Ordering::Relaxed) == before {
                return Err(Reason::Stalled { after: limit });
            }
        }
    }

    /// A file that could not be read fails the request with words about the connection: this is the true reason.
    fn local_failure(&self) -> Option<Reason> {
        self.progress.failure.lock().unwrap_or_else(PoisonError::into_inner).take().map(Reason::Local)
    }
}

struct Reading {
    file: Arc<File>,
    offset: u64,
    left: u64,
    progress: Arc<Progress>,
    piece: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Body for Reading {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let (file, offset, left) = (self.file.clone(), self.offset, self.left);
        let piece =
            self.piece.get_or_insert_with(|| tokio::task::spawn_blocking(move || read_bytes(&file, offset, left)));
        let result = ready!(Pin::new(piece).poll(cx)).map_err(io::Error::other).flatten();
        self.piece = None;
        match result {
            Ok(bytes) => {
                let length = bytes.len() as u64;
                self.offset += length;
                self.left -= length;
                self.progress.moved.fetch_add(length, Ordering::Relaxed);
                self.progress.left.store(self.left, Ordering::Relaxed);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Err(error) => {
                let told = io::Error::new(error.kind(), "the file cannot be read");
                *self.progress.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
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
