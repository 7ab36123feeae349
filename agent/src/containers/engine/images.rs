//! Images: pulled, loaded, named, listed and removed.

use super::{Engine, EngineError};
use crate::containers::images::Login;
use bollard::auth::DockerCredentials;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ImportImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
    TagImageOptionsBuilder,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// An engine that says nothing for so long has lost its registry; it repeats itself every second otherwise.
const SILENCE: Duration = Duration::from_secs(120);

/// What loading an archive may say of itself.
const MOST_NAMES: usize = 1000;

/// How far a pull is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub layers: usize,
    pub layers_done: usize,
    /// Of the layers whose size is known by now.
    pub bytes: u64,
    pub bytes_done: u64,
}

/// An image as the engine lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub id: String,
    pub tags: Vec<String>,
    pub digests: Vec<String>,
    pub size: u64,
    /// Seconds since 1970.
    pub created: i64,
}

#[derive(Debug, Default)]
struct Layers(BTreeMap<String, Layer>);

#[derive(Debug, Default)]
struct Layer {
    is_done: bool,
    bytes: u64,
    bytes_done: u64,
}

impl Engine {
    /// Pulls `NAME@DIGEST` or `NAME:TAG`, as this user; `progress` hears how far it is.
    ///
    /// # Errors
    /// The engine does not answer, or says why it could not.
    pub async fn pull_as(
        &self,
        reference: &str,
        login: &Login,
        mut progress: impl FnMut(Progress),
    ) -> Result<(), EngineError> {
        let (name, tag) = super::split_reference(reference);
        let options = CreateImageOptionsBuilder::new().from_image(name).tag(tag).build();
        let mut layers = Layers::default();
        let mut stream = std::pin::pin!(self.0.create_image(Some(options), None, credentials(login)));
        loop {
            let next = tokio::time::timeout(SILENCE, stream.try_next()).await;
            let next = next.map_err(|_| {
                let seconds = SILENCE.as_secs();
                EngineError::Unreachable(format!("the engine has said nothing of the pull for {seconds} s"))
            })?;
            let Some(step) = next? else { return Ok(()) };
            if let Some(message) = step.error_detail.as_ref().and_then(|detail| detail.message.clone()) {
                return Err(EngineError::Refused { status: 500, message });
            }
            layers.take(step);
            progress(layers.progress());
        }
    }

    /// The id of an image; nothing where the engine does not have it.
    pub async fn image_id(&self, reference: &str) -> Result<Option<String>, EngineError> {
        match self.0.inspect_image(reference).await.map_err(EngineError::from) {
            Ok(image) => Ok(image.id),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The digest under which a registry knows an image, where it knows the image at all.
    pub async fn image_digest(&self, reference: &str, repository: &str) -> Result<Option<String>, EngineError> {
        let digests = self.0.inspect_image(reference).await?.repo_digests.unwrap_or_default();
        let split = digests.iter().filter_map(|digest| digest.split_once('@'));
        // Names of Docker Hub are shortened in these.
        let mut own = split.filter(|(name, _)| repository.ends_with(name) || name.ends_with(repository));
        Ok(own.next().map(|(_, digest)| digest.to_owned()))
    }

    /// Gives an image a further name.
    pub async fn tag_image(&self, id: &str, name: &str, tag: &str) -> Result<(), EngineError> {
        let options = TagImageOptionsBuilder::new().repo(name).tag(tag).build();
        Ok(self.0.tag_image(id, Some(options)).await?)
    }

    /// Loads an archive; the names or ids of the images in it.
    pub async fn load_images<S>(&self, archive: S) -> Result<Vec<String>, EngineError>
    where
        S: Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
    {
        // Its answer comes when the whole archive is there.
        let patient = self.0.clone().with_timeout(Duration::from_secs(3600));
        let options = ImportImageOptionsBuilder::new().quiet(true).build();
        let mut stream = std::pin::pin!(patient.import_image_stream(options, archive, None));
        let mut names = Vec::new();
        while let Some(step) = stream.next().await {
            let step = step?;
            if let Some(message) = step.error_detail.and_then(|detail| detail.message) {
                return Err(EngineError::Refused { status: 500, message });
            }
            let line = step.stream.unwrap_or_default();
            let loaded = line.lines().filter_map(|line| {
                line.strip_prefix("Loaded image: ").or_else(|| line.strip_prefix("Loaded image ID: "))
            });
            names.extend(loaded.flat_map(|line| line.split(',')).map(|name| name.trim().to_owned()));
            names.truncate(MOST_NAMES);
        }
        Ok(names)
    }

    /// All images but layers without a name that others are built on.
    pub async fn list_images(&self) -> Result<Vec<Listed>, EngineError> {
        let options = ListImagesOptionsBuilder::new().build();
        let images = self.0.list_images(Some(options)).await?;
        let named = |names: Vec<String>| names.into_iter().filter(|name| !name.contains("<none>")).collect();
        let listed = images.into_iter().map(|image| Listed {
            id: image.id,
            tags: named(image.repo_tags),
            digests: named(image.repo_digests),
            size: u64::try_from(image.size).unwrap_or_default(),
            created: image.created,
        });
        Ok(listed.collect())
    }

    /// The ids of images that any container uses, whether it runs or not, and whoever made it.
    pub async fn images_in_use(&self) -> Result<BTreeSet<String>, EngineError> {
        let options = bollard::query_parameters::ListContainersOptionsBuilder::new().all(true).build();
        let containers = self.0.list_containers(Some(options)).await?;
        Ok(containers.into_iter().filter_map(|container| container.image_id).collect())
    }

    /// Removes one name of an image, or by its id the image itself; never one that a container uses.
    pub async fn remove_image(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveImageOptionsBuilder::new().force(false).noprune(false).build();
        super::absent_is_fine(self.0.remove_image(name, Some(options), None).await.map(drop))
    }

    /// Where the engine keeps images.
    pub async fn root_folder(&self) -> Result<Option<String>, EngineError> {
        Ok(self.0.info().await?.docker_root_dir)
    }
}

fn credentials(login: &Login) -> Option<DockerCredentials> {
    match login {
        Login::Nobody => None,
        Login::User { name, password } => Some(DockerCredentials {
            username: Some(name.clone()),
            password: Some(password.expose().to_owned()),
            ..DockerCredentials::default()
        }),
        Login::IdentityToken(token) => {
            Some(DockerCredentials { identitytoken: Some(token.expose().to_owned()), ..DockerCredentials::default() })
        }
    }
}

impl Layers {
    fn take(&mut self, step: CreateImageInfo) {
        let (Some(id), Some(status)) = (step.id, step.status) else { return };
        if status.starts_with("Pulling from") {
            return;
        }
        let layer = self.0.entry(id).or_default();
        layer.is_done = matches!(status.as_str(), "Pull complete" | "Already exists" | "Download complete") && {
            // Podman ends with the download, Docker with the unpacked layer.
            status != "Download complete" || layer.bytes == 0
        };
        if status == "Downloading"
            && let Some(detail) = step.progress_detail
        {
            layer.bytes = number(detail.total);
            layer.bytes_done = number(detail.current);
        } else if status != "Waiting" && status != "Pulling fs layer" {
            layer.bytes_done = layer.bytes;
        }
    }

    fn progress(&self) -> Progress {
        let layers = self.0.values();
        Progress {
            layers: self.0.len(),
            layers_done: layers.clone().filter(|layer| layer.is_done).count(),
            bytes: layers.clone().map(|layer| layer.bytes).sum(),
            bytes_done: layers.map(|layer| layer.bytes_done).sum(),
        }
    }
}

fn number(value: Option<i64>) -> u64 {
    value.and_then(|value| u64::try_from(value).ok()).unwrap_or_default()
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} layers", self.layers_done, self.layers)?;
        if self.bytes > 0 {
            let megabytes = |bytes: u64| bytes as f64 / 1e6;
            write!(f, ", {:.1} of {:.1} MB", megabytes(self.bytes_done), megabytes(self.bytes))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{CreateImageInfo, Layers};
    use bollard::models::ProgressDetail;

    #[test]
    fn progress_is_told_in_layers_and_bytes() {
        let mut layers = Layers::default();
        let mut step = |id: &str, status: &str, bytes: Option<(i64, i64)>| {
            let detail = bytes.map(|(current, total)| ProgressDetail { current: Some(current), total: Some(total) });
            layers.take(CreateImageInfo {
                id: Some(id.into()),
                status: Some(status.into()),
                progress_detail: detail,
                ..CreateImageInfo::default()
            });
            layers.progress().to_string()
        };
        assert_eq!(step("latest", "Pulling from team/app", None), "0 of 0 layers");
        assert_eq!(step("a", "Already exists", None), "1 of 1 layers");
        assert_eq!(step("b", "Pulling fs layer", None), "1 of 2 layers");
        assert_eq!(step("b", "Downloading", Some((500_000, 2_000_000))), "1 of 2 layers, 0.5 of 2.0 MB");
        assert_eq!(step("b", "Extracting", Some((1, 2))), "1 of 2 layers, 2.0 of 2.0 MB");
        assert_eq!(step("b", "Pull complete", None), "2 of 2 layers, 2.0 of 2.0 MB");
    }
}
