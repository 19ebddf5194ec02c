//! Withholds findings below a verdict.

use std::io;

use super::sink::{Reported, Sink};
use crate::finding::summary::Summary;
use crate::finding::verdict::Verdict;

/// Passes on the findings at or above a verdict; the summary still counts all.
#[derive(Debug)]
pub struct Threshold<S> {
    least: Verdict,
    inner: S,
}

impl<S: Sink> Threshold<S> {
    /// Passes findings at or above `least` to `inner`.
    pub const fn new(least: Verdict, inner: S) -> Self {
        Self { least, inner }
    }

    /// The sink within.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Sink> Sink for Threshold<S> {
    fn finding(&mut self, reported: &Reported<'_>) -> io::Result<()> {
        match reported.judgement.verdict {
            Some(verdict) if verdict >= self.least => self.inner.finding(reported),
            Some(_) | None => Ok(()),
        }
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        self.inner.finish(summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::verdict::Judgement;
    use crate::report::sample;

    #[derive(Default)]
    struct Count(u32, u32);

    impl Sink for Count {
        fn finding(&mut self, _: &Reported<'_>) -> io::Result<()> {
            self.0 += 1;
            Ok(())
        }

        fn finish(&mut self, _: &Summary) -> io::Result<()> {
            self.1 += 1;
            Ok(())
        }
    }

    #[test]
    fn only_findings_at_or_above_the_verdict_pass() {
        let finding = sample::reset();
        let mut sink = Threshold::new(Verdict::Likely, Count::default());
        for verdict in [
            None,
            Some(Verdict::Possible),
            Some(Verdict::Likely),
            Some(Verdict::Confirmed),
        ] {
            let judgement = Judgement { log_odds: 0.0, verdict };
            sink.finding(&Reported {
                finding: &finding,
                judgement,
                files: &[],
            })
            .unwrap();
        }
        sink.finish(&Summary::default()).unwrap();
        let Count(findings, summaries) = sink.into_inner();
        assert_eq!((findings, summaries), (2, 1));
    }
}
