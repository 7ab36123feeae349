//! OpenStack's Keystone, with a project, a user of it, and the catalogue's entry of a Swift.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{self, Response};
use crate::port::Port;
use crate::server::{Server, search_path};

const START_TIMEOUT: Duration = Duration::from_secs(90);
const ADMIN_PASSWORD: &str = "admin-password";
/// As whom Swift asks whether a token is one.
pub const SERVICE_USER: &str = "swift";
pub const SERVICE_PASSWORD: &str = "swift-password";
/// A user of the project `products`.
pub const USER: &str = "worker";
pub const PASSWORD: &str = "worker-password";
pub const PROJECT: &str = "products";

/// A Keystone that knows `USER` in `PROJECT`.
#[derive(Debug)]
pub struct Keystone {
    _server: Server,
    port: Port,
    _folder: TempDir,
}

/// A pair of keys of the S3 API, or of an application credential.
#[derive(Clone, Debug)]
pub struct Pair {
    pub id: String,
    pub secret: String,
}

impl Keystone {
    /// Starts with the entry of a Swift whose proxy listens at this port.
    pub fn start(swift: &Port) -> Result<Self> {
        let (port, folder) = (Port::reserve()?, tempfile::tempdir_in("/var/tmp")?);
        configure(folder.path(), &port)?;
        let mut server = launch(folder.path(), &port)?;
        let address = port.address();
        server.wait_until("Keystone answers", START_TIMEOUT, || http::get(address, "/v3")?.success())?;
        let keystone = Self { _server: server, port, _folder: folder };
        keystone.seed(swift)?;
        Ok(keystone)
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// Access key and secret of `USER` in `PROJECT` for the S3 API.
    pub fn ec2_credentials(&self) -> Result<Pair> {
        let (token, body) = self.token(USER, PASSWORD, PROJECT)?;
        let (user, project) = (text(&body["token"]["user"]["id"])?, text(&body["token"]["project"]["id"])?);
        let made =
            self.call(&token, "POST", &format!("/users/{user}/credentials/OS-EC2"), &json!({"tenant_id": project}))?;
        Ok(Pair { id: text(&made["credential"]["access"])?, secret: text(&made["credential"]["secret"])? })
    }

    /// An application credential of `USER` in `PROJECT`.
    pub fn application_credential(&self) -> Result<Pair> {
        let (token, body) = self.token(USER, PASSWORD, PROJECT)?;
        let user = text(&body["token"]["user"]["id"])?;
        self.credential(&token, &user, Value::Null)
    }

    /// One that may use these containers of the project's account in Swift, and nothing else.
    pub fn credential_for(&self, containers: &[&str]) -> Result<Pair> {
        let (token, body) = self.token(USER, PASSWORD, PROJECT)?;
        let (user, project) = (text(&body["token"]["user"]["id"])?, text(&body["token"]["project"]["id"])?);
        let mut rules = Vec::new();
        for container in containers {
            for (method, inside) in
                ["GET", "HEAD", "PUT", "POST", "DELETE"].into_iter().flat_map(|method| [(method, ""), (method, "/**")])
            {
                let path = format!("/v1/AUTH_{project}/{container}{inside}");
                rules.push(json!({"service": "object-store", "method": method, "path": path}));
            }
        }
        self.credential(&token, &user, Value::Array(rules))
    }

    fn credential(&self, token: &str, user: &str, rules: Value) -> Result<Pair> {
        let mut wanted = json!({"application_credential": {"name": format!("agent-{}", fastrand::u32(..))}});
        if !rules.is_null() {
            wanted["application_credential"]["access_rules"] = rules;
        }
        let made = self.call(token, "POST", &format!("/users/{user}/application_credentials"), &wanted)?;
        let made = &made["application_credential"];
        Ok(Pair { id: text(&made["id"])?, secret: text(&made["secret"])? })
    }

    /// Ends every token of `USER`: whoever has one must ask for another.
    pub fn end_tokens(&self) -> Result<()> {
        let (token, body) = self.token(USER, PASSWORD, PROJECT)?;
        let user = text(&body["token"]["user"]["id"])?;
        let path = format!("/users/{user}/password");
        let other = format!("{PASSWORD}-other");
        let change = |from: &str, to: &str| json!({"user": {"original_password": from, "password": to}});
        self.call(&token, "POST", &path, &change(PASSWORD, &other))?;
        let (token, _) = self.token(USER, &other, PROJECT)?;
        self.call(&token, "POST", &path, &change(&other, PASSWORD))?;
        Ok(())
    }

    fn seed(&self, swift: &Port) -> Result<()> {
        let (token, _) = self.token("admin", ADMIN_PASSWORD, "admin")?;
        let make = |what: &str, content: Value| {
            let made = self.call(&token, "POST", &format!("/{what}s"), &json!({ what: content }))?;
            text(&made[what]["id"])
        };
        let service = make("project", json!({"name": "service", "domain_id": "default"}))?;
        let project = make("project", json!({"name": PROJECT, "domain_id": "default"}))?;
        let user = |name: &str, password: &str| json!({"name": name, "password": password, "domain_id": "default"});
        let swift_user = make("user", user(SERVICE_USER, SERVICE_PASSWORD))?;
        let worker = make("user", user(USER, PASSWORD))?;
        let roles = self.call(&token, "GET", "/roles", &Value::Null)?;
        let role = |name: &str| {
            let found = roles["roles"].as_array().and_then(|all| all.iter().find(|role| role["name"] == name));
            text(&found.with_context(|| format!("no role {name}"))?["id"])
        };
        for (project, user, role) in [(&service, &swift_user, role("admin")?), (&project, &worker, role("member")?)] {
            self.call(&token, "PUT", &format!("/projects/{project}/users/{user}/roles/{role}"), &Value::Null)?;
        }
        let store = make("service", json!({"name": "swift", "type": "object-store"}))?;
        let url = format!("http://{}/v1/AUTH_$(project_id)s", swift.address());
        make("endpoint", json!({"service_id": store, "interface": "public", "region_id": "RegionOne", "url": url}))?;
        Ok(())
    }

    /// A token in a project, and what Keystone says with it.
    pub fn token(&self, user: &str, password: &str, project: &str) -> Result<(String, Value)> {
        let domain = json!({"id": "default"});
        let user = json!({"name": user, "domain": domain, "password": password});
        let auth = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": project, "domain": domain}},
        }});
        let answer = self.request("", "POST", "/auth/tokens", &auth)?.success()?;
        let token = answer.header("x-subject-token").context("Keystone gave no token")?.to_owned();
        Ok((token, answer.json()?))
    }

    fn call(&self, token: &str, method: &str, path: &str, body: &Value) -> Result<Value> {
        let answer = self.request(token, method, path, body)?.success()?;
        if answer.body.is_empty() { Ok(Value::Null) } else { answer.json() }
    }

    fn request(&self, token: &str, method: &str, path: &str, body: &Value) -> Result<Response> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let headers = [("X-Auth-Token", token), ("Content-Type", "application/json")];
        let headers = if token.is_empty() { &headers[1..] } else { &headers[..] };
        http::request(self.port.address(), method, &format!("/v3{path}"), headers, &body)
    }
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().with_context(|| format!("{value} is no string"))?.to_owned())
}

fn configure(folder: &Path, port: &Port) -> Result<()> {
    let path = folder.display();
    for keys in ["fernet", "credential"] {
        fs::create_dir(folder.join(keys))?;
        fs::set_permissions(folder.join(keys), fs::Permissions::from_mode(0o700))?;
    }
    fs::create_dir(folder.join("etc"))?;
    let config = format!(
        "[DEFAULT]\nuse_stderr = true\n[database]\nconnection = sqlite:///{path}/keystone.db\nsqlite_synchronous = false\n\
         [token]\nprovider = fernet\n[fernet_tokens]\nkey_repository = {path}/fernet\n\
         [fernet_receipts]\nkey_repository = {path}/fernet\n[credential]\nkey_repository = {path}/credential\n\
         [cache]\nenabled = false\n"
    );
    fs::write(folder.join("etc/keystone.conf"), config)?;
    let wsgi = format!(
        "import sys\nsys.argv = ['keystone-wsgi-public', '--config-file', '{path}/etc/keystone.conf']\n\
         from keystone.server.wsgi import initialize_public_application\n\
         application = initialize_public_application()\n"
    );
    fs::write(folder.join("etc/wsgi.py"), wsgi)?;
    let url = format!("http://{}/v3", port.address());
    let me = nix::unistd::User::from_uid(nix::unistd::geteuid())?.context("no name of this user")?.name;
    let owner = ["--keystone-user", &me, "--keystone-group", &me];
    let owner = if me == "root" { &owner[..] } else { &[] };
    manage(folder, &["db_sync"])?;
    // With its usual journal sqlite is "locked" for the writes that Keystone nests.
    let script = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA journal_mode=WAL')";
    run(Command::new("/usr/bin/python3").args(["-c", script]).arg(folder.join("keystone.db")))?;
    manage(folder, &[&["fernet_setup"], owner].concat())?;
    manage(folder, &[&["credential_setup"], owner].concat())?;
    let bootstrap = ["bootstrap", "--bootstrap-password", ADMIN_PASSWORD, "--bootstrap-region-id", "RegionOne"];
    let urls = ["--bootstrap-public-url", &url, "--bootstrap-internal-url", &url, "--bootstrap-admin-url", &url];
    manage(folder, &[&bootstrap[..], &urls].concat())
}

fn manage(folder: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("keystone-manage");
    run(command.arg("--config-file").arg(folder.join("etc/keystone.conf")).args(arguments))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.env("PATH", search_path()).output();
    let output = output.with_context(|| format!("running {command:?} (tests/setup.sh installs Keystone)"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn launch(folder: &Path, port: &Port) -> Result<Server> {
    let mut command = Command::new("uwsgi_python3");
    command.args(["--http-socket", &port.address().to_string(), "--plugin", "python3"]);
    command.arg("--wsgi-file").arg(folder.join("etc/wsgi.py"));
    command.args(["--processes", "1", "--threads", "1", "--enable-threads", "--master", "--lazy-apps"]);
    // Without these two clients see their connections closed.
    command.args(["--buffer-size", "65535", "--post-buffering", "65536", "--add-header", "Connection: close"]);
    command.args(["--die-on-term", "--no-orphans"]).env("OS_KEYSTONE_CONFIG_DIR", folder.join("etc"));
    Server::start(&command, &folder.join("keystone.log"))
}
