//! OpenStack Swift with its S3 API: one node, one device, no replication.
//!
//! Tests write through the S3 API as the agent does, and look at the outcome through Swift's own API: a bucket is a
//! container of the account AUTH_test.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::keystone::{self, Keystone};
use crate::http::{self, Response};
use crate::port::Port;
use crate::server::{Server, search_path};

const START_TIMEOUT: Duration = Duration::from_secs(60);
pub const ACCESS_KEY: &str = "test:tester";
pub const SECRET_KEY: &str = "testing";
pub const REGION: &str = "us-east-1";
/// A second account with buckets of its own: `ACCESS_KEY` has no rights there.
pub const OTHER_ACCESS_KEY: &str = "other:writer";
pub const OTHER_SECRET_KEY: &str = "writing";
const SERVICES: [&str; 3] = ["account", "container", "object"];
/// Debian's Swift belongs to Debian's Python, which need not be the first on the path.
const PYTHON: &str = "/usr/bin/python3";

/// An object store that answers at `endpoint` (path style) to `ACCESS_KEY` and `SECRET_KEY`.
#[derive(Debug)]
pub struct Swift {
    servers: Vec<Server>,
    ports: Ports,
    folder: TempDir,
    keystone: Option<Keystone>,
    kind: Kind,
}

/// What is not as in most of them.
#[derive(Clone, Copy, Debug)]
struct Kind {
    keystone: bool,
    /// What the proxy's clock is ahead, as faketime(1) takes it.
    clock: Option<&'static str>,
    /// How many parts an object may have.
    most_parts: u32,
}

impl Default for Kind {
    fn default() -> Self {
        Self { keystone: false, clock: None, most_parts: 1000 }
    }
}

#[derive(Debug)]
struct Ports {
    proxy: Port,
    memcached: Port,
    services: [Port; 3],
}

impl Swift {
    pub fn start() -> Result<Self> {
        Self::start_with(Kind::default())
    }

    /// One whose users are Keystone's: `ACCESS_KEY` is nobody there.
    pub fn start_with_keystone() -> Result<Self> {
        Self::start_with(Kind { keystone: true, ..Kind::default() })
    }

    /// One whose clock goes wrong: `+2h`.
    pub fn start_with_clock(clock: &'static str) -> Result<Self> {
        Self::start_with(Kind { clock: Some(clock), ..Kind::default() })
    }

    /// One that takes fewer parts of an object than most.
    pub fn start_with_most_parts(most_parts: u32) -> Result<Self> {
        Self::start_with(Kind { most_parts, ..Kind::default() })
    }

    fn start_with(kind: Kind) -> Result<Self> {
        // Not the temporary folder, which may be a tmpfs: objects keep their metadata in extended attributes.
        let folder = tempfile::tempdir_in("/var/tmp")?;
        let services = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
        let ports = Ports { proxy: Port::reserve()?, memcached: Port::reserve()?, services };
        let keystone = if kind.keystone { Some(Keystone::start(&ports.proxy)?) } else { None };
        configure(folder.path(), &ports, (keystone.as_ref(), kind.most_parts))?;
        let mut swift = Self { servers: Vec::new(), ports, folder, keystone, kind };
        swift.start_again()?;
        Ok(swift)
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.ports.proxy.address())
    }

    /// Who knows the users, where that is not Swift itself.
    pub fn keystone(&self) -> Result<&Keystone> {
        self.keystone.as_ref().context("this Swift has users of its own")
    }

    /// Begins an outage: the endpoint refuses connections; objects stay.
    pub fn stop(&mut self) -> Result<()> {
        // Killed at once: eventlet waits for its connections, and whole objects are fsynced before the answer.
        self.servers.iter_mut().try_for_each(Server::kill_group)?;
        self.servers.clear();
        Ok(())
    }

    /// Ends the outage that `stop` began: same ports, same objects. Nothing happens if it runs.
    pub fn start_again(&mut self) -> Result<()> {
        if !self.servers.is_empty() {
            return Ok(());
        }
        self.servers.push(self.memcached()?);
        for service in SERVICES {
            self.servers.push(self.server(service)?);
        }
        let mut proxy = self.server("proxy")?;
        let backends = self.ports.services.iter().map(Port::address);
        for address in backends.chain([self.ports.proxy.address()]) {
            proxy.wait_until("every Swift server answers /healthcheck", START_TIMEOUT, || {
                http::get(address, "/healthcheck")?.success()
            })?;
        }
        self.servers.push(proxy);
        Ok(())
    }

    pub fn create_bucket(&self, bucket: &str) -> Result<()> {
        self.native("PUT", bucket, b"")?.success().map(drop)
    }

    pub fn delete_object(&self, bucket: &str, key: &str) -> Result<()> {
        self.native("DELETE", &format!("{bucket}/{key}"), b"")?.success().map(drop)
    }

    /// Deletes a bucket with all that is in it, and with the segments of what was in it.
    pub fn delete_bucket(&self, bucket: &str) -> Result<()> {
        for container in [bucket.to_owned(), format!("{bucket}+segments")] {
            for key in self.keys(&container).unwrap_or_default() {
                self.delete_object(&container, &key)?;
            }
            let gone = self.native("DELETE", &container, b"")?;
            if gone.status != 404 {
                gone.success()?;
            }
        }
        Ok(())
    }

    /// From now on a bucket keeps what is replaced or deleted.
    pub fn keep_versions(&self, bucket: &str) -> Result<()> {
        self.request_with(&[("X-Versions-Enabled", "true")], "POST", bucket)?.success().map(drop)
    }

    /// How many versions of objects a bucket has, without the markers of deletions.
    pub fn versions(&self, bucket: &str) -> Result<usize> {
        let told = self.request_with(&[], "GET", &format!("{bucket}?versions&format=json"))?.success()?.json()?;
        let all = told.as_array().context("a list")?;
        Ok(all.iter().filter(|one| !one["content_type"].to_string().contains("x-deleted")).count())
    }

    /// The keys of a bucket, in order (the first ten thousand).
    pub fn keys(&self, bucket: &str) -> Result<Vec<String>> {
        Ok(self.native("GET", bucket, b"")?.success()?.text().lines().map(str::to_owned).collect())
    }

    /// The object's content, or nothing where there is no such object.
    pub fn object(&self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>> {
        let answer = self.native("GET", &format!("{bucket}/{key}"), b"")?;
        if answer.status == 404 { Ok(None) } else { Ok(Some(answer.success()?.body)) }
    }

    /// The object's headers (`etag`, `content-type`, `x-object-meta-…`).
    pub fn head(&self, bucket: &str, key: &str) -> Result<Response> {
        self.native("HEAD", &format!("{bucket}/{key}"), b"")?.success()
    }

    pub fn put_object(&self, bucket: &str, key: &str, content: &[u8]) -> Result<()> {
        self.native("PUT", &format!("{bucket}/{key}"), content)?.success().map(drop)
    }

    /// A request of `OTHER_ACCESS_KEY` to its own account: `PUT bucket`, `GET bucket/key`.
    pub fn other_account(&self, method: &str, path: &str) -> Result<Response> {
        self.request([OTHER_ACCESS_KEY, OTHER_SECRET_KEY], method, &format!("/v1/AUTH_other/{path}"), b"")?.success()
    }

    fn native(&self, method: &str, path: &str, body: &[u8]) -> Result<Response> {
        self.request([ACCESS_KEY, SECRET_KEY], method, &format!("/v1/AUTH_test/{path}"), body)
    }

    fn request_with(&self, headers: &[(&str, &str)], method: &str, path: &str) -> Result<Response> {
        let token = self.token([ACCESS_KEY, SECRET_KEY])?;
        let headers = [&[("X-Auth-Token", token.as_str())], headers].concat();
        http::request(self.ports.proxy.address(), method, &format!("/v1/AUTH_test/{path}"), &headers, b"")
    }

    fn request(&self, user: [&str; 2], method: &str, path: &str, body: &[u8]) -> Result<Response> {
        let token = self.token(user)?;
        http::request(self.ports.proxy.address(), method, path, &[("X-Auth-Token", &*token)], body)
    }

    fn token(&self, [user, key]: [&str; 2]) -> Result<String> {
        let login = [("X-Auth-User", user), ("X-Auth-Key", key)];
        let session = http::request(self.ports.proxy.address(), "GET", "/auth/v1.0", &login, b"")?.success()?;
        Ok(session.header("x-auth-token").context("Swift gave no token")?.to_owned())
    }

    fn memcached(&self) -> Result<Server> {
        let mut command = Command::new("memcached");
        let port = self.ports.memcached.number().to_string();
        command.args(["-l", "127.0.0.1", "-m", "64", "-p", &port]);
        if nix::unistd::geteuid().is_root() {
            command.args(["-u", "root"]);
        }
        Server::start(&command, &self.folder.path().join("memcached.log"))
    }

    fn server(&self, name: &str) -> Result<Server> {
        let mut command = Command::new(PYTHON);
        if let Some(clock) = self.kind.clock.filter(|_| name == "proxy") {
            command = Command::new("faketime");
            command.args(["-f", clock, PYTHON]);
        }
        command.arg(format!("/usr/bin/swift-{name}-server"));
        command.arg(self.folder.path().join(format!("{name}-server.conf"))).arg("-v");
        Server::start(&command, &self.folder.path().join(format!("{name}.log")))
    }
}

impl Drop for Swift {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

fn configure(folder: &Path, ports: &Ports, special: (Option<&Keystone>, u32)) -> Result<()> {
    fs::create_dir_all(folder.join("data/d1"))?;
    fs::write(
        folder.join("swift.conf"),
        "[swift-hash]\nswift_hash_path_prefix = tests\nswift_hash_path_suffix = tests\n\
         [storage-policy:0]\nname = Policy-0\ndefault = yes\n",
    )?;
    for (service, port) in SERVICES.iter().zip(&ports.services) {
        let config = format!(
            "{}[pipeline:main]\npipeline = healthcheck {service}-server\n\
             [filter:healthcheck]\nuse = egg:swift#healthcheck\n\
             [app:{service}-server]\nuse = egg:swift#{service}\n",
            defaults(folder, port)
        );
        fs::write(folder.join(format!("{service}-server.conf")), config)?;
    }
    fs::write(folder.join("proxy-server.conf"), proxy_config(folder, ports, special))?;
    build_rings(folder, ports)
}

/// `workers = 0` serves from the one process that the kit can stop.
fn defaults(folder: &Path, port: &Port) -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    format!(
        "[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {}\nuser = {}\nworkers = 0\nlog_level = INFO\n\
         swift_dir = {folder}\ndevices = {folder}/data\nmount_check = false\n\
         fallocate_reserve = 0\ndisable_fallocate = true\neventlet_debug = false\n",
        port.number(),
        user.map_or_else(|| "root".to_owned(), |user| user.name),
        folder = folder.display(),
    )
}

fn proxy_config(folder: &Path, ports: &Ports, (keystone, most_parts): (Option<&Keystone>, u32)) -> String {
    // In any other order the signatures of Keystone's users are refused.
    let auth = if keystone.is_some() { "authtoken s3api s3token keystoneauth" } else { "s3api tempauth" };
    let pipeline = format!(
        "catch_errors gatekeeper healthcheck proxy_logging memcache listing_formats bulk tempurl {auth} copy \
         container_quotas slo dlo versioned_writes symlink"
    );
    let mut config = defaults(folder, &ports.proxy);
    config.push_str(&format!("[pipeline:main]\npipeline = {pipeline} proxy-server\n"));
    config.push_str("[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n");
    for filter in pipeline.split_whitespace() {
        let made_by = match filter {
            "authtoken" => "paste.filter_factory = keystonemiddleware.auth_token:filter_factory".to_owned(),
            _ => format!("use = egg:swift#{filter}"),
        };
        config.push_str(&format!("[filter:{filter}]\n{made_by}\n"));
        config.push_str(&match filter {
            "memcache" => format!("memcache_servers = {}\n", ports.memcached.address()),
            "s3api" => format!(
                "location = {REGION}\ns3_acl = false\ndns_compliant_bucket_names = true\n\
                 max_upload_part_num = {most_parts}\n"
            ),
            "slo" => format!("max_manifest_segments = {most_parts}\n"),
            "tempauth" => {
                format!("user_test_tester = {SECRET_KEY} .admin\nuser_other_writer = {OTHER_SECRET_KEY} .admin\n")
            }
            "authtoken" | "s3token" => {
                let url = keystone.map(Keystone::url).unwrap_or_default();
                format!(
                    "auth_uri = {url}/v3\nwww_authenticate_uri = {url}\nauth_url = {url}\nauth_type = password\n\
                     project_domain_id = default\nproject_name = service\nuser_domain_id = default\n\
                     username = {}\npassword = {}\ndelay_auth_decision = {}\ninclude_service_catalog = true\n\
                     http_timeout = 30\nsecret_cache_duration = 60\nservice_type = object-store\n",
                    keystone::SERVICE_USER,
                    keystone::SERVICE_PASSWORD,
                    filter == "authtoken",
                )
            }
            "keystoneauth" => "operator_roles = admin, member\n".to_owned(),
            "versioned_writes" => "allow_versioned_writes = true\nallow_object_versioning = true\n".to_owned(),
            _ => String::new(),
        });
    }
    config
}

/// One Python for all three rings: nine runs of swift-ring-builder would take longer than the servers' start.
fn build_rings(folder: &Path, ports: &Ports) -> Result<()> {
    let script = "import sys\n\
        from swift.common.ring import RingBuilder\n\
        for name, port in zip(('account', 'container', 'object'), sys.argv[2:]):\n\
        \x20   builder = RingBuilder(3, 1, 1)\n\
        \x20   builder.add_dev(dict(region=1, zone=1, ip='127.0.0.1', port=int(port), replication_ip='127.0.0.1',\n\
        \x20       replication_port=int(port), device='d1', weight=1.0, meta=''))\n\
        \x20   builder.rebalance()\n\
        \x20   builder.get_ring().save(sys.argv[1] + '/' + name + '.ring.gz')\n";
    let mut python = Command::new(PYTHON);
    python.args(["-c", script]).arg(folder).env("PATH", search_path());
    let output = python.args(ports.services.iter().map(|port| port.number().to_string())).output()?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("building Swift's rings (tests/setup.sh installs Swift): {complaint}");
    }
    Ok(())
}
