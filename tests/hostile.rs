//! Captures made to knock a reader over: each is read to its end, every frame of it is accounted for, and in no more
//! address space than [`MOST`], however much of it there is. Four times as much of the same takes four times as long, give
//! or take a factor of two: what is compared are two processor times, never a time with a number.
//!
//! The captures are written out here by hand: the forge makes networks, and none of these is one. `HOSTILE_TELL=1 cargo
//! test --test hostile -- --nocapture --test-threads 1` tells what each took; docs/robustness.md has the table.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Address space a reader may take, in KiB, as `ulimit -v` has it: 3 GiB, some twice what a full flow table takes.
const MOST: u32 = 3 << 20;

/// A pcap file of raw IP.
struct Capture(Vec<u8>);

impl Capture {
    fn new() -> Self {
        let mut bytes = Vec::new();
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, 101] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        Self(bytes)
    }

    fn record(&mut self, at: u32, packet: &[u8]) {
        let len = packet.len() as u32;
        for word in [at, 0, len, len] {
            self.0.extend_from_slice(&word.to_le_bytes());
        }
        self.0.extend_from_slice(packet);
    }

    fn tcp(&mut self, at: u32, ends: [(u32, u16); 2], seq: u32, flags: u8, data: &[u8]) {
        let mut segment = Vec::new();
        segment.extend_from_slice(&ends[0].1.to_be_bytes());
        segment.extend_from_slice(&ends[1].1.to_be_bytes());
        segment.extend_from_slice(&seq.to_be_bytes());
        segment.extend_from_slice(&1_u32.to_be_bytes());
        segment.extend_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend_from_slice(data);
        self.record(at, &ip(6, ends, &segment));
    }

    fn udp(&mut self, at: u32, ends: [(u32, u16); 2], data: &[u8]) {
        let mut datagram = Vec::new();
        for word in [ends[0].1, ends[1].1, 8 + data.len() as u16, 0] {
            datagram.extend_from_slice(&word.to_be_bytes());
        }
        datagram.extend_from_slice(data);
        self.record(at, &ip(17, ends, &datagram));
    }
}

fn ip(protocol: u8, ends: [(u32, u16); 2], payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&len.to_be_bytes());
    packet.extend_from_slice(&[0, 1, 0, 0, 64, protocol, 0, 0]);
    packet.extend_from_slice(&ends[0].0.to_be_bytes());
    packet.extend_from_slice(&ends[1].0.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

const CLIENT: (u32, u16) = (0x0a14_0005, 4000);
const SERVER: (u32, u16) = (0x2d8c_100a, 80);
const RESOLVER: (u32, u16) = (0x2d8c_100b, 53);
const NOW: u32 = 1_768_032_000;

/// Processor time is told in steps of so much.
const RESOLUTION: Duration = Duration::from_millis(10);

/// A reading that ended in order within [`MOST`].
struct Outcome {
    /// Its closing record.
    stats: Value,
    /// Processor time, to a hundredth of a second.
    took: Duration,
    /// Resident memory at its highest, in KiB, as last seen.
    peak: u64,
}

/// The closing record of a reading, which must end in order within [`MOST`].
#[track_caller]
fn read(capture: &[u8]) -> Value {
    measure(capture).stats
}

#[track_caller]
fn measure(capture: &[u8]) -> Outcome {
    let mut command = Command::new("sh");
    let limited =
        format!("ulimit -v {MOST}; \"$0\" read - --format eve --threads 2; status=$?; times >&2; exit $status");
    let program = env!("CARGO_BIN_EXE_blockscope");
    command.args(["-c", &limited]).arg(program);
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let (mut stdin, bytes) = (child.stdin.take().unwrap(), capture.to_vec());
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let (mut stdout, shell) = (child.stdout.take().unwrap(), child.id());
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let mut peak = 0;
    while !reader.is_finished() {
        peak = peak.max(resident_peak(shell));
        std::thread::yield_now();
    }
    let output = child.wait_with_output().unwrap();
    let _ = writer.join();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {err}", output.status);
    assert!(!err.contains("panicked"), "{err}");
    let out = reader.join().unwrap().unwrap();
    let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    let outcome = Outcome {
        stats: last["stats"].clone(),
        took: err.lines().last().map(processor_time).unwrap(),
        peak,
    };
    if std::env::var_os("HOSTILE_TELL").is_some() {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        let (len, frames) = (capture.len(), count(&outcome.stats, "frames"));
        let (took, peak) = (outcome.took.as_secs_f64(), outcome.peak / 1024);
        eprintln!("| {name} | {len} | {frames} | {took:.2} s | {peak} MiB |");
    }
    outcome
}

/// The `VmHWM` of the shell's child.
fn resident_peak(shell: u32) -> u64 {
    let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap_or_default();
    let Some(child) = children.split_whitespace().next() else {
        return 0;
    };
    let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

/// User and system time of all children, as the last line of the shell's `times` has it: `0m1.230s 0m0.040s`.
fn processor_time(line: &str) -> Duration {
    let time = |text: &str| {
        let (minutes, seconds) = text.split_once('m').unwrap();
        let seconds: f64 = seconds.trim_end_matches('s').parse().unwrap();
        Duration::from_secs_f64(minutes.parse::<f64>().unwrap() * 60.0 + seconds)
    };
    line.split_whitespace().map(time).sum()
}

/// Reads `size` and four times `size` of the same: the time must not grow by more than eightfold, where what is quadratic
/// grows sixteenfold, nor the memory by more than what is read. A machine that was busy meanwhile gets another chance.
#[track_caller]
fn assert_linear(size: u32, make: impl Fn(u32) -> Vec<u8>) -> Value {
    let (small, large) = (make(size), make(4 * size));
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (one, four) = (measure(&small), measure(&large));
        if four.took <= (one.took + RESOLUTION) * 8 && four.peak <= one.peak * 5 {
            return four.stats;
        }
        seen.push((one.took, four.took, one.peak, four.peak));
    }
    panic!("time and peak of one and of four times as much: {seen:?}");
}

fn count(stats: &Value, key: &str) -> u64 {
    stats["coverage"][key].as_u64().unwrap()
}

#[test]
fn a_flood_of_connections_fills_the_table_and_no_more() {
    let mut capture = Capture::new();
    for index in 0..600_000_u32 {
        let client = (0x0a00_0000 + (index >> 14), 1024 + (index % 16_384) as u16);
        capture.tcp(NOW + index / 100_000, [client, SERVER], index, 0x02, b"");
    }
    let stats = read(&capture.0);
    assert_eq!(count(&stats, "frames"), 600_000);
    assert_eq!(count(&stats, "tcp_flows"), 600_000);
    assert!(count(&stats, "evicted") > 200_000, "{stats}");
}

#[test]
fn any_number_of_names_is_asked_for() {
    let mut capture = Capture::new();
    for index in 0..200_000_u32 {
        let mut question = vec![(index >> 8) as u8, index as u8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 8];
        question.extend_from_slice(format!("n{index:07}").as_bytes());
        question.extend_from_slice(b"\x07example\0\0\x01\0\x01");
        let client = (CLIENT.0, 1024 + (index % 60_000) as u16);
        capture.udp(NOW + index / 10_000, [client, RESOLVER], &question);
    }
    let stats = read(&capture.0);
    assert_eq!(count(&stats, "frames"), 200_000);
    assert!(
        stats["findings"].as_object().is_some_and(serde_json::Map::is_empty),
        "{stats}"
    );
}

#[test]
fn one_flow_of_any_number_of_pieces_in_any_order() {
    const PIECES: u32 = 300_000;
    let mut capture = Capture::new();
    capture.tcp(NOW, [CLIENT, SERVER], 0, 0x02, b"");
    capture.tcp(NOW, [SERVER, CLIENT], 0, 0x12, b"");
    for index in 0..u64::from(PIECES) {
        let place = (index * 7919 % u64::from(PIECES)) as u32;
        capture.tcp(NOW + 1, [CLIENT, SERVER], 1 + 2 * place, 0x18, b"x");
    }
    let stats = read(&capture.0);
    assert_eq!(count(&stats, "frames"), u64::from(PIECES) + 2);
    assert_eq!(count(&stats, "tcp_flows"), 1);
}

#[test]
fn a_request_without_end_is_read_as_far_as_it_matters() {
    let mut capture = Capture::new();
    capture.tcp(NOW, [CLIENT, SERVER], 0, 0x02, b"");
    capture.tcp(NOW, [SERVER, CLIENT], 0, 0x12, b"");
    capture.tcp(NOW, [CLIENT, SERVER], 1, 0x18, b"GET / HTTP/1.1\r\n");
    let line = [b"X: ".as_slice(), &[b'a'; 1300], b"\r\n"].concat();
    for index in 0..5000_u32 {
        capture.tcp(NOW, [CLIENT, SERVER], 17 + index * line.len() as u32, 0x18, &line);
    }
    assert_eq!(count(&read(&capture.0), "frames"), 5003);
}

#[test]
fn names_that_point_at_themselves_and_counts_that_are_not_kept() {
    let mut capture = Capture::new();
    let mut answer = b"\0\x01\x81\x80\0\x01\xff\xff\xff\xff\xff\xff".to_vec();
    answer.extend_from_slice(&b"\xc0\x0c".repeat(600));
    for index in 0..20_000_u16 {
        capture.udp(NOW, [RESOLVER, (CLIENT.0, 1024 + index)], &answer);
    }
    assert_eq!(count(&read(&capture.0), "frames"), 20_000);
}

#[test]
fn the_clock_jumps_between_its_ends() {
    let mut capture = Capture::new();
    for at in [0, u32::MAX, 1, u32::MAX - 1, 0] {
        for index in 0..1000_u32 {
            capture.tcp(at, [(CLIENT.0 + index, 4000), SERVER], index, 0x02, b"");
        }
    }
    let stats = read(&capture.0);
    assert_eq!(count(&stats, "frames"), 5000);
    assert_eq!(stats["last"], "2106-02-07T06:28:15.000000+0000");
}

#[test]
fn a_length_of_four_gigabytes_is_damage_not_memory() {
    let mut capture = Capture::new();
    capture.tcp(NOW, [CLIENT, SERVER], 0, 0x02, b"");
    for word in [NOW, 0, u32::MAX, u32::MAX] {
        capture.0.extend_from_slice(&word.to_le_bytes());
    }
    capture.0.extend_from_slice(&[b'x'; 5000]);
    let stats = read(&capture.0);
    assert_eq!(count(&stats, "frames"), 1);
    assert!(stats["files"][0]["damage"].is_object(), "{stats}");
}

#[test]
fn a_block_of_four_gigabytes_is_damage_not_memory() {
    let mut bytes = Vec::new();
    for word in [0x0a0d_0d0a_u32, 28, 0x1a2b_3c4d, 1, u32::MAX, u32::MAX, 28] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    for word in [6, u32::MAX - 3, 0, 0, 0, u32::MAX, u32::MAX] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(&[0; 5000]);
    let stats = read(&bytes);
    assert_eq!(count(&stats, "frames"), 0);
    assert!(stats["files"][0]["damage"].is_object(), "{stats}");
}

#[test]
fn what_unpacks_to_a_thousand_times_its_size_is_read_in_passing() {
    let mut packer = zstd::Encoder::new(Vec::new(), 3).unwrap();
    packer.write_all(&Capture::new().0).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..64 {
        packer.write_all(&zeros).unwrap();
    }
    let bomb = packer.finish().unwrap();
    assert!(bomb.len() < 1 << 16);
    // Sixteen bytes of nothing are the head of an empty record.
    assert_eq!(count(&read(&bomb), "frames"), 64 << 16);
}

/// What `compression` makes of `bytes`, by the programs everybody has.
fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

#[test]
fn bombs_of_every_packer_are_read_in_passing() {
    let mut bytes = Capture::new().0;
    bytes.resize(bytes.len() + (48 << 20), 0);
    let xz = {
        let mut packer = liblzma::write::XzEncoder::new(Vec::new(), 6);
        packer.write_all(&bytes).unwrap();
        packer.finish().unwrap()
    };
    let lz4 = {
        let mut packer = lz4_flex::frame::FrameEncoder::new(Vec::new());
        packer.write_all(&bytes).unwrap();
        packer.finish().unwrap()
    };
    for bomb in [gzipped(&bytes), xz, lz4] {
        assert!(bomb.len() < bytes.len() / 100, "{}", bomb.len());
        assert_eq!(count(&read(&bomb), "frames"), 48 << 16);
    }
}

#[test]
fn a_packed_capture_within_a_packed_capture_is_no_capture() {
    let bomb = gzipped(&gzipped(&vec![0; 64 << 20]));
    let mut command = Command::new(env!("CARGO_BIN_EXE_blockscope"));
    let piped = command.args(["read", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.stdout(Stdio::null()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(&bomb);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(3));
}

/// The blocks of a pcapng file, with lengths that agree.
struct Blocks(Vec<u8>);

impl Blocks {
    fn new() -> Self {
        let mut blocks = Self(Vec::new());
        let mut header = Vec::new();
        for word in [0x1a2b_3c4d_u32, 1, u32::MAX, u32::MAX] {
            header.extend_from_slice(&word.to_le_bytes());
        }
        blocks.block(0x0a0d_0d0a, &header);
        blocks
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        let len = 12 + body.len() as u32;
        for word in [kind, len] {
            self.0.extend_from_slice(&word.to_le_bytes());
        }
        self.0.extend_from_slice(body);
        self.0.extend_from_slice(&len.to_le_bytes());
    }

    /// An interface of raw IP.
    fn interface(&mut self, options: &[u8]) {
        self.block(1, &[&[101, 0, 0, 0, 0, 0, 4, 0], options].concat());
    }

    fn packet(&mut self, interface: u32, packet: &[u8], options: &[u8]) {
        let len = packet.len() as u32;
        let mut body = Vec::new();
        for word in [interface, 0x0006_2b00, 0, len, len] {
            body.extend_from_slice(&word.to_le_bytes());
        }
        body.extend_from_slice(packet);
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend_from_slice(options);
        self.block(6, &body);
    }
}

/// So many comments of no length.
fn comments(many: usize) -> Vec<u8> {
    [1, 0, 0, 0].repeat(many)
}

#[test]
fn blocks_and_options_without_number() {
    let packet = ip(17, [CLIENT, RESOLVER], &[0, 53, 0, 53, 0, 8, 0, 0]);
    assert_linear(30_000, |size| {
        let mut blocks = Blocks::new();
        // Interfaces nobody uses, blocks nobody knows, sections upon sections, and options of no length.
        for index in 0..size {
            match index % 4 {
                0 => blocks.interface(&comments(50)),
                1 => blocks.block(0x0bad_cafe, &[0; 64]),
                2 => blocks.block(5, &comments(60)),
                _ => blocks.packet(0, &packet, &comments(200)),
            }
        }
        blocks.0
    });
    let mut blocks = Blocks::new();
    blocks.interface(&comments(4_000_000));
    blocks.packet(0, &packet, &comments(4_000_000));
    assert_eq!(count(&read(&blocks.0), "frames"), 1);
    let sections: Vec<u8> = (0..200_000).flat_map(|_| Blocks::new().0).collect();
    assert_eq!(count(&read(&sections), "frames"), 0);
}

#[test]
fn four_times_the_connections_take_four_times_the_time() {
    let stats = assert_linear(300_000, |size| {
        let mut capture = Capture::new();
        for index in 0..size {
            let client = (0x0a00_0000 + (index >> 14), 1024 + (index % 16_384) as u16);
            capture.tcp(NOW + index / 100_000, [client, SERVER], index, 0x02, b"");
        }
        capture.0
    });
    assert_eq!(count(&stats, "tcp_flows"), 1_200_000);
}

#[test]
fn four_times_the_names_take_four_times_the_time() {
    let stats = assert_linear(100_000, |size| {
        let mut capture = Capture::new();
        for index in 0..size {
            let mut message = vec![(index >> 8) as u8, index as u8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 8];
            message.extend_from_slice(format!("n{index:07}").as_bytes());
            message.extend_from_slice(b"\x07example\0\0\x01\0\x01");
            let client = (CLIENT.0 + index % 500, 1024 + (index % 60_000) as u16);
            capture.udp(NOW + index / 10_000, [client, RESOLVER], &message);
            message[2] = 0x81;
            message[3] = 0x80;
            message[7] = 1;
            message.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04");
            message.extend_from_slice(&(0x2d00_0000 + index).to_be_bytes());
            capture.udp(NOW + index / 10_000, [RESOLVER, client], &message);
        }
        capture.0
    });
    assert_eq!(count(&stats, "frames"), 800_000);
}

#[test]
fn four_times_the_pieces_of_a_flow_take_four_times_the_time() {
    let stats = assert_linear(300_000, |size| {
        let mut capture = Capture::new();
        capture.tcp(NOW, [CLIENT, SERVER], 0, 0x02, b"");
        capture.tcp(NOW, [SERVER, CLIENT], 0, 0x12, b"");
        for index in 0..u64::from(size) {
            let place = (index * 7919 % u64::from(size)) as u32;
            capture.tcp(NOW + 1, [CLIENT, SERVER], 1 + 2 * place, 0x18, b"x");
        }
        capture.0
    });
    assert_eq!(count(&stats, "tcp_flows"), 1);
}

/// A flow that asks for a name of its own, and what becomes of it.
fn blocked(capture: &mut Capture, index: u32, becomes: impl FnOnce(&mut Capture, [(u32, u16); 2], u32, u32)) {
    let at = NOW + index / 50;
    let client = (CLIENT.0 + index % 5000, 1024 + (index % 60_000) as u16);
    let server = (SERVER.0 + index % 3000, 80);
    let request = format!("GET / HTTP/1.1\r\nHost: n{index}.example\r\n\r\n");
    capture.tcp(at, [client, server], 100, 0x02, b"");
    capture.tcp(at, [server, client], 0, 0x12, b"");
    capture.tcp(at, [client, server], 101, 0x10, b"");
    capture.tcp(at, [client, server], 101, 0x18, request.as_bytes());
    becomes(capture, [client, server], at, 101 + request.len() as u32);
}

#[test]
fn accusations_without_number_are_compared_in_linear_time() {
    let stats = assert_linear(30_000, |size| {
        let mut capture = Capture::new();
        for index in 0..size {
            blocked(&mut capture, index, |capture, [client, server], at, _| {
                capture.tcp(at, [server, client], 1, 0x14, b"");
                capture.tcp(at, [server, client], 1, 0x18, b"HTTP/1.1 200 OK\r\n\r\nhello");
            });
        }
        capture.0
    });
    let findings = stats["findings"]["rst_injection"].as_object().unwrap();
    let told: u64 = findings.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(told, 120_000);
}

#[test]
fn silences_without_number_are_compared_in_linear_time() {
    let stats = assert_linear(30_000, |size| {
        let mut capture = Capture::new();
        for index in 0..size {
            blocked(&mut capture, index, |capture, [client, server], at, _| {
                for wait in [1, 3, 7] {
                    let again = format!("GET / HTTP/1.1\r\nHost: n{index}.example\r\n\r\n");
                    capture.tcp(at + wait, [client, server], 101, 0x18, again.as_bytes());
                }
            });
        }
        capture.0
    });
    assert_eq!(count(&stats, "frames"), 840_000);
}
