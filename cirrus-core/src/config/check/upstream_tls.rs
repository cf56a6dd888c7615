//! TLS to origins: files that can be read, and that belong together.

use crate::config::faults::Faults;
use crate::config::model::UpstreamTlsConfig;
use crate::upstream::check_tls;

/// Checks the table that stands at `path`.
pub(super) fn upstream_tls(tls: &UpstreamTlsConfig, path: &str, faults: &mut Faults) {
    if !tls.verify {
        let message = "the origin's certificate is not verified: anybody on the way can read and change everything";
        faults.warning(format!("{path}.verify"), Some("false".to_owned()), message);
    }
    let (without, file) = match (&tls.certificate, &tls.key) {
        (Some(certificate), None) => ("key", certificate),
        (None, Some(key)) => ("certificate", key),
        _ => return files(tls, path, faults),
    };
    faults.error(
        format!("{path}.{without}"),
        None,
        format!("missing: {} is of no use without it", file.display()),
    );
}

fn files(tls: &UpstreamTlsConfig, path: &str, faults: &mut Faults) {
    if let Err(unusable) = check_tls(tls) {
        faults.error(
            format!("{path}.{}", unusable.key),
            Some(unusable.file.display().to_string()),
            format!("the file {}", unusable.why),
        );
    }
}
