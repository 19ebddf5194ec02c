//! `capture INTERFACE FILE`: every frame of an interface into a file, until standard input is closed.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use pcap::{Capture, Precision};

/// Captures. What is in the ring when the end is asked for is still written.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let [interface, file] = arguments else {
        return Err("capture: arguments are missing".into());
    };
    let wrong = |error: pcap::Error| format!("capture on {interface}: {error}");
    let mut capture = Capture::from_device(interface.as_str())
        .map_err(wrong)?
        .snaplen(65_535)
        .buffer_size(64 << 20)
        .precision(Precision::Nano)
        .timeout(10)
        .open()
        .and_then(Capture::setnonblock)
        .map_err(wrong)?;
    let mut out = capture.savefile(Path::new(file)).map_err(wrong)?;
    let ended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ended);
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        told.store(true, Ordering::Release);
    });
    println!("ready");
    let _ = std::io::stdout().flush();
    loop {
        match capture.next_packet() {
            Ok(packet) => out.write(&packet),
            Err(pcap::Error::TimeoutExpired) if ended.load(Ordering::Acquire) => {
                return out.flush().map_err(wrong);
            }
            // With its ring a blocking capture would wait for a frame, however long that takes.
            Err(pcap::Error::TimeoutExpired) => thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(wrong(error)),
        }
    }
}

/// Leaves out what is more than a millisecond younger than `last`, in microseconds since 1970: the kernel may stamp a
/// packet for each socket anew.
pub(crate) fn cut(file: &Path, last: i64) -> Result<(), String> {
    let wrong = |error: pcap::Error| format!("{}: {error}", file.display());
    let mut whole = Capture::from_file_with_precision(file, Precision::Nano).map_err(wrong)?;
    let part = file.with_extension("part");
    let mut kept = whole.savefile(&part).map_err(wrong)?;
    while let Ok(packet) = whole.next_packet() {
        let at = packet.header.ts.tv_sec * 1_000_000 + packet.header.ts.tv_usec / 1000;
        if at <= last + 1000 {
            kept.write(&packet);
        }
    }
    kept.flush().map_err(wrong)?;
    drop(kept);
    std::fs::rename(&part, file).map_err(|error| error.to_string())
}
