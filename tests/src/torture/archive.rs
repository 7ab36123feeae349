use super::arrivals::Arrivals;
use super::idle;
use super::world::World;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Rotated when it is longer: it lies on a small disk.
const LONG: u64 = 3 << 20;

/// Reads the file that an output appends to as it grows, and rotates it under the agent's hands.
pub fn read(path: &Path, arrivals: &Arrivals, world: &World) -> std::io::Result<()> {
    let mut rng = world.rng(path);
    let mut reader = Reader::default();
    let mut moved: Option<PathBuf> = None;
    while !world.calm.is_over() {
        let length = reader.read(moved.as_deref().unwrap_or(path), arrivals)?;
        if let Some(old) = moved.take_if(|_| path.exists()) {
            // Now that there is a new one, nobody writes into the old one.
            reader.read(&old, arrivals)?;
            fs::remove_file(old)?;
            reader = Reader::default();
        } else if moved.is_none() && (length > LONG || (length > 0 && !world.calm.has_begun() && rng.u8(..) == 0)) {
            let old = path.with_extension("old");
            fs::rename(path, &old)?;
            world.story.tell("archive renamed");
            moved = Some(old);
        }
        idle(&mut rng, 5..30);
    }
    Ok(())
}

#[derive(Default)]
struct Reader(Option<File>);

impl Reader {
    /// Takes in the records that are complete; how much of the file they are.
    fn read(&mut self, path: &Path, arrivals: &Arrivals) -> std::io::Result<u64> {
        if self.0.is_none() {
            match File::open(path) {
                Ok(file) => self.0 = Some(file),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
                Err(error) => return Err(error),
            }
        }
        let Some(file) = &mut self.0 else { return Ok(0) };
        let mut read = Vec::new();
        file.read_to_end(&mut read)?;
        let whole = read.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        for record in read[..whole].split_inclusive(|byte| *byte == b'\n') {
            arrivals.take(record);
        }
        // What is incomplete may be taken back by the agent after a crash: it is read again.
        file.seek(SeekFrom::Current(-i64::try_from(read.len() - whole).unwrap_or(0)))
    }
}
