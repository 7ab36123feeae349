//! User-data that lies in a bucket: S3's API and Swift's own, with checksums and minisign's signatures.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use hostwright_tests::boot_tree::{BootTree, console};
use hostwright_tests::engines::Swift;
use hostwright_tests::engines::swift::{ACCESS_KEY, SECRET_KEY};
use tempfile::TempDir;

const REST: &str = "#cloud-config\nwrite_files:\n- {path: /etc/rest.conf, content: from the bucket}\n";

/// A pair of keys as the program `minisign` makes it, and what it has signed.
struct Minisign {
    folder: TempDir,
}

impl Minisign {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let this = Self { folder };
        this.run(&["-G", "-W", "-p", "key.pub", "-s", "key"])?;
        Ok(this)
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("minisign");
        let ended = command.args(arguments).current_dir(self.folder.path()).output();
        let ended = ended.context("minisign; tests/setup.sh installs it")?;
        ensure!(ended.status.success(), "minisign {arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
        Ok(())
    }

    /// The second line of its file, as `signed_by` takes it.
    fn public(&self) -> Result<String> {
        let file = fs::read_to_string(self.folder.path().join("key.pub"))?;
        Ok(file.lines().nth(1).context("a minisign key has two lines")?.to_owned())
    }

    fn signature(&self, content: &str) -> Result<String> {
        fs::write(self.folder.path().join("content"), content)?;
        self.run(&["-S", "-W", "-s", "key", "-m", "content"])?;
        Ok(fs::read_to_string(self.folder.path().join("content.minisig"))?)
    }
}

fn seed(tree: &BootTree, instance: &str, user_data: &str) -> Result<()> {
    let folder = tree.path("root/var/lib/cloud/seed/nocloud");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("meta-data"), format!("instance-id: {instance}\n"))?;
    fs::write(folder.join("user-data"), user_data)?;
    Ok(())
}

fn boot(tree: &BootTree, number: u32) -> Result<std::process::Output> {
    let mut command = tree.command(number, "final", None)?;
    command.env("OWN_ACCESS_KEY", ACCESS_KEY).env("OWN_SECRET_KEY", SECRET_KEY);
    Ok(command.output()?)
}

fn sha256(content: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("content"), content)?;
    let output = Command::new("sha256sum").arg(folder.path().join("content")).output()?;
    Ok(String::from_utf8(output.stdout)?.split_whitespace().next().context("sha256sum printed nothing")?.to_owned())
}

#[test]
fn the_rest_of_a_user_data_comes_from_a_bucket_if_it_is_what_was_meant() -> Result<()> {
    let store = Swift::start()?;
    store.create_bucket("infra")?;
    let minisign = Minisign::new()?;
    let included = "#cloud-config\nwrite_files:\n- {path: /etc/included.conf}\n";
    store.put_object("infra", "web/rest.yaml", REST.as_bytes())?;
    store.put_object("infra", "web/rest.yaml.minisig", minisign.signature(REST)?.as_bytes())?;
    store.put_object("infra", "base.yaml", included.as_bytes())?;
    let bucket = format!("{{endpoint: '{}', bucket: infra, credentials: {{env_prefix: OWN}}}}", store.endpoint());
    let of = |key: &str| {
        format!(
            "#cloud-config\nusers: []\nhostwright:\n  from: s3://own/web/rest.yaml\n  signed_by: {key}\n  buckets: {{own: {bucket}}}\n"
        )
    };

    let tree = BootTree::new(&[])?;
    seed(&tree, "i-signed", &of(&minisign.public()?))?;
    let done = boot(&tree, 1)?;
    // The tree has no agent to start, which is another step's failure.
    ensure!(tree.has("etc/rest.conf"), "{}", console(&done));

    let tree = BootTree::new(&[])?;
    seed(&tree, "i-forged", &of(&Minisign::new()?.public()?))?;
    let refused = boot(&tree, 1)?;
    ensure!(!tree.has("etc/rest.conf"), "{}", console(&refused));
    ensure!(console(&refused).contains("its signature does not fit"), "{}", console(&refused));

    // The image names the bucket that an #include takes from.
    for (number, digest) in [sha256(included)?, "0".repeat(64)].iter().enumerate() {
        let tree = BootTree::new(&[])?;
        fs::create_dir_all(tree.path("root/etc/hostwright"))?;
        fs::write(tree.path("root/etc/hostwright/agent.yaml"), format!("buckets: {{own: {bucket}}}\n"))?;
        seed(&tree, "i-included", &format!("#include\ns3://own/base.yaml#sha256={digest}\n"))?;
        let ended = boot(&tree, 1)?;
        ensure!(tree.has("etc/included.conf") == (number == 0), "{}", console(&ended));
        ensure!(number == 0 || console(&ended).contains("SHA-256"), "{}", console(&ended));
    }

    // Swift's own API.
    let auth =
        format!("{{auth_url: '{}/auth/v1.0', user: '{ACCESS_KEY}', key: {{env: OWN_SECRET_KEY}}}}", store.endpoint());
    let tree = BootTree::new(&[])?;
    let text = format!(
        "#cloud-config\nusers: []\nhostwright:\n  from: s3://own/web/rest.yaml\n  sha256: {}\n  buckets: {{own: {{swift: {auth}, bucket: infra}}}}\n",
        sha256(REST)?
    );
    seed(&tree, "i-swift", &text)?;
    let done = boot(&tree, 1)?;
    ensure!(tree.has("etc/rest.conf"), "{}", console(&done));
    Ok(())
}
