//! What is found in the fixtures when a packet or two of them were different: another TTL, a step in a sequence number, a
//! flag, a second later, not seen at all. Each fixture is varied some dozen times, and `tests/variations.txt` holds how
//! often which finding, verdict and observation came out of it, and what it all weighed.
//!
//! The fixtures say what is right; this says what else a change has changed. After one, `BLESS=1 cargo test --test
//! variations` writes the counts anew, and their difference in the repository is what has to be judged: an observation
//! that a change was not about should not come more often or more rarely.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use blockscope::fixture::fixture::Fixture;
use blockscope::fixture::reading::{Manner, read_stream};
use serde_json::Value;

/// Numbers that look drawn, the same everywhere (Steele et al., "Fast splittable pseudorandom number generators", 2014).
struct Chance(u64);

impl Chance {
    /// Begins with what the letters of `name` come to (FNV-1a).
    fn of(name: &str) -> Self {
        let mix = |sum: u64, octet: u8| (sum ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3);
        Self(name.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = self.0;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        drawn ^ (drawn >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, choice: &[T]) -> T {
        choice[self.below(choice.len())]
    }
}

/// A packet of a capture: when it came in microseconds, how long it was, and what was captured of it.
#[derive(Clone)]
struct Taken {
    at: u64,
    wire_len: u32,
    bytes: Vec<u8>,
}

/// A capture as the forge writes them: little-endian, in microseconds or nanoseconds.
struct Capture {
    header: Vec<u8>,
    fractions: u64,
    frames: Vec<Taken>,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

impl Capture {
    fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let fractions = match word(&bytes, 0) {
            0xa1b2_c3d4 => 1_000_000,
            0xa1b2_3c4d => 1_000_000_000,
            other => panic!("{}: {other:x}", path.display()),
        };
        let (header, mut rest) = bytes.split_at(24);
        let mut frames = Vec::new();
        while !rest.is_empty() {
            let (head, behind) = rest.split_at(16);
            let (bytes, behind) = behind.split_at(word(head, 8) as usize);
            frames.push(Taken {
                at: u64::from(word(head, 0)) * fractions + u64::from(word(head, 4)),
                wire_len: word(head, 12),
                bytes: bytes.to_vec(),
            });
            rest = behind;
        }
        Self {
            header: header.to_vec(),
            fractions,
            frames,
        }
    }

    fn written(&self, frames: &[Taken]) -> Vec<u8> {
        let mut bytes = self.header.clone();
        for frame in frames {
            let (seconds, fraction) = (frame.at / self.fractions, frame.at % self.fractions);
            let len = frame.bytes.len() as u32;
            for word in [seconds as u32, fraction as u32, len, frame.wire_len.max(len)] {
                bytes.extend(word.to_le_bytes());
            }
            bytes.extend(&frame.bytes);
        }
        bytes
    }

    /// Where the layers of a frame begin, if all is there.
    fn layers(&self, bytes: &[u8]) -> Option<Layers> {
        let ip = match word(&self.header, 20) & 0xffff {
            1 => 14,
            101 => 0,
            113 => 16,
            _ => return None,
        };
        let v4 = bytes.get(ip)? >> 4 == 4;
        let (transport, protocol) = match v4 {
            true => (ip + usize::from(bytes[ip] & 15) * 4, *bytes.get(ip + 9)?),
            false => (ip + 40, *bytes.get(ip + 6)?),
        };
        let payload = match protocol {
            6 => transport + usize::from(bytes.get(transport + 12)? >> 4) * 4,
            17 => transport + 8,
            _ => return None,
        };
        let least = transport + if protocol == 6 { 20 } else { 8 };
        (least..=bytes.len()).contains(&payload).then_some(Layers {
            ip,
            v4,
            transport,
            tcp: protocol == 6,
            payload,
        })
    }
}

#[derive(Clone, Copy)]
struct Layers {
    ip: usize,
    v4: bool,
    transport: usize,
    tcp: bool,
    payload: usize,
}

/// Makes one difference, at or near one of the packets `told` of half of the time.
fn vary(capture: &Capture, frames: &mut Vec<Taken>, told: &[usize], chance: &mut Chance) {
    let near = told
        .get(chance.below(told.len() * 2))
        .map(|index| index + chance.below(4));
    let index = near.map_or_else(
        || chance.below(frames.len()),
        |near| near.saturating_sub(1).min(frames.len() - 1),
    );
    let milli = capture.fractions / 1000;
    match chance.below(20) {
        0 if frames.len() > 1 => _ = frames.remove(index),
        1 => {
            let copy = frames[index].clone();
            frames.insert(index + 1, copy);
        }
        2 => {
            let other = (index + 1 + chance.below(3)).min(frames.len() - 1);
            frames.swap(index, other);
        }
        3 => {
            // It comes later than it did, behind what came meanwhile.
            let mut late = frames.remove(index);
            late.at += chance.one_of(&[1, 6, 30, 150, 600, 4000, 25_000]) * milli;
            let place = frames.partition_point(|frame| frame.at <= late.at);
            frames.insert(place, late);
        }
        4 => {
            let by = chance.one_of(&[40, 700, 3500, 20_000, 70_000]) * milli;
            frames[index..].iter_mut().for_each(|frame| frame.at += by);
        }
        5 => match chance.below(3) {
            0 => frames.truncate(index + 1),
            1 => _ = frames.drain(..index),
            _ => {
                let len = frames[index].bytes.len();
                frames[index].bytes.truncate(len.min(54 + chance.below(60)));
            }
        },
        _ => {
            if let Some(layers) = capture.layers(&frames[index].bytes) {
                alter(&mut frames[index], layers, chance);
            }
        }
    }
}

/// Alters a field of the headers, or the payload. Sums are left wrong, as captures on a sender show them.
fn alter(frame: &mut Taken, layers: Layers, chance: &mut Chance) {
    let bytes = &mut frame.bytes;
    let (ip, transport) = (layers.ip, layers.transport);
    let ttl = if layers.v4 { ip + 8 } else { ip + 7 };
    let put = |bytes: &mut Vec<u8>, at: usize, value: u16| bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
    let add = |bytes: &mut Vec<u8>, at: usize, by: u32| {
        let old = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        bytes[at..at + 4].copy_from_slice(&old.wrapping_add(by).to_be_bytes());
    };
    match chance.below(16) {
        0 | 1 => bytes[ttl] = bytes[ttl].wrapping_add_signed(chance.one_of(&[-20, -3, -2, -1, 1, 2, 3, 70])),
        2 if layers.v4 => put(bytes, ip + 4, chance.one_of(&[0, 1, 2, 64, 16_448, 30_000, 40_000])),
        3 if layers.v4 => bytes[ip + 6] ^= 0x40,
        4 if ip >= 12 => bytes[ip - 3] ^= 0x55,
        5 if layers.tcp => put(bytes, transport + 14, chance.one_of(&[0, 1, 500, 65_535])),
        6 | 7 if layers.tcp => bytes[transport + 13] ^= 1 << chance.one_of(&[0, 1, 2, 2, 3, 4, 4]),
        8 if layers.tcp => bytes[transport + 12] ^= 1 << chance.below(4),
        9 | 10 if layers.tcp => {
            let by = chance.one_of(&[
                1_u32,
                2,
                7,
                1460,
                4380,
                12_503,
                100_000,
                0_u32.wrapping_sub(1),
                0_u32.wrapping_sub(1460),
            ]);
            add(bytes, transport + 4, by);
        }
        11 if layers.tcp => match chance.below(2) {
            0 => bytes[transport + 8..transport + 12].fill(0),
            _ => add(bytes, transport + 8, chance.one_of(&[1, 500, 0_u32.wrapping_sub(1)])),
        },
        12 if layers.tcp => bytes[transport + 20..layers.payload].fill(1),
        _ if layers.payload == bytes.len() => bytes[ttl] = bytes[ttl].wrapping_add(1),
        13 => {
            // The head of a message says most.
            let behind = (bytes.len() - layers.payload).min(chance.one_of(&[4, 16, 400]));
            let at = layers.payload + chance.below(behind);
            bytes[at] = chance.one_of(&[bytes[at] ^ 1, bytes[at] ^ 0x20, bytes[at] ^ 0x80, 0, b'a', 0xff]);
        }
        14 => {
            // The addresses of an answer stand at its end.
            let at = bytes.len() - 1 - chance.below(4.min(bytes.len() - layers.payload));
            bytes[at] ^= 1 << chance.below(8);
        }
        _ => {
            // Shorter or longer, as the lengths say too.
            let payload = bytes.len() - layers.payload;
            match chance.below(2) {
                0 => bytes.truncate(layers.payload + chance.below(payload)),
                _ => bytes.extend([0; 30]),
            }
            frame.wire_len = bytes.len() as u32;
            let above = (bytes.len() - transport) as u16;
            match layers.v4 {
                true => put(bytes, ip + 2, (bytes.len() - ip) as u16),
                false => put(bytes, ip + 4, above),
            }
            if !layers.tcp {
                put(bytes, transport + 4, above);
            }
        }
    }
}

/// What came out, summed up by what it is.
#[derive(Clone, Debug, Default, PartialEq)]
struct Counts(BTreeMap<String, i64>);

impl Counts {
    fn add(&mut self, what: &str, count: i64) {
        *self.0.entry(what.to_owned()).or_default() += count;
    }

    fn count(&mut self, lines: &str) {
        for line in lines.lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            if record["event_type"] == "block" {
                self.count_block(&record["block"]);
            } else {
                let coverage = record["stats"]["coverage"].as_object().unwrap();
                for (key, value) in coverage {
                    self.add(&format!("seen:{key}"), value.as_i64().unwrap_or(0));
                }
            }
        }
    }

    fn count_block(&mut self, block: &Value) {
        let kind = block["kind"].as_str().unwrap();
        self.add(&format!("{kind}:{}", block["verdict"].as_str().unwrap()), 1);
        for list in ["forged", "genuine", "dropped"] {
            self.add(
                &format!("{kind}:{list}"),
                block[list].as_array().map_or(0, |frames| frames.len() as i64),
            );
        }
        for key in ["stage", "position", "claimed_sender"] {
            if let Some(value) = block[key].as_str() {
                self.add(&format!("{kind}:{value}"), 1);
            }
        }
        if let Some(kind_of_trigger) = block["trigger"]["type"].as_str() {
            self.add(&format!("{kind}:{kind_of_trigger}"), 1);
        }
        let hundredths = |value: &Value| (value.as_f64().unwrap_or(0.0) * 100.0).round() as i64;
        self.add(&format!("{kind}:log_odds"), hundredths(&block["log_odds"]));
        for list in ["evidence", "against"] {
            for evidence in block[list].as_array().into_iter().flatten() {
                let what = evidence["what"].as_str().unwrap();
                self.add(what, 1);
                self.add(
                    &format!("{what}:frames"),
                    evidence["pcap_cnt"].as_array().map_or(0, |frames| frames.len() as i64),
                );
                // The figures in what it says: gaps, counts, distances.
                let figures = evidence["says"].as_str().unwrap_or_default();
                let digits = figures.bytes().filter(u8::is_ascii_digit);
                self.add(
                    &format!("{what}:figures"),
                    digits.map(|digit| i64::from(digit - b'0')).sum(),
                );
            }
        }
        for place in ["hops_from_tap", "hops"] {
            let hops = block["injector"][place].as_array().into_iter().flatten();
            self.add(&format!("{kind}:hops"), hops.filter_map(Value::as_i64).sum());
        }
    }

    fn line(&self, name: &str) -> String {
        let mut line = format!("{name}:");
        for (what, count) in self.0.iter().filter(|(_, count)| **count != 0) {
            write!(line, " {what}={count}").unwrap();
        }
        line
    }

    fn read(line: &str) -> Option<(String, Self)> {
        let (name, counts) = line.split_once(": ")?;
        let counts = counts.split(' ').map(|one| {
            let (what, count) = one.rsplit_once('=').unwrap();
            (what.to_owned(), count.parse().unwrap())
        });
        Some((name.to_owned(), Self(counts.collect())))
    }

    /// What is different there.
    fn differences(&self, other: &Self) -> Vec<String> {
        let keys: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let count = |counts: &Self, key: &String| counts.0.get(key).copied().unwrap_or(0);
        keys.into_iter()
            .filter(|key| count(self, key) != count(other, key))
            .map(|key| format!("  {key}: {} was expected, {} came", count(other, key), count(self, key)))
            .collect()
    }
}

/// Packets that the findings of a fixture are about, counted from 0.
fn told_of(fixture: &Fixture) -> Vec<usize> {
    let lines = fs::read_to_string(fixture.trace_path().with_file_name("expected.eve.jsonl")).unwrap();
    let mut told = BTreeSet::new();
    for line in lines.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        for list in ["forged", "genuine", "dropped"] {
            let frames = record["block"][list].as_array().into_iter().flatten();
            told.extend(frames.filter_map(Value::as_u64).map(|frame| frame as usize - 1));
        }
        let trigger = record["block"]["trigger"]["pcap_cnt"].as_u64();
        told.extend(trigger.map(|frame| frame as usize - 1));
    }
    told.into_iter().collect()
}

fn counts_of(fixture: &Fixture) -> Counts {
    let capture = Capture::read(&fixture.trace_path());
    let told = told_of(fixture);
    let mut counts = Counts::default();
    let mut chance = Chance::of(&fixture.name);
    // Long ones say no more than short ones.
    for _ in 0..(12_000 / capture.frames.len().max(1)).clamp(6, 60) {
        let mut frames = capture.frames.clone();
        for _ in 0..=chance.below(2) {
            vary(&capture, &mut frames, &told, &mut chance);
        }
        counts.count(&read_stream(Cursor::new(capture.written(&frames)), Manner::default()).unwrap());
    }
    counts
}

#[test]
fn what_a_small_difference_changes_is_what_it_changed_before() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list: PathBuf = home.join("tests/variations.txt");
    let fixtures = Fixture::all(&home.join("fixtures")).unwrap();
    let found: Vec<(&str, Counts)> = fixtures.iter().map(|one| (&*one.name, counts_of(one))).collect();
    if std::env::var_os("BLESS").is_some() {
        let lines: Vec<String> = found.iter().map(|(name, counts)| counts.line(name) + "\n").collect();
        fs::write(&list, lines.concat()).unwrap();
        return;
    }
    let expected: BTreeMap<String, Counts> = fs::read_to_string(&list)
        .unwrap()
        .lines()
        .filter_map(Counts::read)
        .collect();
    let mut told = String::new();
    for (name, counts) in &found {
        let differences = counts.differences(expected.get(*name).unwrap_or(&Counts::default()));
        if !differences.is_empty() {
            writeln!(told, "{name}\n{}", differences.join("\n")).unwrap();
        }
    }
    assert_eq!(
        expected.len(),
        found.len(),
        "fixtures came or went: BLESS=1 writes the list anew"
    );
    assert!(told.is_empty(), "BLESS=1 writes anew what is right:\n{told}");
}
