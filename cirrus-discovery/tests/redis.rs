//! Redis as it is.
