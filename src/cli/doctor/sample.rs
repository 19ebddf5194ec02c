//! What a short capture shows of the tap.

use std::io;
use std::time::{Duration, Instant};

use blockscope::capture::live::LiveSource;
use blockscope::capture::source::RecordBatch;
use blockscope::engine::live::{Status, Steering, watch};
use blockscope::engine::run::Settings;
use blockscope::finding::summary::Summary;
use blockscope::report::figures::{counted, grouped};
use blockscope::report::sink::{Reported, Sink};
use blockscope::time::Timestamp;

use super::check::{Check, State};
use crate::cli::machine_clock;

/// Longer than any frame of a usual link with tags, and shorter than two segments merged.
const MERGED: u32 = 1600;

/// So many flows must have been seen to say which directions are.
const ENOUGH_FLOWS: u64 = 5;

/// What was seen.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) summary: Summary,
    pub(super) span: Duration,
    buffer_mib: u32,
    /// Frames longer than [`MERGED`].
    long: u64,
}

/// Looks at what `source` has for `span`.
pub(super) fn sample(mut source: LiveSource, span: Duration, buffer_mib: u32) -> Sample {
    let mut clock = Clock {
        until: machine_clock::ticks() + span,
        long: 0,
    };
    let outcome = watch(&mut source, &Settings::default(), &mut Nobody, &mut clock);
    Sample {
        summary: outcome.summary,
        span,
        buffer_mib,
        long: clock.long,
    }
}

impl Sample {
    /// What it says of the tap.
    pub(super) fn checks(&self) -> Vec<Check> {
        vec![
            self.packets(),
            self.drops(),
            self.duplicates(),
            self.directions(),
            self.merged(),
        ]
    }

    fn packets(&self) -> Check {
        let coverage = &self.summary.coverage;
        let seconds = self.span.as_secs().max(1);
        let undissected: u64 = coverage.undissected.values().sum();
        if coverage.frames == 0 {
            let advice = "look whether the mirror port is fed, and at the filter; or look for longer with --for";
            let says = format!("none came in {seconds} s");
            return Check::bad("packets", State::Problem, says, advice);
        }
        let says = format!(
            "{} in {seconds} s ({} a second, {} kbit/s)",
            counted(coverage.frames, "packet"),
            grouped(coverage.frames / seconds),
            grouped(coverage.bytes * 8 / 1000 / seconds)
        );
        if undissected * 2 > coverage.frames {
            let advice = "look at them with tcpdump -e: a tunnel or an encapsulation that is not peeled";
            let says = format!("{says}, of which {} could not be read", grouped(undissected));
            return Check::bad("packets", State::Problem, says, advice);
        }
        Check::good("packets", says)
    }

    fn drops(&self) -> Check {
        let lost: u64 = self.summary.files.iter().map(|file| file.lost.total()).sum();
        let ring = format!("with a ring of {} MiB", self.buffer_mib);
        if lost == 0 {
            return Check::good("drops", format!("none {ring}"));
        }
        let frames = self.summary.coverage.frames + lost;
        let percent = lost as f64 * 100.0 / frames as f64;
        let says = format!("{} lost {ring}, {percent:.2} %", counted(lost, "packet"));
        let advice = format!(
            "watch with --buffer {}, more --threads, or a --filter",
            (self.buffer_mib * 4).min(1024)
        );
        Check::bad("drops", State::Problem, says, advice)
    }

    fn duplicates(&self) -> Check {
        let coverage = &self.summary.coverage;
        if coverage.duplicates == 0 {
            return Check::good("duplicates", "no packet came twice");
        }
        let says = format!(
            "{} came twice: a mirror of both directions of several ports, or interfaces watched together",
            counted(coverage.duplicates, "packet")
        );
        let advice = "mirror one port, or one direction of each; copies are told and left out, at a cost";
        Check::bad("duplicates", State::Notice, says, advice)
    }

    fn directions(&self) -> Check {
        let coverage = &self.summary.coverage;
        let (flows, one_sided) = (coverage.tcp_flows, coverage.one_sided);
        if flows < ENOUGH_FLOWS {
            let says = format!(
                "{} is too little to say; look for longer with --for",
                counted(flows, "TCP flow")
            );
            return Check::unknown("directions", says);
        }
        let says = format!(
            "{} of {} TCP flows in one direction only",
            grouped(one_sided),
            grouped(flows)
        );
        if one_sided * 2 > flows {
            let advice = "mirror both directions (rx and tx), or watch where both pass; most findings need both";
            Check::bad("directions", State::Problem, says, advice)
        } else {
            Check::good("directions", says)
        }
    }

    fn merged(&self) -> Check {
        if self.long == 0 {
            return Check::good("merged", format!("no packet is longer than {MERGED} bytes"));
        }
        let says = format!(
            "{} longer than {MERGED} bytes: merged before they were seen, or a link of large frames",
            counted(self.long, "packet")
        );
        Check::bad(
            "merged",
            State::Notice,
            says,
            "see offloads, here and on whoever feeds this interface",
        )
    }
}

/// Stops in time.
struct Clock {
    until: Instant,
    long: u64,
}

impl Steering for Clock {
    fn now(&mut self) -> Timestamp {
        machine_clock::now()
    }

    fn stop(&self) -> bool {
        machine_clock::ticks() >= self.until
    }

    fn status(&mut self, _: &Status<'_>) {}

    fn frames(&mut self, batch: &RecordBatch) {
        self.long += batch.records.iter().filter(|record| record.wire_len > MERGED).count() as u64;
    }
}

/// Is not told what is found: that is not what was asked.
struct Nobody;

impl Sink for Nobody {
    fn finding(&mut self, _: &Reported<'_>) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _: &Summary) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use blockscope::capture::source::{FileNote, Losses};
    use blockscope::packet::dissect::Undissected;

    use super::*;

    fn of(frames: u64) -> Sample {
        let mut summary = Summary::default();
        summary.coverage.frames = frames;
        Sample {
            summary,
            span: Duration::from_secs(5),
            buffer_mib: 8,
            long: 0,
        }
    }

    #[test]
    fn what_was_lost_is_told_with_a_larger_ring() {
        let mut sample = of(96);
        assert_eq!(sample.drops().state, State::Good);
        let lost = Losses {
            kernel: 3,
            interface: 1,
        };
        sample.summary.files.push(FileNote {
            lost,
            ..FileNote::default()
        });
        let check = sample.drops();
        assert_eq!(check.state, State::Problem);
        assert_eq!(check.says, "4 packets lost with a ring of 8 MiB, 4.00 %");
        assert!(check.advice.unwrap().contains("--buffer 32"));
    }

    #[test]
    fn packets_most_of_which_cannot_be_read_are_a_problem() {
        let mut sample = of(10);
        sample.summary.coverage.undissected.insert(Undissected::NotIp, 5);
        assert_eq!(sample.packets().state, State::Good);
        sample.summary.coverage.undissected.insert(Undissected::NotIp, 6);
        assert_eq!(sample.packets().state, State::Problem);
    }

    #[test]
    fn directions_need_flows_and_most_of_them_both_sides() {
        let told = |flows, one_sided| {
            let mut sample = of(100);
            sample.summary.coverage.tcp_flows = flows;
            sample.summary.coverage.one_sided = one_sided;
            sample.directions().state
        };
        assert_eq!(told(4, 4), State::Unknown);
        assert_eq!(told(6, 3), State::Good);
        assert_eq!(told(6, 4), State::Problem);
    }
}
