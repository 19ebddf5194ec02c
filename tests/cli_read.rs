//! `blockscope read` from end to end: what it does with captures that are empty, broken or none, and how it ends.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use etherparse::PacketBuilder;
use serde_json::Value;
use tempfile::TempDir;

fn blockscope() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("blockscope"))
}

/// Status, standard output, standard error.
fn read(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = blockscope().arg("read").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A pcap file of raw IP frames.
fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 101] {
        file.extend(word.to_le_bytes());
    }
    for (second, frame) in (0u32..).zip(frames) {
        let len = frame.len() as u32;
        for word in [1_700_000_000 + second, 0, len, len] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}

fn datagram(port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ipv4([192, 0, 2, 1], [198, 51, 100, 1], 64).udp(40_000, port);
    builder.write(&mut frame, b"hello").unwrap();
    frame
}

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> String {
        let path: PathBuf = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn last_record(out: &str) -> Value {
    serde_json::from_str(out.lines().last().unwrap()).unwrap()
}

#[test]
fn an_empty_capture_is_no_error_and_nothing_to_inspect() {
    let files = Files::new();
    let (status, out, err) = read(&[&files.put("x.pcap", &capture(&[]))]);
    assert_eq!((status, err.as_str()), (Some(0), ""));
    assert!(out.contains("Nothing to inspect"), "{out}");
}

#[test]
fn a_capture_cut_off_is_read_up_to_there_and_refused_only_when_strict() {
    let files = Files::new();
    let mut bytes = capture(&[datagram(9), datagram(9)]);
    bytes.truncate(bytes.len() - 3);
    let path = files.put("x.pcap", &bytes);
    let (status, out, err) = read(&[&path]);
    assert_eq!(status, Some(0));
    assert!(out.contains("Inspected 1 frame"), "{out}");
    assert!(
        err.starts_with("blockscope: warning: ") && err.contains("at byte 73"),
        "{err}"
    );
    let (status, _, err) = read(&[&path, "--strict"]);
    assert_eq!(status, Some(3));
    assert!(err.starts_with("blockscope: error: "), "{err}");
}

#[test]
fn what_cannot_be_read_does_not_keep_the_rest_from_being_read() {
    let files = Files::new();
    let good = files.put("good.pcap", &capture(&[datagram(9)]));
    let foreign = files.put("foreign\x1b[2J.txt", b"Dear diary, this is no capture at all.");
    let (status, out, err) = read(&["/nonexistent.pcap", &foreign, &good, "--format", "eve"]);
    assert_eq!(status, Some(3));
    assert_eq!(last_record(&out)["stats"]["coverage"]["frames"], 1);
    assert!(
        err.contains("/nonexistent.pcap") && err.contains(r"foreign\u{1b}[2J.txt: not a capture"),
        "{err}"
    );
    assert!(!err.contains('\x1b'), "{err:?}");
}

#[test]
fn a_filter_decides_what_is_judged() {
    let files = Files::new();
    let path = files.put("x.pcap", &capture(&[datagram(9), datagram(10)]));
    let filter = files.put("filter", b"udp # datagrams\nand port 9\n");
    for arguments in [[&path, "-f", "udp port 9"], [&path, "-F", &filter]] {
        let (status, out, err) = read(&arguments);
        assert_eq!(status, Some(0), "{err}");
        assert!(out.contains("Inspected 1 frame"), "{out}");
        assert!(out.contains("1 frame of"), "{out}");
    }
    let (status, out, err) = read(&[&path, "-f", "complete nonsense"]);
    assert_eq!((status, out.as_str()), (Some(2), ""));
    assert!(err.contains("complete nonsense"), "{err}");
}

#[test]
fn a_pipe_and_an_output_file_do_as_well() {
    let files = Files::new();
    let output = files.0.path().join("out.jsonl");
    let mut child = blockscope()
        .args(["read", "-", "--format", "eve", "-o"])
        .arg(&output)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&capture(&[datagram(9)])).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let out = fs::read_to_string(&output).unwrap();
    assert_eq!(last_record(&out)["stats"]["files"][0]["pcap_filename"], "-");
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let files = Files::new();
    let path = files.put("x.pcap", &capture(&[datagram(9)]));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = blockscope().args(["read", &path]).stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn colour_comes_when_it_is_asked_for() {
    let files = Files::new();
    let path = files.put("x.pcap", &capture(&[datagram(9)]));
    assert!(!read(&[&path]).1.contains('\x1b'));
    assert!(read(&[&path, "--color", "always"]).1.contains('\x1b'));
}

#[test]
fn an_interrupted_run_reports_what_it_has_and_ends_with_status_130() {
    let mut child = blockscope()
        .args(["read", "-", "--format", "eve", "-v"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The pipe stays open: without the signal the run would wait for more.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&capture(&[datagram(9)])).unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening for signals") {
        line.clear();
        assert_ne!(errors.read_line(&mut line).unwrap(), 0, "it ended without listening");
    }
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(output.status.code(), Some(130));
    let record = last_record(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(record["stats"]["interrupted"], true);
}

#[test]
fn the_same_is_found_whatever_the_number_of_threads() {
    let files = Files::new();
    let frames: Vec<_> = (1..200).map(datagram).collect();
    let path = files.put("x.pcap", &capture(&frames));
    let one = read(&[&path, "--format", "eve", "--threads", "1"]);
    assert_eq!(one, read(&[&path, "--format", "eve", "--threads", "4"]));
    if cfg!(target_os = "linux") {
        assert_eq!(one, read(&[&path, "--format", "eve", "--threads", "4", "--pin"]));
    }
}

/// A capture in which a box beside the path answers with a redirect that no list of ours knows.
const REDIRECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/redirect-on-path-race/trace.pcap");

const COLUMNS: &str = "name,scope,other_names,location_found,pattern_type,pattern,confidence_no_fp,expected_countries,\
                       source,exp_url,notes\n";

/// The findings in [`REDIRECT`], known lists besides.
fn blocks_with(lists: &[&str]) -> (Vec<Value>, String) {
    let mut arguments = vec![REDIRECT, "--format", "eve"];
    for list in lists {
        arguments.extend(["--fingerprints", list]);
    }
    let (status, out, err) = read(&arguments);
    assert_eq!(status, Some(0), "{err}");
    let records = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    (records.filter(|record| record["event_type"] == "block").collect(), err)
}

#[test]
fn a_given_list_is_named_with_its_line_where_it_matches() {
    let files = Files::new();
    let ooni = files.put(
        "lists.csv",
        format!(
            "{COLUMNS}t.0,isp,,body,contains,no such page,5,KZ,mine,,\n\
             t.1,isp,,header.location,prefix,http://warning.example/,8,\"KZ,KG\",mine,https://example.org/m,\n\
             t.2,isp,,body,regexp,(broken,5,KZ,mine,,\n"
        )
        .as_bytes(),
    );
    let planet = files.put(
        "signatures.json",
        b"{\"fingerprint\":\"a_prod_x\",\"pattern\":\"nothing like it\"}\n",
    );
    let (blocks, err) = blocks_with(&[&planet, &ooni]);
    assert!(!blocks.is_empty());
    for block in &blocks {
        let row = &block["block"]["fingerprint"];
        assert_eq!(
            (&row["id"], &row["known_from"]),
            (&"t.1".into(), &"KZ, KG".into()),
            "{block}"
        );
        assert_eq!(
            (&row["file"], &row["line"]),
            (&"lists.csv".into(), &3.into()),
            "{block}"
        );
        assert_eq!(
            (&row["source"], &row["url"]),
            (&"mine".into(), &"https://example.org/m".into())
        );
    }
    assert!(err.contains("1 row left out: line 4 t.2: the expression"), "{err}");
    let (_, text, _) = read(&[REDIRECT, "--fingerprints", &ooni]);
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains("t.1, known from KZ, KG (mine; line 3 of lists.csv; https://example.org/m)"),
        "{text}"
    );
}

#[test]
fn a_given_false_positive_speaks_against_and_a_vague_word_weighs_little() {
    let files = Files::new();
    let list = |scope: &str, confidence: u8| {
        let row = format!("{COLUMNS}t.1,{scope},,header.location,contains,warning.example,{confidence},,mine,,\n");
        files.put(&format!("{scope}.csv"), row.as_bytes())
    };
    let item = |blocks: &[Value], side: &str, what: &str| {
        let items = blocks[0]["block"][side].as_array().unwrap().clone();
        items.into_iter().find(|item| item["what"] == what)
    };
    let (isp, _) = blocks_with(&[&list("isp", 10)]);
    let known = item(&isp, "evidence", "known_block_page").unwrap()["llr"]
        .as_f64()
        .unwrap();
    let (vague, _) = blocks_with(&[&list("vbw", 10)]);
    let weak = item(&vague, "evidence", "known_block_page").unwrap()["llr"]
        .as_f64()
        .unwrap();
    assert!(weak < 2.5 && known > 2.0 * weak, "{weak} {known}");
    // The false positive goes before the other list's row for the same page.
    let (innocent, _) = blocks_with(&[&list("isp", 10), &list("fp", 10)]);
    assert!(item(&innocent, "evidence", "known_block_page").is_none());
    assert!(item(&innocent, "against", "known_false_positive").is_some());
}

#[test]
fn what_is_no_list_of_fingerprints_is_refused_with_its_line_and_what_to_do() {
    let files = Files::new();
    let wrong = files.put("wrong.csv", b"when,what\n1,2\n");
    let (status, out, err) = read(&[REDIRECT, "--fingerprints", &wrong]);
    assert_eq!((status, out.as_str()), (Some(2), ""));
    assert!(
        err.contains("wrong.csv:1: ") && err.contains("give the file as it was published"),
        "{err}"
    );
    let (status, _, err) = read(&[REDIRECT, "--fingerprints", "/nowhere/list.csv"]);
    assert_eq!(status, Some(2));
    assert!(err.contains("/nowhere/list.csv"), "{err}");
}
