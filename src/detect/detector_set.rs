//! The one list of detectors: a new one adds its line to `detectors!`, beside those that look at the same flows.

use std::mem::offset_of;
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
use crate::flow::boxes::Boxes;
use crate::flow::flow::Flow;
use crate::flow::flow_table::Recycle;
use crate::prefetch::prefetch_span;

/// Writes the set, its memories and its habits out for lists of detectors, so that a call is direct and each memory lies in
/// place: those of detectors that look at every flow, or at flows of UDP, in the flow's slot; those of detectors that look
/// at TCP alone in a box that only such flows have.
macro_rules! detectors {
    (
        every flow: $($every:ident: $every_type:ty),+;
        datagrams: $($datagrams:ident: $datagrams_type:ty),+;
        streams: $($streams:ident: $streams_type:ty),+ $(,)?
    ) => {
        /// All detectors, called one after another without indirection.
        #[derive(Clone, Debug, Default)]
        pub struct DetectorSet {
            $($every: $every_type,)+
            $($datagrams: $datagrams_type,)+
            $($streams: $streams_type,)+
        }

        /// What the detectors keep of one flow.
        #[derive(Debug, Default)]
        // In this order, so that where to look further is known first.
        #[repr(C)]
        pub struct Memories {
            /// There is one from the beginning of a flow of TCP on.
            streams: Option<Box<StreamMemories>>,
            $($every: <$every_type as Detector>::Memory,)+
            $($datagrams: <$datagrams_type as Detector>::Memory,)+
        }

        /// What the detectors that look at TCP alone keep of one flow.
        #[derive(Debug, Default)]
        // In the order of the list: what ordinary packets touch lies together.
        #[repr(C)]
        pub struct StreamMemories {
            $($streams: <$streams_type as Detector>::Memory,)+
        }

        /// What the detectors keep of the hosts of one shard.
        #[derive(Debug)]
        pub struct AllHabits {
            $($every: <$every_type as Detector>::Habits,)+
            $($datagrams: <$datagrams_type as Detector>::Habits,)+
            $($streams: <$streams_type as Detector>::Habits,)+
        }

        impl Recycle for StreamMemories {
            fn recycle(&mut self) {
                $(self.$streams.recycle();)+
            }
        }

        impl Memories {
            /// Forgets everything but allocated memory, and gives back what only flows of TCP have.
            pub fn recycle(&mut self, boxes: &mut Boxes<StreamMemories>) {
                $(self.$every.recycle();)+
                $(self.$datagrams.recycle();)+
                if let Some(streams) = self.streams.take() {
                    boxes.give_back(streams);
                }
            }
        }

        impl DetectorSet {
            /// Nothing learnt yet.
            #[must_use]
            pub fn habits(&self) -> AllHabits {
                AllHabits {
                    $($every: self.$every.habits(),)+
                    $($datagrams: self.$datagrams.habits(),)+
                    $($streams: self.$streams.habits(),)+
                }
            }

            /// Shows a packet to all detectors that look at such flows.
            pub fn observe(
                &self,
                sighting: &Sighting<'_>,
                memories: &mut Memories,
                habits: &mut AllHabits,
            ) -> Attention {
                let mut attention = Attention::Idle;
                $(attention = attention.max(self.$every.observe(sighting, &mut memories.$every, &mut habits.$every));)+
                if let Some(streams) = &mut memories.streams {
                    $(attention = attention.max(
                        self.$streams.observe(sighting, &mut streams.$streams, &mut habits.$streams),
                    );)+
                } else {
                    $(attention = attention.max(
                        self.$datagrams.observe(sighting, &mut memories.$datagrams, &mut habits.$datagrams),
                    );)+
                }
                attention
            }

            /// Whether all detectors rest in a flow of TCP.
            pub fn rest(&self, flow: &Flow, memories: &Memories) -> bool {
                $(self.$every.rests(flow, &memories.$every))&&+
                    && memories.streams.as_ref().is_some_and(|streams| {
                        $(self.$streams.rests(flow, &streams.$streams))&&+
                    })
            }

            /// Whether any detector may still look into the first bytes of a flow of TCP.
            pub fn read_on(&self, memories: &Memories) -> bool {
                $(self.$every.reads_on(&memories.$every))||+
                    || memories.streams.as_ref().is_some_and(|streams| {
                        $(self.$streams.reads_on(&streams.$streams))||+
                    })
            }

            /// Shows an ordinary packet of a flow of TCP that all detectors rest in.
            #[inline]
            pub fn pass(&self, sighting: &Sighting<'_>, memories: &mut Memories, habits: &mut AllHabits) {
                $(self.$every.pass(sighting, &mut memories.$every, &mut habits.$every);)+
                if let Some(streams) = &mut memories.streams {
                    $(self.$streams.pass(sighting, &mut streams.$streams, &mut habits.$streams);)+
                }
            }

            /// Lets all detectors conclude that look at such flows.
            pub fn conclude(
                &self,
                conclusion: &Conclusion<'_>,
                memories: &mut Memories,
                habits: &mut AllHabits,
                docket: &mut Docket,
            ) {
                $(self.$every.conclude(conclusion, &mut memories.$every, &mut habits.$every, docket);)+
                if let Some(streams) = &mut memories.streams {
                    $(self.$streams.conclude(conclusion, &mut streams.$streams, &mut habits.$streams, docket);)+
                } else {
                    $(self.$datagrams.conclude(
                        conclusion,
                        &mut memories.$datagrams,
                        &mut habits.$datagrams,
                        docket,
                    );)+
                }
            }
        }
    };
}

impl Memories {
    /// Makes room for what detectors keep of a flow of TCP, which begins.
    pub fn open_streams(&mut self, boxes: &mut Boxes<StreamMemories>) {
        self.streams.get_or_insert_with(|| boxes.take());
    }

    /// Fetches what the next packet will touch, if it is an ordinary one or a datagram.
    #[inline]
    pub fn fetch(&self) {
        match &self.streams {
            Some(streams) => prefetch_span(&**streams, 0..offset_of!(StreamMemories, rst_injection)),
            None => self.dns_injection.fetch(),
        }
    }

    /// Fetches what concluding the flow will touch.
    pub fn fetch_all(&self) {
        match &self.streams {
            Some(streams) => prefetch_span(&**streams, 0..size_of::<StreamMemories>()),
            None => self.dns_injection.fetch(),
        }
    }
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
    every flow:
    dns_injection: DnsInjection,
    icmp_prohibited: IcmpProhibited;
    datagrams:
    quic_drop: QuicDrop;
    streams:
    payload_injection: PayloadInjection,
    throttling: Throttling,
    rst_injection: RstInjection,
    block_page: BlockPage,
    silent_drop: SilentDrop,
    ip_blackhole: IpBlackhole,
    syn_ack_injection: SynAckInjection,
    fin_injection: FinInjection,
    tls_alert_injection: TlsAlertInjection,
    tls_interception: TlsInterception,
    volume_freeze: VolumeFreeze,
    captive_portal: CaptivePortal,
}
