use serde::Deserialize;
use serde_json::Value;

/// An entry of a listing.
#[derive(Debug, Deserialize)]
pub struct Listed {
    pub name: Option<String>,
    #[serde(default)]
    pub bytes: u64,
    pub hash: Option<String>,
    pub last_modified: Option<String>,
    pub slo_etag: Option<String>,
}

/// What is told of a deletion with a manifest.
#[derive(Debug, Default, Deserialize)]
pub struct Report {
    #[serde(rename = "Errors", default)]
    pub errors: Vec<(String, String)>,
}

/// A line of the manifest that a large object is.
#[derive(Debug, Deserialize)]
pub struct Segment {
    pub name: Option<String>,
}

/// A page of a listing.
#[derive(Debug, Default)]
pub struct Page {
    /// How many entries it has.
    pub told: usize,
    /// Those that are objects: names without a hash are folders that the listing has made up.
    pub named: Vec<Listed>,
}

/// Reads an answer.
///
/// # Errors
/// It is not what Swift says.
pub fn parsed<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Reads a page of a listing; an empty one may be no text at all.
///
/// # Errors
/// It is not what Swift says.
pub fn listing(text: &str) -> Result<Page, String> {
    if text.is_empty() {
        return Ok(Page::default());
    }
    let mut named: Vec<Listed> = parsed(text)?;
    let told = named.len();
    named.retain(|one| one.name.is_some());
    Ok(Page { told, named })
}

/// The store's URL of the catalogue.
///
/// # Errors
/// It has none, or several; the sentence says which there are.
pub fn store(catalog: &Value, region: Option<&str>, interface: &str) -> Result<String, String> {
    let none = Vec::new();
    let services = catalog.as_array().unwrap_or(&none).iter().filter(|service| service["type"] == "object-store");
    let endpoints = services.flat_map(|service| service["endpoints"].as_array().unwrap_or(&none));
    let endpoints: Vec<_> = endpoints.filter(|endpoint| endpoint["interface"] == interface).collect();
    let name = |endpoint: &Value| {
        let region = endpoint["region"].as_str().or(endpoint["region_id"].as_str());
        region.unwrap_or("(no name)").to_owned()
    };
    let fits: Vec<_> =
        endpoints.iter().filter(|endpoint| region.is_none_or(|region| name(endpoint) == region)).collect();
    let known = || endpoints.iter().map(|endpoint| name(endpoint)).collect::<Vec<_>>().join(", ");
    match (&fits[..], region) {
        ([one], _) => {
            let url = one["url"].as_str().map(|url| url.trim_end_matches('/')).filter(|url| !url.is_empty());
            url.map(str::to_owned).ok_or_else(|| "the catalogue's object-store has no url".to_owned())
        }
        ([], _) if endpoints.is_empty() => {
            Err(format!("the project's catalogue has no object-store with an interface {interface}"))
        }
        ([], _) => Err(format!("the project's catalogue has no object-store in that region; it has {}", known())),
        (_, _) => Err(format!("the project has object stores in several regions; name one with region: {}", known())),
    }
}

#[cfg(test)]
mod tests {
    use super::store;
    use serde_json::json;

    #[test]
    fn the_store_is_that_of_the_region_and_what_cannot_be_chosen_is_said() {
        let endpoint = |region: &str, interface: &str| json!({"interface": interface, "region": region, "url": format!("https://{region}/v1/AUTH_p/")});
        let catalog = json!([
            {"type": "identity", "endpoints": [endpoint("GRA", "public")]},
            {"type": "object-store", "endpoints": [endpoint("GRA", "public"), endpoint("SBG", "public"), endpoint("GRA", "admin")]},
        ]);
        let of = |region, interface| store(&catalog, region, interface);
        assert_eq!(of(Some("SBG"), "public"), Ok("https://SBG/v1/AUTH_p".into()));
        assert_eq!(of(None, "admin"), Ok("https://GRA/v1/AUTH_p".into()));
        for (region, interface, words) in [
            (None, "public", "several regions; name one with region: GRA, SBG"),
            (Some("DE"), "public", "it has GRA, SBG"),
            (None, "internal", "interface internal"),
        ] {
            let error = of(region, interface).expect_err(words);
            assert!(error.contains(words), "{error}");
        }
    }
}
