//! What is found does not depend on how a capture is read: not on threads, nor on batches, nor on whether it is a file
//! or comes through a pipe in whatever pieces.

use std::io::{self, Cursor, Read, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::LazyLock;

use assert_cmd::Command;
use blockscope::capture::capture_set::DEFAULT_BATCH_LEN;
use blockscope::engine::shard::Ordinary;
use blockscope::fixture::difference::differences;
use blockscope::fixture::fixture::Fixture;
use blockscope::fixture::reading::{Manner, read_file, read_stream};
use blockscope::scenario::bulk::{BulkOptions, Mix, forge_bulk};

static FIXTURES: LazyLock<Vec<Fixture>> =
    LazyLock::new(|| Fixture::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")).unwrap());

fn manner(threads: usize, batch_len: usize) -> Manner {
    Manner {
        threads: NonZeroUsize::new(threads).unwrap(),
        batch_len,
        ..Manner::default()
    }
}

/// Adds to `wrong` how `other` differs from `usual`, if it does.
fn compare(usual: &str, other: &str, how: &str, wrong: &mut Vec<String>) {
    let differences = differences(usual, other);
    wrong.extend(differences.iter().map(|difference| format!("{how}: {difference}")));
}

#[test]
fn threads_and_batches_change_nothing() {
    let mut wrong = Vec::new();
    for fixture in FIXTURES.iter() {
        let path = fixture.trace_path();
        let usual = read_file(&path, Manner::default()).unwrap();
        for threads in [1, 2, 8] {
            for batch_len in [1, 7, DEFAULT_BATCH_LEN] {
                let other = read_file(&path, manner(threads, batch_len)).unwrap();
                let how = format!("{}: {threads} threads, batches of {batch_len}", fixture.name);
                compare(&usual, &other, &how, &mut wrong);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A flow may go on for long after its opening: ordinary packets are passed there, and no detector misses them.
#[test]
fn ordinary_packets_that_are_passed_hide_nothing() {
    let mut wrong = Vec::new();
    for fixture in FIXTURES.iter() {
        let path = fixture.trace_path();
        let usual = read_file(&path, Manner::default()).unwrap();
        let observed = Manner {
            ordinary: Ordinary::Observed,
            ..Manner::default()
        };
        compare(&usual, &read_file(&path, observed).unwrap(), &fixture.name, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A pipe that never brings more than a few bytes at once.
struct Dribble {
    capture: Cursor<Vec<u8>>,
    most: usize,
}

impl Read for Dribble {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(self.most);
        self.capture.read(&mut buffer[..len])
    }
}

#[test]
fn a_pipe_gives_what_the_mapped_file_gives() {
    let mut wrong = Vec::new();
    for fixture in FIXTURES.iter() {
        let path = fixture.trace_path();
        let mapped = read_file(&path, Manner::default()).unwrap();
        let capture = std::fs::read(&path).unwrap();
        for (most, manner) in [
            (usize::MAX, manner(1, DEFAULT_BATCH_LEN)),
            (13, manner(1, DEFAULT_BATCH_LEN)),
            (1500, manner(2, 3)),
        ] {
            let capture = Cursor::new(capture.clone());
            let piped = read_stream(Dribble { capture, most }, manner).unwrap();
            let how = format!("{}: {most} bytes at once, {manner:?}", fixture.name);
            compare(&mapped, &piped, &how, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The frames of a large capture that is mapped are judged shard by shard, many at once; those of a pipe as they come.
#[test]
fn a_large_capture_gives_the_same_however_its_frames_are_handed_over() {
    let options = BulkOptions {
        mix: Mix::Uplink,
        packets: 50_000,
        flows: 2_000,
        attacked: 0.05,
        seed: 7,
    };
    let mut capture = Vec::new();
    forge_bulk(&options, &mut capture).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&capture).unwrap();
    let usual = read_file(file.path(), Manner::default()).unwrap();
    assert!(
        usual.matches(r#""event_type":"block""#).count() > 50,
        "little to compare"
    );
    let mut wrong = Vec::new();
    for threads in [2, 8] {
        let other = read_file(file.path(), manner(threads, DEFAULT_BATCH_LEN)).unwrap();
        compare(&usual, &other, &format!("{threads} threads"), &mut wrong);
    }
    let piped = read_stream(Cursor::new(capture), Manner::default()).unwrap();
    compare(&usual, &piped, "a pipe", &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The same through the command itself, whose lines name the file as it was given.
#[test]
fn the_command_gives_the_same_from_a_file_and_from_a_pipe() {
    for name in ["gfw-rst-triple-stepped", "gfw-dns-triplet", "redirect-on-path-race"] {
        let fixture = FIXTURES.iter().find(|fixture| fixture.name == name).expect("a fixture");
        let usual = read_file(&fixture.trace_path(), Manner::default()).unwrap();
        assert!(usual.contains(r#""event_type":"block""#), "{name}: nothing to compare");
        let read = |arguments: &[&str], input: &[u8]| {
            let mut command = Command::cargo_bin("blockscope").unwrap();
            let command = command
                .current_dir(&fixture.directory)
                .args(["read", "--format", "eve"]);
            let output = command.args(arguments).write_stdin(input).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        for threads in ["1", "2"] {
            assert!(
                read(&["trace.pcap", "--threads", threads], b"") == usual,
                "{name}: {threads} threads"
            );
        }
        let piped = read(&["-"], &std::fs::read(fixture.trace_path()).unwrap());
        let named = piped.replace(r#""pcap_filename":"-""#, r#""pcap_filename":"trace.pcap""#);
        assert!(named == usual, "{name}: a pipe");
    }
}
