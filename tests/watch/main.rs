//! `blockscope watch` on real interfaces: captures replayed onto a pair of virtual ones, in a network namespace of the
//! test's own that is gone with it.
//!
//! The test runs itself again inside the namespace. Where none can be made it says so and passes.

mod faults;
mod live;
#[path = "../netns/mod.rs"]
mod netns;
mod threads;
