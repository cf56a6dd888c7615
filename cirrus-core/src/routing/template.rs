//! Text with holes, such as a redirect's target.

use std::fmt;
use std::str::FromStr;

/// Text with names in braces that are filled in for each request: `https://{host}/x/{id}{path}`.
///
/// A brace always belongs to a name; there is no other way to write one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Template(Box<[Part]>);

/// What was written is not a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidTemplate(#[from] Fault);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    Text(Box<str>),
    Name(Box<str>),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("the brace before {0:?} is never closed")]
    Open(Box<str>),
    #[error("the closing brace after {0:?} was never opened")]
    Stray(Box<str>),
    #[error(
        "a name in braces is made of a-z, 0-9 and \"_\" and does not begin with a digit; \"{{{0}}}\" does not"
    )]
    Name(Box<str>),
}

/// Whether `text` can be the name of a parameter: `[a-z_][a-z0-9_]*`.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

// === impl Template ===

impl Template {
    /// Reads a template. Which names there are to fill in is the caller's to check, with [`names`](Self::names).
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            push_text(&mut parts, before)?;
            let (name, behind) = after
                .split_once('}')
                .ok_or_else(|| Fault::Open(after.into()))?;
            if !is_name(name) {
                return Err(Fault::Name(name.into()).into());
            }
            parts.push(Part::Name(name.into()));
            rest = behind;
        }
        push_text(&mut parts, rest)?;
        Ok(Self(parts.into()))
    }

    /// Fills in the names. One that `lookup` does not know becomes nothing.
    ///
    /// Values are put in as they are: whoever places the text answers for its escapes.
    pub fn render<V: AsRef<str>>(&self, lookup: impl Fn(&str) -> Option<V>) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Name(name) => text.extend(lookup(name).iter().map(AsRef::as_ref)),
            }
        }
        text
    }

    /// Whether it begins with `//` by its author's own will, and so names another host (RFC 3986 §4.2).
    pub fn is_network_path(&self) -> bool {
        matches!(self.0.first(), Some(Part::Text(literal)) if literal.starts_with("//"))
    }

    /// The names it asks for, in their order, as often as they stand in it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Name(name) => Some(&**name),
        })
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) -> Result<(), Fault> {
    if let Some((before, _)) = text.split_once('}') {
        return Err(Fault::Stray(before.into()));
    }
    if !text.is_empty() {
        parts.push(Part::Text(text.into()));
    }
    Ok(())
}

impl FromStr for Template {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTemplate> {
        Self::parse(text)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Name(name) => write!(f, "{{{name}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;

    fn complaint(text: &str) -> String {
        Template::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn names_are_filled_in() {
        let template = Template::parse("https://{host}/x/{id}{path}").unwrap();
        let text = template.render(|name| match name {
            "host" => Some(Cow::Borrowed("a.example")),
            "id" => Some(Cow::Owned(7.to_string())),
            "path" => Some(Cow::Borrowed("/p?q")),
            _ => None,
        });
        assert_eq!(text, "https://a.example/x/7/p?q");
        assert_eq!(template.names().collect::<Vec<_>>(), ["host", "id", "path"]);
    }

    #[test]
    fn what_is_filled_in_is_not_read_again() {
        let template = Template::parse("{a}{b}").unwrap();
        assert_eq!(
            template.render(|name| (name == "a").then_some("{b}")),
            "{b}"
        );
    }

    #[test]
    fn plain_text_needs_nothing() {
        let template = Template::parse("/new").unwrap();
        assert_eq!(template.render(|_| None::<&str>), "/new");
        assert_eq!(template.names().count(), 0);
    }

    #[test]
    fn faults_name_the_brace() {
        assert_eq!(
            complaint("/a/{id"),
            "the brace before \"id\" is never closed"
        );
        assert_eq!(
            complaint("/a}b{c}"),
            "the closing brace after \"/a\" was never opened"
        );
        assert!(complaint("/{}").ends_with("\"{}\" does not"));
        assert!(complaint("/{Id}").contains("a-z, 0-9"));
        assert!(complaint("/{1a}").contains("\"{1a}\""));
        assert!(complaint("{a{b}}").contains("\"{a{b}\""));
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_back(text in r"([a-z/]{0,3}(\{[a-z_]{0,3}\}?)?){0,4}|\PC{0,16}") {
            if let Ok(template) = Template::parse(&text) {
                prop_assert_eq!(template.to_string(), text);
            }
        }
    }
}
