//! `blockscope watch`.

mod complaints;
mod confine;
mod evidence_files;
mod metrics;
mod reopen;
mod signals;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anstream::AutoStream;
use anyhow::anyhow;
use blockscope::capture::error::CaptureError;
use blockscope::capture::live::{Delivery, LiveSettings, LiveSource, Promiscuity, Reopening};
use blockscope::capture::source::{RecordBatch, Source};
use blockscope::detect::packs::facts::Facts;
use blockscope::engine::evidence::{Evidence, Patience};
use blockscope::engine::live::{Status, Steering, watch, watch_side_by_side};
use blockscope::engine::run::{FLOWS_WATCHED, Settings};
use blockscope::finding::finding::Kind;
use blockscope::finding::verdict::Verdict;
use blockscope::report::escape::escaped_path;
use blockscope::report::eve::Eve;
use blockscope::report::figures::counted;
use blockscope::report::sink::{Reported, Sink};
use blockscope::report::text::{Closing, Text};
use blockscope::report::threshold::Threshold;
use blockscope::time::Timestamp;
use clap::Args;
use indicatif::ProgressBar;
use rustix::fs::{Access, access};
use tracing::{error, warn};

use self::complaints::Complaints;
use self::confine::identity::Identity;
use self::confine::{Needs, RawSockets, Sandbox, become_only, confine, directory};
use self::evidence_files::{EvidenceFiles, Rotation};
use self::metrics::{Figures, Metrics};
use self::reopen::Reopened;
use self::signals::{Caught, Renewed, Signals};
use super::exit::Exit;
use super::machine_clock;
use super::output::{Color, Output};
use super::pin::Pin;
use super::read::{Format, verdicts};
use super::room::Room;
use super::{Common, Ending, diagnostics, fingerprints, interfaces};

const MORE: &str = "\
Examples:
  blockscope watch -i eth0                        say what is blocked, as it happens
  blockscope watch -i any -f 'port 53 or port 443'
  blockscope watch -i span0 -q --format eve -o /var/log/blockscope.json
  blockscope watch -i eth0 -w evidence.pcapng --rotate-size 100 --keep 10

Signals:
  SIGINT, SIGTERM  conclude, report and end; once more: leave at once
  SIGHUP           open the file of -o anew (after it was rotated) and read the lists of --fingerprints again
  SIGUSR1          print the summary so far on standard error

Capturing needs the capability cap_net_raw, and nothing else does. Once everything is open, root becomes the user who
called sudo (or --user), all capabilities are given up, and what is left is confined with Landlock and seccomp
(--sandbox).

Exit status:
  0    ended by a signal or by --for, after reporting what was known
  2    the arguments make no sense
  3    an interface could not be captured from, or the output could not be written
  130  stopped by a second signal";

/// Judge the packets of live interfaces, and say what is blocked while it happens
#[derive(Debug, Args)]
#[command(after_help = MORE)]
pub(super) struct WatchArgs {
    /// An interface (may be given several times), or any for all of them; blockscope interfaces lists them
    #[arg(short, long = "interface", value_name = "IFACE", required_unless_present = "list")]
    interfaces: Vec<String>,

    /// List the interfaces and end (as blockscope interfaces)
    #[arg(short = 'D', long = "list-interfaces")]
    list: bool,

    /// Judge only packets that match this pcap-filter(7) expression
    #[arg(short, long, value_name = "EXPR")]
    filter: Option<String>,

    /// Bytes kept of a packet at the most
    #[arg(short, long, value_name = "BYTES", default_value_t = 262_144)]
    snaplen: u32,

    /// Do not have the interface pass on packets for other hosts as well
    #[arg(short = 'p', long = "no-promiscuous-mode")]
    not_promiscuous: bool,

    /// Take packets one by one as they come, instead of in blocks (20 ms sooner; more are lost on busy links)
    #[arg(long)]
    immediate: bool,

    /// The ring in which the kernel keeps packets until they are read, per interface
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    buffer: u32,

    /// How to tell the findings: text (for a person) or eve (one JSON object a line; see blockscope schema)
    #[arg(long, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    format: Format,

    /// Append to FILE instead of writing to standard output; opened anew on SIGHUP
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Also look for the block pages and forged answers of this list (may be given several times; see read --help)
    #[arg(long, value_name = "FILE")]
    fingerprints: Vec<PathBuf>,

    /// Write the packets of the flows findings are about to FILE (pcapng), in order, once they are --evidence-span old
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,

    /// Begin another file of -w after so many MiB; the files are numbered
    #[arg(long, value_name = "MIB", requires = "write", value_parser = clap::value_parser!(u64).range(1..))]
    rotate_size: Option<u64>,

    /// Begin another file of -w after so many seconds; the files are numbered
    #[arg(long, value_name = "SECONDS", requires = "write", value_parser = clap::value_parser!(u64).range(1..))]
    rotate_every: Option<u64>,

    /// Keep no more than N files of -w; the oldest are removed
    #[arg(long, value_name = "N", requires = "write")]
    keep: Option<NonZeroUsize>,

    /// How long packets wait for a finding about their flow, to be written with -w
    #[arg(long, value_name = "SECONDS", default_value_t = 120, requires = "write")]
    evidence_span: u64,

    /// In how much memory they wait; on a busy link it is full sooner than --evidence-span is over
    #[arg(long, value_name = "MIB", default_value_t = 64, requires = "write", value_parser = clap::value_parser!(u32).range(1..=65536))]
    evidence_memory: u32,

    /// The least verdict to print: possible, likely or confirmed
    #[arg(long, value_name = "VERDICT", default_value = "possible", value_parser = verdicts(), hide_possible_values = true)]
    verdict: Verdict,

    /// Stop after so many seconds
    #[arg(long = "for", value_name = "SECONDS")]
    span: Option<u64>,

    /// Count for Prometheus at this address: http://ADDR:PORT/metrics, and /healthz. Whoever reaches it may read it
    #[arg(long, value_name = "ADDR:PORT")]
    metrics: Option<SocketAddr>,

    /// Worker threads; each reads a socket of its own per interface, with all packets of the hosts it has
    #[arg(long, value_name = "N", default_value = "1")]
    threads: NonZeroUsize,

    /// Have all threads share one socket per interface (better where all packets carry MPLS labels)
    #[arg(long)]
    one_socket: bool,

    #[command(flatten)]
    pin: Pin,

    #[command(flatten)]
    room: Room,

    /// As root: run as NAME, not as the user who called sudo
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// What to give up once everything is open: auto (whatever the system allows), strict (everything, or it is an
    /// error) or off (nothing)
    #[arg(long, value_name = "HOW", default_value = "auto", hide_possible_values = true)]
    sandbox: Sandbox,

    /// Keep the capability cap_net_raw, so that an interface that is deleted and made again is watched again
    #[arg(long)]
    keep_net_raw: bool,

    /// When to colour text: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(long, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    color: Color,
}

/// Watches and reports.
pub(super) fn run(args: &WatchArgs, common: Common) -> Ending {
    if args.list {
        return interfaces::run();
    }
    let bar = ProgressBar::hidden();
    diagnostics::start(common, &bar);
    let facts = fingerprints::facts(&args.fingerprints).map_err(|error| (Exit::Usage, error))?;
    let placing = args.pin.placing().map_err(|error| (Exit::Usage, error))?;
    let identity = Identity::chosen(args.user.as_deref()).map_err(|error| (Exit::Usage, error))?;
    let mut sources = args.sources().map_err(refused)?;
    let unwritable = |error: anyhow::Error| (Exit::Unreadable, error);
    let owner = identity.as_ref().map(Identity::owner);
    let output = args.output.as_deref().map(|path| Reopened::open(path, owner));
    let output = output.transpose().map_err(unwritable)?;
    let evidence = args.evidence(owner).map_err(unwritable)?;
    let listener = args.metrics.map(listen).transpose().map_err(unwritable)?;
    let signals = Caught::start().map_err(|error| unwritable(error.into()))?;
    args.confine(identity).map_err(unwritable)?;
    // Threads may start from here on.
    // All sources are of the same interfaces.
    let lights = sources.first().map(LiveSource::lights).unwrap_or_default();
    let metrics = listener.map(|listener| Metrics::serve(listener, lights)).transpose();
    let metrics = metrics.map_err(|error| unwritable(error.into()))?;
    let renewed = Renewed {
        output: output.clone(),
        fingerprints: args.fingerprints.clone(),
    };
    let signals = signals.heed(renewed).map_err(|error| unwritable(error.into()))?;
    let mut sink = sink(args, common, output, &bar)?;
    let settings = Settings {
        threads: args.threads,
        flows: args.room.flows(FLOWS_WATCHED),
        facts,
        placing,
        ..Settings::default()
    };
    let mut hold = Hold {
        signals,
        metrics,
        evidence,
        told: BTreeMap::new(),
        complaints: Complaints::default(),
        until: args
            .span
            .map(|seconds| machine_clock::ticks() + Duration::from_secs(seconds)),
    };
    let outcome = match &mut sources[..] {
        [source] => watch(source, &settings, &mut *sink, &mut hold),
        _ => {
            let mut sources: Vec<_> = sources
                .into_iter()
                .map(|source| Box::new(source) as Box<dyn Source + Send>)
                .collect();
            watch_side_by_side(&mut sources, &settings, &mut *sink, &mut hold)
        }
    };
    let evidence_failed = hold
        .evidence
        .map(WithEvidence::finish)
        .is_some_and(|ended| ended == Ended::Failed);
    for gone in &outcome.unreadable {
        error!("{gone}");
    }
    match &outcome.output {
        // A reader that leaves wants no more, as with any filter.
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            error!("the output cannot be written: {error}");
            Ok(Exit::Unreadable)
        }
        Some(_) | None if evidence_failed || !outcome.unreadable.is_empty() => Ok(Exit::Unreadable),
        Some(_) | None => Ok(Exit::Ran),
    }
}

impl WatchArgs {
    fn capture(&self) -> LiveSettings {
        LiveSettings {
            filter: self.filter.clone(),
            snaplen: self.snaplen,
            promiscuity: if self.not_promiscuous {
                Promiscuity::AsItIs
            } else {
                Promiscuity::Everything
            },
            buffer_mib: self.buffer,
            delivery: if self.immediate {
                Delivery::Immediate
            } else {
                Delivery::Batched
            },
            reopening: if self.keep_net_raw || (self.sandbox == Sandbox::Off && self.user.is_none()) {
                Reopening::Possible
            } else {
                Reopening::Impossible
            },
        }
    }

    /// A source for each thread, or one for all where they share it.
    fn sources(&self) -> Result<Vec<LiveSource>, CaptureError> {
        let alone = || LiveSource::open(&self.interfaces, self.capture()).map(|source| vec![source]);
        if self.one_socket || self.threads.get() == 1 {
            return alone();
        }
        match LiveSource::open_fanned(&self.interfaces, &self.capture(), self.threads, machine_clock::now) {
            Err(error @ CaptureError::NotShared { .. }) => {
                warn!("{error}; the threads share one socket per interface");
                alone()
            }
            other => other,
        }
    }

    /// The files of `-w`.
    fn evidence(&self, owner: Option<(u32, u32)>) -> anyhow::Result<Option<WithEvidence>> {
        let Some(path) = &self.write else { return Ok(None) };
        let rotation = Rotation {
            size: self.rotate_size.map(|mib| mib.saturating_mul(1 << 20)),
            age: self.rotate_every.map(Duration::from_secs),
            keep: self.keep.map(NonZeroUsize::get),
        };
        let patience = Patience {
            span: Duration::from_secs(self.evidence_span),
            bytes: usize::try_from(self.evidence_memory)
                .unwrap_or(usize::MAX)
                .saturating_mul(1 << 20),
        };
        Ok(Some(WithEvidence {
            waiting: Evidence::new(patience),
            files: EvidenceFiles::new(path, rotation, self.interfaces.clone(), owner)?,
        }))
    }

    /// Gives up what is not needed any more, and says what could not be given up.
    fn confine(&self, identity: Option<Identity>) -> anyhow::Result<()> {
        let raw_sockets = if self.keep_net_raw {
            RawSockets::Kept
        } else {
            RawSockets::GivenUp
        };
        if self.sandbox == Sandbox::Off {
            return match identity {
                Some(identity) if self.user.is_some() => {
                    become_only(&identity, raw_sockets).map_err(|why| anyhow!(why))
                }
                Some(_) | None => Ok(()),
            };
        }
        let written: Vec<PathBuf> = self.output.iter().chain(&self.write).map(|path| place(path)).collect();
        let needs = Needs {
            identity,
            raw_sockets,
            written,
            // A list that is replaced is another file of that name.
            read: self.fingerprints.iter().map(|path| directory(path)).collect(),
        };
        for shortfall in confine(&needs) {
            match self.sandbox {
                Sandbox::Strict => return Err(anyhow!("--sandbox strict: {}", shortfall.0)),
                Sandbox::Auto | Sandbox::Off => warn!("not confined as it could be: {}", shortfall.0),
            }
        }
        for path in &needs.written {
            if let Err(error) = access(path, Access::WRITE_OK) {
                warn!(
                    "{} is not for this user to write to ({error}): its files cannot be made anew after a rotation",
                    escaped_path(path)
                );
            }
        }
        Ok(())
    }
}

/// Where something is made to write to `path`: its directory, or the thing itself if it is no file (a device, a pipe).
fn place(path: &Path) -> PathBuf {
    match path.metadata() {
        Ok(metadata) if !metadata.is_file() => path.to_owned(),
        Ok(_) | Err(_) => directory(path),
    }
}

/// A port for metrics.
fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow!("--metrics {address}: another program listens there; give another port"),
        _ => anyhow!("--metrics {address}: {error}"),
    })
}

/// The command that lets this program capture.
pub(super) fn give_the_capability() -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| "blockscope".into());
    format!("sudo setcap cap_net_raw+ep {}", program.display())
}

/// What to do about an interface that cannot be captured from.
fn refused(error: CaptureError) -> (Exit, anyhow::Error) {
    match error {
        CaptureError::NotAllowed { .. } => {
            let advice = anyhow!("{error}. Give it to the program with: {}", give_the_capability());
            (Exit::Unreadable, advice)
        }
        CaptureError::Filter { .. } => (Exit::Usage, error.into()),
        other => (Exit::Unreadable, other.into()),
    }
}

fn sink(
    args: &WatchArgs,
    common: Common,
    output: Option<Reopened>,
    bar: &ProgressBar,
) -> Result<Box<dyn Sink>, (Exit, anyhow::Error)> {
    let closing = if common.quiet {
        Closing::Nothing
    } else {
        Closing::Summary
    };
    let stdout = Output::open(None, &[], bar)?;
    let width = stdout.width();
    let out: Box<dyn io::Write> = match (args.format, output) {
        (Format::Eve, None) => stdout.plain(),
        (Format::Text, None) => stdout.coloured(args.color),
        (Format::Eve, Some(file)) => Box::new(file),
        (Format::Text, Some(file)) if args.color == Color::Always => Box::new(file),
        (Format::Text, Some(file)) => Box::new(AutoStream::never(Box::new(file) as Box<dyn io::Write>)),
    };
    Ok(match args.format {
        Format::Text => Box::new(Threshold::new(args.verdict, Text::new(out, width, closing))),
        Format::Eve => Box::new(Threshold::new(args.verdict, Eve::new(out))),
    })
}

/// The user's hold on a live run.
struct Hold {
    signals: Signals,
    metrics: Option<Metrics>,
    evidence: Option<WithEvidence>,
    /// How often a finding of each kind was told with each verdict.
    told: BTreeMap<(Kind, Verdict), u64>,
    complaints: Complaints,
    until: Option<Instant>,
}

/// Packets that wait to become evidence, and where it is written. What cannot be written is told there, and packets go
/// on being judged.
struct WithEvidence {
    waiting: Evidence,
    files: EvidenceFiles,
}

/// How the writing of evidence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// All of it is written.
    Whole,
    /// Some could not be written.
    Failed,
}

impl WithEvidence {
    fn finish(mut self) -> Ended {
        let _ = self.waiting.finish(&mut self.files);
        let kept = self.waiting.kept();
        if kept.incomplete > 0 {
            warn!(
                "of {} some packets had been let go before they were told, so they are not in the files of -w \
                 (--evidence-span, --evidence-memory)",
                counted(kept.incomplete, "finding")
            );
        }
        if kept.cut > 0 {
            warn!(
                "{} of long flows were left out of the files of -w",
                counted(kept.cut, "packet")
            );
        }
        if self.files.failed() {
            Ended::Failed
        } else {
            Ended::Whole
        }
    }
}

impl Steering for Hold {
    fn now(&mut self) -> Timestamp {
        machine_clock::now()
    }

    fn stop(&self) -> bool {
        self.signals.stop() || self.until.is_some_and(|until| machine_clock::ticks() >= until)
    }

    fn status(&mut self, status: &Status<'_>) {
        self.complaints.hear(status, machine_clock::ticks());
        if let Some(metrics) = &self.metrics {
            metrics.update(Figures {
                summary: status.summary.clone(),
                told: self.told.clone(),
                lag: status.lag,
                flows: status.flows,
                waits: status.waits,
                kept: self
                    .evidence
                    .as_ref()
                    .map(|evidence| evidence.waiting.kept())
                    .unwrap_or_default(),
            });
        }
        let now = self.now();
        if let Some(evidence) = &mut self.evidence {
            let _ = evidence.waiting.pass(now, &mut evidence.files);
        }
        if self.signals.take_summary_wanted() {
            let mut text = Text::new(AutoStream::auto(io::stderr()), 100, Closing::Summary);
            // Nobody to tell that standard error is closed.
            let _ = text.finish(status.summary);
        }
    }

    fn frames(&mut self, batch: &RecordBatch) {
        if let Some(evidence) = &mut self.evidence {
            let _ = evidence.waiting.wait(batch, &mut evidence.files);
        }
    }

    fn wants_frames(&self) -> bool {
        self.evidence.is_some()
    }

    fn told(&mut self, reported: &Reported<'_>) {
        let verdict = reported.judgement.verdict;
        if let Some(verdict) = verdict {
            *self.told.entry((reported.finding.kind, verdict)).or_default() += 1;
        }
        if let Some(evidence) = &mut self.evidence {
            evidence.waiting.convict(reported.finding, verdict);
        }
    }

    fn new_facts(&mut self) -> Option<Facts> {
        self.signals.take_facts()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::Cli;

    #[test]
    fn the_unit_for_systemd_starts_a_watch() {
        let unit = include_str!("../../contrib/blockscope-watch@.service").replace("\\\n", " ");
        let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let start = start.replace("%I", "eth0").replace("%i", "eth0");
        let start = start.replace("${METRICS}", "127.0.0.1:9464").replace("$OPTIONS", "");
        Cli::try_parse_from(start.split_whitespace()).unwrap();
        for line in [
            "CapabilityBoundingSet=CAP_NET_RAW",
            "AmbientCapabilities=CAP_NET_RAW",
            "NoNewPrivileges=yes",
        ] {
            assert!(unit.lines().any(|told| told == line), "{line}");
        }
    }
}
