//! Tags of the form `<branch>-<revisions>-<commit>`: the newest image of a branch, else of the fallback branch.

use hostwright_core::config::containers::images::TagRule;

/// A tag that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    pub tag: String,
    /// The branch that it is of.
    pub branch: String,
}

/// Chooses among a repository's tags.
///
/// # Errors
/// A sentence: neither branch has an image.
pub fn choose(rule: &TagRule, name: &str, tags: &[String]) -> Result<Chosen, String> {
    let branches = std::iter::once(&rule.branch).chain(rule.fallback.as_ref());
    for branch in branches.clone() {
        if let Some(tag) = newest(branch, tags) {
            return Ok(Chosen { tag: tag.to_owned(), branch: branch.clone() });
        }
    }
    let branches: Vec<_> = branches.map(|branch| format!("{}-<revisions>-<commit>", in_tags(branch))).collect();
    Err(format!("none of the {} tags of {name} is of the form {}", tags.len(), branches.join(" or ")))
}

/// The tag with the most revisions. Two of the same number come of a branch that was rewritten; which is newer they do
/// not tell, so the choice is only the same each time.
fn newest<'t>(branch: &str, tags: &'t [String]) -> Option<&'t str> {
    let branch = in_tags(branch);
    let candidates = tags.iter().filter_map(|tag| Some((revisions(&branch, tag)?, tag.as_str())));
    candidates.max().map(|(_, tag)| tag)
}

/// What stands for a branch in tags, where not every character may be.
fn in_tags(branch: &str) -> String {
    let name: String =
        branch.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    name.trim_start_matches(['.', '-']).to_owned()
}

/// The number of revisions in a tag of the branch. Builds write branches in lower case or as they are.
fn revisions(branch: &str, tag: &str) -> Option<u64> {
    let name = tag.get(..branch.len()).filter(|name| name.eq_ignore_ascii_case(branch))?;
    let (revisions, commit) = tag[name.len()..].strip_prefix('-')?.split_once('-')?;
    let is_commit = (7..=64).contains(&commit.len()) && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_number = !revisions.is_empty() && revisions.bytes().all(|byte| byte.is_ascii_digit());
    (is_commit && is_number).then(|| revisions.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::choose;
    use hostwright_core::config::containers::images::TagRule;

    fn chosen(branch: &str, tags: &[&str]) -> Result<String, String> {
        let rule = TagRule { images: Vec::new(), branch: branch.into(), fallback: Some("develop".into()) };
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        choose(&rule, "r.example/app", &tags).map(|chosen| chosen.tag)
    }

    const TAGS: [&str; 9] = [
        "develop-99-0a1b2c3",
        "develop-100-0a1b2c4",
        "develop-login-7000-0a1b2c3",
        "develop-500",
        "develop-501-nothex0",
        "feature-login-7-abcdef0",
        "feature-login-12-abcdef1",
        "latest",
        "ata-1234-5-abcdef2",
    ];

    #[test]
    fn the_newest_of_the_branch_has_the_most_revisions() {
        assert_eq!(chosen("feature/login", &TAGS), Ok("feature-login-12-abcdef1".into()));
        assert_eq!(chosen("develop", &TAGS), Ok("develop-100-0a1b2c4".into()));
        assert_eq!(chosen("ATA-1234", &TAGS), Ok("ata-1234-5-abcdef2".into()));
    }

    #[test]
    fn a_branch_without_images_takes_those_of_the_fallback() {
        assert_eq!(chosen("feature/other", &TAGS), Ok("develop-100-0a1b2c4".into()));
        let why = chosen("feature/other", &["latest"]).expect_err("none");
        assert_eq!(
            why,
            "none of the 1 tags of r.example/app is of the form feature-other-<revisions>-<commit> or develop-<revisions>-<commit>"
        );
    }

    #[test]
    fn tags_of_any_form_do_no_harm() {
        for tag in [
            "",
            "-",
            "develop-",
            "develop--",
            "develop-1-",
            "develop-99999999999999999999-abcdef0",
            "dévelop-1-abcdef0",
        ] {
            assert!(chosen("develop", &[tag]).is_err(), "{tag}");
        }
        assert!(chosen("é", &["é-1-abcdef0"]).is_err());
    }
}
