use super::found::Found;
use super::rule::stem;
use hostwright_core::config::products::{Expression, KeyPart, KeyTemplate, Moment};
use jiff::{Timestamp, Zoned, tz::TimeZone};
use regex::Captures;
use std::collections::BTreeMap;

/// S3's limit, in bytes of UTF-8.
const LONGEST: usize = 1024;

/// Makes keys for the products of a folder.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) template: KeyTemplate,
    pub(super) host: String,
    pub(super) labels: BTreeMap<String, String>,
}

impl Keys {
    /// The key of a product that is found to be finished at `now`; dates are in UTC.
    ///
    /// # Errors
    /// The key would not be one; the sentence says why.
    pub(super) fn render(&self, found: &Found, now: Timestamp) -> Result<String, String> {
        let (seconds, nanoseconds) = found.stamp.fingerprint.mtime;
        let modified =
            i32::try_from(nanoseconds).ok().and_then(|nanoseconds| Timestamp::new(seconds, nanoseconds).ok());
        let modified = modified.ok_or("its modification time is no date")?.to_zoned(TimeZone::UTC);
        let (mut key, groups) = (String::new(), self.groups(found)?);
        for part in &self.template.0 {
            match part {
                KeyPart::Literal(text) => key.push_str(text),
                KeyPart::Path => key.push_str(&found.path),
                KeyPart::Folders => key.push_str(found.path.rsplit_once('/').map_or("", |(folders, _)| folders)),
                KeyPart::Name => key.push_str(found.name()),
                KeyPart::Stem => key.push_str(stem(found.name())),
                KeyPart::Extension => {
                    key.push_str(found.name()[stem(found.name()).len()..].trim_start_matches('.'));
                }
                KeyPart::OfName(expression) => key.push_str(shown(expression, found.name())?),
                KeyPart::OfPath(expression) => key.push_str(shown(expression, &found.path)?),
                KeyPart::Group(name) => key.push_str(groups.get(name.as_str()).copied().unwrap_or_default()),
                KeyPart::JobId => key.push_str(job_id(found)?),
                KeyPart::Host => key.push_str(&self.host),
                KeyPart::Label(name) => key.push_str(self.labels.get(name).map_or("", String::as_str)),
                KeyPart::Time(Moment::Modified, format) => key.push_str(&date(&modified, format)),
                KeyPart::Time(Moment::Now, format) => key.push_str(&date(&now.to_zoned(TimeZone::UTC), format)),
            }
        }
        check(&key).map(|()| key)
    }

    /// What the named groups of all expressions found.
    fn groups<'f>(&self, found: &'f Found) -> Result<BTreeMap<&str, &'f str>, String> {
        let mut groups = BTreeMap::new();
        for part in &self.template.0 {
            let (expression, captures) = match part {
                KeyPart::OfName(expression) => (expression, find(expression, found.name())?),
                KeyPart::OfPath(expression) => (expression, find(expression, &found.path)?),
                _ => continue,
            };
            for name in expression.0.capture_names().flatten() {
                groups.insert(name, captures.name(name).map_or("", |group| group.as_str()));
            }
        }
        Ok(groups)
    }
}

fn find<'t>(expression: &Expression, text: &'t str) -> Result<Captures<'t>, String> {
    let captures = expression.0.captures(text);
    captures.ok_or_else(|| {
        format!("{text:?} does not match {:?} of `key`; exclude it, or correct the expression", expression.0.as_str())
    })
}

/// The first group without a name, else all that was found. What groups with names find stands elsewhere in the key.
fn shown<'t>(expression: &Expression, text: &'t str) -> Result<&'t str, String> {
    let captures = find(expression, text)?;
    let unnamed = expression.0.capture_names().skip(1).position(|name| name.is_none());
    let group = captures.get(unnamed.map_or(0, |before| before + 1));
    Ok(group.map_or("", |group| group.as_str()))
}

fn job_id(found: &Found) -> Result<&str, String> {
    let id = found.job.as_ref().and_then(|job| job.get("job_id")).and_then(|id| id.as_str());
    let fits = |id: &&str| !id.is_empty() && !id.contains('/') && !id.contains(char::is_control);
    id.filter(fits).ok_or_else(|| "the file of its job has no job_id that can be in a key".to_owned())
}

fn date(time: &Zoned, format: &str) -> String {
    // Formats are tried when the configuration is loaded.
    jiff::fmt::strtime::format(format, time).unwrap_or_default()
}

/// A key with a number, for another product than the one that has the key: `scene.2.tif`.
pub(super) fn numbered(key: &str, number: u32) -> String {
    let name = key.rfind('/').map_or(0, |slash| slash + 1);
    let at = name + stem(&key[name..]).len();
    if number <= 1 { key.to_owned() } else { format!("{}.{number}{}", &key[..at], &key[at..]) }
}

/// Whether a text can be a key that every store and client takes as it is.
pub(super) fn check(key: &str) -> Result<(), String> {
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
    use super::{Keys, numbered};
    use crate::products::folder::{Fingerprint, Stamp};
    use crate::products::found::Found;
    use hostwright_core::config::products::KeyTemplate;
    use jiff::Timestamp;
    use std::sync::Arc;

    fn render(template: &str, path: &str) -> Result<String, String> {
        let labels = [("role".to_owned(), "backend".to_owned())].into();
        let template = KeyTemplate::parse(template).expect("a template");
        let keys = Keys { template, host: "h1".into(), labels };
        // 2026-11-20T23:59:59Z
        let fingerprint = Fingerprint { size: 1, mtime: (1_795_219_199, 5), inode: 1 };
        let mut found = Found::file(path.into(), Stamp { fingerprint, device: 1, ctime: (0, 0) });
        let job = serde_json::json!({"job_id": "j-7"});
        found.job = job.as_object().map(|job| Arc::new(job.clone()));
        keys.render(&found, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn every_place_of_a_template_is_filled_in_with_dates_in_utc() {
        let all =
            "{host}/{label:role}/{date}/{year}{month}{day}/{mtime:%H%M}/{now:%Y}/{path}/{dir}/{name}/{stem}-{ext}";
        assert_eq!(
            render(all, "a/b c.tar.gz").as_deref(),
            Ok("h1/backend/2026-11-20/20261120/2359/1970/a/b c.tar.gz/a/b c.tar.gz/b c.tar-gz")
        );
    }

    #[test]
    fn parts_of_a_name_are_taken_out_of_it_by_groups_with_and_without_names() {
        let name = "FSC_20170913T114531_S2B_T29SPC_V001_1";
        let key = "CLMS/Pan-European/High_Resolution_Layers/FSC/2017/09/13/FSC_20170913T114531_S2B_T29SPC_V001_1";
        let layers = "CLMS/Pan-European/High_Resolution_Layers/FSC";
        let named = r"{year}/{month}/{day}/{name:^FSC_(?<year>\d{4})(?<month>\d{2})(?<day>\d{2})T.*$}";
        assert_eq!(render(&format!("{layers}/{named}"), name).as_deref(), Ok(key));
        let each = r"{name:FSC_(\d{4})}/{name:FSC_\d{4}(\d\d)}/{name:FSC_\d{6}(\d\d)}/{name}";
        assert_eq!(render(&format!("{layers}/{each}"), &format!("job/{name}")).as_deref(), Ok(key));
        assert_eq!(
            render(r"{path:^[^/]+}/{job_id}/{name:T\d+}", &format!("job/{name}")).as_deref(),
            Ok("job/j-7/T114531")
        );
        let error = render(r"{name:^\d+$}", "a1").expect_err("refused");
        assert!(error.contains(r#""a1" does not match"#), "{error}");
    }

    #[test]
    fn what_cannot_be_a_key_is_refused_with_a_sentence() {
        assert!(render("{path}", &"x".repeat(1025)).expect_err("refused").contains("1024"));
        assert!(render("../{path}", "x").expect_err("refused").contains("made of dots"));
        assert!(render("a/{dir}/{name}", "x").expect_err("refused").contains("is empty"));
    }

    #[test]
    fn a_number_stands_before_the_extension() {
        assert_eq!(numbered("a.b/scene.tif", 2), "a.b/scene.2.tif");
        assert_eq!(numbered("a.b/scene", 3), "a.b/scene.3");
        assert_eq!(numbered("scene.tif", 1), "scene.tif");
    }
}
