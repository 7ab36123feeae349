use super::gate::Hold;
use super::line::{self, Form, Id, SHORTEST};
use super::rotated::{Naming, Rotated, RotatedFile, copy_slowly};
use super::world::World;
use super::{idle, lock};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many rotated files stay; older ones go when their lines have arrived.
const KEPT: usize = 5;
/// How long an application waits for lines to arrive before it gives up what it had in mind.
const PATIENCE: Duration = Duration::from_secs(8);

/// How an application writes and rotates.
#[derive(Clone, Debug)]
pub struct Plan {
    pub number: u16,
    pub log: PathBuf,
    pub form: Form,
    pub naming: Naming,
    /// All of its files begin alike.
    pub has_banner: bool,
    pub bytes_per_second: u32,
}

/// What may become of a log.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Rename,
    CopyAndTruncate,
    Refill,
    Delete,
    Replace,
}

struct Application {
    plan: Plan,
    world: Arc<World>,
    rng: fastrand::Rng,
    content: Content,
    /// Files that are still written although they are rotated, and until when.
    late: Vec<(Content, Instant)>,
    rotated: Rotated,
    /// Deleted files whose lines are to arrive.
    deleted: Vec<(Hold, u32, u32)>,
    generations: u32,
}

/// What is in a file since it began.
struct Content {
    file: File,
    generation: u32,
    lines: u32,
    bytes: usize,
}

/// Writes and rotates until the storm is over.
pub fn run(plan: Plan, world: Arc<World>) -> Result<()> {
    let number = plan.number;
    write_and_rotate(plan, world).with_context(|| format!("application {number}"))
}

fn write_and_rotate(plan: Plan, world: Arc<World>) -> Result<()> {
    let mut rotated = Rotated::new(&plan.log, plan.naming);
    let path = if plan.naming == Naming::Linked {
        let target = rotated.make_room()?;
        symlink(&target, &plan.log)?;
        target
    } else {
        plan.log.clone()
    };
    let content = Content { file: append(&path)?, generation: 0, lines: 0, bytes: 0 };
    let rng = world.rng(plan.number);
    let (late, deleted) = (Vec::new(), Vec::new());
    let mut application = Application { plan, world, rng, content, late, rotated, deleted, generations: 1 };
    application.begin_content()?;
    application.write()?;
    // What was rotated before the agent ever saw the log is none of its business.
    while !application.await_arrival(1) && !application.world.calm.has_begun() {}
    let mut next_turn = Instant::now();
    while !application.world.calm.has_begun() {
        let bytes = application.write()?;
        application.do_chores()?;
        if Instant::now() >= next_turn {
            application.turn()?;
            next_turn = Instant::now() + Duration::from_millis(application.rng.u64(100..3500));
        }
        let pause = bytes as u64 * 1000 / u64::from(application.plan.bytes_per_second);
        idle(&mut application.rng, pause..pause + 3);
    }
    application.finish()
}

impl Application {
    /// Some lines; how many bytes they are.
    fn write(&mut self) -> Result<usize> {
        let lines = if self.rng.u8(..) < 10 { self.rng.u32(500..3000) } else { self.rng.u32(1..60) };
        if let Some(index) = (!self.late.is_empty() && self.rng.u8(..3) == 0).then(|| self.rng.usize(..self.late.len()))
        {
            let mut text = Vec::new();
            let content = &mut self.late[index].0;
            push_lines(content, &self.plan, (lines % 20, &mut self.rng), &mut text);
            write_out(content, &text, &mut self.rng)?;
            self.world.wrote(self.plan.number, content.generation, content.lines);
        }
        let mut text = Vec::new();
        push_lines(&mut self.content, &self.plan, (lines, &mut self.rng), &mut text);
        write_out(&mut self.content, &text, &mut self.rng)?;
        self.note();
        Ok(text.len())
    }

    fn note(&self) {
        self.world.wrote(self.plan.number, self.content.generation, self.content.lines);
    }

    /// Lines of so many bytes together.
    fn write_exactly(&mut self, bytes: usize) -> Result<()> {
        let mut text = Vec::new();
        while self.content.bytes + text.len() < bytes {
            let left = bytes - self.content.bytes - text.len();
            let length = if left < 2 * SHORTEST + 200 { left } else { self.rng.usize(SHORTEST..200) };
            push_line(&mut self.content, &self.plan, length, &mut text);
        }
        write_out(&mut self.content, &text, &mut self.rng)?;
        self.note();
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        let turn = match (self.plan.naming, self.rng.u8(..16)) {
            (_, 0..2) => Turn::Refill,
            // A copy in another folder than its original's is taken for a file of its own.
            (Naming::Linked | Naming::Elsewhere, _) | (_, 2..9) => Turn::Rename,
            (_, 9..13) => Turn::CopyAndTruncate,
            (_, 13..14) => Turn::Replace,
            _ => Turn::Delete,
        };
        if !self.world.has(&format!("{turn:?}")) {
            return Ok(());
        }
        // Some ends of the agent fall exactly into a rotation.
        if self.rng.u8(..6) == 0 {
            self.world.urge(Duration::from_millis(self.rng.u64(0..40)));
            idle(&mut self.rng, 0..40);
        }
        self.tell(&format!("{turn:?} after {} lines, {} bytes", self.content.lines, self.content.bytes));
        match turn {
            Turn::Rename if self.plan.naming == Naming::Linked => self.switch_link(),
            Turn::Rename => self.rename(),
            Turn::CopyAndTruncate => self.copy_and_truncate(),
            Turn::Refill => self.refill(),
            Turn::Delete => self.delete(false),
            Turn::Replace => self.delete(true),
        }
    }

    fn tell(&self, what: &str) {
        self.world.story.tell(&format!("#{}.{}: {what}", self.plan.number, self.content.generation));
    }

    fn rename(&mut self) -> Result<()> {
        let path = self.rotated.make_room()?;
        fs::rename(&self.plan.log, &path)?;
        self.tell(&format!("is now {}", path.display()));
        if self.rng.bool() {
            idle(&mut self.rng, 0..30);
        }
        let log = self.plan.log.clone();
        self.leave(path, &log)
    }

    /// The log is `next` from now on; the former one is at `path`.
    fn leave(&mut self, path: PathBuf, next: &Path) -> Result<()> {
        let old = std::mem::replace(&mut self.content, Content::new(next, &mut self.generations)?);
        self.keep(path, &old);
        if self.rng.bool() && self.world.has("late") {
            self.late.push((old, Instant::now() + Duration::from_millis(self.rng.u64(10..1000))));
        }
        self.begin_content()
    }

    fn keep(&mut self, path: PathBuf, content: &Content) {
        let stays = !matches!(self.plan.naming, Naming::Linked | Naming::Elsewhere);
        let compress = stays && self.rng.u8(..3) > 0 && self.world.has("compress");
        let program = if self.rng.bool() { "gzip" } else { "zstd" };
        let at = Instant::now() + Duration::from_millis(self.rng.u64(0..3000));
        let compression = compress.then_some((at, program));
        self.rotated.add(RotatedFile { path, generation: content.generation, compression });
    }

    /// A target that nobody knew of is no loss: it waits until every output has seen it.
    fn switch_link(&mut self) -> Result<()> {
        if !self.await_arrival(1) {
            return Ok(());
        }
        let target = self.rotated.make_room()?;
        let old = fs::read_link(&self.plan.log)?;
        self.tell(&format!("the link goes to {}", target.display()));
        // The target is there before the link is switched, as with programs that do this.
        let next = target.clone();
        append(&target)?;
        let new_link = self.plan.log.with_extension("new");
        symlink(&target, &new_link)?;
        fs::rename(&new_link, &self.plan.log)?;
        self.leave(old, &next)
    }

    fn copy_and_truncate(&mut self) -> Result<()> {
        let path = self.rotated.make_room()?;
        let pause = if self.rng.bool() { Duration::ZERO } else { Duration::from_millis(self.rng.u64(1..5)) };
        copy_slowly(&self.plan.log, &path, pause)?;
        self.content.file.set_len(0)?;
        self.tell(&format!("is now a copy at {}", path.display()));
        let next = Content::next(self.content.file.try_clone()?, &mut self.generations);
        let old = std::mem::replace(&mut self.content, next);
        self.keep(path, &old);
        self.begin_content()
    }

    /// Truncates what has arrived, and fills the file at once.
    fn refill(&mut self) -> Result<()> {
        if !self.await_arrival(self.content.lines) {
            return Ok(());
        }
        let bytes = self.content.bytes;
        self.content.file.set_len(0)?;
        self.content = Content::next(self.content.file.try_clone()?, &mut self.generations);
        self.begin_content()?;
        let more = match self.rng.u8(..3) {
            0 => 0,
            1 => self.rng.usize(1000..100_000),
            _ => bytes / 2,
        };
        // To the very size, beyond it, or to a part of it.
        let size = if more == bytes / 2 { more } else { bytes + more };
        if size > self.content.bytes + 2 * SHORTEST {
            self.write_exactly(size)?;
        }
        self.tell(&format!("refilled to {} bytes, after {bytes}", self.content.bytes));
        Ok(())
    }

    /// Takes the file away unread; a new one comes instead.
    fn delete(&mut self, replace: bool) -> Result<()> {
        let Some(hold) = self.world.gate.hold_with_file(&self.content.file) else {
            self.tell("not deleted: the agent does not have it open");
            return Ok(());
        };
        self.deleted.push((hold, self.content.generation, self.content.lines));
        if replace {
            let new = self.plan.log.with_file_name(format!(".new-{}", self.plan.number));
            self.content = Content::new(&new, &mut self.generations)?;
            self.begin_content()?;
            self.write()?;
            fs::rename(&new, &self.plan.log)?;
        } else {
            fs::remove_file(&self.plan.log)?;
            let log = self.plan.log.clone();
            self.content = Content::new(&log, &mut self.generations)?;
            self.begin_content()?;
        }
        self.tell("begins in a new file");
        Ok(())
    }

    fn begin_content(&mut self) -> Result<()> {
        if self.plan.has_banner {
            let banner = line::banner();
            self.content.file.write_all(banner.as_bytes())?;
            self.content.bytes += banner.len();
        }
        Ok(())
    }

    /// Waits for the first lines at every output; gives up before it takes too long.
    fn await_arrival(&mut self, lines: u32) -> bool {
        let until = Instant::now() + PATIENCE;
        let (application, generation) = (self.plan.number, self.content.generation);
        while !self.world.has_arrived(application, generation, lines) {
            if Instant::now() >= until || self.world.calm.has_begun() {
                self.tell("its lines have not arrived yet: let be");
                return false;
            }
            idle(&mut self.rng, 5..20);
        }
        true
    }

    fn do_chores(&mut self) -> Result<()> {
        let now = Instant::now();
        self.late.retain(|(_, until)| *until > now);
        let late: Vec<_> = self.late.iter().map(|(content, _)| content.generation).collect();
        if let Some(done) = self.rotated.compress_due(|generation| late.contains(&generation))? {
            self.world.story.tell(&format!("#{}: {done}", self.plan.number));
        }
        let (world, number) = (&self.world, self.plan.number);
        self.deleted.retain(|(_, generation, lines)| !world.has_arrived(number, *generation, *lines));
        self.tidy(&late)
    }

    /// Removes the oldest rotated file when all of it has arrived.
    fn tidy(&mut self, late: &[u32]) -> Result<()> {
        if self.rotated.files.len() <= KEPT || late.contains(&self.rotated.files[0].generation) {
            return Ok(());
        }
        let generation = self.rotated.files[0].generation;
        let lines = lock(&self.world.written).get(&(self.plan.number, generation)).copied().unwrap_or(0);
        if self.world.has_arrived(self.plan.number, generation, lines) {
            let file = self.rotated.files.remove(0);
            fs::remove_file(&file.path)?;
        }
        Ok(())
    }

    /// What was begun is brought to its end; deleted files are waited for by who waits for everything.
    fn finish(mut self) -> Result<()> {
        self.late.clear();
        self.note();
        while self.rotated.compress_due(|_| false)?.is_some() {}
        Ok(())
    }
}

impl Content {
    /// In a new file.
    fn new(path: &Path, generations: &mut u32) -> Result<Self> {
        Ok(Self::next(append(path)?, generations))
    }

    fn next(file: File, generations: &mut u32) -> Self {
        *generations += 1;
        Self { file, generation: *generations - 1, lines: 0, bytes: 0 }
    }
}

fn append(path: &Path) -> Result<File> {
    File::options().create(true).append(true).open(path).with_context(|| format!("opening {}", path.display()))
}

fn push_lines(content: &mut Content, plan: &Plan, (lines, rng): (u32, &mut fastrand::Rng), text: &mut Vec<u8>) {
    for _ in 0..lines {
        let length = match rng.u16(..2000) {
            0 => rng.usize(10_000..200_000),
            1..20 => rng.usize(1000..10_000),
            _ => rng.usize(SHORTEST..400),
        };
        push_line(content, plan, length, text);
    }
}

fn push_line(content: &mut Content, plan: &Plan, length: usize, text: &mut Vec<u8>) {
    let id = Id { application: plan.number, generation: content.generation, number: content.lines };
    line::push(id, plan.form, length, text);
    content.lines += 1;
}

/// In one piece, or in two with a moment between them, in the middle of a line.
fn write_out(content: &mut Content, text: &[u8], rng: &mut fastrand::Rng) -> Result<()> {
    content.bytes += text.len();
    if rng.u8(..4) > 0 || text.is_empty() {
        return Ok(content.file.write_all(text)?);
    }
    let (first, second) = text.split_at(rng.usize(..text.len()));
    content.file.write_all(first)?;
    idle(rng, 0..30);
    Ok(content.file.write_all(second)?)
}
