//! Compose files of any bytes become a model that can be printed, or are refused with their place, within bounds.
#![no_main]

use hostwright_fuzz::compose::{Request, Variables, load};
use hostwright_fuzz::yaml::{Duplicates, load as load_yaml};
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::LazyLock;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("hostwright-fuzz-compose-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
});

fuzz_target!(|input: (&str, &str, Option<&str>)| {
    let (text, variables, over) = input;
    // Other files of this machine are nobody's input.
    if [text, variables, over.unwrap_or_default()].iter().any(|text| text.contains('/')) {
        return;
    }
    let mut files = vec![FOLDER.join("compose.yaml")];
    std::fs::write(&files[0], text).expect("written");
    std::fs::write(FOLDER.join(".env"), variables).expect("written");
    if let Some(over) = over {
        files.push(FOLDER.join("over.yaml"));
        std::fs::write(&files[1], over).expect("written");
    }
    let request = Request { files, name: Some("fuzz".into()), ..Request::default() };
    match load(&request, Variables::default()).finish(|model| Ok(model.to_json())) {
        Ok(json) => assert!(load_yaml(&json, Duplicates::Refuse).is_ok() || json.len() > 100_000),
        Err(faults) => assert!(!faults.is_empty() && faults.iter().all(|fault| fault.at.place.line >= 1)),
    }
});
