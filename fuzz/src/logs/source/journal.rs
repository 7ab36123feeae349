#[path = "../../../../agent/src/logs/source/journal/entry.rs"]
mod entry;

use entry::Position;

/// The line that is made of an entry, and whether it says that something was left out.
pub fn line(entry: &[u8], limit: usize) -> (Vec<u8>, bool) {
    let mut line = Vec::new();
    let made = entry::push_line(entry, limit, &mut line);
    (line, made.is_cut)
}

/// The cursors that are found in an entry, and in the line that was made of it.
pub fn cursors(entry: &[u8], line: &[u8]) -> [Option<String>; 2] {
    [Position::of_entry(entry), Position::of_line(line)].map(|found| found.map(|position| position.cursor))
}
