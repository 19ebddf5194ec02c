//! `blockscope read --state`: a reading that is cut off anywhere and taken up again tells what one that was never cut off
//! tells, and reads no capture twice.

use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Captures with findings of many kinds, some that need other flows, and some without.
const FIXTURES: [&str; 12] = [
    "benign-host-down",
    "gfw-rst-triple-stepped",
    "kz-livejournal-2008",
    "iran-dns",
    "packetlogic-307",
    "redirect-in-path",
    "benign-cdn-403",
    "syn-ack-hijack",
    "ru-twitter-2021-policing",
    "in-airtel-page",
    "pk-surf-safely",
    "throttling-shaped",
];

/// A directory with captures, and what was written beside them.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        fs::create_dir(desk.path("captures")).unwrap();
        // An hour apart: at one time they would be one capture of one network to whoever reads them in one go.
        for (index, name) in FIXTURES.iter().enumerate() {
            let story = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("fixtures")
                .join(name)
                .join("story.toml");
            let mut forge = Command::new(env!("CARGO_BIN_EXE_blockscope"));
            forge
                .arg("forge")
                .arg(story)
                .args(["--shift", &(index * 3600).to_string(), "-o"]);
            let status = forge
                .arg(desk.path(&format!("captures/{index:02}-{name}.pcap")))
                .status();
            assert!(status.unwrap().success());
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn captures(&self) -> Vec<PathBuf> {
        let mut captures: Vec<PathBuf> = fs::read_dir(self.path("captures"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        captures.sort();
        captures
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_blockscope"));
        command
            .current_dir(self.0.path())
            .args(["read", "--format", "eve", "--threads", "1"])
            .args(arguments);
        command.args(
            self.captures()
                .iter()
                .map(|path| path.strip_prefix(self.0.path()).unwrap()),
        );
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    #[track_caller]
    fn lines(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{err}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn findings(lines: &str) -> Vec<Value> {
    let records = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.filter(|record| record["event_type"] == "block").collect()
}

#[test]
fn cut_off_anywhere_it_tells_the_same_in_the_end() {
    let desk = Desk::new();
    let whole = desk.lines(&["--state", "state"]);
    assert!(findings(&whole).len() >= 20, "{}", findings(&whole).len());
    let state = fs::read(desk.path("state")).unwrap();
    // A process that is killed leaves a beginning of the file.
    for part in 0..=40 {
        let len = state.len() * part / 40;
        fs::write(desk.path("state"), &state[..len]).unwrap();
        assert!(
            desk.lines(&["--state", "state"]) == whole,
            "cut at {len} of {}",
            state.len()
        );
        assert!(
            fs::read(desk.path("state")).unwrap() == state,
            "cut at {len} of {}",
            state.len()
        );
    }
}

#[test]
fn killed_again_and_again_it_gets_there() {
    let desk = Desk::new();
    let whole = desk.lines(&["--state", "undisturbed"]);
    fs::write(desk.path("out"), "what was there before").unwrap();
    let mut sizes = Vec::new();
    for step in 1..=6_u64 {
        let mut child = desk
            .command(&["--state", "state", "-o", "out"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        kill_when_longer(&mut child, &desk.path("state"), step * 4000);
        sizes.push(fs::metadata(desk.path("state")).map_or(0, |found| found.len()));
        let out = fs::read_to_string(desk.path("out")).unwrap();
        assert!(out == "what was there before" || out == whole, "a part was seen");
    }
    assert!(sizes.is_sorted(), "{sizes:?}");
    assert_eq!(desk.lines(&["--state", "state", "-o", "out"]), "");
    assert!(fs::read_to_string(desk.path("out")).unwrap() == whole);
}

/// Kills the process once the file has so many bytes, unless it ends before.
fn kill_when_longer(child: &mut Child, state: &Path, len: u64) {
    while child.try_wait().unwrap().is_none() {
        if fs::metadata(state).is_ok_and(|found| found.len() > len) {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
    }
}

#[test]
fn what_is_done_is_not_read_again() {
    let desk = Desk::new();
    let whole = desk.lines(&["--state", "state"]);
    for path in desk.captures() {
        let found = fs::metadata(&path).unwrap();
        fs::write(&path, vec![0; found.len() as usize]).unwrap();
        let times = FileTimes::new().set_modified(found.modified().unwrap());
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_times(times)
            .unwrap();
    }
    assert!(desk.lines(&["--state", "state"]) == whole);
    assert!(!desk.run(&[]).status.success());
}

#[test]
fn captures_in_parts_give_the_findings_of_captures_in_one_go() {
    let desk = Desk::new();
    let (parts, one_go) = (desk.lines(&["--state", "state"]), desk.lines(&[]));
    let named = |lines: &str| -> Vec<String> {
        let named = findings(lines);
        let named = named.iter().map(|record| {
            format!(
                "{} {} {}",
                record["pcap_filename"], record["pcap_cnt"], record["block"]["kind"]
            )
        });
        named.collect()
    };
    assert_eq!(named(&parts), named(&one_go));
}

#[test]
fn captures_may_be_added_and_nothing_else_may_change() {
    let desk = Desk::new();
    desk.lines(&["--state", "state"]);
    let before = fs::read(desk.path("state")).unwrap();
    let refused = |arguments: &[&str], why: &str| {
        let output = desk.run(arguments);
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.contains(why), "{err}");
        assert!(fs::read(desk.path("state")).unwrap() == before, "{why}");
    };
    refused(&["--state", "state", "--flows", "100"], "other settings");
    let first = desk.captures()[0].clone();
    let renamed = desk.path("captures/00-another");
    fs::rename(&first, &renamed).unwrap();
    refused(&["--state", "state"], "is of other captures");
    fs::rename(&renamed, &first).unwrap();
    let last = desk.captures().pop().unwrap();
    let times = fs::metadata(&last).unwrap().modified().unwrap();
    File::options()
        .write(true)
        .open(&last)
        .unwrap()
        .set_times(FileTimes::new().set_modified(std::time::UNIX_EPOCH))
        .unwrap();
    refused(&["--state", "state"], "has changed since it was read");
    File::options()
        .write(true)
        .open(&last)
        .unwrap()
        .set_times(FileTimes::new().set_modified(times))
        .unwrap();

    fs::copy(&desk.captures()[1], desk.path("captures/99-added.pcap")).unwrap();
    let added = desk.lines(&["--state", "state"]);
    fs::remove_file(desk.path("state")).unwrap();
    assert!(added == desk.lines(&["--state", "state"]));
}

#[test]
fn what_cannot_be_read_is_told_every_time() {
    let desk = Desk::new();
    fs::write(desk.path("captures/05-broken.pcap"), "no capture").unwrap();
    for _ in 0..2 {
        let output = desk.run(&["--state", "state"]);
        assert_eq!(output.status.code(), Some(3));
        assert!(String::from_utf8(output.stderr).unwrap().contains("05-broken.pcap"));
        assert!(findings(&String::from_utf8(output.stdout).unwrap()).len() >= 20);
    }
}

#[test]
fn an_output_among_the_captures_is_not_read() {
    let desk = Desk::new();
    fs::write(desk.path("captures/.blockscope-left"), "").unwrap();
    let command = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_blockscope"));
        command
            .current_dir(desk.0.path())
            .args(["read", "captures", "--format", "eve"])
            .args(arguments);
        let output = command.output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success());
    };
    for arguments in [&["-o", "captures/out"][..], &["--state", "state", "-o", "captures/out"]] {
        command(arguments);
        let told = fs::read_to_string(desk.path("captures/out")).unwrap();
        let last: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
        assert_eq!(last["stats"]["files"].as_array().unwrap().len(), FIXTURES.len());
        fs::remove_file(desk.path("captures/out")).unwrap();
    }
}
