//! Several products of one folder: each object reaches its bucket, whoever is quicker, and in the order that is asked for.

/// A folder that is watched by a real agent.
mod product_site;

use std::fs;

use anyhow::{Result, ensure};
use hostwright_tests::wait::eventually;
use product_site::{LIMIT, Site, produce};

const BUCKETS: &str = "b: 'file://FOLDER/out'\n  c: 'file://FOLDER/copy'";

#[test]
fn what_two_take_from_one_folder_is_deleted_when_both_have_it() -> Result<()> {
    let quick = "p: {watch: FOLDER/in, bucket: b, exclude: ['*.ready'], quiet: 100ms, afterwards: delete}";
    let slow = "q: {watch: FOLDER/in, bucket: c, include: ['**/*.tif'], finished: {marker: '*.ready'}}";
    let mut site = Site::start(BUCKETS, &format!("{quick}\n  {slow}"))?;
    site.agent.wait_ready(LIMIT)?;
    let image = produce(&site.path("in/a.tif"), 1000)?;
    produce(&site.path("in/b.xml"), 1000)?;
    site.wait_uploaded(2)?;
    eventually("what one alone takes is gone", LIMIT, || must(!site.path("in/b.xml").exists()))?;
    ensure!(site.path("in/a.tif").exists(), "it is gone before the other one had it");
    site.agent.kill9()?;
    site.agent.start_again()?;
    site.agent.wait_ready(LIMIT)?;
    site.wait("it is known", |p| p["waiting"] == 0)?;
    ensure!(site.path("in/a.tif").exists() && !site.path("copy/a.tif").exists());
    fs::write(site.path("in/a.ready"), "")?;
    site.wait_file("copy/a.tif", &image)?;
    eventually("both have it", LIMIT, || must(!site.path("in/a.tif").exists()))?;
    site.wait_file("out/a.tif", &image)
}

#[test]
fn a_product_comes_after_those_of_others_in_its_folder() -> Result<()> {
    let images = "images: {watch: FOLDER/in, bucket: b, include: ['**/*.tif'], finished: {marker: '*.ready'}}";
    let last = "p: {watch: FOLDER/in, bucket: b, include: ['**/*.xml'], quiet: 100ms, after: [images]}";
    let mut site = Site::start(BUCKETS, &format!("{images}\n  {last}"))?;
    site.agent.wait_ready(LIMIT)?;
    for folder in ["one", "two"] {
        fs::create_dir(site.path("in").join(folder))?;
        produce(&site.path("in").join(folder).join("a.tif"), 1000)?;
        produce(&site.path("in").join(folder).join("all.xml"), 1000)?;
    }
    site.wait("both wait", |p| p["held"]["count"] == 2 || p["waiting"] == 2)?;
    fs::write(site.path("in/one/a.ready"), "")?;
    site.wait("one of them goes", |p| p["uploaded"] == 1)?;
    ensure!(site.path("out/one/all.xml").exists() && site.path("out/one/a.tif").exists());
    ensure!(!site.path("out/two/all.xml").exists(), "it went before the image beside it");
    fs::write(site.path("in/two/a.ready"), "")?;
    site.wait_uploaded(2)?;
    ensure!(site.path("out/two/a.tif").exists());
    Ok(())
}

/// A folder with all in it, after files in it that are another's products and have the names of files.
#[test]
fn a_folder_comes_after_the_files_in_it() -> Result<()> {
    let parts = "parts: {watch: FOLDER/in, bucket: c, finished: {marker: '*.ready'}}";
    let whole =
        "p: {watch: FOLDER/in, bucket: b, product: folder, exclude: ['*/*.ready'], quiet: 100ms, after: [parts]}";
    let mut site = Site::start(BUCKETS, &format!("{parts}\n  {whole}"))?;
    site.agent.wait_ready(LIMIT)?;
    fs::create_dir(site.path("making"))?;
    produce(&site.path("making/a.tif"), 1000)?;
    fs::rename(site.path("making"), site.path("in/run"))?;
    site.wait("it waits", |p| p["waiting"] == 1)?;
    fs::write(site.path("in/run/a.ready"), "")?;
    site.wait_uploaded(1)?;
    ensure!(site.path("copy/run/a.tif").exists() && site.path("out/run/_manifest.json").exists());
    Ok(())
}

fn must(holds: bool) -> Result<()> {
    ensure!(holds, "not yet");
    Ok(())
}
