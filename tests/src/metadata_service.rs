//! A metadata service as clouds have it: the documents of one instance, and what is asked of it, written down.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};

/// What it answers to a path: status line and body. `200 CUT` ends before the body does, `SILENT` never answers.
pub type Documents = BTreeMap<String, (&'static str, String)>;

/// The address at which clouds have it, with its port.
pub const ADDRESS: &str = "169.254.169.254:80";

/// Documents that are there.
pub fn documents(of: &[(&str, &str)]) -> Documents {
    of.iter().map(|(path, content)| ((*path).to_owned(), ("200 OK", (*content).to_owned()))).collect()
}

/// What OpenStack's service has of an instance, in the shape of OVH's answers.
pub fn openstack(instance: &str, mac: &str, user_data: &str, key: &str) -> Documents {
    let metadata = format!(
        r#"{{"uuid": "{instance}", "hostname": "worker-1.novalocal", "name": "worker-1", "launch_index": 0, "availability_zone": "nova",
            "random_seed": "AAAA", "public_keys": {{"tf": "{key}\n"}}, "keys": [{{"name": "tf", "type": "ssh", "data": "{key}\n"}}],
            "meta": {{"prometheus_io_scrape": "true", "prometheus_io_port": "9100"}}, "project_id": "p", "devices": []}}"#
    );
    let network = format!(
        r#"{{"links": [{{"id": "tapcd9f6d46-4a", "vif_id": "cd9f6d46", "type": "bgpovs", "mtu": 1442, "ethernet_mac_address": "{mac}"}}],
        "networks": [{{"id": "network0", "type": "ipv4_dhcp", "link": "tapcd9f6d46-4a", "network_id": "da5bb487"}}], "services": []}}"#
    );
    documents(&[
        ("/openstack/latest/meta_data.json", &metadata),
        ("/openstack/latest/user_data", user_data),
        ("/openstack/latest/vendor_data.json", "{}"),
        ("/openstack/latest/vendor_data2.json", r#"{"static": {}}"#),
        ("/openstack/latest/network_data.json", &network),
    ])
}

/// What EC2's service has of an instance.
pub fn ec2(instance: &str, user_data: &str, key: &str) -> Documents {
    documents(&[
        ("/latest/meta-data/instance-id", instance),
        ("/latest/meta-data/local-hostname", "ip-10-0-0-1.ec2.internal"),
        ("/latest/meta-data/placement/availability-zone", "eu-west-1a"),
        ("/latest/meta-data/public-keys/", "0=team"),
        ("/latest/meta-data/public-keys/0/openssh-key", key),
        ("/latest/user-data", user_data),
    ])
}

/// Runs in a network of its own, with a metadata service's address in it.
pub fn in_a_network<T: Send + 'static>(test: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let thread = std::thread::spawn(move || {
        // Of this thread alone, and of what it starts.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
        for words in [["link", "set", "dev", "lo", "up"], ["addr", "add", "169.254.169.254/32", "dev", "lo"]] {
            let status = Command::new("ip").args(words).status().context("starting ip")?;
            ensure!(status.success(), "ip {words:?}: {status}");
        }
        test()
    });
    thread.join().ok().context("the thread panicked")?
}

/// A running service; its thread ends with the test's process.
pub struct MetadataService {
    /// Where it listens.
    pub address: SocketAddr,
    documents: Arc<Mutex<Documents>>,
    asked: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
}

/// An instance of EC2 with tokens: without one every question is answered with 401.
const TOKEN: &str = "AQAEAtoken==";

impl MetadataService {
    /// Serves the documents at an address; port 0 takes a free one.
    pub fn serve(address: &str, documents: Documents) -> Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let (documents, asked) = (Arc::new(Mutex::new(documents)), Arc::new(Mutex::new(Vec::new())));
        let service =
            Self { address, documents: Arc::clone(&documents), asked: Arc::clone(&asked), is_over: Arc::default() };
        let is_over = Arc::clone(&service.is_over);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let (documents, asked) = (Arc::clone(&documents), Arc::clone(&asked));
                // Questions come side by side.
                std::thread::spawn(move || answer(stream, &documents, &asked));
            }
        });
        Ok(service)
    }

    /// Ends it; its address is free then.
    pub fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Its thread sees that with the next connection, and closes what it listens on.
        if let Ok(mut stream) = TcpStream::connect(self.address) {
            let _ = stream.read(&mut [0]);
        }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked since the last time, sorted.
    pub fn asked(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        asked.sort();
        asked
    }

    /// Changes what it answers.
    pub fn change(&self, change: impl FnOnce(&mut Documents)) {
        change(&mut self.documents.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

/// One question, one answer, as an HTTP/1.1 server that closes.
fn answer(mut stream: TcpStream, documents: &Mutex<Documents>, asked: &Mutex<Vec<String>>) {
    let Ok(reading) = stream.try_clone() else { return };
    let mut lines = BufReader::new(reading);
    let (mut first, mut headers, mut length) = (String::new(), Vec::new(), 0);
    if lines.read_line(&mut first).is_err() {
        return;
    }
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        headers.push(line.trim().to_ascii_lowercase());
    }
    let mut body = vec![0; length];
    let _ = lines.read_exact(&mut body);
    let mut words = first.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let question = format!("{method} {path} {}", String::from_utf8_lossy(&body)).trim_end().to_owned();
    asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(question);
    let has = |wanted: &str| headers.iter().any(|header| header == &wanted.to_ascii_lowercase());
    let documents = documents.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    // One from before there were tokens says so by a document.
    let is_ec2 = documents.contains_key("/latest/meta-data/instance-id") && !documents.contains_key("/no-tokens");
    let is_google = documents.contains_key("/computeMetadata/v1/?recursive=true");
    let (status, content) = match (method, path) {
        ("PUT", "/latest/api/token")
            if is_ec2 && headers.iter().any(|h| h.starts_with("x-aws-ec2-metadata-token-ttl-seconds:")) =>
        {
            ("200 OK", TOKEN.to_owned())
        }
        _ if is_ec2 && !has(&format!("X-aws-ec2-metadata-token: {TOKEN}")) => ("401 Unauthorized", String::new()),
        _ if is_google && !has("Metadata-Flavor: Google") => ("403 Forbidden", String::new()),
        _ => documents.get(path).cloned().unwrap_or(("404 Not Found", "404 page not found".to_owned())),
    };
    if status == "SILENT" {
        // Until the other side gives up.
        let _ = lines.read(&mut [0]);
        return;
    }
    let is_cut = status == "200 CUT";
    let claimed = if is_cut { content.len() + 100 } else { content.len() };
    let status = if is_cut { "200 OK" } else { status };
    let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {claimed}\r\nConnection: close\r\n\r\n{content}");
}
