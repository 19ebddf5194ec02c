//! Wireshark as the oracle: frame numbers, times, lengths and link types as `tshark` reads them, and what is in the
//! headers of TCP and UDP.
//!
//! Compares a sample of the captures at hand for a bounded time; `BLOCKSCOPE_ORACLE=PART` compares every one whose path
//! has that part (`/` for all). Without
//! `tshark`, or without captures, it says so and passes.

#![allow(clippy::disallowed_methods, reason = "the sample is bounded by the machine's time")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use blockscope::capture::capture_file::CaptureFile;
use blockscope::capture::error::CaptureError;
use blockscope::capture::source::{Damage, Record, RecordBatch, Supply};
use blockscope::packet::dissect::dissect;
use blockscope::packet::packet::Transport;

const SAMPLE_TIME: Duration = Duration::from_secs(10);

#[test]
fn frames_are_those_wireshark_shows() {
    let captures = captures();
    if Command::new("tshark").arg("--version").output().is_err() || !captures.is_dir() {
        eprintln!("skipped: needs tshark and {}", captures.display());
        return;
    }
    let wanted = std::env::var("BLOCKSCOPE_ORACLE").ok();
    let mut files = in_sample_order(&captures);
    files.retain(|file| wanted.as_ref().is_none_or(|part| file.to_string_lossy().contains(part)));
    let started = Instant::now();
    let mut compared = 0;
    let mut differences = Vec::new();
    for file in &files {
        if wanted.is_none() && started.elapsed() > SAMPLE_TIME {
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

#[test]
fn headers_are_those_wireshark_shows() {
    if Command::new("tshark").arg("--version").output().is_err() {
        eprintln!("skipped: needs tshark");
        return;
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut files = in_sample_order(&fixtures);
    files.retain(|file| file.extension().is_some_and(|extension| extension == "pcap"));
    if captures().is_dir() {
        // One of each by turns, so that both are sampled.
        let shared = in_sample_order(&captures());
        let mut both: Vec<PathBuf> = Vec::new();
        let longest = files.len().max(shared.len());
        for index in 0..longest {
            both.extend([&files, &shared].iter().filter_map(|list| list.get(index)).cloned());
        }
        files = both;
    }
    let wanted = std::env::var("BLOCKSCOPE_ORACLE").ok();
    files.retain(|file| wanted.as_ref().is_none_or(|part| file.to_string_lossy().contains(part)));
    let started = Instant::now();
    let (mut compared, mut packets) = (0, 0);
    let mut differences = Vec::new();
    for file in &files {
        if wanted.is_none() && started.elapsed() > SAMPLE_TIME {
            break;
        }
        let (seen, differs) = compare_headers(file);
        packets += seen;
        differences.extend(differs);
        compared += 1;
    }
    eprintln!(
        "compared the headers of {packets} packets in {compared} of {} files",
        files.len()
    );
    assert!(packets > 0 || wanted.is_some());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// What of the headers is compared, as Wireshark names it. Of layers within layers the outermost counts.
const HEADERS: [&str; 17] = [
    "frame.number",
    "ip.src",
    "ip.dst",
    "ip.ttl",
    "ip.id",
    "ip.flags.df",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.hlim",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.seq_raw",
    "tcp.ack_raw",
    "tcp.flags",
    "tcp.window_size_value",
    "udp.srcport",
    "udp.dstport",
];

/// How many packets were compared, and the first difference, if there is one. Packets that either side does not dissect to
/// TCP or UDP are not compared: Wireshark goes on into tunnels, and leaves what was cut.
fn compare_headers(file: &Path) -> (usize, Option<String>) {
    let Ok(mut ours) = CaptureFile::open(file, 0) else {
        return (0, None);
    };
    let mut command = Command::new("tshark");
    command.args([
        "-n",
        "-T",
        "fields",
        "-E",
        "occurrence=f",
        "-o",
        "ip.defragment:FALSE",
        "-o",
        "ipv6.defragment:FALSE",
    ]);
    HEADERS.iter().for_each(|field| _ = command.args(["-e", field]));
    let output = command
        .arg("-r")
        .arg(file)
        .output()
        .expect("tshark was there a moment ago");
    let text = String::from_utf8_lossy(&output.stdout);
    let theirs: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut packets = 0;
    let mut batch = RecordBatch::default();
    while ours.supply(&mut batch, 1000) == Supply::Records {
        for record in &batch.records {
            let Ok(packet) = dissect(batch.frame(record)) else {
                continue;
            };
            let Some(row) = theirs
                .get(record.number.in_file() as usize - 1)
                .filter(|row| row.len() == HEADERS.len())
            else {
                continue;
            };
            let (is_v4, their_ports) = (
                packet.from.ip.is_ipv4(),
                if row[9].is_empty() { &row[15..17] } else { &row[9..11] },
            );
            let marks = packet.marks;
            let hex = |value: u32, digits: usize| format!("0x{value:0digits$x}");
            let mut expected: Vec<(String, &str)> = vec![
                (packet.from.port.to_string(), their_ports[0]),
                (packet.to.port.to_string(), their_ports[1]),
            ];
            let is_tcp = match packet.transport {
                Transport::Tcp(segment) => {
                    expected.extend([
                        (segment.seq.0.to_string(), row[11]),
                        (segment.ack.0.to_string(), row[12]),
                        (hex(segment.flags.0.into(), 4), row[13]),
                        (segment.window.to_string(), row[14]),
                    ]);
                    true
                }
                Transport::Udp(_) => false,
                Transport::IcmpError(_) | Transport::Other(_) => continue,
            };
            // What Wireshark takes for something else, within or instead.
            let both_see_it = if is_tcp {
                !row[9].is_empty() && !row[14].is_empty()
            } else {
                row[9].is_empty() && !row[15].is_empty()
            };
            let one_ip = if is_v4 { row[6].is_empty() } else { row[1].is_empty() };
            if !both_see_it || !one_ip {
                continue;
            }
            // Versions before 4 write it as a number.
            let is_set = ["1", "True"].contains(&row[5]);
            expected.extend(match is_v4 {
                true => vec![
                    (packet.from.ip.to_string(), row[1]),
                    (packet.to.ip.to_string(), row[2]),
                    (marks.ttl.to_string(), row[3]),
                    (hex(marks.ip_id.unwrap_or_default().into(), 4), row[4]),
                    (marks.dont_fragment.to_string(), if is_set { "true" } else { "false" }),
                ],
                false => vec![
                    (packet.from.ip.to_string(), row[6]),
                    (packet.to.ip.to_string(), row[7]),
                    (marks.ttl.to_string(), row[8]),
                ],
            });
            packets += 1;
            if let Some((our, their)) = expected.iter().find(|(our, their)| our != their) {
                let number = record.number.in_file();
                return (
                    packets,
                    Some(format!("{} frame {number}: {our} here, {their} there", file.display())),
                );
            }
        }
    }
    (packets, None)
}

#[test]
fn every_capture_at_hand_reads_the_same_mapped_and_as_a_stream() {
    let captures = captures();
    if !captures.is_dir() {
        eprintln!("skipped: needs {}", captures.display());
        return;
    }
    for path in in_sample_order(&captures) {
        let mapped = CaptureFile::open(&path, 0);
        let opened = fs::File::open(&path).expect("it was there a moment ago");
        let streamed = CaptureFile::from_reader(&path, opened, 0);
        match (mapped, streamed) {
            (Ok(mapped), Ok(streamed)) => assert!(drain(mapped) == drain(streamed), "{}", path.display()),
            (mapped, streamed) => assert!(mapped.is_err() && streamed.is_err(), "{}", path.display()),
        }
    }
}

/// Every frame with its bytes, and how it ended.
fn drain(mut file: CaptureFile) -> (Vec<(Record, Vec<u8>)>, Option<Damage>) {
    let mut frames = Vec::new();
    let mut batch = RecordBatch::default();
    while file.supply(&mut batch, 333) == Supply::Records {
        frames.extend(batch.records.iter().map(|record| {
            // The place differs, what lies there does not.
            (Record { offset: 0, ..*record }, batch.frame(record).bytes.to_vec())
        }));
    }
    (frames, file.damage())
}

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures")
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

/// One frame, as either side has it.
#[derive(Debug)]
struct Row {
    number: u64,
    nanos: Option<u128>,
    captured: u32,
    wire_len: u32,
    /// The LINKTYPE number here, Wireshark's encapsulation number there.
    link: u16,
}

fn compare(file: &Path) -> Option<String> {
    let name = file.display();
    let (theirs, ended) = by_tshark(file);
    if ended.as_ref().is_some_and(|ended| ended.contains("doesn't support")) {
        // A link type unknown to it; it is not read at all then.
        return None;
    }
    let mut ours = match CaptureFile::open(file, 0) {
        Ok(ours) => ours,
        // It reads other formats too, text among them.
        Err(CaptureError::Foreign { .. }) if !by_name_a_capture(file) => return None,
        Err(error) => {
            return (!theirs.is_empty()).then(|| format!("{error}; tshark reads {} frames", theirs.len()));
        }
    };
    let mut rows = Vec::new();
    let mut batch = RecordBatch::default();
    while ours.supply(&mut batch, 1000) == Supply::Records {
        rows.extend(batch.records.iter().map(|record| Row {
            number: record.number.in_file(),
            nanos: Some(u128::from(record.at.as_nanos())),
            captured: record.captured,
            wire_len: record.wire_len,
            link: record.link.0,
        }));
    }
    // Frames without a packet have a number there and no record here.
    for our in &rows {
        match theirs.get(our.number as usize - 1) {
            Some(their) if same(our, their) => {}
            their => return Some(format!("{name}: {our:?} here, {their:?} there ({ended:?})")),
        }
    }
    let packets = theirs.iter().filter(|their| their.link != NO_PACKET).count();
    (rows.len() != packets).then(|| {
        let (here, damage) = (rows.len(), ours.damage());
        format!("{name}: {here} packets here ({damage:?}), {packets} there ({ended:?})")
    })
}

/// The encapsulation of a frame that is no packet; Wireshark's fields are empty there.
const NO_PACKET: u16 = u16::MAX;

fn by_name_a_capture(file: &Path) -> bool {
    let extension = file.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("pcap" | "pcapng" | "cap"))
}

/// LINKTYPE_SUNATM, of whose frames Wireshark takes four bytes as being about the frame.
const SUNATM: u16 = 123;

fn same(our: &Row, their: &Row) -> bool {
    if our.link == SUNATM {
        return our.number == their.number;
    }
    our.number == their.number
        && same_time(our, their)
        && their.captured == our.captured
        // It keeps lengths in signed numbers.
        && their.wire_len.max(their.captured) == our.wire_len.min(i32::MAX as u32)
        && same_link(our.link, their.link)
}

/// Simple packet blocks have no time there, and what a clock here cannot hold is 1970. A fraction of more than a second, which no writer means, is multiplied in
/// 32 bits there and lands a multiple of 2^32 ns away.
fn same_time(our: &Row, their: &Row) -> bool {
    match (our.nanos, their.nanos) {
        (Some(0), Some(theirs)) if theirs > u128::from(u64::MAX) => true,
        (Some(ours), Some(theirs)) => ours.abs_diff(theirs).is_multiple_of(1 << 32),
        _ => true,
    }
}

/// Whether Wireshark's encapsulation number (wiretap/wtap.h) is that of the link type, for those we dissect.
fn same_link(link: u16, encapsulation: u16) -> bool {
    let expected: &[u16] = match link {
        0 | 108 => &[5, 15],
        1 => &[1],
        9 => &[4],
        12 | 14 | 101 => &[7],
        104 => &[28],
        113 => &[25],
        204 => &[4, 19],
        228 => &[129],
        229 => &[130],
        276 => &[210],
        _ => return true,
    };
    expected.contains(&encapsulation)
}

/// What `tshark` reads, and what it says at the end.
fn by_tshark(file: &Path) -> (Vec<Row>, Option<String>) {
    let output = Command::new("tshark")
        .args(["-n", "-T", "fields"])
        .args(["-e", "frame.number", "-e", "frame.time_epoch", "-e", "frame.cap_len"])
        .args(["-e", "frame.len", "-e", "frame.encap_type", "-r"])
        .arg(file)
        .output()
        .expect("tshark was there a moment ago");
    let rows = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(row)
        .collect();
    let ended = String::from_utf8_lossy(&output.stderr)
        .lines()
        .find(|line| line.starts_with("tshark:"))
        .map(str::to_owned);
    (rows, ended)
}

fn row(line: &str) -> Option<Row> {
    let mut fields = line.split('\t');
    let mut field = || fields.next();
    Some(Row {
        number: field()?.parse().ok()?,
        nanos: nanos(field()?),
        captured: field()?.parse().ok()?,
        wire_len: field()?.parse().ok()?,
        link: field()?.parse().unwrap_or(NO_PACKET),
    })
}

/// `1700000000.000000001` in nanoseconds; nothing for what is not there.
fn nanos(epoch: &str) -> Option<u128> {
    let (seconds, fraction) = epoch.split_once('.')?;
    let seconds: u128 = seconds.parse().ok()?;
    let fraction: u128 = format!("{fraction:0<9}").parse().ok()?;
    Some(seconds * 1_000_000_000 + fraction)
}
