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
use blockscope::packet::dissect::{Undissected, dissect};
use blockscope::packet::packet::{Datagram, Packet, Segment, Transport};

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
const HEADERS: [&str; 23] = [
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
    "tcp.len",
    "udp.length",
    "vlan.id",
    "frame.protocols",
    "_ws.malformed",
    "tcp.hdr_len",
];

/// A row of [`HEADERS`].
struct Theirs<'a>(&'a [&'a str]);

impl<'a> Theirs<'a> {
    fn get(&self, name: &str) -> &'a str {
        self.0[HEADERS.iter().position(|header| *header == name).expect(name)]
    }

    /// What the outermost IP header carries: `tcp`, `udp`, or what else Wireshark calls it.
    fn transport(&self) -> Option<&'a str> {
        let mut layers = self.get("frame.protocols").split(':');
        layers.find(|layer| ["ip", "ipv6"].contains(layer))?;
        layers.find(|layer| !layer.starts_with("ipv6."))
    }
}

/// How many packets were compared, and the first difference, if there is one.
fn compare_headers(file: &Path) -> (usize, Option<String>) {
    let Ok(mut ours) = CaptureFile::open(file, 0) else {
        return (0, None);
    };
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-E", "occurrence=f"]);
    // What it puts together it shows in the last piece; what it guesses from contents may hide the headers.
    for preference in [
        "ip.defragment:FALSE",
        "ipv6.defragment:FALSE",
        "tcp.desegment_tcp_streams:FALSE",
        "tcp.relative_sequence_numbers:FALSE",
    ] {
        command.args(["-o", preference]);
    }
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
            let Some(row) = theirs
                .get(record.number.in_file() as usize - 1)
                .filter(|row| row.len() == HEADERS.len())
            else {
                continue;
            };
            let difference = header_difference(dissect(batch.frame(record)), &Theirs(row));
            if !matches!(difference, Ok(false)) {
                packets += 1;
            }
            if let Err(difference) = difference {
                let number = record.number.in_file();
                return (
                    packets,
                    Some(format!("{} frame {number}: {difference}", file.display())),
                );
            }
        }
    }
    (packets, None)
}

/// Whether a packet could be compared, or how it differs.
fn header_difference(ours: Result<Packet<'_>, Undissected>, theirs: &Theirs<'_>) -> Result<bool, String> {
    let transport = theirs.transport();
    let packet = match ours {
        Ok(packet) => packet,
        // Ports are there for them, and not for us?
        Err(reason) => {
            let ported = transport.is_some_and(|name| ["tcp", "udp"].contains(&name));
            let whole = theirs.get("_ws.malformed").is_empty();
            let layers = theirs.get("frame.protocols");
            let excused = match reason {
                Undissected::UnknownLinkType | Undissected::CutShort => true,
                // What is not peeled: MACsec without encryption, service chains, FabricPath.
                Undissected::NotIp => ["macsec", "nsh", "cfp"].iter().any(|layer| layers.contains(layer)),
                // It calls a TCP header of less than 20 bytes bogus, and names the ports.
                Undissected::Malformed => theirs.get("tcp.hdr_len").parse().is_ok_and(|len: u8| len < 20),
                Undissected::LaterFragment => false,
            };
            return match ported && whole && !excused {
                true => Err(format!(
                    "{} here, {} there",
                    reason.key(),
                    theirs.get("frame.protocols")
                )),
                false => Ok(false),
            };
        }
    };
    let hex = |value: u32, digits: usize| format!("0x{value:0digits$x}");
    let marks = packet.marks;
    let mut expected: Vec<(&str, String)> = Vec::new();
    match packet.transport {
        Transport::Tcp(segment) => expected.extend([
            ("tcp.srcport", packet.from.port.to_string()),
            ("tcp.dstport", packet.to.port.to_string()),
            ("tcp.seq_raw", segment.seq.0.to_string()),
            ("tcp.ack_raw", segment.ack.0.to_string()),
            ("tcp.flags", hex(segment.flags.0.into(), 4)),
            ("tcp.window_size_value", segment.window.to_string()),
            ("tcp.len", segment.payload_len.to_string()),
        ]),
        Transport::Udp(datagram) => expected.extend([
            ("udp.srcport", packet.from.port.to_string()),
            ("udp.dstport", packet.to.port.to_string()),
            ("udp.length", (datagram.payload_len + 8).to_string()),
        ]),
        Transport::IcmpError(_) | Transport::Other(_) => match transport {
            Some("tcp" | "udp") => return Err(format!("no ports here, {} there", theirs.get("frame.protocols"))),
            _ => return Ok(false),
        },
    }
    // Whether the frame was as long as its headers say.
    let has_room = match packet.transport {
        Transport::Tcp(Segment {
            payload, payload_len, ..
        })
        | Transport::Udp(Datagram { payload, payload_len }) => {
            let at = payload.as_ptr().addr() - packet.frame.bytes.as_ptr().addr();
            at + payload_len as usize <= packet.frame.wire_len as usize
        }
        Transport::IcmpError(_) | Transport::Other(_) => false,
    };
    match packet.from.ip.is_ipv4() {
        true => expected.extend([
            ("ip.src", packet.from.ip.to_string()),
            ("ip.dst", packet.to.ip.to_string()),
            ("ip.ttl", marks.ttl.to_string()),
            ("ip.id", hex(marks.ip_id.unwrap_or_default().into(), 4)),
            // Versions before 4 write it as a number.
            (
                "ip.flags.df",
                match theirs.get("ip.flags.df") {
                    "0" | "1" => u8::from(marks.dont_fragment).to_string(),
                    _ if marks.dont_fragment => "True".to_owned(),
                    _ => "False".to_owned(),
                },
            ),
        ]),
        false => expected.extend([
            ("ipv6.src", packet.from.ip.to_string()),
            ("ipv6.dst", packet.to.ip.to_string()),
            ("ipv6.hlim", marks.ttl.to_string()),
        ]),
    }
    if let Some(vlan) = packet.vlan {
        expected.push(("vlan.id", vlan.to_string()));
    }
    // It stopped before the ports: lengths of more than 16 bits, addresses that are none.
    if theirs.get("tcp.srcport").is_empty() && theirs.get("udp.srcport").is_empty() {
        return Ok(false);
    }
    // Of what is fragmented, and of what claims more than there is, it says no length or another.
    expected.retain(|(name, _)| {
        !["tcp.len", "udp.length"].contains(name) || (has_room && !["", "0"].contains(&theirs.get(name)))
    });
    match expected.iter().find(|(name, our)| our != theirs.get(name)) {
        Some((name, our)) => Err(format!(
            "{name} is {our} here, {:?} there ({})",
            theirs.get(name),
            theirs.get("frame.protocols")
        )),
        None => Ok(true),
    }
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
