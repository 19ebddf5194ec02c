//! The `blockscope` command.

use std::io::{self, Write};
use std::num::NonZeroUsize;

use blockscope::capture::capture_set::CaptureSet;
use blockscope::capture::source::Progress;
use blockscope::engine::run::{Control, Settings, run};
use blockscope::report::eve::Eve;

struct Unwatched;

impl Control for Unwatched {
    fn progress(&mut self, _: Progress, _: u64) {}
    fn stop(&self) -> bool {
        false
    }
}

fn main() {
    let path = std::env::args().nth(2).unwrap_or_default();
    let mut source = CaptureSet::open(&[path.into()]);
    let settings = Settings {
        threads: NonZeroUsize::MIN,
        flows: 262_144,
    };
    let mut sink = Eve::new(io::stdout().lock());
    let outcome = run(&mut source, &settings, &mut sink, &mut Unwatched);
    let mut errors = io::stderr().lock();
    for error in &outcome.unreadable {
        let _ = writeln!(errors, "blockscope: {error}");
    }
    std::process::exit(if outcome.unreadable.is_empty() { 0 } else { 3 });
}
