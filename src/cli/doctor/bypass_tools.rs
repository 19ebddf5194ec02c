//! Programs on this machine that get around filtering: what they do to packets looks like what boxes do.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::check::{Check, State};

/// The names of such programs, as they run (lower case): zapret's, byedpi's, and others by their own name.
const TOOLS: [(&str, &str); 16] = [
    ("nfqws", "zapret"),
    ("nfqws2", "zapret"),
    ("tpws", "zapret"),
    ("dvtws", "zapret"),
    ("winws", "zapret"),
    ("ciadpi", "byedpi"),
    ("byedpi", "byedpi"),
    ("goodbyedpi", "GoodbyeDPI"),
    ("spoofdpi", "SpoofDPI"),
    ("spoof-dpi", "SpoofDPI"),
    ("geneva", "Geneva"),
    ("green-tunnel", "Green Tunnel"),
    ("gt", "Green Tunnel"),
    ("dpitunnel-cli", "DPITunnel"),
    ("youtubeunblock", "youtubeUnblock"),
    ("powertunnel", "PowerTunnel"),
];

/// Which of them run.
pub(super) fn bypass_tools() -> Check {
    running_in(Path::new("/proc"))
}

fn running_in(proc: &Path) -> Check {
    let Ok(entries) = fs::read_dir(proc) else {
        return Check::unknown("bypass_tools", "/proc cannot be read");
    };
    let processes = entries.flatten().map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default();
        name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
    });
    let found: BTreeSet<String> = processes
        .filter_map(|process| {
            let names = names_of(&process);
            let (name, tool) = TOOLS.iter().find(|(name, _)| names.contains(*name))?;
            Some(format!(
                "{name} ({tool}), process {}",
                process.file_name()?.to_string_lossy()
            ))
        })
        .collect();
    if found.is_empty() {
        return Check::good("bypass_tools", "none that we know runs on this machine");
    }
    let found: Vec<_> = found.into_iter().collect();
    Check::bad(
        "bypass_tools",
        State::Problem,
        format!(
            "{}: it sends fake, split or reordered packets itself, which look like interference",
            found.join("; ")
        ),
        "end it while you measure, or watch where its packets do not pass",
    )
}

/// The names a process goes by: the kernel's, and the file it was started from or as.
fn names_of(process: &Path) -> BTreeSet<String> {
    let comm = fs::read_to_string(process.join("comm")).unwrap_or_default();
    let started = fs::read(process.join("cmdline")).unwrap_or_default();
    let started = started.split(|byte| *byte == 0).take(2);
    let files = started.filter_map(|part| {
        let name = Path::new(std::str::from_utf8(part).ok()?).file_name()?;
        Some(name.to_string_lossy().into_owned())
    });
    std::iter::once(comm.trim().to_owned())
        .chain(files)
        .map(|name| {
            let name = name.to_lowercase();
            name.strip_suffix(".py").map_or(name.clone(), str::to_owned)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(proc: &Path, number: &str, comm: &str, cmdline: &[u8]) {
        let process = proc.join(number);
        fs::create_dir(&process).unwrap();
        fs::write(process.join("comm"), format!("{comm}\n")).unwrap();
        fs::write(process.join("cmdline"), cmdline).unwrap();
    }

    #[test]
    fn tools_are_known_by_any_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        process(dir.path(), "1", "init", b"/sbin/init\0");
        process(dir.path(), "self", "nfqws", b"not a process");
        assert_eq!(running_in(dir.path()).state, State::Good);
        process(dir.path(), "20", "nfqws", b"/opt/zapret/nfq/nfqws\0--qnum=200\0");
        process(dir.path(), "21", "python3", b"python3\0/opt/geneva.py\0");
        process(dir.path(), "22", "worker", b"/usr/bin/SpoofDPI\0");
        let check = running_in(dir.path());
        assert_eq!(check.state, State::Problem);
        for part in [
            "nfqws (zapret), process 20",
            "geneva (Geneva), process 21",
            "spoofdpi (SpoofDPI), process 22",
        ] {
            assert!(check.says.contains(part), "{part}: {}", check.says);
        }
    }
}
