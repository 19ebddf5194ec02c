//! Which processors worker threads run on.

use std::io;

/// Where worker threads run; what is found does not depend on it.
#[derive(Clone, Debug, Default)]
pub enum Placing {
    /// Wherever the system puts them.
    #[default]
    Anywhere,
    /// Each on one of these, in turn: it does not lose its caches to another thread of the run.
    Pinned(Processors),
}

impl Placing {
    /// Puts the calling thread, worker number `index` of the run, where it belongs. Where the system refuses, it stays
    /// where it is, and the log says so.
    pub(super) fn take(&self, index: usize) {
        match self {
            Self::Anywhere => {}
            Self::Pinned(processors) => {
                if let Err(error) = processors.keep(index) {
                    tracing::warn!("worker {index} cannot be kept on a processor of its own: {error}");
                }
            }
        }
    }
}

/// The processors this process may run on, by the system's numbers. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processors(Vec<usize>);

#[cfg(target_os = "linux")]
impl Processors {
    /// Those the system allows the calling thread.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn allowed() -> io::Result<Self> {
        use rustix::thread::{CpuSet, sched_getaffinity};
        let set = sched_getaffinity(None)?;
        Ok(Self((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()))
    }

    /// Keeps the calling thread on the `nth` of them, or, where there are fewer, on one that others have as well.
    fn keep(&self, nth: usize) -> io::Result<()> {
        use rustix::thread::{CpuSet, sched_setaffinity};
        let mut set = CpuSet::new();
        set.set(self.0[nth % self.0.len()]);
        Ok(sched_setaffinity(None, &set)?)
    }
}

#[cfg(not(target_os = "linux"))]
impl Processors {
    /// Those the system allows the calling thread.
    ///
    /// # Errors
    /// Always: only Linux is asked.
    pub fn allowed() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn keep(&self, _: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn each_worker_is_kept_on_one_of_the_processors_in_turn() {
        let all = Processors::allowed().unwrap();
        let placing = Placing::Pinned(all.clone());
        for index in 0..2 * all.0.len() {
            let kept = thread::scope(|scope| {
                let worker = scope.spawn(|| {
                    placing.take(index);
                    Processors::allowed().unwrap()
                });
                worker.join().unwrap()
            });
            assert_eq!(kept.0, [all.0[index % all.0.len()]]);
        }
        Placing::Anywhere.take(0);
        assert_eq!(Processors::allowed().unwrap(), all);
    }
}
