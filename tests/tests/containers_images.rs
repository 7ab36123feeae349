//! Images on a real engine and a real registry: pinned, with a login, signed, from a bucket, by the tag rule, removed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hostwright_tests::container_host::LIMIT;
use hostwright_tests::cosign::{Authority, ISSUER, SUBJECT, Signer};
use hostwright_tests::engines::docker::unique;
use hostwright_tests::engines::{Docker, Registry};
use hostwright_tests::image_host::{ImageHost, as_run, image};
use hostwright_tests::wait::eventually;
use serde_json::json;

#[test]
fn a_name_stands_for_one_digest_until_it_is_deployed_again() -> Result<()> {
    let (docker, registry) = (Docker::start()?, Registry::start()?);
    let (one, two) = (unique("hostwright-one"), unique("hostwright-two"));
    let (first, second) = (image(&docker, &one, "1")?, image(&docker, &two, "2")?);
    let name = as_run(&registry.push(&docker, &one, "team/app:1")?);
    let mut host = ImageHost::start(&docker, &name, "{}")?;
    host.wait_runs(&first)?;
    assert_eq!(host.pin(&name)?["digest"], registry.digest("team/app:1")?.as_str());

    registry.push(&docker, &two, "team/app:1")?;
    docker.docker(&["rm", "--force", &format!("{}-app-1", host.project.name())])?;
    host.wait_runs(&first)?;
    docker.docker(&["tag", &second, &name])?;
    eventually("the name is given back", LIMIT, || {
        let id = docker.docker(&["inspect", "--format", "{{.Id}}", &name])?;
        if id == first { Ok(()) } else { bail!("{name} is {id}") }
    })?;
    assert_eq!(host.agent.terminate()?, Some(0));
    docker.docker(&["rm", "--force", &format!("{}-app-1", host.project.name())])?;
    host.agent.start_again()?;
    host.wait_runs(&first)?;

    host.deploy()?;
    host.wait_runs(&second)?;
    let pin = host.pin(&name)?;
    assert_eq!((pin["image_id"].as_str(), pin["previous"][0].as_str()), (Some(&*second), Some(&*first)));
    Ok(())
}

#[test]
fn an_unreachable_registry_leaves_what_is_here_and_says_so() -> Result<()> {
    let (docker, registry) = (Docker::start()?, Registry::start()?);
    let one = unique("hostwright-one");
    let first = image(&docker, &one, "1")?;
    let name = registry.push(&docker, &one, "team/app:1")?;
    let host = ImageHost::start(&docker, &name, "{}")?;
    host.wait_runs(&first)?;
    drop(registry);
    host.deploy()?;
    let why = host.wait_why("what is here goes on")?;
    ensure!(why.contains("cannot pull"), "{why}");
    host.wait_runs(&first)
}

#[test]
fn a_login_comes_from_the_configuration_or_from_docker_s_own_file_and_its_helpers() -> Result<()> {
    let docker = Docker::start()?;
    let one = unique("hostwright-one");
    let first = image(&docker, &one, "1")?;
    let registry = Registry::start()?;
    let name = registry.push(&docker, &one, "team/app:1")?;
    let registry = registry.protect("bot", "hunter2")?;
    let address = registry.host();
    let remove = || docker.docker(&["rmi", "--force", &name]);

    let nobody = ImageHost::start(&docker, &name, "{docker_config: /nowhere}")?;
    nobody.wait_why("give a login under images.registries, or by docker login as root")?;
    drop(nobody);
    let wrong = format!("{{registries: [{{host: '{address}', username: bot, password: {{env: PATH}}}}]}}");
    let why = ImageHost::start(&docker, &name, &wrong)?.wait_why("see that the login is right")?;
    ensure!(!why.contains("hunter2"), "{why}");

    let right = format!("{{registries: [{{host: '{address}', username: bot, password: {{env: REGISTRY_PASSWORD}}}}]}}");
    let host = ImageHost::start(&docker, &name, &right)?;
    host.wait_runs(&first)?;
    ensure!(!host.agent.status()?.to_string().contains("hunter2"));
    drop(host);
    remove()?;

    let folder = tempfile::tempdir()?;
    let file = folder.path().join("config.json");
    let login = STANDARD.encode("bot:hunter2");
    for config in [
        json!({"auths": {(&*address): {"auth": login}}}),
        json!({"credHelpers": {(&*address): "test"}}),
        json!({"credsStore": "test"}),
    ] {
        fs::write(&file, config.to_string())?;
        let host = ImageHost::start(&docker, &name, &format!("{{docker_config: {}}}", file.display()))?;
        helper(host.folder.path())?;
        host.wait_runs(&first).with_context(|| config.to_string())?;
        drop(host);
        remove()?;
    }
    Ok(())
}

/// A credential helper in the folder, which is in the agent's PATH.
fn helper(folder: &Path) -> Result<()> {
    let path = folder.join("docker-credential-test");
    fs::write(&path, "#!/bin/sh\necho '{\"Username\":\"bot\",\"Secret\":\"hunter2\"}'\n")?;
    Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?)
}

#[test]
fn the_newest_image_of_the_branch_is_taken_else_that_of_the_fallback_branch() -> Result<()> {
    let (docker, registry) = (Docker::start()?, Registry::start()?);
    let mut ids = Vec::new();
    for tag in ["develop-9-aaaaaaa", "develop-10-aaaaaab", "feature-login-3-aaaaaac"] {
        let local = unique("hostwright-rule");
        ids.push(image(&docker, &local, tag)?);
        registry.push(&docker, &local, &format!("prism/connector:{tag}"))?;
        if tag.starts_with("develop") {
            registry.push(&docker, &local, &format!("prism/node:{tag}"))?;
        }
    }
    let rule = "{tags: [{images: ['*/prism/*'], branch: feature/login, fallback: develop}]}";
    let name = format!("{}/prism/connector", registry.host());
    let host = ImageHost::start(&docker, &name, rule)?;
    host.wait_runs(&ids[2])?;
    assert_eq!(host.pin(&name)?["tag"], "feature-login-3-aaaaaac");
    let host = ImageHost::start(&docker, &format!("{}/prism/node", registry.host()), rule)?;
    host.wait_runs(&ids[1])
}

#[test]
fn an_image_comes_from_the_bucket_where_the_registry_has_none() -> Result<()> {
    let docker = Docker::start()?;
    let local = unique("hostwright-archive");
    let first = image(&docker, &local, "1")?;
    let bucket = tempfile::tempdir()?;
    let images = bucket.path().join("docker/images");
    fs::create_dir_all(&images)?;
    let name = format!("127.0.0.1:9/si/{local}:1.4");
    docker.docker(&["tag", &local, &name])?;
    let archive = images.join(format!("{local}:1.4.tar"));
    docker.docker(&["save", "--output", &archive.display().to_string(), &name])?;
    docker.docker(&["rmi", "--force", &name, &local])?;
    ensure!(Command::new("zstd").args(["--quiet", "--rm"]).arg(&archive).status()?.success(), "zstd");
    let buckets = format!("buckets: {{infra: 'file://{}'}}", bucket.path().display());
    let host = ImageHost::start_with(&docker, &name, "{bucket: {bucket: infra}}", &buckets)?;
    host.wait_runs(&first)?;
    let source = host.pin(&name)?["source"].as_str().unwrap_or_default().to_owned();
    ensure!(source.contains("1.4.tar.zst of the bucket infra"), "{source}");
    Ok(())
}

#[test]
fn unused_images_that_the_agent_brought_are_removed_and_others_stay() -> Result<()> {
    let (docker, registry) = (Docker::start()?, Registry::start()?);
    let mut names = Vec::new();
    for number in ["1", "2", "3", "4"] {
        let local = unique("hostwright-clean");
        image(&docker, &local, &local)?;
        names.push(registry.push(&docker, &local, &format!("team/app:{number}"))?);
        docker.docker(&["rmi", &local])?;
    }
    let stranger = unique("hostwright-stranger");
    image(&docker, &stranger, &stranger)?;
    let host = ImageHost::start(&docker, &names[0], "{clean_up: {after: 1s, every: 1s}}")?;
    for name in &names {
        let text = fs::read_to_string(host.folder.path().join("compose.yaml"))?;
        let line = text.lines().find(|line| line.contains("app:")).context("a line")?;
        let old = line.split('\'').nth(1).context("a name")?;
        fs::write(host.folder.path().join("compose.yaml"), text.replace(old, name))?;
        eventually(&format!("{name} runs"), LIMIT, || {
            let container = docker.inspect(&format!("{}-app-1", host.project.name()))?;
            if container["Config"]["Image"] == name.as_str() && container["State"]["Running"] == true {
                Ok(())
            } else {
                bail!("{} runs", container["Config"]["Image"])
            }
        })?;
    }
    let has = |name: &str| docker.docker(&["inspect", name]).is_ok();
    eventually("the first image is gone", LIMIT, || if has(&names[0]) { bail!("it is there") } else { Ok(()) })?;
    ensure!(has(&names[3]) && has(&stranger), "what runs, and what others brought, stays");
    let cleaned = host.agent.wait_status("freed bytes", LIMIT, |status| {
        status["duties"]["containers"]["details"]["images"]["clean_up"]["bytes"].as_u64() > Some(0)
    });
    cleaned?;
    docker.docker(&["rmi", "--force", &stranger])?;
    Ok(())
}

#[test]
fn images_run_only_with_a_good_signature_and_the_old_one_goes_on() -> Result<()> {
    let (docker, registry) = (Docker::start()?, Registry::start()?);
    let (signer, stranger) = (Signer::make()?, Signer::make()?);
    let push = |tag: &str| -> Result<(String, String)> {
        let local = unique("hostwright-signed");
        let id = image(&docker, &local, &local)?;
        registry.push(&docker, &local, &format!("team/app:{tag}"))?;
        Ok((id, registry.digest(&format!("team/app:{tag}"))?))
    };
    let (first, digest) = push("1")?;
    let name = as_run(&format!("{}/team/app:1", registry.host()));
    let signatures = format!("{{signatures: [{{images: ['*'], keys: [{}]}}]}}", signer.public());
    let host = ImageHost::start(&docker, &name, &signatures)?;
    host.wait_why("it is not signed, and must be with one of the keys")?;
    stranger.by_tag(&registry, "team/app", &digest, &digest)?;
    host.wait_why("no key fits its signature")?;
    let other = format!("sha256:{}", "0".repeat(64));
    signer.by_tag(&registry, "team/app", &digest, &other)?;
    host.wait_why("it is the signature of another image")?;
    ensure!(host.running_image().is_err(), "nothing runs yet");
    signer.by_tag(&registry, "team/app", &digest, &digest)?;
    host.wait_runs(&first)?;
    assert_eq!(host.pin(&name)?["signed_by"], signer.public().as_str());

    let (second, digest) = push("1")?;
    host.deploy()?;
    host.wait_why("what is here goes on")?;
    host.wait_runs(&first)?;
    signer.by_referrer(&registry, "team/app", &digest)?;
    host.deploy()?;
    host.wait_runs(&second)
}

#[test]
fn images_run_that_the_identity_has_signed_without_a_key_in_both_forms() -> Result<()> {
    let (docker, registry) = (Docker::start()?, Registry::start()?);
    let (authority, stranger) = (Authority::make()?, Authority::make()?);
    let push = || -> Result<(String, String)> {
        let local = unique("hostwright-keyless");
        let id = image(&docker, &local, &local)?;
        registry.push(&docker, &local, "team/app:1")?;
        Ok((id, registry.digest("team/app:1")?))
    };
    let (first, digest) = push()?;
    let name = as_run(&format!("{}/team/app:1", registry.host()));
    let identity = format!(
        "{{issuer: '{ISSUER}', subject: '{SUBJECT}', authorities: {}, log_key: {}}}",
        authority.path("authorities.pem"),
        authority.path("log.pub")
    );
    let host = ImageHost::start(&docker, &name, &format!("{{signatures: [{{images: ['*'], identity: {identity}}}]}}"))?;
    host.wait_why(&format!("it is not signed, and must be with {SUBJECT} by {ISSUER}"))?;
    Signer::make()?.by_tag(&registry, "team/app", &digest, &digest)?;
    host.wait_why("it was made with a key and not by an identity")?;
    stranger.signer(SUBJECT)?.by_tag(&registry, "team/app", &digest, &digest)?;
    host.wait_why("its log entry is of the log")?;
    authority.signer("eve@example.org")?.by_tag(&registry, "team/app", &digest, &digest)?;
    host.wait_why("it was signed by eve@example.org, and not by builder@example.org")?;
    let other = format!("sha256:{}", "0".repeat(64));
    authority.signer(SUBJECT)?.by_tag(&registry, "team/app", &digest, &other)?;
    host.wait_why("it is the signature of another image")?;
    ensure!(host.running_image().is_err(), "nothing runs yet");
    authority.signer(SUBJECT)?.by_tag(&registry, "team/app", &digest, &digest)?;
    host.wait_runs(&first)?;
    assert_eq!(host.pin(&name)?["signed_by"], format!("{SUBJECT} by {ISSUER}").as_str());

    let (second, digest) = push()?;
    authority.signer(SUBJECT)?.by_referrer(&registry, "team/app", &digest)?;
    host.deploy()?;
    host.wait_runs(&second)
}
