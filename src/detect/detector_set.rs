//! The one list of detectors: a new one adds its line to `detectors!`.

use std::net::IpAddr;

use super::block_page::BlockPage;
use super::captive_portal::CaptivePortal;
use super::detector::{Attention, Conclusion, Detector, Sighting};
use super::dns_injection::DnsInjection;
use super::fin_injection::FinInjection;
use super::icmp_prohibited::IcmpProhibited;
use super::ip_blackhole::IpBlackhole;
use super::packs::facts::Facts;
use super::payload_injection::PayloadInjection;
use super::quic_drop::{Handshake, QuicDrop};
use super::rst_injection::RstInjection;
use super::silent_drop::SilentDrop;
use super::syn_ack_injection::SynAckInjection;
use super::throttling::Throttling;
use super::tls_alert_injection::TlsAlertInjection;
use super::tls_interception::TlsInterception;
use super::volume_freeze::VolumeFreeze;
use crate::finding::docket::Docket;
use crate::finding::summary::Coverage;
use crate::flow::flow::Flow;
use crate::flow::flow_table::Recycle;

/// Writes the set, its memories and its habits out for a list of detectors, so that a call is direct and each memory
/// lies in the flow's slot by value.
macro_rules! detectors {
    ($($name:ident: $detector:ty),+ $(,)?) => {
        /// All detectors, called one after another without indirection.
        #[derive(Clone, Debug, Default)]
        pub struct DetectorSet {
            $($name: $detector),+
        }

        /// What the detectors keep of one flow.
        #[derive(Debug, Default)]
        pub struct Memories {
            $($name: <$detector as Detector>::Memory),+
        }

        /// What the detectors keep of the hosts of one shard.
        #[derive(Debug)]
        pub struct AllHabits {
            $($name: <$detector as Detector>::Habits),+
        }

        impl Recycle for Memories {
            fn recycle(&mut self) {
                $(self.$name.recycle();)+
            }
        }

        impl DetectorSet {
            /// Nothing learnt yet.
            #[must_use]
            pub fn habits(&self) -> AllHabits {
                AllHabits { $($name: self.$name.habits()),+ }
            }

            /// Shows a packet to all detectors.
            pub fn observe(
                &self,
                sighting: &Sighting<'_>,
                memories: &mut Memories,
                habits: &mut AllHabits,
            ) -> Attention {
                let mut attention = Attention::Idle;
                $(attention = attention.max(self.$name.observe(sighting, &mut memories.$name, &mut habits.$name));)+
                attention
            }

            /// Whether all detectors rest in a flow.
            pub fn rest(&self, flow: &Flow, memories: &Memories) -> bool {
                $(self.$name.rests(flow, &memories.$name))&&+
            }

            /// Whether any detector may still look into a flow's first bytes.
            pub fn read_on(&self, memories: &Memories) -> bool {
                $(self.$name.reads_on(&memories.$name))||+
            }

            /// Shows an ordinary packet of a flow that all detectors rest in.
            #[inline]
            pub fn pass(&self, sighting: &Sighting<'_>, memories: &mut Memories, habits: &mut AllHabits) {
                $(self.$name.pass(sighting, &mut memories.$name, &mut habits.$name);)+
            }

            /// Lets all detectors conclude.
            pub fn conclude(
                &self,
                conclusion: &Conclusion<'_>,
                memories: &mut Memories,
                habits: &mut AllHabits,
                docket: &mut Docket,
            ) {
                $(self.$name.conclude(conclusion, &mut memories.$name, &mut habits.$name, docket);)+
            }
        }
    };
}

impl DetectorSet {
    /// The detectors, those that look things up in `facts`.
    #[must_use]
    pub fn knowing(facts: &Facts) -> Self {
        let facts = || facts.clone();
        Self {
            dns_injection: DnsInjection { facts: facts() },
            block_page: BlockPage { facts: facts() },
            ..Self::default()
        }
    }
}

impl AllHabits {
    /// Takes out the QUIC handshakes of which it is known what became of them.
    pub fn take_handshakes(&mut self) -> Vec<Handshake> {
        self.quic_drop.take_handshakes()
    }

    /// Adds what only the detectors count to `coverage`.
    pub fn count(&self, coverage: &mut Coverage) {
        let (answered, unanswered) = self.dns_injection.counts();
        coverage.dns_answered += answered;
        coverage.dns_unanswered += unanswered;
    }

    /// The addresses that names were answered with, in no order.
    pub fn named(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.dns_injection.named()
    }
}

detectors! {
    rst_injection: RstInjection,
    dns_injection: DnsInjection,
    block_page: BlockPage,
    payload_injection: PayloadInjection,
    silent_drop: SilentDrop,
    ip_blackhole: IpBlackhole,
    syn_ack_injection: SynAckInjection,
    fin_injection: FinInjection,
    tls_alert_injection: TlsAlertInjection,
    tls_interception: TlsInterception,
    icmp_prohibited: IcmpProhibited,
    volume_freeze: VolumeFreeze,
    captive_portal: CaptivePortal,
    quic_drop: QuicDrop,
    throttling: Throttling,
}
