//! Datasources: metadata services as clouds have them, at their own address inside a network namespace too.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use hostwright_tests::boot_tree::{BootTree as Tree, console};
use hostwright_tests::metadata_service::{Documents, MetadataService, documents};
use hostwright_tests::process::binary;

const USER_DATA: &str = "#cloud-config\nusers: []\nwrite_files:\n- {path: /etc/app.conf, content: \"a=1\\n\"}\n";

fn openstack() -> Documents {
    documents(&[
        (
            "/openstack/latest/meta_data.json",
            r#"{"uuid": "83679162-1378-4288-a2d4-70e13ec132aa", "hostname": "web.novalocal", "name": "web", "launch_index": 0,
                "availability_zone": "nova", "random_seed": "AAAA", "public_keys": {}, "devices": []}"#,
        ),
        ("/openstack/latest/user_data", USER_DATA),
        ("/openstack/latest/vendor_data.json", "{}"),
        (
            "/openstack/latest/network_data.json",
            r#"{"links": [{"id": "tapcd9f6d46-4a", "vif_id": "cd9f6d46", "type": "bgpovs", "mtu": 1442, "ethernet_mac_address": "fa:16:3e:05:30:fe"}],
                "networks": [{"id": "network0", "type": "ipv4_dhcp", "link": "tapcd9f6d46-4a", "network_id": "da5bb487"}], "services": []}"#,
        ),
    ])
}

const NOVA: [(&str, &str); 3] = [
    ("sys_vendor", "OpenStack Foundation\n"),
    ("product_name", "OpenStack Nova\n"),
    ("product_uuid", "83679162-1378-4288-a2d4-70e13ec132aa\n"),
];

#[test]
fn openstack_is_asked_once_for_an_instance_and_an_outage_at_a_reboot_changes_nothing() -> Result<()> {
    let service = MetadataService::serve("127.0.0.1:0", openstack())?;
    let tree = Tree::new(&NOVA)?;
    let early = tree.boot(1, "early", Some(&service.url()))?;
    ensure!(early.status.success() && service.asked().is_empty(), "{}", console(&early));
    assert!(!tree.has("etc/app.conf"), "before the network nothing is known");
    let last = tree.boot(1, "final", Some(&service.url()))?;
    ensure!(last.status.success(), "{}", console(&last));
    assert_eq!(service.asked().len(), 5, "five documents, each once");
    let report = tree.report()?;
    assert_eq!(report["instance_id"], "83679162-1378-4288-a2d4-70e13ec132aa");
    assert!(tree.has("etc/app.conf"));
    let network = fs::read_to_string(tree.path("root/etc/systemd/network/10-hostwright-fa-16-3e-05-30-fe.network"))?;
    assert!(network.contains("DHCP=ipv4"), "{network}");

    service.change(|documents| documents.values_mut().for_each(|document| document.0 = "503 Service Unavailable"));
    for stage in ["early", "final"] {
        let again = tree.boot(2, stage, Some(&service.url()))?;
        ensure!(again.status.success(), "{}", console(&again));
    }
    assert!(service.asked().is_empty(), "the machine knows who it is");
    assert_eq!(tree.report()?["instance_id"], "83679162-1378-4288-a2d4-70e13ec132aa");
    Ok(())
}

#[test]
fn a_copy_of_the_disk_on_another_machine_is_another_instance_and_not_taken_for_the_first_in_an_outage() -> Result<()> {
    let service = MetadataService::serve("127.0.0.1:0", openstack())?;
    let tree = Tree::new(&NOVA)?;
    ensure!(tree.boot(1, "final", Some(&service.url()))?.status.success());
    fs::write(tree.path("sys/class/dmi/id/product_uuid"), "00000000-0000-0000-0000-000000000001\n")?;
    service.change(|documents| documents.values_mut().for_each(|document| document.0 = "503 Service Unavailable"));
    let outage = tree.boot_in_vain(2, "final", &service.url())?;
    assert!(!outage.status.success() && console(&outage).contains("503"), "{}", console(&outage));
    service.change(|documents| {
        *documents = openstack();
        documents.insert("/openstack/latest/meta_data.json".into(), ("200 OK", r#"{"uuid": "i-2"}"#.into()));
    });
    fs::remove_file(tree.path("root/etc/app.conf"))?;
    ensure!(tree.boot(3, "final", Some(&service.url()))?.status.success());
    assert_eq!(tree.report()?["instance_id"], "i-2");
    assert!(tree.has("etc/app.conf"));
    Ok(())
}

#[test]
fn ec2_is_asked_with_a_token_and_no_key_or_document_without_one() -> Result<()> {
    let metadata = documents(&[
        ("/latest/meta-data/instance-id", "i-0abc"),
        ("/latest/meta-data/local-hostname", "ip-10-0-0-1.ec2.internal"),
        ("/latest/meta-data/placement/availability-zone", "eu-west-1a"),
        ("/latest/meta-data/public-keys/", "0=mine"),
        ("/latest/meta-data/public-keys/0/openssh-key", "ssh-ed25519 AAAAC3Nza mine\n"),
        ("/latest/user-data", USER_DATA),
    ]);
    let service = MetadataService::serve("127.0.0.1:0", metadata)?;
    let tree =
        Tree::new(&[("sys_vendor", "Amazon EC2\n"), ("product_uuid", "ec2a1b2c-0000-0000-0000-000000000000\n")])?;
    tree.boot(1, "final", Some(&service.url()))?;
    let asked = service.asked();
    assert!(
        asked.contains(&"PUT /latest/api/token".to_owned()) && asked.contains(&"GET /latest/user-data".to_owned()),
        "{asked:?}"
    );
    assert!(asked.contains(&"GET /latest/meta-data/public-keys/0/openssh-key".to_owned()), "{asked:?}");
    assert_eq!(tree.report()?["instance_id"], "i-0abc");
    assert!(tree.has("etc/app.conf"));

    let open = MetadataService::serve("127.0.0.1:0", documents(&[("/latest/user-data", USER_DATA)]))?;
    let tree = Tree::new(&[("sys_vendor", "Amazon EC2\n")])?;
    let refused = tree.boot_in_vain(1, "final", &open.url())?;
    assert!(!refused.status.success() && console(&refused).contains("token"), "{}", console(&refused));
    assert!(!open.asked().iter().any(|path| path.contains("user-data")));
    Ok(())
}

#[test]
fn google_and_azure_are_known_by_their_own_signs() -> Result<()> {
    let google = r##"{"instance": {"id": 42, "hostname": "web.c.x.internal", "zone": "projects/1/zones/europe-west1-b", "attributes": {"user-data": "#cloud-config\nusers: []\nwrite_files: [{path: /etc/app.conf}]\n"}}, "project": {"attributes": {}}}"##;
    let service = MetadataService::serve("127.0.0.1:0", documents(&[("/computeMetadata/v1/?recursive=true", google)]))?;
    let tree = Tree::new(&[("product_name", "Google Compute Engine\n")])?;
    let boot = tree.boot(1, "final", Some(&service.url()))?;
    ensure!(boot.status.success() && tree.has("etc/app.conf"), "{}", console(&boot));

    let azure = r#"{"compute": {"vmId": "ABC", "userData": "I2Nsb3VkLWNvbmZpZwp1c2VyczogW10Kd3JpdGVfZmlsZXM6IFt7cGF0aDogL2V0Yy9hcHAuY29uZn1dCg==", "osProfile": {"computerName": "web"}}}"#;
    let path = "/metadata/instance?api-version=2021-08-01&extended=true";
    let service = MetadataService::serve("127.0.0.1:0", documents(&[(path, azure), ("/provisioning/health", "")]))?;
    let tree = Tree::new(&[("chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77\n")])?;
    let mut command = Command::new(binary("hostwright-bootstrap")?);
    command.args(["boot", "--stage", "final", "--metadata-url", &service.url(), "--root"]).arg(tree.path("root"));
    command.arg("--proc").arg(tree.path("proc")).arg("--sys").arg(tree.path("sys"));
    let boot = command.env("HOSTWRIGHT_WIRESERVER", service.url()).output()?;
    ensure!(boot.status.success() && tree.has("etc/app.conf"), "{}", console(&boot));
    assert!(service.asked().contains(&r#"POST /provisioning/health {"state":"Ready"}"#.to_owned()));
    assert_eq!(tree.report()?["instance_id"], "abc");
    Ok(())
}

#[test]
fn azures_fabric_is_told_why_an_instance_cannot_be_configured() -> Result<()> {
    let service = MetadataService::serve("127.0.0.1:0", documents(&[("/provisioning/health", "")]))?;
    let tree = Tree::new(&[("chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77\n")])?;
    let mut command = tree.command(1, "final", Some(&service.url()))?;
    command.env("HOSTWRIGHT_METADATA_PATIENCE", "1");
    let boot = command.env("HOSTWRIGHT_WIRESERVER", service.url()).output()?;
    let asked = service.asked();
    let health = asked.iter().find(|asked| asked.starts_with("POST /provisioning/health")).context("no report")?;
    let is_told = health.contains(r#""state":"NotReady""#) && health.contains("cannot read") && health.contains("404");
    assert!(!boot.status.success() && is_told, "{health}");
    Ok(())
}

#[test]
fn answers_that_are_cut_pages_or_point_elsewhere_are_refused_with_a_reason() -> Result<()> {
    for (status, content, reason) in [
        ("200 CUT", r#"{"uuid": "i"#, "cut off"),
        ("200 OK", "<!DOCTYPE html><html>log in</html>", "HTML"),
        ("302 Found", "", "redirects are not followed"),
        ("200 OK", r#"{"uuid": "i"#, "meta_data.json cannot be read"),
        ("200 OK", "{}", "no uuid"),
        ("200 OK", &"x".repeat(5 << 20), "larger than"),
        ("SILENT", "", "no whole answer within 1 s"),
    ] {
        let mut metadata = openstack();
        metadata.insert("/openstack/latest/meta_data.json".into(), (status, content.to_owned()));
        let service = MetadataService::serve("127.0.0.1:0", metadata)?;
        let tree = Tree::new(&NOVA)?;
        let boot = tree.boot_in_vain(1, "final", &service.url())?;
        assert!(!boot.status.success() && console(&boot).contains(reason), "{reason}: {}", console(&boot));
        assert!(!tree.has("etc/app.conf"));
    }
    Ok(())
}

#[test]
fn azures_service_may_begin_late_to_know_the_instance() -> Result<()> {
    let azure = r#"{"compute": {"vmId": "ABC", "userData": "I2Nsb3VkLWNvbmZpZwp1c2VyczogW10Kd3JpdGVfZmlsZXM6IFt7cGF0aDogL2V0Yy9hcHAuY29uZn1dCg==", "osProfile": {}}}"#;
    let path = "/metadata/instance?api-version=2021-08-01&extended=true";
    let service = MetadataService::serve("127.0.0.1:0", documents(&[("/provisioning/health", "")]))?;
    let tree = Tree::new(&[("chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77\n")])?;
    let url = service.url();
    std::thread::scope(|scope| -> Result<()> {
        let boot = scope.spawn(|| {
            let mut command = tree.command(1, "final", Some(&url))?;
            anyhow::Ok(command.env("HOSTWRIGHT_METADATA_PATIENCE", "20").env("HOSTWRIGHT_WIRESERVER", &url).output()?)
        });
        hostwright_tests::wait::eventually(
            "the service is asked before it knows",
            std::time::Duration::from_secs(20),
            || {
                ensure!(service.asked().iter().any(|asked| asked.contains("/metadata/instance")));
                Ok(())
            },
        )?;
        service.change(|documents| drop(documents.insert(path.to_owned(), ("200 OK", azure.to_owned()))));
        let boot = boot.join().ok().context("the thread panicked")??;
        ensure!(boot.status.success() && tree.has("etc/app.conf"), "{}", console(&boot));
        Ok(())
    })
}

#[test]
fn nothing_is_asked_where_nothing_points_to_a_cloud() -> Result<()> {
    let service = MetadataService::serve("127.0.0.1:0", openstack())?;
    let tree = Tree::new(&[("sys_vendor", "QEMU\n"), ("product_name", "Standard PC (Q35 + ICH9, 2009)\n")])?;
    let boot = tree.boot(1, "final", Some(&service.url()))?;
    assert!(boot.status.success() && service.asked().is_empty(), "{}", console(&boot));
    // The image's own word needs no sign.
    fs::create_dir_all(tree.path("root/etc/cloud"))?;
    fs::write(tree.path("root/etc/cloud/cloud.cfg"), "datasource_list: [OpenStack, None]\n")?;
    ensure!(tree.boot(2, "final", Some(&service.url()))?.status.success());
    assert!(tree.has("etc/app.conf"));
    Ok(())
}

#[test]
fn ec2_without_tokens_is_asked_only_where_the_image_allows_it() -> Result<()> {
    let metadata =
        documents(&[("/no-tokens", ""), ("/latest/meta-data/instance-id", "i-0old"), ("/latest/user-data", USER_DATA)]);
    let service = MetadataService::serve("127.0.0.1:0", metadata)?;
    let tree = Tree::new(&[("sys_vendor", "Amazon EC2\n")])?;
    let refused = tree.boot(1, "final", Some(&service.url()))?;
    assert!(!refused.status.success() && !tree.has("etc/app.conf"), "{}", console(&refused));
    let asked = service.asked();
    ensure!(asked.iter().all(|asked| asked == "PUT /latest/api/token"), "nothing but a token is asked for: {asked:?}");
    fs::create_dir_all(tree.path("root/etc/cloud/cloud.cfg.d"))?;
    fs::write(tree.path("root/etc/cloud/cloud.cfg.d/90_old.cfg"), "datasource: {Ec2: {allow_imdsv1: true}}\n")?;
    let allowed = tree.boot(2, "final", Some(&service.url()))?;
    ensure!(allowed.status.success() && tree.has("etc/app.conf"), "{}", console(&allowed));
    Ok(())
}

#[test]
fn services_are_found_at_their_own_addresses_inside_a_network_namespace() -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "network namespaces need root: run the tests as root");
    let thread = std::thread::spawn(|| -> Result<()> {
        // Of this thread alone, and of what it starts.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
        for arguments in [&["link", "set", "lo", "up"][..], &["addr", "add", "169.254.169.254/32", "dev", "lo"]] {
            ensure!(
                Command::new("ip").args(arguments).status()?.success(),
                "ip {arguments:?}; tests/setup.sh installs it"
            );
        }
        let service = MetadataService::serve("169.254.169.254:80", openstack())?;
        let tree = Tree::new(&NOVA)?;
        let boot = tree.boot(1, "final", None)?;
        ensure!(boot.status.success() && tree.has("etc/app.conf"), "{}", console(&boot));
        // No more than these: nothing was tried out before it was asked.
        let asked = service.asked();
        ensure!(asked.len() == 5 && asked.iter().all(|asked| asked.starts_with("GET /openstack/latest/")), "{asked:?}");

        let arguments = ["-6", "addr", "add", "fd00:ec2::254/128", "dev", "lo", "nodad"];
        ensure!(Command::new("ip").args(arguments).status()?.success(), "ip {arguments:?}");
        ensure!(Command::new("ip").args(["addr", "del", "169.254.169.254/32", "dev", "lo"]).status()?.success());
        let metadata = documents(&[("/latest/meta-data/instance-id", "i-0abc"), ("/latest/user-data", USER_DATA)]);
        let service = MetadataService::serve("[fd00:ec2::254]:80", metadata)?;
        let tree = Tree::new(&[("sys_vendor", "Amazon EC2\n")])?;
        let boot = tree.boot(1, "final", None)?;
        ensure!(boot.status.success() && tree.has("etc/app.conf"), "{}", console(&boot));
        ensure!(service.asked().contains(&"PUT /latest/api/token".to_owned()));
        Ok(())
    });
    thread.join().ok().context("the thread panicked")?
}
