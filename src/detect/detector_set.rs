//! The one list of detectors. A new one adds a field, a memory and a habit here, and the compiler names the rest.

use super::detector::{Attention, Conclusion, Detector, Sighting};
use super::dns_injection::DnsInjection;
use super::rst_injection::RstInjection;
use crate::finding::docket::Docket;
use crate::flow::flow_table::Recycle;

/// All detectors, called one after another without indirection.
#[derive(Clone, Copy, Debug, Default)]
pub struct DetectorSet {
    rst_injection: RstInjection,
    dns_injection: DnsInjection,
}

/// What the detectors keep of one flow.
#[derive(Debug, Default)]
pub struct Memories {
    rst_injection: <RstInjection as Detector>::Memory,
    dns_injection: <DnsInjection as Detector>::Memory,
}

/// What the detectors keep of the hosts of one shard.
#[derive(Debug)]
pub struct AllHabits {
    rst_injection: <RstInjection as Detector>::Habits,
    dns_injection: <DnsInjection as Detector>::Habits,
}

impl Recycle for Memories {
    fn recycle(&mut self) {
        let Self {
            rst_injection,
            dns_injection,
        } = self;
        rst_injection.recycle();
        dns_injection.recycle();
    }
}

impl DetectorSet {
    /// Nothing learnt yet.
    #[must_use]
    pub fn habits(&self) -> AllHabits {
        AllHabits {
            rst_injection: self.rst_injection.habits(),
            dns_injection: self.dns_injection.habits(),
        }
    }

    /// Shows a packet to all detectors.
    pub fn observe(&self, sighting: &Sighting<'_>, memories: &mut Memories, habits: &mut AllHabits) -> Attention {
        let answers = [
            self.rst_injection
                .observe(sighting, &mut memories.rst_injection, &mut habits.rst_injection),
            self.dns_injection
                .observe(sighting, &mut memories.dns_injection, &mut habits.dns_injection),
        ];
        if answers.contains(&Attention::Suspicious) {
            Attention::Suspicious
        } else {
            Attention::Idle
        }
    }

    /// Lets all detectors conclude.
    pub fn conclude(
        &self,
        conclusion: &Conclusion<'_>,
        memories: &mut Memories,
        habits: &mut AllHabits,
        docket: &mut Docket,
    ) {
        self.rst_injection.conclude(
            conclusion,
            &mut memories.rst_injection,
            &mut habits.rst_injection,
            docket,
        );
        self.dns_injection.conclude(
            conclusion,
            &mut memories.dns_injection,
            &mut habits.dns_injection,
            docket,
        );
    }
}
