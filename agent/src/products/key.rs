use super::folder::Found;
use hostwright_core::config::products::{KeyPart, KeyTemplate};
use jiff::{Timestamp, tz::TimeZone};
use std::collections::BTreeMap;

/// S3's limit, in bytes of UTF-8.
const LONGEST: usize = 1024;

/// Makes keys for the files of a product.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) template: KeyTemplate,
    pub(super) host: String,
    pub(super) labels: BTreeMap<String, String>,
}

impl Keys {
    /// The key of a file; dates are of its modification, in UTC.
    ///
    /// # Errors
    /// The key would not be one; the sentence says why.
    pub(super) fn render(&self, found: &Found) -> Result<String, String> {
        let (seconds, nanoseconds) = found.stamp.fingerprint.mtime;
        let modified =
            i32::try_from(nanoseconds).ok().and_then(|nanoseconds| Timestamp::new(seconds, nanoseconds).ok());
        let modified = modified.ok_or("its modification time is no date")?.to_zoned(TimeZone::UTC);
        let mut key = String::new();
        for part in &self.template.0 {
            match part {
                KeyPart::Literal(text) => key.push_str(text),
                KeyPart::Path => key.push_str(&found.path),
                KeyPart::Name => key.push_str(found.path.rsplit('/').next().unwrap_or_default()),
                KeyPart::Host => key.push_str(&self.host),
                KeyPart::Label(name) => key.push_str(self.labels.get(name).map_or("", String::as_str)),
                KeyPart::Date => key.push_str(&modified.strftime("%Y-%m-%d").to_string()),
                KeyPart::Year => key.push_str(&modified.strftime("%Y").to_string()),
                KeyPart::Month => key.push_str(&modified.strftime("%m").to_string()),
                KeyPart::Day => key.push_str(&modified.strftime("%d").to_string()),
            }
        }
        check(&key).map(|()| key)
    }
}

fn check(key: &str) -> Result<(), String> {
    if key.len() > LONGEST {
        return Err(format!("its key would have {} bytes, and {LONGEST} is the most; shorten its path", key.len()));
    }
    // Proxies and clients "tidy" such keys up, each in its own way.
    if key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(format!("its key would be {key:?}, of which a part between '/' is empty or made of dots"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Keys;
    use crate::products::folder::{Fingerprint, Found, Stamp};
    use hostwright_core::config::products::{KeyPart, KeyTemplate};

    fn render(parts: Vec<KeyPart>, path: &str) -> Result<String, String> {
        let labels = [("role".to_owned(), "backend".to_owned())].into();
        let keys = Keys { template: KeyTemplate(parts), host: "h1".into(), labels };
        // 2026-11-20T23:59:59Z
        let fingerprint = Fingerprint { size: 1, mtime: (1_795_219_199, 5), inode: 1 };
        keys.render(&Found { path: path.into(), stamp: Stamp { fingerprint, device: 1, ctime: (0, 0) } })
    }

    #[test]
    fn every_place_of_a_template_is_filled_in_with_dates_of_the_file_in_utc() {
        let slash = || KeyPart::Literal("/".into());
        let parts = vec![
            KeyPart::Host,
            slash(),
            KeyPart::Label("role".into()),
            slash(),
            KeyPart::Date,
            slash(),
            KeyPart::Year,
            KeyPart::Month,
            KeyPart::Day,
            slash(),
            KeyPart::Path,
            slash(),
            KeyPart::Name,
        ];
        assert_eq!(render(parts, "a/b c").as_deref(), Ok("h1/backend/2026-11-20/20261120/a/b c/b c"));
    }

    #[test]
    fn what_cannot_be_a_key_is_refused_with_a_sentence() {
        assert!(render(vec![KeyPart::Path], &"x".repeat(1025)).expect_err("refused").contains("1024"));
        let climbing = vec![KeyPart::Literal("../".into()), KeyPart::Path];
        assert!(render(climbing, "x").expect_err("refused").contains("made of dots"));
    }
}
