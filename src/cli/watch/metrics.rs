//! What a live run counts, for Prometheus: `GET /metrics` in its text format (0.0.4), `GET /healthz` (the process
//! answers) and `GET /readyz` (it watches: workers run, and packets can come from every interface).
//!
//! One thread answers one caller at a time and gives none of them long; nothing else waits for it.

mod exposition;

use std::io::{self, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use blockscope::capture::live::TapLight;
use blockscope::report::escape::escaped;

pub(super) use self::exposition::Figures;
use self::exposition::exposition;

/// How long a caller may take to ask and to take the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most of a request that is read.
const MOST_ASKED: usize = 4096;

/// The figures, as they were told last.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    /// None until the run has told any.
    latest: Arc<Mutex<Option<Figures>>>,
    lights: Arc<[TapLight]>,
}

impl Metrics {
    /// Answers at `listener` from now on, also about how the interfaces stand.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn serve(listener: TcpListener, lights: Vec<TapLight>) -> io::Result<Self> {
        tracing::debug!("metrics at http://{}/metrics", listener.local_addr()?);
        let metrics = Self {
            latest: Arc::default(),
            lights: lights.into(),
        };
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
    pub(super) fn update(&self, figures: Figures) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(figures);
    }

    fn latest(&self) -> Option<Figures> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why nothing can be seen just now, if so.
    fn not_ready(&self) -> Option<String> {
        if self.latest().is_none() {
            return Some("starting\n".to_owned());
        }
        let down: String = self
            .lights
            .iter()
            .filter(|light| !light.is_up())
            .map(|light| format!("{} is down or gone\n", escaped(light.name())))
            .collect();
        (!down.is_empty()).then_some(down)
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
                let latest = self.latest().unwrap_or_default();
                ("200 OK", exposition(&latest, &self.lights))
            }
            Some("/healthz") => ("200 OK", "ok\n".to_owned()),
            Some("/readyz") => match self.not_ready() {
                None => ("200 OK", "ok\n".to_owned()),
                Some(why) => ("503 Service Unavailable", why),
            },
            Some(_) => ("404 Not Found", "there are /metrics, /healthz and /readyz\n".to_owned()),
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
        let metrics = Metrics::serve(listener, Vec::new()).unwrap();
        assert!(
            ask(address, "GET /readyz HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 503"),
            "nothing was told yet"
        );
        let mut figures = Figures::default();
        let summary = &mut figures.summary;
        summary.coverage.frames = 12;
        summary.files.push(FileNote {
            path: "eth\"0".into(),
            lost: Losses {
                kernel: 3,
                interface: 0,
            },
            ..FileNote::default()
        });
        figures.told.insert((Kind::RstInjection, Verdict::Likely), 2);
        figures.lag = Duration::from_millis(1500);
        metrics.update(figures);
        let told = ask(address, "GET /metrics?x HTTP/1.1\r\n\r\n");
        assert!(told.starts_with("HTTP/1.1 200 OK\r\n"), "{told}");
        for line in [
            "blockscope_packets_total 12",
            "blockscope_lost_packets_total{interface=\"eth\\\"0\",by=\"kernel\"} 3",
            "blockscope_findings_total{kind=\"rst_injection\",verdict=\"likely\"} 2",
            "blockscope_lag_seconds 1.5",
            "# TYPE blockscope_lag_seconds gauge",
        ] {
            assert!(told.lines().any(|told| told == line), "{line}\n{told}");
        }
        assert!(ask(address, "GET /healthz HTTP/1.0\r\n\r\n").ends_with("\r\n\r\nok\n"));
        assert!(ask(address, "GET /readyz HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200"));
        assert!(ask(address, "GET /x HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 404"));
        assert!(ask(address, "POST / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 400"));
    }
}
