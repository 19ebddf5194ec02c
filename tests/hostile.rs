//! Captures made to knock a reader over: each is read to its end, every frame of it is accounted for, and in no more
//! address space than [`MOST`], however much of it there is. Nothing is measured in seconds.
//!
//! The captures are written out here by hand: the forge makes networks, and none of these is one.

use std::io::Write;
use std::process::{Command, Stdio};

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

/// The closing record of a reading, which must end in order within [`MOST`].
#[track_caller]
fn read(capture: &[u8]) -> Value {
    let mut command = Command::new("sh");
    let limited = format!("ulimit -v {MOST} && exec \"$0\" read - --format eve --threads 2");
    let program = env!("CARGO_BIN_EXE_blockscope");
    command.args(["-c", &limited]).arg(program);
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let (mut stdin, capture) = (child.stdin.take().unwrap(), capture.to_vec());
    let writer = std::thread::spawn(move || stdin.write_all(&capture));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {err}", output.status);
    assert!(!err.contains("panicked"), "{err}");
    let out = String::from_utf8(output.stdout).unwrap();
    let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    last["stats"].clone()
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
