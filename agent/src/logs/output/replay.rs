use super::dead_letters::Letter;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Dead letters that are sent again, from a file that was put aside for it. The file goes when all of them were
/// acknowledged, or are dead letters once more; until then each start begins with it anew.
#[derive(Debug)]
pub struct Replay {
    path: PathBuf,
    reader: BufReader<File>,
    line: Vec<u8>,
    is_read: bool,
}

impl Replay {
    /// Opens the file, if there is one.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => {
                let reader = BufReader::new(file);
                Ok(Some(Self { path: path.to_owned(), reader, line: Vec::new(), is_read: false }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The next letters, of about so many bytes.
    pub fn next(&mut self, bytes: usize) -> io::Result<Vec<Letter>> {
        let (mut letters, mut length) = (Vec::new(), 0);
        while length < bytes {
            self.line.clear();
            if self.reader.read_until(b'\n', &mut self.line)? == 0 {
                self.is_read = true;
                break;
            }
            length += self.line.len();
            match serde_json::from_slice(&self.line) {
                Ok(letter) => letters.push(letter),
                Err(error) => log::warn!("logs: {} has a line that is no dead letter: {error}", self.path.display()),
            }
        }
        Ok(letters)
    }

    /// Whether there is nothing more in it.
    pub fn is_read(&self) -> bool {
        self.is_read
    }

    /// All of it is dealt with.
    pub fn finish(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}
