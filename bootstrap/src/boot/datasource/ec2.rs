use super::Metadata;
use super::seed::{About, Bytes, Seed};
use super::service::{Refusal, Service, patiently};
use crate::boot::host::Host;
use anyhow::Context as _;
use futures_util::future::{BoxFuture, join_all};
use hyper::Method;
use serde_json::{Map, Value, json};

const ADDRESSES: [&str; 2] = ["http://169.254.169.254", "http://[fd00:ec2::254]"];
/// Of a token, in seconds: as long as a boot can take.
const TOKEN_LIFE: &str = "21600";
/// The tree of metadata has some dozens of leaves.
const MAX_LEAVES: usize = 500;
const MAX_DEPTH: usize = 8;

/// Asks the metadata service of EC2, with a token; without one only where that is allowed.
///
/// # Errors
/// It does not answer, or gives no instance id.
pub fn fetch(host: &Host, base: Option<String>, without_token: bool) -> anyhow::Result<Seed> {
    let addresses = base.map_or_else(|| ADDRESSES.map(str::to_owned).to_vec(), |base| vec![base]);
    let mut service = Service::at(&addresses);
    host.block_on(async {
        match token(&service).await {
            Ok(token) => service.headers.push(("X-aws-ec2-metadata-token", token)),
            Err(Refusal::Final(..)) if without_token => {}
            Err(Refusal::Final(_, why) | Refusal::Passing(why)) => {
                return Err(why).context("the metadata service of EC2 gives no token; is it switched on for this instance, and the hop limit at least 1?");
            }
        }
        seed(&service).await
    })
}

async fn token(service: &Service) -> Result<String, Refusal> {
    let mut service = service.clone();
    service.headers.push(("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_LIFE.to_owned()));
    let body = patiently(|| service.ask(Method::PUT, "/latest/api/token", &[])).await?;
    Ok(String::from_utf8_lossy(&body).trim().to_owned())
}

async fn seed(service: &Service) -> anyhow::Result<Seed> {
    let text = |path: &'static str| async move { service.text(path).await };
    // All at once: what has to be known first costs one more trip.
    let (id, host_name, zone, region, index, key) = tokio::join!(
        text("/latest/meta-data/instance-id"),
        text("/latest/meta-data/local-hostname"),
        text("/latest/meta-data/placement/availability-zone"),
        text("/latest/meta-data/placement/region"),
        text("/latest/meta-data/ami-launch-index"),
        text("/latest/meta-data/public-keys/"),
    );
    let user_data = service.get("/latest/user-data").await?.unwrap_or_default();
    let instance_id = id?.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty());
    let instance_id = instance_id.with_context(|| format!("{} has no instance-id", service.base))?;
    let zone = zone?;
    let region = region?
        .or_else(|| zone.as_ref().map(|zone| zone.trim_end_matches(|c: char| c.is_ascii_lowercase()).to_owned()));
    let public_keys = public_keys(service, &key?.unwrap_or_default()).await?;
    let host_name = host_name?.map(|name| name.split_whitespace().next().unwrap_or_default().to_owned());
    let mut seed = Seed {
        datasource: format!("ec2 ({})", service.base),
        metadata: Metadata { instance_id: Some(instance_id), local_hostname: host_name, public_keys },
        about: About {
            cloud: "aws".into(),
            platform: "ec2".into(),
            subplatform: format!("metadata ({})", service.base),
            region,
            availability_zone: zone,
            launch_index: index?.and_then(|index| index.trim().parse().ok()),
            meta_data: Value::Null,
        },
        user_data: Bytes(user_data),
        ..Seed::default()
    };
    seed.about.meta_data = json!({"instance-id": seed.metadata.instance_id, "local-hostname": seed.metadata.local_hostname,
        "placement": {"availability-zone": seed.about.availability_zone, "region": seed.about.region}});
    // The whole tree costs dozens of requests, and only templates look at it.
    if is_template(&seed.user_data) {
        seed.about.meta_data = Value::Object(tree(service, "/latest/meta-data/".to_owned(), 0).await?);
    }
    Ok(seed)
}

/// A packed one may hold a template as well.
fn is_template(user_data: &[u8]) -> bool {
    let needle = b"template: jinja";
    let lower = user_data.to_ascii_lowercase();
    user_data.starts_with(b"\x1f\x8b")
        || lower.windows(needle.len()).any(|window| window == needle)
        || lower.windows(6).any(|window| window == b"base64")
}

/// Lines `0=name` of which each has a key.
async fn public_keys(service: &Service, list: &str) -> anyhow::Result<Vec<String>> {
    let numbers = list.lines().filter_map(|line| line.split('=').next()).filter(|number| !number.trim().is_empty());
    let paths: Vec<String> = numbers
        .take(100)
        .map(|number| format!("/latest/meta-data/public-keys/{}/openssh-key", number.trim()))
        .collect();
    let mut keys = Vec::new();
    for answer in join_all(paths.iter().map(|path| service.text(path))).await {
        keys.extend(
            answer?
                .iter()
                .flat_map(|text| text.lines())
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .map(str::to_owned),
        );
    }
    Ok(keys)
}

/// Everything below a folder: `name/` is a folder, `name` a leaf. Credentials are never read.
fn tree(service: &Service, folder: String, depth: usize) -> BoxFuture<'_, anyhow::Result<Map<String, Value>>> {
    Box::pin(async move {
        let mut found = Map::new();
        let list = service.text(&folder).await?.unwrap_or_default();
        if depth > MAX_DEPTH {
            return Ok(found);
        }
        for name in list.lines().map(str::trim).filter(|name| !name.is_empty()).take(MAX_LEAVES) {
            if name.starts_with("security-credentials") || name.contains("..") {
                continue;
            }
            // `0=name` of public-keys is the folder `0`.
            let (path, key) =
                name.split_once('=').map_or((name.to_owned(), name), |(number, _)| (format!("{number}/"), number));
            let value = if path.ends_with('/') {
                Value::Object(tree(service, format!("{folder}{path}"), depth + 1).await?)
            } else {
                json!(service.text(&format!("{folder}{path}")).await?)
            };
            found.insert(key.trim_end_matches('/').to_owned(), value);
        }
        Ok(found)
    })
}
