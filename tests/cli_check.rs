//! `blockscope check`: what passes, what fails and how it is told, what is written, and how it ends.
//!
//! `schemas/sarif-2.1.0.json` is the schema OASIS publishes for SARIF 2.1.0. The structure of JUnit files is checked
//! beside what writes them, in `src/check/report/junit.rs`.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// A fixture with three forged resets, in three flows, for two names.
const ATTACKED: &str = "gfw-rst-triple-stepped";
/// One in which nothing is blocked.
const BENIGN: &str = "benign-host-down";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// A directory of cases to work in.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A case with a fixture's capture and this manifest.
    fn case(&self, name: &str, fixture: &str, manifest: &str) {
        let home = self.path(name);
        fs::create_dir_all(&home).unwrap();
        fs::copy(fixtures().join(fixture).join("trace.pcap"), home.join("x.pcap")).unwrap();
        fs::write(home.join("case.toml"), manifest).unwrap();
    }

    /// Runs the command here: its status, its output, and its errors.
    fn check(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::cargo_bin("blockscope").unwrap();
        let output = command
            .current_dir(self.0.path())
            .arg("check")
            .args(arguments)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    #[track_caller]
    fn checked(&self, arguments: &[&str], status: i32) -> String {
        let (code, out, err) = self.check(arguments);
        assert_eq!((code, err.as_str()), (status, ""), "{arguments:?}: {out}");
        out
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], status: i32) -> String {
        let (code, out, err) = self.check(arguments);
        assert_eq!((code, out.as_str()), (status, ""), "{arguments:?}: {err}");
        err
    }
}

/// The lines of a report, without the times in them.
fn lines(report: &str) -> Vec<String> {
    report
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn the_fixtures_of_this_project_pass() {
    let desk = Desk::new();
    let out = desk.checked(&[fixtures().to_str().unwrap()], 0);
    let count = fs::read_dir(fixtures())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().is_dir())
        .count();
    assert!(out.contains(&format!("\n{count} cases: {count} passed, in ")), "{out}");
}

#[test]
fn what_must_be_found_passes_only_if_it_is() {
    let desk = Desk::new();
    let manifest = |name: &str, count: u32| {
        format!("nothing_else = true\n\n[[find]]\nkind = \"rst_injection\"\nname = \"*{name}\"\ncount = {count}\n")
    };
    desk.case(
        "a",
        ATTACKED,
        &(manifest(".blocked.example", 1) + "[[find]]\nname = \"blocked.example\"\n"),
    );
    assert!(desk.checked(&["a"], 0).starts_with("ok "));
    desk.case("b", ATTACKED, &manifest(".blocked.example", 1));
    let out = desk.checked(&["b"], 1);
    assert!(
        out.contains("  b/case.toml:1\n    - expected  nothing else\n    + found     frame "),
        "{out}"
    );
    assert!(out.contains("exact marks of a known device"), "no evidence: {out}");
    desk.case("c", ATTACKED, &manifest(".other.example", 1));
    let out = desk.checked(&["c"], 1);
    assert!(
        out.contains("  c/case.toml:3\n    - expected  1 rst_injection, *.other.example\n    + found     none\n"),
        "{out}"
    );
    assert!(out.contains("nearest: frame "), "{out}");
}

#[test]
fn what_must_not_be_found_fails_if_it_is() {
    let desk = Desk::new();
    desk.case("a", ATTACKED, "[[find]]\nname = \"news.example\"\ncount = 0\n");
    desk.case("b", ATTACKED, "[[find]]\nverdict = \"likely\"\ncount = 0\n");
    desk.case("c", BENIGN, "[[find]]\ncount = 0\n");
    let out = desk.checked(&[], 1);
    let told: Vec<String> = lines(&out)
        .into_iter()
        .filter(|line| line.starts_with("ok") || line.starts_with("FAIL"))
        .collect();
    assert!(
        told[0].starts_with("ok a ") && told[1].starts_with("FAILED b ") && told[2].starts_with("ok c "),
        "{told:?}"
    );
    assert!(
        out.contains("    - expected  no finding, likely at least\n    + found     3\n"),
        "{out}"
    );
}

#[test]
fn values_of_the_closing_record_are_held_to() {
    let desk = Desk::new();
    desk.case("a", BENIGN, "[stats]\n\"/stats/coverage/tcp_flows\" = 6\n");
    desk.checked(&["a"], 0);
    desk.case("a", BENIGN, "[stats]\n\n\"/stats/coverage/tcp_flows\" = 7\n");
    let out = desk.checked(&["a"], 1);
    assert!(
        out.contains("  a/case.toml:3\n    - expected  /stats/coverage/tcp_flows to be 7\n    + found     6\n"),
        "{out}"
    );
}

#[test]
fn silence_about_what_could_not_be_judged_is_no_pass() {
    let desk = Desk::new();
    desk.case("a", BENIGN, "nothing_else = true\n");
    desk.checked(&["a"], 0);
    let capture = desk.path("a").join("x.pcap");
    let whole = fs::read(&capture).unwrap();
    fs::write(&capture, &whole[..24]).unwrap();
    let out = desk.checked(&["a"], 1);
    assert!(out.contains("expected  flows that can be judged"), "{out}");
    fs::write(&capture, &whole[..whole.len() - 1]).unwrap();
    let out = desk.checked(&["a"], 1);
    assert!(
        out.contains("expected  a whole capture\n    + found     damage at byte "),
        "{out}"
    );
    fs::write(
        desk.path("a").join("case.toml"),
        "nothing_else = true\ndamaged = true\n",
    )
    .unwrap();
    desk.checked(&["a"], 0);
}

#[test]
fn exact_lines_are_compared_and_accepted() {
    let desk = Desk::new();
    desk.case("a", ATTACKED, "");
    let out = desk.checked(&["a"], 3);
    assert!(out.contains("nothing says what is to be found"), "{out}");
    assert!(desk.checked(&["a", "--accept"], 0).starts_with("accepted a "));
    let expected = desk.path("a").join("expected.eve.jsonl");
    let found = fs::read_to_string(&expected).unwrap();
    assert!(found.contains("\"pcap_filename\":\"x.pcap\""), "{found}");
    assert!(desk.checked(&["a"], 0).starts_with("ok "));

    fs::write(&expected, found.replacen("\"confirmed\"", "\"possible\"", 1)).unwrap();
    let out = desk.checked(&["a"], 1);
    assert!(out.contains("- expected  /block/verdict of frame "), "{out}");
    assert!(
        out.contains(" to be \"possible\"\n    + found     \"confirmed\"\n"),
        "{out}"
    );
    let without_first: String = found.lines().skip(1).map(|line| format!("{line}\n")).collect();
    fs::write(&expected, without_first).unwrap();
    let out = desk.checked(&["a"], 1);
    assert!(
        out.contains("- expected  nothing else\n    + found     frame "),
        "{out}"
    );
    desk.checked(&["a", "--accept"], 0);
    assert_eq!(fs::read_to_string(&expected).unwrap(), found);
    assert_eq!(
        fs::read_dir(desk.path("a")).unwrap().count(),
        3,
        "something is left behind"
    );
}

#[test]
fn a_story_is_forged_where_there_is_no_capture() {
    let desk = Desk::new();
    fs::create_dir(desk.path("a")).unwrap();
    let story = fixtures().join(ATTACKED).join("story.toml");
    fs::copy(story, desk.path("a").join("story.toml")).unwrap();
    fs::write(
        desk.path("a").join("case.toml"),
        "[[find]]\nkind = \"rst_injection\"\ncount = 3\n",
    )
    .unwrap();
    assert!(desk.checked(&[], 0).starts_with("ok "));
}

#[test]
fn a_new_case_is_drafted_that_passes_and_nothing_is_overwritten() {
    let desk = Desk::new();
    let capture = fixtures().join(ATTACKED).join("trace.pcap");
    let arguments = ["--new", capture.to_str().unwrap(), "cases"];
    assert_eq!(desk.checked(&arguments, 0), "cases/trace/case.toml\n");
    let manifest = fs::read_to_string(desk.path("cases/trace/case.toml")).unwrap();
    assert!(manifest.contains("\nkind = \"rst_injection\"\n"), "{manifest}");
    assert!(desk.checked(&["cases"], 0).starts_with("ok "));
    fs::write(desk.path("cases/trace/case.toml"), "precious").unwrap();
    assert!(desk.refused(&arguments, 3).contains("is a case already"));
    assert_eq!(
        fs::read_to_string(desk.path("cases/trace/case.toml")).unwrap(),
        "precious"
    );
}

#[test]
fn a_slip_in_a_manifest_is_told_with_its_line_and_what_was_meant() {
    let desk = Desk::new();
    desk.case("a", BENIGN, "nothing_else = true\n\n[[find]]\nverdit = \"likely\"\n");
    desk.case("b", BENIGN, "nothing_else = true\n");
    let out = desk.checked(&[], 3);
    assert!(out.contains("  a/case.toml:4\n    unknown field `verdit`"), "{out}");
    assert!(out.contains("did you mean `verdict`?"), "{out}");
    assert!(out.contains("\n2 cases: 1 passed, 1 unreadable, in "), "{out}");
}

#[test]
fn what_makes_no_sense_and_what_cannot_be_read_have_their_statuses() {
    let desk = Desk::new();
    assert!(desk.refused(&[], 3).contains("no case below ."));
    assert!(desk.refused(&["nowhere"], 3).contains("nowhere: "));
    desk.case("a", BENIGN, "nothing_else = true\n");
    assert!(
        desk.refused(&["--filter", "b"], 2)
            .contains("no case has b in its name")
    );
    assert!(desk.refused(&["--jobs", "0"], 2).contains("--jobs"));
    assert!(desk.refused(&["--tap", "--github"], 2).contains("cannot be used with"));
    desk.check(&["--junit", "none/x.xml"]);
    let (status, _, err) = desk.check(&["--junit", "none/x.xml"]);
    assert_eq!(status, 3);
    assert!(err.contains("cannot write none/x.xml"), "{err}");
    fs::write(desk.path("a/x.pcap"), "not packets").unwrap();
    assert!(desk.checked(&["a"], 3).contains("  a/x.pcap:1\n    not a capture: "));
}

#[test]
fn the_order_does_not_depend_on_the_jobs_and_a_filter_picks() {
    let desk = Desk::new();
    let names = |report: &str| -> Vec<String> {
        let cases = report.lines().filter(|line| line.starts_with("ok "));
        cases
            .map(|line| line.split_whitespace().nth(1).unwrap().to_owned())
            .collect()
    };
    let all = fixtures();
    let one = names(&desk.checked(&[all.to_str().unwrap(), "--jobs", "1"], 0));
    let many = names(&desk.checked(&[all.to_str().unwrap(), "--jobs", "16"], 0));
    assert_eq!(one, many);
    let mut sorted = one.clone();
    sorted.sort();
    assert_eq!(one, sorted);
    let picked = names(&desk.checked(&[all.to_str().unwrap(), "--filter", "fin-inj", "--filter", "iran"], 0));
    let wanted: Vec<String> = one
        .into_iter()
        .filter(|name| name.contains("fin-inj") || name.contains("iran"))
        .collect();
    assert_eq!(picked, wanted);
    assert!(picked.len() > 1);
}

/// A desk with a case that passes, one that fails and one that cannot be read.
fn mixed() -> Desk {
    let desk = Desk::new();
    desk.case("a", BENIGN, "nothing_else = true\n");
    desk.case("b # 2", ATTACKED, "nothing_else = true\n");
    desk.case("c", BENIGN, "[[fnd]]\n");
    desk
}

#[test]
fn the_sarif_report_is_valid_by_the_published_schema() {
    let desk = mixed();
    desk.checked(&["--sarif", "x.sarif"], 3);
    let report: Value = serde_json::from_slice(&fs::read(desk.path("x.sarif")).unwrap()).unwrap();
    // One of its patterns, of a key that is not used here, has a bracket too many, which validators do not forgive.
    let schema = include_str!("schemas/sarif-2.1.0.json").replace("{2}]?$", "{2}$");
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<String> = validator.iter_errors(&report).map(|error| error.to_string()).collect();
    assert_eq!(wrong, Vec::<String>::new());
    let mut broken = report.clone();
    broken["runs"][0]["results"][0]["level"] = "fatal".into();
    assert!(!validator.is_valid(&broken), "the schema lets anything pass");
    let results = report["runs"][0]["results"].as_array().unwrap();
    let rules: Vec<&str> = results
        .iter()
        .map(|result| result["ruleId"].as_str().unwrap())
        .collect();
    assert_eq!(rules, ["not-expected", "not-expected", "not-expected", "unreadable"]);
    let place = &results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
    assert_eq!(place, "b%20%23%202/case.toml");
}

#[test]
fn the_junit_report_counts_failures_and_errors() {
    let desk = mixed();
    desk.checked(&["--junit", "x.xml"], 3);
    let report = fs::read_to_string(desk.path("x.xml")).unwrap();
    assert!(report.contains("tests=\"3\" failures=\"1\" errors=\"1\""), "{report}");
    assert_eq!(report.matches("<testcase ").count(), 3);
    assert_eq!(report.matches("<failure type=\"not-expected\"").count(), 3);
    assert_eq!(report.matches("<error type=\"unreadable\"").count(), 1);
}

#[test]
fn tap_and_annotations_go_to_standard_output() {
    let desk = mixed();
    let tap = desk.checked(&["--tap"], 3);
    assert!(tap.starts_with("TAP version 14\n1..3\nok 1 - a\n"), "{tap}");
    assert!(
        tap.contains("\nnot ok 2 - b \\# 2\n") && tap.contains("\nnot ok 3 - c\n"),
        "{tap}"
    );
    let text = desk.checked(&["--github"], 3);
    let annotations: Vec<&str> = text.lines().filter(|line| line.starts_with("::error ")).collect();
    assert_eq!(annotations.len(), 4, "{text}");
    assert!(
        annotations[0].starts_with("::error file=b # 2/case.toml,line=1,title=blockscope check%3A b # 2::expected")
    );
}

#[test]
fn captures_that_no_case_speaks_of_are_told() {
    let desk = Desk::new();
    desk.case("a", BENIGN, "nothing_else = true\n");
    fs::create_dir(desk.path("loose")).unwrap();
    fs::write(desk.path("loose/y.pcapng"), "").unwrap();
    let out = desk.checked(&[], 0);
    assert!(out.contains("1 capture in no case, such as loose/y.pcapng"), "{out}");
    assert!(!desk.checked(&["a"], 0).contains("no case"));
    assert_eq!(desk.checked(&["--quiet"], 0), "");
}
