//! The command line: what it offers, what it refuses, and how it ends.

use assert_cmd::Command;

fn blockscope(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::cargo_bin("blockscope").unwrap();
    let output = command.args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn help_tells_how_to_watch_and_what_is_given_up() {
    let (status, help, _) = blockscope(&["watch", "--help"]);
    assert_eq!(status, Some(0));
    for part in [
        "-p, --no-promiscuous-mode",
        "--immediate",
        "-w, --write",
        "--rotate-size",
        "--rotate-every",
        "--keep ",
        "--evidence-span",
        "--evidence-memory",
        "--user",
        "--sandbox",
        "--keep-net-raw",
        "SIGHUP",
        "cap_net_raw",
        "130",
    ] {
        assert!(help.contains(part), "{part}\n{help}");
    }
    let (status, help, _) = blockscope(&["doctor", "--help"]);
    assert_eq!(status, Some(0));
    assert!(help.contains("--for") && help.contains("Exit status:"), "{help}");
}

#[test]
fn help_tells_of_every_subcommand_option_and_exit_status() {
    let (status, help, _) = blockscope(&["--help"]);
    assert_eq!(status, Some(0));
    for part in ["read", "schema", "--quiet", "--verbose", "--version"] {
        assert!(help.contains(part), "{part}\n{help}");
    }
    let (status, help, _) = blockscope(&["read", "--help"]);
    assert_eq!(status, Some(0));
    for part in [
        "FILE|DIR|-",
        "--format",
        "text",
        "eve",
        "-o, --output",
        "-f, --filter",
        "-F, --filter-file",
        "--threads",
        "--flows",
        "--memory",
        "--strict",
        "--fail-on",
        "--verdict",
        "--color",
        "NO_COLOR",
        "-q, --quiet",
        "-v, --verbose",
        "--no-progress",
        "Examples:",
        "Exit status:",
        "  130  ",
    ] {
        assert!(help.contains(part), "{part}\n{help}");
    }
}

#[test]
fn arguments_that_make_no_sense_are_refused_with_status_2() {
    for arguments in [
        &[][..],
        &["read"],
        &["read", "x", "--format", "xml"],
        &["read", "x", "--fail-on", "perhaps"],
        &["read", "x", "--threads", "0"],
        &["read", "x", "--flows", "0"],
        &["read", "x", "--flows", "9", "--memory", "9"],
        &["read", "x", "-f", "tcp", "-F", "file"],
        &["read", "x", "-q", "-v"],
        &["read", "x", "-F", "/nonexistent/filter"],
        &["unheard-of"],
    ] {
        let (status, out, err) = blockscope(arguments);
        assert_eq!(status, Some(2), "{arguments:?}: {err}");
        assert!(out.is_empty() && !err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn an_output_that_is_an_input_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.pcap");
    std::fs::write(&path, "precious").unwrap();
    let name = path.to_str().unwrap();
    let (status, _, err) = blockscope(&["read", name, "-o", name]);
    assert_eq!(status, Some(2));
    assert!(err.starts_with("blockscope: error: "), "{err}");
    assert!(err.contains("is among the inputs"), "{err}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn an_output_that_cannot_be_written_is_status_3() {
    let (status, _, err) = blockscope(&["read", "/dev/null", "-o", "/nonexistent/directory/out"]);
    assert_eq!(status, Some(3));
    assert!(err.contains("cannot write /nonexistent/directory/out: "), "{err}");
}

#[test]
fn the_schema_is_printed_as_it_is() {
    let (status, out, err) = blockscope(&["schema"]);
    assert_eq!((status, err.as_str()), (Some(0), ""));
    assert_eq!(out, blockscope::report::eve::SCHEMA);
}
