//! `blockscope forge`: what it writes, what it refuses, and how it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

const FIXTURE: &str = "rst-single-ttl-mimicry";

fn fixture(file: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    fixtures.join(FIXTURE).join(file)
}

fn forge(story: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("blockscope").unwrap();
    command.arg("forge").arg(story).args(arguments).output().unwrap()
}

#[track_caller]
fn forged(arguments: &[&str]) -> Vec<u8> {
    let output = forge(&fixture("story.toml"), arguments);
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{arguments:?}");
    output.stdout
}

#[track_caller]
fn refused(story: &Path, arguments: &[&str], status: i32) -> String {
    let output = forge(story, arguments);
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {err}");
    assert!(output.stdout.is_empty());
    err
}

#[test]
fn a_file_standard_output_and_a_story_from_a_pipe_give_the_committed_trace() {
    let trace = fs::read(fixture("trace.pcap")).unwrap();
    assert!(forged(&["-o", "-"]) == trace, "standard output");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace.pcap");
    assert!(forged(&["-o", path.to_str().unwrap()]).is_empty());
    assert!(fs::read(&path).unwrap() == trace, "a file");
    let mut command = Command::cargo_bin("blockscope").unwrap();
    let story = fs::read(fixture("story.toml")).unwrap();
    let output = command
        .args(["forge", "-", "-o", "-"])
        .write_stdin(story)
        .output()
        .unwrap();
    assert!(output.stdout == trace, "a story from a pipe");
}

#[test]
fn every_option_changes_the_capture() {
    let plain = forged(&["-o", "-"]);
    for option in [
        &["--without-equipment"][..],
        &["--seed", "99"],
        &["--shift", "86400.25"],
        &["--renumber"],
    ] {
        let other = forged(&[&["-o", "-"], option].concat());
        assert_eq!(other[..4], plain[..4], "{option:?} is no pcap");
        assert!(other != plain, "{option:?} changes nothing");
    }
    let seconds = |capture: &[u8]| u32::from_le_bytes(capture[24..28].try_into().unwrap());
    let shifted = forged(&["-o", "-", "--shift", "86400"]);
    assert_eq!(seconds(&shifted), seconds(&plain) + 86_400);
}

#[test]
fn the_truth_tells_of_every_frame_and_who_made_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("truth.jsonl");
    let pcap = forged(&["-o", "-", "--truth", path.to_str().unwrap()]);
    let lines = fs::read_to_string(&path).unwrap();
    let truth: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let frames: Vec<&Value> = truth.iter().filter(|line| line["what"] == "frame").collect();
    let (mut at, mut count) = (24, 0);
    while at < pcap.len() {
        at += 16 + u32::from_le_bytes(pcap[at + 8..at + 12].try_into().unwrap()) as usize;
        count += 1;
    }
    assert_eq!(frames.len(), count);
    for (index, frame) in frames.iter().enumerate() {
        assert_eq!(frame["frame"], index as u64 + 1);
    }
    let forged: Vec<_> = frames.iter().filter(|frame| frame["making"] == "forged").collect();
    assert!(!forged.is_empty() && forged.len() < count);
    for frame in forged {
        assert!(frame["trigger"].as_u64() < frame["frame"].as_u64(), "{frame}");
    }
}

#[test]
fn a_story_that_cannot_be_told_names_its_line_and_leaves_the_output_alone() {
    let directory = tempfile::tempdir().unwrap();
    let story = directory.path().join("story.toml");
    let trace = directory.path().join("trace.pcap");
    let good = fs::read_to_string(fixture("story.toml")).unwrap();
    fs::write(&story, format!("colour = \"red\"\n{good}")).unwrap();
    fs::write(&trace, "precious").unwrap();
    let err = refused(&story, &["-o", trace.to_str().unwrap()], 3);
    assert!(err.starts_with("blockscope: error: "), "{err}");
    assert!(err.contains("story.toml: line 1: ") && err.contains("colour"), "{err}");
    assert_eq!(fs::read_to_string(&trace).unwrap(), "precious");
    let err = refused(&directory.path().join("none.toml"), &["-o", "-"], 3);
    assert!(err.contains("none.toml: "), "{err}");
}

#[test]
fn arguments_that_make_no_sense_are_refused_with_status_2() {
    let story = fixture("story.toml");
    for arguments in [
        &[][..],
        &["-o", "-", "--shift", "-1"],
        &["-o", "-", "--shift", "soon"],
        &["-o", "-", "--seed", "x"],
        &["-o", "-", "--truth", "-"],
    ] {
        assert!(!refused(&story, arguments, 2).is_empty());
    }
}

#[test]
fn the_story_is_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let story = directory.path().join("story.toml");
    fs::copy(fixture("story.toml"), &story).unwrap();
    let name = story.to_str().unwrap();
    for arguments in [&["-o", name][..], &["-o", "/dev/null", "--truth", name]] {
        let err = refused(&story, arguments, 2);
        assert!(err.contains("is among the inputs"), "{err}");
    }
    assert!(fs::read(&story).unwrap() == fs::read(fixture("story.toml")).unwrap());
}

#[test]
fn an_output_that_cannot_be_written_is_status_3() {
    let err = refused(&fixture("story.toml"), &["-o", "/nonexistent/trace.pcap"], 3);
    assert!(err.contains("cannot write /nonexistent/trace.pcap: "), "{err}");
}

#[test]
fn help_shows_every_option_with_examples_and_statuses() {
    let mut command = Command::cargo_bin("blockscope").unwrap();
    let output = command.args(["forge", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for part in [
        "STORY.toml",
        "-o, --output",
        "--without-equipment",
        "--seed",
        "--shift",
        "--renumber",
        "--truth",
        "Examples:",
        "Exit status:",
    ] {
        assert!(help.contains(part), "{part}\n{help}");
    }
}
