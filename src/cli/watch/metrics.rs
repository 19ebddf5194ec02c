//! What a live run counts, for Prometheus: `GET /metrics` in its text format (0.0.4), and `GET /healthz`.
//!
//! One thread answers one caller at a time and gives none of them long; nothing else waits for it.

use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use blockscope::finding::summary::Summary;

/// How long a caller may take to ask and to take the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most of a request that is read.
const MOST_ASKED: usize = 4096;

/// The counts, as they were told last.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    latest: Arc<Mutex<Summary>>,
}

impl Metrics {
    /// Answers at `listener` from now on.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn serve(listener: TcpListener) -> io::Result<Self> {
        tracing::debug!("metrics at http://{}/metrics", listener.local_addr()?);
        let metrics = Self::default();
        let shared = metrics.clone();
        thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            for caller in listener.incoming() {
                // What goes wrong with one caller is that caller's.
                let _ = caller.and_then(|caller| shared.answer(caller));
            }
        })?;
        Ok(metrics)
    }

    /// Takes note of how things stand.
    pub(super) fn update(&self, so_far: &Summary) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = so_far.clone();
    }

    fn answer(&self, mut caller: TcpStream) -> io::Result<()> {
        caller.set_read_timeout(Some(PATIENCE))?;
        caller.set_write_timeout(Some(PATIENCE))?;
        let mut asked = [0; MOST_ASKED];
        let mut len = 0;
        while len < MOST_ASKED && !asked[..len].windows(4).any(|end| end == b"\r\n\r\n") {
            match caller.read(&mut asked[len..])? {
                0 => break,
                more => len += more,
            }
        }
        let (status, body) = match path(&asked[..len]) {
            Some("/metrics") => {
                let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
                ("200 OK", exposition(&latest))
            }
            Some("/healthz") => ("200 OK", "ok\n".to_owned()),
            Some(_) => ("404 Not Found", "there are /metrics and /healthz\n".to_owned()),
            None => ("400 Bad Request", "only GET is understood\n".to_owned()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            body.len()
        );
        caller.write_all(head.as_bytes())?;
        caller.write_all(body.as_bytes())
    }
}

/// The path a request asks for, without its query.
fn path(request: &[u8]) -> Option<&str> {
    let line = request.split(|byte| *byte == b'\r').next()?;
    let target = std::str::from_utf8(line)
        .ok()?
        .strip_prefix("GET ")?
        .split(' ')
        .next()?;
    target.split('?').next()
}

/// All counts in Prometheus' text format.
fn exposition(summary: &Summary) -> String {
    let coverage = &summary.coverage;
    let mut text = String::new();
    let mut family = |name: &str, help: &str, samples: &[(String, u64)]| {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "# HELP blockscope_{name} {help}\n# TYPE blockscope_{name} counter"
        );
        for (labels, value) in samples {
            let _ = writeln!(text, "blockscope_{name}{labels} {value}");
        }
    };
    let plain = |value| [(String::new(), value)];
    family("packets_total", "Packets judged.", &plain(coverage.frames));
    family("bytes_total", "Captured bytes judged.", &plain(coverage.bytes));
    let lost: Vec<_> = summary
        .files
        .iter()
        .flat_map(|file| {
            let interface = label(&file.path.to_string_lossy());
            [("kernel", file.lost.kernel), ("interface", file.lost.interface)]
                .map(|(by, count)| (format!("{{interface=\"{interface}\",by=\"{by}\"}}"), count))
        })
        .collect();
    family("lost_packets_total", "Packets lost before they could be read.", &lost);
    family(
        "flows_total",
        "Flows seen.",
        &[
            ("{proto=\"tcp\"}".to_owned(), coverage.tcp_flows),
            ("{proto=\"udp\"}".to_owned(), coverage.udp_flows),
        ],
    );
    family(
        "evicted_flows_total",
        "Flows given up before their end because the table was full.",
        &plain(coverage.evicted),
    );
    let findings: Vec<_> = summary
        .findings
        .iter()
        .map(|((kind, verdict), count)| {
            let labels = format!("{{kind=\"{}\",verdict=\"{}\"}}", kind.key(), verdict.key());
            (labels, *count)
        })
        .collect();
    family(
        "findings_total",
        "Findings, by the highest verdict each was told with.",
        &findings,
    );
    text
}

/// A label's value with what would end it escaped.
fn label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use blockscope::capture::source::{FileNote, Losses};
    use blockscope::finding::finding::Kind;
    use blockscope::finding::verdict::Verdict;

    use super::*;

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut caller = TcpStream::connect(address).unwrap();
        caller.write_all(request.as_bytes()).unwrap();
        io::read_to_string(caller).unwrap()
    }

    #[test]
    fn counts_are_told_to_who_asks_for_them() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Metrics::serve(listener).unwrap();
        let mut summary = Summary::default();
        summary.coverage.frames = 12;
        summary.files.push(FileNote {
            path: "eth\"0".into(),
            lost: Losses {
                kernel: 3,
                interface: 0,
            },
            ..FileNote::default()
        });
        summary.findings.insert((Kind::RstInjection, Verdict::Likely), 2);
        metrics.update(&summary);
        let told = ask(address, "GET /metrics?x HTTP/1.1\r\n\r\n");
        assert!(told.starts_with("HTTP/1.1 200 OK\r\n"), "{told}");
        for line in [
            "blockscope_packets_total 12",
            "blockscope_lost_packets_total{interface=\"eth\\\"0\",by=\"kernel\"} 3",
            "blockscope_findings_total{kind=\"rst_injection\",verdict=\"likely\"} 2",
        ] {
            assert!(told.lines().any(|told| told == line), "{line}\n{told}");
        }
        assert!(ask(address, "GET /healthz HTTP/1.0\r\n\r\n").ends_with("\r\n\r\nok\n"));
        assert!(ask(address, "GET /x HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 404"));
        assert!(ask(address, "POST / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 400"));
    }
}
