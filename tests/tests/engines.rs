//! Each engine of the kit really works.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use hostwright_tests::engines::docker::unique;
use hostwright_tests::engines::{Docker, Prometheus, Registry, Rsyslog, Swift, prometheus, swift};
use hostwright_tests::http;
use hostwright_tests::wait::eventually;

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_container_with_a_published_port_answers_on_loopback() -> Result<()> {
    let docker = Docker::start()?;
    let (image, project) = (unique("hostwright-busybox"), docker.project("web"));
    docker.busybox_image(&image)?;
    let label = format!("com.docker.compose.project={}", project.name());
    let serve = "echo hello >/www/index.html; exec httpd -f -p 80 -h /www";
    let run = ["run", "--detach", "--label", &label, "--name", project.name(), "--publish", "127.0.0.1::80"];
    docker.docker(&[&run[..], &[&image, "sh", "-c", serve]].concat())?;
    let address: SocketAddr = docker.docker(&["port", project.name(), "80/tcp"])?.parse()?;
    let page = eventually("the container's page", LIMIT, || http::get(address, "/")?.success())?;
    assert_eq!(page.text(), "hello\n");
    assert_eq!(project.containers()?, [project.name()]);
    assert_eq!(docker.inspect(project.name())?["State"]["Running"], true);
    Ok(())
}

#[test]
fn a_dropped_project_leaves_no_container_behind() -> Result<()> {
    let docker = Docker::start()?;
    let image = unique("hostwright-busybox");
    docker.busybox_image(&image)?;
    let project = docker.project("gone");
    let (name, label) = (project.name().to_owned(), format!("com.docker.compose.project={}", project.name()));
    docker.docker(&["run", "--detach", "--label", &label, "--name", &name, &image, "sleep", "1000"])?;
    drop(project);
    assert!(docker.inspect(&name).is_err());
    Ok(())
}

#[test]
fn an_image_pushed_to_the_registry_can_be_pulled_and_run() -> Result<()> {
    let (docker, registry) = (Docker::start()?, Registry::start()?);
    let tree = tempfile::tempdir()?;
    std::fs::copy("/bin/busybox", tree.path().join("busybox"))?;
    let local = unique("hostwright-tree");
    docker.image_from_tree(&local, tree.path(), &["ENV GREETING=hello", r#"ENTRYPOINT ["/busybox"]"#])?;
    let pushed = registry.push(&docker, &local, "team/tree:1")?;
    assert!(docker.inspect(&pushed).is_err(), "it must not be here before it is pulled");
    docker.docker(&["pull", "--quiet", &pushed])?;
    assert_eq!(docker.docker(&["run", "--rm", &pushed, "sh", "-c", "echo $GREETING"])?, "hello");
    Ok(())
}

#[test]
fn an_object_put_through_s3_is_read_through_swift_also_after_an_outage() -> Result<()> {
    let mut swift = Swift::start()?;
    swift.create_bucket("products")?;
    s3_put(&swift, "products/2024/image.fits", "a whole product")?;
    assert_eq!(swift.keys("products")?, ["2024/image.fits"]);
    swift.stop()?;
    assert!(swift.keys("products").is_err());
    swift.start_again()?;
    assert_eq!(swift.object("products", "2024/image.fits")?.as_deref(), Some(&b"a whole product"[..]));
    assert_eq!(swift.object("products", "absent")?, None);
    Ok(())
}

/// A signed request as any S3 client makes it. The colon of the access key cannot stand in `--user`.
fn s3_put(swift: &Swift, path: &str, content: &str) -> Result<()> {
    let credentials = format!("{}:{}@", swift::ACCESS_KEY.replace(':', "%3A"), swift::SECRET_KEY);
    let url = format!("{}/{path}", swift.endpoint().replace("http://", &format!("http://{credentials}")));
    let sign = format!("aws:amz:{}:s3", swift::REGION);
    let curl = Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--request", "PUT", "--aws-sigv4", &sign, "--data-binary"])
        .args([content, "--header", "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD", &url])
        .output()?;
    anyhow::ensure!(curl.status.success(), "curl: {}", String::from_utf8_lossy(&curl.stderr));
    Ok(())
}

#[test]
fn rsyslog_writes_what_it_got_over_tcp_also_after_an_outage() -> Result<()> {
    let mut rsyslog = Rsyslog::start()?;
    let first = r#"<14>1 2024-05-01T10:00:00Z web app - - - {"é": "tab	here"}"#;
    send_octet_counted(&rsyslog, first)?;
    assert_eq!(rsyslog.wait_for_messages(1, LIMIT)?, [r#"{"é": "tab	here"}"#]);
    rsyslog.stop()?;
    assert!(send_octet_counted(&rsyslog, first).is_err(), "nobody listens during the outage");
    rsyslog.start_again()?;
    let second = "<14>1 2024-05-01T10:00:01Z web app - - - again";
    send_octet_counted(&rsyslog, second)?;
    rsyslog.wait_for_messages(2, LIMIT)?;
    assert_eq!(rsyslog.lines()?, [first, second]);
    Ok(())
}

fn send_octet_counted(rsyslog: &Rsyslog, message: &str) -> Result<()> {
    let mut stream = TcpStream::connect(rsyslog.address()).context("connecting to rsyslog")?;
    write!(stream, "{} {message}", message.len())?;
    Ok(())
}

#[test]
fn prometheus_scrapes_itself_and_its_targets() -> Result<()> {
    let prometheus = Prometheus::start(&[("absent", SocketAddr::from(([127, 0, 0, 1], 1)))])?;
    let ups = eventually("two scrapes", LIMIT, || prometheus.query("up").ok().filter(|ups| ups.len() == 2))?;
    let value_of = |job: &str| ups.iter().find(|up| up.labels["job"] == job).map(|up| up.value);
    assert_eq!((value_of("prometheus"), value_of("absent")), (Some(1.0), Some(0.0)));
    Ok(())
}

#[test]
fn promtool_refuses_an_exposition_that_prometheus_could_not_read() -> Result<()> {
    prometheus::check_metrics("# HELP a_total All.\n# TYPE a_total counter\na_total 1\n")?;
    assert!(prometheus::check_metrics("a_total{ 1\n").is_err());
    Ok(())
}
