//! The figures of the front door, as `[limits]` of the configuration sets them.

use std::time::Duration;

/// How often a connection is looked at for whether it pauses, and how long it must have been idle for that. What it last
/// carried is then in no buffer any more after at most twice this time. Busy connections do not notice it.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// How much a connection may ask for, and for how long it may wait.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FrontDoorLimits {
    /// Largest head in bytes: request line and headers as received, with the empty line. HTTP/2: the size of the
    /// header list as RFC 9113 section 6.5.2 counts it.
    pub head_bytes: usize,
    /// Largest number of header lines.
    pub headers: usize,
    /// Largest body in bytes, without the framing of chunks.
    pub upload_bytes: u64,
    /// From the first byte of a head to its end, and from the opening of a connection to its first byte.
    pub header_timeout: Duration,
    /// How long a body may make no progress, over what time its [least rate](Self::body_min_bytes_per_s) is reckoned, and how long a client may refuse to take bytes of an answer.
    pub body_idle_timeout: Duration,
    /// What a body that is waited for must bring on average, in bytes a second; 0: only some progress.
    pub body_min_bytes_per_s: u64,
    /// How long a connection stays open between requests.
    pub keep_alive_idle: Duration,
    /// How many connections are open at once; further ones wait to be accepted.
    pub connections: usize,
}

impl Default for FrontDoorLimits {
    fn default() -> Self {
        Self {
            head_bytes: 16_384,
            headers: 64,
            upload_bytes: 104_923_136,
            header_timeout: Duration::from_secs(10),
            body_idle_timeout: Duration::from_secs(30),
            body_min_bytes_per_s: 1024,
            keep_alive_idle: Duration::from_secs(75),
            connections: 10_000,
        }
    }
}
