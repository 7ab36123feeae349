//! What operators ask of products, with right and wrong inputs of all kinds: each is answered by a sentence and an exit
//! code, and what is refused leaves nothing in the bucket.

/// A folder that is watched by a real agent.
mod product_site;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use hostwright_tests::process::binary;
use product_site::{LIMIT, Site};

const BUCKETS: &str = "b: 'file://FOLDER/out'\n  far: {endpoint: 'http://127.0.0.1:9', bucket: far, credentials: \
                       {env_prefix: TEST}}";
const PRODUCTS: &str = "p: {watch: FOLDER/in, bucket: b, finished: push, exclude: ['no/**'], include: ['**/*.tif']}\n  \
                        jobs: {watch: FOLDER/jobs, bucket: b, finished: push, product: folder, key: 'jobs/{path}'}\n  \
                        marked: {watch: FOLDER/marked, bucket: b, finished: {marker: '*.ready'}}\n  \
                        far: {watch: FOLDER/far, bucket: far, finished: push}";

/// Arguments with FOLDER in them, the exit code, and what is said.
type Case = (&'static [&'static str], i32, &'static str);

const PUSHES: [Case; 26] = [
    (&["push"], 2, "<PATH>"),
    (&["push", ""], 2, "a value is required"),
    (&["push", "/nowhere/at/all"], 1, "there is nothing at /nowhere/at/all"),
    (&["push", "/etc/passwd"], 1, "/etc/passwd is no product of any folder that is watched"),
    (&["push", "FOLDER/in/../../../../../../etc/passwd"], 1, "is no product of any folder that is watched"),
    (&["push", "FOLDER/in/a.tif", "--product", "nobody"], 1, "there is no product \"nobody\"; there are far, jobs,"),
    (&["push", "FOLDER/in/a.tif", "--product", "jobs"], 1, "a.tif is no product of jobs"),
    (&["push", "FOLDER/in/gone.tif"], 1, "there is nothing at "),
    (&["push", "FOLDER/in/pipe.tif"], 1, "p: pipe.tif: refused: it is neither a file nor a folder"),
    (&["push", "FOLDER/in/link.tif"], 1, "p: link.tif: refused: it is a symbolic link or behind one"),
    (&["push", "FOLDER/in/away/passwd"], 1, "p: away/passwd: refused: it is a symbolic link or behind one"),
    (&["push", "FOLDER/in/empty"], 1, "is no product of any folder that is watched, and there are none in it"),
    (&["push", "FOLDER/in/.a.tif"], 1, "\".a.tif\" is the name of what is hidden or not finished; rename it"),
    (&["push", "FOLDER/in/a.tif.part"], 1, "\"a.tif.part\" is the name of what is hidden or not finished"),
    (&["push", "FOLDER/in/no/a.tif"], 1, "\"no/a.tif\" fits `exclude`"),
    (&["push", "FOLDER/jobs/stray"], 1, "jobs: stray: refused: products of this folder are folders"),
    (&["push", "FOLDER/marked/a.ready"], 1, "it says that something else is finished"),
    (&["push", "FOLDER/far/x"], 1, "far: x: failed: cannot use the bucket \"far\" (http://127.0.0.1:9/far)"),
    (&["push", "FOLDER/far/x"], 1, "what failed waits here and is tried again"),
    (&["push", "FOLDER/in/sub/../a.tif"], 0, "p: a.tif: uploaded as a.tif"),
    (&["push", "FOLDER/in/a.tif/"], 0, "p: a.tif: uploaded as a.tif"),
    (&["push", "FOLDER/shortcut/b.tif"], 0, "p: b.tif: uploaded as b.tif"),
    // What `include` does not name an operator may.
    (&["push", "FOLDER/in/notes.txt"], 0, "p: notes.txt: uploaded as notes.txt"),
    (&["push", "FOLDER/jobs/1/deep/y"], 0, "jobs: 1: uploaded as jobs/1"),
    (&["push", "FOLDER/jobs"], 0, "jobs: 1: uploaded as jobs/1"),
    (&["push", "FOLDER/marked"], 0, "marked: a.tif: uploaded as a-marked.tif"),
];

const OTHERS: [Case; 12] = [
    (&["verify"], 2, "<PREFIX>"),
    (&["verify", ""], 1, "say which bucket: --bucket with one of b, far"),
    (&["verify", "", "--bucket", "B"], 1, "there is no bucket \"B\"; there are b, far"),
    (&["verify", "jobs/2", "--bucket", "b"], 1, "not verified: there is no manifest under \"jobs/2\" in file://"),
    (&["verify", "../in", "--bucket", "b"], 1, "not verified: there is no manifest under \"../in\""),
    (&["verify", "", "--bucket", "far"], 1, "not verified: cannot list \"\" in the bucket \"far\""),
    (&["verify", "jobs/", "--bucket", "b", "--deep"], 0, "1 files of 1 manifests (4 B) compared: all as they say"),
    (&["verify", "jobs/", "--bucket", "b", "--format", "json"], 0, "\"manifests\":1"),
    (&["fetch"], 1, "nothing is fetched here: no bucket of the configuration has `fetch:`"),
    (&["fetch", "x"], 2, "unexpected argument 'x'"),
    (&["pull"], 2, "unrecognized subcommand 'pull'"),
    (&["push", "FOLDER/in/a.tif", "--socket", "/nowhere"], 1, "the agent does not run here; see `systemctl status"),
];

#[test]
fn what_is_asked_in_a_wrong_way_is_answered_by_a_sentence_and_leaves_nothing_in_the_bucket() -> Result<()> {
    let site = Site::start(BUCKETS, &PRODUCTS.replace("'*.ready'}}", "'*.ready'}, key: '{stem}-marked.{ext}'}"))?;
    for folder in ["in/sub", "in/no", "in/empty", "jobs/1/deep", "jobs/hollow", "marked", "far"] {
        fs::create_dir_all(site.path(folder))?;
    }
    let files = ["a.tif", "b.tif", "sub/c.tif", ".a.tif", "a.tif.part", "no/a.tif", "notes.txt"];
    for file in files
        .map(|file| format!("in/{file}"))
        .into_iter()
        .chain(["jobs/stray", "jobs/1/deep/y", "marked/a.tif", "marked/a.ready", "far/x"].map(str::to_owned))
    {
        fs::write(site.path(&file), "four")?;
    }
    nix::unistd::mkfifo(&site.path("in/pipe.tif"), nix::sys::stat::Mode::S_IRWXU)?;
    symlink("a.tif", site.path("in/link.tif"))?;
    symlink("/etc", site.path("in/away"))?;
    symlink(site.path("in"), site.path("shortcut"))?;
    site.wait_why("far: cannot use the bucket")?;
    for (arguments, code, words) in PUSHES {
        asked(&site, arguments, (code, words))?;
    }
    let odd = site.path("in").join(OsStr::from_bytes(b"bad\xff.tif"));
    fs::write(&odd, "x")?;
    let output = command(&site)?.arg("push").arg(&odd).output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1) && told.contains("is not UTF-8, and no key can be made of it"), "{told}");
    let (text, well) = site.products(&["push", &site.path("in").display().to_string()])?;
    ensure!(!well && text.contains("p: sub/c.tif: uploaded as sub/c.tif"), "{text}");
    ensure!(text.contains("refused: its name is not UTF-8"), "{text}");
    for (arguments, code, words) in OTHERS {
        asked(&site, arguments, (code, words))?;
    }
    let expected =
        ["a-marked.tif", "a.tif", "b.tif", "jobs/1/_manifest.json", "jobs/1/deep/y", "notes.txt", "sub/c.tif"];
    let mut kept = BTreeSet::new();
    keys(&site.path("out"), "", &mut kept)?;
    ensure!(kept.iter().eq(expected.iter()), "{kept:?}");
    Ok(())
}

fn command(site: &Site) -> Result<Command> {
    let mut command = Command::new(binary("hostwright-agent")?);
    command.arg("products").arg("--socket").arg(site.agent.socket());
    Ok(command)
}

fn asked(site: &Site, arguments: &[&str], (code, words): (i32, &str)) -> Result<()> {
    let folder = site.folder.path().display().to_string();
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.replace("FOLDER", &folder)).collect();
    let mut command = Command::new(binary("hostwright-agent")?);
    command.arg("products").args(&arguments);
    if !arguments.iter().any(|argument| argument == "--socket") {
        command.arg("--socket").arg(site.agent.socket());
    }
    let output = command.output()?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.code() == Some(code), "{arguments:?}: {} {text}", output.status);
    ensure!(text.contains(words) && !text.contains("panicked"), "{arguments:?}: {text}");
    Ok(())
}

/// All files of a folder that is a bucket.
fn keys(folder: &Path, before: &str, all: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().ok().context("UTF-8")?;
        match entry.file_type()?.is_dir() {
            true => keys(&entry.path(), &format!("{before}{name}/"), all)?,
            false => drop(all.insert(format!("{before}{name}"))),
        }
    }
    Ok(())
}

/// More than wait in memory at other times, and none of them is found by any walk.
#[test]
fn all_that_an_operator_pushes_is_uploaded_however_much_it_is() -> Result<()> {
    const MANY: usize = 3_600;
    let product = "p: {watch: FOLDER/in, bucket: b, finished: push}";
    let mut site = Site::start("b: 'file://FOLDER/out'", product)?;
    for number in 0..MANY {
        fs::write(site.path(&format!("in/{number}")), "x")?;
    }
    site.agent.wait_ready(LIMIT)?;
    let (text, well) = site.products(&["push", &site.path("in").display().to_string()])?;
    ensure!(well && text.lines().count() == MANY, "{}", text.lines().take(5).collect::<String>());
    ensure!(fs::read_dir(site.path("out"))?.count() == MANY);
    // Once more: nothing is sent, and all is told.
    let (text, well) = site.products(&["push", &site.path("in").display().to_string()])?;
    ensure!(well && text.lines().count() == MANY && site.uploads_logged() == MANY);
    Ok(())
}

#[test]
fn what_fails_as_often_as_is_asked_for_is_left_alone_until_somebody_asks_for_it() -> Result<()> {
    let product = "p: {watch: FOLDER/in, bucket: b, quiet: 100ms, quarantine_after: 2}";
    let site = Site::start("b: 'file://FOLDER/out'", product)?;
    // A folder is where the object would be.
    fs::create_dir_all(site.path("out/a"))?;
    fs::write(site.path("in/a"), "x")?;
    fs::write(site.path("in/b"), "x")?;
    site.wait_file("out/b", b"x")?;
    let path = site.path("in/a").display().to_string();
    site.wait("it is in quarantine", |p| {
        p["failed"]["examples"][0]["why"].to_string().contains("in quarantine until")
    })?;
    fs::remove_dir(site.path("out/a"))?;
    let (text, well) = site.products(&["push", &path])?;
    ensure!(well && text == "p: a: uploaded as a\n", "{text}");
    site.wait_file("out/a", b"x")
}
