//! Wireshark as the oracle: frame numbers, times, lengths and link types as `tshark` reads them.
//!
//! Compares a sample of the captures at hand for a bounded time; `BLOCKSCOPE_ORACLE=all` compares every one. Without
//! `tshark`, or without captures, it says so and passes.

#![allow(clippy::disallowed_methods, reason = "the sample is bounded by the machine's time")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use blockscope::capture::capture_file::CaptureFile;
use blockscope::capture::source::{RecordBatch, Supply};

const SAMPLE_TIME: Duration = Duration::from_secs(10);

#[test]
fn frames_are_those_wireshark_shows() {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures");
    if Command::new("tshark").arg("--version").output().is_err() || !captures.is_dir() {
        eprintln!("skipped: needs tshark and {}", captures.display());
        return;
    }
    let everything = std::env::var_os("BLOCKSCOPE_ORACLE").is_some_and(|value| value == "all");
    let files = in_sample_order(&captures);
    let started = Instant::now();
    let mut compared = 0;
    let mut differences = Vec::new();
    for file in &files {
        if !everything && started.elapsed() > SAMPLE_TIME {
            break;
        }
        if let Some(difference) = compare(file) {
            differences.push(difference);
        }
        compared += 1;
    }
    eprintln!("compared {compared} of {} files", files.len());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// All files below `root`, in an order that takes from everywhere early and is always the same.
fn in_sample_order(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            match path.is_dir() {
                true => directories.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    let stride = 97;
    (0..stride)
        .flat_map(|first| found.iter().skip(first).step_by(stride).cloned())
        .collect()
}

/// Number, nanoseconds, captured length, length on the wire.
type Row = (u64, Option<u128>, u32, u32);

fn compare(file: &Path) -> Option<String> {
    let name = file.display();
    let (theirs, theirs_ended) = by_tshark(file);
    let Ok(mut ours) = CaptureFile::open(file, 0) else {
        return (!theirs.is_empty()).then(|| format!("{name}: refused, tshark reads {} frames", theirs.len()));
    };
    let mut rows: Vec<Row> = Vec::new();
    let mut batch = RecordBatch::default();
    while ours.supply(&mut batch, 1000) == Supply::Records {
        for record in &batch.records {
            rows.push((
                record.number.in_file(),
                Some(u128::from(record.at.as_nanos())),
                record.captured,
                record.wire_len,
            ));
        }
    }
    let damage = ours.damage();
    for (index, our) in rows.iter().enumerate() {
        // Frames that hold no packet have a number there and no record here.
        let Some(their) = theirs.iter().find(|their| their.0 == our.0) else {
            return Some(format!(
                "{name}: {} frames here, {} there ({theirs_ended:?}); here {damage:?}",
                rows.len(),
                theirs.len()
            ));
        };
        let same_time = their.1.is_none() || their.1 == our.1;
        if !same_time || their.2 != our.2 || their.3.max(their.2) != our.3 {
            return Some(format!("{name}: record {index} is {our:?} here, {their:?} there"));
        }
    }
    (rows.len() < theirs.len()).then(|| {
        format!(
            "{name}: {} frames here, {} there ({theirs_ended:?}); here {damage:?}",
            rows.len(),
            theirs.len()
        )
    })
}

fn by_tshark(file: &Path) -> (Vec<Row>, Option<String>) {
    let output = Command::new("tshark")
        .args([
            "-n",
            "-T",
            "fields",
            "--disable-all-protocols",
            "--enable-protocol",
            "frame",
        ])
        .args([
            "-e",
            "frame.number",
            "-e",
            "frame.time_epoch",
            "-e",
            "frame.cap_len",
            "-e",
            "frame.len",
        ])
        .arg("-r")
        .arg(file)
        .output()
        .expect("tshark was there a moment ago");
    let rows = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut fields = line.split('\t');
            let number = fields.next()?.parse().ok()?;
            let time = fields.next().and_then(nanos);
            Some((number, time, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
        .collect();
    let ended = String::from_utf8_lossy(&output.stderr)
        .lines()
        .find(|line| line.starts_with("tshark:"))
        .map(str::to_owned);
    (rows, ended)
}

/// `1700000000.000000001` in nanoseconds; nothing for what is not there.
fn nanos(epoch: &str) -> Option<u128> {
    let (seconds, fraction) = epoch.split_once('.')?;
    let seconds: u128 = seconds.parse().ok()?;
    let fraction: u128 = format!("{fraction:0<9}").parse().ok()?;
    Some(seconds * 1_000_000_000 + fraction)
}
