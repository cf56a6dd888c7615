//! Standard output and standard error. Escape codes reach terminals only, and none if `NO_COLOR` is set.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

/// For what has to be mended.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// For what should be looked at.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// For what the eye should find.
pub(crate) const STRONG: Style = Style::new().bold();
/// For what explains.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// Writes a result to standard output. A reader that has seen enough (`cirrus schema | head`) is no failure.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Writes a line to standard error.
pub(crate) fn tell(line: &str) {
    // Who cannot be told cannot be told that either.
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}
