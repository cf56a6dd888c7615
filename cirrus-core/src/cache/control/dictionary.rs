//! Dictionaries of structured fields (RFC 9651 §3.2), as far as cache directives are made of them.
//!
//! One mistake anywhere and the whole field means nothing, which is what RFC 9213 wants.

/// What a member is set to. Parameters are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    Boolean(bool),
    /// The digits of a whole number that is not negative.
    Integer(&'a [u8]),
    /// Without its quotes.
    String(&'a [u8]),
    Token(&'a [u8]),
    /// Some other type: no directive has one.
    Other,
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

/// Tells each member, and how many there are; `None` if it is no dictionary, whatever has been told by then.
pub(super) fn dictionary<'a>(
    text: &'a [u8],
    mut each: impl FnMut(&'a [u8], Item<'a>),
) -> Option<usize> {
    let mut rest = Rest(text.trim_ascii());
    let mut members = 0;
    while !rest.0.is_empty() {
        let key = rest.key()?;
        let item = if rest.skip(b'=') {
            rest.item_or_list()?
        } else {
            Item::Boolean(true)
        };
        rest.parameters()?;
        each(key, item);
        members += 1;
        rest.space();
        if rest.0.is_empty() {
            break;
        }
        rest.demand(b',')?;
        rest.space();
        // A comma at the end is a mistake.
        (!rest.0.is_empty()).then_some(())?;
    }
    Some(members)
}

// === impl Rest ===

impl<'a> Rest<'a> {
    fn skip(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn demand(&mut self, byte: u8) -> Option<()> {
        self.skip(byte).then_some(())
    }

    fn space(&mut self) {
        self.take(|byte| matches!(byte, b' ' | b'\t'));
    }

    fn take(&mut self, is_part: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|&byte| !is_part(byte));
        let (taken, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        taken
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        let first = *self.0.first()?;
        (first.is_ascii_lowercase() || first == b'*').then_some(())?;
        let is_part = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)
        };
        Some(self.take(is_part))
    }

    fn item_or_list(&mut self) -> Option<Item<'a>> {
        if !self.skip(b'(') {
            return self.item();
        }
        loop {
            self.take(|byte| byte == b' ');
            if self.skip(b')') {
                return Some(Item::Other);
            }
            self.item()?;
            self.parameters()?;
            matches!(self.0.first(), Some(b' ' | b')')).then_some(())?;
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.skip(b';') {
            self.take(|byte| byte == b' ');
            self.key()?;
            if self.skip(b'=') {
                self.item()?;
            }
        }
        Some(())
    }

    fn item(&mut self) -> Option<Item<'a>> {
        match *self.0.first()? {
            b'"' => self.string(),
            b'?' => self.boolean(),
            b'-' | b'0'..=b'9' => self.number(),
            b':' => self.binary(),
            b'@' => {
                self.demand(b'@')?;
                self.number().map(|_| Item::Other)
            }
            first if first.is_ascii_alphabetic() || first == b'*' => {
                let is_part =
                    |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte);
                Some(Item::Token(self.take(is_part)))
            }
            _ => None,
        }
    }

    fn string(&mut self) -> Option<Item<'a>> {
        self.demand(b'"')?;
        let whole = self.0;
        loop {
            self.take(|byte| matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\');
            if self.skip(b'"') {
                let length = whole.len() - self.0.len() - 1;
                return Some(Item::String(&whole[..length]));
            }
            self.demand(b'\\')?;
            (self.skip(b'"') || self.skip(b'\\')).then_some(())?;
        }
    }

    fn boolean(&mut self) -> Option<Item<'a>> {
        self.demand(b'?')?;
        match (self.skip(b'1'), self.skip(b'0')) {
            (true, false) => Some(Item::Boolean(true)),
            (false, true) => Some(Item::Boolean(false)),
            _ => None,
        }
    }

    /// Up to 15 digits, or up to 12 with up to three behind a point (RFC 9651 §3.3.1, §3.3.2).
    fn number(&mut self) -> Option<Item<'a>> {
        let is_negative = self.skip(b'-');
        let digits = self.take(|byte| byte.is_ascii_digit());
        if !self.skip(b'.') {
            let is_right = (1..=15).contains(&digits.len());
            let item = if is_negative {
                Item::Other
            } else {
                Item::Integer(digits)
            };
            return is_right.then_some(item);
        }
        let fraction = self.take(|byte| byte.is_ascii_digit());
        let is_right = (1..=12).contains(&digits.len()) && (1..=3).contains(&fraction.len());
        is_right.then_some(Item::Other)
    }

    fn binary(&mut self) -> Option<Item<'a>> {
        self.demand(b':')?;
        self.take(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
        self.demand(b':')?;
        Some(Item::Other)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(text: &str) -> Option<Vec<(String, Item<'_>)>> {
        let mut members = Vec::new();
        let count = dictionary(text.as_bytes(), |key, item| {
            members.push((String::from_utf8(key.to_vec()).unwrap(), item));
        })?;
        assert_eq!(count, members.len());
        Some(members)
    }

    #[test]
    fn rfc_9651_section_3_2_members_and_their_types() {
        for (text, item) in [
            ("a", Item::Boolean(true)),
            ("a=?0", Item::Boolean(false)),
            ("a;b=1;c", Item::Boolean(true)),
            ("a=60;x=\"y\"", Item::Integer(b"60")),
            ("a=-60", Item::Other),
            ("a=6.5", Item::Other),
            ("a=\"b, c\"", Item::String(b"b, c")),
            ("a=\"b\\\"\"", Item::String(b"b\\\"")),
            ("a=b/c", Item::Token(b"b/c")),
            ("a=:YQ==:", Item::Other),
            ("a=@1", Item::Other),
            ("a=(1 \"b\";c d)", Item::Other),
            ("a=()", Item::Other),
        ] {
            assert_eq!(members(text), Some(vec![("a".to_owned(), item)]), "{text}");
        }
        assert_eq!(members("a=1 ,\tb").unwrap().len(), 2);
        assert_eq!(members(" "), Some(Vec::new()));
    }

    #[test]
    fn rfc_9651_section_4_2_one_mistake_spoils_all() {
        for text in [
            "A",
            "max-age =1",
            "max-age= 1",
            "a,",
            ",a",
            "a,,b",
            "a b",
            "a=",
            "a=\"b",
            "a=\"\\x\"",
            "a=?2",
            "a=1.",
            "a=1.2345",
            "a=1234567890123456",
            "a=--1",
            "a=(1",
            "a=(1,2)",
            "a=:!:",
            "&&&&&",
            "a;B",
            "1a",
        ] {
            assert_eq!(members(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_to_the_end(text in "[ -~\t]{0,40}", bytes: Vec<u8>) {
            let _ = dictionary(&bytes, |_, _| {});
            // A dictionary and another one are a dictionary.
            if members(&text).is_some_and(|members| !members.is_empty()) {
                let more = format!("{}, b=1", text);
                prop_assert!(members(&more).is_some());
            }
        }
    }
}
