//! What the demo says: where it listens, and what is worth trying.

use std::fmt;
use std::net::SocketAddr;

use crate::output::{FAINT, STRONG};
use crate::serve::url;

/// What the demo says.
#[derive(Debug)]
pub(super) struct Tour {
    pub(super) edge: Door,
    pub(super) admin: Door,
    pub(super) origin: String,
}

/// An address, and why it is not the usual one.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub(super) address: SocketAddr,
    /// The usual port, if somebody else has it.
    pub(super) taken: Option<u16>,
}

// === impl Tour ===

impl Tour {
    fn ideas(&self) -> [(&'static str, String); 6] {
        let (edge, admin) = (
            url(self.edge.address, false),
            url(self.admin.address, false),
        );
        [
            (
                "twice: the second is a hit; look at Age and Cache-Status",
                format!("curl -i {edge}/fresh"),
            ),
            (
                "a few seconds apart: the old page at once, a new one the next time",
                format!("curl -i {edge}/stale"),
            ),
            (
                "one copy for each language; try en, de, fr",
                format!("curl -i -H 'Accept-Language: de' {edge}/vary"),
            ),
            (
                "five at once, for a page that takes 2 s: the origin is asked once",
                format!("for i in 1 2 3 4 5; do curl -s {edge}/slow & done; wait"),
            ),
            (
                "64 MiB: twice, the second from memory",
                format!("curl -o /dev/null {edge}/large"),
            ),
            ("what operators count", format!("curl -s {admin}/metrics")),
        ]
    }
}

impl fmt::Display for Tour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{STRONG}Cirrus demo{STRONG:#}: a small origin, and the edge in front of it.\n"
        )?;
        writeln!(f, "  edge    {}", self.edge)?;
        writeln!(f, "  admin   {}", self.admin)?;
        writeln!(f, "  origin  {}\n", self.origin)?;
        writeln!(f, "Worth trying:\n")?;
        for (why, line) in self.ideas() {
            writeln!(f, "  {FAINT}# {why}{FAINT:#}\n  {line}\n")?;
        }
        writeln!(
            f,
            "{}/ lists all pages. Ctrl-C ends the demo.",
            url(self.edge.address, false)
        )
    }
}

// === impl Door ===

impl Door {
    /// With the port that was found.
    pub(super) fn opened(self, address: Option<SocketAddr>) -> Self {
        Self {
            address: address.unwrap_or(self.address),
            ..self
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&url(self.address, false))?;
        match self.taken {
            Some(port) => write!(f, "  (port {port} is taken)"),
            None => Ok(()),
        }
    }
}
