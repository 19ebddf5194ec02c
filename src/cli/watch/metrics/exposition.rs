//! The figures of a live run in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use blockscope::capture::live::TapLight;
use blockscope::engine::evidence::Kept;
use blockscope::finding::finding::Kind;
use blockscope::finding::summary::Summary;
use blockscope::finding::verdict::Verdict;

/// How a live run stands.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Figures {
    /// What was looked at.
    pub(in super::super) summary: Summary,
    /// How often a finding of each kind was told with each verdict.
    pub(in super::super) told: BTreeMap<(Kind, Verdict), u64>,
    /// How far behind the reader is.
    pub(in super::super) lag: Duration,
    /// Flows held.
    pub(in super::super) flows: u64,
    /// How often the reader waited for a worker.
    pub(in super::super) waits: u64,
    /// What was kept as evidence.
    pub(in super::super) kept: Kept,
}

/// What a family's values do.
#[derive(Clone, Copy)]
enum Type {
    /// They only grow.
    Counter,
    /// They go up and down.
    Gauge,
}

/// The families under way.
#[derive(Default)]
struct Families(String);

impl Families {
    fn add<V: std::fmt::Display>(&mut self, name: &str, kind: Type, help: &str, samples: &[(String, V)]) {
        let kind = match kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.0,
            "# HELP blockscope_{name} {help}\n# TYPE blockscope_{name} {kind}"
        );
        for (labels, value) in samples {
            let _ = writeln!(self.0, "blockscope_{name}{labels} {value}");
        }
    }

    fn one<V: std::fmt::Display>(&mut self, name: &str, kind: Type, help: &str, value: V) {
        self.add(name, kind, help, &[(String::new(), value)]);
    }
}

/// All of `figures`, and which of the interfaces packets can come from.
pub(super) fn exposition(figures: &Figures, lights: &[TapLight]) -> String {
    use Type::{Counter, Gauge};
    let coverage = &figures.summary.coverage;
    let mut families = Families::default();
    let version = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    families.add("build_info", Gauge, "The version that runs.", &[(version, 1)]);
    families.one("packets_total", Counter, "Packets judged.", coverage.frames);
    families.one("bytes_total", Counter, "Captured bytes judged.", coverage.bytes);
    let lost: Vec<_> = figures
        .summary
        .files
        .iter()
        .flat_map(|file| {
            let interface = label(&file.path.to_string_lossy());
            [("kernel", file.lost.kernel), ("interface", file.lost.interface)]
                .map(|(by, count)| (format!("{{interface=\"{interface}\",by=\"{by}\"}}"), count))
        })
        .collect();
    families.add(
        "lost_packets_total",
        Counter,
        "Packets lost before they could be read.",
        &lost,
    );
    let up: Vec<_> = lights
        .iter()
        .map(|light| {
            let labels = format!("{{interface=\"{}\"}}", label(light.name()));
            (labels, u8::from(light.is_up()))
        })
        .collect();
    families.add(
        "interface_up",
        Gauge,
        "Whether packets can come from the interface.",
        &up,
    );
    families.add(
        "flows_total",
        Counter,
        "Flows seen.",
        &[
            ("{proto=\"tcp\"}".to_owned(), coverage.tcp_flows),
            ("{proto=\"udp\"}".to_owned(), coverage.udp_flows),
        ],
    );
    families.one("flows", Gauge, "Flows held.", figures.flows);
    families.one(
        "evicted_flows_total",
        Counter,
        "Flows given up before their end because the table was full.",
        coverage.evicted,
    );
    families.one(
        "one_sided_flows_total",
        Counter,
        "TCP flows of which only one direction was seen.",
        coverage.one_sided,
    );
    let findings: Vec<_> = figures
        .told
        .iter()
        .map(|((kind, verdict), count)| {
            let labels = format!("{{kind=\"{}\",verdict=\"{}\"}}", kind.key(), verdict.key());
            (labels, *count)
        })
        .collect();
    families.add(
        "findings_total",
        Counter,
        "Findings told, by kind and verdict; one whose verdict rises is told again.",
        &findings,
    );
    families.one(
        "withheld_findings_total",
        Counter,
        "Findings not told because what they rest on may have been lost in capturing.",
        figures.summary.withheld,
    );
    families.one(
        "dropped_findings_total",
        Counter,
        "Findings that did not fit the store they are judged in.",
        coverage.findings_dropped,
    );
    families.one(
        "lag_seconds",
        Gauge,
        "How far behind the packets being read are.",
        figures.lag.as_secs_f64(),
    );
    families.one(
        "reader_waits_total",
        Counter,
        "How often the reader waited for a worker whose channel was full.",
        figures.waits,
    );
    families.one(
        "evidence_packets_total",
        Counter,
        "Packets of findings written to the files of -w.",
        figures.kept.frames,
    );
    families.one(
        "evidence_incomplete_total",
        Counter,
        "Findings of which some packets had been let go before they were told.",
        figures.kept.incomplete,
    );
    if let Some(resident) = resident_memory() {
        families.one(
            "resident_memory_bytes",
            Gauge,
            "Memory the process has in RAM.",
            resident,
        );
    }
    families.0
}

/// Bytes this process has in RAM (proc_pid_status(5), VmRSS).
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// A label's value with what would end it escaped.
fn label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Words of a text that name a metric of ours.
    fn named(text: &str) -> BTreeSet<&str> {
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        words.filter(|word| word.starts_with("blockscope_")).collect()
    }

    #[test]
    fn every_metric_of_the_dashboard_and_the_alerts_is_told() {
        let told = exposition(&Figures::default(), &[]);
        let families: BTreeSet<_> = told
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .collect();
        assert!(families.contains("blockscope_resident_memory_bytes"));
        for text in [
            include_str!("../../../../contrib/grafana-dashboard.json"),
            include_str!("../../../../contrib/prometheus-alerts.yml"),
        ] {
            let named = named(text);
            assert!(named.len() > 5);
            let unknown: Vec<_> = named.difference(&families).collect();
            assert!(unknown.is_empty(), "{unknown:?}");
        }
        serde_json::from_str::<serde_json::Value>(include_str!("../../../../contrib/grafana-dashboard.json")).unwrap();
    }
}
