use super::load_with;
use crate::containers::compose::model::Variables;
use crate::containers::compose::service::{PullPolicy, Restart};
use crate::containers::compose::{Attachment, Condition, Project};

fn variables() -> Variables {
    Variables::of([("TAG", "v1"), ("PASSWORD", "hunter2"), ("PORT", "8080"), ("EMPTY", "")])
}

/// Reads a file `compose.yaml` in a folder `app`.
fn read(text: &str) -> Result<Project, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app/compose.yaml");
    std::fs::create_dir(folder.path().join("app")).expect("made");
    std::fs::write(&path, text).expect("written");
    let loaded = load_with(&path, None, variables());
    loaded.project.map_err(|error| error.to_string().replace(&format!("{}:", path.display()), ""))
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
    external_links: [x]
  job:
    build: .
volumes: {data: }
secretes: {}
";
    let found = problems(text);
    let lines = [
        "3:5: services.web.imag: unknown key; did you mean \"image\"?",
        "4:13: services.web.ports: expected a port such as 8080:80 or 127.0.0.1:8080:80/tcp, found \"80:http\"",
        "17:1: secretes: unknown key; did you mean \"secrets\"?",
    ];
    for line in lines {
        assert!(found.contains(line), "{line} is not in\n{found}");
    }
    let text = text.replace("    ports: ['80:http']\n", "").replace("{interval: soon}", "{interval: 10s}");
    assert_eq!(
        problems(&text),
        "\
2:3: services.web: the key \"image\" is missing; it takes an image's name
3:5: services.web.imag: unknown key; did you mean \"image\"?
4:18: services.web.depends_on: there is no service \"dbb\" under the top-level services; did you mean \"db\"?
8:5: services.db.restart: expected \"no\", always, unless-stopped, on-failure or on-failure:N, found \"sometimes\"
9:15: services.db.volumes: there is no volume \"dta\" under the top-level volumes; did you mean \"data\"?
10:16: services.db.networks: there is no network \"backend\" under the top-level networks
12:5: services.db.external_links: is superseded by networks; put both on an external network
14:5: services.job.build: is not done on hosts; use image
16:1: secretes: unknown key; did you mean \"secrets\"?"
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
    volumes: ['./d:/d:ro', 'vol:/v']
    depends_on: [db]
    labels: [l=1]
    extra_hosts: ['h=1.2.3.4']
    networks: [default]
    healthcheck: {test: 'true'}
    mem_limit: 64m
    cpus: 0.5
volumes: {vol: {}}
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
    volumes: [{type: volume, source: vol, target: /v}, {type: bind, source: d, target: /d, read_only: true}]
    depends_on: {db: {condition: service_started}}
    labels: {l: 1}
    extra_hosts: {h: 1.2.3.4}
    networks: {default: }
    healthcheck: {test: [CMD-SHELL, 'true']}
    deploy: {resources: {limits: {memory: 64M, cpus: '0.5'}}}
volumes: {vol: }
";
    let json = |text| {
        let project = project(text);
        let text = serde_json::to_string(&project.services["web"]).expect("serialises");
        let text = text.replace(&project.folder.display().to_string(), "FOLDER");
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")
    };
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
            "2:1: version: is obsolete and not used",
            "8:5: services.backend.build: is not done on hosts; the image is used as it is",
            "12:45: services.backend.volumes: the variable PWD is not set; empty text is used",
        ]
    );
}

#[test]
fn values_of_variables_show_in_no_problem_and_no_debug_output() {
    let text = "services: {a: {image: x, restart: '${PASSWORD}', stop_signal: a}}\n";
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
        problems("services:\n  a:\n    image: x:${VERSION:?set VERSION in .env}\n    user: a${\n"),
        "3:5: services.a.image: the variable VERSION is not set: set VERSION in .env\n\
         4:5: services.a.user: a \"$\" begins no variable such as $NAME, ${NAME} or ${NAME:-default}; write $$ for a dollar sign"
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
    assert!(
        problems(text)
            .contains("2:30: services.a.depends_on: depends on \"b\", which none of the active profiles names")
    );
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
    let shared = project("services: {a: {image: x, network_mode: 'service:b'}, b: {image: x}}");
    assert_eq!(shared.services["a"].attachment, Attachment::Service("b".into()));
    assert!(shared.services["a"].depends_on.contains_key("b"));
}

#[test]
fn damaged_documents_are_refused_or_taken_and_nothing_else() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/compose/documents.jsonl");
    let fixtures = std::fs::read_to_string(fixtures).expect("fixtures");
    let mut random = fastrand::Rng::with_seed(7);
    for line in fixtures.lines().step_by(3) {
        let case: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let text = case["files"]["compose.yaml"].as_str().expect("a document");
        let mut characters: Vec<char> = text.chars().collect();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..=characters.len());
            match random.u8(..3) {
                0 if at < characters.len() => drop(characters.remove(at)),
                1 => characters.insert(at, random.choice(*b"{}[]:,&*!|>'\"$-\n\t #x0").expect("some").into()),
                _ => characters.truncate(at.max(characters.len() / 2)),
            }
        }
        drop(read(&characters.into_iter().collect::<String>()));
    }
}

#[test]
fn an_empty_file_and_one_that_is_no_mapping_are_refused() {
    assert_eq!(problems(""), "1:1: the file is empty; the key \"services\" names what is to run");
    assert!(problems("- a\n").contains("expected a mapping with the key \"services\", found a list"));
    assert!(problems("services: [a]\n").contains("services: expected a mapping"));
    assert!(problems("services: {a: nginx}\n").contains("expected a mapping, found a string"));
    assert!(problems("a: [\n").contains("this is not YAML"));
}
