//! Every committed trace is what its story tells: forging is repeatable, and what is committed is up to date.
//!
//! After a change of a story or of the forge, `FORGE_BLESS=1 cargo test --test forge_fixtures` writes all traces anew.

use std::fs;
use std::path::PathBuf;

use blockscope::scenario::{ForgeOptions, Making, Story, forge, forge_with_truth};

fn fixtures() -> Vec<(String, PathBuf, Story)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut found: Vec<_> = fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("story.toml").is_file())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(path.join("story.toml")).unwrap();
            let story = Story::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, path, story)
        })
        .collect();
    found.sort_by(|left, right| left.0.cmp(&right.0));
    found
}

#[test]
fn every_committed_trace_equals_a_fresh_forge_of_its_story() {
    let bless = std::env::var_os("FORGE_BLESS").is_some();
    let mut stale = Vec::new();
    for (name, path, story) in fixtures() {
        let pcap = forge(&story, &ForgeOptions::default()).unwrap();
        let trace = path.join("trace.pcap");
        if bless {
            fs::write(&trace, &pcap).unwrap();
        } else if fs::read(&trace).ok().as_ref() != Some(&pcap) {
            stale.push(name);
        }
    }
    assert!(stale.is_empty(), "not what their stories tell: {stale:?}");
}

#[test]
fn forging_twice_gives_the_same_bytes_and_another_seed_gives_others() {
    for (name, _, story) in fixtures() {
        let once = forge(&story, &ForgeOptions::default()).unwrap();
        assert!(
            once == forge(&story, &ForgeOptions::default()).unwrap(),
            "{name} differs from itself"
        );
        let other = ForgeOptions {
            seed: Some(0xD1FF),
            ..ForgeOptions::default()
        };
        assert!(once != forge(&story, &other).unwrap(), "{name} ignores its seed");
    }
}

#[test]
fn attacked_stories_hold_forged_or_dropped_frames_and_without_equipment_none() {
    for (name, _, story) in fixtures() {
        let truth = forge_with_truth(&story, &ForgeOptions::default()).unwrap().truth;
        let touched = truth
            .dropped
            .iter()
            .any(|dropped| matches!(dropped.cause, blockscope::scenario::DropCause::Equipment(_)));
        let attacked = !truth.forged().is_empty() || touched || !truth.held.is_empty();
        assert_eq!(attacked, !name.starts_with("benign-"), "{name}");
        let bare = ForgeOptions {
            without_equipment: true,
            ..ForgeOptions::default()
        };
        let truth = forge_with_truth(&story, &bare).unwrap().truth;
        assert!(
            truth.frames.iter().all(|frame| frame.making == Making::Genuine),
            "{name}"
        );
        assert!(!truth.frames.is_empty(), "{name} is empty without its equipment");
    }
}

#[test]
fn at_least_two_in_five_fixtures_are_innocent() {
    let fixtures = fixtures();
    let innocent = fixtures.iter().filter(|(name, ..)| name.starts_with("benign-")).count();
    assert!(
        fixtures.len() >= 28 && 5 * innocent >= 2 * fixtures.len(),
        "{innocent} of {}",
        fixtures.len()
    );
}
