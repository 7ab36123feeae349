use super::Containers;
use crate::encode::Encoder;
use crate::sample::Roots;
use std::fs;
use std::path::Path;

const CONFIG: &str = r#"{"Name":"/shop-web-1","Config":{"Image":"shop:1.2","Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"web"}},"State":{"Running":true,"Pid":7,"StartedAt":"2026-11-21T08:00:00Z"}}"#;
const DEV: &str =
    "Inter-|\n face |\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 100 2 3 4 0 0 0 0 200 6 7 8 0 0 0 0\n";

/// A host with one container under version 2.
fn host(root: &Path) -> (Containers, Roots) {
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(path, text).expect("written");
    };
    write("docker/containers/abc/config.v2.json", CONFIG);
    write("proc/7/cgroup", "0::/system.slice/docker-abc.scope\n");
    write("proc/7/net/dev", DEV);
    write("proc/7/fd/0", "");
    write("proc/7/limits", "Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  4096  files\n");
    write("proc/stat", "cpu  1\ncpu0 1\ncpu1 1\nintr 1\n");
    write("proc/meminfo", "MemTotal:  1000 kB\nSwapTotal: 2 kB\n");
    write("sys/dev/block/8:0/uevent", "MAJOR=8\nDEVNAME=sda\n");
    let group = "sys/fs/cgroup/system.slice/docker-abc.scope";
    for (file, text) in [
        ("cpu.stat", "usage_usec 2500000\nuser_usec 1500000\nsystem_usec 1000000\n"),
        ("memory.current", "5000\n"),
        ("memory.stat", "anon 2000\nfile 3000\ninactive_file 1000\npgfault 9\npgmajfault 1\n"),
        ("memory.max", "max\n"),
        ("io.stat", "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n"),
        ("cgroup.procs", "7\n8\n"),
    ] {
        write(&format!("{group}/{file}"), text);
    }
    let roots = Roots {
        procfs: root.join("proc"),
        sysfs: root.join("sys"),
        rootfs: root.join("root"),
        udev: root.join("udev"),
    };
    (Containers::new(&[root.join("docker")], &roots), roots)
}

fn text(containers: &mut Containers) -> String {
    let mut out = Encoder::default();
    containers.write(&mut out);
    String::from_utf8(out.take()).expect("UTF-8")
}

#[test]
fn a_container_is_told_with_its_name_image_and_compose_labels() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (mut containers, _) = host(folder.path());
    let text = text(&mut containers);
    let labels =
        r#"container_label_com_docker_compose_project="shop",container_label_com_docker_compose_service="web""#;
    let rest = r#"id="/system.slice/docker-abc.scope",image="shop:1.2",name="shop-web-1""#;
    for line in [
        format!("container_memory_working_set_bytes{{{labels},{rest}}} 4000"),
        format!("container_spec_memory_limit_bytes{{{labels},{rest}}} 0"),
        format!("container_start_time_seconds{{{labels},{rest}}} 1795248000"),
        format!("container_processes{{{labels},{rest}}} 2"),
        format!("container_cpu_usage_seconds_total{{{labels},cpu=\"total\",{rest}}} 2.5"),
        format!("container_fs_writes_bytes_total{{{labels},device=\"/dev/sda\",{rest}}} 20"),
        format!("container_ulimits_soft{{{labels},{rest},ulimit=\"max_open_files\"}} 1024"),
        format!(
            "container_blkio_device_usage_total{{{labels},device=\"/dev/sda\",{},operation=\"Write\"}} 20",
            rest.replace(",name=", ",major=\"8\",minor=\"0\",name=")
        ),
        "machine_cpu_cores 2".to_owned(),
        "machine_swap_bytes 2048".to_owned(),
        "machine_memory_bytes 1024000".to_owned(),
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    let interface = r#"image="shop:1.2",interface="eth0",name="shop-web-1""#;
    assert!(text.contains(&format!("{interface}}} 200\n")), "{text}");
    assert!(!text.contains("interface=\"lo\""), "{text}");
    assert!(text.contains("container_memory_failures_total") && text.contains("failure_type=\"pgmajfault\""), "{text}");
}

#[test]
fn only_containers_that_exist_are_told() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (mut containers, _) = host(folder.path());
    assert!(text(&mut containers).contains("shop-web-1"));
    // It ended, and the engine has not noticed yet.
    let group = folder.path().join("sys/fs/cgroup/system.slice/docker-abc.scope");
    fs::write(group.join("cgroup.procs"), "").expect("written");
    assert!(!text(&mut containers).contains("shop-web-1"));
    fs::write(group.join("cgroup.procs"), "7\n").expect("written");
    assert!(text(&mut containers).contains("shop-web-1"));
    // The processes are in groups below it.
    fs::write(group.join("cgroup.procs"), "").expect("written");
    fs::create_dir_all(group.join("init.scope")).expect("made");
    fs::write(group.join("init.scope/cgroup.procs"), "7\n8\n").expect("written");
    assert!(text(&mut containers).contains("shop-web-1\"} 2\n"), "two processes");
    // Stopped, as the engine says.
    let config = folder.path().join("docker/containers/abc/config.v2.json");
    fs::write(&config, CONFIG.replace("true", "false")).expect("written");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    fs::File::options().append(true).open(&config).and_then(|file| file.set_modified(long_ago)).expect("set");
    assert!(!text(&mut containers).contains("shop-web-1"));
    fs::write(&config, CONFIG).expect("written");
    assert!(text(&mut containers).contains("shop-web-1"), "started again");
    fs::remove_dir_all(folder.path().join("docker/containers/abc")).expect("removed");
    assert!(!text(&mut containers).contains("shop-web-1"));
}

#[test]
fn limits_are_read_again_when_the_engine_writes_and_what_is_measured_at_every_scrape() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (mut containers, _) = host(folder.path());
    let group = folder.path().join("sys/fs/cgroup/system.slice/docker-abc.scope");
    let value = |text: &str, family: &str| {
        let line = text.lines().find(|line| line.starts_with(family)).expect("told");
        line.rsplit(' ').next().expect("a value").to_owned()
    };
    // Twice: the next time may be any moment of the first minute.
    (0..2).for_each(|_| drop(text(&mut containers)));
    fs::write(group.join("memory.max"), "4096\n").expect("written");
    fs::write(group.join("memory.current"), "4000\n").expect("written");
    assert_eq!(value(&text(&mut containers), "container_memory_usage_bytes"), "4000");
    let config = folder.path().join("docker/containers/abc/config.v2.json");
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
    fs::File::options().append(true).open(&config).and_then(|file| file.set_modified(later)).expect("set");
    assert_eq!(value(&text(&mut containers), "container_spec_memory_limit_bytes"), "4096");
}

#[test]
fn without_an_engine_there_is_the_machine_alone() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (_, roots) = host(folder.path());
    let text = text(&mut Containers::new(&["/nowhere".into()], &roots));
    assert!(text.contains("machine_cpu_cores 2") && !text.contains("container_"), "{text}");
}
