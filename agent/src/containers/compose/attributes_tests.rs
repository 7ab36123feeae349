use super::{ATTRIBUTES, Done, Noted, Refused};
use crate::containers::compose::load::load_with;
use crate::containers::compose::model::{Variables, attribute_paths};
use crate::containers::engine::Blueprint;
use hostwright_core::yaml::{Duplicates, load, to_json};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

#[test]
fn the_guide_says_of_each_attribute_what_becomes_of_it() {
    let guide = include_str!("../../../../docs/compose.md");
    let rows: Vec<&str> = guide.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> = ATTRIBUTES
        .iter()
        .map(|(path, support)| match support {
            Done => format!("| `{path}` | carried out |"),
            Noted(why) => format!("| `{path}` | noted: {why} |"),
            Refused(why) => format!("| `{path}` | refused: {why} |"),
        })
        .collect();
    assert_eq!(rows, expected);
}

fn has_row(path: &str) -> bool {
    let inside = |row: &str| path.strip_prefix(row).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    // A row may speak of what a mapping holds.
    ATTRIBUTES.iter().any(|(row, _)| inside(row) || row.starts_with(&format!("{path}.")))
}

#[test]
fn every_attribute_of_the_canonical_model_has_a_row() {
    let missing: Vec<String> = attribute_paths().into_iter().filter(|path| !has_row(path)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The paths of all attributes of the specification's schema.
fn specified() -> BTreeSet<String> {
    fn walk(schema: &Json, (all, path): (&Json, &str), found: &mut BTreeSet<String>) -> bool {
        if let Some(name) = schema["$ref"].as_str() {
            return walk(&all["definitions"][name.rsplit('/').next().expect("a name")], (all, path), found);
        }
        let mut has_members = false;
        let choices = ["oneOf", "anyOf"].into_iter().flat_map(|key| schema[key].as_array().into_iter().flatten());
        for inner in choices.chain(schema.get("items")) {
            has_members |= walk(inner, (all, path), found);
        }
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            has_members = true;
            if !walk(inner, (all, &path), found) {
                found.insert(path);
            }
        }
        let named = schema["patternProperties"].as_object().into_iter().flatten();
        for (_, inner) in named.filter(|(pattern, _)| *pattern != "^x-") {
            has_members |= walk(inner, (all, &format!("{path}.*")), found);
        }
        has_members
    }
    let schema: Json = serde_json::from_str(include_str!("model/compose-spec.json")).expect("JSON");
    let mut found = BTreeSet::new();
    walk(&schema, (&schema, ""), &mut found);
    // What a file is made of, and old forms that mean another attribute.
    found.retain(|path| !["name", "version"].contains(&path.as_str()) && !path.contains("external.name"));
    found.retain(|path| !path.starts_with("include."));
    found
}

#[test]
fn every_attribute_of_the_specification_has_a_row() {
    let all = specified();
    assert!(all.len() > 250, "{}", all.len());
    let missing: Vec<String> = all.into_iter().filter(|path| !has_row(path)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// What the engine is asked for, what the agent itself knows of it, and what an operator is told.
fn effect(folder: &Path, document: &Json) -> Result<String, String> {
    std::fs::write(folder.join("env"), "FROM='file'\n").expect("written");
    std::fs::write(folder.join("base.yaml"), "services: {b: {image: z}}\n").expect("written");
    let path = folder.join("compose.yaml");
    std::fs::write(&path, document.to_string()).expect("written");
    let variables = Variables::of([("VARIABLE", "value")]);
    let project = load_with(&path, None, variables).project.map_err(|error| error.to_string())?;
    let mut effect = String::new();
    for (name, service) in &project.services {
        let mut made = serde_json::to_value(Blueprint::of(&project, name, "sha256:0")).expect("JSON");
        // A hash of everything would hide that nothing else differs.
        made["hash"] = Json::Null;
        made["body"]["Labels"]["com.docker.compose.config-hash"] = Json::Null;
        let own =
            (&service.pull_policy, &service.depends_on, &service.rollout, &service.restart, &service.container_name);
        writeln!(effect, "{name}: {} {own:?}", sorted(&made)).expect("written");
    }
    let notes: Vec<String> = project.notes.iter().map(ToString::to_string).collect();
    Ok(format!("{effect}{:?} {:?} {notes:?}", project.networks, project.volumes))
}

/// The engine's mappings have no order.
fn sorted(value: &Json) -> String {
    match value {
        Json::Object(map) => {
            let members: BTreeMap<_, _> = map.iter().map(|(key, value)| (key, sorted(value))).collect();
            format!("{members:?}")
        }
        Json::Array(items) => format!("{:?}", items.iter().map(sorted).collect::<Vec<_>>()),
        other => other.to_string(),
    }
}

/// The document without each of its attributes, by the attribute's path.
fn without(document: &Json, specified: &BTreeSet<String>) -> Vec<(String, Json)> {
    fn walk(value: &Json, (path, pointer): (&str, &str), found: &mut Vec<(String, String)>, all: &BTreeSet<String>) {
        if all.contains(path) {
            found.push((path.to_owned(), pointer.to_owned()));
            return;
        }
        match value {
            Json::Object(map) => {
                for (key, inner) in map {
                    let pointer = format!("{pointer}/{key}");
                    let named = format!("{path}.*");
                    let is_named = all.iter().any(|known| known.starts_with(&format!("{named}.")) || *known == named);
                    let path = match path {
                        "" => key.clone(),
                        _ if is_named => named,
                        _ => format!("{path}.{key}"),
                    };
                    walk(inner, (&path, &pointer), found, all);
                }
            }
            Json::Array(items) => {
                for (index, inner) in items.iter().enumerate() {
                    walk(inner, (path, &format!("{pointer}/{index}")), found, all);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(document, ("", ""), &mut found, specified);
    let remove = |(path, pointer): (String, String)| {
        let mut rest = document.clone();
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        if let Some(Json::Object(parent)) = rest.pointer_mut(parent) {
            parent.remove(key);
        }
        (path, rest)
    };
    found.into_iter().map(remove).collect()
}

#[test]
fn each_attribute_makes_a_difference_or_is_told_of() {
    let specified = specified();
    let documents = load(&format!("documents:\n{DOCUMENTS}"), Duplicates::Refuse).expect("YAML").root;
    let documents = to_json(documents.get("documents").expect("documents"));
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (mut seen, mut telling) = (BTreeSet::new(), BTreeSet::new());
    for document in documents.as_array().expect("a list") {
        let whole = effect(folder, document);
        assert_eq!(whole, effect(folder, document));
        for (path, rest) in without(document, &specified) {
            if effect(folder, &rest) != whole {
                telling.insert(path.clone());
            }
            seen.insert(path);
        }
    }
    let silent: Vec<&String> = seen.difference(&telling).collect();
    assert!(silent.is_empty(), "make no difference: {silent:#?}");
    let refused = |path: &&String| {
        ATTRIBUTES.iter().any(|(row, support)| match support {
            Refused(_) => path.starts_with(row),
            Noted(_) | Done => false,
        })
    };
    // What is below an attribute that is noted as a whole needs no look of its own.
    let noted = ["services.*.build.", "services.*.develop.", "services.*.deploy.placement."];
    let unseen: Vec<&String> = specified
        .difference(&seen)
        .filter(|path| !refused(path) && !noted.iter().any(|noted| path.starts_with(noted)))
        .collect();
    assert!(unseen.is_empty(), "stand in no document: {unseen:#?}");
}

/// All that is carried out or noted.
const DOCUMENTS: &str = r#"
- services:
    a:
      image: x
      annotations: {k: v}
      attach: false
      blkio_config:
        weight: 300
        weight_device: [{path: /dev/a, weight: 200}]
        device_read_bps: [{path: /dev/a, rate: 1mb}]
        device_read_iops: [{path: /dev/a, rate: 10}]
        device_write_bps: [{path: /dev/a, rate: 2mb}]
        device_write_iops: [{path: /dev/a, rate: 20}]
      build: {context: .}
      cap_add: [NET_ADMIN]
      cap_drop: [ALL]
      cgroup: host
      cgroup_parent: slice
      command: [a, b]
      configs: [{source: c, target: /c, uid: "1", gid: "2", mode: "0400"}]
      container_name: name
      cpu_count: 2
      cpu_percent: 50
      cpu_period: 100000
      cpu_quota: 50000
      cpu_rt_period: 100000
      cpu_rt_runtime: 5000
      cpu_shares: 512
      cpuset: "0"
      depends_on: {b: {condition: service_healthy, required: false, restart: true}}
      deploy:
        endpoint_mode: vip
        labels: {k: v}
        mode: global
        placement: {max_replicas_per_node: 1}
        resources:
          limits: {cpus: "0.5", memory: 64m, pids: 50}
          reservations:
            cpus: "0.1"
            memory: 32m
            devices: [{capabilities: [gpu], driver: nvidia, count: 1, options: {k: v}}]
            generic_resources: [{discrete_resource_spec: {kind: gpu, value: 2}}]
        restart_policy: {condition: on-failure, delay: 5s, max_attempts: 3, window: 10s}
        rollback_config: {delay: 6s, failure_action: continue, max_failure_ratio: 0.2, monitor: 20s, order: start-first, parallelism: 3}
        update_config: {delay: 5s, failure_action: pause, max_failure_ratio: 0.1, monitor: 30s, order: stop-first, parallelism: 2}
      develop: {watch: [{path: ., action: rebuild}]}
      device_cgroup_rules: ["c 1:3 mr"]
      devices: [{source: /dev/a, target: /dev/b, permissions: r}]
      dns: [1.1.1.1]
      dns_opt: [use-vc]
      dns_search: [example.org]
      domainname: example.org
      entrypoint: [e]
      env_file: [env]
      environment: {A: b}
      expose: ["9000"]
      extra_hosts: {h: 1.2.3.4}
      gpus: [{capabilities: [gpu, utility], driver: nvidia, count: 2, options: {k: v}}]
      group_add: ["44"]
      healthcheck: {test: [CMD, t], interval: 5s, timeout: 4s, retries: 2, start_period: 3s, start_interval: 1s}
      hostname: h
      init: true
      ipc: host
      isolation: default
      label_file: [env]
      labels: {l: m}
      links: ["b:c"]
      logging: {driver: json-file, options: {max-size: 1m}}
      mac_address: 02:42:ac:11:00:02
      mem_swappiness: 10
      memswap_limit: 128m
      networks:
        n:
          aliases: [z]
          driver_opts: {k: v}
          gw_priority: 2
          ipv4_address: 172.28.0.9
          ipv6_address: "2001:db8::9"
          link_local_ips: [169.254.1.1]
          priority: 10
        m: {priority: 5, mac_address: 02:42:ac:11:00:03}
      oom_kill_disable: true
      oom_score_adj: 5
      pid: host
      platform: linux/amd64
      ports: [{target: 80, published: "8080", host_ip: 127.0.0.1, protocol: udp, mode: host, name: n, app_protocol: http}]
      privileged: true
      pull_policy: always
      pull_refresh_after: 12h
      read_only: true
      runtime: runc
      secrets: [{source: s, target: t, uid: "1", gid: "2", mode: "0400"}]
      security_opt: ["label:disable"]
      shm_size: 64m
      stdin_open: true
      stop_grace_period: 20s
      stop_signal: SIGINT
      storage_opt: {size: 1G}
      sysctls: {net.core.somaxconn: "100"}
      tmpfs: [/run]
      tty: true
      ulimits: {nofile: {soft: 1, hard: 2}}
      user: "0"
      userns_mode: host
      uts: host
      volumes:
      - {type: bind, source: /a, target: /b, read_only: true, consistency: cached, bind: {propagation: rslave, selinux: z, create_host_path: true}}
      - {type: volume, source: v, target: /v, volume: {nocopy: true, subpath: s, labels: {k: v}}}
      - {type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 1777}}
      - {type: image, source: i, target: /i, image: {subpath: s}}
      volumes_from: [b]
      working_dir: /w
    b: {image: y, healthcheck: {test: [CMD, t]}}
  networks:
    n:
      name: nn
      driver: bridge
      driver_opts: {k: v}
      attachable: true
      enable_ipv4: true
      enable_ipv6: true
      internal: true
      labels: {k: v}
      ipam:
        driver: default
        options: {k: v}
        config: [{subnet: 172.28.0.0/16, gateway: 172.28.0.1, ip_range: 172.28.1.0/24, aux_addresses: {k: 172.28.0.5}}]
    m: {}
  volumes: {v: {name: vv, driver: local, driver_opts: {k: v}, labels: {k: v}}}
  configs: {c: {content: text, name: cc, labels: {k: v}}}
  secrets: {s: {environment: VARIABLE, name: ss, labels: {k: v}}}
- services: {a: {image: x, network_mode: host, mem_limit: 64m, mem_reservation: 32m, cpus: 0.5, pids_limit: 5, restart: always, scale: 2, profiles: [never]}, b: {image: x}}
- services: {a: {image: x, mem_limit: 64m, mem_reservation: 32m, cpus: 0.5, pids_limit: 5, restart: always, scale: 2, network_mode: host, healthcheck: {disable: true}}}
- services: {a: {image: x, deploy: {replicas: 2}, gpus: [{capabilities: [gpu], device_ids: ["0"]}]}}
- services: {a: {image: x, deploy: {resources: {reservations: {devices: [{capabilities: [gpu], device_ids: ["0"]}]}}}}}
- services: {a: {extends: {service: b, file: base.yaml}}, b: {image: x}}
- services: {a: {image: x, env_file: [{path: missing, required: false}, {path: env, format: raw}], configs: [c], secrets: [s]}}
  configs: {c: {file: env}}
  secrets: {s: {file: env}}
- services: {a: {image: x, configs: [c]}}
  configs: {c: {environment: VARIABLE}}
"#;
