//! Header fields that are set twice, once as `X-A` and once as `x-a`: different keys, but the same field, of which one
//! would silently win.

use std::collections::HashSet;

use super::Blemish;
use super::tree::{Entry, Kind, Tree};

/// The tables whose keys are names of header fields.
const OF_HEADERS: [&str; 4] = ["add", "headers", "set", "upstream_headers"];

/// Looks through the whole text.
pub(super) fn find(tree: &Tree, blemishes: &mut Vec<Blemish>) {
    match &tree.kind {
        Kind::Array(elements) => elements.iter().for_each(|element| find(element, blemishes)),
        Kind::Table(entries) => entries
            .iter()
            .for_each(|entry| find_under(entry, blemishes)),
        _ => {}
    }
}

fn find_under(entry: &Entry, blemishes: &mut Vec<Blemish>) {
    match &entry.tree.kind {
        Kind::Table(fields) if OF_HEADERS.contains(&&*entry.key) => same_fields(fields, blemishes),
        _ => find(&entry.tree, blemishes),
    }
}

fn same_fields(fields: &[Entry], blemishes: &mut Vec<Blemish>) {
    // TOML sorts its keys: in the order of the text, the later one is the one too many.
    let mut fields: Vec<&Entry> = fields.iter().collect();
    fields.sort_by_key(|field| field.key_span.start);
    let mut seen = HashSet::new();
    let again = fields
        .into_iter()
        .filter(|field| !seen.insert(field.key.to_ascii_lowercase()));
    blemishes.extend(again.map(|field| Blemish::twin(field.key_span.clone(), &field.key)));
}
