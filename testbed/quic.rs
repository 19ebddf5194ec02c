//! A QUIC server and its visitor: `quic-server ADDRESS`, `quic-visit NAME ADDRESS`. Debian has neither.

use std::io::Write as _;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use blockscope::scenario::quic_peer::{QuicClient, QuicServer};

/// Initials of a visitor before it gives up; the first wait, doubled each time (RFC 9002 section 6.2.2 begins with 1 s).
const TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Serves until it is ended.
pub(crate) fn serve(arguments: &[String]) -> Result<(), String> {
    let [address] = arguments else {
        return Err("quic-server: no address".into());
    };
    let wrong = |error: std::io::Error| format!("quic-server {address}: {error}");
    let socket = UdpSocket::bind((address.as_str(), 443)).map_err(wrong)?;
    println!("ready");
    let _ = std::io::stdout().flush();
    let mut server = QuicServer::new(11);
    let mut buffer = [0; 2048];
    loop {
        let Ok((len, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        for datagram in server.answer(from, &buffer[..len]) {
            socket.send_to(&datagram, from).map_err(wrong)?;
        }
    }
}

/// Visits once, and says whether a page came.
pub(crate) fn visit(arguments: &[String]) -> Result<(), String> {
    let [name, address] = arguments else {
        return Err("quic-visit: arguments are missing".into());
    };
    let wrong = |error: std::io::Error| format!("quic-visit {address}: {error}");
    let socket = UdpSocket::bind("0.0.0.0:0").map_err(wrong)?;
    socket.connect((address.as_str(), 443)).map_err(wrong)?;
    let port = socket.local_addr().map_err(wrong)?.port();
    let mut client = QuicClient::new(name, u64::from(port) << 32 | u64::from(std::process::id()));
    let mut buffer = [0; 2048];
    let mut answers = 0;
    let mut wait = FIRST_WAIT;
    for _ in 0..TRIES {
        socket.send(&client.initial()).map_err(wrong)?;
        let until = Instant::now() + wait;
        wait *= 2;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            socket.set_read_timeout(Some(left)).map_err(wrong)?;
            let Ok(len) = socket.recv(&mut buffer) else { break };
            answers += 1;
            for datagram in client.answer(&buffer[..len]) {
                socket.send(&datagram).map_err(wrong)?;
            }
            // Two datagrams of the handshake, four of the page.
            if answers >= 6 {
                println!("a page");
                return Ok(());
            }
        }
        if answers > 0 {
            break;
        }
    }
    println!("{answers} answers");
    Ok(())
}
