//! Every fixture gives exactly what its `expected.eve.jsonl` says, for the reason it says, and for no other.
//!
//! After a change of what is found or how it is told, `BLESS=1 cargo test --test fixtures` writes all expectations
//! anew; the difference in the repository is then what has to be judged. `-- --nocapture` shows how much of what was
//! forged is found. That the traces are what their stories tell is checked in `forge_fixtures.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Cursor;
use std::net::IpAddr;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use blockscope::capture::capture_file::CaptureFile;
use blockscope::capture::source::{RecordBatch, Supply};
use blockscope::fixture::difference::differences;
use blockscope::fixture::fixture::Fixture;
use blockscope::fixture::reading::{Manner, read_file, read_stream};
use blockscope::packet::dissect::dissect;
use blockscope::packet::endpoint::Endpoint;
use blockscope::scenario::{DropCause, ForgeOptions, Forged, Making, Renumbering, forge, forge_with_truth};
use blockscope::time::Timestamp;
use serde_json::Value;

static FIXTURES: LazyLock<Vec<Fixture>> =
    LazyLock::new(|| Fixture::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")).unwrap());

/// What is found in a capture in memory.
fn found_in(pcap: Vec<u8>) -> String {
    read_stream(Cursor::new(pcap), Manner::default()).unwrap()
}

fn records(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn block_records(lines: &str) -> Vec<Value> {
    let mut records = records(lines);
    records.retain(|record| record["event_type"] == "block");
    records
}

/// A finding in a few words, for a list of failures.
fn in_short(record: &Value) -> String {
    let block = &record["block"];
    format!(
        "frame {}: {} {}, forged {}",
        record["pcap_cnt"], block["verdict"], block["kind"], block["forged"]
    )
}

/// Fails with everything that is wrong, under the names of the fixtures.
#[track_caller]
fn assert_none(failures: &BTreeMap<&str, Vec<String>>) {
    let mut told = String::new();
    for (name, failures) in failures.iter().filter(|(_, failures)| !failures.is_empty()) {
        writeln!(told, "\n{name}").unwrap();
        failures
            .iter()
            .for_each(|failure| writeln!(told, "  {failure}").unwrap());
    }
    assert!(told.is_empty(), "{told}");
}

/// What `check` has against each fixture.
fn failures(check: impl Fn(&Fixture) -> Vec<String>) -> BTreeMap<&'static str, Vec<String>> {
    FIXTURES
        .iter()
        .map(|fixture| (fixture.name.as_str(), check(fixture)))
        .collect()
}

#[test]
fn every_trace_gives_what_is_expected() {
    let bless = std::env::var_os("BLESS").is_some();
    assert_none(&failures(|fixture| {
        let found = read_file(&fixture.trace_path(), Manner::default()).unwrap();
        if bless {
            fs::write(fixture.expected_path(), &found).unwrap();
        }
        match fs::read_to_string(fixture.expected_path()) {
            Ok(expected) => differences(&expected, &found).iter().map(ToString::to_string).collect(),
            Err(error) => vec![format!("nothing to expect: {error} (BLESS=1 writes it)")],
        }
    }));
}

#[test]
fn nothing_is_found_where_nothing_is_blocked() {
    assert_none(&failures(|fixture| {
        if !fixture.is_benign() {
            return Vec::new();
        }
        let found = read_file(&fixture.trace_path(), Manner::default()).unwrap();
        block_records(&found).iter().map(in_short).collect()
    }));
}

#[test]
fn without_the_equipment_nothing_is_found() {
    assert_none(&failures(|fixture| {
        let options = ForgeOptions {
            without_equipment: true,
            ..ForgeOptions::default()
        };
        let found = found_in(forge(&fixture.story, &options).unwrap());
        block_records(&found).iter().map(in_short).collect()
    }));
}

/// A month and some, and a part of a second: another date, another time of day, another fraction.
const SHIFT: Duration = Duration::from_micros(41 * 86_400_000_000 + 12_345_678_901);

#[test]
fn at_another_time_the_same_is_found() {
    assert_none(&failures(|fixture| {
        let options = ForgeOptions {
            shift: SHIFT,
            ..ForgeOptions::default()
        };
        let stays = Renumbering::default();
        told_otherwise(fixture, &options, SHIFT, &stays)
    }));
}

#[test]
fn between_other_hosts_the_same_is_found() {
    assert_none(&failures(|fixture| {
        let options = ForgeOptions {
            renumber: true,
            ..ForgeOptions::default()
        };
        told_otherwise(
            fixture,
            &options,
            Duration::ZERO,
            &Renumbering::of_story(&fixture.story),
        )
    }));
}

/// How the findings in a story told with `options` differ from those in its trace, shifted and renumbered.
fn told_otherwise(
    fixture: &Fixture,
    options: &ForgeOptions,
    shift: Duration,
    renumbering: &Renumbering,
) -> Vec<String> {
    let lines = |found: &str, translate: &dyn Fn(&str) -> String| -> String {
        records(found)
            .into_iter()
            .map(|mut record| {
                translated(&mut record, translate);
                // Both are made of the addresses; how is tested where they are made.
                if let Some(keys) = record.as_object_mut() {
                    keys.remove("flow_id");
                    keys.remove("community_id");
                }
                format!("{record}\n")
            })
            .collect()
    };
    let here = read_file(&fixture.trace_path(), Manner::default()).unwrap();
    let there = found_in(forge(&fixture.story, options).unwrap());
    let moved = |text: &str| match moment(text) {
        Some(at) => at.plus(shift).to_string(),
        None => renumbered(text, renumbering),
    };
    differences(&lines(&here, &moved), &lines(&there, &str::to_owned))
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Translates every string in `value`.
fn translated(value: &mut Value, translate: &dyn Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = translate(text),
        Value::Array(items) => items.iter_mut().for_each(|item| translated(item, translate)),
        Value::Object(object) => object.values_mut().for_each(|item| translated(item, translate)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `text` with every address in it replaced.
fn renumbered(text: &str, renumbering: &Renumbering) -> String {
    let of_address = |character: char| character.is_ascii_hexdigit() || matches!(character, '.' | ':');
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(of_address) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|character| !of_address(character)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        let address = word.trim_end_matches(['.', ':']);
        out.push_str(before);
        match address.parse::<IpAddr>() {
            Ok(ip) => out.push_str(&format!("{}{}", renumbering.of(ip), &word[address.len()..])),
            Err(_) => out.push_str(word),
        }
        rest = after;
    }
    out + rest
}

/// The moment `text` tells, if it is one of EVE's: `2026-01-02T03:04:05.678901+0000`.
fn moment(text: &str) -> Option<Timestamp> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    if text.len() != 31 || !text.ends_with("+0000") {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    // Days since 1970-01-01: years are counted from March, so that the leap day is the last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + number(11..13)?) * 60 + number(14..16)?) * 60 + number(17..19)?;
    Some(Timestamp::from_nanos((seconds * 1_000_000 + number(20..26)?) * 1000))
}

#[test]
fn the_translation_of_records_is_right() {
    for text in ["2026-01-02T03:04:05.678901+0000", "2028-02-29T23:59:59.000000+0000"] {
        assert_eq!(moment(text).unwrap().to_string(), text);
    }
    assert_eq!(moment("2026-01-02"), None);
    let fixture = FIXTURES
        .iter()
        .find(|fixture| fixture.name == "iran-dns")
        .expect("a fixture");
    let renumbering = Renumbering::of_story(&fixture.story);
    let text = "10.20.0.5 was a.example, at 03:04; 10.10.34.34.";
    let moved = renumbered(text, &renumbering);
    assert!(moved.ends_with(" was a.example, at 03:04; 10.10.34.34."), "{moved}");
}

/// A story with its truth, and what is found in it.
struct Told {
    truth: Forged,
    blocks: Vec<Value>,
}

impl Told {
    fn of(fixture: &Fixture, options: &ForgeOptions) -> Self {
        let truth = forge_with_truth(&fixture.story, options).unwrap();
        let blocks = block_records(&found_in(truth.pcap.clone()));
        Self { truth, blocks }
    }

    /// The frames that equipment made or rewrote.
    fn made_by_equipment(&self) -> BTreeSet<u64> {
        self.truth.truth.forged().into_iter().collect()
    }

    /// The frames that equipment kept from arriving.
    fn dropped_by_equipment(&self) -> BTreeSet<u64> {
        let by_equipment = |cause: &DropCause| matches!(cause, DropCause::Equipment(_));
        let dropped = self.truth.truth.dropped.iter();
        dropped
            .filter(|dropped| by_equipment(&dropped.cause))
            .map(|dropped| dropped.number)
            .collect()
    }
}

fn numbers(list: &Value) -> Vec<u64> {
    list.as_array()
        .into_iter()
        .flatten()
        .map(|number| number.as_u64().unwrap())
        .collect()
}

#[test]
fn no_genuine_packet_is_called_forged_and_no_forged_one_genuine() {
    assert_none(&failures(|fixture| {
        untrue(&Told::of(fixture, &ForgeOptions::default()))
    }));
}

/// Seeds no story uses: other jitter, other ports, other losses.
const OTHER_SEEDS: std::ops::Range<u64> = 0xB10C_0000..0xB10C_0006;

#[test]
fn whatever_chance_brings_nothing_is_made_up() {
    assert_none(&failures(|fixture| {
        let mut wrong = Vec::new();
        for seed in OTHER_SEEDS {
            for without_equipment in [false, true] {
                let options = ForgeOptions {
                    seed: Some(seed),
                    without_equipment,
                    ..ForgeOptions::default()
                };
                let told = Told::of(fixture, &options);
                let mut said = untrue(&told);
                if without_equipment || fixture.is_benign() {
                    said.extend(told.blocks.iter().map(in_short));
                }
                wrong.extend(said.iter().map(|said| format!("seed {seed:#x}: {said}")));
            }
        }
        wrong
    }));
}

/// What the findings say of single packets that is not so.
fn untrue(told: &Told) -> Vec<String> {
    let (made, dropped) = (told.made_by_equipment(), told.dropped_by_equipment());
    let mut wrong = Vec::new();
    for record in &told.blocks {
        let block = &record["block"];
        let mut report = |list: &str, right: &dyn Fn(&u64) -> bool, what: &str| {
            let mut frames = numbers(&block[list]);
            frames.retain(|frame| !right(frame));
            if !frames.is_empty() {
                wrong.push(format!("{}: {what}: {frames:?}", in_short(record)));
            }
        };
        report("forged", &|frame| made.contains(frame), "genuine packets called forged");
        report(
            "genuine",
            &|frame| !made.contains(frame),
            "forged packets called genuine",
        );
        report("dropped", &|frame| dropped.contains(frame), "not dropped by equipment");
    }
    wrong
}

#[test]
fn the_trigger_is_a_packet_that_set_the_equipment_off() {
    assert_none(&failures(|fixture| {
        let told = Told::of(fixture, &ForgeOptions::default());
        let frames = &told.truth.truth.frames;
        let original = |number: u64| frames[number as usize - 1].copy_of.unwrap_or(number);
        let mut wrong = Vec::new();
        for record in &told.blocks {
            let block = &record["block"];
            let Some(trigger) = block["trigger"]["pcap_cnt"].as_u64() else {
                continue;
            };
            let triggers: BTreeSet<u64> = numbers(&block["forged"])
                .iter()
                .filter_map(|frame| match frames[*frame as usize - 1].making {
                    Making::Forged { trigger } | Making::Rewritten { trigger } => trigger,
                    Making::Genuine => None,
                })
                .map(original)
                .collect();
            if !triggers.is_empty() && !triggers.contains(&original(trigger)) {
                wrong.push(format!(
                    "{}: trigger {trigger}, in truth {triggers:?}",
                    in_short(record)
                ));
            }
        }
        wrong
    }));
}

#[test]
fn what_the_equipment_does_is_found_under_its_name() {
    assert_none(&failures(|fixture| {
        let told = Told::of(fixture, &ForgeOptions::default());
        let kinds = told.blocks.iter().filter_map(|record| record["block"]["kind"].as_str());
        let found: BTreeSet<&str> = kinds.collect();
        let missing = kinds_of_blocking(fixture)
            .into_iter()
            .filter(|kind| !found.contains(kind));
        missing.map(|kind| format!("no {kind}, but {found:?}")).collect()
    }));
}

/// The kinds of findings a story's equipment gives rise to, as the story says.
fn kinds_of_blocking(fixture: &Fixture) -> Vec<&str> {
    let kinds: Vec<_> = fixture.story.blocking().iter().map(String::as_str).collect();
    assert_eq!(
        kinds.is_empty(),
        fixture.is_benign(),
        "{}: say what is blocking, or begin the name with benign-",
        fixture.name
    );
    kinds
}

/// A flow, whichever way its packets go.
type FlowName = (Endpoint, Endpoint);

/// The flow of each frame, from number 1 on.
fn flows(pcap: &[u8]) -> Vec<Option<FlowName>> {
    let mut file = CaptureFile::from_reader(Path::new("-"), Cursor::new(pcap.to_vec()), 0).unwrap();
    let mut batch = RecordBatch::default();
    let mut flows = Vec::new();
    while file.supply(&mut batch, 1024) == Supply::Records {
        flows.extend(batch.records.iter().map(|record| {
            let packet = dissect(batch.frame(record)).ok()?;
            Some((packet.from.min(packet.to), packet.from.max(packet.to)))
        }));
    }
    flows
}

#[test]
fn how_much_of_what_was_forged_is_found() {
    println!("| fixture | attacked flows | found | confirmed | likely | possible |");
    println!("|---|---|---|---|---|---|");
    let mut total = [0; 2];
    for fixture in FIXTURES.iter().filter(|fixture| !fixture.is_benign()) {
        let told = Told::of(fixture, &ForgeOptions::default());
        let flow_of = flows(&told.truth.pcap);
        let flow = |frame: &u64| flow_of[*frame as usize - 1];
        let mut attacked: BTreeSet<FlowName> = told.made_by_equipment().iter().filter_map(flow).collect();
        attacked.extend(told.dropped_by_equipment().iter().filter_map(flow));
        attacked.extend(told.truth.truth.held.iter().filter_map(|held| flow(&held.number)));
        let mut found: BTreeSet<FlowName> = BTreeSet::new();
        let mut verdicts: BTreeMap<&str, u32> = BTreeMap::new();
        for record in &told.blocks {
            let block = &record["block"];
            let frames = [numbers(&block["forged"]), numbers(&block["dropped"])].concat();
            found.extend(frames.iter().filter_map(flow));
            *verdicts.entry(block["verdict"].as_str().unwrap()).or_default() += 1;
        }
        let count = |verdict: &str| verdicts.get(verdict).copied().unwrap_or_default();
        let hits = attacked.intersection(&found).count();
        println!(
            "| {} | {} | {hits} | {} | {} | {} |",
            fixture.name,
            attacked.len(),
            count("confirmed"),
            count("likely"),
            count("possible")
        );
        total[0] += attacked.len();
        total[1] += hits;
        assert!(!attacked.is_empty(), "{}: nothing is attacked", fixture.name);
    }
    println!("| all | {} | {} | | | |", total[0], total[1]);
}
