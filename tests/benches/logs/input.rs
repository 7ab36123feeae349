use anyhow::Result;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

const PATHS: [&str; 5] = ["/", "/api/v1/users", "/images/logo.png", "/upload", "/api/v1/identification-gun"];
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36";

/// An access log of JSON lines, 353 bytes each on average.
#[derive(Debug)]
pub struct Input {
    pub path: PathBuf,
    pub bytes: u64,
    pub lines: u64,
}

impl Input {
    /// The same for the same size; kept for further runs.
    pub fn of(folder: &Path, size: u64) -> Result<Self> {
        let path = folder.join(format!("access-{size}.json"));
        if !path.exists() {
            let part = path.with_extension("part");
            let mut out = BufWriter::with_capacity(1 << 20, File::create(&part)?);
            let mut generator = Lines::default();
            let (mut written, mut line) = (0, Vec::new());
            while written < size {
                line.clear();
                generator.push(&mut line);
                out.write_all(&line)?;
                written += line.len() as u64;
            }
            out.into_inner()?.sync_all()?;
            fs::rename(part, &path)?;
        }
        let content = fs::read(&path)?;
        let lines = memchr::memchr_iter(b'\n', &content).count() as u64;
        Ok(Self { path, bytes: content.len() as u64, lines })
    }
}

/// Makes lines of an access log.
#[derive(Debug)]
pub struct Lines {
    rng: fastrand::Rng,
    count: u64,
}

impl Default for Lines {
    fn default() -> Self {
        Self { rng: fastrand::Rng::with_seed(1), count: 0 }
    }
}

impl Lines {
    pub fn push(&mut self, out: &mut Vec<u8>) {
        let (rng, count) = (&mut self.rng, self.count);
        let address = std::net::Ipv4Addr::from(rng.u32(..));
        let (minute, second, micro) = (count / 60 % 60, count % 60, count % 1_000_000);
        let path = PATHS[rng.usize(..PATHS.len())];
        // Writing to memory does not fail.
        let _ = writeln!(
            out,
            "{{\"time\":\"2026-11-20T10:{minute:02}:{second:02}.{micro:06}Z\",\"level\":\"info\",\"seq\":{count},\
             \"remote_addr\":\"{address}\",\"method\":\"GET\",\"path\":\"{path}?q={}\",\"status\":{},\"bytes\":{},\
             \"duration_ms\":{:.3},\"user_agent\":\"{AGENT}\",\"request_id\":\"{:032x}\"}}",
            rng.u32(..1_000_000),
            rng.u16(200..504),
            rng.u32(..1_000_000),
            f64::from(rng.u16(..997)) / 7.0,
            count * 7919,
        );
        self.count += 1;
    }
}
