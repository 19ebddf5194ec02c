//! `blockscope forge`.

use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use blockscope::report::escape::escaped_path;
use blockscope::scenario::bulk::{BulkOptions, Mix, forge_bulk};
use blockscope::scenario::{DropCause, ForgeOptions, Making, Story, Truth, forge_with_truth};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use indicatif::ProgressBar;
use serde::Serialize;

use super::exit::Exit;
use super::output::Output;
use super::{Common, Ending, diagnostics};

/// Seconds a story may be moved on by, at most: some 31 years. A pcap file's clock ends in 2106.
const LONGEST_SHIFT: f64 = 1e9;

const MORE: &str = "\
A story tells of routers, hosts, what people do, and the ISP's filtering equipment; the comment at its head says where
its facts come from. How it is written is documented in src/scenario/story.rs; fixtures/ holds many to start from.
The same story gives the same bytes, always.

Examples:
  blockscope forge story.toml -o trace.pcap                     the capture a story gives
  blockscope forge story.toml -o - | blockscope read -          and what is found in it
  blockscope forge story.toml -o - --without-equipment | blockscope read - --fail-on possible
                                                                nothing, once the equipment is gone
  blockscope forge story.toml -o trace.pcap --truth truth.jsonl
  blockscope forge --bulk mix --packets 4000000 -o big.pcap     four million packets, in seconds
  jq 'select(.making == \"forged\") | .frame' truth.jsonl         the frames equipment made up

The ground truth has one JSON object a line: first every frame of the capture, in order,
  {\"what\":\"frame\",\"frame\":9,\"sender\":\"border filter\",\"making\":\"forged\",\"trigger\":8}
with making genuine, forged or rewritten, trigger the frame that set the equipment off (if it was captured), and
copy_of the first frame that shows the same packet (if this is another); then every captured packet that did not arrive,
  {\"what\":\"drop\",\"frame\":8,\"cause\":\"equipment\",\"by\":\"border filter\"}
with cause equipment, lost, time_to_live or no_route.

Exit status:
  0    done
  2    the arguments make no sense
  3    the story cannot be read or told, or an output not be written";

/// Simulate a small network with filtering equipment, and write what a tap in it captures
#[derive(Debug, Args)]
#[command(after_help = MORE)]
pub(super) struct ForgeArgs {
    /// What happens, in TOML, or - for standard input
    #[arg(value_name = "STORY.toml", required_unless_present = "bulk")]
    story: Option<PathBuf>,

    /// Write the capture (pcap) to FILE, or - for standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Write a large capture to measure speed with, without a story: mix (an uplink, some 380 bytes a frame), web
    /// (960), small (85) or dns
    #[arg(long, value_name = "MIX", conflicts_with_all = ["story", "truth", "without_equipment", "shift", "renumber"],
          value_parser = mixes(), hide_possible_values = true)]
    bulk: Option<Mix>,

    /// Packets of a bulk capture
    #[arg(long, value_name = "N", requires = "bulk", default_value = "1000000")]
    packets: u64,

    /// Flows under way at once in a bulk capture [default: mix and dns 100000, web 20000, small 1000000]
    #[arg(long, value_name = "N", requires = "bulk")]
    flows: Option<NonZeroU32>,

    /// Share of a bulk capture's flows that equipment interferes with, 0 to 1
    #[arg(long, value_name = "SHARE", requires = "bulk", default_value = "0", hide_default_value = true, value_parser = share)]
    attacked: f64,

    /// Leave the filtering equipment out, as if it had never been bought
    #[arg(long)]
    without_equipment: bool,

    /// Draw all chance from N instead of the story's own seed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Let everything happen so many seconds later
    #[arg(long, value_name = "SECONDS", default_value = "0", hide_default_value = true, value_parser = shift)]
    shift: Duration,

    /// Give every host another address of the same class
    #[arg(long)]
    renumber: bool,

    /// Write who made each frame, and what did not arrive, to FILE as JSON lines
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
}

/// A shift in seconds.
fn shift(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=LONGEST_SHIFT).contains(&seconds) => {
            Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
        }
        Ok(_) | Err(_) => Err(format!("give a number of seconds from 0 to {LONGEST_SHIFT}")),
    }
}

/// A share.
fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        Ok(_) | Err(_) => Err("give a number from 0 to 1".to_owned()),
    }
}

/// Mixes by their names.
fn mixes() -> impl TypedValueParser<Value = Mix> {
    PossibleValuesParser::new(Mix::ALL.map(Mix::key)).map(|name| {
        let named = Mix::ALL.into_iter().find(|mix| mix.key() == name);
        named.unwrap_or(Mix::Uplink)
    })
}

/// Forges.
pub(super) fn run(args: &ForgeArgs, common: Common) -> Ending {
    let no_bar = ProgressBar::hidden();
    diagnostics::start(common, &no_bar);
    let unreadable = |error| (Exit::Unreadable, error);
    check_outputs(args).map_err(|error| (Exit::Usage, error))?;

    let Some(path) = &args.story else {
        return bulk(args);
    };
    let story = read_story(path).map_err(unreadable)?;
    let options = ForgeOptions {
        without_equipment: args.without_equipment,
        shift: args.shift,
        renumber: args.renumber,
        seed: args.seed,
    };
    let forged = forge_with_truth(&story, &options).with_context(|| escaped_path(path));
    let forged = forged.map_err(unreadable)?;

    // Nothing is created or replaced before the story has been told.
    let inputs = std::slice::from_ref(path);
    let open = |path: &Path| Output::open(Some(path), inputs, &no_bar);
    let capture = open(&args.output)?;
    let truth = args.truth.as_deref().map(open).transpose()?;
    written(&args.output, capture, |out| out.write_all(&forged.pcap))?;
    if let (Some(path), Some(out)) = (&args.truth, truth) {
        written(path, out, |out| tell_truth(&forged.truth, out))?;
    }
    tracing::debug!(
        "{}: {} frames, {} of them made by equipment",
        story.title(),
        forged.truth.frames.len(),
        forged.truth.forged().len()
    );
    Ok(Exit::Ran)
}

/// Writes a bulk capture.
fn bulk(args: &ForgeArgs) -> Ending {
    let mix = args.bulk.unwrap_or(Mix::Uplink);
    let options = BulkOptions {
        mix,
        packets: args.packets,
        flows: args.flows.map_or_else(|| mix.flows(), NonZeroU32::get),
        attacked: args.attacked,
        seed: args.seed.unwrap_or_default(),
    };
    let out = Output::open(Some(&args.output), &[], &ProgressBar::hidden())?;
    written(&args.output, out, |out| {
        let count = forge_bulk(&options, out)?;
        tracing::debug!(
            "{} packets, {} bytes, {} flows, {} of them with interference",
            count.packets,
            count.bytes,
            count.flows,
            count.attacked
        );
        Ok(())
    })?;
    Ok(Exit::Ran)
}

/// Refuses outputs that would spoil each other, or a terminal.
fn check_outputs(args: &ForgeArgs) -> anyhow::Result<()> {
    if args.truth.as_ref() == Some(&args.output) {
        return Err(anyhow!(
            "the capture and the truth cannot both go to {}",
            escaped_path(&args.output)
        ));
    }
    if args.output == Path::new("-") && io::stdout().is_terminal() {
        return Err(anyhow!(
            "a capture is not for a terminal: give -o a file, or pipe it, as to blockscope read -"
        ));
    }
    Ok(())
}

fn read_story(path: &Path) -> anyhow::Result<Story> {
    let name = || escaped_path(path);
    let mut text = String::new();
    if path == Path::new("-") {
        io::stdin().read_to_string(&mut text).with_context(name)?;
    } else {
        text = std::fs::read_to_string(path).with_context(name)?;
    }
    Story::parse(&text).with_context(name)
}

/// Writes to `out`, which is called `path`. That whoever reads has seen enough is no error.
fn written(
    path: &Path,
    out: Output,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), (Exit, anyhow::Error)> {
    let keeper = out.keeper();
    let mut out = io::BufWriter::with_capacity(1 << 20, out.plain());
    match write(&mut out).and_then(|()| out.flush()).and_then(|()| keeper.keep()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let error = anyhow::Error::new(error).context(format!("cannot write {}", escaped_path(path)));
            Err((Exit::Unreadable, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A line of the ground truth.
#[derive(Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
enum Line<'a> {
    Frame {
        frame: u64,
        sender: &'a str,
        making: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        trigger: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        copy_of: Option<u64>,
    },
    Drop {
        frame: u64,
        cause: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<&'a str>,
    },
    Hold {
        frame: u64,
        seconds: f64,
        by: &'a str,
    },
}

fn tell_truth(truth: &Truth, out: &mut dyn Write) -> io::Result<()> {
    let frames = truth.frames.iter().map(|frame| {
        let (making, trigger) = match frame.making {
            Making::Genuine => ("genuine", None),
            Making::Forged { trigger } => ("forged", trigger),
            Making::Rewritten { trigger } => ("rewritten", trigger),
        };
        Line::Frame {
            frame: frame.number,
            sender: &frame.sender,
            making,
            trigger,
            copy_of: frame.copy_of,
        }
    });
    let drops = truth.dropped.iter().map(|dropped| {
        let (cause, by) = match &dropped.cause {
            DropCause::Equipment(name) => ("equipment", Some(name.as_str())),
            DropCause::Lost => ("lost", None),
            DropCause::TimeToLive => ("time_to_live", None),
            DropCause::NoRoute => ("no_route", None),
            DropCause::HostDown => ("host_down", None),
        };
        Line::Drop {
            frame: dropped.number,
            cause,
            by,
        }
    });
    let holds = truth.held.iter().map(|held| Line::Hold {
        frame: held.number,
        seconds: held.wait.as_secs_f64(),
        by: &held.equipment,
    });
    for line in frames.chain(drops).chain(holds) {
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use blockscope::scenario::{DropTruth, FrameTruth, HeldTruth};

    use super::*;

    #[test]
    fn a_shift_is_a_number_of_seconds_within_reason() {
        assert_eq!(shift("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(shift("86400"), Ok(Duration::from_secs(86_400)));
        for text in ["-1", "1e10", "NaN", "inf", "1s", ""] {
            assert!(shift(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_truth_has_a_line_a_frame_and_then_one_a_drop() {
        let frame = |number, sender: &str, making, copy_of| FrameTruth {
            number,
            sender: sender.to_owned(),
            making,
            copy_of,
        };
        let drop = |number, cause| DropTruth { number, cause };
        let truth = Truth {
            frames: vec![
                frame(1, "alice", Making::Genuine, None),
                frame(2, "alice", Making::Genuine, Some(1)),
                frame(3, "filter", Making::Forged { trigger: Some(1) }, None),
                frame(4, "filter", Making::Rewritten { trigger: None }, None),
            ],
            dropped: vec![
                drop(1, DropCause::Equipment("filter".to_owned())),
                drop(3, DropCause::NoRoute),
            ],
            held: vec![HeldTruth {
                number: 2,
                equipment: "shaper".to_owned(),
                wait: Duration::from_millis(250),
            }],
        };
        let mut out = Vec::new();
        tell_truth(&truth, &mut out).unwrap();
        let expected = [
            r#"{"what":"frame","frame":1,"sender":"alice","making":"genuine"}"#,
            r#"{"what":"frame","frame":2,"sender":"alice","making":"genuine","copy_of":1}"#,
            r#"{"what":"frame","frame":3,"sender":"filter","making":"forged","trigger":1}"#,
            r#"{"what":"frame","frame":4,"sender":"filter","making":"rewritten"}"#,
            r#"{"what":"drop","frame":1,"cause":"equipment","by":"filter"}"#,
            r#"{"what":"drop","frame":3,"cause":"no_route"}"#,
            r#"{"what":"hold","frame":2,"seconds":0.25,"by":"shaper"}"#,
        ];
        assert_eq!(String::from_utf8(out).unwrap(), expected.join("\n") + "\n");
    }
}
