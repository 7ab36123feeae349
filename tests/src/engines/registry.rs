//! An image registry: Debian's docker-registry.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::Docker;
use crate::http;
use crate::port::Port;
use crate::server::Server;
use serde_json::{Value, json};

const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A registry that holds what tests push. The Docker Engine trusts it because it is on 127.0.0.0/8.
#[derive(Debug)]
pub struct Registry {
    server: Server,
    port: Port,
    folder: TempDir,
    login: Option<(String, String)>,
}

impl Registry {
    pub fn start() -> Result<Self> {
        let (folder, port) = (tempfile::tempdir()?, Port::reserve()?);
        let server = serve(&folder, &port, "")?;
        let mut registry = Self { server, port, folder, login: None };
        registry.wait()?;
        Ok(registry)
    }

    /// The same registry, at the same address, for one user alone.
    pub fn protect(mut self, user: &str, password: &str) -> Result<Self> {
        self.server.stop()?;
        let file = self.folder.path().join("htpasswd");
        fs::write(&file, format!("{user}:{}\n", bcrypt::hash(password, 4)?))?;
        let auth = format!("auth: {{htpasswd: {{realm: test, path: \"{}\"}}}}\n", file.display());
        self.server = serve(&self.folder, &self.port, &auth)?;
        self.login = Some((user.to_owned(), password.to_owned()));
        self.wait()?;
        Ok(self)
    }

    fn wait(&mut self) -> Result<()> {
        let (address, headers) = (self.port.address(), self.headers(&[]));
        self.server.wait_until("GET /v2/ answers 200", START_TIMEOUT, || {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            http::request(address, "GET", "/v2/", &headers, &[])?.success()
        })?;
        Ok(())
    }

    /// `127.0.0.1:PORT`, the first part of the name of each image here.
    pub fn host(&self) -> String {
        self.port.address().to_string()
    }

    /// Copies a local image into the registry as `name` (`folder/image:tag`); its full name, fit for a Compose file.
    pub fn push(&self, docker: &Docker, local: &str, name: &str) -> Result<String> {
        let full = format!("{}/{name}", self.host());
        docker.docker(&["tag", local, &full])?;
        docker.docker(&["push", "--quiet", &full])?;
        // Only the registry's copy stays, so that whoever runs the image must pull it.
        // An agent may run it already: then it loses its name alone.
        docker.docker(&["rmi", "--force", &full])?;
        Ok(full)
    }

    /// The digest of `folder/image:tag`.
    pub fn digest(&self, name: &str) -> Result<String> {
        let (repository, tag) = name.rsplit_once(':').context("a tag")?;
        let accept = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json";
        let path = format!("/v2/{repository}/manifests/{tag}");
        let answer = self.request("GET", &path, &[("Accept", accept)], &[])?.success()?;
        Ok(answer.header("docker-content-digest").context("a digest")?.to_owned())
    }

    /// Stores a manifest of these layers, each (media type, annotations, content), under a tag; its digest and size.
    pub fn put_artifact(
        &self,
        repository: &str,
        tag: &str,
        mut manifest: Value,
        layers: &[Layer<'_>],
    ) -> Result<Value> {
        let config = self.put_blob(repository, b"{}")?;
        manifest["schemaVersion"] = 2.into();
        manifest["mediaType"] = OCI_MANIFEST.into();
        manifest["config"] = config;
        manifest["config"]["mediaType"] = "application/vnd.oci.empty.v1+json".into();
        let mut descriptors = Vec::new();
        for (kind, annotations, content) in layers {
            let mut descriptor = self.put_blob(repository, content)?;
            descriptor["mediaType"] = (*kind).into();
            descriptor["annotations"] = annotations.clone();
            descriptors.push(descriptor);
        }
        manifest["layers"] = descriptors.into();
        self.put_manifest(repository, tag, &manifest)
    }

    /// Stores a manifest or index as it is; its descriptor.
    pub fn put_manifest(&self, repository: &str, tag: &str, manifest: &Value) -> Result<Value> {
        let kind = manifest["mediaType"].as_str().context("a media type")?;
        let (path, text) = (format!("/v2/{repository}/manifests/{tag}"), manifest.to_string());
        let answer = self.request("PUT", &path, &[("Content-Type", kind)], text.as_bytes())?.success()?;
        let digest = answer.header("docker-content-digest").context("a digest")?;
        Ok(json!({"mediaType": kind, "digest": digest, "size": text.len()}))
    }

    fn put_blob(&self, repository: &str, content: &[u8]) -> Result<Value> {
        let digest = format!("sha256:{}", sha256(content)?);
        let path = format!("/v2/{repository}/blobs/uploads/");
        let answer = self.request("POST", &path, &[], &[])?.success()?;
        let place = answer.header("location").context("a place for the upload")?;
        let place = place.split_once("://").map_or(place, |(_, rest)| &rest[rest.find('/').unwrap_or(0)..]);
        let kind = [("Content-Type", "application/octet-stream")];
        self.request("PUT", &format!("{place}&digest={digest}"), &kind, content)?.success()?;
        Ok(json!({"digest": digest, "size": content.len()}))
    }

    fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<http::Response> {
        let headers = self.headers(headers);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        http::request(self.port.address(), method, path, &headers, body)
    }

    fn headers(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let login = self.login.iter().map(|(user, password)| {
            ("Authorization".to_owned(), format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
        });
        login.chain(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).collect()
    }
}

/// Media type, annotations and content of a layer.
pub type Layer<'a> = (&'a str, Value, &'a [u8]);

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn serve(folder: &TempDir, port: &Port, auth: &str) -> Result<Server> {
    let config = folder.path().join("config.yml");
    let (root, address) = (folder.path().join("images"), port.address());
    fs::write(
        &config,
        format!(
            "version: 0.1\nlog: {{level: warn}}\nhttp: {{addr: \"{address}\"}}\n{auth}\
             storage: {{filesystem: {{rootdirectory: \"{}\"}}, delete: {{enabled: true}}}}\n",
            root.display()
        ),
    )?;
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(&config).env("OTEL_TRACES_EXPORTER", "none");
    Server::start(&command, &folder.path().join("registry.log"))
}

/// In hexadecimal digits.
pub fn sha256(content: &[u8]) -> Result<String> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), content)?;
    let output = Command::new("sha256sum").arg(file.path()).output()?;
    Ok(String::from_utf8(output.stdout)?.split(' ').next().context("a checksum")?.to_owned())
}
