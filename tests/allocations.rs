//! Judging clean traffic allocates nothing once the tables are warm, and no traffic costs more per frame the more of it
//! there is.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use blockscope::engine::baselines::Baselines;
use blockscope::engine::shard::Shard;
use blockscope::packet::frame::Frame;

#[allow(dead_code, reason = "the benches use the rest")]
#[path = "../benches/hot_path/traffic.rs"]
mod traffic;

use traffic::Traffic;

thread_local! {
    /// Allocations of this thread: the tests run side by side.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counted.
struct Counting;

fn count() {
    // A thread that is ending has no counter any more, and nobody asks for it.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: Every call is handed on to the system's allocator as it came, so its promises are kept by that; the counter
// is a constant-initialised thread local without a destructor, so that counting never allocates.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How many allocations `work` makes.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

/// Between two rounds of the same traffic: longer than any flow is waited for, so that all rounds begin alike. Within a
/// round flows come and go many times over.
const PAUSE: Duration = Duration::from_secs(1000);

/// Judges `traffic` `rounds` times over in one shard, and says how many allocations each round made.
fn allocations_by_round(traffic: &Traffic, rounds: u32, wanted: impl Fn(&Frame<'_>) -> bool) -> Vec<u64> {
    let mut shard = Shard::new(1 << 12, Arc::new(Baselines::default()));
    (0..rounds)
        .map(|round| {
            let later = (traffic.span() + PAUSE) * round;
            allocations(|| {
                traffic
                    .frames(later)
                    .filter(|frame| wanted(frame))
                    .for_each(|frame| shard.judge(frame));
            })
        })
        .collect()
}

/// No frame of the traffic is a reset: a reset opens a case, whoever sent it.
fn is_no_reset(frame: &Frame<'_>) -> bool {
    use blockscope::packet::packet::Transport;
    blockscope::packet::dissect::dissect(*frame).map_or(true, |packet| match packet.transport {
        Transport::Tcp(segment) => !segment.flags.rst(),
        Transport::Udp(_) | Transport::IcmpError(_) | Transport::Other(_) => true,
    })
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(Vec::<u8>::with_capacity(9))), 1);
    assert_eq!(allocations(|| drop(Vec::<u8>::new())), 0);
}

#[test]
fn clean_traffic_allocates_nothing_after_warm_up() {
    for (name, traffic) in [
        ("mix", traffic::mix(40).crowd(3)),
        ("web", traffic::web(3)),
        ("dns", traffic::dns(60).crowd(3)),
    ] {
        let by_round = allocations_by_round(&traffic, 5, is_no_reset);
        assert!(by_round[0] > 0, "{name}: the first round fills the tables");
        assert_eq!(
            by_round[3..],
            [0, 0],
            "{name}: {by_round:?} in {} frames",
            traffic.records.len()
        );
    }
}
