//! How much the watch takes in: background traffic at a given rate, of which nothing may be lost unsaid, and of which
//! nothing may be said, whether it was lost or not.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::link::{self, Watch, background, flood};
use crate::mix::Place;
use crate::process::{PATIENCE, Running};
use crate::told;

/// Frames a second, and seconds, unless `BLOCKSCOPE_TESTBED_RATE=RATE:SECONDS` says otherwise: what a release must hold, and
/// what a build for development holds on a machine that does other things as well.
const USUAL: (u64, u64) = if cfg!(debug_assertions) {
    (30_000, 4)
} else {
    (100_000, 5)
};
/// Frames of the flood that must not fit, how many a second, and how long the watch is stopped and let go in turn.
const FLOOD: u64 = 160_000;
const FLOOD_RATE: u64 = 40_000;
const PAUSE: Duration = Duration::from_millis(250);

/// Runs both: a rate that must be held, and a flood that cannot be.
pub(crate) fn run() -> Result<(), String> {
    let place = Place::new("rate")?;
    let dir = place.path();
    let (rate, seconds) = std::env::var("BLOCKSCOPE_TESTBED_RATE")
        .ok()
        .and_then(|text| {
            let (rate, seconds) = text.split_once(':')?;
            Some((rate.parse().ok()?, seconds.parse().ok()?))
        })
        .unwrap_or(USUAL);
    link::make()?;
    held(dir, rate, seconds)?;
    flooded(dir)?;
    overrun(dir)
}

fn held(dir: &Path, rate: u64, seconds: u64) -> Result<(), String> {
    let traffic = background(dir, "held.pcap", rate * seconds, 3)?;
    let watch = Watch::start(dir, "held", &dir.join("held.json"), 64)?;
    let cpu_before = watch.cpu();
    let begun = Instant::now();
    let mut flood = Running::start("flood", dir, &mut flood(&traffic, rate)?)?;
    let status = flood.wait(Duration::from_secs(seconds * 4 + 60))?;
    if !status.success() {
        return Err(flood.said());
    }
    let sending = begun.elapsed();
    watch.wait_for(rate * seconds)?;
    let lag = begun.elapsed() - sending;
    let cpu = watch.cpu() - cpu_before;
    let memory = watch.memory();
    let (taken, lost) = watch.end(&dir.join("held.json"))?;
    println!(
        "testbed: {rate} packets/s for {seconds} s (sent in {:.1} s): {taken} taken in, {lost} lost, the last one {:.2} s \
         after it was sent at the most; processor {:.0} %, memory {} MiB",
        sending.as_secs_f64(),
        lag.as_secs_f64(),
        cpu / sending.as_secs_f64() * 100.0,
        memory / 1024
    );
    if lost > 0 {
        return Err(format!("{lost} of {} packets were lost", rate * seconds));
    }
    expect_nothing(dir, "held")
}

/// The watch is stopped again and again while more arrives than its ring holds, so that flows lose their middle: what it
/// says is lost must be what is missing.
fn flooded(dir: &Path) -> Result<(), String> {
    let traffic = background(dir, "flood.pcap", FLOOD, 5)?;
    let watch = Watch::start(dir, "flooded", &dir.join("flooded.json"), 2)?;
    let mut sending = Running::start("flood", dir, &mut flood(&traffic, FLOOD_RATE)?)?;
    while sending.is_running() {
        for signal in ["STOP", "CONT"] {
            watch.process.signal(signal)?;
            thread::sleep(PAUSE);
        }
    }
    watch.process.signal("CONT")?;
    if !sending.wait(PATIENCE)?.success() {
        return Err(sending.said());
    }
    watch.wait_for(FLOOD)?;
    let (taken, lost) = watch.end(&dir.join("flooded.json"))?;
    println!(
        "testbed: {FLOOD} packets at a watch with a ring of 2 MiB that is stopped half of the time: {taken} taken in, {lost} \
         lost"
    );
    if taken + lost != FLOOD {
        return Err(format!(
            "{taken} taken in and {lost} lost are not the {FLOOD} that were sent"
        ));
    }
    if lost == 0 || taken == 0 {
        return Err("the flood was no flood".into());
    }
    expect_nothing(dir, "flooded")
}

/// Everything is sent as fast as it goes, and the watch has what is left of the sender's processor: it never stops, and
/// never catches up.
fn overrun(dir: &Path) -> Result<(), String> {
    let traffic = dir.join("flood.pcap");
    let processor = link::processor();
    let watch = Watch::start_last(dir, "overrun", &dir.join("overrun.json"), 2, processor)?;
    let before = link::passed_and_dropped()?;
    let begun = Instant::now();
    let mut command = Command::new("taskset");
    command
        .args(["-c", &processor.to_string()])
        .arg(std::env::current_exe().map_err(|error| error.to_string())?)
        .arg("flood")
        .arg(&traffic)
        .args(["sent0", "0"]);
    let mut sending = Running::start("overrun", dir, &mut command)?;
    if !sending.wait(PATIENCE)?.success() {
        return Err(sending.said());
    }
    let rate = FLOOD as f64 / begun.elapsed().as_secs_f64();
    let after = link::passed_and_dropped()?;
    let (passed, dropped) = (after.0 - before.0, after.1 - before.1);
    watch.wait_for(passed)?;
    let (taken, lost) = watch.end(&dir.join("overrun.json"))?;
    println!(
        "testbed: {FLOOD} packets at full speed ({:.0} 000/s) at a watch with a ring of 2 MiB and what the sender leaves of \
         one processor: {passed} passed the interface ({dropped} did not), {taken} taken in, {lost} lost",
        rate / 1000.0
    );
    if taken + lost != passed {
        return Err(format!(
            "{taken} taken in and {lost} lost are not the {passed} that passed"
        ));
    }
    if lost == 0 || taken == 0 {
        return Err("full speed was not too much".into());
    }
    expect_nothing(dir, "overrun")
}

fn expect_nothing(dir: &Path, name: &str) -> Result<(), String> {
    let told = told::read(&dir.join(format!("{name}.json")))?;
    if told.is_empty() {
        Ok(())
    } else {
        Err(format!("something was said of background traffic: {told:?}"))
    }
}
