//! `blockscope calibrate` as its user meets it.

use assert_cmd::Command;

fn calibrate(args: &[&str]) -> (i32, String, String) {
    let output = Command::cargo_bin("blockscope")
        .unwrap()
        .arg("calibrate")
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn fixtures_are_judged_by_their_stories() {
    let (status, page, errors) = calibrate(&["fixtures"]);
    assert_eq!((status, errors.as_str()), (0, ""));
    let row = |start: &str| {
        let row = page.lines().find(|line| line.starts_with(start));
        let row = row.unwrap_or_else(|| panic!("no row {start:?} in\n{page}"));
        row.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let resets = row("rst_injection        confirmed");
    assert!(resets[2].parse::<u32>().unwrap() >= 20, "{resets:?}");
    assert_eq!((resets[3].as_str(), resets[4].as_str()), ("0", "1.000"));
    assert!(page.contains("innocent captures: "), "{page}");
    assert!(row("0.999 - 1.000")[3].parse::<u32>().unwrap() >= 20);
}

#[test]
fn a_capture_held_to_be_innocent_makes_every_finding_wrong() {
    let fixture = tempfile::tempdir().unwrap();
    std::fs::copy(
        concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/ipv6-rst/trace.pcap"),
        fixture.path().join("trace.pcap"),
    )
    .unwrap();
    let directory = fixture.path().to_str().unwrap();
    let (status, page, _) = calibrate(&[directory]);
    assert_eq!(status, 0);
    let row = page
        .lines()
        .find(|line| line.starts_with("rst_injection        confirmed"))
        .unwrap();
    assert!(row.trim_end().ends_with("0.000"), "{row}");
    let (_, page, _) = calibrate(&["--blocked", directory]);
    assert!(page.starts_with("0 innocent captures"), "{page}");
    assert!(!page.contains("rst_injection"), "{page}");
}

#[test]
fn labels_that_are_wrong_are_an_error_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let labels = directory.path().join("labels.json");
    std::fs::write(&labels, r#"[{"file": "a.pcap", "flow": "nowhere"}]"#).unwrap();
    let (status, _, errors) = calibrate(&[directory.path().to_str().unwrap(), "--labels", labels.to_str().unwrap()]);
    assert_eq!(status, 3);
    assert!(errors.contains("labels.json: label 1: "), "{errors}");
}
