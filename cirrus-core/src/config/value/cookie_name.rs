//! The names of cookies.

use super::header::HeaderTitle;
use super::text::InvalidValue;

/// A cookie's name: a token (RFC 6265 §4.1.1), as that of a header field is, but in its own case.
///
/// # Errors
///
/// It is none.
pub(crate) fn cookie_name(name: &str) -> Result<String, InvalidValue> {
    match name.parse::<HeaderTitle>() {
        Ok(_) => Ok(name.to_owned()),
        Err(_) => Err(InvalidValue::new(
            "not the name of a cookie: letters, digits and !#$%&'*+-.^_`|~ are allowed",
        )),
    }
}
