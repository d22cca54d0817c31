//! What can be said of `docker-compose.yml` and `deploy/` without running them.

use std::collections::BTreeSet;
use std::fs;

use crate::cache::workspace;

/// The settings that the configuration knows, as `section.field`, read from its documentation,
/// which is made from it.
pub(crate) fn known_settings() -> BTreeSet<String> {
    let text = read("docs/configuration.md");
    let mut section = "";
    let mut known = BTreeSet::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("## ").or(line.strip_prefix("### ")) {
            section = name;
        }
        let field = line
            .strip_prefix("| `")
            .and_then(|row| row.split('`').next());
        if let Some(field) = field {
            known.insert(format!("{section}.{field}"));
        }
    }
    assert!(known.contains("storage.postgres.url"), "{known:?}");
    known
}

fn read(file: &str) -> String {
    fs::read_to_string(workspace().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The longest words of `text` that begin with `beginning`.
fn words<'a>(text: &'a str, beginning: &'a str) -> impl Iterator<Item = &'a str> {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    text.split(move |c| !is_inside(c))
        .filter(move |word| word.starts_with(beginning))
}

/// What follows `label` up to the end of each line that has it first.
fn values<'a>(text: &'a str, label: &'a str) -> Vec<&'a str> {
    text.lines()
        .filter_map(|line| line.trim_start().strip_prefix(label))
        .map(str::trim)
        .collect()
}

/// The programs that the image holds.
fn programs_of_image() -> BTreeSet<String> {
    let dockerfile = read("deploy/Dockerfile");
    dockerfile
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("target/release/"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_setting_of_the_compose_file_is_one_that_the_configuration_knows() {
    let compose = read("docker-compose.yml");
    let known = known_settings();
    let variables: BTreeSet<&str> = words(&compose, "DOWNLINK_").collect();
    assert!(variables.len() > 10, "{variables:?}");
    for variable in variables {
        let setting = variable["DOWNLINK_".len()..]
            .replace("__", ".")
            .to_lowercase();
        assert!(known.contains(&setting), "{variable} is no setting");
    }
}

#[test]
fn the_image_holds_every_program_of_the_services_and_builds_each() {
    let mut packages = BTreeSet::new();
    for entry in fs::read_dir(workspace().join("services")).unwrap() {
        let folder = entry.unwrap().path();
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let name = values(&manifest, "name = ")[0].trim_matches('"').to_owned();
        assert!(
            folder.join("src/main.rs").is_file(),
            "{name} has no program"
        );
        packages.insert(name);
    }
    assert_eq!(programs_of_image(), packages);

    let dockerfile = read("deploy/Dockerfile");
    let built: BTreeSet<String> = values(&dockerfile, "--package ")
        .iter()
        .filter_map(|rest| rest.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    assert_eq!(built, packages);
}

#[test]
fn the_compose_file_runs_only_programs_of_the_image() {
    let compose = read("docker-compose.yml");
    let programs = programs_of_image();
    let run: BTreeSet<&str> = ["command: [\"", "entrypoint: [\""]
        .iter()
        .flat_map(|label| values(&compose, label))
        .filter_map(|rest| rest.split('"').next())
        .filter(|program| program.starts_with("downlink"))
        .collect();
    assert_eq!(run.len(), programs.len(), "{run:?}");
    assert!(
        run.iter().all(|program| programs.contains(*program)),
        "{run:?}"
    );
}

#[test]
fn images_have_fixed_versions_and_the_compiler_is_the_pinned_one() {
    let (compose, dockerfile) = (read("docker-compose.yml"), read("deploy/Dockerfile"));
    let images = values(&compose, "image: ");
    assert!(images.len() >= 5, "{images:?}");
    let bases = values(&dockerfile, "FROM ");
    assert_eq!(bases.len(), 2, "{bases:?}");
    for image in images.iter().chain(&bases) {
        let tag = image.split_once(':').map(|(_, tag)| tag);
        assert!(tag.is_some_and(|tag| !tag.starts_with("latest")), "{image}");
    }
    let toolchain = read("rust-toolchain.toml");
    let channel = values(&toolchain, "channel = ")[0].trim_matches('"');
    assert!(
        bases[0].starts_with(&format!("rust:{channel}-")),
        "{bases:?}"
    );
}

#[test]
fn the_compose_file_and_the_local_stack_run_the_same_kafka() {
    let (compose, pom) = (read("docker-compose.yml"), read("deploy/kafka/pom.xml"));
    let version = pom
        .split("<artifactId>kafka_2.13</artifactId>")
        .nth(1)
        .and_then(|rest| rest.split("<version>").nth(1)?.split('<').next())
        .unwrap();
    let image = format!("apache/kafka:{version}");
    assert!(
        values(&compose, "image: ").contains(&image.as_str()),
        "{image}"
    );
}

#[test]
fn containers_are_given_longer_to_end_than_the_services_take() {
    let documentation = read("docs/configuration.md");
    let grace = documentation
        .lines()
        .find_map(|line| line.strip_prefix("| `grace` | `\"")?.split('s').next())
        .unwrap();
    let compose = read("docker-compose.yml");
    let given = values(&compose, "stop_grace_period: ")
        .into_iter()
        .find_map(|period| period.strip_suffix('s'))
        .unwrap();
    let seconds = |text: &str| text.parse::<u32>().unwrap();
    assert!(seconds(given) > seconds(grace), "{given} s, {grace} s");
}
