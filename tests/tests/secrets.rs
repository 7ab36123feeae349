//! Secrets: each of them is a word that stands nowhere else, and is looked for wherever anybody could read it, while
//! servers refuse the agent and tell back what it told them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hostwright_tests::busybox_root::BusyboxRoot;
use hostwright_tests::port::Port;
use hostwright_tests::process::{AgentProcess, binary};
use hostwright_tests::wait::eventually;

const SOON: Duration = Duration::from_secs(40);
/// Of bcrypt, which is a secret too.
const HASH: &str = "$2y$04$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

/// What the agent is given, by the names of variables and of files.
const VARIABLES: [&str; 11] =
    ["ACCESS", "SESSION", "SWIFT", "PROXY", "BEARER", "BASIC", "HEADER", "TOKEN", "WRITE", "HOOK", "REGISTRY"];
const FILES: [&str; 2] = ["secret", "user"];

fn word(name: &str) -> String {
    format!("kanarie-{}-7d1f", name.to_lowercase())
}

/// A server that refuses each request, in each way in turn, and tells all of it back.
struct Parrot {
    address: SocketAddr,
}

static REQUESTS: AtomicUsize = AtomicUsize::new(0);

impl Parrot {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || tell_back(stream));
            }
        });
        Ok(Self { address })
    }
}

fn tell_back(mut stream: TcpStream) {
    let (mut told, mut piece) = (Vec::new(), [0; 65536]);
    let _ = stream.set_read_timeout(Some(Duration::from_millis(300)));
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        told.extend_from_slice(&piece[..length]);
    }
    let turn = REQUESTS.fetch_add(1, Ordering::Relaxed);
    let status =
        ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "500 Oops", "307 Elsewhere", "409 Conflict"][turn % 6];
    let text = String::from_utf8_lossy(&told).into_owned();
    let line = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ; ");
    let line: String = line.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(3000).collect();
    let body = match turn % 3 {
        0 => text,
        1 => format!("<Error><Code>{line}</Code><Message>{line}</Message></Error>"),
        _ => serde_json::json!({"error": {"message": line, "reason": line, "type": line}, "message": line, "__type": line})
            .to_string(),
    };
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nLocation: http://127.0.0.1:1/?{0}\r\nWWW-Authenticate: Basic realm=\"{0}\"\r\nX-Amzn-ErrorType: {0}\r\n\
         Content-Length: {1}\r\nConnection: close\r\n\r\n{body}",
        line.replace('"', ""),
        body.len()
    );
}

fn configuration(folder: &Path, parrot: SocketAddr, metrics: SocketAddr) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    let (secret, user) = (at("secret"), at("user"));
    format!(
        r#"
host: {{labels: {{environment: prod}}}}
buckets:
  s3:
    endpoint: http://{parrot}
    bucket: b
    credentials: {{access_key: {{env: C_ACCESS}}, secret_key: {{file: {secret}}}, session_token: {{env: C_SESSION}}}}
    fetch: [{{key: k, to: {fetched}}}]
  swift: {{swift: {{auth_url: "http://{parrot}/v3", user: worker, project: hub, password: {{env: C_SWIFT}}}}, bucket: hub}}
  proxied:
    endpoint: http://127.0.0.1:1
    bucket: b
    credentials: {{access_key: {{env: C_ACCESS}}, secret_key: {{file: {secret}}}}}
    proxy: {{url: "http://{parrot}", user: u, password: {{env: C_PROXY}}}}
logs:
  sources: {{s: {{files: ["{logs}/*.log"], outputs: [bearer, basic, header, proxied, ovh, aws]}}}}
  outputs:
    bearer: {{loki: {{url: "http://{parrot}", bearer: {{env: C_BEARER}}}}}}
    basic: {{bulk: {{url: "http://{parrot}", index: i, basic: {{user: {{file: {user}}}, password: {{env: C_BASIC}}}}}}}}
    header: {{http: {{url: "http://{parrot}/x", headers: {{X-Api-Token: {{env: C_HEADER}}}}}}}}
    proxied: {{http: {{url: "https://127.0.0.1:1/x", proxy: {{url: "http://{parrot}", user: u, password: {{env: C_PROXY}}}}}}}}
    ovh: {{ovh: {{address: "{parrot}", protocol: gelf, token: {{env: C_TOKEN}}}}}}
    aws: {{cloudwatch: {{region: r, group: g, url: "http://{parrot}", credentials: {{access_key: {{env: C_ACCESS}}, secret_key: {{file: {secret}}}}}}}}}
metrics:
  listen: {metrics}
  web_config: {web}
  remote_write: [{{url: "http://{parrot}/api", bearer: {{env: C_WRITE}}}}]
products:
  p: {{watch: {products}/p, bucket: s3, notice: {{webhook: {{url: "http://{parrot}/hook", secret: {{env: C_HOOK}}}}}}}}
  q: {{watch: {products}/q, bucket: swift}}
  r: {{watch: {products}/r, bucket: proxied}}
containers:
  compose: {compose}
  engine: {engine}
  images: {{registries: [{{host: r.example.org, username: bot, password: {{env: C_REGISTRY}}}}]}}
"#,
        fetched = at("fetched/k"),
        logs = at("logs"),
        products = at("products"),
        web = at("web.yml"),
        compose = at("compose.yaml"),
        engine = at("no.sock"),
    )
}

fn prepare(folder: &Path) -> Result<()> {
    for below in ["logs", "fetched", "products/p", "products/q", "products/r"] {
        fs::create_dir_all(folder.join(below))?;
    }
    for name in FILES {
        fs::write(folder.join(name), word(name))?;
    }
    fs::write(folder.join("web.yml"), format!("basic_auth_users: {{prometheus: {HASH}}}\n"))?;
    fs::write(folder.join("compose.yaml"), "services: {a: {image: r.example.org/a}}\n")?;
    fs::write(folder.join("logs/a.log"), "a line\n".repeat(50))?;
    for product in ["p/a", "q/a", "r/a"] {
        fs::write(folder.join("products").join(product), "content")?;
    }
    Ok(())
}

/// Every form in which a secret can be read, by its name.
fn forms() -> Vec<(String, String)> {
    let names = VARIABLES.iter().chain(&FILES).map(|name| (*name).to_owned());
    let mut forms: Vec<_> = names.map(|name| (word(&name), name)).collect();
    forms.push((HASH.to_owned(), "hash".to_owned()));
    for (user, password) in [(word("user"), word("BASIC")), ("u".to_owned(), word("PROXY"))] {
        // The end of a text in base64 depends on nothing before its last three bytes.
        let header = BASE64_STANDARD.encode(format!("{user}:{password}"));
        forms.push((header[header.len() - 12..].to_owned(), format!("the header of {password}")));
    }
    forms
}

fn shown_in(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    forms().into_iter().filter(|(form, _)| text.contains(form)).map(|(_, name)| name).collect()
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}

fn command(agent: &AgentProcess, arguments: &[&str]) -> Result<Vec<u8>> {
    let output =
        Command::new(binary("hostwright-agent")?).args(arguments).arg("--socket").arg(agent.socket()).output()?;
    Ok([output.stdout, output.stderr].concat())
}

#[test]
fn no_secret_is_in_a_log_a_status_a_metric_a_process_list_or_a_file_of_the_agent() -> Result<()> {
    let (folder, parrot, metrics) = (tempfile::tempdir()?, Parrot::start()?, Port::reserve()?);
    prepare(folder.path())?;
    let named: Vec<_> = VARIABLES.iter().map(|name| (format!("C_{name}"), word(name))).collect();
    let mut variables: Vec<_> = named.iter().map(|(name, word)| (name.as_str(), word.as_str())).collect();
    // Whatever can be told at all is told.
    variables.push(("HOSTWRIGHT_LOG", "trace"));
    let configuration = configuration(folder.path(), parrot.address, metrics.address());
    let agent = AgentProcess::start_with_env(&configuration, &variables)?;
    let duties = ["containers", "fetch", "logs", "products"];
    let is_sick = |status: &serde_json::Value, duty: &str| status["duties"][duty]["state"] == "degraded";
    let met = |round: usize| {
        agent.wait_status(&format!("every duty has met its servers, round {round}"), SOON, |status| {
            duties.iter().all(|duty| is_sick(status, duty))
        })
    };
    // Started anew, they ask at once: so that each of them is refused in each way.
    for round in 0..3 {
        let asked = REQUESTS.load(Ordering::Relaxed);
        eventually("the servers were asked", SOON, || REQUESTS.load(Ordering::Relaxed) > asked + 12)?;
        met(round)?;
        agent.write_config(&configuration.replace("prod", &format!("prod-{round}")))?;
        agent.sighup()?;
    }
    met(3)?;
    let mut places = vec![("log", agent.output().into_bytes())];
    places.push(("status", agent.get("/v1/status")?.body));
    places.push(("page", agent.get("/")?.body));
    let cookie = format!("http://{}/metrics", metrics.address());
    places.push(("metrics", Command::new("curl").args(["-s", &cookie]).output()?.stdout));
    for what in ["status", "logs", "products", "containers"] {
        places.push((what, command(&agent, &[what])?));
        places.push((what, command(&agent, &[what, "--format", "json"])?));
    }
    places.push(("cmdline", fs::read(format!("/proc/{}/cmdline", agent.pid()))?));
    for (place, text) in places {
        ensure!(!text.is_empty(), "{place} is empty");
        let shown = shown_in(&text);
        let text = String::from_utf8_lossy(&text).into_owned();
        let line = text.lines().find(|line| !shown_in(line.as_bytes()).is_empty()).unwrap_or_default();
        assert!(shown.is_empty(), "{place} shows {shown:?}: {line}");
    }
    let mut files = 0;
    for path in files_below(&agent.state_folder())? {
        let content = fs::read(&path).with_context(|| path.display().to_string())?;
        files += 1;
        assert!(shown_in(&content).is_empty(), "{} has {:?}", path.display(), shown_in(&content));
    }
    ensure!(files > 5, "the state has {files} files");
    Ok(())
}

/// Of a boot: what stands in a user-data in clear, or in the addresses that it names.
const USER_DATA: &str = r#"#cloud-config
hostname: web
password: KANARIE-password
chpasswd: {expire: false, users: [{name: ann, password: KANARIE-chpasswd, type: text}, {name: bob, password: "$6$KANARIE.hash$x"}]}
users:
- {name: ann, plain_text_passwd: KANARIE-plain, lock_passwd: false}
- {name: bob, passwd: "$6$KANARIEusers$x"}
ssh_keys: {ed25519_private: KANARIE-hostkey, ed25519_public: ssh-ed25519 AAAA}
random_seed: {data: KANARIE-seed}
write_files:
- {path: /etc/app/token, content: "token: KANARIE-content", permissions: '0600'}
- {path: /etc/app/unsaid, content: "password=KANARIE-unsaid"}
- {path: /etc/app/from, source: {uri: "http://ann:KANARIE-login@127.0.0.1:1/x?X-Amz-Signature=KANARIE-signed", headers: {Authorization: KANARIE-bearer}}}
apt:
  http_proxy: "http://ann:KANARIE-proxy@127.0.0.1:1"
  sources: {own: {source: "deb http://ann:KANARIE-source@127.0.0.1:1/debian bookworm main", key: KANARIE-key}}
packages: [nothing]
rsyslog: {configs: ["*.* action(type=\"omfwd\" password=\"KANARIE-rsyslog\")"]}
bootcmd:
- "echo KANARIE-bootcmd >/dev/null; exit 3"
runcmd:
- [sh, -c, "exit 4", KANARIE-argument]
- "PASSWORD=KANARIE-variable false"
phone_home: {url: "http://ann:KANARIE-phone@127.0.0.1:1/?token=KANARIE-query", tries: 1}
hostwright:
  boot:
    report: {url: "http://127.0.0.1:1/hook?token=KANARIE-report"}
    files:
    - {path: /etc/f, from: "http://127.0.0.1:1/f?X-Amz-Signature=KANARIE-file", sha256: 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824}
    - {path: /etc/g, from: "https://ann:KANARIE-loader@127.0.0.1:1/g", sha256: 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824}
    bundles:
      worker: {from: "http://127.0.0.1:1/b.tar?sig=KANARIE-bundle", signed_by: RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3, to: /opt/b}
"#;

#[test]
fn a_boot_shows_no_secret_of_its_user_data_whatever_fails() -> Result<()> {
    let tree = BusyboxRoot::new(USER_DATA)?;
    let seed = tree.root().join("var/lib/cloud/seed/nocloud/user-data");
    fs::set_permissions(&seed, fs::Permissions::from_mode(0o600))?;
    let words = tree.words(1)?;
    let output = Command::new("timeout").arg("120").args(&words).env("HOSTWRIGHT_LOG", "trace").output()?;
    assert!(!output.status.success(), "nothing failed");
    let mut places = vec![("console".to_owned(), output.stdout), ("log".to_owned(), output.stderr)];
    for path in files_below(&tree.root())? {
        let mode = path.symlink_metadata()?.permissions().mode();
        if mode & 0o044 != 0 && path.is_file() && lets_others_through(&path, &tree.root())? {
            places.push((path.display().to_string(), fs::read(&path)?));
        }
    }
    places.push(("report".to_owned(), tree.kept("i-1", "report.json").into_bytes()));
    let mut shown = Vec::new();
    for (place, text) in places {
        let text = String::from_utf8_lossy(&text).into_owned();
        shown.extend(text.lines().filter(|line| line.contains("KANARIE")).map(|line| format!("{place}: {line}")));
    }
    assert!(shown.is_empty(), "{}", shown.join("\n"));
    Ok(())
}

fn lets_others_through(path: &Path, root: &Path) -> Result<bool> {
    for folder in path.ancestors().skip(1).take_while(|folder| *folder != root) {
        if folder.metadata()?.permissions().mode() & 0o001 == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}
