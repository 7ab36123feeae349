/// What a receiver says that it has.
mod acknowledgements;

use super::batch::Selection;
use super::{NotTaken, Undelivered};
use crate::logs::output::connection::{Broken, Connection};
use acknowledgements::Acknowledgements;
use flate2::write::ZlibEncoder;
use hostwright_core::config::logs::output::lumberjack as config;
use std::io::Write;
use std::time::Duration;
use tokio::task::block_in_place;
use tokio::time::timeout;

/// The first byte of each frame.
const VERSION: u8 = b'2';
const WINDOW: u8 = b'W';
const JSON: u8 = b'J';
const COMPRESSED: u8 = b'C';
/// Events of a window at most. Receivers keep a window in memory until they have passed it on.
const EVENTS: usize = 4096;

/// A receiver of Lumberjack, version 2, which acknowledges windows of events
/// (<https://github.com/elastic/go-lumber>, and Logstash's input `beats`).
#[derive(Debug)]
pub struct Lumberjack {
    settings: config::Lumberjack,
    connection: Option<Connection>,
    events: Vec<u8>,
    frames: Vec<u8>,
}

/// Why a window was not acknowledged as a whole.
#[derive(Debug)]
struct Trouble {
    why: String,
    /// So many of its first events were.
    acknowledged: usize,
    /// The connection broke.
    is_broken: bool,
}

impl Lumberjack {
    pub fn new(settings: &config::Lumberjack) -> Self {
        Self { settings: settings.clone(), connection: None, events: Vec::new(), frames: Vec::new() }
    }

    pub async fn deliver(&mut self, items: Selection<'_>) -> Result<Vec<NotTaken>, Undelivered> {
        let mut taken = 0;
        for indices in items.indices.chunks(EVENTS) {
            let window = Selection { batch: items.batch, indices };
            block_in_place(|| self.make_frames(window));
            if let Err(trouble) = self.deliver_window(indices.len()).await {
                taken += trouble.acknowledged;
                return Err(match trouble.is_broken {
                    true => Undelivered::Unanswered { why: trouble.why, taken },
                    false => Undelivered::Again { why: trouble.why, after: None, taken },
                });
            }
            taken += indices.len();
        }
        Ok(Vec::new())
    }

    /// A connection that was used before may have been closed for idleness: then a new one is tried at once.
    async fn deliver_window(&mut self, count: usize) -> Result<(), Trouble> {
        if let Some(mut connection) = self.connection.take()
            && connection.check().is_ok()
        {
            match self.send_window(&mut connection, count).await {
                Ok(()) => {
                    self.connection = Some(connection);
                    return Ok(());
                }
                Err(trouble) if trouble.acknowledged > 0 || !trouble.is_broken => return Err(trouble),
                Err(_) => {}
            }
        }
        let opened = Connection::open(&self.settings.receiver).await;
        let mut connection = opened.map_err(|broken| Trouble { why: broken.why, acknowledged: 0, is_broken: false })?;
        self.send_window(&mut connection, count).await?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Sends the frames and waits until all events are acknowledged.
    async fn send_window(&self, connection: &mut Connection, count: usize) -> Result<(), Trouble> {
        let failed = |acknowledged: usize, broken: Broken| Trouble { why: broken.why, acknowledged, is_broken: true };
        let address = connection.address().to_owned();
        let silent = |acknowledged, limit: Duration| {
            let why = format!(
                "{address} has acknowledged nothing for {} s; see whether it is overloaded or its pipeline is blocked (lines wait in their files)",
                limit.as_secs()
            );
            Trouble { why, acknowledged, is_broken: false }
        };
        let limit = self.settings.timeout;
        match timeout(limit, connection.send(&self.frames)).await {
            Ok(sent) => sent.map_err(|broken| failed(0, broken))?,
            Err(_) => return Err(silent(0, limit)),
        }
        let mut acknowledgements = Acknowledgements::new(count);
        while !acknowledgements.are_all() {
            let acknowledged = acknowledgements.count();
            let received = match timeout(limit, connection.receive(acknowledgements.room())).await {
                Ok(received) => received.map_err(|broken| failed(acknowledged, broken))?,
                Err(_) => return Err(silent(acknowledged, limit)),
            };
            acknowledgements.take(received).map_err(|what| {
                let why = format!(
                    "{address} answers what is no acknowledgement of Lumberjack, version 2: {what}; see whether that is what listens there"
                );
                Trouble { why, acknowledged, is_broken: false }
            })?;
        }
        Ok(())
    }

    fn make_frames(&mut self, window: Selection<'_>) {
        self.frames.clear();
        let count = u32::try_from(window.len()).unwrap_or(u32::MAX);
        push_header(&mut self.frames, WINDOW, count);
        let level = self.settings.compression_level;
        let events = if level == 0 { &mut self.frames } else { &mut self.events };
        for (number, (_, event)) in (1u32..).zip(window.items()) {
            push_header(events, JSON, number);
            events.extend_from_slice(&u32::try_from(event.len()).unwrap_or(u32::MAX).to_be_bytes());
            events.extend_from_slice(event);
        }
        if level > 0 {
            push_header(&mut self.frames, COMPRESSED, 0);
            let start = self.frames.len();
            let mut zlib = ZlibEncoder::new(&mut self.frames, flate2::Compression::new(level));
            // Writing to memory does not fail.
            let _ = zlib.write_all(&self.events).and_then(|()| zlib.finish().map(drop));
            self.events.clear();
            let length = u32::try_from(self.frames.len() - start).unwrap_or(u32::MAX);
            self.frames[start - 4..start].copy_from_slice(&length.to_be_bytes());
        }
    }
}

fn push_header(out: &mut Vec<u8>, kind: u8, number: u32) {
    out.extend_from_slice(&[VERSION, kind]);
    out.extend_from_slice(&number.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::Lumberjack;
    use crate::logs::output::request::Undelivered;
    use crate::logs::output::request::batch::{Batch, Item, Selection};
    use flate2::read::ZlibDecoder;
    use hostwright_core::config::logs::output::{Fields, Receiver, lumberjack as config};
    use hostwright_core::config::values::HostPort;
    use std::io::Read;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    const EVENTS: [&str; 3] = ["{\"a\":1}", "{\"b\":22}", "{}"];

    fn batch() -> Batch {
        let mut bytes = Vec::new();
        let items = EVENTS.iter().map(|event| {
            bytes.extend_from_slice(event.as_bytes());
            Item { is_dated: true, end: bytes.len(), time: 0, content: 0, offset: 0, length: 1 }
        });
        let items = items.collect();
        Batch { bytes: bytes.into(), items, groups: Vec::new() }
    }

    fn output(listener: &TcpListener, compression_level: u32) -> Lumberjack {
        let address = HostPort(listener.local_addr().expect("address").to_string());
        let receiver = Receiver { address, tls: None, proxy: None };
        Lumberjack::new(&config::Lumberjack {
            receiver,
            compression_level,
            timeout: Duration::from_millis(300),
            fields: Fields::Plain,
        })
    }

    /// What stands on the wire for the three events.
    async fn expect_window(stream: &mut TcpStream, compressed: bool) {
        let mut events = Vec::new();
        for (number, event) in EVENTS.iter().enumerate() {
            events.extend_from_slice(&[b'2', b'J', 0, 0, 0, number as u8 + 1, 0, 0, 0, event.len() as u8]);
            events.extend_from_slice(event.as_bytes());
        }
        let mut head = [0; 6];
        stream.read_exact(&mut head).await.expect("a window");
        assert_eq!(head, *b"2W\0\0\0\x03");
        let mut read = vec![0; events.len()];
        if compressed {
            stream.read_exact(&mut head).await.expect("a compressed frame");
            assert_eq!(head[..2], *b"2C");
            let mut frame = vec![0; u32::from_be_bytes([head[2], head[3], head[4], head[5]]) as usize];
            stream.read_exact(&mut frame).await.expect("its content");
            read.clear();
            ZlibDecoder::new(&frame[..]).read_to_end(&mut read).expect("zlib");
        } else {
            stream.read_exact(&mut read).await.expect("events");
        }
        assert_eq!(read.escape_ascii().to_string(), events.escape_ascii().to_string());
    }

    /// Delivers the batch to a receiver that answers so, and then ends the connection unless told to stay.
    async fn delivered(level: u32, answers: &[&[u8]], stays: bool) -> Result<(), (usize, String)> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let mut output = output(&listener, level);
        let batch = batch();
        let serving = async {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            expect_window(&mut stream, level > 0).await;
            for answer in answers {
                stream.write_all(answer).await.expect("answered");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            stays.then_some(stream)
        };
        let (result, _stream) = tokio::join!(output.deliver(Selection { batch: &batch, indices: &[0, 1, 2] }), serving);
        match result {
            Ok(not_taken) => {
                assert!(not_taken.is_empty());
                Ok(())
            }
            Err(Undelivered::Again { why, taken, .. } | Undelivered::Unanswered { why, taken }) => Err((taken, why)),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_window_is_sent_and_its_acknowledgement_awaited() {
        for level in [0, 3] {
            assert_eq!(delivered(level, &[b"2A\0\0\0\x03"], true).await, Ok(()));
        }
        let in_pieces: [&[u8]; 5] = [b"2A\0\0\0\0", b"2A\0\0\0\x01", b"2A\0", b"\0\0\x032A", b"\0\0\0\x03"];
        assert_eq!(delivered(3, &in_pieces, true).await, Ok(()), "keepalive, a part, and the rest in pieces");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_acknowledged_before_trouble_is_not_sent_again() {
        let (taken, why) = delivered(3, &[b"2A\0\0\0\x02"], false).await.expect_err("closed");
        assert_eq!(taken, 2);
        assert!(why.contains("closed the connection"), "{why}");
        let (taken, why) = delivered(3, &[b"2A\0\0\0\x01"], true).await.expect_err("silent");
        assert_eq!(taken, 1);
        assert!(why.contains("has acknowledged nothing for 0 s"), "{why}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_answer_that_is_none_is_named() {
        for answer in [b"HTTP/1", b"2A\0\0\0\x04", b"2W\0\0\0\x03"] {
            let (taken, why) = delivered(3, &[answer], true).await.expect_err("refused");
            assert_eq!(taken, 0);
            assert!(why.contains("no acknowledgement of Lumberjack, version 2"), "{why}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_is_kept_and_one_that_was_closed_for_idleness_is_opened_anew() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let mut output = output(&listener, 0);
        let batch = batch();
        let serving = async {
            for windows in [2, 1] {
                let (mut stream, _) = listener.accept().await.expect("accepted");
                for _ in 0..windows {
                    expect_window(&mut stream, false).await;
                    stream.write_all(b"2A\0\0\0\x03").await.expect("answered");
                }
            }
        };
        let delivering = async {
            for round in 0..3 {
                if round == 2 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                output.deliver(Selection { batch: &batch, indices: &[0, 1, 2] }).await.expect("delivered");
            }
        };
        tokio::join!(delivering, serving);
    }
}
