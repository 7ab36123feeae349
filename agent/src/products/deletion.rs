/// What a folder is called while it is deleted: hidden, so that half of it is never taken for a product.
const DELETING: &str = ".hostwright-uploaded";
/// What a folder is called from the beginning of its deletion on.
pub(super) fn hidden(path: &str) -> String {
    let (above, name) = path.rsplit_once('/').map_or(("", path), |(above, name)| (above, name));
    let slash = if above.is_empty() { "" } else { "/" };
    format!("{above}{slash}.{name}{DELETING}")
}

/// The path that a folder had before its deletion began.
pub(super) fn before_deletion(hidden: &str) -> Option<String> {
    let (above, name) = hidden.rsplit_once('/').map_or(("", hidden), |(above, name)| (above, name));
    let name = name.strip_prefix('.')?.strip_suffix(DELETING)?;
    Some(if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") })
}
