use super::{Bus, Call, Sockets};
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

const CALL: Call<'_> = Call { destination: "d", path: "/p", interface: "i", member: "M", arguments: &["x"] };
const LONG: Duration = Duration::from_secs(20);

/// A fake of a bus, which answers each call with its own argument as soon as it is told to.
struct FakeBus {
    folder: tempfile::TempDir,
    /// How many calls may be answered.
    answers: mpsc::Sender<usize>,
}

impl FakeBus {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let listener = UnixListener::bind(folder.path().join("bus")).expect("bound");
        let (answers, allowed) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // The client may be gone.
                let _ = stream.and_then(|stream| serve(stream, &allowed));
            }
        });
        Self { folder, answers }
    }

    fn bus(&self, deadline: Duration) -> Bus {
        let sockets = Sockets { bus: self.path("bus"), private: Some(self.path("private")) };
        Bus::new(sockets).with_deadline(deadline)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

fn serve(mut stream: UnixStream, allowed: &mpsc::Receiver<usize>) -> io::Result<()> {
    let mut line = [0; 256];
    let _ = stream.read(&mut line)?;
    stream.write_all(b"OK 0123456789abcdef\r\n")?;
    stream.read_exact(&mut [0; b"BEGIN\r\n".len()])?;
    let mut credit = 0;
    loop {
        let mut header = [0; 16];
        stream.read_exact(&mut header)?;
        let number = |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let (body, serial, fields) = (number(4), number(8), number(12));
        let mut rest = vec![0; (fields as usize).next_multiple_of(8) + body as usize];
        stream.read_exact(&mut rest)?;
        while credit == 0 {
            credit = allowed.recv().map_err(io::Error::other)?;
        }
        credit -= 1;
        let body = &rest[rest.len() - body as usize..];
        let mut reply = vec![header[0], 2, 0, 1];
        for number in [body.len() as u32, 1, 8] {
            reply.extend_from_slice(&number.to_ne_bytes());
        }
        reply.extend_from_slice(&[5, 1, b'u', 0]);
        reply.extend_from_slice(&serial.to_ne_bytes());
        reply.extend_from_slice(body);
        stream.write_all(&reply)?;
    }
}

fn ask(bus: &mut Bus, calls: usize) -> (io::Result<()>, Vec<Option<String>>) {
    let mut answers = vec![None; calls];
    let calls: Vec<_> = (0..calls).map(|_| CALL).collect();
    let result = bus.ask(&calls, |at, body| answers[at] = body.and_then(|mut body| body.text().map(str::to_owned)));
    (result, answers)
}

#[test]
fn calls_are_answered_each_in_its_place_and_the_connection_is_kept() {
    let fake = FakeBus::start();
    let mut bus = fake.bus(LONG);
    fake.answers.send(1000).expect("sent");
    for calls in [1, 3, 200] {
        let (result, answers) = ask(&mut bus, calls);
        assert!(result.is_ok(), "{result:?}");
        assert!(answers.iter().all(|answer| answer.as_deref() == Some("x")), "{answers:?}");
        bus.rest();
        assert!(bus.connection.is_some());
    }
}

#[test]
fn a_silent_service_delays_one_scrape_up_to_the_deadline_and_is_asked_again_once_it_has_answered() {
    let fake = FakeBus::start();
    let deadline = Duration::from_millis(200);
    let mut bus = fake.bus(deadline);
    // Hello alone is answered.
    fake.answers.send(1).expect("sent");
    let began = Instant::now();
    let error = ask(&mut bus, 2).0.expect_err("silent");
    assert!(error.kind() == io::ErrorKind::TimedOut && began.elapsed() >= deadline, "{error}");
    let began = Instant::now();
    for _ in 0..20 {
        bus.rest();
        let error = ask(&mut bus, 2).0.expect_err("still silent");
        assert!(error.to_string().starts_with("it has not answered for 0 s"), "{error}");
    }
    assert!(began.elapsed() < deadline, "{:?}", began.elapsed());
    fake.answers.send(1000).expect("sent");
    let until = Instant::now() + LONG;
    while ask(&mut bus, 2).0.is_err() {
        assert!(Instant::now() < until, "never came back");
    }
    assert_eq!(ask(&mut bus, 1).1, [Some("x".to_owned())]);
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_made_anew_and_what_is_no_bus_is_told() {
    let fake = FakeBus::start();
    let mut bus = fake.bus(LONG);
    fake.answers.send(1).expect("sent");
    fake.answers.send(1).expect("sent");
    assert!(ask(&mut bus, 1).0.is_ok());
    // The fake ends when nothing more can be allowed; another one takes its place.
    let other = FakeBus::start();
    other.answers.send(1000).expect("sent");
    std::fs::rename(other.path("bus"), fake.path("bus")).expect("renamed");
    let FakeBus { folder: _folder, answers } = fake;
    drop(answers);
    assert!(ask(&mut bus, 1).0.is_ok(), "the second connection");
    assert_eq!(none(Path::new("/nonexistent/bus")).kind(), io::ErrorKind::NotFound);
}

fn none(path: &Path) -> io::Error {
    let sockets = Sockets { bus: path.to_owned(), private: None };
    ask(&mut Bus::new(sockets), 1).0.expect_err("no bus")
}

#[test]
fn a_service_that_closes_or_speaks_otherwise_is_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("bus");
    let listener = UnixListener::bind(&path).expect("bound");
    let server = std::thread::spawn(move || {
        let mut open = Vec::new();
        for answer in [&b""[..], b"REJECTED EXTERNAL\r\n", &[b'x'; 2000], b"OK 1\r\nHTTP/1.1 400 Bad Request\r\n"] {
            let (mut stream, _) = listener.accept().expect("accepted");
            let _ = stream.read(&mut [0; 256]);
            let _ = stream.write_all(answer);
            // What is not read yet would be lost with the connection.
            if !answer.is_empty() {
                open.push(stream);
            }
        }
        open
    });
    let texts: Vec<String> = (0..4).map(|_| none(&path).to_string()).collect();
    let want =
        ["it closed the connection", "it refuses this user", "it does not speak D-Bus", "it does not speak D-Bus"];
    assert_eq!(texts, want);
    drop(server.join());
}
