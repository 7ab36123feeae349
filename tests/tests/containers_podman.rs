//! The containers duty on Podman's socket.

use anyhow::Result;
use hostwright_tests::container_host::{Host, LIMIT};
use hostwright_tests::engines::{Docker, Podman};
use hostwright_tests::wait::eventually;

const TWO: &str = "
services:
  one: {image: IMAGE, command: [sleep, '1000'], stop_signal: SIGKILL, network_mode: none}
  two:
    image: IMAGE
    command: sleep 1000
    stop_signal: SIGKILL
    network_mode: none
    environment: {COLOUR: blue}
    deploy: {update_config: {monitor: 1s}}
";

#[test]
fn a_file_converges_is_updated_and_repaired_on_podman_too() -> Result<()> {
    let podman = Podman::start()?;
    let docker = Docker::at(&podman.socket());
    let mut host = Host::start(&docker, "podman", TWO)?;
    host.agent.wait_ready(LIMIT)?;
    host.wait_summary("2 containers run, 0 healthy")?;
    let (one, two) = (host.id("one")?, host.id("two")?);
    // An unchanged file recreates nothing.
    assert_eq!(host.agent.terminate()?, Some(0));
    host.agent.start_again()?;
    host.wait_summary("2 containers run, 0 healthy")?;
    assert_eq!((host.id("one")?, host.id("two")?), (one.clone(), two.clone()));

    host.write(&TWO.replace("blue", "red"))?;
    eventually("two is exchanged", LIMIT, || host.id("two").is_ok_and(|id| id != two) && host.is_running("two"))?;
    host.wait_summary("2 containers run, 0 healthy")?;
    assert_eq!(host.project.containers()?, [host.container("one"), host.container("two")]);
    assert_eq!(host.id("one")?, one);

    for by_hand in [&["kill"][..], &["rm", "--force"]] {
        docker.docker(&[by_hand, &[&host.container("one")]].concat())?;
        eventually("it is back", LIMIT, || host.is_running("one"))?;
    }
    Ok(())
}
