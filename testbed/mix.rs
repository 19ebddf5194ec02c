//! The mix: all cases at once, with `watch` on the tap, and what it told held against what was done.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::capture;
use crate::catalogue::{self, Case, INTERCEPTED_SITE, Tap};
use crate::network::Network;
use crate::process::{PATIENCE, Running, wait_until};
use crate::servers::Servers;
use crate::told::{self, Told};
use crate::truth::{self, Truth};

/// The program under test.
pub(crate) fn blockscope() -> PathBuf {
    std::env::var_os("BLOCKSCOPE_TESTBED_BIN").map_or_else(|| env!("CARGO_BIN_EXE_blockscope").into(), Into::into)
}

/// Delays of the two links in microseconds, one way.
pub(crate) const NEAR_DELAY: u32 = 3_000;
pub(crate) const FAR_DELAY: u32 = 12_000;

/// A directory for this run; kept where the environment says so.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    part: &'static str,
}

impl Place {
    pub(crate) fn new(part: &'static str) -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        Ok(Self { dir, part })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(keep) = std::env::var_os("BLOCKSCOPE_TESTBED_KEEP") {
            let to = PathBuf::from(keep).join(self.part);
            let _ = Command::new("cp")
                .args(["-rT", &self.path().display().to_string(), &to.display().to_string()])
                .status();
        }
    }
}

/// The network with relays, servers and captures, ready for clients.
pub(crate) struct Stage {
    pub(crate) network: Network,
    _servers: Servers,
    _relays: Vec<Running>,
    captures: Vec<Running>,
    pub(crate) watch: Running,
}

impl Stage {
    /// Sets it up for these cases.
    pub(crate) fn set(dir: &Path, cases: &[Case]) -> Result<Self, String> {
        let (place, tap) = match cases.first().map(|case| case.tap).unwrap_or_default() {
            Tap::Clients => ("r1", "tap0"),
            Tap::Servers => ("r3", "sv0"),
        };
        let sites = cases.iter().map(|case| case.site).max().unwrap_or(0).max(252);
        let network = Network::build(dir, sites, &[INTERCEPTED_SITE])?;
        let equipment = dir.join("equipment.toml");
        fs::write(&equipment, catalogue::equipment(cases)).map_err(|error| error.to_string())?;
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut relays = Vec::new();
        for (name, delay) in [("near", NEAR_DELAY), ("far", FAR_DELAY)] {
            let mut command = network.inside(name)?;
            command
                .arg(&own)
                .args(["relay", name, "in", "out"])
                .arg(&equipment)
                .arg(delay.to_string());
            if name == "far" {
                command.args(catalogue::mishaps(cases));
            }
            let mut relay = Running::start(&format!("relay-{name}"), dir, &mut command)?;
            relay.wait_to_hear("ready")?;
            relays.push(relay);
        }
        let servers = Servers::start(&network, dir, cases)?;
        let mut captures = Vec::new();
        for (name, place, interface) in [("sv", "sv", "eth0"), ("ic", "ic", "eth0"), ("tap", place, tap)] {
            let file = dir.join(format!("{name}.pcap"));
            let mut command = network.inside(place)?;
            command.arg(&own).args(["capture", interface]).arg(&file);
            let mut capture = Running::start(&format!("capture-{name}"), dir, &mut command)?;
            capture.wait_to_hear("ready")?;
            captures.push(capture);
        }
        let before = network.captures(place)?;
        let mut command = network.inside(place)?;
        command
            .arg(blockscope())
            .args(["watch", "-i", tap, "--format", "eve", "-o"])
            .arg(dir.join("live.json"))
            .args(
                std::env::var("BLOCKSCOPE_TESTBED_WATCH")
                    .unwrap_or_default()
                    .split_whitespace(),
            );
        let watch = Running::start("watch", dir, &mut command)?;
        wait_until("watch captures", || {
            network.captures(place).is_ok_and(|now| now > before)
        })?;
        Ok(Self {
            network,
            _servers: servers,
            _relays: relays,
            captures,
            watch,
        })
    }

    /// Runs the client of each case, all at once, and gives what they said.
    pub(crate) fn play(&self, dir: &Path, cases: &[Case]) -> Result<Vec<String>, String> {
        let mut playing = Vec::new();
        for case in cases {
            let script = dir.join(format!("{}.sh", case.name));
            fs::write(&script, case.script()).map_err(|error| error.to_string())?;
            let mut command = self.network.inside(&case.from())?;
            command.args(["timeout", "100", "bash"]).arg(&script);
            playing.push(Running::start(&format!("client-{}", case.name), dir, &mut command)?);
        }
        let mut said = Vec::new();
        for mut client in playing {
            client.wait(PATIENCE * 2)?;
            said.push(client.said());
        }
        Ok(said)
    }

    /// Ends the watch, then the captures.
    pub(crate) fn end(mut self) -> Result<String, String> {
        self.watch.signal("INT")?;
        let status = self.watch.wait(PATIENCE)?;
        let said = self.watch.said();
        if status.code() != Some(0) {
            return Err(format!("watch ended with {status}: {said}"));
        }
        for capture in &mut self.captures {
            capture.end_input();
            let status = capture.wait(PATIENCE)?;
            if !status.success() {
                return Err(capture.said());
            }
        }
        Ok(said)
    }
}

/// What blockscope reads in a capture.
pub(crate) fn read(capture: &Path) -> Result<Vec<Told>, String> {
    let output = Command::new(blockscope())
        .args(["read", "--format", "eve", "-q"])
        .arg(capture)
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("read: {}", String::from_utf8_lossy(&output.stderr)));
    }
    told::findings(&String::from_utf8_lossy(&output.stdout))
}

/// Runs the mix.
pub(crate) fn run() -> Result<(), String> {
    let place = Place::new("mix")?;
    judge(place.path(), &catalogue::list("mix.toml")?, Order::AllAtOnce)
}

/// Runs what takes its time.
pub(crate) fn serial() -> Result<(), String> {
    let place = Place::new("serial")?;
    let (alone, others): (Vec<Case>, Vec<Case>) =
        catalogue::list("serial.toml")?.into_iter().partition(|case| case.alone);
    let mut problems = String::new();
    let mut judged = |dir: &Path, cases: &[Case]| {
        let outcome = fs::create_dir_all(dir)
            .map_err(|error| error.to_string())
            .and_then(|()| judge(dir, cases, Order::OneByOne));
        if let Err(problem) = outcome {
            problems.push_str(&problem);
        }
    };
    if !others.is_empty() {
        judged(&place.path().join("together"), &others);
    }
    for case in &alone {
        judged(&place.path().join(&case.name), std::slice::from_ref(case));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// How cases are played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    AllAtOnce,
    OneByOne,
}

/// Plays these cases and judges what was told.
fn judge(dir: &Path, cases: &[Case], order: Order) -> Result<(), String> {
    let stage = Stage::set(dir, cases)?;
    let said = match order {
        Order::AllAtOnce => stage.play(dir, cases)?,
        Order::OneByOne => {
            let mut said = Vec::new();
            for case in cases {
                said.extend(stage.play(dir, std::slice::from_ref(case))?);
            }
            said
        }
    };
    // What is known at once is told while the watch runs.
    let live = dir.join("live.json");
    let at_once = cases
        .iter()
        .any(|case| case.found.first().is_some_and(|kind| kind == "rst_injection"));
    if at_once {
        wait_until("a finding is told live", || {
            told::read(&live).is_ok_and(|all| all.iter().any(|told| told.kind == "rst_injection"))
        })?;
    }
    thread::sleep(std::time::Duration::from_millis(300));
    stage.end()?;
    // The watch ends before the capture does: what it did not see is nothing it could tell.
    capture::cut(&dir.join("tap.pcap"), told::last_seen(&live)?)?;

    let tap = truth::packets(&dir.join("tap.pcap"))?;
    let sent = [
        truth::packets(&dir.join("sv.pcap"))?,
        truth::packets(&dir.join("ic.pcap"))?,
    ];
    let truth = truth::compare(&tap, &sent);
    let from_live = told::read(&live)?;
    let from_file = read(&dir.join("tap.pcap"))?;
    let mut problems = String::new();
    compare(&from_live, &from_file, &mut problems);
    for (case, said) in cases.iter().zip(&said) {
        for (from, told) in [("live", &from_live), ("read", &from_file)] {
            let mut own = String::new();
            // Frame numbers are those of the file.
            let frames = (from == "read").then_some(&truth);
            check(case, told, frames, &mut own);
            for line in own.lines() {
                let _ = writeln!(problems, "{} ({from}): {line}", case.name);
            }
        }
        if problems.contains(&case.name) {
            let _ = writeln!(
                problems,
                "{}: its client said: {}",
                case.name,
                said.trim().replace('\n', " | ")
            );
        }
    }
    // A control at which something was forged would be none.
    for case in cases.iter().filter(|case| case.is_control()) {
        let address: Option<std::net::Ipv4Addr> = case.address().parse().ok();
        if address.is_some_and(|address| truth.forged_for.contains(&address.octets()[..])) {
            let _ = writeln!(problems, "{}: something was forged", case.name);
        }
    }
    for told in strangers(cases, &from_file) {
        let _ = writeln!(problems, "nobody's: {told:?}");
    }
    let mechanisms = cases.iter().filter(|case| !case.is_control()).count();
    println!(
        "testbed: {} packets at the tap, {} of them forged; {mechanisms} mechanisms, {} controls, {} findings",
        tap.len(),
        truth.forged.len(),
        cases.len() - mechanisms,
        from_live.len()
    );
    if problems.is_empty() {
        Ok(())
    } else {
        Err(format!("\n{problems}"))
    }
}

/// What was told live must be what the file tells.
fn compare(live: &[Told], file: &[Told], problems: &mut String) {
    let set = |all: &[Told]| all.iter().map(Told::same).collect::<BTreeSet<_>>();
    let (live, file) = (set(live), set(file));
    for only in live.difference(&file) {
        let _ = writeln!(problems, "only live: {only:?}");
    }
    for only in file.difference(&live) {
        let _ = writeln!(problems, "only from the file: {only:?}");
    }
}

/// Whether a finding is about a case: by name, or by address where it has no name of anybody's.
fn is_about(told: &Told, case: &Case) -> bool {
    match &told.trigger {
        Some(name) if name.ends_with(".example") => {
            name.ends_with(&format!(".{}", case.domain())) || *name == case.domain()
        }
        Some(_) | None => {
            let of_many = [("portal", "captive_portal"), ("shutdown", "shutdown")];
            told.server.0 == case.address() || of_many.contains(&(case.name.as_str(), told.kind.as_str()))
        }
    }
}

/// Findings about nobody.
fn strangers<'a>(cases: &[Case], told: &'a [Told]) -> Vec<&'a Told> {
    told.iter()
        .filter(|told| !cases.iter().any(|case| is_about(told, case)))
        .collect()
}

/// The least verdict a mechanism must be told with, as [`Told`] counts them.
const LIKELY: u8 = 2;

/// Holds what was told of a case against what was done; `truth` is what became of the packets.
fn check(case: &Case, all: &[Told], truth: Option<&Truth>, problems: &mut String) {
    let own: Vec<&Told> = all.iter().filter(|told| is_about(told, case)).collect();
    if case.is_control() {
        for told in own {
            let _ = writeln!(problems, "accused: {told:?}");
        }
        return;
    }
    let is_right = |told: &&Told| case.found.contains(&told.kind);
    let right: Vec<&Told> = own
        .iter()
        .copied()
        .filter(|told| told.verdict >= LIKELY)
        .filter(is_right)
        .collect();
    if right.is_empty() {
        let _ = writeln!(problems, "not found ({:?}); told: {own:?}", case.found);
        return;
    }
    let is_true = |told: &&&Told| is_right(told) || case.also.contains(&told.kind);
    for told in own.iter().filter(|told| told.verdict >= LIKELY && !is_true(told)) {
        let _ = writeln!(problems, "of another kind: {told:?}");
    }
    // What is answered to a SYN names nobody.
    let nameless = case.equipment_hears_syns() || right.iter().any(|told| told.kind == "captive_portal");
    if !nameless && right.iter().all(|told| told.trigger.is_none()) {
        let _ = writeln!(problems, "the name is missing: {right:?}");
    }
    if case.hops.is_some() && !right.iter().any(|told| told.hops == case.hops) {
        let _ = writeln!(problems, "not {:?} hops away: {right:?}", case.hops);
    }
    for key in &case.shows {
        if !right.iter().any(|told| told.evidence.contains(key)) {
            let _ = writeln!(problems, "no {key} among the evidence: {right:?}");
        }
    }
    let named: BTreeSet<u64> = right.iter().flat_map(|told| told.forged.iter().copied()).collect();
    if case.forged && named.is_empty() {
        let _ = writeln!(problems, "no forged packet is named: {right:?}");
    }
    let Some(truth) = truth else { return };
    let wrong: Vec<&u64> = named.difference(&truth.forged).filter(|_| case.forged).collect();
    if !wrong.is_empty() {
        let _ = writeln!(problems, "genuine packets called forged: {wrong:?}");
    }
    // What a case loses by mishap is lost as well. Where the last packets before the silence are let through, what they
    // were answered with is swallowed: from the tap that looks the same.
    if case.equipment_tarries() {
        return;
    }
    let dropped = right.iter().flat_map(|told| told.dropped.iter());
    let wrong: Vec<&u64> = dropped.filter(|frame| !truth.lost.contains(frame)).collect();
    if !wrong.is_empty() {
        let _ = writeln!(problems, "packets that arrived called dropped: {wrong:?}");
    }
}
