//! Which flow an expectation is about.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

/// One end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndPattern {
    /// The host.
    pub ip: IpAddr,
    /// Its port; any if none.
    pub port: Option<u16>,
}

/// A flow, or all flows of a host: `client > server`, or one end alone, each an address with or without a port.
///
/// `10.0.0.1:4000 > 45.0.0.1:443`, `10.0.0.1 > 45.0.0.1:443`, `45.0.0.1`, `[2001:db8::1]:443`. `→` and `->` stand for
/// `>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowPattern {
    /// Either end is this.
    Either(EndPattern),
    /// From this client to this server.
    Between(EndPattern, EndPattern),
}

impl FlowPattern {
    /// Whether a record (EVE) is about such a flow.
    #[must_use]
    pub fn matches(&self, record: &Value) -> bool {
        let is = |end: &EndPattern, ip: &str, port: &str| {
            let address = record[ip].as_str().and_then(|text| text.parse::<IpAddr>().ok());
            address == Some(end.ip)
                && end
                    .port
                    .is_none_or(|port_is| record[port].as_u64() == Some(port_is.into()))
        };
        match self {
            Self::Either(end) => is(end, "src_ip", "src_port") || is(end, "dest_ip", "dest_port"),
            Self::Between(client, server) => is(client, "src_ip", "src_port") && is(server, "dest_ip", "dest_port"),
        }
    }
}

impl FromStr for EndPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self { ip, port: None });
        }
        if let Ok(both) = text.parse::<SocketAddr>() {
            return Ok(Self {
                ip: both.ip(),
                port: Some(both.port()),
            });
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        match bare.map(str::parse::<Ipv6Addr>) {
            Some(Ok(ip)) => Ok(Self {
                ip: ip.into(),
                port: None,
            }),
            Some(Err(_)) | None => Err(format!(
                "\"{text}\" is no end of a flow: give an address, with or without a port, as in 10.0.0.1:443 or \
                 [2001:db8::1]:443"
            )),
        }
    }
}

impl FromStr for FlowPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ends = ["->", "→", ">"].iter().find_map(|arrow| text.split_once(arrow));
        match ends {
            Some((client, server)) => Ok(Self::Between(client.parse()?, server.parse()?)),
            None => text.parse().map(Self::Either),
        }
    }
}

impl<'de> Deserialize<'de> for FlowPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for EndPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

impl fmt::Display for FlowPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Either(end) => end.fmt(f),
            Self::Between(client, server) => write!(f, "{client} > {server}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(pattern: &str, record: &Value) -> bool {
        pattern.parse::<FlowPattern>().unwrap().matches(record)
    }

    #[test]
    fn a_flow_is_told_by_both_ends_or_by_one_with_or_without_ports() {
        let record = json!({"src_ip": "10.0.0.1", "src_port": 4000, "dest_ip": "45.0.0.1", "dest_port": 443});
        for pattern in [
            "10.0.0.1:4000 > 45.0.0.1:443",
            "10.0.0.1 → 45.0.0.1:443",
            "10.0.0.1->45.0.0.1",
            "45.0.0.1",
            "10.0.0.1:4000",
        ] {
            assert!(matches(pattern, &record), "{pattern}");
        }
        for pattern in [
            "10.0.0.1:4001 > 45.0.0.1:443",
            "45.0.0.1:443 > 10.0.0.1:4000",
            "45.0.0.2",
            "45.0.0.1:80",
        ] {
            assert!(!matches(pattern, &record), "{pattern}");
        }
        let six = json!({"src_ip": "2001:db8:0:0::1", "src_port": 1, "dest_ip": "2001:db8::2", "dest_port": 443});
        assert!(matches("2001:db8::1 > [2001:db8::2]:443", &six));
        assert!(matches("[2001:db8::2]", &six));
    }

    #[test]
    fn what_is_no_flow_is_refused() {
        for text in ["", "blocked.example", "10.0.0.1:99999", "10.0.0.1 >", "[10.0.0.1]"] {
            assert!(text.parse::<FlowPattern>().is_err(), "{text}");
        }
    }
}
