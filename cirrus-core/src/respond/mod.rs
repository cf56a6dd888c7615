//! Answers that need no origin: fixed responses, redirects, files.

mod files;
mod fixed;
mod redirect;

pub(crate) use files::Files;
pub(crate) use fixed::Fixed;
pub(crate) use redirect::Redirect;
