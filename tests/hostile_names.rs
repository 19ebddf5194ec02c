//! Names from the wire that mean something to whoever shows them, through every output: none is obeyed, and where the
//! output is data, each comes back as it was sent.

mod netns;

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use netns::{Watching, assert_inside, get, inside, ip, replay, wait_until};
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

/// What an interface may be called: anything of fifteen octets at most but white space, slashes and colons.
const INTERFACE: &str = "##[x]\\\"b\u{1b}[1m,}";

/// The label `interface` of every sample of `metrics` that has one, as Prometheus reads it.
#[track_caller]
fn interfaces(metrics: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let mut rest = line.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric() || letter == '_');
        if let Some(labels) = rest.strip_prefix('{') {
            rest = labels;
            while !rest.starts_with('}') {
                let (name, value) = rest.trim_start_matches(',').split_once("=\"").expect(line);
                let mut read = String::new();
                let mut letters = value.char_indices();
                let end = loop {
                    match letters.next().expect(line) {
                        (end, '"') => break end,
                        (_, '\\') => match letters.next().expect(line).1 {
                            'n' => read.push('\n'),
                            escaped @ ('\\' | '"') => read.push(escaped),
                            other => panic!("\\{other}: {line}"),
                        },
                        (_, letter) => read.push(letter),
                    }
                };
                if name == "interface" {
                    found.push(read);
                }
                rest = &value[end + 1..];
            }
            rest = &rest[1..];
        }
        rest.trim().parse::<f64>().expect(line);
    }
    found
}

#[test]
fn watching_gives_no_orders() {
    inside("inside_watching");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_watching() {
    assert_inside();
    ip("link set lo up");
    ip(&format!(
        "link add {INTERFACE} mtu 9000 type veth peer name sent mtu 9000"
    ));
    for name in [INTERFACE, "sent"] {
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
        ip(&format!("link set {name} up arp off"));
    }
    let home = hostile(TURNED);
    let (log, kept) = (home.path().join("log"), home.path().join("kept.pcapng"));
    let address = "127.0.0.1:9464";
    let mut arguments = vec![
        "-i",
        INTERFACE,
        "--buffer",
        "4",
        "-p",
        "--immediate",
        "--metrics",
        address,
    ];
    arguments.extend(["-o", log.to_str().unwrap(), "-w", kept.to_str().unwrap()]);
    for format in ["text", "eve"] {
        fs::write(&log, "").unwrap();
        let _ = fs::remove_file(&kept);
        let watching = Watching::start(&[&arguments[..], &["--format", format]].concat());
        wait_until("it is ready", || get(address, "/readyz").starts_with("HTTP/1.1 200"));
        replay(&home.path().join(FILE), "sent");
        let counted = "blockscope_findings_total{kind=\"block_page\"";
        wait_until("a finding is counted", || get(address, "/metrics").contains(counted));
        let page = get(address, "/metrics");
        let (head, metrics) = page.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let told = interfaces(metrics);
        assert!(
            told.len() >= 3 && told.iter().all(|name| name == INTERFACE),
            "{metrics}"
        );
        ip(&format!("link set {INTERFACE} down"));
        wait_until("it is not ready", || get(address, "/readyz").contains("is down"));
        assert_gives_no_orders(&get(address, "/readyz").replace('\r', ""));
        ip(&format!("link set {INTERFACE} up"));
        let (status, said) = watching.end();
        assert_eq!(status, Some(0), "{said}");
        assert_gives_no_orders(&said);
        let told = fs::read_to_string(&log).unwrap();
        assert_gives_no_orders(&told);
        if format == "eve" {
            assert_comes_back(&told, TURNED);
        }
        // What is written about packets is shown by Wireshark, and by whoever prints it.
        let bytes = fs::read(&kept).unwrap();
        let kept_name = kept.to_str().unwrap();
        assert!(bytes.windows(INTERFACE.len()).any(|part| part == INTERFACE.as_bytes()));
        assert_gives_no_orders(&self::told(&home, &["read", kept_name]));
    }
    let listed = self::told(&home, &["interfaces"]);
    assert!(listed.contains("sent"), "{listed}");
    assert_gives_no_orders(&listed);
    assert_gives_no_orders(&self::told(&home, &["doctor", "-i", INTERFACE]));
}
