//! The labels that an origin puts on a response, to purge it by.

use std::fmt;

use http::HeaderMap;

/// Labels to purge a response by, packed into one block: each behind its length.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tags(Box<[u8]>);

// === impl Tags ===

impl Tags {
    /// Each label.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (length, more) = rest.split_first_chunk()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            let (tag, more) = more.split_at_checked(length)?;
            rest = more;
            std::str::from_utf8(tag).ok()
        })
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn contains(&self, tag: &str) -> bool {
        self.iter().any(|other| other == tag)
    }

    /// With these, too.
    #[must_use]
    pub fn and(&self, more: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut block = self.0.to_vec();
        for tag in more {
            push(&mut block, tag.as_ref());
        }
        Self(block.into())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Bytes that they take in memory.
    pub(super) fn weight(&self) -> usize {
        self.0.len()
    }
}

impl<T: AsRef<str>> FromIterator<T> for Tags {
    fn from_iter<I: IntoIterator<Item = T>>(tags: I) -> Self {
        Self::default().and(tags)
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn push(block: &mut Vec<u8>, tag: &str) {
    // No header is as long as that.
    if let Ok(length) = u32::try_from(tag.len()) {
        block.extend_from_slice(&length.to_le_bytes());
        block.extend_from_slice(tag.as_bytes());
    }
}

/// The labels in `Surrogate-Key` (separated by spaces) and `Cache-Tag` (separated by commas), each once.
pub(super) fn tags(headers: &HeaderMap) -> Tags {
    let mut tags: Vec<&str> = Vec::new();
    for (name, separator) in [("surrogate-key", ' '), ("cache-tag", ',')] {
        for line in headers.get_all(name) {
            let labels = line
                .to_str()
                .unwrap_or_default()
                .split(separator)
                .map(str::trim);
            tags.extend(labels.filter(|label| !label.is_empty()));
        }
    }
    tags.sort_unstable();
    tags.dedup();
    tags.into_iter().collect()
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
            tags(&headers).iter().collect::<Vec<_>>(),
            ["a", "b", "c", "two words"]
        );
    }

    #[test]
    fn labels_come_out_as_they_went_in() {
        let all = ["a", "", "two words", "line\nfeed", "ä"];
        let packed: Tags = all.iter().collect();
        assert_eq!(packed.iter().collect::<Vec<_>>(), all);
        assert!(packed.contains("two words") && !packed.contains("two"));
        assert_eq!((packed.len(), packed.is_empty()), (5, false));
        assert!(Tags::default().is_empty());
    }

    #[test]
    fn most_responses_have_none() {
        assert!(tags(&HeaderMap::new()).is_empty());
    }
}
