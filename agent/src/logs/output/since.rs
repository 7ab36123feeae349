use crate::logs::record::{Making, Scratch, Tally, Time, with_record};
use crate::logs::source::cursor::{Cursor, Step};
use crate::logs::source::identity::{self, Point};
use std::io;

/// Where the first line stands that says a time since then; the beginning if lines say none.
pub fn first_since(cursor: &Cursor, since: i64, buffer: &mut Vec<u8>) -> io::Result<Point> {
    // Of a line that says no time.
    const NONE: &str = "";
    let mut search = cursor.from_the_beginning();
    let (recipe, content) = (&cursor.file.source.recipe, cursor.content);
    let (scratch, windows) = (&mut Scratch::default(), &mut Vec::new());
    let mut making = Making { recipe, now: NONE, content, scratch, windows };
    let (mut found, mut any_time) = (None, false);
    while found.is_none() && search.sent.offset < cursor.acknowledged.offset {
        let before = search.sent.offset;
        let step = search.read(buffer, None, |line| {
            with_record(line, &mut making, &mut Tally::default(), |record| {
                if record.time != Time::Text(NONE) {
                    any_time = true;
                    if found.is_none() && record.time.nanoseconds() >= since {
                        found = Some(line.offset);
                    }
                }
            });
        })?;
        if step == Step::Drained || search.sent.offset <= before {
            break;
        }
    }
    match found {
        Some(offset) => identity::point_at(&cursor.file.file, offset),
        None if any_time => Ok(cursor.acknowledged),
        None => Ok(Point::default()),
    }
}
