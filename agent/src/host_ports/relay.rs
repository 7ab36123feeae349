use super::bulk::{MUCH, bulk};
use super::exchange::{Exchange, is_request};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// Bytes moved at once. One buffer a thread serves all of its connections, so an idle connection costs no buffer.
const BUFFER: usize = 128 << 10;
/// A connection whose response is followed by this much silence waits for the client's next request.
const QUIET_TICKS: u32 = 4;
const TICK: Duration = Duration::from_millis(250);
/// After the container has ended its side, a client that says nothing more is let go.
const AFTER_END: Duration = Duration::from_secs(30);

thread_local! {
    static SHARED: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

/// How a relay ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The connection is over.
    Closed,
    /// The client goes on, with this first: it was read, but belongs to the next target.
    Leave(Vec<u8>),
}

/// Carries a connection until it ends; `pending` was read from the client already.
///
/// Once `leave` resolves, it also ends at the next border between two requests of HTTP/1: where the client begins a
/// request after a response, or is silent after one. Anything else stays until one side ends it.
pub async fn relay(
    client: &mut TcpStream,
    mut upstream: TcpStream,
    pending: Vec<u8>,
    leave: impl Future<Output = ()>,
) -> End {
    let exchange = Exchange::default();
    let (mut client_read, mut client_write) = client.split();
    let (mut upstream_read, mut upstream_write) = upstream.split();
    if !pending.is_empty() {
        exchange.hears_client(&pending);
        if upstream_write.write_all(&pending).await.is_err() {
            return End::Closed;
        }
    }
    let both = async {
        let down = async {
            let ended = down(&mut upstream_read, &mut client_write, &exchange).await;
            ended.is_ok() && client_write.shutdown().await.is_ok()
        };
        let up = async {
            let ended = up(&mut client_read, &mut upstream_write, &exchange).await;
            if matches!(ended, Ok(None)) { upstream_write.shutdown().await.map(|()| None) } else { ended }
        };
        tokio::pin!(down, up);
        tokio::select! {
            is_whole = &mut down => {
                if is_whole {
                    // The client may still have something to say, but not for ever.
                    let _ = tokio::time::timeout(AFTER_END, up).await;
                }
                End::Closed
            }
            ended = &mut up => match ended {
                Ok(None) => {
                    down.await;
                    End::Closed
                }
                Ok(Some(request)) => End::Leave(request),
                Err(_) => End::Closed,
            },
        }
    };
    let parted = async {
        leave.await;
        exchange.is_leaving.store(true, Relaxed);
        silence(&exchange).await;
    };
    tokio::select! {
        end = both => end,
        () = parted => End::Leave(Vec::new()),
    }
}

/// Returns when nobody waits for an answer and nothing was said for a while.
async fn silence(exchange: &Exchange) {
    let (mut quiet, mut moves) = (0, exchange.moves.load(Relaxed));
    while quiet < QUIET_TICKS {
        tokio::time::sleep(TICK).await;
        let now = exchange.moves.load(Relaxed);
        quiet = if now == moves && exchange.is_idle() { quiet + 1 } else { 0 };
        moves = now;
    }
}

/// From the client to the container; a request that is the next one's to answer is returned.
async fn up(from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>, exchange: &Exchange) -> io::Result<Option<Vec<u8>>> {
    loop {
        let step = poll_fn(|context| {
            poll_step(from, context, |bytes| {
                let is_leaving = exchange.is_leaving.load(Relaxed);
                if is_leaving && exchange.is_answered() && is_request(bytes) {
                    return Ok(Step::Request(bytes.to_vec()));
                }
                exchange.hears_client(bytes);
                write(to, bytes)
            })
        });
        match step.await? {
            Step::Done(..MUCH) => {}
            Step::Done(_) => {
                // The end of a request's body is not a border: only who speaks matters.
                let goes_on = || !exchange.is_leaving.load(Relaxed);
                if bulk((from.as_ref(), to.as_ref()), None, goes_on, || exchange.hears_client(b"")).await? {
                    return Ok(None);
                }
            }
            Step::End => return Ok(None),
            Step::Request(request) => return Ok(Some(request)),
            Step::Left(rest) => to.write_all(&rest).await?,
        }
    }
}

/// From the container to the client.
async fn down(from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>, exchange: &Exchange) -> io::Result<()> {
    loop {
        let step = poll_fn(|context| {
            poll_step(from, context, |bytes| {
                exchange.hears_container();
                write(to, bytes)
            })
        });
        match step.await? {
            Step::Done(..MUCH) | Step::Request(_) => {}
            Step::Done(_) => {
                if bulk((from.as_ref(), to.as_ref()), Some(exchange), || true, || exchange.hears_container()).await? {
                    return Ok(());
                }
            }
            Step::End => return Ok(()),
            Step::Left(rest) => {
                exchange.hold_up(true);
                to.write_all(&rest).await?;
                exchange.hold_up(false);
                if rest.len() > MUCH / 2
                    && bulk((from.as_ref(), to.as_ref()), Some(exchange), || true, || exchange.hears_container())
                        .await?
                {
                    return Ok(());
                }
            }
        }
    }
}

enum Step {
    /// So much was passed on.
    Done(usize),
    End,
    Request(Vec<u8>),
    /// What the other side did not take at once.
    Left(Vec<u8>),
}

/// Reads once into the thread's buffer, and does something with what was read before anybody else can have it.
fn poll_step(
    from: &mut ReadHalf<'_>,
    context: &mut Context<'_>,
    mut with: impl FnMut(&[u8]) -> io::Result<Step>,
) -> Poll<io::Result<Step>> {
    SHARED.with_borrow_mut(|buffer| {
        let mut read = ReadBuf::new(buffer);
        ready!(Pin::new(from).poll_read(context, &mut read))?;
        Poll::Ready(if read.filled().is_empty() { Ok(Step::End) } else { with(read.filled()) })
    })
}

fn write(to: &WriteHalf<'_>, bytes: &[u8]) -> io::Result<Step> {
    let taken = match to.try_write(bytes) {
        Ok(taken) => taken,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    Ok(if taken == bytes.len() { Step::Done(taken) } else { Step::Left(bytes[taken..].to_vec()) })
}

#[cfg(test)]
mod tests {
    use super::{End, relay};
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::oneshot;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    /// Both ends of a connection.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let near = TcpStream::connect(listener.local_addr().expect("address")).await.expect("connected");
        (near, listener.accept().await.expect("accepted").0)
    }

    /// So much time has passed for the relay, and hardly any for us.
    async fn passed(time: Duration) {
        tokio::time::pause();
        tokio::time::sleep(time).await;
        tokio::time::resume();
    }

    async fn hear(stream: &mut TcpStream, expected: &[u8]) {
        let mut heard = vec![0; expected.len()];
        stream.read_exact(&mut heard).await.expect("read");
        assert_eq!(heard, expected);
    }

    /// A relay under way: the client's end, the container's end, the order to leave, and how it ends.
    async fn under_way() -> (TcpStream, TcpStream, oneshot::Sender<()>, tokio::task::JoinHandle<(End, TcpStream)>) {
        let ((client, mut near), (upstream, container)) = (pair().await, pair().await);
        let (leave, left) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let end = relay(&mut near, upstream, Vec::new(), async {
                if left.await.is_err() {
                    std::future::pending::<()>().await;
                }
            });
            (end.await, near)
        });
        (client, container, leave, task)
    }

    #[tokio::test]
    async fn a_connection_that_is_to_leave_does_so_between_two_requests() {
        let (mut client, mut container, leave, task) = under_way().await;
        client.write_all(REQUEST).await.expect("sent");
        hear(&mut container, REQUEST).await;
        leave.send(()).expect("under way");
        // The answer is not there yet, so neither is the border.
        passed(Duration::from_millis(50)).await;
        container.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("sent");
        hear(&mut client, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        client.write_all(REQUEST).await.expect("sent");
        let (end, _near) = task.await.expect("ended");
        assert_eq!(end, End::Leave(REQUEST.to_vec()));
    }

    #[tokio::test]
    async fn a_silent_connection_leaves_after_its_response_and_a_waiting_one_stays() {
        let (mut client, mut container, leave, task) = under_way().await;
        client.write_all(REQUEST).await.expect("sent");
        hear(&mut container, REQUEST).await;
        leave.send(()).expect("under way");
        // Longer than the silence that counts: but the client waits for its answer.
        passed(Duration::from_millis(1500)).await;
        assert!(!task.is_finished());
        container.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("sent");
        let (end, _near) = tokio::time::timeout(Duration::from_secs(5), task).await.expect("in time").expect("ended");
        assert_eq!(end, End::Leave(Vec::new()));
    }

    #[tokio::test]
    async fn other_protocols_are_never_parted_and_both_directions_end_one_after_the_other() {
        let (mut client, mut container, leave, task) = under_way().await;
        client.write_all(b"\x00hello").await.expect("sent");
        hear(&mut container, b"\x00hello").await;
        container.write_all(b"world").await.expect("sent");
        hear(&mut client, b"world").await;
        leave.send(()).expect("under way");
        passed(Duration::from_millis(1500)).await;
        assert!(!task.is_finished());
        client.write_all(REQUEST).await.expect("sent");
        hear(&mut container, REQUEST).await;
        client.shutdown().await.expect("ended");
        let mut rest = Vec::new();
        container.read_to_end(&mut rest).await.expect("the end is passed on");
        container.write_all(b"bye").await.expect("the other direction goes on");
        hear(&mut client, b"bye").await;
        drop(container);
        assert_eq!(task.await.expect("ended").0, End::Closed);
    }

    #[tokio::test]
    async fn more_than_the_client_takes_at_once_arrives_whole() {
        let (mut client, mut container, _leave, _task) = under_way().await;
        let sent: Vec<u8> = (0..20_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let expected = sent.clone();
        let sender = tokio::spawn(async move { container.write_all(&sent).await });
        hear(&mut client, &expected).await;
        sender.await.expect("ended").expect("sent");
    }
}
