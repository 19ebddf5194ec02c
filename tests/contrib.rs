//! The files in contrib/, by the tools they are for where these are at hand.

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn systemd_accepts_the_unit() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/blockscope-watch@.service");
    let dir = tempfile::tempdir().unwrap();
    // The program need not be installed to say whether the rest makes sense.
    let copy = dir.path().join("blockscope-watch@.service");
    let program = assert_cmd::cargo::cargo_bin!("blockscope");
    let text = fs::read_to_string(unit).unwrap();
    fs::write(&copy, text.replace("/usr/bin/blockscope", program.to_str().unwrap())).unwrap();
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze")
            .args(arguments)
            .arg(&copy)
            .output()
            .ok()?;
        let said = [output.stdout, output.stderr].concat();
        Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
    };
    let Some((accepted, said)) = analyze(&["verify", "--man=no"]) else {
        eprintln!("skipped: systemd-analyze is not installed");
        return;
    };
    assert!(accepted, "{said}");
    // Units of the machine itself may be complained of.
    assert!(!said.contains("blockscope-watch@"), "{said}");
    // 0 is nothing exposed, 10 everything.
    match analyze(&["security", "--offline=true", "--threshold=25"]) {
        Some((true, _)) => {}
        Some((false, said)) if said.contains("unrecognized option") => eprintln!("skipped: systemd-analyze is old"),
        Some((false, said)) => panic!("{said}"),
        None => unreachable!("it was there before"),
    }
}
