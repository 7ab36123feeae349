use super::{Around, parse};
use crate::containers::compose::service::{PullPolicy, Restart};
use crate::containers::compose::variables::Variables;
use crate::containers::compose::{Attachment, Condition, Project};
use std::path::Path;

fn variables() -> Variables {
    Variables::of([("TAG", "v1"), ("PASSWORD", "hunter2"), ("PORT", "8080"), ("EMPTY", "")])
}

fn read(text: &str) -> Result<Project, String> {
    let mut files = Vec::new();
    let around = Around { file: Path::new("/srv/app/compose.yaml"), project: None, variables: &variables() };
    parse(text, around, &mut files)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn project(text: &str) -> Project {
    read(text).unwrap_or_else(|problems| panic!("refused:\n{problems}"))
}

fn problems(text: &str) -> String {
    match read(text) {
        Ok(project) => panic!("taken: {project:?}"),
        Err(problems) => problems,
    }
}

#[test]
fn every_problem_of_a_file_comes_in_one_run_with_its_place() {
    let text = "\
services:
  web:
    imag: nginx
    ports: ['80:http']
    depends_on: [dbb]
  db:
    image: postgres
    build: .
    restart: sometimes
    volumes: [dta:/data, /nameless]
    networks: [backend]
    healthcheck: {interval: soon}
    devices: [/dev/kvm]
  job:
    build: .
volumes: {data: }
secretes: {}
";
    assert_eq!(
        problems(text),
        "\
3:5: services.web: the key \"image\" is missing; it takes an image's name
3:5: services.web.imag: unknown key; did you mean \"image\"?
4:13: services.web.ports: expected a port such as 8080:80, 127.0.0.1:8080:80 or 53:53/udp, found \"80:http\"
5:18: services.web.depends_on: there is no service \"dbb\"; did you mean \"db\"?
9:14: services.db.restart: expected \"no\", always, unless-stopped, on-failure or on-failure:N, found \"sometimes\"
10:15: services.db.volumes: there is no volume \"dta\" under the top-level volumes; did you mean \"data\"?
10:26: services.db.volumes: a volume without a name would be lost at the next update; name it under the top-level volumes
11:16: services.db.networks: there is no network \"backend\" under the top-level networks
12:29: services.db.healthcheck.interval: expected a duration such as 10s, 1m30s or 500ms, found \"soon\"
13:5: services.db.devices: is not supported yet; leave it out
15:12: services.job.build: is not done on hosts; use image
17:1: secretes: unknown key; did you mean \"secrets\"?"
    );
}

#[test]
fn both_forms_of_each_attribute_mean_the_same() {
    let short = "
name: app
services:
  db: {image: db}
  web:
    image: web:${TAG}
    command: httpd -f
    environment: [A=1, 'B=x=y', TAG, NOT_SET]
    ports: ['127.0.0.1:8080:80/udp']
    volumes: ['./d:/d:ro', 'v:/v']
    depends_on: [db]
    labels: [l=1]
    extra_hosts: ['h=1.2.3.4']
    networks: [default]
    healthcheck: {test: true}
    mem_limit: 64m
    cpus: 0.5
volumes: {v: {}}
";
    let long = "
name: app
services:
  db: {image: db}
  web:
    image: web:v1
    command: [httpd, -f]
    environment: {A: 1, B: x=y, TAG: , NOT_SET: }
    ports: [{target: 80, published: '${PORT}', host_ip: 127.0.0.1, protocol: udp}]
    volumes: [{type: volume, source: v, target: /v}, {type: bind, source: d, target: /d, read_only: true}]
    depends_on: {db: {condition: service_started}}
    labels: {l: 1}
    extra_hosts: {h: 1.2.3.4}
    networks: {default: }
    healthcheck: {test: [CMD-SHELL, 'true']}
    deploy: {resources: {limits: {memory: 64M, cpus: '0.5'}}}
volumes: {v: }
";
    let json = |text| serde_json::to_value(&project(text).services["web"]).expect("serialises");
    assert_eq!(json(short), json(long));
    assert_eq!(json(short)["environment"], serde_json::json!({"A": "1", "B": "x=y", "TAG": "v1"}));
}

#[test]
fn a_basegun_like_file_is_taken_with_notes() {
    let project = project(
        "
version: '3.8'
x-common: &common {restart: no, x-note: $nothing}
services:
  backend:
    <<: *common
    image: basegun-backend:${TAG}-prod
    build: {context: ./backend, args: {VERSION: 1}}
    container_name: basegun-backend
    environment: [PATH_LOGS=/app/logs, OS_USERNAME, 'WORKSPACE=${WORKSPACE:-prod}']
    ports: ['5000:5000']
    volumes: ['/var/log/basegun:/app/logs', '$PWD/x:/x:ro']
  frontend:
    image: basegun-frontend:${TAG}-prod
    ports: ['${PORT_PROD:-80}:8080']
    depends_on: {backend: {condition: service_healthy}}
    pull_policy: always
",
    );
    let backend = &project.services["backend"];
    assert_eq!(project.name, "app");
    assert_eq!(backend.image, "basegun-backend:v1-prod");
    assert_eq!(backend.restart, Some(Restart::No));
    assert_eq!(backend.environment["WORKSPACE"].expose(), "prod");
    assert!(!backend.environment.contains_key("OS_USERNAME"));
    let frontend = &project.services["frontend"];
    assert_eq!(frontend.ports[0].host.as_deref(), Some("80"));
    assert_eq!(frontend.pull_policy, PullPolicy::Always);
    assert_eq!(frontend.depends_on["backend"].condition, Condition::Healthy);
    assert_eq!(project.networks["default"].name, "app_default");
    let notes: Vec<String> = project.notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "2:10: version: is obsolete and not used",
            "8:12: services.backend.build: is not done on hosts; the image is used as it is",
            "12:45: services.backend.volumes: the variable PWD is not set; empty text is used",
        ]
    );
}

#[test]
fn values_of_variables_show_in_no_problem_and_no_debug_output() {
    let text = "services: {a: {image: x, ports: ['${PASSWORD}'], restart: '${PASSWORD}', cpus: $PASSWORD}}\n";
    let found = problems(text);
    assert!(!found.contains("hunter2"), "{found}");
    assert!(found.contains("found \"${PASSWORD}\""), "{found}");
    let taken = project("services: {a: {image: x, environment: {P: $PASSWORD}}}\n");
    assert!(!format!("{taken:?}").contains("hunter2"));
}

#[test]
fn empty_text_from_a_variable_is_text() {
    let taken = project("services: {a: {image: x, environment: {E: '${EMPTY}', F: $EMPTY, G: '0644'}}}\n");
    let environment = &taken.services["a"].environment;
    assert_eq!(environment["E"].expose(), "");
    assert_eq!(environment["F"].expose(), "");
    assert_eq!(environment["G"].expose(), "0644");
}

#[test]
fn a_required_variable_and_a_broken_one_are_told_with_their_places() {
    assert_eq!(
        problems("services:\n  a:\n    image: x:${VERSION:?set VERSION in .env}\n    user: a$\n"),
        "3:12: services.a.image: the variable VERSION is not set: set VERSION in .env\n\
         4:11: services.a.user: a \"$\" is followed by neither a name nor a brace; write $$ for a dollar sign"
    );
}

#[test]
fn dependencies_in_a_circle_are_refused() {
    let text = "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [a]}\n";
    assert_eq!(problems(text), "2:3: services: depend on each other in a circle: a → b → a");
}

#[test]
fn services_of_profiles_that_are_not_active_are_left_out() {
    let text = "services:\n  a: {image: x}\n  b: {image: x, profiles: [debug]}\n";
    assert_eq!(project(text).services.keys().collect::<Vec<_>>(), ["a"]);
    let text = "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, profiles: [debug]}\n";
    assert!(problems(text).contains("2:30: services.a.depends_on: depends on \"b\", whose profiles"));
    let text = "services:\n  a: {image: x, depends_on: {b: {condition: service_started, required: false}}}\n  b: {image: x, profiles: [debug]}\n";
    assert_eq!(project(text).services.len(), 1);
}

#[test]
fn networks_modes_and_endpoints_are_read() {
    let taken = project(
        "
services:
  a: {image: x, network_mode: host, ports: ['80:80']}
  b: {image: x, networks: {front: {aliases: [bee], ipv4_address: 172.30.0.9}, back: }}
networks:
  front: {driver: bridge, ipam: {config: [{subnet: 172.30.0.0/24}]}}
  back: {external: true}
  unused: {}
",
    );
    assert_eq!(taken.services["a"].attachment, Attachment::Mode("host".into()));
    assert!(taken.services["a"].ports.is_empty());
    assert_eq!(taken.networks.keys().collect::<Vec<_>>(), ["back", "front"]);
    assert_eq!((taken.networks["back"].name.as_str(), taken.networks["front"].name.as_str()), ("back", "app_front"));
    assert_eq!(taken.services["b"].attachment.networks().count(), 2);
    assert!(problems("services: {a: {image: x, network_mode: 'service:b'}}").contains("not supported yet"));
}

#[test]
fn an_empty_file_and_one_that_is_no_mapping_are_refused() {
    assert_eq!(problems(""), "1:1: the key \"services\" is missing; it names what is to run");
    assert!(problems("- a\n").contains("expected a mapping of keys, found a list"));
    assert!(problems("services: [a]\n").contains("services: expected a mapping of keys, found a list"));
    assert!(problems("services: {a: nginx}\n").contains("expected a mapping of keys, found a string"));
    assert!(problems("a: [\n").contains("this is not YAML"));
}
