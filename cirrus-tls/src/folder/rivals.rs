//! Certificates of the same kind for the same name: one of them is of no use, and perhaps nobody knows which.

use std::collections::HashMap;
use std::path::Path;

use cirrus_core::Timestamp;

use super::Problem;
use crate::pem::Loaded;

/// The pair that may repeat another: it is for clients that name no host.
const DEFAULT: &str = "default";

/// Those that another one always goes before, for one of their names at least.
pub(super) fn rivals<'a>(
    directory: &Path,
    pairs: impl Iterator<Item = (&'a str, &'a Loaded)>,
    now: Timestamp,
) -> Vec<Problem> {
    let mut best: HashMap<(&str, bool), (&str, &Loaded)> = HashMap::new();
    let mut beaten: Vec<(&str, &str, &str)> = Vec::new();
    // One that is not valid yet, or no more, stands in nobody's way.
    let compete =
        |(stem, loaded): &(&str, &Loaded)| *stem != DEFAULT && loaded.lapse(now).is_none();
    for (stem, loaded) in pairs.filter(compete) {
        let certificate = &loaded.certificate;
        for name in &*certificate.names {
            let kind = (&**name, certificate.is_elliptic());
            let Some((other, rival)) = best.get(&kind).copied() else {
                best.insert(kind, (stem, loaded));
                continue;
            };
            if rival.certificate.key.cert.first() == certificate.key.cert.first() {
                continue;
            }
            // As the index has it: of two that are valid equally long, the later one.
            if certificate.not_after >= rival.certificate.not_after {
                best.insert(kind, (stem, loaded));
                beaten.push((other, stem, name));
            } else {
                beaten.push((stem, other, name));
            }
        }
    }
    beaten.sort_unstable();
    beaten.dedup_by_key(|(loser, winner, _)| (*loser, *winner));
    beaten
        .into_iter()
        .map(|(loser, winner, name)| Problem {
            file: directory.join(format!("{loser}.pem")),
            message: format!(
                "{winner}.pem is for `{name}` too and ends later: this one is not served for it"
            ),
        })
        .collect()
}
