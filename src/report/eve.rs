//! One JSON object a line, in the conventions of Suricata's EVE, so that whatever reads EVE reads it.
//!
//! # Wire format
//!
//! UTF-8, one object a line, keys always in the order given here; a key without a value is left out, never `null`.
//! Characters that could give a terminal orders are written as `\uXXXX`. [`SCHEMA`] (`blockscope schema`) is the
//! same in JSON Schema. Two types of record exist: any number of `block` in capture order, then exactly one `stats`.
//!
//! ## `event_type: "block"`: one finding
//!
//! | key | meaning |
//! | --- | --- |
//! | `timestamp` | when the deciding packet (the first forged one) was captured, UTC |
//! | `flow_id` | 53 bits that are the same for every finding of a flow, and in every run over the same files |
//! | `pcap_filename`, `pcap_cnt` | the deciding packet: its file as it was named to us, its number there (Wireshark's `frame.number`) |
//! | `vlan` | the outermost VLAN id, in a list |
//! | `src_ip`, `src_port`, `dest_ip`, `dest_port` | the flow's client and server, whichever of them a packet claims to come from |
//! | `proto`, `ip_v`, `app_proto`, `community_id` | as in EVE |
//! | `block` | the finding |
//!
//! In `block`:
//!
//! | key | meaning |
//! | --- | --- |
//! | `kind` | how the blocking was done |
//! | `verdict` | `possible` (posterior of .5 or more), `likely` (.9), `confirmed` (.99 and an observation that convicts by itself) |
//! | `probability` | the posterior, cut (not rounded) to three decimals, at most .999 |
//! | `log_odds`, `prior` | the posterior's and the prior's log-odds in nats |
//! | `stage` | how far the flow had come: `post_syn`, `post_ack`, `post_psh`, `later_in_flow` |
//! | `signature` | the tampering signature that fits (Sundara Raman et al., SIGCOMM 2023) |
//! | `claimed_sender` | in whose name the forged packets came: `client` or `server` |
//! | `position` | of the box: `on_path`, `in_path`, `unknown` |
//! | `trigger` | `{type, value, pcap_cnt}`: the packet that set it off and the name it carried |
//! | `forged`, `genuine`, `dropped` | numbers of the packets forged, of the genuine ones that contradict them, of those swallowed |
//! | `evidence`, `against` | lists of `{what, group, pcap_cnt, llr, says, source}`, heaviest first: an observation, the group within which only the heaviest counts, the packets it rests on, its log-likelihood ratio in nats, a sentence, where its weight comes from |
//! | `injector` | `{hops_from_tap, initial_ttl, mirrors_ttl, device: {name, source}}`; `hops_from_tap` is a number, or `[least, most]` |
//! | `dns` | `{forged_answers, genuine_answers}` |
//! | `http` | `{status, location}` of the forged answer |
//! | `fingerprint` | `{id, known_from, source}`: the row of a fingerprint list that matched |
//! | `tls` | `{version, issuer, subject}` of an intercepted handshake; the certificate's names where it could be read |
//!
//! Packet numbers count within the record's `pcap_filename`. Where a flow goes over the end of one file, and a list
//! of numbers names packets of another, a list of file names of the same length stands beside it: `pcap_filename`
//! beside a `pcap_cnt`, `forged_pcap_filename` beside `forged`, and so on.
//!
//! ## `event_type: "stats"`: what was looked at
//!
//! `timestamp` is that of the last frame (1970 if there was none). `stats` holds `first` and `last` (times),
//! `interrupted`, `files` (`{pcap_filename, frames, filtered, damage: {offset, why}, lost: {kernel, interface}}`; a live
//! interface stands as a file with its name, and tells what it `lost`), `coverage` (the counters of
//! [`Coverage`](crate::finding::summary::Coverage), every one present), `findings` (kind, verdict, count; only
//! what was found), `injectors` (findings of each) and, where there are any, how many were `withheld` because the capture
//! itself lost too many packets. It counts all findings, also those a least verdict kept from being written.

mod block;
mod stats;

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use self::block::BlockRecord;
use self::stats::StatsRecord;
use super::escape::next_unsafe;
use super::sink::{Reported, Sink};
use crate::finding::summary::Summary;

/// The JSON Schema (draft 2020-12) of every record.
pub const SCHEMA: &str = include_str!("eve.schema.json");

/// Writes EVE records, and flushes after each.
#[derive(Debug)]
pub struct Eve<W> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write> Eve<W> {
    /// Writes to `out`, one write a record.
    pub const fn new(out: W) -> Self {
        Self { out, line: Vec::new() }
    }

    /// The writer, with everything in it.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn record(&mut self, record: &impl Serialize) -> io::Result<()> {
        self.line.clear();
        record.serialize(&mut Serializer::with_formatter(&mut self.line, Careful))?;
        self.line.push(b'\n');
        self.out.write_all(&self.line)?;
        self.out.flush()
    }
}

impl<W: Write> Sink for Eve<W> {
    /// Writes a `block` record; a finding without a verdict is none.
    fn finding(&mut self, reported: &Reported<'_>) -> io::Result<()> {
        match BlockRecord::of(reported) {
            Some(record) => self.record(&record),
            None => Ok(()),
        }
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        self.record(&StatsRecord::of(summary))
    }
}

/// Compact JSON that a terminal may show: unsafe characters are escaped, which changes no value.
struct Careful;

impl Formatter for Careful {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, character)) = next_unsafe(rest) {
            CompactFormatter.write_string_fragment(writer, &rest[..at])?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + character.len_utf8()..];
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::LazyLock;

    use serde_json::{Value, json};

    use super::*;
    use crate::capture::source::FileNote;
    use crate::finding::finding::{Finding, Kind, Party, Position, Stage, TriggerKind};
    use crate::finding::verdict::Verdict;
    use crate::finding::weight::Group;
    use crate::packet::dissect::Undissected;
    use crate::report::escape::is_unsafe;
    use crate::report::sample;

    static VALIDATOR: LazyLock<jsonschema::Validator> =
        LazyLock::new(|| jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap());

    #[track_caller]
    fn assert_valid(record: &Value) {
        if let Err(error) = VALIDATOR.validate(record) {
            panic!("{error} at {}\n{record:#}", error.instance_path());
        }
    }

    fn written(finding: &Finding, files: &[FileNote]) -> String {
        let mut eve = Eve::new(Vec::new());
        sample::tell(&mut eve, finding, files);
        String::from_utf8(eve.into_inner()).unwrap()
    }

    fn read_back(finding: &Finding, files: &[FileNote]) -> Value {
        let record = serde_json::from_str(&written(finding, files)).unwrap();
        assert_valid(&record);
        record
    }

    fn two_files() -> Vec<FileNote> {
        let mut files = sample::one_file();
        files.push(FileNote {
            path: "dir/y.pcap".into(),
            ..FileNote::default()
        });
        files
    }

    #[test]
    fn a_finding_is_one_line_with_its_keys_in_order() {
        let line = written(&sample::reset(), &sample::one_file());
        let flow_id = read_back(&sample::reset(), &sample::one_file())["flow_id"]
            .as_u64()
            .unwrap();
        let start = format!(
            r#"{{"timestamp":"2026-01-02T03:04:05.678901+0000","flow_id":{flow_id},"pcap_filename":"x.pcap","pcap_cnt":9,"event_type":"block","src_ip":"10.0.0.5","src_port":40312,"dest_ip":"203.0.113.7","dest_port":443,"proto":"TCP","ip_v":4,"app_proto":"tls","#
        );
        assert!(line.starts_with(&start), "{line}");
        let block = concat!(
            r#""block":{"kind":"rst_injection","verdict":"confirmed","probability":0.993,"log_odds":5.06,"prior":-4.6,"#,
            r#""stage":"post_psh","signature":"PSH+ACK -> RST+ACK;RST+ACK","claimed_sender":"server","position":"on_path","#,
            r#""trigger":{"type":"sni","value":"blocked.example","pcap_cnt":8},"forged":[9,10],"genuine":[12],"#,
            r#""evidence":[{"what":"data_after_reset","group":"sequence","pcap_cnt":[12],"llr":4.61,"#,
            r#""says":"the sender went on sending 41 ms after its own reset","source":"#
        );
        assert!(line.contains(block), "{line}");
        assert!(
            line.ends_with("\"injector\":{\"id\":\"i-3fa2\",\"hops_from_tap\":3,\"initial_ttl\":64}}}\n"),
            "{line}"
        );
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn evidence_for_and_against_are_kept_apart() {
        let record = read_back(&sample::reset(), &sample::one_file());
        let whats = |list: &str| -> Vec<String> {
            let items = record["block"][list].as_array().unwrap().iter();
            items.map(|item| item["what"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(
            whats("evidence"),
            [
                "data_after_reset",
                "reset_right_after_trigger",
                "dont_fragment_differs",
                "reset_ttl_differs"
            ]
        );
        assert_eq!(whats("against"), ["capture_loss"]);
        assert!(record["block"]["against"][0]["llr"].as_f64().unwrap() < 0.0);
    }

    #[test]
    fn packets_of_another_file_are_named_with_it() {
        let record = read_back(&sample::dns(), &two_files());
        let block = &record["block"];
        assert_eq!(block["genuine"], json!([1]));
        assert_eq!(block["genuine_pcap_filename"], json!(["dir/y.pcap"]));
        assert_eq!(block["evidence"][0]["pcap_cnt"], json!([3, 1]));
        assert_eq!(block["evidence"][0]["pcap_filename"], json!(["x.pcap", "dir/y.pcap"]));
        assert_eq!(block.get("forged_pcap_filename"), None);
        assert_eq!(block["trigger"].get("pcap_filename"), None);
        assert_eq!(record["vlan"], json!([7]));
        assert_eq!(block["injector"]["hops_from_tap"], json!([2, 5]));
        assert_eq!(
            block["dns"],
            json!({"forged_answers": ["10.10.34.35"], "genuine_answers": ["198.51.100.7"]})
        );
    }

    #[test]
    fn a_flow_keeps_its_id_and_other_flows_have_others() {
        let files = two_files();
        let id = |finding: &Finding| read_back(finding, &files)["flow_id"].as_u64().unwrap();
        let mut later = sample::reset();
        later.decided_by = sample::frame(10);
        later.kind = Kind::BlockPage;
        assert_eq!(id(&sample::reset()), id(&later));
        assert!(id(&later) < 1 << 53);
        let mut reused_port = sample::reset();
        reused_port.conversation.first_frame = sample::frame(6);
        assert_ne!(id(&sample::reset()), id(&reused_port));
        let mut other_port = sample::reset();
        other_port.conversation.client.port += 1;
        assert_ne!(id(&sample::reset()), id(&other_port));
    }

    #[test]
    fn what_the_wire_says_keeps_its_value_and_gives_no_orders() {
        let line = written(&sample::page(), &sample::one_file());
        assert!(!line.trim_end().contains(is_unsafe), "{line:?}");
        let block = &read_back(&sample::page(), &sample::one_file())["block"];
        assert_eq!(block["trigger"]["value"], "evil\x1b[2J\u{202e}.example");
        assert_eq!(
            block["http"],
            json!({"status": 302, "location": "http://block.example/\u{9b}31m"})
        );
        assert_eq!(
            block["fingerprint"],
            json!({
                "id": "row-1", "known_from": "XX", "source": "a list",
                "url": "https://example.org/m", "file": "list.csv", "line": 7
            })
        );
        assert_eq!(block["injector"], json!({"mirrors_ttl": true}));
        assert_eq!(block["dropped"], json!([11]));
    }

    #[test]
    fn the_last_record_tells_what_was_looked_at() {
        let mut eve = Eve::new(Vec::new());
        let summary = sample::full_summary();
        eve.finish(&summary).unwrap();
        let record: Value = serde_json::from_slice(&eve.into_inner()).unwrap();
        assert_valid(&record);
        assert_eq!(record["timestamp"], "2026-01-02T03:09:11.678901+0000");
        let stats = &record["stats"];
        assert_eq!(stats["interrupted"], true);
        assert_eq!(
            stats["files"][0]["damage"],
            json!({"offset": 98_304, "why": "a record of 4 GB"})
        );
        assert_eq!(stats["coverage"]["undissected"]["later_fragment"], 3);
        assert_eq!(stats["coverage"]["findings_dropped"], 16);
        assert_eq!(
            stats["findings"],
            json!({"rst_injection": {"confirmed": 3, "possible": 1}, "dns_injection": {"likely": 2}})
        );
    }

    #[test]
    fn an_empty_run_has_a_closing_record_too() {
        let mut eve = Eve::new(Vec::new());
        eve.finish(&Summary::default()).unwrap();
        let record: Value = serde_json::from_slice(&eve.into_inner()).unwrap();
        assert_valid(&record);
        assert_eq!(record["timestamp"], "1970-01-01T00:00:00.000000+0000");
        assert_eq!(record["stats"]["coverage"]["undissected"]["not_ip"], 0);
    }

    #[test]
    fn the_schema_refuses_what_is_not_documented() {
        let good = read_back(&sample::reset(), &sample::one_file());
        for (place, value) in [
            ("", json!(1)),
            ("/block", json!(1)),
            ("/block/trigger", json!(1)),
            ("/block/injector", json!(1)),
            ("/block/evidence/0", json!(1)),
        ] {
            let mut record = good.clone();
            record.pointer_mut(place).unwrap()["unheard_of"] = value;
            assert!(!VALIDATOR.is_valid(&record), "{place}");
        }
        let mut record = good.clone();
        record["block"]["probability"] = json!(1.0);
        assert!(!VALIDATOR.is_valid(&record));
        record = good;
        record["event_type"] = json!("stats");
        assert!(!VALIDATOR.is_valid(&record));
    }

    #[test]
    fn the_schema_knows_every_name_the_code_knows() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let names = |place: &str| -> Vec<String> {
            let list = schema.pointer(place).unwrap_or_else(|| panic!("{place}"));
            match list {
                Value::Array(names) => names.iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
                _ => panic!("{place}"),
            }
        };
        let keys = |place: &str| -> BTreeSet<String> {
            schema
                .pointer(place)
                .unwrap()
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect()
        };
        let set = |names: &[&str]| -> BTreeSet<String> { names.iter().map(ToString::to_string).collect() };
        let verdicts = [Verdict::Possible, Verdict::Likely, Verdict::Confirmed].map(Verdict::key);
        assert_eq!(names("/$defs/kind/enum"), Kind::ALL.map(Kind::key));
        assert_eq!(names("/$defs/block/properties/verdict/enum"), verdicts);
        assert_eq!(keys("/$defs/count_by_verdict/properties"), set(&verdicts));
        assert_eq!(names("/$defs/group/enum"), Group::ALL.map(Group::key));
        assert_eq!(
            names("/$defs/block/properties/stage/enum"),
            [Stage::PostSyn, Stage::PostAck, Stage::PostPsh, Stage::LaterInFlow].map(Stage::key)
        );
        assert_eq!(
            names("/$defs/block/properties/claimed_sender/enum"),
            [Party::Client, Party::Server].map(Party::key)
        );
        assert_eq!(
            names("/$defs/block/properties/position/enum"),
            [Position::OnPath, Position::InPath, Position::Unknown].map(Position::key)
        );
        assert_eq!(
            names("/$defs/trigger/properties/type/enum"),
            [
                TriggerKind::Host,
                TriggerKind::Sni,
                TriggerKind::Qname,
                TriggerKind::Packet
            ]
            .map(TriggerKind::key)
        );
        assert_eq!(
            keys("/$defs/coverage/properties/undissected/properties"),
            set(&Undissected::ALL.map(Undissected::key))
        );
        assert_eq!(
            names("/$defs/coverage/properties/undissected/required"),
            Undissected::ALL.map(Undissected::key)
        );
    }
}
