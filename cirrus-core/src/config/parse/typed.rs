//! A [`Tree`] as a serde deserializer, and what serde says when a value does not fit.

use std::convert::Infallible;
use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, Error as _, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor,
};

use super::tree::{Entry, Kind, Tree};
use super::words::list;

/// What does not fit, and where: the way from the value that was read to the innermost one that is wrong.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) what: What,
    /// Innermost first, as the error comes up.
    steps: Vec<usize>,
    /// The key of the last step is wrong, not its value.
    pub(super) is_key: bool,
}

/// The ways of not fitting.
#[derive(Debug, PartialEq)]
pub(super) enum What {
    /// A key that the table does not have, and those it has.
    UnknownKey(String, &'static [&'static str]),
    /// A word that is none of these.
    UnknownWord(String, &'static [&'static str]),
    MissingKey(&'static str),
    /// Another kind of value, or one out of range.
    Unfit {
        found: Found,
        expected: String,
    },
    /// The value's own words.
    Said(String),
}

/// What was found instead, as far as messages tell kinds apart.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    Text(String),
    Integer(i128),
    Float(f64),
    Bool(bool),
    Null,
    Array,
    Table,
    Other(String),
}

/// One value being read.
#[derive(Clone, Copy)]
pub(super) struct Node<'t>(pub(super) &'t Tree);

struct Elements<'t> {
    elements: std::iter::Enumerate<std::slice::Iter<'t, Tree>>,
}

struct Entries<'t> {
    entries: std::iter::Enumerate<std::slice::Iter<'t, Entry>>,
    /// The entry whose key was read and whose value was not.
    open: Option<(usize, &'t Tree)>,
}

// === impl Mistake ===

impl Mistake {
    fn new(what: What) -> Self {
        Self {
            what,
            steps: Vec::new(),
            is_key: false,
        }
    }

    fn unfit(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(What::Unfit {
            found: unexpected.into(),
            expected: expected.to_string(),
        })
    }

    /// One level up.
    fn under(mut self, step: usize) -> Self {
        self.steps.push(step);
        self
    }

    /// From the value at `base` down to what is wrong.
    pub(super) fn steps(&self, base: &[usize]) -> Vec<usize> {
        base.iter()
            .copied()
            .chain(self.steps.iter().rev().copied())
            .collect()
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.what)
    }
}

impl std::error::Error for Mistake {}

impl de::Error for Mistake {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(What::Said(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::unfit(found, expected)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::unfit(found, expected)
    }

    fn unknown_variant(word: &str, allowed: &'static [&'static str]) -> Self {
        Self::new(What::UnknownWord(word.to_owned(), allowed))
    }

    fn unknown_field(key: &str, allowed: &'static [&'static str]) -> Self {
        Self::new(What::UnknownKey(key.to_owned(), allowed))
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(What::MissingKey(key))
    }
}

// === impl Found ===

impl From<Unexpected<'_>> for Found {
    fn from(unexpected: Unexpected<'_>) -> Self {
        match unexpected {
            Unexpected::Str(text) => Self::Text(text.to_owned()),
            Unexpected::Unsigned(number) => Self::Integer(number.into()),
            Unexpected::Signed(number) => Self::Integer(number.into()),
            Unexpected::Float(number) => Self::Float(number),
            Unexpected::Bool(flag) => Self::Bool(flag),
            Unexpected::Unit | Unexpected::Option => Self::Null,
            Unexpected::Seq => Self::Array,
            Unexpected::Map => Self::Table,
            other => Self::Other(other.to_string()),
        }
    }
}

// === impl Node ===

impl<'t> Node<'t> {
    /// Integers of up to 128 bits are read, so that those out of range are named as they are written.
    fn integer<'de, V: Visitor<'de>>(number: i128, visitor: V) -> Result<V::Value, Mistake> {
        if let Ok(number) = u64::try_from(number) {
            return visitor.visit_u64(number);
        }
        match i64::try_from(number) {
            Ok(number) => visitor.visit_i64(number),
            Err(_) => Err(Mistake::new(What::Unfit {
                found: Found::Integer(number),
                expected: (&visitor as &dyn Expected).to_string(),
            })),
        }
    }

    fn elements(elements: &'t [Tree]) -> Elements<'t> {
        Elements {
            elements: elements.iter().enumerate(),
        }
    }

    fn entries(entries: &'t [Entry]) -> Entries<'t> {
        Entries {
            entries: entries.iter().enumerate(),
            open: None,
        }
    }
}

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match &self.0.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(flag) => visitor.visit_bool(*flag),
            Kind::Integer(number) => Self::integer(*number, visitor),
            Kind::Float(number) => visitor.visit_f64(*number),
            Kind::Date => Err(Mistake::invalid_type(Unexpected::Other("a date"), &visitor)),
            Kind::Text(text) => visitor.visit_str(text),
            Kind::Array(elements) => visitor.visit_seq(Self::elements(elements)),
            Kind::Table(entries) => visitor.visit_map(Self::entries(entries)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0.kind {
            Kind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    /// Derived visitors of structs take arrays, too; a configuration has names for its values.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match &self.0.kind {
            Kind::Array(_) => Err(Mistake::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match &self.0.kind {
            Kind::Text(text) => visitor.visit_enum((&**text).into_deserializer()),
            // No other kind can be a word: the visitor of a word refuses it, and says which kind it is.
            _ => self
                .deserialize_any(OneOf(words))
                .map(|never| match never {}),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

impl IntoDeserializer<'_, Mistake> for Node<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

// === impl Elements ===

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Mistake> {
        let Some((step, tree)) = self.elements.find(|(_, tree)| !tree.pruned) else {
            return Ok(None);
        };
        seed.deserialize(Node(tree))
            .map(Some)
            .map_err(|mistake| mistake.under(step))
    }
}

// === impl Entries ===

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mistake> {
        let Some((step, entry)) = self.entries.find(|(_, entry)| !entry.tree.pruned) else {
            return Ok(None);
        };
        self.open = Some((step, &entry.tree));
        let key = seed.deserialize((&*entry.key).into_deserializer());
        key.map(Some).map_err(|mistake: Mistake| Mistake {
            is_key: true,
            ..mistake.under(step)
        })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mistake> {
        let (step, tree) = self
            .open
            .take()
            .ok_or_else(|| Mistake::custom("a value was read before its key"))?;
        seed.deserialize(Node(tree))
            .map_err(|mistake| mistake.under(step))
    }
}

// === impl OneOf ===

/// Refuses everything that is not a word.
struct OneOf(&'static [&'static str]);

impl Visitor<'_> for OneOf {
    type Value = Infallible;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one of ")?;
        f.write_str(&list(self.0))
    }
}
