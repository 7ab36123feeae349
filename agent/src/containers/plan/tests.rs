use super::{Action, Plan, Preparation};
use crate::containers::compose::Project;
use crate::containers::fixture::{converged, memory, planned as plan, planned_with, project};
use crate::containers::observed::{Container, Found, Health, Observed, State};
use crate::containers::update::versions::Refused;
use std::collections::{BTreeMap, BTreeSet};

fn container<'o>(observed: &'o mut Observed, service: &str) -> &'o mut Container {
    observed.containers.iter_mut().find(|container| container.service == service).expect("present")
}

fn remove(observed: &mut Observed, service: &str) {
    observed.containers.retain(|container| container.service != service);
}

fn actions(plan: &Plan) -> Vec<(&str, &Action)> {
    plan.steps.iter().map(|step| (step.service.as_str(), &step.action)).collect()
}

fn create(name: &str) -> Action {
    Action::Create { name: name.into(), why: "there is none" }
}

const TWO: &str = "services:\n  db: {image: db}\n  web: {image: web, depends_on: [db]}\n";

#[test]
fn nothing_is_done_when_all_is_as_the_file_says() {
    let project = project(TWO);
    assert!(plan(&project, &converged(&project)).is_idle());
}

#[test]
fn the_first_round_prepares_and_pulls_and_dependents_wait() {
    let project = project(TWO);
    let mut observed = Observed::default();
    let first = plan(&project, &observed);
    assert_eq!(first.preparations, [Preparation::CreateNetwork("default".into())]);
    assert_eq!(first.pulls.keys().collect::<Vec<_>>(), ["db", "web"]);
    assert!(first.steps.is_empty());
    observed.images = BTreeMap::from([("db".into(), "1".into()), ("web".into(), "2".into())]);
    let second = plan(&project, &observed);
    assert_eq!(actions(&second), [("db", &create("app-db-1"))]);
    assert_eq!(second.waiting, BTreeMap::from([("web".into(), "until db is started".into())]));
}

#[test]
fn a_changed_service_is_replaced_and_no_other() {
    let before = project(TWO);
    let after = project(&TWO.replace("image: db}", "image: db, init: true}"));
    let plan = plan(&after, &converged(&before));
    assert_eq!(actions(&plan), [("db", &Action::Stop { id: "id-db".into(), why: "it must not run twice" })]);
}

#[test]
fn what_bears_on_no_container_changes_none() {
    let before = project(TWO);
    let after = project("x-a: 1\nservices:\n  web: {image: web, pull_policy: never}\n  db: {image: db}\n");
    assert!(plan(&after, &converged(&before)).is_idle());
}

#[test]
fn a_service_that_is_no_longer_named_is_removed() {
    let project = project("services: {web: {image: web}}\n");
    let mut observed = converged(&project);
    let mut orphan = observed.containers[0].clone();
    (orphan.id, orphan.name, orphan.service) = ("id-old".into(), "app-old-1".into(), "old".into());
    observed.containers.push(orphan);
    let plan = plan(&project, &observed);
    let why = "its service is no longer in the file";
    assert_eq!(
        plan.preparations,
        [Preparation::RemoveContainer { id: "id-old".into(), name: "app-old-1".into(), why }]
    );
    assert!(plan.steps.is_empty());
}

#[test]
fn of_two_containers_of_a_service_the_running_one_stays() {
    let project = project("services: {web: {image: web}}\n");
    let mut observed = converged(&project);
    let mut double = observed.containers[0].clone();
    (double.id, double.state) = ("id-double".into(), State::Created);
    observed.containers.insert(0, double);
    let plan = plan(&project, &observed);
    assert!(matches!(&plan.preparations[..], [Preparation::RemoveContainer { id, .. }] if id == "id-double"));
    assert!(plan.steps.is_empty());
}

#[test]
fn what_was_killed_or_removed_by_hand_is_repaired() {
    let project = project(TWO);
    let mut observed = converged(&project);
    container(&mut observed, "web").state = State::Exited;
    assert_eq!(actions(&plan(&project, &observed)), [("web", &Action::Start { id: "id-web".into() })]);
    remove(&mut observed, "web");
    assert_eq!(actions(&plan(&project, &observed)), [("web", &create("app-web-1"))]);
}

#[test]
fn a_service_may_end_where_its_restart_policy_says_so() {
    for (restart, exit_code, restarts, starts) in [
        ("'no'", 1, 0, false),
        ("on-failure", 0, 0, false),
        ("on-failure", 1, 0, true),
        ("on-failure:3", 1, 3, false),
        ("always", 0, 0, true),
        ("unless-stopped", 137, 0, true),
    ] {
        let project = project(&format!("services: {{web: {{image: web, restart: {restart}}}}}\n"));
        let mut observed = converged(&project);
        let web = container(&mut observed, "web");
        (web.state, web.exit_code, web.restarts) = (State::Exited, exit_code, restarts);
        assert_eq!(!plan(&project, &observed).is_idle(), starts, "{restart} {exit_code}");
    }
}

#[test]
fn a_dependent_waits_until_the_other_is_healthy() {
    let project =
        project("services:\n  db: {image: db}\n  web: {image: web, depends_on: {db: {condition: service_healthy}}}\n");
    let mut observed = converged(&project);
    remove(&mut observed, "web");
    container(&mut observed, "db").health = Health::Starting;
    assert_eq!(plan(&project, &observed).waiting["web"], "until db is healthy");
    container(&mut observed, "db").health = Health::Healthy;
    assert_eq!(actions(&plan(&project, &observed)), [("web", &create("app-web-1"))]);
    container(&mut observed, "db").health = Health::None;
    assert!(plan(&project, &observed).blocked["web"].contains("db has no healthcheck"));
}

#[test]
fn a_job_runs_once_and_its_dependents_wait_for_its_end() {
    let project = project(
        "services:\n  job: {image: job}\n  web: {image: web, depends_on: {job: {condition: service_completed_successfully}}}\n",
    );
    let mut observed = converged(&project);
    remove(&mut observed, "web");
    assert_eq!(plan(&project, &observed).waiting["web"], "until job has ended well");
    container(&mut observed, "job").state = State::Exited;
    assert_eq!(actions(&plan(&project, &observed)), [("web", &create("app-web-1"))]);
    container(&mut observed, "job").exit_code = 1;
    assert_eq!(actions(&plan(&project, &observed)), [("job", &Action::Start { id: "id-job".into() })]);
}

#[test]
fn a_name_that_stands_for_another_image_counts_unless_nothing_is_to_be_pulled() {
    for (policy, replaced) in [("always", true), ("missing", true), ("every_12h", true), ("never", false)] {
        let project = project(&format!("services: {{web: {{image: web, pull_policy: {policy}}}}}\n"));
        let mut observed = converged(&project);
        observed.images.insert("web".into(), "sha256:newer".into());
        assert_eq!(!plan(&project, &observed).steps.is_empty(), replaced, "{policy}");
    }
}

#[test]
fn a_name_that_is_due_is_resolved_before_its_container_is_made() {
    let project = project("services: {web: {image: web}}\n");
    let mut observed = converged(&project);
    remove(&mut observed, "web");
    let due = BTreeSet::from(["web".to_owned()]);
    let plan = planned_with(&project, &observed, (&BTreeSet::new(), &due, &memory()));
    assert!(plan.steps.is_empty());
    assert_eq!(plan.pulls["web"], ["web"]);
}

#[test]
fn an_image_is_pulled_before_the_old_container_is_touched() {
    let before = project("services: {web: {image: 'web:1'}}\n");
    let after = project("services: {web: {image: 'web:2'}}\n");
    let plan_now = plan(&after, &converged(&before));
    assert_eq!(plan_now.pulls, BTreeMap::from([("web:2".to_owned(), vec!["web".to_owned()])]));
    assert!(plan_now.steps.is_empty() && plan_now.preparations.is_empty());
    let never = project("services: {web: {image: 'web:2', pull_policy: never}}\n");
    assert!(plan(&never, &converged(&before)).blocked["web"].contains("is not here and pull_policy is never"));
}

#[test]
fn a_name_that_is_due_does_not_stop_a_start() {
    let project = project("services: {web: {image: web, pull_policy: always}}\n");
    let mut observed = converged(&project);
    container(&mut observed, "web").state = State::Exited;
    let due = BTreeSet::from(["web".to_owned()]);
    let plan = planned_with(&project, &observed, (&BTreeSet::new(), &due, &memory()));
    assert_eq!((plan.pulls.len(), plan.steps.len()), (1, 1));
}

#[test]
fn what_was_just_tried_is_held() {
    let project = project(TWO);
    let mut observed = converged(&project);
    remove(&mut observed, "db");
    let held = BTreeSet::from(["db".to_owned()]);
    let plan = planned_with(&project, &observed, (&held, &BTreeSet::new(), &memory()));
    assert!(plan.is_idle() && plan.is_pending("db") && !plan.is_pending("web"));
}

#[test]
fn a_container_off_its_network_is_replaced() {
    let project = project("services: {web: {image: web}}\n");
    let mut observed = converged(&project);
    container(&mut observed, "web").networks.insert("app_default".into(), "gone".into());
    assert!(matches!(actions(&plan(&project, &observed))[..], [("web", Action::Stop { .. })]));
    container(&mut observed, "web").networks.clear();
    assert!(matches!(actions(&plan(&project, &observed))[..], [("web", Action::Stop { .. })]));
}

#[test]
fn a_changed_network_is_emptied_and_removed_first() {
    let before = project("services: {web: {image: web}}\n");
    let after = project("services: {web: {image: web}}\nnetworks: {default: {internal: true}}\n");
    let plan = plan(&after, &converged(&before));
    assert!(matches!(
        &plan.preparations[..],
        [Preparation::RemoveContainer { .. }, Preparation::RemoveNetwork { name }] if name == "app_default"
    ));
}

#[test]
fn networks_of_others_are_left_alone() {
    let project = project("services: {web: {image: web}}\nnetworks: {default: {name: shared}}\n");
    let mut observed = converged(&project);
    observed.networks.insert("shared".into(), Found { id: "n0".into(), project: None, hash: None });
    let plan = plan(&project, &observed);
    assert!(plan.preparations.is_empty());
    assert!(plan.blocked["web"].contains("external: true"), "{plan:?}");
}

#[test]
fn a_volume_with_other_settings_is_kept_and_told() {
    let project = project("services: {web: {image: web, volumes: ['data:/data']}}\nvolumes: {data: {labels: [a=1]}}\n");
    let mut observed = converged(&project);
    assert_eq!(plan(&project, &observed).preparations, [Preparation::CreateVolume("data".into())]);
    let found = Found { id: "app_data".into(), project: Some("app".into()), hash: Some("other".into()) };
    observed.volumes.insert("app_data".into(), found);
    let plan = plan(&project, &observed);
    assert!(plan.is_idle() && plan.drift[0].contains("is kept for its data"));
}

const WEB: &str =
    "services: {web: {image: web, ports: ['80:80'], healthcheck: {test: 'true'}, environment: {V: '1'}}}\n";

/// An update of `WEB` under way: the old container runs, and the new one is as `change` says.
fn update(change: impl FnOnce(&mut Container)) -> (Project, Observed) {
    let (before, after) = (project(WEB), project(&WEB.replace("'1'", "'2'")));
    let (mut observed, mut new) = (converged(&before), converged(&after).containers.remove(0));
    (new.id, new.name) = ("id-new".into(), "app-web-1.new".into());
    container(&mut observed, "web").health = Health::Healthy;
    change(&mut new);
    observed.containers.push(new);
    (after, observed)
}

#[test]
fn a_new_container_is_made_beside_the_old_one_where_the_ports_are_held() {
    let (after, mut observed) = update(|_| {});
    observed.containers.pop();
    let why = "it changed";
    assert_eq!(actions(&plan(&after, &observed)), [("web", &Action::Create { name: "app-web-1.new".into(), why })]);
    // The ports of an older container that the engine publishes are needed first.
    container(&mut observed, "web").has_host_ports = true;
    assert!(matches!(actions(&plan(&after, &observed))[..], [("web", Action::Stop { .. })]));
}

#[test]
fn the_old_one_goes_when_the_new_one_is_healthy_and_not_before() {
    let (after, observed) = update(|new| new.health = Health::Starting);
    let waits = plan(&after, &observed);
    assert!(waits.is_idle() && waits.exchanges.contains_key("web"), "{waits:?}");
    let (after, observed) = update(|new| new.health = Health::Healthy);
    assert_eq!(actions(&plan(&after, &observed)), [("web", &Action::Remove { id: "id-web".into() })]);
    let (after, mut observed) = update(|new| new.health = Health::Healthy);
    observed.containers.remove(0);
    let name = "app-web-1".to_owned();
    let tidy = plan(&after, &observed);
    assert_eq!(actions(&tidy), [("web", &Action::Rename { id: "id-new".into(), name })]);
    // The file may change before that is done: what has shown that it is good is noted at once.
    assert!(tidy.proven.contains("web") && !tidy.good.contains("web"));
}

#[test]
fn a_new_one_whose_health_the_engine_has_forgotten_is_started_again() {
    let seconds = |seconds| Some(jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds));
    let looked = |by| update(|new| (new.health, new.looked_by) = (Health::Starting, by));
    let (after, observed) = looked(seconds(60));
    assert!(plan(&after, &observed).is_idle());
    let (after, observed) = looked(seconds(-1));
    let plan = plan(&after, &observed);
    assert!(matches!(actions(&plan)[..], [("web", Action::Restart { id, .. })] if id == "id-new"), "{plan:?}");
}

#[test]
fn a_bad_one_is_given_up_and_its_version_left_alone_until_something_changes() {
    let (after, mut observed) = update(|new| new.health = Health::Unhealthy);
    let given_up = plan(&after, &observed);
    assert!(matches!(actions(&given_up)[..], [("web", Action::GiveUp { id, .. })] if id == "id-new"), "{given_up:?}");
    let new = observed.containers.pop().expect("the new one");
    let mut memory = memory();
    let refused = Refused {
        hash: new.hash,
        image_id: new.image_id,
        why: "bad".into(),
        is_paused: false,
        last_lines: Vec::new(),
        at: jiff::Timestamp::now(),
    };
    memory.versions.refuse("web", refused);
    let nothing = BTreeSet::new();
    let settled = |project: &Project, observed: &Observed| {
        planned_with(project, observed, (&nothing, &nothing, &memory)).is_idle()
    };
    assert!(settled(&after, &observed), "the old one goes on");
    assert!(!settled(&project(&WEB.replace("'1'", "'3'")), &observed), "the file changed");
    observed.images.insert("web".into(), "sha256:newer".into());
    assert!(!settled(&after, &observed), "the image changed");
}

#[test]
fn one_that_was_to_get_its_name_gets_it_before_the_next_is_made() {
    let (_, mut observed) = update(|new| new.health = Health::Healthy);
    observed.containers.remove(0);
    let next = project(&WEB.replace("'1'", "'3'"));
    let name = "app-web-1".to_owned();
    assert_eq!(actions(&plan(&next, &observed)), [("web", &Action::Rename { id: "id-new".into(), name })]);
}

/// Four containers of a service, all made from an earlier file, and what the plan begins with.
fn begun(update: &str, change: impl FnOnce(&mut Vec<Container>)) -> (Vec<u32>, Plan) {
    let text = |user: &str| {
        format!(
            "services: {{web: {{image: web, user: {user}, deploy: {{replicas: 4, update_config: {{{update}}}}}}}}}\n"
        )
    };
    let (before, after) = (project(&text("a")), project(&text("b")));
    let mut observed = converged(&before);
    let first = observed.containers.remove(0);
    for number in 1..=4 {
        let (id, name) = (format!("id-{number}"), format!("app-web-{number}"));
        observed.containers.push(Container { id, name, number, ..first.clone() });
    }
    let new = converged(&after).containers.remove(0);
    observed.containers[0].hash = new.hash;
    change(&mut observed.containers);
    let plan = plan(&after, &observed);
    (plan.steps.iter().map(|step| step.number).collect(), plan)
}

#[test]
fn as_many_are_exchanged_at_once_as_the_file_says() {
    assert_eq!(begun("order: start-first", |_| {}).0, [2]);
    assert_eq!(begun("parallelism: 2", |_| {}).0, [2, 3]);
    assert_eq!(begun("parallelism: 0", |_| {}).0, [2, 3, 4]);
}

#[test]
fn what_becomes_of_the_others_is_as_failure_action_says() {
    let bad = |containers: &mut Vec<Container>| {
        let new = containers[0].clone();
        let name = "app-web-2.new".to_owned();
        containers.push(Container { id: "bad".into(), name, number: 2, health: Health::Unhealthy, ..new });
    };
    let action = |update: &str| begun(&format!("order: start-first, {update}"), bad).1.steps.remove(0).action;
    assert!(matches!(action("parallelism: 1"), Action::GiveUp { id, .. } if id == "bad"));
    assert!(matches!(action("failure_action: pause"), Action::GiveUp { id, .. } if id == "bad"));
    assert_eq!(action("failure_action: continue"), Action::Remove { id: "id-2".into() });
    assert!(matches!(action("max_failure_ratio: 0.24"), Action::GiveUp { .. }), "that is none of four");
    assert_eq!(action("max_failure_ratio: 0.25"), Action::Remove { id: "id-2".into() });
    let two = |containers: &mut Vec<Container>| {
        bad(containers);
        containers[0].health = Health::Unhealthy;
    };
    let plan = begun("order: start-first, max_failure_ratio: 0.25", two).1;
    assert!(plan.steps.iter().any(|step| matches!(step.action, Action::GiveUp { .. })), "the first one counts too");
}

#[test]
fn one_that_is_paused_on_trial_goes_on_at_once_and_others_when_it_takes_too_long() {
    let (after, observed) = update(|new| new.state = State::Paused);
    assert_eq!(actions(&plan(&after, &observed)), [("web", &Action::Resume { id: "id-new".into() })]);
    let project = project(TWO);
    let mut observed = converged(&project);
    container(&mut observed, "web").state = State::Paused;
    assert!(plan(&project, &observed).is_idle(), "somebody may save its files");
    let (long, next) = memory().long_paused(&observed);
    assert!(long.is_empty() && next.is_some());
}

#[test]
fn a_paused_update_leaves_what_is_new_and_what_is_old_and_makes_what_is_missing_from_the_good_one() {
    let text = |user: &str| format!("services: {{web: {{image: web, user: {user}, deploy: {{replicas: 2}}}}}}\n");
    let (before, after) = (project(&text("a")), project(&text("b")));
    let mut observed = converged(&before);
    let (old, new) = (observed.containers.remove(0), converged(&after).containers.remove(0));
    let mut memory = memory();
    let (hash, image_id) = (new.hash.clone(), new.image_id.clone());
    let (why, last_lines, at) = ("it is unhealthy".into(), Vec::new(), jiff::Timestamp::now());
    memory.versions.refuse("web", Refused { hash, image_id, why, is_paused: true, last_lines, at });
    let place = |number: u32, container: &Container, suffix: &str| {
        let (id, name) = (format!("id-{number}{suffix}"), format!("app-web-{number}{suffix}"));
        Container { id, name, number, ..container.clone() }
    };
    observed.containers = vec![place(1, &new, ""), place(2, &old, "")];
    let nothing = BTreeSet::new();
    assert!(planned_with(&after, &observed, (&nothing, &nothing, &memory)).is_idle());
    // One that was on trial when it was paused goes.
    observed.containers.push(place(2, &new, ".new"));
    let plan = planned_with(&after, &observed, (&nothing, &nothing, &memory));
    let gone = |one: &Preparation| matches!(one, Preparation::RemoveContainer { id, .. } if id == "id-2.new");
    assert!(plan.steps.is_empty() && plan.preparations.len() == 1 && gone(&plan.preparations[0]), "{plan:?}");
}

#[test]
fn the_next_one_follows_after_its_delay() {
    let started = |seconds: i64| {
        move |all: &mut Vec<Container>| {
            all[0].started = Some(jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds));
        }
    };
    let (steps, plan) = begun("delay: 1m", started(50));
    assert!(steps.is_empty());
    assert_eq!(plan.exchanges["web"], "the next container follows after its delay");
    assert!(plan.next_look.is_some_and(|wait| wait.as_secs() <= 10), "{:?}", plan.next_look);
    assert_eq!(begun("delay: 1m", started(70)).0, [2]);
}

#[test]
fn a_network_that_is_told_by_its_name_is_the_same_one() {
    let project = project("services: {web: {image: web}}\n");
    let mut observed = converged(&project);
    container(&mut observed, "web").networks.insert("app_default".into(), "app_default".into());
    assert!(plan(&project, &observed).is_idle());
    container(&mut observed, "web").networks.insert("app_default".into(), "another".into());
    assert!(!plan(&project, &observed).is_idle());
}
