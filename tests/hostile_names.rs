//! Names from the wire that mean something to whoever shows them, through every output: none is obeyed, and where the
//! output is data, each comes back as it was sent.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use quick_xml::events::Event;
use serde_json::Value;
use tempfile::TempDir;

/// A capture in which a page and a redirect are forged for this name, under which it leads to that place.
const FIXTURE: &str = "packetlogic-307";
const NAME: &str = "blocked.example";
const PLACE: &str = "warning.example";

/// As long as [`NAME`]: orders to a build server, markup, quotes.
const ORDER: &str = "##vso[a]<b>&\"',";
/// As long as [`NAME`]: a control sequence without an escape, nothing to see, writing turned round, ends of XML and of a
/// line.
const TURNED: &str = "\u{9b}\u{200b}\u{202e}]]>%0a\\";
/// As long as [`PLACE`]: an annotation, once the line is broken at its space.
const ANNOTATION: &str = " ::error::pwned";
/// A file name may hold all that a name on the wire may not.
const FILE: &str = "x\u{1b}[31m ::error::##[x]\u{202e}.pcap";

/// The capture with its names exchanged, in a directory of its own.
fn hostile(name: &str) -> TempDir {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut bytes = fs::read(fixtures.join(FIXTURE).join("trace.pcap")).unwrap();
    for (old, new) in [(NAME, name), (PLACE, ANNOTATION)] {
        assert_eq!(old.len(), new.len());
        let mut found = 0;
        for at in 0..bytes.len() - old.len() {
            if bytes[at..].starts_with(old.as_bytes()) {
                bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
                found += 1;
            }
        }
        assert!(found > 0, "{old}");
    }
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(FILE), bytes).unwrap();
    home
}

/// What the command prints to either side.
fn told(home: &TempDir, arguments: &[&str]) -> String {
    let mut command = Command::cargo_bin("blockscope").unwrap();
    let output = command.current_dir(home.path()).args(arguments).output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// Fails if a terminal, a reader's eye or a build server would take a part of `text` for more than text.
#[track_caller]
fn assert_gives_no_orders(text: &str) {
    let odd = |character: &char| {
        (character.is_control() && *character != '\n') || "\u{200b}\u{202e}\u{feff}".contains(*character)
    };
    assert_eq!(text.chars().find(odd), None, "{text:?}");
    assert!(!text.contains("##[") && !text.contains("##vso["), "{text}");
    for line in text.lines().map(str::trim_start) {
        assert!(!line.starts_with("::") || line.starts_with("::error file="), "{line}");
    }
}

/// The values of all `block` records, which must hold the name and the place as they were sent.
#[track_caller]
fn assert_comes_back(lines: &str, name: &str) {
    let records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let block = records
        .iter()
        .map(|record| &record["block"])
        .find(|block| block["kind"] == "block_page");
    let block = block.expect("a finding");
    assert_eq!(block["trigger"]["value"], name);
    assert_eq!(block["http"]["location"], format!("http://{ANNOTATION}/get"));
}

#[test]
fn reading_gives_no_orders() {
    for name in [ORDER, TURNED] {
        let home = hostile(name);
        let text = told(&home, &["read", FILE]);
        assert!(text.contains("block page"), "{text}");
        assert_gives_no_orders(&text);
        assert_gives_no_orders(&told(&home, &["read", FILE, "--strict", "-o", "a\u{1b}b/c"]));
        assert_gives_no_orders(&told(&home, &["read", "##[x]\u{1b}", "::error::"]));
        let lines = told(&home, &["read", FILE, "--format", "eve"]);
        assert_gives_no_orders(&lines);
        assert_comes_back(&lines, name);
    }
}

#[test]
fn checking_gives_no_orders_in_any_format() {
    for name in [ORDER, TURNED] {
        let home = hostile(name);
        fs::create_dir(home.path().join("case ::error::##[y]")).unwrap();
        let case = home.path().join("case ::error::##[y]");
        fs::rename(home.path().join(FILE), case.join("x.pcap")).unwrap();
        let manifest =
            "capture = \"x.pcap\"\nnothing_else = true\n[[find]]\nkind = \"block_page\"\nname = \"other.example\"\n";
        fs::write(case.join("case.toml"), manifest).unwrap();
        let text = told(&home, &["check", ".", "--junit", "j.xml", "--sarif", "s.json"]);
        assert!(text.contains("1 failed"), "{text}");
        assert_gives_no_orders(&text);
        assert_gives_no_orders(&told(&home, &["check", ".", "--tap"]));
        let annotated = told(&home, &["check", ".", "--github"]);
        assert!(annotated.contains("::error file="), "{annotated}");
        assert_gives_no_orders(&annotated);

        let xml = fs::read_to_string(home.path().join("j.xml")).unwrap();
        assert_gives_no_orders(&xml);
        let mut reader = quick_xml::Reader::from_str(&xml);
        let mut failures = 0;
        loop {
            match reader.read_event().unwrap() {
                Event::Start(start) => failures += u32::from(start.name().as_ref() == "failure"),
                Event::Eof => break,
                _ => {}
            }
        }
        assert!(failures > 0, "{xml}");
        let sarif = fs::read_to_string(home.path().join("s.json")).unwrap();
        assert_gives_no_orders(&sarif);
        serde_json::from_str::<Value>(&sarif).unwrap();
    }
}

#[test]
fn a_draft_is_toml_that_names_what_was_sent() {
    for name in [ORDER, TURNED] {
        let home = hostile(name);
        fs::rename(home.path().join(FILE), home.path().join("x.pcap")).unwrap();
        told(&home, &["check", "--new", "x.pcap"]);
        let drafts = walkdir::WalkDir::new(home.path()).into_iter().flatten();
        let draft = drafts
            .into_iter()
            .find(|entry| entry.file_name() == "case.toml")
            .expect("a draft");
        let text = fs::read_to_string(draft.path()).unwrap();
        assert_gives_no_orders(&text);
        let read: toml::Table = toml::from_str(&text).unwrap();
        let names: Vec<&toml::Value> = read["find"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|find| find.get("name"))
            .collect();
        assert!(names.iter().any(|found| found.as_str() == Some(name)), "{text}");
    }
}
