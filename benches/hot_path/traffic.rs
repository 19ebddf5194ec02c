//! Traffic to measure with, forged in memory: the same bytes on every machine and in every run.

use std::fmt::Write as _;
use std::time::Duration;

use blockscope::capture::error::CaptureError;
use blockscope::capture::format::{Decoder, Stop, Tail};
use blockscope::capture::source::{FileNote, Progress, Record, RecordBatch, Source, Supply};
use blockscope::packet::frame::Frame;
use blockscope::scenario::{ForgeOptions, Story, forge};
use blockscope::time::Timestamp;
use bytes::Bytes;

/// A capture in memory.
pub(crate) struct Traffic {
    pub(crate) bytes: Bytes,
    pub(crate) records: Vec<Record>,
}

impl Traffic {
    /// Reads a capture.
    pub(crate) fn read(pcap: Vec<u8>) -> Self {
        let bytes = Bytes::from(pcap);
        let mut decoder = Decoder::of(&bytes, 0).expect("a capture");
        let mut records = Vec::new();
        let stop = decoder.fill(&bytes, &mut 0, Tail::Final, usize::MAX, &mut records);
        assert_eq!(stop, Stop::End);
        Self { bytes, records }
    }

    /// What the tap of a story sees.
    pub(crate) fn told(story: &str, options: &ForgeOptions) -> Self {
        let story = Story::parse(story).expect("a story");
        Self::read(forge(&story, options).expect("a capture"))
    }

    /// The traffic of a fixture; without its filtering equipment it is clean.
    pub(crate) fn fixture(name: &str, without_equipment: bool) -> Self {
        let path = format!("{}/fixtures/{name}/story.toml", env!("CARGO_MANIFEST_DIR"));
        let story = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let options = ForgeOptions {
            without_equipment,
            ..ForgeOptions::default()
        };
        Self::told(&story, &options)
    }

    /// `times` as many clients doing the same, each a little later than the one before, in order of time.
    pub(crate) fn crowd(&self, times: u8) -> Self {
        let mut order: Vec<(u64, u8, &Record)> = (0..times)
            .flat_map(|copy| {
                let later = u64::from(copy) * 37_000_000;
                self.records
                    .iter()
                    .map(move |record| (record.at.as_nanos() + later, copy, record))
            })
            .collect();
        order.sort_by_key(|(at, ..)| *at);
        let mut pcap = self.bytes[..24].to_vec();
        for (at, copy, record) in order {
            for word in [
                (at / 1_000_000_000) as u32,
                (at % 1_000_000_000 / 1000) as u32,
                record.captured,
                record.wire_len,
            ] {
                pcap.extend(word.to_le_bytes());
            }
            let start = pcap.len();
            pcap.extend(&self.bytes[record.offset..record.offset + record.captured as usize]);
            move_clients(&mut pcap[start..], copy);
        }
        Self::read(pcap)
    }

    /// Its frames, `later` than they were.
    pub(crate) fn frames(&self, later: Duration) -> impl Iterator<Item = Frame<'_>> {
        self.records.iter().map(move |record| Frame {
            number: record.number,
            at: record.at.plus(later),
            bytes: &self.bytes[record.offset..record.offset + record.captured as usize],
            wire_len: record.wire_len,
            link: record.link,
        })
    }

    /// From its first frame to its last.
    pub(crate) fn span(&self) -> Duration {
        let at = |record: Option<&Record>| record.map_or(Timestamp::EPOCH, |record| record.at);
        at(self.records.last()).since(at(self.records.first()))
    }

    /// Bytes of all its frames.
    pub(crate) fn frame_bytes(&self) -> u64 {
        self.records.iter().map(|record| u64::from(record.captured)).sum()
    }

    /// The capture as a source, to be read as a mapped file is.
    pub(crate) fn source(&self) -> Memory {
        Memory {
            bytes: self.bytes.clone(),
            decoder: Decoder::of(&self.bytes, 0).expect("a capture"),
            at: 0,
            files: vec![FileNote::default()],
        }
    }
}

/// Gives the stories' clients (10.20.0.0/16, 2001:db8:20::/48) other addresses. Checksums are left as they are: nobody
/// who reads captures can rely on them.
fn move_clients(frame: &mut [u8], by: u8) {
    let (first, len) = match frame.get(14).map(|byte| byte >> 4) {
        Some(4) => (26, 4),
        Some(6) => (22, 16),
        _ => return,
    };
    for start in [first, first + len] {
        match frame.get_mut(start..start + len) {
            Some([10, network, ..]) => *network = network.wrapping_add(by),
            Some([0x20, 0x01, 0x0d, 0xb8, _, network, ..]) => *network = network.wrapping_add(by),
            _ => {}
        }
    }
}

/// See [`Traffic::source`].
pub(crate) struct Memory {
    bytes: Bytes,
    decoder: Decoder,
    at: usize,
    files: Vec<FileNote>,
}

impl Source for Memory {
    fn supply(&mut self, batch: &mut RecordBatch) -> Result<Supply, CaptureError> {
        batch.records.clear();
        self.decoder
            .fill(&self.bytes, &mut self.at, Tail::Final, 1024, &mut batch.records);
        if batch.records.is_empty() {
            return Ok(Supply::End);
        }
        batch.bytes = self.bytes.clone();
        Ok(Supply::Records)
    }

    fn progress(&self) -> Progress {
        Progress::default()
    }

    fn files(&self) -> &[FileNote] {
        &self.files
    }
}

/// Four clients, a resolver, and a server of web pages of several sizes.
const TOWN: &str = r#"
title = "An ordinary day"
seed = 20260110
start = 2026-01-10T08:00:00Z
lasts = "590s"
[[router]]
name = "border"
[[router]]
name = "access"
towards = "border"
link = { delay = "4ms", jitter = "300us", hops = 2 }
[[router]]
name = "abroad"
towards = "border"
link = { delay = "9ms", jitter = "400us", hops = 4 }
[[tap]]
at = "access"
towards = "border"
[[host]]
name = "alice"
at = "access"
link = { delay = "1ms" }
addresses = ["10.20.0.5", "2001:db8:20::5"]
resolver = "dns"
[[host]]
name = "bob"
at = "access"
link = { delay = "2ms" }
addresses = ["10.20.0.6"]
resolver = "dns"
os = "windows"
[[host]]
name = "carol"
at = "access"
link = { delay = "1ms" }
addresses = ["10.20.0.7", "2001:db8:20::7"]
resolver = "dns"
os = "mac"
[[host]]
name = "dns"
at = "abroad"
addresses = ["45.140.7.53", "2a0e:97c0:7::53"]
[host.dns]
[[host]]
name = "site"
at = "abroad"
link = { delay = "3ms" }
addresses = ["45.140.16.10", "2a0e:97c0:16::10"]
names = ["news.example", "shop.example", "maps.example", "film.example", "old.example"]
[host.web]
body = 1800
certificate = 2800
[[host.web.site]]
names = ["maps.example"]
body = 40000
framing = "chunked"
[[host.web.site]]
names = ["old.example"]
status = 302
location = "http://maps.example/moved"
body = 200
[[host.web.site]]
names = ["film.example"]
body = 1500000
"#;

/// A conversation of the town, begun `repeat` times, every `every` milliseconds.
fn conversation(story: &mut String, client: &str, begins: u32, repeat: u32, every: u32, what: &str) {
    let _ = write!(
        story,
        "[[conversation]]\nclient = \"{client}\"\nat = \"{begins}ms\"\nrepeat = {repeat}\nevery = \"{every}ms\"\n{what}\n"
    );
}

fn town(repeat: u32, conversations: &[(&str, u32, &str)]) -> Traffic {
    let mut story = TOWN.to_owned();
    for (index, (client, every, what)) in (1..).zip(conversations) {
        conversation(&mut story, client, index * 113, repeat, *every, what);
    }
    Traffic::told(&story, &ForgeOptions::default())
}

const LOOKUP: &str = "[conversation.lookup]\nnames = [\"news.example\", \"shop.example\", \"maps.example\"]";
const LOOKUP_BOTH: &str =
    "[conversation.lookup]\nnames = [\"shop.example\", \"film.example\"]\nkinds = [\"a\", \"aaaa\"]\nedns = \"none\"";
const LOOKUP_TCP: &str = "[conversation.lookup]\nnames = [\"news.example\", \"maps.example\"]\nover = \"tcp\"";
const HTTP: &str = "[conversation.visit]\nnames = [\"news.example\", \"maps.example\", \"old.example\"]\nscheme = \"http\"\nrequests = 3";
const HTTPS: &str = "[conversation.visit]\nnames = [\"shop.example\", \"news.example\", \"maps.example\"]";
const HTTPS_V6: &str =
    "[conversation.visit]\nnames = [\"news.example\", \"shop.example\"]\nfamily = \"v6\"\nrequests = 2";
const FILM: &str = "[conversation.visit]\nnames = [\"film.example\"]";

/// Short flows of all kinds: DNS over UDP and TCP, HTTP and TLS, IPv4 and IPv6; small frames.
pub(crate) fn mix(repeat: u32) -> Traffic {
    let conversations = [
        ("alice", 700, HTTP),
        ("bob", 600, HTTPS),
        ("carol", 900, HTTPS_V6),
        ("bob", 300, LOOKUP),
        ("carol", 800, LOOKUP_BOTH),
        ("alice", 1100, LOOKUP_TCP),
    ];
    town(repeat, &conversations)
}

/// Downloads: nearly all frames are full.
pub(crate) fn web(repeat: u32) -> Traffic {
    town(repeat, &[("alice", 2000, FILM), ("bob", 1700, FILM)])
}

/// Nothing but questions and answers.
pub(crate) fn dns(repeat: u32) -> Traffic {
    let conversations = [
        ("alice", 110, LOOKUP),
        ("bob", 90, LOOKUP),
        ("carol", 170, LOOKUP_BOTH),
        ("bob", 900, LOOKUP_TCP),
    ];
    town(repeat, &conversations)
}
