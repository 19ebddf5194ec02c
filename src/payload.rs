//! What packets carry, read in place: DNS messages, HTTP heads, TLS hellos and alerts.
//!
//! Every reader takes bytes as they stood on the wire, possibly cut short, possibly hostile, and lends out what it found;
//! it never asks where the bytes came from and never allocates. A reader says what is wrong with a message and still
//! gives what could be read: a forged answer is often recognised by how it is broken.

pub mod address_class;
pub mod dns_message;
pub mod dns_name;
pub mod html_facts;
pub mod http_body;
pub mod http_head;
pub mod public_suffix;
pub mod quic_initial;
pub mod tls_certificate;
pub mod tls_client_hello;
pub mod tls_handshake;
pub mod tls_record;
pub mod tls_server_hello;
