//! The labels that an origin puts on a response, to purge it by.

use std::sync::Arc;

use http::HeaderMap;

/// The labels in `Surrogate-Key` (separated by spaces) and `Cache-Tag` (separated by commas), each once.
pub(super) fn tags(headers: &HeaderMap) -> Vec<Arc<str>> {
    let mut tags: Vec<Arc<str>> = Vec::new();
    for (name, separator) in [("surrogate-key", ' '), ("cache-tag", ',')] {
        for line in headers.get_all(name) {
            let labels = line
                .to_str()
                .unwrap_or_default()
                .split(separator)
                .map(str::trim);
            tags.extend(labels.filter(|label| !label.is_empty()).map(Arc::from));
        }
    }
    tags.sort_unstable();
    tags.dedup();
    tags
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn labels_of_both_fields_are_found_once() {
        let mut headers = HeaderMap::new();
        headers.append("surrogate-key", HeaderValue::from_static("b a  a"));
        headers.append("surrogate-key", HeaderValue::from_static("c"));
        headers.append("cache-tag", HeaderValue::from_static("two words, a,"));
        assert_eq!(
            tags(&headers).iter().map(|tag| &**tag).collect::<Vec<_>>(),
            ["a", "b", "c", "two words"]
        );
    }

    #[test]
    fn most_responses_have_none() {
        assert!(tags(&HeaderMap::new()).is_empty());
    }
}
