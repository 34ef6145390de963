//! The image's files say what the rest of the repository says.

use std::fs;

use serde_yaml::Value;
use websocket_service::config::DrainConfig;

use crate::support::program::repository;

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn file(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What stands behind the first of these words, up to the end of its line.
fn behind<'a>(text: &'a str, word: &str) -> &'a str {
    let rest = text.split_once(word).unwrap_or_else(|| panic!("no {word}")).1;
    rest.lines().next().unwrap_or_default().trim_matches('"')
}

#[test]
fn every_program_is_in_the_image() {
    let (manifest, dockerfile) = (file("Cargo.toml"), file("Dockerfile"));
    let programs: Vec<&str> =
        manifest.split("[[bin]]\n").skip(1).map(|entry| behind(entry, "name = ")).collect();
    assert!(programs.len() >= 4, "{programs:?}");
    let stand_ins = behind(&dockerfile, "for program in ");
    for program in programs {
        assert!(stand_ins.contains(program), "no stand-in of {program} for the dependencies' layer");
        assert!(dockerfile.contains(&format!("/target/release/{program} ")), "{program} is not copied");
    }
}

#[test]
fn what_the_dockerfile_copies_is_all_that_it_is_given() {
    let dockerfile = file("Dockerfile");
    let mut copied: Vec<&str> = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY ").filter(|rest| !rest.starts_with("--from")))
        .flat_map(|words| words.split_whitespace().rev().skip(1))
        .collect();
    let ignore = file(".dockerignore");
    let mut given: Vec<&str> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    copied.sort_unstable();
    given.sort_unstable();
    assert_eq!(copied, given);
    assert!(ignore.lines().any(|line| line == "*"), "everything else stays outside");
}

#[test]
fn versions_agree() {
    let dockerfile = file("Dockerfile");
    assert_eq!(behind(&dockerfile, "ARG VERSION="), VERSION);
    let toolchain = file("rust-toolchain.toml");
    let compiler = behind(&toolchain, "channel = ").trim_end_matches(".0");
    assert!(behind(&dockerfile, "ARG RUST_IMAGE=rust:").starts_with(&format!("{compiler}-")), "{compiler}");
    let compose: Value = serde_yaml::from_str(&file("docker-compose.yml")).expect("YAML");
    assert_eq!(compose["services"]["service"]["image"], format!("websocket-service:{VERSION}"));
}

#[test]
fn compose_waits_for_a_drain_to_end() {
    let compose: Value = serde_yaml::from_str(&file("docker-compose.yml")).expect("YAML");
    let grace = compose["services"]["service"]["stop_grace_period"].as_str().expect("a duration");
    let grace: f64 = grace.trim_end_matches('s').parse().expect("seconds");
    let drain = DrainConfig::default();
    assert!(grace >= (drain.lame_duck + drain.spread + drain.linger).as_secs_f64() + 10.0, "{grace}");
}
